//! The core under a lock, and who waits for it to change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;

use super::core::{Core, Generation};
use super::frame::Hello;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Room in the queue of packets out.
    Room,
    /// A packet that came.
    Packet,
    /// Something to write.
    Writer,
    /// Room in the queue of packets that came.
    Reader,
    /// An error.
    Error,
    /// A connection that comes or goes; everything confirmed; the end.
    State,
}

const INTERESTS: usize = 6;

#[derive(Debug)]
pub(super) struct Shared {
    locked: Mutex<Locked>,
}

#[derive(Debug)]
pub(super) struct Locked {
    pub(super) core: Core,
    waiting: [Vec<Waker>; INTERESTS],
    /// The task of the connection of the day.
    pump: Option<AbortHandle>,
}

impl Shared {
    pub(super) fn new(core: Core) -> Arc<Self> {
        Arc::new(Self { locked: Mutex::new(Locked { core, waiting: Default::default(), pump: None }) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, then wakes everybody who may have waited for it. No waker is called under the lock.
    pub(super) fn change<R>(&self, wake: &[Interest], verb: impl FnOnce(&mut Core) -> R) -> R {
        let mut woken = Vec::new();
        let result = {
            let mut locked = self.lock();
            let result = verb(&mut locked.core);
            wake.iter().for_each(|&interest| woken.append(&mut locked.waiting[interest as usize]));
            result
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// Tries something, and has the task woken when it may be worth another try.
    pub(super) fn poll<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        attempt: impl FnOnce(&mut Core) -> Poll<R>,
    ) -> Poll<R> {
        let mut locked = self.lock();
        let result = attempt(&mut locked.core);
        if result.is_pending() {
            let waiting = &mut locked.waiting[interest as usize];
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
        }
        result
    }

    /// A new connection takes the place of the one before, whose task ends. `spawn` starts the new one's.
    pub(super) fn attach(&self, spawn: impl FnOnce(Generation, Hello) -> AbortHandle) {
        let old = {
            let mut locked = self.lock();
            let (generation, hello) = locked.core.attach();
            let pump = spawn(generation, hello);
            locked.pump.replace(pump)
        };
        if let Some(old) = old {
            old.abort();
        }
        self.change(&[Interest::State], |_| ());
    }

    /// Ends the connection of the day.
    pub(super) fn detach(&self) {
        let mut locked = self.lock();
        let pump = locked.pump.take();
        locked.core.detach_any();
        drop(locked);
        if let Some(pump) = pump {
            pump.abort();
        }
        self.change(&[Interest::State], |_| ());
    }
}
