//! Selective acknowledgement: a mask of the packets that arrived after a gap.
//!
//! Bit 0 is the lowest bit of the first byte and stands for the cumulative acknowledgement + 2: the packet
//! directly after the acknowledged ones is missing, or there would be nothing to say. Knows no buffers; which bits
//! make sense is for the sender of the packets to judge.

use super::{Extensions, SeqNr};

/// A mask as it arrived, of any length: libutp sends 4 bytes, libtorrent any number, and all of them may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sack<'a> {
    mask: &'a [u8],
}

impl<'a> Sack<'a> {
    /// The mask with these bytes.
    #[inline]
    #[must_use]
    pub const fn new(mask: &'a [u8]) -> Self {
        Self { mask }
    }

    /// The bytes as they came.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.mask
    }

    /// The packets that arrived, in ascending order, given the packet's cumulative acknowledgement.
    ///
    /// Eight bytes without a bit cost one step, so a long mask with few bits is cheap.
    #[inline]
    pub fn received(self, ack: SeqNr) -> impl Iterator<Item = SeqNr> + 'a {
        Received { rest: self.mask, word: 0, bit_zero: ack + FIRST - WORD_BITS }
    }

    /// How many packets the mask reports.
    #[must_use]
    pub fn count(self) -> u32 {
        self.mask.iter().map(|byte| byte.count_ones()).sum()
    }

    /// The last packet that the mask reports.
    #[must_use]
    pub fn highest(self, ack: SeqNr) -> Option<SeqNr> {
        self.received(ack).last()
    }

    /// Whether the mask reports nothing, whatever its length.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.mask.iter().all(|&byte| byte == 0)
    }
}

struct Received<'a> {
    rest: &'a [u8],
    /// Bits of the current eight bytes not yet reported.
    word: u64,
    /// The packet that the lowest bit of `word` stands for.
    bit_zero: SeqNr,
}

impl Iterator for Received<'_> {
    type Item = SeqNr;

    #[inline]
    fn next(&mut self) -> Option<SeqNr> {
        while self.word == 0 {
            (self.word, self.rest) = split_word(self.rest)?;
            self.bit_zero = self.bit_zero + WORD_BITS;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(self.bit_zero + bit as u16)
    }
}

/// The next eight bytes as one number whose bits are in the order of the mask; missing bytes are zero.
#[inline]
fn split_word(mask: &[u8]) -> Option<(u64, &[u8])> {
    if let Some((word, rest)) = mask.split_first_chunk() {
        return Some((u64::from_le_bytes(*word), rest));
    }
    if mask.is_empty() {
        return None;
    }
    let mut word = [0; 8];
    word[..mask.len()].copy_from_slice(mask);
    Some((u64::from_le_bytes(word), &[]))
}

/// A mask being built for sending: up to 2,016 packets in at most 252 bytes, always a multiple of 4 as BEP 29
/// demands.
///
/// Holds the bytes as the extension has them on the wire, so sending it copies them once.
#[derive(Clone, Debug)]
pub struct SackBits {
    /// The id of the next extension (none), the length of the mask, the mask. Zero beyond the length.
    bytes: [u8; PREFIX + MASK_MAX],
}

impl SackBits {
    /// No packet reported yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; PREFIX + MASK_MAX] }
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        let end = PREFIX + self.mask_len();
        self.bytes[..end].fill(0);
    }

    /// Reports the packet `index` after the second one that is not acknowledged: bit `index`. Beyond the last bit
    /// nothing happens; the peer will hear of that packet when the gap has moved.
    pub fn set(&mut self, index: usize) {
        let byte = index / 8;
        if byte < MASK_MAX {
            self.bytes[PREFIX + byte] |= 1 << (index % 8);
            let len = self.mask_len().max((byte / 4 + 1) * 4);
            self.bytes[1] = len as u8;
        }
    }

    /// The mask: up to the last bit that is set, rounded up to four bytes; nothing if none is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[PREFIX..PREFIX + self.mask_len()]
    }

    /// The mask as the only extension of a packet; no extension if no bit is set.
    #[must_use]
    pub fn as_extensions(&self) -> Extensions<'_> {
        if self.is_empty() {
            return Extensions::EMPTY;
        }
        Extensions::only_sack(&self.bytes[..PREFIX + self.mask_len()])
    }

    /// Whether no bit is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes[1] == 0
    }

    const fn mask_len(&self) -> usize {
        self.bytes[1] as usize
    }
}

impl Default for SackBits {
    fn default() -> Self {
        Self::new()
    }
}

/// What the lowest bit stands for, counted from the cumulative acknowledgement (BEP 29).
const FIRST: u16 = 2;

/// How many bits are looked at together.
const WORD_BITS: u16 = 64;

/// The id of the next extension and the length, before the mask.
const PREFIX: usize = 2;

/// The largest multiple of 4 that the length byte can say.
const MASK_MAX: usize = 252;
