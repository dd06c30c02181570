//! Bytes that say where they belong: every position of every stream has its own.
//!
//! A byte that is lost, doubled, moved or taken from another stream shows at once.

use crate::link::splitmix64;

/// The content of one direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    key: u64,
}

impl Pattern {
    /// The pattern with this key; different keys have nothing in common.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key }
    }

    /// Writes what belongs to `position` and after it.
    pub fn fill(self, position: u64, out: &mut [u8]) {
        let skip = (position % 8) as usize;
        let mut block = position / 8;
        let (head, body) = out.split_at_mut(out.len().min((8 - skip) % 8));
        if !head.is_empty() {
            head.copy_from_slice(&self.block(block)[skip..skip + head.len()]);
            block += 1;
        }
        for chunk in body.chunks_mut(8) {
            chunk.copy_from_slice(&self.block(block)[..chunk.len()]);
            block += 1;
        }
    }

    /// Where the first byte is that does not belong to `position` and after it.
    #[must_use]
    pub fn first_wrong(self, position: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; 512];
        let mut at = position;
        for chunk in bytes.chunks(expected.len()) {
            let expected = &mut expected[..chunk.len()];
            self.fill(at, expected);
            if expected != chunk {
                let offset = expected.iter().zip(chunk).position(|(a, b)| a != b).unwrap_or(0);
                return Some(at + offset as u64);
            }
            at += chunk.len() as u64;
        }
        None
    }

    const fn block(self, index: u64) -> [u8; 8] {
        let mut state = self.key ^ index.wrapping_mul(0xd134_2543_de82_ef95);
        splitmix64(&mut state).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_its_byte_however_it_is_asked_for() {
        let pattern = Pattern::new(3);
        let mut whole = [0; 100];
        pattern.fill(0, &mut whole);
        for from in 0..40 {
            for len in 0..40 {
                let mut part = vec![0; len];
                pattern.fill(from as u64, &mut part);
                assert_eq!(part, whole[from..from + len], "{len} bytes from {from}");
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_found_where_it_is() {
        let pattern = Pattern::new(3);
        let mut bytes = vec![0; 3000];
        pattern.fill(11, &mut bytes);
        assert_eq!(pattern.first_wrong(11, &bytes), None);
        bytes[1500] ^= 1;
        assert_eq!(pattern.first_wrong(11, &bytes), Some(1511));
        assert_eq!(Pattern::new(4).first_wrong(0, &bytes[..8]), Some(0));
    }
}
