//! How long a packet may be overtaken before it counts as lost (RFC 8985 §6.2, step 4).
//!
//! As long as a path has never reordered, not at all once something is known to be lost. After that, a quarter of
//! the least round trip, and a quarter more for every round in which even that proved too short; sixteen
//! recoveries without such a proof bring it back. Knows no segments.

use std::time::Duration;

use crate::proto::congestion::RttEstimator;

#[derive(Debug)]
pub(super) struct ReorderingWindow {
    seen: bool,
    /// In quarters of the least round trip.
    quarters: u32,
    /// Recoveries left until `quarters` falls back to 1.
    patience: u8,
    /// Segments from this one on belong to the next round; one widening per round.
    round_end: u64,
}

/// RFC 8985 §6.2, step 4: recoveries without a needless retransmission before the window is narrow again.
const PATIENCE: u8 = 16;
/// RFC 8985 §6.2, step 4: the window is counted in quarters of the least round trip.
const QUARTERS: u32 = 4;
/// Ours: four round trips. The smoothed round trip caps the window anyway; this keeps the count from running away.
const QUARTERS_MAX: u32 = 16;
/// RFC 9002 §6.1.2: below a millisecond, timers and schedulers reorder more than networks do.
const GRANULARITY: Duration = Duration::from_millis(1);

impl ReorderingWindow {
    pub(super) const fn new() -> Self {
        Self { seen: false, quarters: 1, patience: 0, round_end: 0 }
    }

    /// Whether this path was ever seen to reorder. Counting later packets means little then.
    pub(super) const fn is_seen(&self) -> bool {
        self.seen
    }

    /// A packet was overtaken.
    pub(super) const fn on_reordering(&mut self) {
        self.seen = true;
    }

    /// A packet was given up too soon. `acked` and `end` are the first outstanding and the next new segment.
    pub(super) fn on_given_up_too_soon(&mut self, acked: u64, end: u64) {
        self.seen = true;
        self.patience = PATIENCE;
        if acked >= self.round_end {
            self.round_end = end;
            self.quarters = (self.quarters + 1).min(QUARTERS_MAX);
        }
    }

    /// A recovery is over.
    pub(super) fn on_recovered(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            self.quarters = 1;
        }
    }

    /// How long to wait for a packet that was overtaken.
    pub(super) fn wait(&self, in_recovery: bool, rtt: &RttEstimator) -> Duration {
        if in_recovery && !self.seen {
            return Duration::ZERO;
        }
        let least = rtt.min().unwrap_or_default();
        let most = rtt.smoothed().unwrap_or(least);
        (least * self.quarters / QUARTERS).min(most).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtt(millis: u64) -> RttEstimator {
        let mut rtt = RttEstimator::new(Duration::from_millis(250));
        rtt.sample(Duration::from_millis(millis));
        rtt
    }

    #[test]
    fn an_orderly_path_gets_no_grace_during_recovery() {
        let mut window = ReorderingWindow::new();
        assert_eq!(window.wait(true, &rtt(40)), Duration::ZERO);
        assert_eq!(window.wait(false, &rtt(40)), Duration::from_millis(10));
        window.on_reordering();
        assert_eq!(window.wait(true, &rtt(40)), Duration::from_millis(10));
    }

    #[test]
    fn giving_up_too_soon_widens_once_per_round_and_never_beyond_a_round_trip() {
        let mut window = ReorderingWindow::new();
        window.on_given_up_too_soon(10, 50);
        window.on_given_up_too_soon(20, 60);
        assert_eq!(window.wait(true, &rtt(40)), Duration::from_millis(20));
        for round in 1..20 {
            window.on_given_up_too_soon(round * 100, round * 100 + 100);
        }
        assert_eq!(window.wait(true, &rtt(40)), Duration::from_millis(40));
    }

    #[test]
    fn sixteen_quiet_recoveries_narrow_it_again() {
        let mut window = ReorderingWindow::new();
        window.on_given_up_too_soon(10, 50);
        for _ in 0..15 {
            window.on_recovered();
        }
        assert_eq!(window.wait(true, &rtt(40)), Duration::from_millis(20));
        window.on_recovered();
        assert_eq!(window.wait(true, &rtt(40)), Duration::from_millis(10));
    }
}
