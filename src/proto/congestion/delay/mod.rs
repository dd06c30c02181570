//! How long our packets queue, from one-way delays between two clocks that have nothing in common.
//!
//! Both directions are remembered, because the other one tells a clock that runs away from a queue that grows. Does not
//! know what to do about a queue, nor where the readings come from.
//!
//! ```text
//!   forward reading = clock difference + path + queue
//!   base            = smallest reading of ten minutes ~ clock difference + path
//!   queue           = smallest of the last four readings - base
//! ```

mod doubt;
mod shorter;

use std::time::Duration;

use self::doubt::Queues;
use self::shorter::Shorter;
use super::RttEstimator;
use crate::time::Instant;
use crate::wire::Delay;

/// The one-way delays of a connection, and the queueing delay that they amount to.
#[derive(Clone, Debug)]
pub struct DelayMeter {
    forward: History,
    backward: History,
    recent: Recent,
    recent_backward: Recent,
    round_trips: History,
    recent_round_trips: Recent,
    shorter: Shorter,
    skew: Skew,
    /// How much of a round trip the peer may leave unexplained, microseconds.
    tolerance: u32,
}

impl Default for DelayMeter {
    fn default() -> Self {
        Self::new(TARGET_MAX)
    }
}

impl DelayMeter {
    /// A meter that has seen nothing, for a controller that aims at this queueing delay.
    #[must_use]
    pub fn new(target: Duration) -> Self {
        Self {
            forward: History::default(),
            backward: History::default(),
            recent: Recent::default(),
            recent_backward: Recent::default(),
            round_trips: History::default(),
            recent_round_trips: Recent::default(),
            shorter: Shorter::default(),
            skew: Skew::default(),
            tolerance: u32::try_from((target / 2).max(TOLERANCE_MIN).as_micros()).unwrap_or(u32::MAX),
        }
    }

    /// A packet arrived: `forward` is what the peer reports about ours, `backward` what we measured of this one.
    ///
    /// Values that mean "not measured" ([`Delay::is_sample`]) are left out here.
    pub fn on_packet(&mut self, now: Instant, forward: Option<Delay>, backward: Option<Delay>) {
        let forward = forward.filter(|delay| delay.is_sample());
        let backward = backward.filter(|delay| delay.is_sample());
        let forward_stepped = forward.is_some_and(|delay| self.forward.record(now, delay));
        let backward_stepped = backward.is_some_and(|delay| self.backward.record(now, delay));
        if forward_stepped {
            self.backward.follow_step();
        }
        if backward_stepped {
            self.forward.follow_step();
        }
        if forward_stepped || backward_stepped {
            self.skew = Skew::default();
        }
        if let Some(delay) = backward {
            self.forward.shift(self.skew.fall(now, delay));
        }
        if let Some(delay) = forward {
            self.recent.push(Reading { at: now, delay });
        }
        if let Some(delay) = backward {
            self.recent_backward.push(Reading { at: now, delay });
        }
    }

    /// A round trip was measured, by a packet whose delays went in before.
    pub fn on_round_trip(&mut self, now: Instant, sample: Duration) {
        let micros = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        // Minima of the same ten minutes as those of one-way delays, or a longer path would look like a hidden queue.
        let delay = Delay::new(micros.min(ROUND_TRIP_MAX)).as_sample();
        let least = self.round_trips.base.map(Delay::get);
        if self.shorter.believes(now.stamp(), delay.get(), least) {
            self.round_trips.record(now, delay);
        }
        self.recent_round_trips.push(Reading { at: now, delay });
    }

    /// All that is known of queues; nothing before all three were measured.
    fn queues(&self, rtt: &RttEstimator) -> Option<Queues> {
        let smoothed = rtt.smoothed();
        Some(Queues {
            reported: self.recent.lowest_above(self.forward.base?, smoothed)?,
            back: self.recent_backward.lowest_above(self.backward.base?, smoothed)?,
            round_trip: self.recent_round_trips.lowest_above(self.round_trips.base?, smoothed)?,
        })
    }

    /// How long our packets queue now, or `None` before anything was measured.
    ///
    /// The smaller of two opinions: one-way delay above its base, and round trip above the smallest one. The first
    /// does not see queues on the way back, the second does not see clocks drift. A peer that reports no delays leaves
    /// the second alone, and so does one whose reports do not fit the round trips.
    #[must_use]
    pub fn queue_delay(&self, rtt: &RttEstimator) -> Option<Duration> {
        if let Some(hidden) = self.queues(rtt).and_then(|queues| queues.hidden(self.tolerance())) {
            return Some(hidden);
        }
        let one_way = self.forward.base.and_then(|base| self.recent.lowest_above(base, rtt.smoothed()));
        let round_trip = rtt.latest().zip(rtt.min()).map(|(latest, min)| latest.saturating_sub(min));
        match (one_way, round_trip) {
            (Some(one_way), Some(round_trip)) => Some(one_way.min(round_trip)),
            (one_way, round_trip) => one_way.or(round_trip),
        }
    }

    fn tolerance(&self) -> Duration {
        Duration::from_micros(self.tolerance.into())
    }

    /// The smallest forward delay in the history, which queueing delay is counted from.
    #[must_use]
    pub const fn base(&self) -> Option<Delay> {
        self.forward.base
    }

    /// The newest delay of our packets, as the peer measured it.
    #[must_use]
    pub const fn forward(&self) -> Option<Delay> {
        self.forward.latest
    }

    /// The newest delay of the peer's packets, as we measured it.
    #[must_use]
    pub const fn backward(&self) -> Option<Delay> {
        self.backward.latest
    }
}

/// The smallest delay of each of the last ten minutes, in one direction.
#[derive(Clone, Debug, Default)]
struct History {
    /// Indexed by minute modulo the length; `None` for minutes without a sample.
    minima: [Option<Delay>; BASE_MINUTES],
    /// The minute that was written last.
    minute: u64,
    /// The smallest of `minima`.
    base: Option<Delay>,
    latest: Option<Delay>,
    /// Samples in a row that lay further below the base than a path can change.
    far_below: u8,
}

impl History {
    /// Takes a sample in; true if it completed the proof that a clock was stepped, and the history began anew.
    fn record(&mut self, now: Instant, sample: Delay) -> bool {
        self.turn_to(now);
        self.latest = Some(sample);
        if self.base.is_some_and(|base| sample.shifted(STEP_MICROS).is_below(base)) {
            // One such reading may be a mistake, and would spoil the base for ten minutes.
            self.far_below += 1;
            if self.far_below < STEP_SAMPLES {
                return false;
            }
            self.restart(sample);
            return true;
        }
        self.far_below = 0;
        let slot = &mut self.minima[slot(self.minute)];
        *slot = Some(smaller(*slot, sample));
        self.base = Some(smaller(self.base, sample));
        false
    }

    /// The clock behind the other direction stepped, so that its delays fell. If these rose as far it was the same
    /// clock, and no queue.
    fn follow_step(&mut self) {
        if let (Some(base), Some(latest)) = (self.base, self.latest)
            && base.shifted(STEP_MICROS).is_below(latest)
        {
            self.restart(latest);
        }
    }

    fn restart(&mut self, sample: Delay) {
        self.minima = [None; BASE_MINUTES];
        self.minima[slot(self.minute)] = Some(sample);
        self.base = Some(sample);
        self.far_below = 0;
    }

    /// Moves the whole history up.
    fn shift(&mut self, by_micros: i32) {
        if by_micros != 0 {
            for minimum in self.minima.iter_mut().chain([&mut self.base]).flatten() {
                *minimum = minimum.shifted(by_micros);
            }
        }
    }

    /// Forgets minutes that are too old by now.
    fn turn_to(&mut self, now: Instant) {
        let minute = now.as_micros() / MINUTE_MICROS;
        let passed = minute.saturating_sub(self.minute);
        if passed == 0 {
            return;
        }
        for later in 1..=passed.min(BASE_MINUTES as u64) {
            self.minima[slot(self.minute + later)] = None;
        }
        self.minute = minute;
        self.base = self.minima.iter().flatten().fold(None, |base, &minimum| Some(smaller(base, minimum)));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below ten")]
const fn slot(minute: u64) -> usize {
    (minute % BASE_MINUTES as u64) as usize
}

fn smaller(known: Option<Delay>, sample: Delay) -> Delay {
    match known {
        Some(known) if !sample.is_below(known) => known,
        _ => sample,
    }
}

/// How far the peer's clock has fallen behind ours, as far as the lowest delay of its packets tells.
///
/// When their delays fall, ours rise by as much without any queue. Only a new low since the beginning counts: a base
/// that rises as old minutes expire and falls again with the next good sample would push ours up a little each time.
#[derive(Clone, Copy, Debug, Default)]
struct Skew {
    low: Option<Reading>,
}

impl Skew {
    /// By how many microseconds to raise our base after this delay of a packet of the peer.
    fn fall(&mut self, now: Instant, backward: Delay) -> i32 {
        let low = *self.low.get_or_insert(Reading { at: now, delay: backward });
        if !backward.is_below(low.delay) {
            return 0;
        }
        self.low = Some(Reading { at: now, delay: backward });
        let fall = low.delay.above(backward);
        if fall > SKEW_FALL_MAX || fall > now.since(low.at) / SKEW_DIVISOR {
            return 0;
        }
        i32::try_from(fall.as_micros()).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Instant,
    delay: Delay,
}

/// The newest delays.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    readings: [Reading; FILTER_SAMPLES],
    newest: u8,
    count: u8,
}

impl Recent {
    fn push(&mut self, reading: Reading) {
        self.newest = (self.newest + 1) % FILTER_SAMPLES as u8;
        self.count = (self.count + 1).min(FILTER_SAMPLES as u8);
        self.readings[usize::from(self.newest)] = reading;
    }

    /// The smallest reading, counted from `base`. Those more than a round trip older than the newest tell of another
    /// time and stay out (RFC 6817 §2.4.2).
    fn lowest_above(&self, base: Delay, round_trip: Option<Duration>) -> Option<Duration> {
        let newest = self.readings[usize::from(self.newest)].at;
        let age_max = round_trip.unwrap_or(Duration::MAX);
        // The first one goes into the second place.
        let known = self.readings.iter().cycle().skip(1).take(usize::from(self.count));
        let fresh = known.filter(|reading| newest.since(reading.at) <= age_max);
        fresh.map(|reading| reading.delay.above(base)).min()
    }
}

/// RFC 6817 §2.5: BASE_HISTORY, ten minima of a minute each.
const BASE_MINUTES: usize = 10;

/// RFC 6817 §2.4.2: a base minimum covers one minute.
const MINUTE_MICROS: u64 = 60_000_000;

/// RFC 6817 §2.4.2: the current delay is the minimum of a few samples. libutp and libtorrent take three; a fourth is
/// affordable because we are acknowledged at least four times per round trip.
const FILTER_SAMPLES: usize = 4;

/// Ours: delays that fall by more than a second at once were not cured of a queue; a clock was set.
const STEP_MICROS: i32 = 1_000_000;

/// Ours: so many samples in a row prove a step. Two filters' worth, so that a burst of odd stamps is none.
const STEP_SAMPLES: u8 = 8;

/// RFC 6817 §2.5: the largest target.
const TARGET_MAX: Duration = Duration::from_millis(100);

/// Ours: half the target, which must hold in any case, but no less than peers that are slow to answer differ by.
const TOLERANCE_MIN: Duration = Duration::from_millis(15);

/// Ours: more than half the circle of delays would be a negative round trip.
const ROUND_TRIP_MAX: u32 = 1 << 30;

/// libutp: their base must fall by no more than 10 ms at once to count as drift.
const SKEW_FALL_MAX: Duration = Duration::from_millis(10);

/// RFC 6817 appendix A: clocks differ by 100 to 200 ppm typically and 500 ppm at worst, one part in 2,000. Delays that
/// fall faster lost a queue.
const SKEW_DIVISOR: u32 = 2_000;

#[cfg(test)]
mod tests;
