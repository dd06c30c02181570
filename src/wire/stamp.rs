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
