//! Bytes in order for the application, and what came too early.
//!
//! Knows nothing of time, acknowledgement policy or packets other than their number and payload. What arrives in
//! turn goes into a ring with one copy and no allocation; what arrives early is copied into a slot, and from there
//! into the ring when the gap before it closes.
//!
//! The window is a promise: what was advertised is kept, and what goes beyond it is refused. Two things are taken
//! beyond the promise. Packets that fill gaps find room for a sixteenth more: a peer that sends too much after them
//! uses up the room that they need. And the packet that everything else waits for is always taken when
//! nothing is unread, or a peer that filled all the room behind a gap could never fill the gap. So unread and held
//! bytes together never exceed the limit, its sixteenth and that packet.
//!
//! Memory is bounded by what is allocated, not by what was sent ([`MEMORY_FACTOR`]). A packet for which there is no
//! memory is refused and will come again; it is never one that is held already, because a peer forgets what was
//! reported to it, and never the connection.

use super::reorder::Reorder;
use crate::storage::ByteRing;
use crate::wire::{SackBits, SeqNr};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was the next one.
    InOrder {
        /// Bytes that can now be read and could not before: its own and those of packets that waited for it.
        bytes: usize,
        /// Whether packets after it had arrived before it.
        filled_gap: bool,
    },
    /// It came before its turn and waits.
    Held,
    /// It had arrived before.
    Duplicate,
    /// There is no room for it, or it lies beyond the end of the stream. If the peer means it, it will send it again.
    Refused,
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct ReceiveBuffer {
    unread: ByteRing,
    held: Reorder,
    /// Everything up to and including this packet has arrived.
    cumulative: SeqNr,
    /// The last packet of the stream, once it is here (in order or held).
    fin: Option<SeqNr>,
    /// Bytes that unread and held ones may take together.
    limit: usize,
}

/// Ours: room for a thousand packets out of order even with a small window, as libutp and libtorrent have.
const SLOTS_LEAST: usize = 1024;

/// Ours: unread bytes for which there is always memory: the first step of the ring.
const ALWAYS: usize = 4096;

/// BEP 29: numbers have 16 bits, so half the circle is as far as "after" reaches.
const SLOTS_MOST: usize = 1 << 15;

/// Ours: the part of the limit that gap fillers may take beyond it. libtorrent believes the window of an overtaken
/// packet and sends too much (measured); the excess takes the room of what was lost before, and a packet that did not
/// get through three times ends its connection.
const GAP_SHARE: usize = 16;

/// Ours: one slot for each half kilobyte of window, so that slots stay a small part of what the window may take.
const BYTES_PER_SLOT: usize = 512;

/// Ours: memory, in windows. Unread bytes may need one, because their ring doubles, and held ones one and a quarter: 64
/// bytes of payload take 80 of memory. Together they never need more than two, since the bytes share the one window.
const MEMORY_FACTOR: usize = 2;

/// Ours: what any window may take. In smaller ones the thousand slots weigh as much as what is in them.
const MEMORY_LEAST: usize = 96 << 10;

impl ReceiveBuffer {
    /// A buffer for `window_bytes` bytes, unread and held ones together. Takes no memory yet.
    #[must_use]
    pub const fn new(window_bytes: usize) -> Self {
        Self {
            unread: ByteRing::new(window_bytes),
            held: Reorder::new(),
            cumulative: SeqNr::new(0),
            fin: None,
            limit: window_bytes,
        }
    }

    /// Says where the stream begins: everything up to and including `last` counts as received.
    pub fn start(&mut self, last: SeqNr) {
        debug_assert!(self.unread.is_empty() && self.held.is_empty() && self.fin.is_none(), "started twice");
        self.cumulative = last;
    }

    /// Takes in a data packet. An empty payload uses up its number like any other.
    pub fn insert(&mut self, seq: SeqNr, payload: &[u8]) -> Inserted {
        let ahead = seq.distance_from(self.cumulative);
        if ahead <= 0 {
            Inserted::Duplicate
        } else if self.fin.is_some_and(|fin| seq.is_after(fin)) {
            Inserted::Refused
        } else if ahead == 1 {
            self.append(seq, payload)
        } else {
            self.hold(usize::from(ahead.unsigned_abs()), payload)
        }
    }

    /// Takes in a packet that ends the stream. It uses up a number; any payload is delivered before the end.
    ///
    /// Later packets are refused from then on. An end that contradicts what has arrived (another end, or a packet
    /// after it) is refused too.
    pub fn finish_at(&mut self, seq: SeqNr, payload: &[u8]) -> Inserted {
        let contradicts = self.fin.is_some_and(|fin| fin != seq) || self.held.reaches_beyond(seq);
        if contradicts && seq.is_after(self.cumulative) {
            return Inserted::Refused;
        }
        let inserted = self.insert(seq, payload);
        if matches!(inserted, Inserted::InOrder { .. } | Inserted::Held) {
            self.fin = Some(seq);
        }
        inserted
    }

    /// Takes bytes in order into `out`, as many as there are and fit, and returns how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        self.unread.read(out)
    }

    /// Copies what [`read`](Self::read) would take, and leaves it.
    pub fn peek(&self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.unread.len());
        self.unread.copy_out(0, &mut out[..count]);
        count
    }

    /// Throws away what could be read, and returns how much that was.
    pub fn discard(&mut self) -> usize {
        let count = self.unread.len();
        self.unread.consume(count);
        count
    }

    /// Throws away what came before its turn: the packets before it will never come.
    pub fn discard_held(&mut self) {
        self.held = Reorder::new();
    }

    /// Gives memory back if nothing is unread; the next packet takes some again. For connections that went quiet:
    /// while bytes flow, keeping it is cheaper.
    pub fn release(&mut self) {
        self.unread.release();
    }

    /// Whether nothing is unread but memory is held, which [`release`](Self::release) would give back.
    #[must_use]
    pub const fn holds_idle_memory(&self) -> bool {
        self.unread.is_empty() && self.unread.capacity() > 0
    }

    /// Lets the window grow to `bytes`. A smaller number than before changes nothing: the peer has our promise.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = self.limit.max(bytes);
        self.unread.set_limit(self.limit);
    }

    /// Bytes of memory taken: for unread bytes, for held ones with what the allocator adds, and for slots.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.unread.capacity() + self.held.memory_bytes()
    }

    /// Bytes of memory that [`insert`](Self::insert) would take for this packet, about. One that others wait for makes
    /// them move from slots into the ring, and does not count. Nor do the first bytes of all: what is in the packet
    /// besides may be what the connection waits for, the proof of an address or room in the peer's window.
    #[must_use]
    pub fn growth_for(&self, seq: SeqNr, payload: &[u8]) -> usize {
        match seq.distance_from(self.cumulative) {
            ..=0 => 0,
            1 if self.held.contains(self.cumulative, 2) => 0,
            1 if self.unread.len() + payload.len() <= ALWAYS => 0,
            1 => self.unread.growth_for(payload.len()),
            ahead => {
                let with = self.held.memory_with(usize::from(ahead.unsigned_abs()), payload);
                with.saturating_sub(self.held.memory_bytes())
            }
        }
    }

    /// The most that [`memory_bytes`](Self::memory_bytes) comes to, whatever is sent: twice the limit, or 96 KiB, and
    /// the one packet that a gap was waiting for.
    #[must_use]
    pub fn memory_max(&self) -> usize {
        (MEMORY_FACTOR * self.limit).max(MEMORY_LEAST)
    }

    /// Bytes that can be read now.
    #[must_use]
    pub const fn readable_bytes(&self) -> usize {
        self.unread.len()
    }

    /// The last packet before the first gap: what to acknowledge.
    #[must_use]
    pub const fn cumulative(&self) -> SeqNr {
        self.cumulative
    }

    /// Whether packets are held after a gap, so that a selective acknowledgement has something to say.
    #[must_use]
    pub const fn has_gap(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes the selective acknowledgement: a bit for each packet held. Bit 0 stands for the second packet after
    /// [`cumulative`](Self::cumulative). What `bits` said before is forgotten.
    pub fn sack(&self, bits: &mut SackBits) {
        bits.clear();
        self.held.report(self.cumulative, bits);
    }

    /// Bytes that the peer may still send: what to advertise.
    #[must_use]
    pub fn window(&self) -> u32 {
        let taken = self.unread.len() + self.held.charge();
        u32::try_from(self.limit.saturating_sub(taken)).unwrap_or(u32::MAX)
    }

    /// Bytes that unread and held ones may take together.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the end and everything before it has arrived.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.fin == Some(self.cumulative)
    }

    /// Whether the stream is finished and read to its end.
    #[must_use]
    pub fn at_eof(&self) -> bool {
        self.is_finished() && self.unread.is_empty()
    }

    /// The packet whose turn it is: into the ring, and after it whatever was waiting for it.
    fn append(&mut self, seq: SeqNr, payload: &[u8]) -> Inserted {
        let needed = self.unread.len() + self.held.bytes() + payload.len();
        if needed > self.limit && !self.unblocks(payload, needed) {
            return Inserted::Refused;
        }
        self.push(seq, payload);
        if self.held.is_empty() {
            return Inserted::InOrder { bytes: payload.len(), filled_gap: false };
        }
        let mut bytes = payload.len();
        while let Some(payload) = self.held.take(self.cumulative.next()) {
            bytes += payload.len();
            self.push(self.cumulative.next(), &payload);
        }
        self.unread.set_limit(self.limit);
        Inserted::InOrder { bytes, filled_gap: true }
    }

    /// Whether to take a packet beyond the limit because others wait for it; if so, makes room.
    #[cold]
    fn unblocks(&mut self, payload: &[u8], needed: usize) -> bool {
        let alone = self.unread.is_empty() && payload.len() <= self.limit;
        let unblocks = alone || (!self.held.is_empty() && needed <= self.limit_for_gaps());
        if unblocks {
            self.unread.set_limit(needed.max(self.limit_for_gaps()));
        }
        unblocks
    }

    /// The limit for packets that fill gaps.
    const fn limit_for_gaps(&self) -> usize {
        self.limit.saturating_add(self.limit / GAP_SHARE)
    }

    fn push(&mut self, seq: SeqNr, payload: &[u8]) {
        let written = self.unread.write(payload);
        debug_assert_eq!(written, payload.len(), "acknowledged bytes without room");
        self.cumulative = seq;
    }

    fn hold(&mut self, ahead: usize, payload: &[u8]) -> Inserted {
        if self.held.contains(self.cumulative, ahead) {
            return Inserted::Duplicate;
        }
        let slots = (self.limit / BYTES_PER_SLOT).clamp(SLOTS_LEAST, SLOTS_MOST);
        let taken = self.unread.len() + self.held.charge() + Reorder::charge_for(payload);
        let fills = self.held.reaches_beyond(self.cumulative + ahead as u16);
        let limit = if fills { self.limit_for_gaps() } else { self.limit };
        if ahead > slots || taken > limit || !self.has_memory_for(ahead, payload) {
            return Inserted::Refused;
        }
        self.held.insert(self.cumulative, ahead, payload);
        Inserted::Held
    }

    /// Whether the packet may be kept within the bound of memory; gives back what unread bytes no longer need for it.
    fn has_memory_for(&mut self, ahead: usize, payload: &[u8]) -> bool {
        let most = self.memory_max();
        let held = self.held.memory_with(ahead, payload);
        let fits = |unread: &ByteRing| unread.capacity() + held <= most;
        if !fits(&self.unread) {
            self.unread.shrink();
        }
        fits(&self.unread)
    }
}
