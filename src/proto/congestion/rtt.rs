//! How long a round trip takes, and how long to wait before taking silence for loss (RFC 6298).
//!
//! Does not know which acknowledgements make honest samples: whoever feeds it leaves out those of packets that were
//! sent more than once (Karn's rule).

use std::time::Duration;

/// Smoothed round trip time, its variation and smallest value, and the retransmission timeout that follows.
#[derive(Clone, Copy, Debug)]
pub struct RttEstimator {
    samples: Option<Samples>,
    rto_min: Duration,
    backoffs: u8,
    spread: u64,
}

impl RttEstimator {
    /// An estimator without samples, whose timeout is never below `rto_min` (nor above a minute).
    #[must_use]
    pub const fn new(rto_min: Duration) -> Self {
        Self { samples: None, rto_min, backoffs: 0, spread: 0 }
    }

    /// Chance from outside, another for each connection. Connections that were cut off by the same outage back off in
    /// step, and would overflow the same queue again at every doubling; with this they spread.
    pub const fn spread(&mut self, seed: u64) {
        self.spread = seed;
    }

    /// One round trip of a packet that was sent exactly once.
    ///
    /// Ends the back-off: a sample proves that data gets through, and how fast (RFC 6298 §5).
    pub fn sample(&mut self, rtt: Duration) {
        let rtt = u64::try_from(rtt.min(RTO_MAX).as_micros()).unwrap_or(u64::MAX);
        self.backoffs = 0;
        match &mut self.samples {
            Some(samples) => samples.add(rtt),
            None => self.samples = Some(Samples::first(rtt)),
        }
    }

    /// The timer fired: the next timeout is twice as long (RFC 6298 §5.5).
    pub fn back_off(&mut self) {
        self.backoffs = self.backoffs.saturating_add(1);
    }

    /// Something got through although there was nothing to sample: back to the timeout that the samples give.
    pub fn reset_back_off(&mut self) {
        self.backoffs = 0;
    }

    /// Timeouts in a row.
    #[must_use]
    pub const fn backoffs(&self) -> u8 {
        self.backoffs
    }

    /// Smoothed round trip time.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.samples.map(|samples| Duration::from_micros(samples.smoothed_eighths / 8))
    }

    /// Mean deviation; zero before there is a sample.
    #[must_use]
    pub fn variation(&self) -> Duration {
        self.samples.map_or(Duration::ZERO, |samples| Duration::from_micros(samples.variation_quarters / 4))
    }

    /// The newest sample.
    #[must_use]
    pub fn latest(&self) -> Option<Duration> {
        self.samples.map(|samples| Duration::from_micros(samples.latest))
    }

    /// The smallest sample ever: the path without any queue, as far as this connection has seen.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        self.samples.map(|samples| Duration::from_micros(samples.min))
    }

    /// How long to wait for an acknowledgement: smoothed + 4 x variation, doubled for each timeout in a row.
    #[must_use]
    pub fn rto(&self) -> Duration {
        let one = self.samples.map_or(RTO_INITIAL, |samples| {
            let variation = Duration::from_micros(samples.variation_quarters).max(GRANULARITY);
            Duration::from_micros(samples.smoothed_eighths / 8) + variation
        });
        let doublings = self.backoffs.min(BACKOFFS_MAX);
        let doubled = one.max(self.rto_min).saturating_mul(1 << doublings);
        let spread = if doublings == 0 { 0 } else { self.spread.to_le_bytes()[usize::from(doublings % 8)] };
        let later = doubled / SPREAD_MAX * spread.into() / u8::MAX.into();
        (doubled + later).min(RTO_MAX.max(self.rto_min))
    }
}

/// All in microseconds. The averages are kept in fractions, so that they do not stand still a few microseconds away
/// from a steady value: on loopback that would be half of it.
#[derive(Clone, Copy, Debug)]
struct Samples {
    smoothed_eighths: u64,
    variation_quarters: u64,
    latest: u64,
    min: u64,
}

impl Samples {
    /// RFC 6298 §2.2.
    const fn first(rtt: u64) -> Self {
        Self { smoothed_eighths: rtt * 8, variation_quarters: rtt * 2, latest: rtt, min: rtt }
    }

    /// RFC 6298 §2.3, with its alpha of 1/8 and beta of 1/4: the variation first, from the old average.
    fn add(&mut self, rtt: u64) {
        let off = rtt.abs_diff(self.smoothed_eighths / 8);
        self.variation_quarters = self.variation_quarters - self.variation_quarters / 4 + off;
        self.smoothed_eighths = self.smoothed_eighths - self.smoothed_eighths / 8 + rtt;
        self.latest = rtt;
        self.min = self.min.min(rtt);
    }
}

/// RFC 6298 §2.1: the timeout before there is a sample.
const RTO_INITIAL: Duration = Duration::from_secs(1);

/// RFC 6298 §2.5: an upper bound may be placed on the timeout if it is at least 60 seconds. Longer waits only delay
/// the verdict that the peer is gone.
const RTO_MAX: Duration = Duration::from_secs(60);

/// RFC 6298 §2.2 (G): the variation counts as no less than what a timer can tell apart; those of the usual runtimes
/// tick every millisecond.
const GRANULARITY: Duration = Duration::from_millis(1);

/// Ours: by up to this part of it a timeout that follows another one lasts longer.
const SPREAD_MAX: u32 = 4;

/// Ours: doublings that reach the upper bound from 10 ms, the smallest timeout that can be set. More would overflow.
const BACKOFFS_MAX: u8 = 13;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sampled(samples: &[Duration]) -> RttEstimator {
        let mut rtt = RttEstimator::new(ms(10));
        samples.iter().for_each(|&sample| rtt.sample(sample));
        rtt
    }

    #[test]
    fn c24_rto_is_a_second_before_the_first_sample() {
        let rtt = RttEstimator::new(ms(500));
        assert_eq!(rtt.rto(), ms(1000));
        assert_eq!((rtt.smoothed(), rtt.min(), rtt.latest(), rtt.variation()), (None, None, None, ms(0)));
    }

    #[test]
    fn c24_first_sample_sets_average_and_half_of_it_as_variation() {
        let rtt = sampled(&[ms(100)]);
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.rto()), (Some(ms(100)), ms(50), ms(300)));
    }

    #[test]
    fn c24_later_samples_follow_rfc_6298() {
        // variation 3/4 x 50 + 1/4 x |100 - 60| = 47.5; average 7/8 x 100 + 1/8 x 60 = 95.
        let rtt = sampled(&[ms(100), ms(60)]);
        assert_eq!(rtt.variation(), Duration::from_micros(47_500));
        assert_eq!(rtt.smoothed(), Some(ms(95)));
        assert_eq!(rtt.rto(), ms(95 + 190));
        assert_eq!((rtt.latest(), rtt.min()), (Some(ms(60)), Some(ms(60))));
    }

    #[test]
    fn c24_a_steady_path_converges_to_the_microsecond() {
        let mut samples = vec![Duration::from_micros(900)];
        samples.resize(200, Duration::from_micros(37));
        let rtt = sampled(&samples);
        let off = rtt.smoothed().unwrap().abs_diff(Duration::from_micros(37));
        assert!(off <= Duration::from_micros(1), "{off:?}");
        assert!(rtt.variation() <= Duration::from_micros(1));
    }

    #[test]
    fn c24_rto_stays_within_its_bounds() {
        let mut rtt = RttEstimator::new(ms(500));
        rtt.sample(Duration::from_micros(40));
        assert_eq!(rtt.rto(), ms(500));
        rtt.sample(Duration::from_secs(1 << 40));
        assert_eq!(rtt.rto(), Duration::from_secs(60));
        assert_eq!(rtt.latest(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn c24_a_steady_path_still_waits_for_the_timer_tick() {
        let rtt = sampled(&[ms(20); 100]);
        assert_eq!(rtt.rto(), ms(21));
    }

    #[test]
    fn c24_back_off_doubles_to_a_minute_and_ends_with_a_sample() {
        let mut rtt = sampled(&[ms(100)]);
        let waits: Vec<_> = (0..9)
            .map(|_| {
                rtt.back_off();
                rtt.rto().as_millis()
            })
            .collect();
        assert_eq!(waits, [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 60_000, 60_000]);
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!((rtt.backoffs(), rtt.rto()), (255, Duration::from_secs(60)));
        rtt.sample(ms(100));
        assert_eq!((rtt.backoffs(), rtt.rto()), (0, Duration::from_micros(250_000)));
    }

    #[test]
    fn c24_back_off_spreads_connections_by_up_to_a_quarter() {
        let waits: Vec<_> = (0..50u64)
            .map(|seed| {
                let mut rtt = sampled(&[ms(100)]);
                rtt.spread(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                assert_eq!(rtt.rto(), ms(300));
                rtt.back_off();
                rtt.rto()
            })
            .collect();
        assert!(waits.iter().all(|wait| (ms(600)..=ms(750)).contains(wait)), "{waits:?}");
        let apart = waits.iter().max().unwrap().saturating_sub(*waits.iter().min().unwrap());
        assert!(apart > ms(100), "{apart:?}");
    }

    #[test]
    fn c24_back_off_can_end_without_a_sample() {
        let mut rtt = sampled(&[ms(100)]);
        rtt.back_off();
        rtt.reset_back_off();
        assert_eq!((rtt.backoffs(), rtt.rto()), (0, ms(300)));
    }
}
