//! Packets that arrived before their turn, each in a slot of its own.
//!
//! Knows neither limits nor the end of the stream; whoever inserts has decided that there is room. The slots form
//! a ring addressed by the packet number itself, so nothing moves when the gap does. Beside it lies one bit for
//! each slot, so the selective acknowledgement of a thousand packets is read from sixteen words.

use crate::wire::{SackBits, SeqNr};

/// What is held beyond the first gap. All of it lies within one turn of the ring after the cumulative number, which
/// the owner keeps and passes in.
#[derive(Debug)]
pub(super) struct Reorder {
    /// A power of two of them, at least [`SLOTS_MIN`], or none while nothing is held.
    slots: Vec<Option<Box<[u8]>>>,
    /// Which slots are taken: bit `i % 64` of word `i / 64` for slot `i`.
    taken: Vec<u64>,
    packets: usize,
    bytes: usize,
    charge: usize,
    /// What the copies of the payloads really take.
    allocated: usize,
    /// The furthest packet held; means nothing while none is.
    highest: SeqNr,
}

/// Ours: one word of bits.
const SLOTS_MIN: usize = 64;

/// BEP 29: a mask comes in multiples of 4 bytes and its length has 8 bits, so 252 bytes are the longest.
const REPORTED_MAX: usize = 252 * 8;

/// Ours: what an allocation and a slot cost. Without it a flood of one-byte packets would take many times the
/// memory that the window promised.
const CHARGE_MIN: usize = 64;

impl Reorder {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            taken: Vec::new(),
            packets: 0,
            bytes: 0,
            charge: 0,
            allocated: 0,
            highest: SeqNr::new(0),
        }
    }

    /// What holding this payload is counted as, in bytes.
    pub(super) fn charge_for(payload: &[u8]) -> usize {
        payload.len().max(CHARGE_MIN)
    }

    /// Keeps a copy of `payload` for packet `seq`, which is not held yet and lies `ahead` > 1 numbers after
    /// `cumulative`.
    pub(super) fn insert(&mut self, cumulative: SeqNr, ahead: usize, payload: &[u8]) {
        debug_assert!(
            ahead > 1 && !self.contains(cumulative, ahead),
            "slot {ahead} after {cumulative} is not free"
        );
        if ahead > self.slots.len() {
            self.grow(cumulative, ahead);
        }
        let seq = cumulative + number(ahead);
        if self.is_empty() || seq.is_after(self.highest) {
            self.highest = seq;
        }
        self.put(seq, Box::from(payload));
        self.packets += 1;
        self.bytes += payload.len();
        self.charge += Self::charge_for(payload);
        self.allocated += allocation_for(payload.len());
    }

    /// Takes packet `seq` out, the one right after the acknowledged ones, if it is held. The last one taken frees
    /// the memory.
    pub(super) fn take(&mut self, seq: SeqNr) -> Option<Box<[u8]>> {
        if self.is_empty() {
            return None;
        }
        let slot = self.slot(seq);
        let payload = self.slots[slot].take()?;
        self.taken[slot / 64] &= !(1 << (slot % 64));
        self.packets -= 1;
        self.bytes -= payload.len();
        self.charge -= Self::charge_for(&payload);
        self.allocated -= allocation_for(payload.len());
        if self.is_empty() {
            debug_assert_eq!(
                (self.bytes, self.charge, self.allocated),
                (0, 0, 0),
                "accounting of held packets"
            );
            *self = Self::new();
        }
        Some(payload)
    }

    /// Whether the packet `ahead` > 0 numbers after `cumulative` is held.
    pub(super) fn contains(&self, cumulative: SeqNr, ahead: usize) -> bool {
        ahead <= self.slots.len() && self.slots[self.slot(cumulative + number(ahead))].is_some()
    }

    /// Whether any packet after `seq` is held.
    pub(super) fn reaches_beyond(&self, seq: SeqNr) -> bool {
        !self.is_empty() && self.highest.is_after(seq)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Bytes of payload held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What that counts as: never less than the payload.
    pub(super) const fn charge(&self) -> usize {
        self.charge
    }

    /// Bytes of memory taken, with what the allocator adds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.allocated + memory_of(self.slots.len())
    }

    /// What [`memory_bytes`](Self::memory_bytes) will be once this payload is kept `ahead` numbers ahead.
    pub(super) fn memory_with(&self, ahead: usize, payload: &[u8]) -> usize {
        let slots = slots_for(ahead).max(self.slots.len());
        self.allocated + allocation_for(payload.len()) + memory_of(slots)
    }

    /// Sets a bit for each packet held; bit 0 stands for the second one after `cumulative`.
    pub(super) fn report(&self, cumulative: SeqNr, bits: &mut SackBits) {
        if self.is_empty() {
            return;
        }
        let first = cumulative + 2;
        let span =
            usize::from(self.highest.distance_from(cumulative.next()).unsigned_abs()).min(REPORTED_MAX);
        for word in 0..span.div_ceil(64) {
            bits.set_word(word, self.taken_from(self.slot(first + number(64 * word))));
        }
    }

    /// The bits of 64 slots from `slot` on, going round the end.
    fn taken_from(&self, slot: usize) -> u64 {
        let (word, shift) = (slot / 64, slot % 64);
        let low = self.taken[word] >> shift;
        if shift == 0 { low } else { low | self.taken[(word + 1) % self.taken.len()] << (64 - shift) }
    }

    fn put(&mut self, seq: SeqNr, payload: Box<[u8]>) {
        let slot = self.slot(seq);
        self.slots[slot] = Some(payload);
        self.taken[slot / 64] |= 1 << (slot % 64);
    }

    fn slot(&self, seq: SeqNr) -> usize {
        usize::from(seq.get()) & (self.slots.len() - 1)
    }

    /// Makes one turn of the ring at least `ahead` slots long.
    #[cold]
    fn grow(&mut self, cumulative: SeqNr, ahead: usize) {
        let len = slots_for(ahead);
        let fresh = (0..len).map(|_| None).collect();
        let old = std::mem::replace(&mut self.slots, fresh);
        self.taken = vec![0; len / 64];
        // The old slots lie within one turn after `cumulative`, so the distance from it gives back their numbers.
        let turn = old.len().wrapping_sub(1);
        for (slot, payload) in old.into_iter().enumerate() {
            let Some(payload) = payload else { continue };
            let steps = slot.wrapping_sub(usize::from(cumulative.next().get())) & turn;
            self.put(cumulative.next() + number(steps), payload);
        }
    }
}

/// How many slots make one turn of the ring at least `ahead` long.
fn slots_for(ahead: usize) -> usize {
    ahead.next_power_of_two().max(SLOTS_MIN)
}

/// Bytes that so many slots and their bits take.
const fn memory_of(slots: usize) -> usize {
    slots * size_of::<Option<Box<[u8]>>>() + slots / 8
}

/// What a copy of `len` bytes takes from the allocator.
fn allocation_for(len: usize) -> usize {
    /// Measured: glibc on 64 bits; what an allocation costs on top, what sizes are rounded up to, and the least.
    const MALLOC: (usize, usize, usize) = (8, 16, 32);
    let (header, step, least) = MALLOC;
    (len + header).next_multiple_of(step).max(least)
}

/// A distance as a number of steps. Distances on the circle are below 32,768.
fn number(ahead: usize) -> u16 {
    debug_assert!(ahead <= 1 << 15, "{ahead} numbers are not a distance");
    ahead as u16
}
