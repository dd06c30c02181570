//! How it has gone lately: bytes per second, and how long messages take until they are known to be there.

use std::time::Duration;

use crate::time::Instant;

/// Ours: rates are counted over spans at least this long. Shorter ones would be about single acknowledgements.
const SPAN: Duration = Duration::from_millis(200);

/// Bytes per second, over the latest span that is complete.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proto) struct Rate {
    span: Option<Span>,
    per_second: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    began: Instant,
    /// What the total was then.
    total: u64,
}

impl Rate {
    /// So many bytes it is now since ever. Returns whether a span has ended.
    pub(in crate::proto) fn note(&mut self, now: Instant, total: u64) -> bool {
        let Some(Span { began, total: before }) = self.span else {
            self.span = Some(Span { began: now, total });
            return false;
        };
        let elapsed = now.since(began);
        if elapsed < SPAN {
            return false;
        }
        let bytes = u128::from(total.saturating_sub(before));
        self.per_second = u64::try_from(bytes * 1_000_000 / elapsed.as_micros()).unwrap_or(u64::MAX);
        self.span = Some(Span { began: now, total });
        true
    }

    pub(in crate::proto) const fn per_second(&self) -> u64 {
        self.per_second
    }
}

/// What became known of the messages of one channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deliveries {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Packets that were lost with something of it.
    pub(super) losses: u64,
    rate: Rate,
    /// Microseconds from leaving to being known to be there; 0 as long as nothing is known.
    smoothed: u32,
    variation: u32,
    least: u32,
}

impl Deliveries {
    /// A message of so many bytes is there, so long after it left.
    pub(super) fn note(&mut self, now: Instant, bytes: u32, took: Duration) {
        self.messages += 1;
        self.bytes += u64::from(bytes);
        self.rate.note(now, self.bytes);
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        if self.smoothed == 0 {
            (self.smoothed, self.variation, self.least) = (took, took / 2, took);
            return;
        }
        // As RFC 6298 does it for packets.
        let away = self.smoothed.abs_diff(took);
        self.variation = self.variation - self.variation / 4 + away / 4;
        self.smoothed = (self.smoothed - self.smoothed / 8).saturating_add(took / 8).max(1);
        self.least = self.least.min(took);
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        (self.smoothed > 0).then(|| Duration::from_micros(self.smoothed.into()))
    }

    pub(super) fn rtt_min(&self) -> Option<Duration> {
        (self.smoothed > 0).then(|| Duration::from_micros(self.least.into()))
    }

    pub(super) fn jitter(&self) -> Duration {
        Duration::from_micros(self.variation.into())
    }

    pub(super) const fn bandwidth(&self) -> u64 {
        self.rate.per_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_rate_is_that_of_the_latest_whole_span_and_of_nothing_before_it() {
        let mut rate = Rate::default();
        assert!(!rate.note(at(1000), 5_000_000), "what was before is not counted");
        assert!(!rate.note(at(1199), 5_000_100));
        assert!(rate.note(at(1250), 5_000_250));
        assert_eq!(rate.per_second(), 1000);
        assert!(rate.note(at(2250), 5_000_250));
        assert_eq!(rate.per_second(), 0);
    }

    #[test]
    fn times_are_smoothed_and_the_least_is_kept() {
        let mut deliveries = Deliveries::default();
        assert_eq!(
            (deliveries.rtt(), deliveries.rtt_min(), deliveries.jitter()),
            (None, None, Duration::ZERO)
        );
        for round in 0..200 {
            let took = Duration::from_millis(if round % 2 == 0 { 20 } else { 40 });
            deliveries.note(at(10 * round), 100, took);
        }
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        assert!((28.0..32.0).contains(&millis(deliveries.rtt().unwrap_or_default())), "{deliveries:?}");
        assert!((8.0..12.0).contains(&millis(deliveries.jitter())), "{deliveries:?}");
        assert_eq!(deliveries.rtt_min(), Some(Duration::from_millis(20)));
        assert_eq!((deliveries.messages, deliveries.bytes, deliveries.bandwidth()), (200, 20_000, 10_000));
    }

    #[test]
    fn times_that_cannot_be_are_no_trouble() {
        let mut deliveries = Deliveries::default();
        for took in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::MAX, Duration::MAX] {
            deliveries.note(at(0), u32::MAX, took);
        }
        assert!(deliveries.rtt() > Some(Duration::from_secs(60)));
        assert_eq!(deliveries.rtt_min(), Some(Duration::from_micros(1)));
    }
}
