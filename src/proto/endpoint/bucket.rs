//! A token bucket in eight bytes: so many at once, and as many again per second.
//!
//! Knows nothing of what is being limited.

use crate::time::Instant;

/// Ours: what the buckets count time in, so that a rate that does not divide a second is not rounded much.
const SECOND_NANOS: u64 = 1_000_000_000;

/// The bucket. It is full at the beginning; how much it holds is said with every verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full again, nanoseconds. A time tells how many tokens are missing.
    full_at: u64,
}

impl Bucket {
    /// Tokens in a bucket that holds `size`.
    pub(super) fn available(&self, now: Instant, size: u32) -> u32 {
        let missing = self.full_at.saturating_sub(nanos(now)).div_ceil(cost(size));
        size.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// Takes tokens out of a bucket that holds `size`; there may be fewer.
    pub(super) fn take(&mut self, now: Instant, size: u32, count: u32) {
        self.full_at = self.full_at.max(nanos(now)).saturating_add(cost(size) * u64::from(count));
    }
}

/// Nanoseconds that bring one token, never too few.
const fn cost(size: u32) -> u64 {
    if size == 0 { SECOND_NANOS } else { SECOND_NANOS.div_ceil(size as u64) }
}

const fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(size: u32, every_micros: u64, tries: u64) -> u32 {
        let mut bucket = Bucket::default();
        let mut taken = 0;
        for at in 0..tries {
            let now = Instant::from_micros(at * every_micros);
            if bucket.available(now, size) > 0 {
                bucket.take(now, size, 1);
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn it_gives_what_it_holds_and_as_much_again_every_second() {
        assert_eq!(taken(10, 0, 1000), 10);
        assert_eq!(taken(10, 1000, 10_001), 110);
        assert_eq!(taken(100_000, 1, 1_000_001), 200_000);
        assert!((229..=231).contains(&taken(7, 100, 320_000)), "a rate that does not divide a second");
        assert_eq!(taken(0, 1_000_000, 100), 0);
    }

    #[test]
    fn several_may_be_taken_at_once_and_more_than_there_are() {
        let mut bucket = Bucket::default();
        let at = Instant::from_micros;
        bucket.take(at(0), 10, 4);
        assert_eq!((bucket.available(at(0), 10), bucket.available(at(200_000), 10)), (6, 8));
        bucket.take(at(0), 10, 16);
        assert_eq!((bucket.available(at(1_000_000), 10), bucket.available(at(1_100_000), 10)), (0, 1));
    }

    #[test]
    fn time_that_stands_still_or_ends_brings_nothing() {
        let mut bucket = Bucket::default();
        let end = Instant::from_micros(u64::MAX);
        bucket.take(end, 2, 2);
        assert_eq!((bucket.available(end, 2), bucket.available(Instant::ZERO, 2)), (2, 0));
    }
}
