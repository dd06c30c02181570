//! The mark and the own block of this crate's endpoints, read by the crate and by the slow reader of the tests.

use ebbtide::wire::{Mark, Own};

use super::reference::own;

/// Any bytes at all as an own block: reading agrees with the slow reader, and what was read is written again and reads
/// the same. The first eight bytes are a mark besides.
pub fn own_block(input: &[u8]) {
    own::check(input);
    if let Some(bits) = input.first_chunk::<8>()
        && let Some(mark) = Mark::decode(*bits)
    {
        let again = Mark::decode(mark.encode());
        assert_eq!(again, Some(mark));
    }
    let pad = input.first().map_or(0, |first| usize::from(*first));
    if let Ok(own) = Own::decode(input) {
        let mut out = Vec::new();
        let fits = own.encoded_len(pad) <= Own::LEN_MAX;
        assert_eq!(own.encode(pad, &mut out).is_ok(), fits);
        if fits {
            assert_eq!((out.len(), out.len() % 4), (own.encoded_len(pad), 0));
            assert!(out.len() >= pad.max(4));
            assert_eq!(Own::decode(&out), Ok(own), "what was written reads the same");
        }
    }
}
