//! The buffer against a map of packets that does everything the slow way.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Packets are counted from 0 without wrapping; `first` is the number of packet 0.
struct Model {
    limit: usize,
    next: usize,
    held: BTreeMap<usize, Vec<u8>>,
    unread: VecDeque<u8>,
    end: Option<usize>,
}

impl Model {
    fn held_bytes(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }

    fn charge(&self) -> usize {
        self.held.values().map(|payload| payload.len().max(64)).sum()
    }

    /// What packets up to this one may take in all.
    fn limit_at(&self, index: usize) -> usize {
        let fills_gap = self.held.keys().any(|held| *held > index);
        self.limit + if fills_gap { self.limit / 16 } else { 0 }
    }

    fn insert(&mut self, index: usize, payload: &[u8]) -> Inserted {
        if index < self.next || self.held.contains_key(&index) {
            return Inserted::Duplicate;
        }
        if self.end.is_some_and(|end| index > end) {
            return Inserted::Refused;
        }
        if index > self.next {
            let slots = (self.limit / 512).clamp(1024, 32_768);
            let taken = self.unread.len() + self.charge() + payload.len().max(64);
            if index >= self.next + slots || taken > self.limit_at(index) {
                return Inserted::Refused;
            }
            self.held.insert(index, payload.to_vec());
            return Inserted::Held;
        }
        let in_the_way = self.unread.len() + self.held_bytes();
        let alone = self.unread.is_empty() && payload.len() <= self.limit;
        if !alone && in_the_way + payload.len() > self.limit_at(index) {
            return Inserted::Refused;
        }
        let (before, filled_gap) = (self.unread.len(), !self.held.is_empty());
        self.held.insert(index, payload.to_vec());
        while let Some(payload) = self.held.remove(&self.next) {
            self.unread.extend(payload);
            self.next += 1;
        }
        Inserted::InOrder { bytes: self.unread.len() - before, filled_gap }
    }

    fn finish_at(&mut self, index: usize, payload: &[u8]) -> Inserted {
        let contradicts =
            self.end.is_some_and(|end| end != index) || self.held.keys().any(|held| *held > index);
        if contradicts && index >= self.next {
            return Inserted::Refused;
        }
        let inserted = self.insert(index, payload);
        if matches!(inserted, Inserted::InOrder { .. } | Inserted::Held) {
            self.end = Some(index);
        }
        inserted
    }

    fn mask(&self) -> Vec<u8> {
        let mut bits = SackBits::new();
        self.held.keys().for_each(|index| bits.set(index - self.next - 1));
        bits.as_bytes().to_vec()
    }
}

/// Whether there is room in the window for a packet that lies so far ahead, and none in memory.
fn lacks_memory(recv: &ReceiveBuffer, payload: &[u8], ahead: usize) -> bool {
    let most = payload.len() + 32 + SLOT * (2 * ahead + 64);
    recv.memory_bytes() + most > recv.memory_max()
}

/// Bytes of the largest payload.
const LARGEST: usize = 9000;

/// Bytes of a slot and its share of the bits, rounded up.
const SLOT: usize = 17;

#[derive(Clone, Debug)]
enum Step {
    /// A packet this far after the next one expected.
    Early(usize),
    /// One that should have arrived already.
    Late(usize),
    Next,
    /// A packet that claims to be the last, this far after the next one expected.
    False {
        end: usize,
    },
    Read(usize),
    Discard,
    Grow(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..40usize).prop_map(Step::Early),
        2 => (0..3000usize).prop_map(Step::Early),
        2 => (1..50usize).prop_map(Step::Late),
        10 => Just(Step::Next),
        1 => (0..4usize).prop_map(|end| Step::False { end }),
        6 => (0..9000usize).prop_map(Step::Read),
        1 => Just(Step::Discard),
        1 => (0..60_000usize).prop_map(Step::Grow),
        1 => Just(Step::Release),
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 0..200), 2 => vec(any::<u8>(), 1400), 1 => vec(any::<u8>(), 0..LARGEST)]
}

/// Whether both tell the same about themselves.
fn agree(recv: &ReceiveBuffer, model: &Model, first: u16) -> Result<(), TestCaseError> {
    let taken = model.unread.len() + model.charge();
    prop_assert_eq!(recv.window() as usize, model.limit.saturating_sub(taken));
    prop_assert!(recv.memory_bytes() <= recv.memory_max() + LARGEST, "{:?}", recv);
    prop_assert_eq!(recv.readable_bytes(), model.unread.len());
    prop_assert_eq!(recv.cumulative(), seq(first).prev() + u16::try_from(model.next).unwrap());
    prop_assert_eq!(mask(recv), model.mask());
    prop_assert_eq!(recv.has_gap(), !model.held.is_empty());
    let finished = model.end.is_some_and(|end| model.next == end + 1);
    prop_assert_eq!(recv.is_finished(), finished);
    prop_assert_eq!(recv.at_eof(), finished && model.unread.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]

    #[test]
    fn behaves_like_a_map_of_packets(
        first in 65_400..=65_535u16,
        limit in prop_oneof![Just(4096usize), 1..20_000usize],
        payloads in vec(payload(), 1..12),
        length in 1..60usize,
        true_end in any::<bool>(),
        steps in vec((step(), any::<Index>()), 1..400),
    ) {
        let mut recv = receiver(limit, first);
        let mut model =
            Model { limit, next: 0, held: BTreeMap::new(), unread: VecDeque::new(), end: None };
        for (step, pick) in steps {
            let next = model.next;
            let arrival = match step {
                Step::Early(ahead) => Some((next + ahead, false)),
                Step::Late(behind) => Some((next.saturating_sub(behind), false)),
                Step::Next => Some((next, false)),
                Step::False { end } => Some((next + end, true)),
                Step::Read(len) => {
                    let mut out = vec![0; len];
                    let peeked = recv.peek(&mut out);
                    prop_assert_eq!(&out[..peeked], model.unread.iter().copied().take(len).collect::<Vec<u8>>());
                    out.fill(0);
                    let count = recv.read(&mut out);
                    prop_assert_eq!(count, peeked);
                    prop_assert_eq!(&out[..count], model.unread.drain(..count).collect::<Vec<u8>>());
                    None
                }
                Step::Discard => {
                    prop_assert_eq!(recv.discard(), model.unread.len());
                    model.unread.clear();
                    None
                }
                Step::Grow(bytes) => {
                    recv.set_limit(bytes);
                    model.limit = model.limit.max(bytes);
                    None
                }
                Step::Release => {
                    recv.release();
                    None
                }
            };
            if let Some((index, false_end)) = arrival {
                let seq = seq(first) + u16::try_from(index % 65_536).unwrap();
                let payload = pick.get(&payloads);
                let before = model.end;
                let (got, expected) = if false_end || (true_end && index == length) {
                    (recv.finish_at(seq, payload), model.finish_at(index, payload))
                } else {
                    (recv.insert(seq, payload), model.insert(index, payload))
                };
                if (got, expected) == (Inserted::Refused, Inserted::Held) {
                    prop_assert!(lacks_memory(&recv, payload, index - next), "{:?}", recv);
                    model.held.remove(&index);
                    model.end = before;
                } else {
                    prop_assert_eq!(got, expected, "packet {} with {} expected", index, next);
                }
            }
            agree(&recv, &model, first)?;
        }
    }
}
