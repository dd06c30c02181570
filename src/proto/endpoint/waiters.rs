//! Tasks that wait, and for what: a short list of wakers.
//!
//! Calls no waker itself. Whoever takes wakers out calls them after letting go of every lock.

use std::task::Waker;

/// What a task waits for: a set of up to eight kinds, whose meaning is the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest(u8);

impl Interest {
    /// No kind.
    pub(super) const NONE: Self = Self(0);

    /// Every kind.
    pub(super) const ALL: Self = Self(u8::MAX);

    /// The kind with this number, 0 to 7.
    pub(super) const fn kind(number: u8) -> Self {
        Self(1 << number)
    }

    /// Both.
    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Ours: more tasks than usually wait for one thing; a longer list may be full of tasks that have given up.
const CROWD: usize = 32;

/// Ours: the most tasks that may wait for one thing without waking each other. 96 KiB, and only if the application
/// has started so many.
const CROWD_MAX: usize = 4096;

/// The tasks that wait for something of one owner. A task appears once, however many kinds it waits for.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// At most [`CROWD_MAX`].
    list: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    interest: Interest,
}

impl Waiters {
    /// Remembers that a task waits.
    ///
    /// Nobody says when a task gives up waiting. So when the list is full, everybody in it lands in `woken`, and the
    /// list may become twice as long: those that still wait come back and find room, the others are gone.
    pub(super) fn register(&mut self, waker: &Waker, interest: Interest, woken: &mut Vec<Waker>) {
        if let Some(known) = self.list.iter_mut().find(|known| known.waker.will_wake(waker)) {
            known.interest = known.interest.and(interest);
            return;
        }
        let len = self.list.len();
        if len >= CROWD && len == self.list.capacity() {
            woken.extend(self.list.drain(..).map(|waiter| waiter.waker));
            if len < CROWD_MAX {
                self.list.reserve_exact(2 * len);
            }
        }
        self.list.push(Waiter { waker: waker.clone(), interest });
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether anybody waits for any of these kinds.
    #[cfg(feature = "sim")]
    pub(super) fn has(&self, interest: Interest) -> bool {
        self.list.iter().any(|waiter| waiter.interest.without(interest) != waiter.interest)
    }

    /// Moves the wakers of all that wait for any of these kinds to `woken`, each once.
    ///
    /// A task that also waits for something else stays in the list for that.
    pub(super) fn take(&mut self, interest: Interest, woken: &mut Vec<Waker>) {
        let mut at = 0;
        while let Some(waiter) = self.list.get_mut(at) {
            let left = waiter.interest.without(interest);
            if left == waiter.interest {
                at += 1;
            } else if left == Interest::NONE {
                woken.push(self.list.swap_remove(at).waker);
            } else {
                waiter.interest = left;
                woken.push(waiter.waker.clone());
            }
        }
        if self.list.is_empty() && self.list.capacity() > CROWD {
            self.list = Vec::new();
        }
    }
}

/// Keeps the last task that asked, where only one is woken. The one before is to be dropped after the lock is released: it
/// may run somebody else's code.
#[must_use]
pub(super) fn exchange(kept: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match kept {
        Some(known) if known.will_wake(waker) => None,
        _ => kept.replace(waker.clone()),
    }
}

/// Calls every waker. No lock may be held.
pub(super) fn wake_all(woken: &mut Vec<Waker>) {
    for waker in woken.drain(..) {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const READ: Interest = Interest::kind(0);
    const WRITE: Interest = Interest::kind(1);

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_task_that_waits_for_two_things_is_woken_once_for_each() {
        let (count, waker) = task();
        let mut waiters = Waiters::default();
        let mut woken = Vec::new();
        waiters.register(&waker, READ, &mut woken);
        waiters.register(&waker, WRITE, &mut woken);
        waiters.take(READ, &mut woken);
        waiters.take(READ, &mut woken);
        assert_eq!(woken.len(), 1);
        waiters.take(WRITE, &mut woken);
        assert_eq!(woken.len(), 2);
        wake_all(&mut woken);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        waiters.take(Interest::ALL, &mut woken);
        assert!(woken.is_empty());
    }

    #[test]
    fn everybody_who_waits_for_the_same_is_woken() {
        let tasks: Vec<_> = (0..5).map(|_| task()).collect();
        let mut waiters = Waiters::default();
        let mut woken = Vec::new();
        for (_, waker) in &tasks {
            waiters.register(waker, READ, &mut woken);
        }
        waiters.take(READ.and(WRITE), &mut woken);
        wake_all(&mut woken);
        assert!(tasks.iter().all(|(count, _)| count.0.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn tasks_that_gave_up_do_not_pile_up_and_one_that_stays_is_woken() {
        let mut waiters = Waiters::default();
        let mut woken = Vec::new();
        let (count, stays) = task();
        waiters.register(&stays, READ, &mut woken);
        for _ in 0..20_000 {
            waiters.register(&task().1, READ, &mut woken);
            // The one that stays comes back when it is woken.
            if woken.drain(..).any(|waker| waker.will_wake(&stays)) {
                waiters.register(&stays, READ, &mut Vec::new());
            }
            assert!(waiters.list.len() <= CROWD_MAX);
        }
        waiters.take(READ, &mut woken);
        wake_all(&mut woken);
        assert_eq!((count.0.load(Ordering::Relaxed), waiters.list.capacity()), (1, 0));
    }

    #[test]
    fn those_who_wait_for_something_else_stay_and_a_usual_list_keeps_its_memory() {
        for crowd in [CROWD, CROWD + 8] {
            let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
            let (count, writer) = task();
            waiters.register(&writer, WRITE, &mut woken);
            let readers: Vec<_> = (1..crowd).map(|_| task().1).collect();
            readers.iter().for_each(|waker| waiters.register(waker, READ, &mut woken));
            // A list that becomes longer wakes everybody once, and all of them come back.
            std::mem::take(&mut woken).iter().for_each(|waker| {
                let interest = if waker.will_wake(&writer) { WRITE } else { READ };
                waiters.register(waker, interest, &mut woken);
            });
            waiters.take(READ, &mut woken);
            assert_eq!((woken.len(), waiters.list.len()), (crowd - 1, 1));
            waiters.take(WRITE, &mut woken);
            assert_eq!(waiters.list.capacity(), if crowd > CROWD { 0 } else { CROWD });
            wake_all(&mut woken);
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn a_thousand_tasks_wait_without_waking_each_other_for_ever() {
        let tasks: Vec<_> = (0..1000).map(|_| task()).collect();
        let mut waiters = Waiters::default();
        let mut woken: Vec<Waker> = tasks.iter().map(|(_, waker)| waker.clone()).collect();
        let mut wakes = 0;
        while !woken.is_empty() {
            for waker in std::mem::take(&mut woken) {
                wakes += 1;
                waiters.register(&waker, READ, &mut woken);
            }
        }
        assert_eq!(waiters.list.len(), 1000);
        assert!(wakes < 4000, "{wakes}");
    }
}
