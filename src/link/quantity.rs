//! Quantities of the simulated network that would otherwise be numbers without a unit.

use std::fmt;
use std::time::Duration;

/// How fast a link carries bits. Prefixes are decimal, as everywhere in networking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    bits_per_second: u64,
}

impl Rate {
    /// So many bits per second; at least one.
    #[must_use]
    pub const fn bits(per_second: u64) -> Self {
        Self { bits_per_second: if per_second == 0 { 1 } else { per_second } }
    }

    /// So many thousand bits per second.
    #[must_use]
    pub const fn kilobits(per_second: u64) -> Self {
        Self::bits(per_second * 1_000)
    }

    /// So many million bits per second.
    #[must_use]
    pub const fn megabits(per_second: u64) -> Self {
        Self::bits(per_second * 1_000_000)
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.bits_per_second
    }

    /// Nanoseconds, rounded up, that so many bytes take.
    #[must_use]
    pub(super) const fn nanos_for(self, bytes: u64) -> u64 {
        let nanos = (bytes as u128 * 8_000_000_000).div_ceil(self.bits_per_second as u128);
        if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
    }

    /// How long so many bytes take.
    #[must_use]
    pub const fn time_for(self, size: Size) -> Duration {
        Duration::from_nanos(self.nanos_for(size.as_bytes()))
    }

    /// How much passes in that time: a buffer that holds so much delays by `duration`.
    #[must_use]
    pub fn in_time(self, duration: Duration) -> Size {
        let bytes = u128::from(self.bits_per_second) * duration.as_nanos() / 8_000_000_000;
        Size::bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits_per_second {
            bits if bits % 1_000_000 == 0 => write!(f, "{} Mbit/s", bits / 1_000_000),
            bits if bits % 1_000 == 0 => write!(f, "{} kbit/s", bits / 1_000),
            bits => write!(f, "{bits} bit/s"),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1,024 bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many times 1,048,576 bytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes > 0 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_time_that_their_bits_take() {
        assert_eq!(Rate::megabits(10).time_for(Size::bytes(1250)), Duration::from_millis(1));
        assert_eq!(Rate::megabits(10).in_time(Duration::from_millis(100)), Size::bytes(125_000));
        assert_eq!(Rate::bits(3).nanos_for(1), 2_666_666_667);
        assert_eq!(Rate::bits(0).nanos_for(u64::MAX), u64::MAX);
    }

    #[test]
    fn quantities_print_with_their_unit() {
        let shown =
            [Rate::megabits(10).to_string(), Rate::kilobits(640).to_string(), Rate::bits(7).to_string()];
        assert_eq!(shown, ["10 Mbit/s", "640 kbit/s", "7 bit/s"]);
        let shown = [Size::mib(2).to_string(), Size::kib(3).to_string(), Size::bytes(5).to_string()];
        assert_eq!(shown, ["2 MiB", "3 KiB", "5 B"]);
    }
}
