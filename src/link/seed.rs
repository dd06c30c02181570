//! Chance that can be had again: a small generator whose numbers follow from a seed, today and for ever.
//!
//! The stream of numbers is a promise. A seed that once made a test fail must make it fail in ten years, on any
//! machine, so nothing here may change: not the algorithms, not the order in which [`Rng::chance`] and its siblings
//! draw. Those are: [SplitMix64] to spread a seed over the state, [xoshiro256**] for the numbers, both by Vigna and
//! Blackman and in the public domain. Not for secrets.
//!
//! [SplitMix64]: https://prng.di.unimi.it/splitmix64.c
//! [xoshiro256**]: https://prng.di.unimi.it/xoshiro256starstar.c

use std::ops::Range;
use std::time::Duration;

/// The next number of a SplitMix64 sequence; also a good way to mix 64 bits.
#[must_use]
pub const fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator of numbers that look random: xoshiro256**.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator for this seed: its state is the first four numbers of SplitMix64 from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let mut state = [0; 4];
        let mut i = 0;
        while i < 4 {
            state[i] = splitmix64(&mut mixer);
            i += 1;
        }
        Self { state }
    }

    /// An independent generator, seeded with the next number of this one.
    ///
    /// Give one to each part of a simulation: then a change in one part leaves the chances of the others alone.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// Any number.
    #[must_use]
    pub const fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number from 0 to `bound - 1`, or 0 if `bound` is 0: the high half of a product of 64 bits.
    ///
    /// Uneven by less than `bound` in 2^64, which no simulation will notice. Always draws once.
    #[must_use]
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// A number in `range`; its start if it is empty. Draws once.
    #[must_use]
    pub const fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A duration in `range`, in whole nanoseconds; its start if it is empty. Draws once.
    ///
    /// # Panics
    /// Beyond 584 years.
    #[must_use]
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let nanos = |at: Duration| u64::try_from(at.as_nanos()).expect("less than 584 years");
        Duration::from_nanos(self.within(nanos(range.start)..nanos(range.end)))
    }

    /// True with this probability. Draws once, whatever the probability.
    #[must_use]
    pub fn chance(&mut self, probability: f64) -> bool {
        let draw = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        draw < probability
    }

    /// One of these. Draws once.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub const fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// 32 bytes, from four numbers in little-endian order: what an endpoint wants as its seed.
    #[must_use]
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The published sequences of both algorithms.
        let mut mixer = 1_234_567;
        let mixed = [(); 3].map(|()| splitmix64(&mut mixer));
        assert_eq!(mixed, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn = [(); 5].map(|()| rng.next_u64());
        assert_eq!(drawn, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360]);
        // The two together, and what is derived from them: recorded once.
        let mut rng = Rng::new(0);
        assert_eq!(rng.next_u64(), 0x99ec_5f36_cb75_f2b4);
        assert_eq!(rng.below(1000), 747);
        assert!(!rng.chance(0.1));
        assert_eq!(rng.duration(Duration::ZERO..Duration::from_secs(1)), Duration::from_nanos(416_589_077));
        assert_eq!(rng.fork().next_u64(), 18_221_495_927_468_152_473);
        assert_eq!(rng.bytes()[..8], [202, 202, 235, 217, 117, 131, 239, 255]);
    }

    #[test]
    fn chances_come_out_as_asked() {
        let mut rng = Rng::new(7);
        let hits = (0..100_000).filter(|_| rng.chance(0.01)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        let mut counts = [0_u32; 5];
        (0..50_000).for_each(|_| counts[rng.below(5) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!(!rng.chance(0.0) && rng.chance(1.0));
        assert_eq!((rng.below(0), rng.within(5..5)), (0, 5));
    }

    #[test]
    fn forks_go_ways_of_their_own() {
        let mut parent = Rng::new(1);
        let (mut one, mut two) = (parent.fork(), parent.fork());
        assert!((0..64).all(|_| one.next_u64() != two.next_u64()));
    }
}
