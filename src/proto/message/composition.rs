//! A packet that is being made: its frames, and what they are.

use super::frame::{Verdict, Writer};
use super::partial::Key;
use super::slots::{Record, What};
use super::{MessageId, Mode};

/// A packet that is being made.
#[derive(Debug, Default)]
pub(super) struct Composition {
    pub(super) bytes: Vec<u8>,
    /// What is in it.
    pub(super) records: Vec<Record>,
}

impl Composition {
    /// Adds what is to be said about the peer's messages.
    pub(super) fn add_verdict(&mut self, mode: Mode, (channel, number): Key, verdict: Verdict) {
        let from = self.bytes.len();
        Writer { out: &mut self.bytes }.receipt(mode, channel, number, verdict);
        self.note(MessageId(u64::MAX), (mode, channel, number), What::Receipt, from);
    }

    /// The frame that was written from there on.
    pub(super) fn note(
        &mut self,
        id: MessageId,
        (mode, channel, number): (Mode, u8, u32),
        what: What,
        from: usize,
    ) {
        let place = (from as u16, self.bytes.len() as u16);
        self.records.push(Record { id, number, mode, channel, what, place });
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Gives its memory back if there is nothing in it.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.records.capacity() * size_of::<Record>()
    }
}
