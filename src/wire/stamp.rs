//! Wrapping microseconds: when a packet was sent, and how long the last one took.

use std::fmt;
use std::time::Duration;

/// The sender's clock when a packet left, in microseconds, wrapping every 71.6 minutes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The timestamp with this value in the header.
    #[must_use]
    pub const fn new(micros: u32) -> Self {
        Self(micros)
    }

    /// The value in the header.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// What the other side's clock and the path made of a packet stamped `sent` that arrived now.
    ///
    /// The two clocks have nothing in common, so only differences between such delays mean something.
    #[must_use]
    pub const fn delay_since(self, sent: Self) -> Delay {
        Delay(self.0.wrapping_sub(sent.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// A one-way delay plus the unknown difference of two clocks, in microseconds, wrapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Delay(u32);

impl Delay {
    /// "I have not measured anything": what a SYN carries.
    pub const NONE: Self = Self(0);

    /// The delay with this value in the header.
    #[must_use]
    pub const fn new(micros: u32) -> Self {
        Self(micros)
    }

    /// The value in the header.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is a measurement. 0 and 0x7FFF_FFFF (an old µTorrent's mistake) are not; libutp and
    /// libtorrent ignore both too.
    #[must_use]
    pub const fn is_sample(self) -> bool {
        self.0 != 0 && self.0 != 0x7FFF_FFFF
    }

    /// This delay as it may be sent when it is a measurement: moved by a microsecond off the two values that mean
    /// "none".
    #[must_use]
    pub const fn as_sample(self) -> Self {
        if self.is_sample() { self } else { Self(self.0 + 1) }
    }

    /// Whether this delay is shorter than `other`: the shorter way round from here to there goes forwards.
    #[must_use]
    pub const fn is_below(self, other: Self) -> bool {
        other.0.wrapping_sub(self.0).cast_signed() > 0
    }

    /// How far this delay lies above `base`; zero if it is below.
    #[must_use]
    pub const fn above(self, base: Self) -> Duration {
        if self.is_below(base) {
            Duration::ZERO
        } else {
            Duration::from_micros(self.0.wrapping_sub(base.0) as u64)
        }
    }

    /// This delay moved up by `micros`, wrapping.
    #[must_use]
    pub const fn shifted(self, micros: i32) -> Self {
        Self(self.0.wrapping_add_signed(micros))
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}us", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(micros: u32) -> Delay {
        Delay::new(micros)
    }

    #[test]
    fn a04_the_order_of_delays_wraps() {
        for (shorter, longer) in [
            (0, 1),
            (0xFFFF_FFF0, 0xFFFF_FFFF),
            (0xFFFF_FFF0, 0xFFF),
            (0xFFFF_FF00, 0x400),
            (0xFFFF_FFFF, 0),
            (0xFFFF_FFFF, 0x7FFF_FFFE),
        ] {
            assert!(delay(shorter).is_below(delay(longer)), "{shorter} is below {longer}");
            assert!(!delay(longer).is_below(delay(shorter)), "{longer} is not below {shorter}");
        }
    }

    #[test]
    fn a04_equal_and_opposite_delays_are_not_below_each_other() {
        for micros in [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
            assert!(!delay(micros).is_below(delay(micros)));
            let opposite = delay(micros.wrapping_add(0x8000_0000));
            assert!(!delay(micros).is_below(opposite) && !opposite.is_below(delay(micros)));
        }
    }

    #[test]
    fn a04_a_delay_is_measured_across_the_wrap_of_either_clock() {
        let (sent, arrived) = (Timestamp::new(0xFFFF_FF00), Timestamp::new(0x100));
        assert_eq!(arrived.delay_since(sent), delay(0x200));
        assert_eq!(sent.delay_since(arrived), delay(0xFFFF_FE00), "a clock that is behind wraps");
    }

    #[test]
    fn a04_how_far_above_the_base_wraps_and_stops_at_zero() {
        assert_eq!(delay(0x100).above(delay(0xFFFF_FF00)), Duration::from_micros(0x200));
        assert_eq!(delay(0xFFFF_FF00).above(delay(0x100)), Duration::ZERO);
        assert_eq!(delay(5).above(delay(5)), Duration::ZERO);
        assert_eq!(delay(3).shifted(-5), delay(0xFFFF_FFFE));
        assert_eq!(delay(0xFFFF_FFFE).shifted(5), delay(3));
    }

    #[test]
    fn clocks_and_delays_look_different_in_logs() {
        assert_eq!(format!("{:?} {:?}", Timestamp::new(7), delay(7)), "7us +7us");
    }

    #[test]
    fn the_two_values_that_mean_no_measurement_are_never_sent_as_one() {
        for micros in [0, 0x7FFF_FFFF] {
            assert!(!delay(micros).is_sample());
            assert_eq!(delay(micros).as_sample(), delay(micros + 1));
            assert!(delay(micros).as_sample().is_sample());
        }
        assert_eq!(delay(0xFFFF_FFFF).as_sample(), delay(0xFFFF_FFFF));
        assert!(!Delay::NONE.is_sample());
    }
}
