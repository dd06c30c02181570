//! The circular order of packet numbers, proved over all pairs there are.
//!
//! `cargo test --release --test exhaustive` checks all 2^32 pairs and takes a few seconds. A debug build, with its
//! overflow checks, looks at every difference from 64 places on the circle, the wrap among them: the same test,
//! 1,024 times smaller. What is right is found by walking the circle step by step, not by subtracting.

use ebbtide::wire::SeqNr;

/// The places on the circle to start from.
fn bases() -> Vec<u16> {
    if cfg!(debug_assertions) {
        // Both ends of 32 stretches: 0 and 2,047, ..., 63,488 and 65,535.
        (0..32).flat_map(|stretch| [stretch * 2_048, stretch * 2_048 + 2_047]).collect()
    } else {
        (0..=u16::MAX).collect()
    }
}

/// Walks once around the circle from `base` and counts the numbers whose relation to it is wrong.
fn wrong_relations(base: SeqNr) -> u32 {
    let mut wrong = 0;
    let mut there = base;
    for steps in 0..=u16::MAX {
        // The shorter way round, the half-way point backwards.
        let expected = if steps < 0x8000 { i32::from(steps) } else { i32::from(steps) - 0x1_0000 };
        let back = if expected == -0x8000 { expected } else { -expected };

        let distance = there.distance_from(base);
        let right = i32::from(distance) == expected
            && i32::from(base.distance_from(there)) == back
            && there.is_after(base) == (1..0x8000).contains(&steps)
            && base.is_after(there) == (steps > 0x8000)
            && (there == base) == (steps == 0)
            && base + steps == there
            && there - steps == base
            && base + distance.cast_unsigned() == there
            && there.next().prev() == there;
        wrong += u32::from(!right);
        there = there.next();
    }
    wrong + u32::from(there != base)
}

#[test]
fn a04_the_order_of_packet_numbers_holds_for_all_pairs() {
    let bases = bases();
    let expected = if cfg!(debug_assertions) { 64 } else { 65_536 };
    assert_eq!(bases.len(), expected, "places on the circle to start from");
    for base in bases {
        assert_eq!(wrong_relations(SeqNr::new(base)), 0, "pairs with {base}");
    }
}
