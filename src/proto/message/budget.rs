//! So many bytes per second: a token bucket that may be overdrawn by one packet.

use std::time::Duration;

use crate::time::Instant;

/// Ours: what is saved up while nothing is sent, as a share of a second.
const BURST: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    bytes_per_second: u32,
    /// When the bucket will be full, if nothing more is taken.
    full_at: Instant,
}

impl Budget {
    pub(super) const fn new(bytes_per_second: u32) -> Self {
        Self { bytes_per_second, full_at: Instant::ZERO }
    }

    pub(super) const fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second as u64
    }

    /// When something may be sent: now or earlier if it may.
    pub(super) fn ready_at(&self) -> Instant {
        let burst = BURST.as_micros() as u64;
        Instant::from_micros(self.full_at.as_micros().saturating_sub(burst))
    }

    pub(super) fn admits(&self, now: Instant) -> bool {
        self.ready_at() <= now
    }

    pub(super) fn take(&mut self, now: Instant, bytes: usize) {
        let micros = (bytes as u64 * 1_000_000).div_ceil(self.bytes_per_second.into());
        self.full_at = self.full_at.max(now) + Duration::from_micros(micros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_in_the_long_run_is_the_rate_and_a_burst() {
        let mut budget = Budget::new(10_000);
        let (mut now, mut sent) = (Instant::ZERO + Duration::from_secs(5), 0);
        let end = now + Duration::from_secs(10);
        while now < end {
            while budget.admits(now) {
                budget.take(now, 1000);
                sent += 1000;
            }
            now = budget.ready_at().max(now + Duration::from_micros(100));
        }
        assert!((100_000..=102_000).contains(&sent), "{sent}");
    }
}
