//! What a byte queue owes to those who write and read.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn drain(ring: &mut ByteRing) -> Vec<u8> {
    let mut out = vec![0; ring.len()];
    ring.read(&mut out);
    out
}

#[test]
fn takes_no_memory_until_written_to() {
    let mut ring = ByteRing::new(1 << 30);
    assert_eq!((ring.write(b""), ring.read(&mut [0; 9]), ring.capacity()), (0, 0, 0));
    ring.write(b"a");
    assert_eq!(ring.capacity(), FIRST_CAPACITY);
}

#[test]
fn memory_doubles_and_never_exceeds_the_limit() {
    let mut ring = ByteRing::new(10_000);
    ring.write(&[1; 4096]);
    assert_eq!(ring.capacity(), 4096);
    ring.write(&[2]);
    assert_eq!(ring.capacity(), 8192);
    assert_eq!(ring.write(&[3; 10_000]), 10_000 - 4097);
    assert_eq!((ring.capacity(), ring.free(), ring.write(b"x")), (10_000, 0, 0));
    assert_eq!(drain(&mut ring), [vec![1; 4096], vec![2], vec![3; 10_000 - 4097]].concat());
}

#[test]
fn a_small_limit_takes_little_memory() {
    let mut ring = ByteRing::new(7);
    assert_eq!(ring.write(b"123456789"), 7);
    assert_eq!(ring.capacity(), 7);
}

#[test]
fn growing_straightens_bytes_that_go_round_the_end() {
    let mut ring = ByteRing::new(1 << 20);
    ring.write(&[0; 4000]);
    ring.consume(3990);
    ring.write(&[7; 200]);
    let (front, back) = ring.slices(0, 210);
    assert_eq!((front.len(), back.len()), (106, 104));
    ring.write(&[9; 5000]);
    let (front, back) = ring.slices(0, 5210);
    assert_eq!((front.len(), back.len()), (5210, 0));
    assert_eq!(drain(&mut ring), [vec![0; 10], vec![7; 200], vec![9; 5000]].concat());
}

#[test]
fn a_drained_ring_starts_at_the_front_again() {
    let mut ring = ByteRing::new(1 << 20);
    ring.write(&[0; 4000]);
    ring.consume(4000);
    ring.write(&[1; 4000]);
    let (front, back) = ring.slices(0, 4000);
    assert_eq!((front.len(), back.len(), ring.capacity()), (4000, 0, 4096));
}

#[test]
fn only_an_empty_ring_gives_its_memory_back() {
    let mut ring = ByteRing::new(1 << 20);
    ring.write(b"stay");
    ring.release();
    assert_eq!(drain(&mut ring), b"stay");
    ring.release();
    assert_eq!(ring.capacity(), 0);
    assert_eq!((ring.write(b"again"), drain(&mut ring)), (5, b"again".to_vec()));
}

#[test]
fn memory_that_is_just_enough_does_not_grow() {
    let mut ring = ByteRing::new(1 << 20);
    ring.write(&[0; 4000]);
    ring.write(&[1; 96]);
    assert_eq!((ring.len(), ring.capacity()), (4096, 4096));
}

#[test]
fn what_is_held_keeps_the_memory_it_needs_and_no_more_than_twice_that() {
    let mut ring = ByteRing::new(1 << 20);
    ring.write(&[3; 100_000]);
    ring.consume(60_000);
    ring.write(&[4; 60_000]);
    assert_eq!(ring.slices(0, 100_000).1.len(), 28_928, "it goes round the end");
    ring.shrink();
    assert_eq!((ring.capacity(), ring.slices(0, 100_000).1.len()), (131_072, 28_928), "nothing to gain");
    ring.consume(100_000 - 65_536);
    ring.shrink();
    assert_eq!(ring.capacity(), 65_536, "half is enough");
    ring.consume(65_536 - 10);
    ring.shrink();
    assert_eq!((ring.capacity(), drain(&mut ring)), (FIRST_CAPACITY, vec![4; 10]));
    ring.shrink();
    assert_eq!(ring.capacity(), 0);
}

#[test]
fn logs_show_sizes_and_no_content() {
    let mut ring = ByteRing::new(9);
    ring.write(b"secret");
    assert_eq!(format!("{ring:?}"), "ByteRing { len: 6, limit: 9, capacity: 9 }");
}

#[test]
fn a_limit_below_what_is_held_only_stops_writes() {
    let mut ring = ByteRing::new(100);
    ring.write(&[5; 80]);
    ring.set_limit(30);
    assert_eq!((ring.len(), ring.free(), ring.write(b"no")), (80, 0, 0));
    ring.consume(60);
    assert_eq!((ring.free(), ring.write(&[6; 99])), (10, 10));
    assert_eq!(drain(&mut ring), [vec![5; 20], vec![6; 10]].concat());
}

#[test]
#[should_panic(expected = "3 bytes at 1 of 3")]
fn looking_beyond_the_end_is_the_callers_mistake() {
    let mut ring = ByteRing::new(10);
    ring.write(b"abc");
    ring.copy_out(1, &mut [0; 3]);
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Read(usize),
    Consume(usize),
    Peek { offset: usize, len: usize },
    SetLimit(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..6000).prop_map(Step::Write),
        4 => (0..7000usize).prop_map(Step::Read),
        2 => (0..7000usize).prop_map(Step::Consume),
        2 => (0..9000usize, 0..9000usize).prop_map(|(offset, len)| Step::Peek { offset, len }),
        1 => (0..20_000usize).prop_map(Step::SetLimit),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 200 }))]

    #[test]
    fn behaves_like_a_queue_of_bytes(limit in 0..20_000usize, steps in vec(step(), 1..60)) {
        let mut ring = ByteRing::new(limit);
        let mut model = VecDeque::new();
        let (mut limit, mut highest_limit) = (limit, limit);
        for step in steps {
            match step {
                Step::Write(data) => {
                    let room = limit.saturating_sub(model.len()).min(data.len());
                    prop_assert_eq!(ring.write(&data), room);
                    model.extend(&data[..room]);
                }
                Step::Read(len) => {
                    let mut out = vec![0; len];
                    let count = ring.read(&mut out);
                    prop_assert_eq!(count, len.min(model.len()));
                    prop_assert_eq!(&out[..count], &model.drain(..count).collect::<Vec<u8>>()[..]);
                }
                Step::Consume(len) => {
                    let count = len.min(model.len());
                    ring.consume(count);
                    model.drain(..count);
                }
                Step::Peek { offset, len } => {
                    let offset = offset.min(model.len());
                    let len = len.min(model.len() - offset);
                    let mut out = vec![0; len];
                    ring.copy_out(offset, &mut out);
                    let expected: Vec<u8> = model.range(offset..offset + len).copied().collect();
                    prop_assert_eq!(&out, &expected);
                    let (front, back) = ring.slices(offset, len);
                    prop_assert_eq!([front, back].concat(), expected);
                }
                Step::SetLimit(new) => {
                    (limit, highest_limit) = (new, highest_limit.max(new));
                    ring.set_limit(new);
                }
                Step::Release => ring.release(),
            }
            prop_assert_eq!((ring.len(), ring.is_empty(), ring.limit()), (model.len(), model.is_empty(), limit));
            prop_assert_eq!(ring.free(), limit.saturating_sub(model.len()));
            prop_assert!(ring.capacity() <= highest_limit);
        }
    }
}

#[test]
fn growth_is_known_before_it_happens() {
    let mut ring = ByteRing::new(20_000);
    for len in [1, 4095, 1, 100, 4096, 5000, 3000, 3000] {
        let (before, growth) = (ring.capacity(), ring.growth_for(len));
        ring.write(&vec![0; len]);
        assert_eq!(ring.capacity(), before + growth, "{len}");
    }
}
