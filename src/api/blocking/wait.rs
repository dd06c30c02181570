//! A thread waits for what a task would wait for. Knows no connection.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Polls until it is ready; the thread sleeps meanwhile. `None` if `deadline` comes first.
pub(super) fn wait<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let bell = Bell::of_this_thread();
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(outcome) = poll(&mut cx) {
            return Some(outcome);
        }
        if !bell.listen(deadline) {
            return None;
        }
    }
}

/// Waits for a future, which must not be of tokio's kind: outside of a task nobody renews tokio's budget.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Some(outcome) = wait(None, |cx| future.as_mut().poll(cx)) {
            return outcome;
        }
    }
}

/// What a future has to say now.
pub(super) fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// When this time from now is over; `None` if the clock does not go that far.
pub(super) fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// Nothing can be done now, or could within the time that was set; the connection lives.
pub(super) fn not_now() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// Rings for a thread. Each has one, so that a connection knows who comes again.
struct Bell {
    thread: Thread,
    /// It rang: so that nobody's else's use of the thread's parking hides it.
    rang: AtomicBool,
}

thread_local! {
    static BELL: Arc<Bell> = Bell::new();
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), rang: AtomicBool::new(false) })
    }

    /// A thread that is ending has none any more, and gets another one.
    fn of_this_thread() -> Arc<Self> {
        BELL.try_with(Arc::clone).unwrap_or_else(|_| Self::new())
    }

    /// Sleeps until it rings; false if `deadline` comes first.
    fn listen(&self, deadline: Option<Instant>) -> bool {
        while !self.rang.swap(false, Ordering::Acquire) {
            let Some(deadline) = deadline else {
                thread::park();
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// How long to wait for something, if at all; shared by all who use it.
#[derive(Debug)]
pub(super) struct Patience {
    /// Nanoseconds; [`FOREVER`](Self::FOREVER) without a limit.
    nanos: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { nanos: AtomicU64::new(Self::FOREVER) }
    }
}

impl Patience {
    const FOREVER: u64 = u64::MAX;

    /// As `set_read_timeout` of [`std::net`] takes it.
    pub(super) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time-out of nothing"));
        }
        let nanos =
            timeout.map_or(Self::FOREVER, |time| u64::try_from(time.as_nanos()).unwrap_or(Self::FOREVER));
        self.nanos.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn get(&self) -> Option<Duration> {
        match self.nanos.load(Ordering::Relaxed) {
            Self::FOREVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// When it ends, beginning now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.get().and_then(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_woken_by_what_it_waits_for_and_by_nothing_else() {
        let mut waker = None;
        let outcome = wait(None, |cx| {
            if waker.is_some() {
                return Poll::Ready("came");
            }
            waker = Some(cx.waker().clone());
            // Somebody else's business, which must not look like ours.
            thread::current().unpark();
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                waker.wake();
            });
            Poll::Pending
        });
        assert_eq!(outcome, Some("came"));
        let mut polls = 0;
        let never = wait(after(Duration::from_millis(20)), |_| {
            polls += 1;
            Poll::<()>::Pending
        });
        assert_eq!((never, polls), (None, 1));
    }

    #[test]
    fn a_ring_before_the_thread_sleeps_is_not_missed() {
        let mut rang = false;
        let outcome = wait(None, |cx| {
            if rang {
                return Poll::Ready(());
            }
            rang = true;
            cx.waker().wake_by_ref();
            // The token of parking is gone; the ring is not.
            thread::park();
            Poll::Pending
        });
        assert_eq!(outcome, Some(()));
    }

    #[test]
    fn patience_has_the_ranges_of_the_standard_library() {
        let patience = Patience::default();
        assert_eq!(patience.get(), None);
        assert!(patience.set(Some(Duration::ZERO)).is_err());
        patience.set(Some(Duration::MAX)).expect("for ever");
        assert_eq!((patience.get(), patience.deadline()), (None, None));
        patience.set(Some(Duration::from_nanos(1))).expect("short");
        assert_eq!(patience.get(), Some(Duration::from_nanos(1)));
    }
}
