//! What a made-up peer has said: every number stands for the same bytes for ever, whatever the fuzzer does with it,
//! so what a connection delivers can be checked.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::stretch;

/// The peer's half of the stream.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    /// How many bytes each number stands for, from its first use on.
    lengths: BTreeMap<u16, usize>,
    fins: BTreeSet<u16>,
    /// The number that is being read, and how much of it has been.
    cursor: (u16, usize),
}

impl Spoken {
    /// The payload of a packet: `len` bytes, unless the number has been used before.
    pub(crate) fn payload(&mut self, seq: u16, len: usize, fin: bool) -> &'static [u8] {
        let len = *self.lengths.entry(seq).or_insert(len);
        if fin {
            self.fins.insert(seq);
        }
        part(seq, 0, len)
    }

    /// The stream begins with this number.
    pub(crate) const fn begin(&mut self, first: u16) {
        self.cursor = (first, 0);
    }

    /// These bytes were delivered next.
    pub(crate) fn delivered(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (seq, read) = self.cursor;
            let len = self.lengths.get(&seq).copied();
            let len = len.unwrap_or_else(|| panic!("bytes of number {seq}, which was never sent"));
            let (now, rest) = bytes.split_at(bytes.len().min(len - read));
            assert!(now == part(seq, read, now.len()), "number {seq} was delivered with other bytes");
            self.cursor =
                if now.len() == len - read { (seq.wrapping_add(1), 0) } else { (seq, read + now.len()) };
            bytes = rest;
        }
    }

    /// The end was delivered next: only packets without bytes may lie between the last byte and a FIN.
    pub(crate) fn ended(&self) {
        let (mut seq, read) = self.cursor;
        assert_eq!(read, 0, "the end comes between two packets");
        if self.fins.contains(&seq.wrapping_sub(1)) {
            return;
        }
        while self.lengths.get(&seq) == Some(&0) {
            if self.fins.contains(&seq) {
                return;
            }
            seq = seq.wrapping_add(1);
        }
        panic!("the stream ended before {seq}, where no FIN was");
    }
}

/// The bytes of this number from there on.
fn part(seq: u16, at: usize, len: usize) -> &'static [u8] {
    stretch(usize::from(seq) * 263 + at, len)
}
