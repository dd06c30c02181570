//! Messages that have arrived in part.
//!
//! Nothing is set aside for what has not come: a fragment costs its own bytes, whatever it says about the length of
//! its message.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Those that may be given up, oldest first.
    unreliable: BTreeSet<(Instant, Key)>,
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
/// Ours: what a fragment may cost besides its bytes.
pub(super) const FRAGMENT_COST: usize = PIECE_COST + PARTIAL_COST;

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
                self.unreliable.insert((now, key));
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
        let &(_, key) = self.unreliable.first()?;
        self.remove(key).map(|partial| (partial.mode, key))
    }

    /// Gives up one that has waited longer than that.
    pub(super) fn expire(&mut self, now: Instant, age: Duration) -> Option<(Mode, Key)> {
        let (since, _) = *self.unreliable.first()?;
        if since + age > now { None } else { self.evict() }
    }

    /// When the next one may have waited long enough.
    pub(super) fn next_expiry(&self, age: Duration) -> Option<Instant> {
        self.unreliable.first().map(|&(since, _)| since + age)
    }

    /// Gives up one that was to become a message of that channel before this one: numbers are a circle.
    pub(super) fn give_up_before(&mut self, (channel, number): Key) -> Option<(Mode, Key)> {
        let half = 1 << 31;
        let near = (channel, number.saturating_sub(half))..(channel, number);
        let across = (number < half).then(|| (channel, number + half)..=(channel, u32::MAX));
        let mut older =
            self.table.range(near).chain(across.into_iter().flat_map(|range| self.table.range(range)));
        let (&key, _) = older.next()?;
        self.remove(key).map(|partial| (partial.mode, key))
    }

    fn remove(&mut self, key: Key) -> Option<Partial> {
        let partial = self.table.remove(&key)?;
        let pieces: usize = partial.pieces.values().map(|piece| piece.len() + PIECE_COST).sum();
        self.charge -= pieces + PARTIAL_COST;
        self.unreliable.remove(&(partial.since, key));
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

    /// One that had come in full left its time behind, and another one was given up at that time instead of it.
    #[test]
    fn the_time_of_one_that_is_whole_ends_no_other() {
        let (mut partials, age) = (Partials::default(), Duration::from_secs(10));
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let of = |number| (Mode::Unreliable, (1, number));
        partials.add(at(0), of(1), (0, 2), b"x");
        partials.add(at(9), of(2), (0, 2), b"x");
        partials.add(at(9), of(1), (1, 2), b"x");
        assert_eq!(partials.next_expiry(age), Some(at(19)));
        assert_eq!(partials.expire(at(18), age), None);
        assert_eq!(partials.expire(at(19), age), Some(of(2)));
        assert_eq!((partials.len(), partials.unreliable.len()), (0, 0));
    }

    #[test]
    fn older_ones_of_the_channel_are_given_up_and_newer_ones_kept_also_across_the_wrap() {
        for newest in [5, 0, u32::MAX - 1, 1 << 31, (1 << 31) - 1] {
            let mut partials = Partials::default();
            let of = |ahead: i32| (Mode::ReliableSequenced, (1, newest.wrapping_add_signed(ahead)));
            for ahead in [-1000, -6, -1, 1, 6, 1000] {
                partials.add(Instant::ZERO, of(ahead), (0, 2), b"x");
            }
            partials.add(Instant::ZERO, (Mode::ReliableSequenced, (0, newest.wrapping_sub(1))), (0, 2), b"x");
            let mut given_up: Vec<_> = std::iter::from_fn(|| partials.give_up_before((1, newest))).collect();
            given_up.sort_by_key(|(_, (_, number))| number.wrapping_sub(newest));
            assert_eq!(given_up, [-1000, -6, -1].map(of));
            assert_eq!(partials.len(), 4);
        }
    }
}
