//! Who has been woken: the wakers of the programs of one host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Who has been woken and not been stepped since.
#[derive(Debug, Default)]
pub(super) struct Bells {
    rung: Mutex<Vec<u32>>,
}

impl Bells {
    pub(super) fn ring(&self, index: u32) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice in a row is once.
        if rung.last() != Some(&index) {
            rung.push(index);
        }
    }

    pub(super) fn take(&self, into: &mut Vec<u32>) {
        into.clear();
        std::mem::swap(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

/// What the waker of a program rings.
#[derive(Debug)]
pub(super) struct Bell {
    bells: Arc<Bells>,
    index: u32,
    /// Nobody listens to it any more.
    muted: AtomicBool,
}

impl Bell {
    /// Stands for the one who accepts.
    pub(super) const LISTENER: u32 = u32::MAX;

    /// The first of those who are not the program of a connection.
    pub(super) const LODGERS: u32 = 1 << 31;

    pub(super) fn new(bells: &Arc<Bells>, index: u32) -> Arc<Self> {
        Arc::new(Self { bells: Arc::clone(bells), index, muted: AtomicBool::new(false) })
    }

    pub(super) fn waker(bells: &Arc<Bells>, index: u32) -> Waker {
        Waker::from(Self::new(bells, index))
    }

    /// A bell for the same program, in place of this one, which is silent from now on.
    pub(super) fn replaced(&self) -> Arc<Self> {
        self.muted.store(true, Ordering::Relaxed);
        Self::new(&self.bells, self.index)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muted.load(Ordering::Relaxed) {
            self.bells.ring(self.index);
        }
    }
}
