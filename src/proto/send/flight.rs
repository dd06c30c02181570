//! The segments between the peer's cumulative acknowledgement and the next new number.
//!
//! Keeps count of what is in flight and of what waits for retransmission. Refuses to know bytes, round trips, and
//! why a segment is lost: it is told.
//!
//! Segments have an index that starts at 0 and never wraps; the number on the wire is its low 16 bits from the first
//! number on. Index minus `base` is the place in the queue, so every look-up is one subtraction.

use std::collections::VecDeque;

use super::reported::Reported;
use super::segment::{Fate, Segment, SegmentRef};
use crate::time::Instant;
use crate::wire::SeqNr;

#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Never longer than [`OUTSTANDING_MAX`].
    segments: VecDeque<Segment>,
    /// Index of the first segment.
    base: u64,
    /// Number of the segment before the first.
    last_acked: SeqNr,
    /// Indices waiting for retransmission. An entry whose segment is no longer `queued` is stale; each index is in
    /// here at most once, so this is no longer than `segments` once stale ones have left.
    retransmit: VecDeque<u64>,
    queued: usize,
    sacked: usize,
    /// Which those are.
    reported: Reported,
    bytes: u32,
    packets: u32,
    /// How many transmissions there have been, retransmissions included: the order of the next one.
    transmissions: u64,
    newest_sent: Instant,
}

/// Ours: the most segments between acknowledgement and next number. Distances on the circle of 65,536 numbers are
/// unambiguous up to 32,767; the rest is room for what the peer may see late.
pub(super) const OUTSTANDING_MAX: usize = 32_000;

impl Flight {
    pub(super) fn start(&mut self, first: SeqNr) {
        debug_assert!(
            self.segments.is_empty() && self.transmissions == 0,
            "numbers are chosen once, before sending"
        );
        self.last_acked = first.prev();
    }

    /// A new segment went out under the next number.
    pub(super) fn push(&mut self, segment: &SegmentRef, now: Instant) {
        let order = self.count_transmission(now);
        self.segments.push_back(Segment::new(segment, now, order));
        self.add_in_flight(segment.len);
    }

    /// A new segment gets the next number and is kept back. Windows are used as if it had been sent.
    pub(super) fn keep_back(&mut self, segment: &SegmentRef, now: Instant) {
        self.segments.push_back(Segment::kept_back(segment, now));
        self.add_in_flight(segment.len);
    }

    /// One that was kept back went out. Returns the order of this transmission.
    pub(super) fn send_late(&mut self, index: u64, now: Instant) -> u64 {
        let order = self.count_transmission(now);
        let place = self.place(index);
        let segment = &mut self.segments[place];
        debug_assert_eq!(segment.fate, Fate::KeptBack, "sent before");
        (segment.first_sent, segment.last_sent, segment.order) = (now, now, order);
        (segment.fate, segment.transmissions) = (Fate::InFlight, 1);
        order
    }

    /// A segment went out again. Returns the order of this transmission.
    pub(super) fn resend(&mut self, index: u64, now: Instant) -> u64 {
        let order = self.count_transmission(now);
        if self.retransmit.front() == Some(&index) {
            self.retransmit.pop_front();
        } else {
            self.retransmit.retain(|&other| other != index);
        }
        let place = self.place(index);
        let segment = &mut self.segments[place];
        debug_assert_ne!(segment.fate, Fate::Sacked, "the peer has it");
        self.queued -= usize::from(segment.queued);
        let (fate, len) = (segment.fate, segment.len);
        *segment = Segment {
            last_sent: now,
            order,
            transmissions: segment.transmissions.saturating_add(1),
            fate: Fate::InFlight,
            queued: false,
            deferred: false,
            timed_out: false,
            ..*segment
        };
        if fate == Fate::Lost {
            self.add_in_flight(len);
        }
        order
    }

    /// Takes the first segment out: it is acknowledged. Returns it as it was.
    pub(super) fn pop(&mut self) -> Option<Segment> {
        #[cfg(test)]
        looks::count();
        let segment = self.segments.pop_front()?;
        let index = self.base;
        self.base += 1;
        self.last_acked = self.last_acked.next();
        match segment.fate {
            Fate::Sacked => {
                self.sacked -= 1;
                self.reported.clear(index);
            }
            Fate::InFlight | Fate::KeptBack => self.remove_in_flight(segment.len),
            Fate::Lost => {}
        }
        self.queued -= usize::from(segment.queued);
        Some(segment)
    }

    /// To be called before [`unreported`](Self::unreported), once for each mask.
    pub(super) fn begin_mask(&mut self) {
        let base = self.base;
        let reported = self.segments.iter().enumerate().filter(|(_, segment)| segment.fate == Fate::Sacked);
        self.reported.fit(self.segments.len(), reported.map(|(place, _)| base + place as u64));
    }

    /// Those bits of a word of a mask that tell something new. Its lowest bit stands for the segment at `place`, counted
    /// from the first one; what lies before the first and after the last segment is left out.
    pub(super) fn unreported(&self, place: i64, word: u64) -> u64 {
        let after = self.segments.len() as i64 - place;
        if place <= -64 || after <= 0 {
            return 0;
        }
        let before = place.min(0).unsigned_abs() as u32;
        let word = if after < 64 { word & ((1 << after) - 1) } else { word };
        let word = word >> before << before;
        word & !(self.reported.from(self.base + place.max(0).unsigned_abs()) << before)
    }

    /// The peer reports having this one. Returns it as it was, or nothing if that was known.
    pub(super) fn sack(&mut self, index: u64) -> Option<Segment> {
        let place = self.place(index);
        let segment = &mut self.segments[place];
        if segment.fate == Fate::Sacked {
            return None;
        }
        let before = *segment;
        (segment.fate, segment.queued) = (Fate::Sacked, false);
        self.sacked += 1;
        self.reported.set(index);
        self.queued -= usize::from(before.queued);
        if before.takes_room() {
            self.remove_in_flight(before.len);
        }
        Some(before)
    }

    /// Gives a segment in flight up for lost and queues it; the first segment goes to the front, because nothing
    /// reaches the peer's application before it.
    pub(super) fn lose(&mut self, index: u64, timed_out: bool) {
        let place = self.place(index);
        let segment = &mut self.segments[place];
        debug_assert!(segment.is_in_flight(), "only what is in flight can get lost");
        (segment.fate, segment.deferred, segment.timed_out) = (Fate::Lost, false, timed_out);
        let len = segment.len;
        self.remove_in_flight(len);
        self.queue(index);
    }

    /// Queues a segment for retransmission, if it is not waiting already.
    pub(super) fn queue(&mut self, index: u64) {
        let place = self.place(index);
        let segment = &mut self.segments[place];
        if segment.queued {
            return;
        }
        segment.queued = true;
        self.queued += 1;
        if index == self.base { self.retransmit.push_front(index) } else { self.retransmit.push_back(index) }
    }

    /// The segment to retransmit next.
    pub(super) fn next_queued(&mut self) -> Option<u64> {
        if self.head().is_some_and(|head| head.queued) {
            // Even if it was not the first yet when it was found lost, and stands behind others.
            return Some(self.base);
        }
        while let Some(&index) = self.retransmit.front() {
            if self.get(index).is_some_and(|segment| segment.queued) {
                return Some(index);
            }
            self.retransmit.pop_front();
        }
        None
    }

    /// Takes back what a timeout declared lost and nobody sent again since. Looks at everything that is queued.
    pub(super) fn restore_timed_out(&mut self) {
        let (mut packets, mut bytes) = (0, 0);
        let (base, segments) = (self.base, &mut self.segments);
        self.retransmit.retain(|&index| {
            let place = index.checked_sub(base).and_then(|place| usize::try_from(place).ok());
            let Some(segment) = place.and_then(|place| segments.get_mut(place)) else { return false };
            let restored = segment.queued && segment.timed_out && !segment.is_retransmitted();
            if restored {
                (segment.fate, segment.queued, segment.timed_out) = (Fate::InFlight, false, false);
                packets += 1;
                bytes += u32::from(segment.len);
            }
            !restored
        });
        self.queued -= packets as usize;
        self.packets += packets;
        self.bytes += bytes;
    }

    /// Forgets every segment, as if all had been acknowledged.
    pub(super) fn clear(&mut self) {
        while self.pop().is_some() {}
        self.retransmit.clear();
    }

    /// Gives the memory back if nothing is outstanding.
    pub(super) fn release(&mut self) {
        if self.segments.is_empty() {
            (self.segments, self.retransmit) = (VecDeque::new(), VecDeque::new());
            self.reported = Reported::default();
        }
    }

    /// Bytes of memory taken.
    pub(super) fn memory_bytes(&self) -> usize {
        self.segments.capacity() * size_of::<Segment>()
            + self.retransmit.capacity() * size_of::<u64>()
            + self.reported.memory_bytes()
    }

    /// Steps from the last acknowledged number to this one, negative if backwards; nothing if it was never sent.
    pub(super) fn steps_to(&self, seq: SeqNr) -> Option<i64> {
        let steps = i64::from(seq.distance_from(self.last_acked));
        (steps <= self.segments.len() as i64).then_some(steps)
    }

    /// The outstanding segment with this number.
    pub(super) fn index_of(&self, seq: SeqNr) -> Option<u64> {
        let steps = u64::try_from(self.steps_to(seq)?).ok()?;
        Some(self.base + steps.checked_sub(1)?)
    }

    pub(super) fn seq_of(&self, index: u64) -> SeqNr {
        self.last_acked + (index - self.base) as u16 + 1
    }

    pub(super) fn get(&self, index: u64) -> Option<&Segment> {
        #[cfg(test)]
        looks::count();
        self.segments.get(usize::try_from(index.checked_sub(self.base)?).ok()?)
    }

    /// Notes that a retransmission is lost unless it lies beyond the peer's masks.
    pub(super) fn defer(&mut self, index: u64) {
        let place = self.place(index);
        self.segments[place].deferred = true;
    }

    pub(super) fn head(&self) -> Option<&Segment> {
        #[cfg(test)]
        looks::count();
        self.segments.front()
    }

    /// The last segment the peer has not reported. Passes over the reported ones behind it.
    pub(super) fn last_unreported(&self) -> Option<u64> {
        let place = self.segments.iter().rposition(|segment| segment.fate != Fate::Sacked)?;
        Some(self.base + place as u64)
    }

    /// Index of the first segment.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// Index of the next new segment.
    pub(super) fn end(&self) -> u64 {
        self.base + self.segments.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(super) const fn last_acked(&self) -> SeqNr {
        self.last_acked
    }

    pub(super) fn next_seq(&self) -> SeqNr {
        self.last_acked + self.segments.len() as u16 + 1
    }

    /// How many segments wait for retransmission.
    pub(super) const fn queued(&self) -> usize {
        self.queued
    }

    /// How many outstanding segments the peer has reported.
    pub(super) const fn sacked(&self) -> usize {
        self.sacked
    }

    /// Payload sent, neither acknowledged, reported nor lost; or kept back.
    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Segments sent, neither acknowledged, reported nor lost; or kept back.
    pub(super) const fn packets(&self) -> u32 {
        self.packets
    }

    /// Transmissions so far: the order of the next one.
    pub(super) const fn transmissions(&self) -> u64 {
        self.transmissions
    }

    pub(super) const fn newest_sent(&self) -> Instant {
        self.newest_sent
    }

    /// Where an outstanding segment is in the queue. An index that is not outstanding is our own mistake.
    fn place(&self, index: u64) -> usize {
        #[cfg(test)]
        looks::count();
        debug_assert!((self.base..self.end()).contains(&index), "segment {index} is not outstanding");
        (index - self.base) as usize
    }

    fn count_transmission(&mut self, now: Instant) -> u64 {
        debug_assert!(now >= self.newest_sent, "time went backwards");
        self.newest_sent = now;
        self.transmissions += 1;
        self.transmissions - 1
    }

    fn add_in_flight(&mut self, len: u16) {
        self.packets += 1;
        self.bytes += u32::from(len);
    }

    fn remove_in_flight(&mut self, len: u16) {
        debug_assert!(self.packets > 0 && self.bytes >= u32::from(len), "in-flight accounting");
        self.packets -= 1;
        self.bytes -= u32::from(len);
    }
}

/// How often segments were looked at, for tests that bound the work.
#[cfg(test)]
pub(super) mod looks {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        COUNT.set(COUNT.get() + 1);
    }

    /// Looks since the last call, on this thread.
    pub(in crate::proto::send) fn take() -> u64 {
        COUNT.take()
    }
}
