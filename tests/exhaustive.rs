//! What can be proved by trying everything: the circles of packet numbers and of clocks, the slots of packets that
//! came too early, the bits of selective acknowledgements.
//!
//! `cargo test --release --test exhaustive` checks all 2^32 pairs of packet numbers and all bits of masks at all
//! 65,536 places, which takes seconds. `EBBTIDE_EXHAUSTIVE=1` before it adds what takes minutes: all 2^32 differences of
//! two clocks at eight places, and all slots at all places. A debug build, with its overflow checks, looks at 64
//! places on the circle, the wrap among them. What is right is found by walking the circle step by step or by
//! counting in wider numbers, never by the arithmetic under test.

use std::env;
use std::time::Duration;

use ebbtide::proto::recv::{Inserted, ReceiveBuffer};
use ebbtide::wire::{Delay, Sack, SackBits, SeqNr, Timestamp};

/// Whether to take minutes.
fn thorough() -> bool {
    !cfg!(debug_assertions) && env::var_os("EBBTIDE_EXHAUSTIVE").is_some()
}

/// Both ends of 32 stretches: 0 and 2,047, ..., 63,488 and 65,535.
fn some_bases() -> Vec<u16> {
    (0..32).flat_map(|stretch| [stretch * 2_048, stretch * 2_048 + 2_047]).collect()
}

/// The places on the circle to start from.
fn bases() -> Vec<u16> {
    if cfg!(debug_assertions) { some_bases() } else { (0..=u16::MAX).collect() }
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

/// Where a clock may stand: the wrap, half-way round, and a place without meaning.
const CLOCKS: [u32; 8] = [0, 1, 0x1234_5678, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FF00, 0xFFFF_FFFF];

/// Counts, of every `stride`th difference from `base`, those whose meaning is wrong.
fn wrong_differences(base: u32, stride: usize) -> u64 {
    let (sent, low) = (Timestamp::new(base), Delay::new(base));
    let mut wrong = 0;
    for difference in (0..1_u64 << 32).step_by(stride) {
        let there = ((u64::from(base) + difference) & 0xFFFF_FFFF) as u32;
        let high = Delay::new(there);
        // Exactly half-way round is neither below nor above, and counts as above.
        let above = if difference <= 1 << 31 { difference } else { 0 };
        let right = u64::from(Timestamp::new(there).delay_since(sent).get()) == difference
            && low.is_below(high) == (difference > 0 && difference < 1 << 31)
            && high.is_below(low) == (difference > 1 << 31)
            && high.above(low) == Duration::from_micros(above)
            && low.shifted((difference as u32).cast_signed()) == high
            && high.is_sample() == (there != 0 && there != 0x7FFF_FFFF)
            && high.as_sample().is_sample();
        wrong += u64::from(!right);
    }
    wrong
}

#[test]
fn a04_the_differences_of_clocks_hold_all_the_way_round() {
    // A prime, so that the places are others at each clock.
    let stride = if thorough() { 1 } else { 65_537 };
    for base in CLOCKS {
        assert_eq!(wrong_differences(base, stride), 0, "differences from {base:#x}");
    }
}

#[test]
fn a03_each_bit_of_a_mask_means_the_same_packet_from_every_place() {
    let full = [0xFF; 255];
    for base in bases() {
        let ack = SeqNr::new(base);
        let mut expected = ack.next();
        for seq in Sack::new(&full).received(ack) {
            expected = expected.next();
            assert_eq!(seq, expected);
        }
        assert_eq!(expected.distance_from(ack), 2_041);

        let (mut bits, mut packet) = (SackBits::new(), ack.next());
        for index in 0..2_016 {
            packet = packet.next();
            bits.clear();
            bits.set(index);
            let sack = Sack::new(bits.as_bytes());
            assert_eq!(sack.highest(ack), Some(packet), "bit {index} after {base}");
            let mut received = sack.received(ack);
            assert_eq!((received.next(), received.next()), (Some(packet), None), "bit {index} after {base}");
        }
    }
}

/// Fills the longest reorder buffer there is after `base`, from far to near (`true`) or from near to far, but for
/// the first packet; then that one comes.
fn check_slots(base: u16, backwards: bool) {
    /// The numbers that may be held, which is as far as "after" reaches.
    const AHEAD: u16 = 0x7FFF;
    let last = SeqNr::new(base);
    let mut buffer = ReceiveBuffer::new(1 << 24);
    buffer.start(last);
    for step in 2..=AHEAD {
        let ahead = if backwards { AHEAD + 2 - step } else { step };
        let inserted = buffer.insert(last + ahead, &ahead.to_le_bytes());
        assert_eq!(inserted, Inserted::Held, "{ahead} after {base}");
    }
    for ahead in 2..=AHEAD {
        assert_eq!(buffer.insert(last + ahead, b"again"), Inserted::Duplicate, "{ahead} after {base}");
    }
    let mut bits = SackBits::new();
    buffer.sack(&mut bits);
    assert_eq!(bits.as_bytes(), [0xFF; 252]);

    let inserted = buffer.insert(last.next(), &1_u16.to_le_bytes());
    assert_eq!(inserted, Inserted::InOrder { bytes: 2 * usize::from(AHEAD), filled_gap: true });
    assert_eq!(buffer.cumulative(), last + AHEAD);
    let mut read = [0; 2 * AHEAD as usize];
    assert_eq!(buffer.read(&mut read), read.len());
    let in_turn =
        (1..=AHEAD).zip(read.as_chunks().0).all(|(ahead, bytes)| u16::from_le_bytes(*bytes) == ahead);
    assert!(in_turn, "after {base}");
}

#[test]
fn a_packet_that_came_too_early_is_found_again_from_every_place() {
    if thorough() {
        for base in 0..=u16::MAX {
            check_slots(base, base % 2 == 0);
        }
    } else {
        for base in some_bases() {
            check_slots(base, base % 2 == 0);
        }
    }
}
