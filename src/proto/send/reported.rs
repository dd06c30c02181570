//! Which outstanding segments the peer has reported, one bit each, so that a mask is compared with them word by word:
//! peers repeat the same bits in every mask until the gap before them closes.
//!
//! Knows indices, and neither numbers nor segments. The bits form a ring addressed by the index itself.

/// A bit for each outstanding segment; see [`fit`](Self::fit).
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// A power of two of them, or none.
    words: Vec<u64>,
}

impl Reported {
    /// Has room for so many segments in a row from now on. `reported` are those whose bits are set.
    pub(super) fn fit(&mut self, count: usize, reported: impl Iterator<Item = u64>) {
        if count <= 64 * self.words.len() {
            return;
        }
        self.words = vec![0; count.div_ceil(64).next_power_of_two()];
        for index in reported {
            self.set(index);
        }
    }

    pub(super) fn set(&mut self, index: u64) {
        let (word, bit) = self.slot(index);
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(super) fn clear(&mut self, index: u64) {
        let (word, bit) = self.slot(index);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !(1 << bit);
        }
    }

    /// The bits of 64 segments from `index` on; those beyond the last segment mean nothing.
    pub(super) fn from(&self, index: u64) -> u64 {
        let (word, bit) = self.slot(index);
        let Some(low) = self.words.get(word) else { return 0 };
        if bit == 0 {
            return *low;
        }
        low >> bit | self.words[(word + 1) % self.words.len()] << (64 - bit)
    }

    /// Bytes of memory taken.
    pub(super) fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn slot(&self, index: u64) -> (usize, u32) {
        let turn = self.words.len().max(1) - 1;
        ((index / 64) as usize & turn, (index % 64) as u32)
    }
}
