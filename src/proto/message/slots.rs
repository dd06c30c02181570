//! What each packet number carries: which frames of which messages, and what becomes of them.
//!
//! A record for each frame, in the order of sending, and a slot for each packet, which is a run of records. Knows
//! nothing of bytes but where in its packet a frame begins and ends, and of time only when a packet was made.

use std::collections::VecDeque;

use super::{Fate, MessageId, Mode, Receipt};
use crate::time::Instant;

/// A frame that was put into a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) id: MessageId,
    pub(super) number: u32,
    pub(super) mode: Mode,
    pub(super) channel: u8,
    pub(super) what: What,
    /// Where in the packet it begins and ends.
    pub(super) place: (u16, u16),
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Whole,
    Fragment,
    /// About a message of the peer's.
    Receipt,
    /// It was dropped from its packet, or something is known about it already.
    Settled,
}

/// One packet.
#[derive(Clone, Copy, Debug)]
struct Slot {
    made: Instant,
    records: u16,
    /// The peer has it: in one version or the other.
    arrived: bool,
}

/// All packets from the first that is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: VecDeque<Slot>,
    records: VecDeque<Record>,
    /// Where the records of a slot begin, for those that were looked for: kept while the front stays.
    first_records: VecDeque<u32>,
    /// How many records have been removed at the front, modulo 2^32.
    removed: u32,
}

/// What settling a frame means to those who count.
pub(super) trait Ledger {
    /// The newest number of a channel that was put into a packet.
    fn newest(&self, channel: u8) -> u32;
    /// Something is known about a message for good.
    fn settle(&mut self, receipt: Receipt);
    /// A whole message has arrived: a frame of so many bytes, in a packet that was made then.
    fn deliver(&mut self, channel: u8, id: MessageId, frame: u16, made: Instant);
    /// A packet with something of the channel that is still wanted was lost.
    fn note_loss(&mut self, channel: u8);
    /// A fragment of an unreliable message will not come.
    fn lose_fragment(&mut self, channel: u8, number: u32);
}

impl Slots {
    /// A packet with these frames, made then, has got the next number.
    pub(super) fn push(&mut self, made: Instant, records: &[Record]) {
        debug_assert!(records.len() <= usize::from(u16::MAX), "a packet has less than 65,536 bytes");
        self.first_records.push_back(self.removed.wrapping_add(self.records.len() as u32));
        self.records.extend(records);
        self.slots.push_back(Slot { made, records: records.len() as u16, arrived: false });
    }

    /// Gives its memory back if there are no packets.
    pub(super) fn release(&mut self) {
        if self.slots.is_empty() {
            *self = Self { removed: self.removed, ..Self::default() };
        }
    }

    /// The first packet is acknowledged.
    pub(super) fn pop(&mut self, ledger: &mut impl Ledger) {
        self.arrive(0, ledger);
        let Some(slot) = self.slots.pop_front() else { return };
        self.first_records.pop_front();
        self.records.drain(..usize::from(slot.records));
        self.removed = self.removed.wrapping_add(slot.records.into());
    }

    /// The packet at that place, counted from the first, has arrived.
    pub(super) fn arrive(&mut self, place: usize, ledger: &mut impl Ledger) {
        let Some(slot) = self.slots.get_mut(place).filter(|slot| !slot.arrived) else { return };
        slot.arrived = true;
        let made = slot.made;
        for index in self.range(place) {
            let record = &mut self.records[index];
            if std::mem::replace(&mut record.what, What::Settled) == What::Whole {
                let Record { channel, id, place: (from, to), .. } = *record;
                ledger.deliver(channel, id, to - from, made);
            }
        }
    }

    /// The packet at that place is to be sent again: strikes out what nobody wants any more. What is left is in
    /// [`wanted`](Self::wanted).
    pub(super) fn lose(&mut self, place: usize, ledger: &mut impl Ledger) {
        for index in self.range(place) {
            let record = &mut self.records[index];
            if matches!(record.what, What::Whole | What::Fragment) {
                ledger.note_loss(record.channel);
            }
            let outdated =
                record.mode == Mode::ReliableSequenced && ledger.newest(record.channel) != record.number;
            if record.mode.is_reliable() && !outdated || record.what == What::Receipt {
                continue;
            }
            let Record { channel, id, number, .. } = *record;
            match std::mem::replace(&mut record.what, What::Settled) {
                What::Whole => {
                    let fate = if outdated { Fate::Superseded } else { Fate::Lost };
                    ledger.settle(Receipt { channel, id, fate });
                }
                What::Fragment => ledger.lose_fragment(channel, number),
                What::Receipt | What::Settled => {}
            }
        }
    }

    /// Where the frames are, within the packet at that place, that are still wanted.
    pub(super) fn wanted(&self, place: usize) -> impl Iterator<Item = (u16, u16)> {
        self.range(place)
            .map(|index| &self.records[index])
            .filter(|record| record.what != What::Settled)
            .map(|record| record.place)
    }

    /// Everything is thrown away: nothing more will be known.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of memory taken.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.records.capacity() * size_of::<Record>()
            + self.first_records.capacity() * size_of::<u32>()
    }

    fn range(&self, place: usize) -> std::ops::Range<usize> {
        let (Some(first), Some(slot)) = (self.first_records.get(place), self.slots.get(place)) else {
            return 0..0;
        };
        let first = first.wrapping_sub(self.removed) as usize;
        first..first + usize::from(slot.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(u64, Fate)>, Vec<u32>, u32);

    impl Ledger for Seen {
        fn newest(&self, _: u8) -> u32 {
            9
        }

        fn settle(&mut self, receipt: Receipt) {
            self.0.push((receipt.id.0, receipt.fate));
        }

        fn deliver(&mut self, _: u8, id: MessageId, frame: u16, made: Instant) {
            assert_eq!((frame, made), (10, MADE));
            self.0.push((id.0, Fate::Delivered));
        }

        fn note_loss(&mut self, _: u8) {
            self.2 += 1;
        }

        fn lose_fragment(&mut self, _: u8, number: u32) {
            self.1.push(number);
        }
    }

    const MADE: Instant = Instant::from_micros(77);

    fn record(id: u64, mode: Mode, what: What) -> Record {
        let place = (10 * id as u16, 10 * id as u16 + 10);
        Record { id: MessageId(id), number: id as u32, mode, channel: 0, what, place }
    }

    fn frames() -> Vec<Record> {
        vec![
            record(0, Mode::Unreliable, What::Whole),
            record(1, Mode::ReliableOrdered, What::Whole),
            record(2, Mode::Unreliable, What::Receipt),
            record(3, Mode::ReliableSequenced, What::Whole),
            record(9, Mode::ReliableSequenced, What::Whole),
            record(5, Mode::UnreliableSequenced, What::Fragment),
            record(6, Mode::ReliableUnordered, What::Fragment),
        ]
    }

    #[test]
    fn the_second_version_of_a_packet_has_what_is_still_wanted_and_nothing_else() {
        let (mut slots, mut seen) = (Slots::default(), Seen::default());
        slots.push(MADE, &frames());
        slots.lose(0, &mut seen);
        assert_eq!(seen.2, 6, "a receipt is of no channel");
        assert_eq!(seen.0, [(0, Fate::Lost), (3, Fate::Superseded)]);
        assert_eq!(seen.1, [5]);
        let wanted: Vec<_> = slots.wanted(0).map(|(from, _)| from / 10).collect();
        assert_eq!(wanted, [1, 2, 9, 6]);
        slots.lose(0, &mut seen);
        assert_eq!((seen.0.len(), slots.wanted(0).count()), (2, 4), "lost once more, and nothing new to say");
        slots.pop(&mut seen);
        assert_eq!(seen.0[2..], [(1, Fate::Delivered), (9, Fate::Delivered)]);
    }

    #[test]
    fn what_was_reported_early_is_not_reported_again_and_places_move_with_the_front() {
        let (mut slots, mut seen) = (Slots::default(), Seen::default());
        slots.push(MADE, &[record(1, Mode::ReliableOrdered, What::Whole)]);
        slots.push(MADE, &[]);
        slots.push(
            MADE,
            &[record(2, Mode::Unreliable, What::Whole), record(3, Mode::Unreliable, What::Whole)],
        );
        slots.arrive(2, &mut seen);
        assert_eq!(seen.0, [(2, Fate::Delivered), (3, Fate::Delivered)]);
        slots.pop(&mut seen);
        slots.pop(&mut seen);
        assert_eq!((slots.slots.len(), seen.0.len()), (1, 3));
        slots.arrive(0, &mut seen);
        slots.pop(&mut seen);
        slots.pop(&mut seen);
        assert_eq!((slots.slots.len(), seen.0.len()), (0, 3));
        assert_eq!(slots.records.len(), 0);
    }
}
