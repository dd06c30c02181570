//! SYNs about which nobody has decided yet.
//!
//! A SYN costs an entry here and nothing else: no connection, no buffer, no answer. Entries leave by a decision or
//! by age. Knows nothing of routes, limits or who decides.

use std::collections::VecDeque;
use std::time::Duration;

use crate::proto::batch::Path;
use crate::proto::conn::Syn;
use crate::storage::{Key, Slab};
use crate::time::Instant;

/// The waiting SYNs.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Slab<Waiting>,
    /// Keys in order of arrival; the front one is always in `waiting`, others may have been decided. At most
    /// [`ORDER_SLACK`] more than twice as long as `waiting`.
    order: VecDeque<Key>,
}

/// One SYN, and where it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) path: Path,
    pub(super) syn: Syn,
}

/// Ours: decided entries that are not worth a sweep.
const ORDER_SLACK: usize = 16;

impl Backlog {
    pub(super) fn push(&mut self, waiting: Waiting) -> Key {
        let key = self.waiting.insert(waiting);
        self.order.push_back(key);
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&Waiting> {
        self.waiting.get(key)
    }

    /// Takes one out because somebody has decided; `None` if it is too old and has gone.
    pub(super) fn take(&mut self, key: Key) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        while self.order.front().is_some_and(|&front| !self.waiting.contains(front)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.waiting.len() + ORDER_SLACK {
            self.order.retain(|&key| self.waiting.contains(key));
        }
        Some(waiting)
    }

    /// Takes the oldest out if it has waited for `timeout`.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<(Key, Waiting)> {
        if self.next_expiry(timeout)? > now {
            return None;
        }
        let key = *self.order.front()?;
        self.take(key).map(|waiting| (key, waiting))
    }

    /// When the oldest has waited for `timeout`.
    pub(super) fn next_expiry(&self, timeout: Duration) -> Option<Instant> {
        let oldest = self.waiting.get(*self.order.front()?)?;
        Some(oldest.syn.arrived + timeout)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::proto::batch::SocketId;
    use crate::wire::{ConnId, SeqNr, Timestamp};

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn syn(arrived: Instant) -> Waiting {
        let syn = Syn {
            id: ConnId::new(0xFFFF),
            seq: SeqNr::new(65_535),
            window: 0,
            sent_at: Timestamp::default(),
            arrived,
            hello: None,
        };
        Waiting { path: Path { socket: SocketId::new(0), peer: ([192, 0, 2, 1], 9).into() }, syn }
    }

    #[test]
    fn the_oldest_goes_first_and_the_decided_do_not_go_again() {
        let mut backlog = Backlog::default();
        let [a, b, c] = [1, 2, 3].map(|secs| backlog.push(syn(at(secs))));
        assert_eq!(backlog.next_expiry(TIMEOUT), Some(at(11)));
        assert!(backlog.take(a).is_some() && backlog.take(a).is_none());
        assert_eq!(backlog.next_expiry(TIMEOUT), Some(at(12)));
        assert!(backlog.expire(at(11), TIMEOUT).is_none());
        assert_eq!(backlog.expire(at(20), TIMEOUT).unwrap().0, b);
        assert_eq!(backlog.expire(at(20), TIMEOUT).unwrap().0, c);
        assert!(backlog.expire(at(20), TIMEOUT).is_none());
        assert_eq!((backlog.len(), backlog.next_expiry(TIMEOUT)), (0, None));
    }

    #[test]
    fn one_that_nobody_decides_about_does_not_make_the_queue_grow() {
        let mut backlog = Backlog::default();
        let undecided = backlog.push(syn(at(0)));
        let mut longest = 0;
        for _ in 0..10_000 {
            let key = backlog.push(syn(at(1)));
            assert!(backlog.take(key).is_some());
            longest = longest.max(backlog.order.len());
        }
        assert_eq!(longest, 2 * backlog.len() + ORDER_SLACK, "swept in time, and not all the time");
        assert!(backlog.get(undecided).is_some());
    }
}
