//! Our receive window: how large it should be, and how the peer learns that it opened.
//!
//! The window starts at a fixed size and grows to twice what arrives in the smallest round trip, so that it never
//! limits a path that delivers, and does not pay for a queue. An opened window is announced until data arrives:
//! libtorrent never probes a shut window (measured), so a lost update would stop it for ever.

use std::time::Duration;

use crate::time::Instant;

/// Ours: pauses between repeated announcements, the last one for ever after.
const REPEAT_AFTER: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
];

/// Ours: half a minute of repeats outlives every plausible run of losses; after that keepalives carry the window.
const REPEATS_MAX: usize = 10;

/// Ours: measuring more often than this costs more than it tells.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Grows the receive window as the path deserves it.
#[derive(Debug, Default)]
pub(super) struct WindowTuner {
    round_trip: Option<Duration>,
    interval_start: Instant,
    interval_bytes: usize,
}

impl WindowTuner {
    /// A round trip seen by whatever means; the smallest counts.
    pub(super) fn round_trip(&mut self, sample: Duration) {
        self.round_trip = Some(self.round_trip.map_or(sample, |best| best.min(sample)));
    }

    /// Bytes arrived in order. Returns the window that the path deserves, when there is something new to say.
    pub(super) fn delivered(&mut self, now: Instant, bytes: usize) -> Option<usize> {
        self.interval_bytes += bytes;
        let round_trip = self.round_trip?;
        let elapsed = now.since(self.interval_start);
        if elapsed < round_trip.max(INTERVAL_MIN) {
            return None;
        }
        let per_round_trip =
            self.interval_bytes as u128 * round_trip.as_micros() / elapsed.as_micros().max(1);
        self.interval_start = now;
        self.interval_bytes = 0;
        usize::try_from(2 * per_round_trip).ok()
    }
}

/// Ours: a window smaller than two full Ethernet packets counts as shut; a peer may need that much to send at all.
const SHUT_BELOW: u32 = 3_000;

/// Decides when a window update is due.
#[derive(Debug, Default)]
pub(super) struct WindowUpdates {
    advertised: Option<u32>,
    repeat_at: Option<Instant>,
    repeats: usize,
}

impl WindowUpdates {
    /// A packet with this window left.
    pub(super) fn sent(&mut self, now: Instant, window: u32) {
        let was_shut = self.advertised.is_some_and(|before| before < SHUT_BELOW);
        self.advertised = Some(window);
        if window < SHUT_BELOW {
            self.repeat_at = None;
        } else if was_shut {
            self.repeats = 0;
            self.repeat_at = Some(now + REPEAT_AFTER[0]);
        }
    }

    /// Whether the application has read enough for the peer to be told: the window was shut and is not any more,
    /// or has grown by half its limit.
    pub(super) fn due(&self, window: u32, limit: u32) -> bool {
        match self.advertised {
            None => false,
            Some(before) if before < SHUT_BELOW => window >= SHUT_BELOW,
            Some(before) => window.saturating_sub(before) >= limit / 2,
        }
    }

    /// Data arrived: the peer knows that the window is open.
    pub(super) fn seen(&mut self) {
        self.repeat_at = None;
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.repeat_at
    }

    /// Whether the last announcement should be repeated now.
    pub(super) fn repeat(&mut self, now: Instant) -> bool {
        if self.repeat_at.is_none_or(|at| now < at) {
            return false;
        }
        self.repeats += 1;
        let pause = REPEAT_AFTER[self.repeats.min(REPEAT_AFTER.len() - 1)];
        self.repeat_at = (self.repeats < REPEATS_MAX).then(|| now + pause);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c20_a_reopened_window_is_announced_until_data_arrives() {
        let mut updates = WindowUpdates::default();
        let at = Instant::from_micros;
        updates.sent(at(0), 1 << 20);
        assert_eq!(updates.deadline(), None, "a window that was never shut needs no announcement");
        updates.sent(at(0), 0);
        assert!(!updates.due(SHUT_BELOW - 1, 1 << 20) && updates.due(SHUT_BELOW, 1 << 20));
        updates.sent(at(10), SHUT_BELOW);
        let mut told = 0;
        for ms in 0..60_000 {
            told += usize::from(updates.repeat(at(ms * 1000)));
        }
        assert_eq!(told, REPEATS_MAX);
        updates.sent(at(0), 0);
        updates.sent(at(10), SHUT_BELOW);
        updates.seen();
        assert_eq!(updates.deadline(), None);
        assert!(!updates.due(SHUT_BELOW + 1, 1 << 20), "it was not shut");
        updates.sent(at(20), SHUT_BELOW);
        updates.sent(at(30), 1 << 20);
        assert_eq!(updates.deadline(), None);
    }

    #[test]
    fn the_window_grows_with_rate_times_round_trip_and_not_with_a_queue() {
        let mut tuner = WindowTuner::default();
        tuner.round_trip(Duration::from_millis(100));
        tuner.round_trip(Duration::from_millis(900));
        assert_eq!(tuner.delivered(Instant::from_micros(50_000), 600_000), None);
        assert_eq!(tuner.delivered(Instant::from_micros(100_000), 650_000), Some(2_500_000));
        assert_eq!(tuner.delivered(Instant::from_micros(300_000), 2_500_000), Some(2_500_000));
    }
}
