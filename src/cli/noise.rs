//! Content that no compression and no coincidence makes equal: a fast stream of pseudo-random bytes.
//!
//! `SplitMix64`. Not for secrets.

/// A stream of bytes that its seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    state: u64,
}

impl Noise {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next bytes. A tail shorter than eight uses up a whole step.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let (words, tail) = out.as_chunks_mut::<8>();
        for word in words {
            *word = self.next().to_le_bytes();
        }
        if !tail.is_empty() {
            tail.copy_from_slice(&self.next().to_le_bytes()[..tail.len()]);
        }
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_nothing_repeats() {
        let bytes = |seed: u64| {
            let mut out = [0; 4099];
            Noise::new(seed).fill(&mut out);
            out
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
        assert_ne!(bytes(7)[..8], bytes(7)[8..16]);
        assert_ne!(bytes(7)[4096..], [0; 3]);
    }
}
