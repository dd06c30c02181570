//! The clock of a host: how it runs compared with the world's, and what it puts into packets.
//!
//! Two things go wrong with clocks. The monotonic clock by which a machine measures time is never set; but it runs a
//! little too fast or too slow, and while the machine sleeps it either stands still (Linux) or goes on (Windows), which
//! looks like a jump forwards. The clock that is read for timestamps in packets may be another one in other
//! implementations, and that one can be set, backwards too. Ours stamps with the monotonic clock, so such a step is
//! made where packets leave the host: its peer sees the clock set, and it sees the peer's measurements leap.

use std::time::Duration;

use crate::time::Instant;

/// Parts of a million.
const MILLION: u128 = 1_000_000;

/// Time on one host. Never goes back.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct HostClock {
    /// When it was last interfered with: nanoseconds of the world, and what it showed then, in nanoseconds too.
    since: u64,
    shown: u64,
    /// How much too fast it is.
    ppm: i32,
    stopped: bool,
    /// What is added to the timestamps in packets, microseconds.
    shift: u32,
}

impl HostClock {
    /// A clock that shows `start` at the beginning of the world.
    pub(in crate::sim) fn new(start: Instant) -> Self {
        Self { since: 0, shown: start.as_micros().saturating_mul(1000), ppm: 0, stopped: false, shift: 0 }
    }

    const fn nanos(&self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.since);
        if self.stopped {
            return self.shown;
        }
        if self.ppm == 0 {
            return self.shown.saturating_add(passed);
        }
        let rate = MILLION.saturating_add_signed(self.ppm as i128);
        self.shown.saturating_add((passed as u128 * rate / MILLION) as u64)
    }

    /// What it shows when the world's clock shows `now`, nanoseconds.
    pub(in crate::sim) const fn at(&self, now: u64) -> Instant {
        Instant::from_micros(self.nanos(now) / 1000)
    }

    /// When, on the world's clock, it will show `at` for the first time; `now`, if it does already.
    pub(in crate::sim) fn when(&self, at: Instant, now: u64) -> u64 {
        let wanted = at.as_micros().saturating_mul(1000);
        let to_go = wanted.saturating_sub(self.nanos(now));
        if self.ppm == 0 || to_go == 0 {
            return now.saturating_add(to_go);
        }
        let rate = MILLION.saturating_add_signed(self.ppm.into());
        // Rounded up twice, because the world's time up to now has been rounded down.
        let nanos = (u128::from(to_go) * MILLION).div_ceil(rate) + 2;
        now.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX >> 2))
    }

    fn anchor(&mut self, now: u64) {
        (self.shown, self.since) = (self.nanos(now), now);
    }

    /// From now on it is so much too fast.
    pub(in crate::sim) fn set_ppm(&mut self, now: u64, ppm: i32) {
        self.anchor(now);
        self.ppm = ppm.clamp(-500_000, 500_000);
    }

    /// It jumps forwards.
    pub(in crate::sim) fn jump(&mut self, now: u64, by: Duration) {
        self.anchor(now);
        self.shown = self.shown.saturating_add(super::nanos(by));
    }

    /// It stands still, or runs again.
    pub(in crate::sim) fn stop(&mut self, now: u64, stopped: bool) {
        self.anchor(now);
        self.stopped = stopped;
    }

    /// What is read for timestamps is set by so many microseconds.
    pub(in crate::sim) const fn step(&mut self, micros: i64) {
        self.shift = self.shift.wrapping_add(micros as u32);
    }

    /// What has to be added to timestamps, microseconds.
    pub(in crate::sim) const fn shift(&self) -> u32 {
        self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_clock_that_is_too_fast_gains_and_never_goes_back_when_it_is_corrected() {
        let mut clock = HostClock::new(Instant::from_micros(7));
        clock.set_ppm(0, 500);
        assert_eq!(clock.at(1000 * SECOND), Instant::from_micros(7 + 1_000_500_000));
        clock.set_ppm(1000 * SECOND, -500);
        assert_eq!(clock.at(1000 * SECOND), Instant::from_micros(7 + 1_000_500_000));
        assert_eq!(clock.at(2000 * SECOND), Instant::from_micros(7 + 2_000_000_000));
    }

    #[test]
    fn a_deadline_is_reached_when_the_clock_says_so_and_not_before() {
        for ppm in [-500, -3, 0, 1, 499] {
            let mut clock = HostClock::new(Instant::ZERO);
            clock.set_ppm(12_345, ppm);
            for (now, micros) in [(12_345, 1), (77_777_777, 123_456_789), (SECOND, 3_600_000_000)] {
                let at = Instant::from_micros(micros);
                let when = clock.when(at, now);
                assert!(clock.at(when) >= at, "{ppm} {now} {micros}");
                assert!(when == now || clock.at(when - 2000) < at, "{ppm} {now} {micros}");
            }
        }
    }

    #[test]
    fn a_clock_stands_still_while_it_is_stopped_and_jumps_forwards_only() {
        let mut clock = HostClock::new(Instant::ZERO);
        clock.stop(SECOND, true);
        assert_eq!(clock.at(600 * SECOND), Instant::from_micros(1_000_000));
        clock.stop(600 * SECOND, false);
        assert_eq!(clock.at(601 * SECOND), Instant::from_micros(2_000_000));
        clock.jump(601 * SECOND, Duration::from_secs(3600));
        assert_eq!(clock.at(601 * SECOND), Instant::from_micros(3_602_000_000));
        clock.step(-3_600_000_000);
        clock.step(3_600_000_001);
        assert_eq!((clock.shift(), clock.at(601 * SECOND)), (1, Instant::from_micros(3_602_000_000)));
    }
}
