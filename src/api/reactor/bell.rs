//! Who has news: a queue into which each peer puts itself when something happens to it.
//!
//! What a task is to tokio, a bell is here: a waker that remembers whose it is. So nobody looks at peers to whom nothing
//! has happened, however many there are.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use crate::storage::Key;

/// Whose bell it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Peer(Key),
    Punch(Key),
    Survey(Key),
}

/// The bells that have rung, in order. Each is in it at most once, so it is never longer than there are owners.
#[derive(Debug, Default)]
pub(super) struct Rung {
    queue: Mutex<VecDeque<Owner>>,
}

impl Rung {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Owner>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves all of them to `out`, which is empty.
    pub(super) fn take(&self, out: &mut VecDeque<Owner>) {
        debug_assert!(out.is_empty(), "whoever has rung before is heard first");
        mem::swap(&mut *self.lock(), out);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// One owner's bell.
#[derive(Debug)]
pub(super) struct Bell {
    ringing: Arc<Ringing>,
    waker: Waker,
}

#[derive(Debug)]
struct Ringing {
    owner: Owner,
    /// It is in the queue.
    rung: AtomicBool,
    queue: Arc<Rung>,
}

impl Bell {
    pub(super) fn new(owner: Owner, queue: &Arc<Rung>) -> Self {
        let ringing = Arc::new(Ringing { owner, rung: AtomicBool::new(false), queue: Arc::clone(queue) });
        Self { waker: Waker::from(Arc::clone(&ringing)), ringing }
    }

    pub(super) fn ring(&self) {
        self.ringing.ring();
    }

    /// Its owner is being looked after: what happens from now on rings again.
    pub(super) fn heard(&self) {
        self.ringing.rung.store(false, Relaxed);
    }

    /// What it is registered by.
    pub(super) const fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }
}

impl Ringing {
    fn ring(&self) {
        if !self.rung.swap(true, Relaxed) {
            self.queue.lock().push_back(self.owner);
        }
    }
}

impl Wake for Ringing {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Slab;

    #[test]
    fn a_bell_is_in_the_queue_once_and_rings_again_after_it_was_heard() {
        let (rung, mut slab) = (Arc::new(Rung::default()), Slab::new());
        let owners = [Owner::Peer(slab.insert(())), Owner::Punch(slab.insert(()))];
        let [one, other] = owners.map(|owner| Bell::new(owner, &rung));
        one.ring();
        other.context().waker().wake_by_ref();
        one.ring();
        let mut out = VecDeque::new();
        rung.take(&mut out);
        assert_eq!((out.make_contiguous(), rung.is_empty()), (&mut { owners }[..], true));
        one.ring();
        assert!(rung.is_empty(), "it has not been heard yet");
        one.heard();
        one.ring();
        assert!(!rung.is_empty());
    }
}
