//! How often something may be done: so many at once, and so many more per minute.
//!
//! Knows nothing of what is being limited.

use std::time::Duration;

use crate::time::Instant;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Per minute, in the long run.
    pub per_minute: u32,
    /// At once, after a pause.
    pub burst: u32,
}

impl Rate {
    /// So many per minute, and so many of them at once.
    #[must_use]
    pub const fn per_minute(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }

    pub(super) const fn is_some(self) -> bool {
        self.per_minute > 0 && self.burst > 0
    }

    /// What one costs.
    fn interval(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.max(1)
    }
}

/// How much of a [`Rate`] somebody has used up; eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// When all of it will be there again.
    full_at: Instant,
}

impl Used {
    /// Takes one.
    ///
    /// # Errors
    /// There is none; how long it takes until there is.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Duration> {
        let interval = rate.interval();
        let full_at = self.full_at.max(now) + interval;
        let debt = full_at.since(now);
        let most = interval * rate.burst.max(1);
        if debt > most {
            return Err(debt - most);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_as_many_as_the_minute_brings() {
        let rate = Rate::per_minute(10, 5);
        let mut used = Used::default();
        let tries = |used: &mut Used, secs: u64, count: u32| {
            let now = Instant::from_micros(secs * 1_000_000);
            (0..count).filter(|_| used.take(now, rate).is_ok()).count()
        };
        assert_eq!(tries(&mut used, 0, 100), 5);
        assert_eq!(used.take(Instant::ZERO, rate), Err(Duration::from_secs(6)));
        assert_eq!(tries(&mut used, 5, 100), 0);
        assert_eq!(tries(&mut used, 6, 100), 1);
        assert_eq!((7..=66).map(|secs| tries(&mut used, secs, 9)).sum::<usize>(), 10);
        assert!(!used.is_full(Instant::from_micros(66_000_000)));
        assert_eq!(tries(&mut used, 1000, 100), 5, "a pause brings no more than a burst");
    }
}
