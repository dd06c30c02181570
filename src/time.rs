//! Time as the pure floors see it: microseconds since an endpoint began.
//!
//! There is no `now()` here. Whoever drives an endpoint reads a clock and passes the reading in, so that a
//! simulation and a test can say what time it is. The low 32 bits of an [`Instant`] are the timestamp that
//! goes into a uTP header.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::wire::Timestamp;

/// A point in time: microseconds since the endpoint began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// When the endpoint began.
    pub const ZERO: Self = Self(0);

    /// The instant this many microseconds after the endpoint began.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the endpoint began.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// What goes on the wire: the low 32 bits.
    #[must_use]
    pub const fn stamp(self) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "BEP 29: the header carries the low 32 bits")]
        Timestamp::new(self.0 as u32)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time, some 580,000 years on.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_stamp_is_the_low_half() {
        assert_eq!(Instant::from_micros(0x1_0000_0007).stamp(), Timestamp::new(7));
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let late = Instant::from_micros(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(9), Instant::from_micros(u64::MAX));
        assert_eq!(Instant::ZERO.since(late), Duration::ZERO);
    }
}
