//! Messages that have arrived in part.
//!
//! Nothing is set aside for what has not come: a fragment costs its own bytes, whatever it says about the length of
//! its message.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Mode;
use crate::time::Instant;

/// Which message.
pub(super) type Key = (u8, u32);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Partials {
    table: BTreeMap<Key, Partial>,
    /// Those that may be given up, oldest first. An entry whose message is complete or gone is stale.
    unreliable: VecDeque<(Instant, Key)>,
    charge: usize,
}

#[derive(Debug)]
struct Partial {
    mode: Mode,
    total: u32,
    have: u32,
    since: Instant,
    /// By offset; they never overlap.
    pieces: BTreeMap<u32, Bytes>,
}

/// What a fragment has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    Kept,
    /// The message is whole.
    Complete(Bytes),
    /// It contradicts what is there.
    Overlapping,
}

/// Ours: what a piece costs besides its bytes.
const PIECE_COST: usize = 96;
/// Ours: what a message in part costs besides its pieces.
const PARTIAL_COST: usize = 160;

impl Partials {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of memory taken, about.
    pub(super) const fn charge(&self) -> usize {
        self.charge
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.table.contains_key(&key)
    }

    pub(super) fn add(
        &mut self,
        now: Instant,
        (mode, key): (Mode, Key),
        (offset, total): (u32, u32),
        payload: &[u8],
    ) -> Added {
        let partial = self.table.entry(key).or_insert_with(|| {
            self.charge += PARTIAL_COST;
            if !mode.is_reliable() {
                self.unreliable.push_back((now, key));
            }
            Partial { mode, total, have: 0, since: now, pieces: BTreeMap::new() }
        });
        if partial.total != total || partial.mode != mode || !partial.admits(offset, payload.len()) {
            return Added::Overlapping;
        }
        partial.have += payload.len() as u32;
        partial.pieces.insert(offset, Bytes::copy_from_slice(payload));
        self.charge += payload.len() + PIECE_COST;
        if partial.have < partial.total {
            return Added::Kept;
        }
        let mut whole = BytesMut::with_capacity(total as usize);
        if let Some(partial) = self.remove(key) {
            partial.pieces.values().for_each(|piece| whole.extend_from_slice(piece));
        }
        Added::Complete(whole.freeze())
    }

    /// Gives up the oldest unreliable one.
    pub(super) fn evict(&mut self) -> Option<(Mode, Key)> {
        while let Some((since, key)) = self.unreliable.pop_front() {
            if self.table.get(&key).is_some_and(|partial| partial.since == since) {
                return self.remove(key).map(|partial| (partial.mode, key));
            }
        }
        None
    }

    /// Gives up one that has waited longer than that.
    pub(super) fn expire(&mut self, now: Instant, age: Duration) -> Option<(Mode, Key)> {
        let (since, _) = *self.unreliable.front()?;
        if since + age > now { None } else { self.evict() }
    }

    /// When the next one may have waited long enough.
    pub(super) fn next_expiry(&self, age: Duration) -> Option<Instant> {
        self.unreliable.front().map(|&(since, _)| since + age)
    }

    /// Gives up one that was to become a message of that channel before this one.
    pub(super) fn give_up_before(&mut self, (channel, number): Key) -> Option<(Mode, Key)> {
        let (&key, _) = self.table.range((channel, 0)..(channel, number)).next()?;
        self.remove(key).map(|partial| (partial.mode, key))
    }

    fn remove(&mut self, key: Key) -> Option<Partial> {
        let partial = self.table.remove(&key)?;
        let pieces: usize = partial.pieces.values().map(|piece| piece.len() + PIECE_COST).sum();
        self.charge -= pieces + PARTIAL_COST;
        if self.table.is_empty() {
            self.unreliable.clear();
        }
        Some(partial)
    }
}

impl Partial {
    /// Whether a piece fits between its neighbours.
    fn admits(&self, offset: u32, len: usize) -> bool {
        let before = self.pieces.range(..=offset).next_back();
        let after = self.pieces.range(offset..).next();
        let end = offset as usize + len;
        before.is_none_or(|(&at, piece)| at as usize + piece.len() <= offset as usize)
            && after.is_none_or(|(&at, _)| end <= at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: (Mode, Key) = (Mode::Unreliable, (1, 2));

    #[test]
    fn pieces_make_a_whole_in_any_order_and_leave_nothing_behind() {
        let mut partials = Partials::default();
        assert_eq!(partials.add(Instant::ZERO, AT, (3, 6), b"def"), Added::Kept);
        assert!(partials.contains((1, 2)) && partials.charge() > 0);
        assert_eq!(partials.add(Instant::ZERO, AT, (0, 6), b"abc"), Added::Complete(Bytes::from("abcdef")));
        assert_eq!((partials.len(), partials.charge()), (0, 0));
    }

    #[test]
    fn pieces_that_contradict_each_other_are_refused() {
        let mut partials = Partials::default();
        partials.add(Instant::ZERO, AT, (2, 8), b"cd");
        for (place, bytes) in [((2, 8), "cd"), ((1, 8), "bc"), ((3, 8), "d"), ((4, 9), "e"), ((0, 8), "abcd")]
        {
            assert_eq!(partials.add(Instant::ZERO, AT, place, bytes.as_bytes()), Added::Overlapping);
        }
        let other = (Mode::UnreliableSequenced, AT.1);
        assert_eq!(partials.add(Instant::ZERO, other, (4, 8), b"e"), Added::Overlapping);
        partials.add(Instant::ZERO, AT, (4, 8), b"efgh");
        assert_eq!(partials.add(Instant::ZERO, AT, (0, 8), b"ab"), Added::Complete(Bytes::from("abcdefgh")));
    }

    #[test]
    fn only_unreliable_ones_are_given_up_and_the_oldest_first() {
        let mut partials = Partials::default();
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        partials.add(at(0), (Mode::ReliableOrdered, (9, 9)), (0, 2), b"x");
        partials.add(at(1), (Mode::Unreliable, (1, 1)), (0, 2), b"x");
        partials.add(at(2), (Mode::Unreliable, (1, 2)), (0, 2), b"x");
        assert_eq!(partials.next_expiry(Duration::from_secs(3)), Some(at(4)));
        assert_eq!(partials.expire(at(3), Duration::from_secs(3)), None);
        assert_eq!(partials.expire(at(4), Duration::from_secs(3)), Some((Mode::Unreliable, (1, 1))));
        assert_eq!(partials.evict(), Some((Mode::Unreliable, (1, 2))));
        assert_eq!(partials.evict(), None);
        assert_eq!(partials.len(), 1);
    }
}
