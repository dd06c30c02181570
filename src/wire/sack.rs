//! Selective acknowledgement: a mask of the packets that arrived after a gap.
//!
//! Bit 0 is the lowest bit of the first byte and stands for the cumulative acknowledgement + 2: the packet
//! directly after the acknowledged ones is missing, or there would be nothing to say. Knows no buffers; which bits
//! make sense is for the sender of the packets to judge.

use std::fmt;

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

    /// The mask as numbers of 64 bits, the lowest bit first; what is missing of the last one is zero.
    #[inline]
    pub fn words(self) -> impl Iterator<Item = u64> + 'a {
        let mut rest = self.mask;
        std::iter::from_fn(move || {
            let (word, after) = split_word(rest)?;
            rest = after;
            Some(word)
        })
    }

    /// How many packets the mask reports.
    #[must_use]
    pub fn count(self) -> u32 {
        self.mask.iter().map(|byte| byte.count_ones()).sum()
    }

    /// The last packet that the mask reports.
    #[must_use]
    pub fn highest(self, ack: SeqNr) -> Option<SeqNr> {
        let byte = self.mask.iter().rposition(|&byte| byte != 0)?;
        let bit = byte * 8 + self.mask[byte].ilog2() as usize;
        Some(ack + FIRST + bit as u16)
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
#[derive(Clone)]
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

    /// Reports up to 64 packets at once: bit `i` of `bits` stands for bit 64 x `word` + `i` of the mask. Beyond the last
    /// bit of the mask nothing happens.
    pub fn set_word(&mut self, word: usize, bits: u64) {
        let bytes = bits.to_le_bytes();
        let start = (word * bytes.len()).min(MASK_MAX);
        let bytes = &bytes[..bytes.len().min(MASK_MAX - start)];
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return };
        for (to, from) in self.bytes[PREFIX + start..].iter_mut().zip(bytes) {
            *to |= from;
        }
        let len = self.mask_len().max(((start + last) / 4 + 1) * 4);
        self.bytes[1] = len as u8;
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

impl fmt::Debug for SackBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SackBits").field(&self.as_bytes()).finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: SeqNr = SeqNr::new(65_530);

    fn received(mask: &[u8]) -> Vec<u16> {
        Sack::new(mask).received(ACK).map(SeqNr::get).collect()
    }

    #[test]
    fn a03_the_lowest_bit_of_the_first_byte_is_the_second_after_the_acknowledgement() {
        assert_eq!(received(&[0b0000_0001, 0, 0, 0]), [65_532]);
        assert_eq!(received(&[0b1000_0000, 0, 0, 0]), [3]);
        assert_eq!(received(&[0, 0b0000_0001, 0, 0]), [4]);
    }

    #[test]
    fn a03_packets_come_in_ascending_order_across_the_wrap() {
        assert_eq!(received(&[0b0011_1101, 0b0100_0000]), [65_532, 65_534, 65_535, 0, 1, 10]);
    }

    #[test]
    fn a03_every_bit_of_every_length_is_found_alone() {
        for len in 1..=255 {
            for bit in [0, 7, 8 * len / 2, 8 * len - 1] {
                let mut mask = vec![0; len];
                mask[bit / 8] = 1 << (bit % 8);
                let expected = ACK + 2 + bit as u16;
                assert_eq!(received(&mask), [expected.get()], "bit {bit} of {len} bytes");
                assert_eq!(Sack::new(&mask).highest(ACK), Some(expected), "bit {bit} of {len} bytes");
                assert_eq!((Sack::new(&mask).count(), Sack::new(&mask).is_empty()), (1, false));
            }
        }
    }

    #[test]
    fn a03_a_full_mask_reports_each_packet_once() {
        let all: Vec<u16> = (0..2_040).map(|bit| (ACK + 2 + bit).get()).collect();
        assert_eq!(received(&[0xFF; 255]), all);
        assert_eq!(Sack::new(&[0xFF; 255]).count(), 2_040);
        assert_eq!(Sack::new(&[0xFF; 255]).highest(ACK), Some(ACK + 2_041));
    }

    #[test]
    fn a03_a_mask_of_zeros_or_of_nothing_reports_nothing() {
        for len in 0..=255 {
            let mask = vec![0; len];
            let sack = Sack::new(&mask);
            assert!(sack.is_empty());
            assert_eq!((received(&mask), sack.count(), sack.highest(ACK)), (vec![], 0, None));
            assert_eq!(sack.as_bytes(), mask, "the length is kept");
        }
    }

    #[test]
    fn a03_a_mask_to_send_ends_at_a_multiple_of_four() {
        let mut bits = SackBits::new();
        assert!(bits.is_empty());
        assert_eq!(bits.as_bytes(), [0; 0]);
        for (index, len) in [(0, 4), (31, 4), (32, 8), (63, 8), (64, 12), (2_015, 252)] {
            bits.set(index);
            assert!(!bits.is_empty());
            assert_eq!(bits.as_bytes().len(), len, "after bit {index}");
        }
        bits.set(5);
        assert_eq!(bits.as_bytes().len(), 252, "a low bit does not shorten the mask");
    }

    #[test]
    fn a03_words_set_what_their_bits_would() {
        for word in 0..40 {
            for bits in [0, 1, 1 << 63, 1 << 31, 0x8000_0001, 0x5555_5555_5555_5555, u64::MAX] {
                let (mut at_once, mut one_by_one) = (SackBits::new(), SackBits::new());
                for mask in [&mut at_once, &mut one_by_one] {
                    mask.set(70);
                }
                at_once.set_word(word, bits);
                (0..64).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| one_by_one.set(64 * word + bit));
                assert_eq!(at_once.as_bytes(), one_by_one.as_bytes(), "word {word}, {bits:#x}");
            }
        }
        let mut mask = SackBits::new();
        mask.set_word(usize::MAX / 8, u64::MAX);
        assert!(mask.is_empty());
    }

    #[test]
    fn a03_words_hold_the_bits_in_their_order() {
        let mask: Vec<u8> = (0..21).map(|byte| byte * 11).collect();
        let bits = Sack::new(&mask).words().enumerate().flat_map(|(index, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * index as u16 + bit)
        });
        let packets: Vec<u16> = bits.map(|bit| (ACK + 2 + bit).get()).collect();
        assert_eq!(packets, received(&mask));
        assert_eq!(Sack::new(&mask).words().count(), 3);
        assert_eq!(Sack::new(&[]).words().next(), None);
    }

    #[test]
    fn a03_bits_beyond_the_longest_mask_are_ignored() {
        let mut bits = SackBits::new();
        for index in [2_016, 2_040, 65_536, usize::MAX] {
            bits.set(index);
        }
        assert!(bits.is_empty());
        assert!(bits.as_extensions().is_empty());
    }

    #[test]
    fn a03_what_was_set_is_what_is_received() {
        let mut bits = SackBits::new();
        for index in [3, 4, 70, 2_015] {
            bits.set(index);
        }
        assert_eq!(received(bits.as_bytes()), [65_535, 0, 66, 2_011]);
    }

    #[test]
    fn a03_cleared_bits_leave_nothing_behind() {
        let mut bits = SackBits::new();
        for index in 0..2_016 {
            bits.set(index);
        }
        bits.clear();
        assert!(bits.is_empty());
        bits.set(2_015);
        assert_eq!(Sack::new(bits.as_bytes()).count(), 1);
    }

    #[test]
    fn a03_bits_go_on_the_wire_as_a_chain_of_one() {
        let mut bits = SackBits::new();
        assert_eq!(bits.as_extensions(), Extensions::EMPTY);
        bits.set(1);
        let chain = bits.as_extensions();
        assert_eq!(chain.first_id(), 1);
        assert_eq!(chain.as_bytes(), [0, 4, 0b10, 0, 0, 0]);
        assert_eq!(chain.sack(), Some(Sack::new(&[0b10, 0, 0, 0])));
        assert_eq!(format!("{bits:?}"), "SackBits([2, 0, 0, 0])");
    }
}
