//! When to look at which connection again: one lazy heap for all.
//!
//! A connection's deadline moves with nearly every packet, and nearly always backwards into the future. So an entry
//! that is earlier than wanted is left where it is; when it fires, the deadline that is wanted by then is looked
//! at, and the connection is either due or armed again. That is one operation on the heap per timeout period
//! instead of one per packet. What a deadline means is none of the heap's business.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::storage::Key;
use crate::time::Instant;

/// The heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Entry>,
    /// Ties go to whoever was armed first, so that a replay does the same.
    order: u64,
}

/// What a connection remembers of its timer.
#[derive(Debug, Default)]
pub(super) struct Armed {
    /// Time of the one entry in the heap that counts for this connection; others are left over.
    at: Option<Instant>,
    wanted: Option<Instant>,
}

/// What an entry of the heap turned out to mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fired {
    /// The deadline has passed.
    Due,
    /// The deadline has moved: arm again.
    Moved,
    /// Nothing is wanted any more, or the entry was left over.
    Stale,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Instant,
    order: u64,
    key: Key,
}

impl Ord for Entry {
    /// The heap gives the greatest first, and that should be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Ours: left-over entries that are not worth a sweep.
const LEFT_OVER_MIN: usize = 64;

impl Timers {
    /// Says when to look at this connection again.
    pub(super) fn schedule(&mut self, key: Key, armed: &mut Armed, wanted: Option<Instant>) {
        armed.wanted = wanted;
        let Some(wanted) = wanted else { return };
        if armed.at.is_none_or(|at| wanted < at) {
            armed.at = Some(wanted);
            self.order += 1;
            self.heap.push(Entry { at: wanted, order: self.order, key });
        }
    }

    /// The next entry whose time has come, with that time. What it means, [`Armed::fired`] says.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Key, Instant)> {
        if self.heap.peek()?.at > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.key, entry.at))
    }

    /// When [`pop_due`](Self::pop_due) has something again. May be earlier than anybody wants.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Throws out what was left over, if it outnumbers what counts (at most one entry for each of `connections`).
    ///
    /// `is_armed` says whether the connection's entry of that time counts. Constant time, amortised.
    pub(super) fn sweep(&mut self, connections: usize, is_armed: impl Fn(Key, Instant) -> bool) {
        if self.heap.len() > 2 * connections + LEFT_OVER_MIN {
            self.heap.retain(|entry| is_armed(entry.key, entry.at));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }
}

impl Armed {
    /// The entry with time `at` was taken out of the heap.
    pub(super) fn fired(&mut self, at: Instant, now: Instant) -> Fired {
        if self.at != Some(at) {
            return Fired::Stale;
        }
        self.at = None;
        match self.wanted {
            None => Fired::Stale,
            Some(wanted) if wanted <= now => Fired::Due,
            Some(_) => Fired::Moved,
        }
    }

    pub(super) fn wanted(&self) -> Option<Instant> {
        self.wanted
    }

    /// Whether the entry with time `at` counts.
    pub(super) fn is_at(&self, at: Instant) -> bool {
        self.at == Some(at)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::storage::Slab;

    fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// One connection's timer and the heap.
    fn one() -> (Timers, Armed, Key) {
        (Timers::default(), Armed::default(), Slab::new().insert(()))
    }

    #[test]
    fn a_deadline_that_moves_later_costs_no_entry() {
        let (mut timers, mut armed, key) = one();
        for later in 500..1500 {
            timers.schedule(key, &mut armed, Some(ms(later)));
        }
        assert_eq!((timers.len(), timers.next()), (1, Some(ms(500))));
        let (_, at) = timers.pop_due(ms(500)).unwrap();
        assert_eq!(armed.fired(at, ms(500)), Fired::Moved);
        let wanted = armed.wanted();
        timers.schedule(key, &mut armed, wanted);
        assert_eq!(timers.next(), Some(ms(1499)));
        let (_, at) = timers.pop_due(ms(1499)).unwrap();
        assert_eq!(armed.fired(at, ms(1499)), Fired::Due);
    }

    #[test]
    fn a_deadline_that_moves_earlier_is_kept() {
        let (mut timers, mut armed, key) = one();
        timers.schedule(key, &mut armed, Some(ms(500)));
        timers.schedule(key, &mut armed, Some(ms(5)));
        assert_eq!(timers.pop_due(ms(4)), None);
        let (_, at) = timers.pop_due(ms(5)).unwrap();
        assert_eq!(armed.fired(at, ms(5)), Fired::Due);
        timers.schedule(key, &mut armed, Some(ms(700)));
        let (_, at) = timers.pop_due(ms(500)).unwrap();
        assert_eq!(armed.fired(at, ms(500)), Fired::Stale, "left over from the first deadline");
        assert_eq!(timers.next(), Some(ms(700)));
    }

    #[test]
    fn nothing_wanted_means_nothing_due() {
        let (mut timers, mut armed, key) = one();
        timers.schedule(key, &mut armed, Some(ms(5)));
        timers.schedule(key, &mut armed, None);
        let (_, at) = timers.pop_due(ms(9)).unwrap();
        assert_eq!(armed.fired(at, ms(9)), Fired::Stale);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn ties_fire_in_the_order_of_arming() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..50).map(|_| slab.insert(())).collect();
        let mut timers = Timers::default();
        for &key in &keys {
            timers.schedule(key, &mut Armed::default(), Some(ms(1)));
        }
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(ms(1))).map(|(key, _)| key).collect();
        assert_eq!(fired, keys);
    }

    #[test]
    fn the_same_deadline_again_costs_no_entry() {
        let (mut timers, mut armed, key) = one();
        for _ in 0..3 {
            timers.schedule(key, &mut armed, Some(ms(500)));
        }
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_sweep_leaves_what_counts() {
        let mut slab = Slab::new();
        let keys = [slab.insert(()), slab.insert(()), slab.insert(()), slab.insert(())];
        let (mut timers, mut armed) = (Timers::default(), keys.map(|_| Armed::default()));
        for (key, armed) in keys.iter().zip(&mut armed) {
            timers.schedule(*key, armed, Some(ms(10_000)));
        }
        let mut longest = 0;
        for earlier in 1..500 {
            timers.schedule(keys[0], &mut armed[0], Some(ms(10_000 - earlier)));
            let counts =
                |key, at| keys.iter().position(|other| *other == key).is_some_and(|n| armed[n].is_at(at));
            timers.sweep(keys.len(), counts);
            longest = longest.max(timers.len());
        }
        assert_eq!(longest, 2 * keys.len() + LEFT_OVER_MIN, "in time, and not all the time");
        let mut due = 0;
        while let Some((key, at)) = timers.pop_due(ms(10_000)) {
            let n = keys.iter().position(|other| *other == key).unwrap();
            due += usize::from(armed[n].fired(at, ms(10_000)) == Fired::Due);
        }
        assert_eq!(due, 4);
    }

    #[test]
    fn left_over_entries_are_bounded() {
        let (mut timers, mut armed, key) = one();
        for round in 0..10_000 {
            // A short deadline fires, and a long one takes its place, as delayed acknowledgements do.
            timers.schedule(key, &mut armed, Some(ms(round + 5_000_000)));
            timers.schedule(key, &mut armed, Some(ms(round)));
            let (_, at) = timers.pop_due(ms(round)).unwrap();
            assert_eq!(armed.fired(at, ms(round)), Fired::Due);
            timers.sweep(1, |_, at| armed.is_at(at));
            assert!(timers.len() <= LEFT_OVER_MIN + 2);
        }
    }
}
