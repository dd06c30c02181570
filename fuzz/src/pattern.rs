//! Bytes that show where in a stream they belong.
//!
//! Made once and compared as a whole: a fuzzer that watches every comparison would watch nothing else.

use std::sync::LazyLock;

/// After so many bytes the pattern begins again; a prime, so that nothing in the protocol has the same period.
const PERIOD: usize = 65_521;

/// The longest stretch that can be asked for.
const STRETCH_MAX: usize = 1 << 16;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_F491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    let once: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    once.iter().copied().cycle().take(PERIOD + STRETCH_MAX).collect()
});

/// The bytes from this place on.
pub(crate) fn stretch(at: usize, len: usize) -> &'static [u8] {
    &PATTERN[at % PERIOD..][..len]
}
