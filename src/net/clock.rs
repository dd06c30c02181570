//! The one clock: tokio's, so that tests can pause it, counted from when the driver was made.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::time::Instant;

/// Turns tokio's time into microseconds since the endpoint began, and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: tokio::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { epoch: tokio::time::Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// When tokio has to wake us for `at`. Times too far off to be represented become a year from now.
    pub(crate) fn deadline(self, at: Instant) -> tokio::time::Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let after = at.since(Instant::ZERO);
        self.epoch.checked_add(after).unwrap_or_else(|| tokio::time::Instant::now() + YEAR)
    }
}

/// The driver's one timer.
///
/// Deadlines move with nearly every packet, mostly to later. A timer that is set too early is left alone: it wakes the
/// driver once for nothing, which costs less than setting it every time.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// What it is set to, if it is running.
    set_to: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set. Must be called within a tokio runtime with time enabled.
    pub(crate) fn new(clock: Clock) -> Self {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { clock, sleep, set_to: None }
    }

    /// Ready at `at` at the latest, perhaps earlier.
    pub(crate) fn poll_reached(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.set_to.is_none_or(|set_to| at < set_to) {
            self.sleep.as_mut().reset(self.clock.deadline(at));
            self.set_to = Some(at);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.set_to = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_reached_when_the_clock_says_so() {
        let clock = Clock::start();
        let at = clock.now() + Duration::from_micros(1_500);
        tokio::time::sleep_until(clock.deadline(at)).await;
        assert!(clock.now() >= at);
        assert!(clock.now().since(at) < Duration::from_millis(2));
    }

    #[tokio::test]
    async fn the_end_of_time_is_a_valid_deadline() {
        let clock = Clock::start();
        assert!(clock.deadline(Instant::from_micros(u64::MAX)) > tokio::time::Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_is_never_late_whichever_way_its_deadline_moves() {
        let clock = Clock::start();
        let mut alarm = Alarm::new(clock);
        let deadline = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut poll = async |ms| alarm_is_reached(&mut alarm, deadline(ms)).await;
        assert!(!poll(50).await && !poll(10).await && !poll(70).await);
        tokio::time::sleep_until(clock.deadline(deadline(11))).await;
        // Early, because it was set to 10 ms once.
        assert!(poll(70).await);
        assert!(!poll(70).await);
        tokio::time::sleep_until(clock.deadline(deadline(71))).await;
        assert!(poll(70).await);
    }

    async fn alarm_is_reached(alarm: &mut Alarm, at: Instant) -> bool {
        poll_fn(|cx| Poll::Ready(alarm.poll_reached(cx, at).is_ready())).await
    }
}
