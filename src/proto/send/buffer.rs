//! The bytes between the application's write and the peer's acknowledgement, and the verbs over them.
//!
//! Refuses to know when something may be sent, and leaves the judgement about losses to its neighbour.

use std::time::Duration;

use super::flight::{Flight, OUTSTANDING_MAX};
use super::loss::LossDetector;
use super::outcome::{AckOutcome, Lost};
use super::segment::{Fate, Segment, SegmentKind, SegmentRef};
use crate::proto::congestion::RttEstimator;
use crate::storage::ByteRing;
use crate::time::Instant;
use crate::wire::{Sack, SeqNr};

/// What the application wrote and the peer has not acknowledged, cut into numbered segments as it is sent.
///
/// Memory is bounded by the limit given to [`new`](Self::new), plus at most 32,000 outstanding segments.
#[derive(Debug)]
pub struct SendBuffer {
    /// All bytes not acknowledged, sent or not.
    bytes: ByteRing,
    /// How many of `bytes` are cut into outstanding segments.
    cut_bytes: usize,
    /// Where `bytes` begins, counted from the beginning of the stream, modulo 2^32.
    start: u32,
    end: End,
    flight: Flight,
    loss: LossDetector,
    /// Index of the last undersized segment sent, for Minshall's rule.
    last_small: Option<u64>,
    /// Index of the segment that is kept back.
    kept_back: Option<u64>,
}

/// How the stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The application may write more.
    Open,
    /// A FIN follows the last byte.
    FinDue,
    FinSent(SeqNr),
    /// Everything was thrown away, as good as delivered; nothing follows.
    Discarded,
    /// Everything was thrown away and is missing; nothing follows.
    Abandoned,
}

impl SendBuffer {
    /// An empty buffer for at most `limit_bytes`, sent and unsent together. Allocates nothing until used.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            bytes: ByteRing::new(limit_bytes.min(u32::MAX as usize)),
            cut_bytes: 0,
            start: 0,
            end: End::Open,
            flight: Flight::default(),
            loss: LossDetector::new(),
            last_small: None,
            kept_back: None,
        }
    }

    /// Chooses the number of the first segment. Once, and before any other verb of sending.
    pub fn start(&mut self, first: SeqNr) {
        self.flight.start(first);
    }

    /// Takes as many bytes as there is room for, and returns how many: 0 when full or after [`finish`](Self::finish).
    pub fn write(&mut self, data: &[u8]) -> usize {
        if self.end == End::Open { self.bytes.write(data) } else { 0 }
    }

    /// Lets a FIN follow the last byte written. Doing it again changes nothing.
    pub fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::FinDue;
        }
    }

    /// Copies what has been written and not been sent, from its beginning.
    pub fn peek_unsent(&self, out: &mut [u8]) {
        let from = self.queued_bytes() - self.unsent_bytes();
        self.bytes.copy_out(from, out);
    }

    /// Throws everything away, sent or not, and the memory with it, as if it had been acknowledged. Nothing can be
    /// written or sent from then on.
    pub fn clear(&mut self) {
        self.throw_away(End::Discarded);
    }

    /// As [`clear`](Self::clear), but what was thrown away never counts as acknowledged.
    pub fn abandon(&mut self) {
        self.throw_away(End::Abandoned);
    }

    fn throw_away(&mut self, end: End) {
        self.bytes = ByteRing::new(0);
        self.cut_bytes = 0;
        self.end = end;
        self.kept_back = None;
        self.flight.clear();
        self.flight.release();
        self.loss.clear();
    }

    /// Gives the memory back if nothing is held. For connections that idle; the next write takes it again.
    pub fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.release();
            self.flight.release();
            self.loss.release(&self.flight);
        }
    }

    /// Whether nothing is held but memory is, which [`release`](Self::release) would give back.
    #[must_use]
    pub fn holds_idle_memory(&self) -> bool {
        self.bytes.is_empty() && self.bytes.capacity() > 0
    }

    /// The next segment to retransmit: what was found lost first, but the first outstanding segment overtakes the
    /// others when it is found lost. Also a queued tail probe, which is not lost.
    pub fn peek_lost(&mut self) -> Option<SegmentRef> {
        let index = self.flight.next_queued()?;
        let segment = self.flight.get(index)?;
        Some(SegmentRef {
            seq: self.flight.seq_of(index),
            len: segment.len,
            kind: segment.kind,
            start: segment.start,
            fresh: false,
            small: false,
            kept_back: false,
        })
    }

    /// Gives a new segment its number without sending it: later ones go first. One at a time, and only data. It takes
    /// up room like one in flight; nothing but [`peek_kept_back`](Self::peek_kept_back) will ever propose it.
    ///
    /// A peer that acknowledges it before it is sent acknowledges what it cannot have ([`AckOutcome::lied`]). That
    /// later ones were sent first is not held against the path.
    pub fn keep_back(&mut self, segment: &SegmentRef, now: Instant) {
        debug_assert!(segment.fresh && segment.kind == SegmentKind::Data, "only new data is kept back");
        debug_assert!(self.kept_back.is_none(), "one at a time");
        self.kept_back = Some(self.flight.end());
        self.flight.keep_back(segment, now);
        self.cut_bytes += usize::from(segment.len);
    }

    /// The segment that is kept back, to be sent now.
    #[must_use]
    pub fn peek_kept_back(&self) -> Option<SegmentRef> {
        let index = self.kept_back?;
        let segment = self.flight.get(index)?;
        Some(SegmentRef {
            seq: self.flight.seq_of(index),
            len: segment.len,
            kind: segment.kind,
            start: segment.start,
            fresh: false,
            small: false,
            kept_back: true,
        })
    }

    /// Whether the peer has shown what it makes of the segment that is kept back: it reports something after it, or
    /// repeats the acknowledgement of what is before it.
    #[must_use]
    pub fn is_keeping_back_answered(&self) -> bool {
        self.kept_back.is_some_and(|index| {
            self.loss.is_reported_beyond(index) || (index == self.flight.base() && self.loss.has_duplicates())
        })
    }

    /// The next new segment, of at most `payload_max` bytes; a FIN alone, after all bytes.
    ///
    /// `hold_small` is Minshall's variant of Nagle's rule: an undersized last segment waits while another undersized
    /// one is not acknowledged. Never so when finishing. Also nothing while 32,000 segments are outstanding, beyond
    /// which their numbers would become ambiguous.
    #[must_use]
    pub fn peek_new(&self, payload_max: u16, hold_small: bool) -> Option<SegmentRef> {
        if self.flight.len() >= OUTSTANDING_MAX {
            return None;
        }
        let unsent = self.unsent_bytes();
        let kind = if unsent > 0 { SegmentKind::Data } else { SegmentKind::Fin };
        if kind == SegmentKind::Fin && self.end != End::FinDue {
            return None;
        }
        let len = u16::try_from(unsent).unwrap_or(u16::MAX).min(payload_max);
        if kind == SegmentKind::Data && len == 0 {
            return None;
        }
        let small = kind == SegmentKind::Data && len < payload_max;
        if small && hold_small && self.end == End::Open && self.has_small_outstanding() {
            return None;
        }
        let start = self.start.wrapping_add(self.cut_bytes as u32);
        Some(SegmentRef { seq: self.next_seq(), len, kind, start, fresh: true, small, kept_back: false })
    }

    /// Writes the payload of `segment`; `out` has exactly its length.
    pub fn fill(&self, segment: &SegmentRef, out: &mut [u8]) {
        debug_assert_eq!(out.len(), usize::from(segment.len), "room for the payload, no more");
        self.bytes.copy_out(segment.start.wrapping_sub(self.start) as usize, out);
    }

    /// Notes that `segment` was put into a datagram now: cuts it if it is new, else counts a retransmission.
    pub fn sent(&mut self, segment: &SegmentRef, now: Instant) {
        if segment.fresh {
            self.sent_new(segment, now);
        } else if segment.kept_back {
            self.sent_late(now);
        } else {
            self.sent_again(segment, now);
        }
    }

    /// Before [`acknowledge`](Self::acknowledge): the round trip that the two clocks give for the packet which this
    /// acknowledgement answers. A retransmission that would have been answered sooner than that was not (the idea of
    /// RFC 3522: it is the original that arrived).
    pub fn note_echo(&mut self, round_trip: Duration) {
        self.loss.note_echo(round_trip);
    }

    /// Before [`acknowledge`](Self::acknowledge): the shortest round trip so far. What is answered sooner after it was
    /// sent again is answered for having been sent before, also by the very first acknowledgement.
    pub const fn note_least(&mut self, round_trip: Option<Duration>) {
        self.loss.note_least(round_trip);
    }

    /// Applies an acknowledgement with its mask. Bits for numbers that were never sent, or are acknowledged, are
    /// ignored; so is an acknowledgement of what was never sent. One that is older than
    /// [`last_acked`](Self::last_acked) contributes its mask.
    ///
    /// Look for losses afterwards: [`detect_losses`](Self::detect_losses).
    pub fn acknowledge(&mut self, now: Instant, ack: SeqNr, sack: Option<Sack<'_>>) -> AckOutcome {
        let mut out = AckOutcome::default();
        let Some(steps) = self.flight.steps_to(ack) else {
            debug_assert!(false, "the connection checks acknowledgements first");
            return out;
        };
        self.loss.begin_ack(&self.flight, ack, sack);
        for _ in 0..steps {
            self.acknowledge_first(now, &mut out);
        }
        if let Some(sack) = sack {
            self.apply_mask(now, ack, sack, &mut out);
        }
        self.loss.end_ack(&mut self.flight, now, &mut out);
        out
    }

    /// Notes a bare `ST_STATE` that acknowledged nothing new, after [`acknowledge`](Self::acknowledge) of the same
    /// packet. Window updates do not count.
    ///
    /// Matters for peers whose masks say nothing: the third gives the first segment up, once per recovery, and one
    /// that comes long after a retransmission tells that the retransmission is lost too. With nothing outstanding it
    /// still tells that a tail probe was not needed.
    pub fn duplicate_ack(&mut self) {
        self.loss.on_duplicate_ack(&self.flight);
    }

    /// Looks for losses: by count (three later segments reported, until the path is seen to reorder), by time, and
    /// by duplicate acknowledgements. Call after acknowledgements and at [`loss_deadline`](Self::loss_deadline).
    pub fn detect_losses(&mut self, now: Instant, rtt: &RttEstimator) -> Option<Lost> {
        self.loss.detect(&mut self.flight, now, rtt)
    }

    /// When [`detect_losses`](Self::detect_losses) may find more though nothing arrives.
    #[must_use]
    pub fn loss_deadline(&self, rtt: &RttEstimator) -> Option<Instant> {
        self.loss.deadline(&self.flight, rtt)
    }

    /// The retransmission timer went off: gives up the first outstanding segment and all that have been under way
    /// longer than round trips usually take.
    ///
    /// Should answers to the originals come after all, what is not sent again by then is in flight again
    /// ([`AckOutcome::timeout_spurious`]).
    pub fn on_timeout(&mut self, now: Instant, rtt: &RttEstimator) -> Option<Lost> {
        self.loss.on_timeout(&mut self.flight, now, rtt)
    }

    /// Queues the last segment that the peer has not reported for retransmission, without giving it up
    /// (RFC 8985 §7): whatever its answer reports makes losses before it visible. Should it turn out to have
    /// repaired a loss itself, [`detect_losses`](Self::detect_losses) reports that later.
    ///
    /// Returns whether a probe is queued; not if nothing is outstanding, or retransmissions are waiting anyway.
    pub fn queue_tail_probe(&mut self) -> bool {
        if self.has_lost() {
            return false;
        }
        let Some(index) = self.flight.last_unreported().filter(|index| self.kept_back != Some(*index)) else {
            return false;
        };
        if let Some(segment) = self.flight.get(index) {
            self.loss.on_probe_queued(index, segment);
        }
        self.flight.queue(index);
        true
    }

    fn sent_new(&mut self, segment: &SegmentRef, now: Instant) {
        debug_assert_eq!(segment.seq, self.next_seq(), "new segments go out in order");
        self.flight.push(segment, now);
        self.cut_bytes += usize::from(segment.len);
        debug_assert!(self.cut_bytes <= self.bytes.len(), "segments are cut from what was written");
        if segment.kind == SegmentKind::Fin {
            self.end = End::FinSent(segment.seq);
        }
        if segment.small {
            self.last_small = Some(self.flight.end() - 1);
        }
    }

    /// Looks at what a mask says that earlier ones did not. Whatever was never sent, and is before the first segment, is
    /// passed over.
    fn apply_mask(&mut self, now: Instant, ack: SeqNr, sack: Sack<'_>, out: &mut AckOutcome) {
        let Some(steps) = self.flight.steps_to(ack) else { return };
        self.flight.begin_mask();
        // The lowest bit stands for the acknowledgement + 2; one step leads to the first segment.
        for (place, word) in (steps + 1..self.flight.len() as i64).step_by(64).zip(sack.words()) {
            let mut fresh = self.flight.unreported(place, word);
            while fresh != 0 {
                let index =
                    self.flight.base().saturating_add_signed(place + i64::from(fresh.trailing_zeros()));
                fresh &= fresh - 1;
                if let Some(before) = self.flight.sack(index) {
                    self.note_lie(&before, out);
                    self.loss.on_delivered(now, index, &before, true, out);
                }
            }
        }
    }

    fn sent_late(&mut self, now: Instant) {
        let Some(index) = self.kept_back.take() else {
            debug_assert!(false, "nothing is kept back");
            return;
        };
        let order = self.flight.send_late(index, now);
        self.loss.on_resent(&self.flight, index, order, now);
    }

    fn note_lie(&mut self, before: &Segment, out: &mut AckOutcome) {
        if before.fate == Fate::KeptBack {
            out.lied = true;
            self.kept_back = None;
        }
    }

    fn sent_again(&mut self, segment: &SegmentRef, now: Instant) {
        let Some(index) = self.flight.index_of(segment.seq) else {
            debug_assert!(false, "only outstanding segments are sent again");
            return;
        };
        let order = self.flight.resend(index, now);
        self.loss.on_resent(&self.flight, index, order, now);
    }

    fn acknowledge_first(&mut self, now: Instant, out: &mut AckOutcome) {
        let index = self.flight.base();
        let Some(segment) = self.flight.pop() else { return };
        self.note_lie(&segment, out);
        if segment.fate != Fate::Sacked {
            self.loss.on_delivered(now, index, &segment, false, out);
        }
        let len = usize::from(segment.len);
        self.bytes.consume(len);
        self.cut_bytes -= len;
        self.start = self.start.wrapping_add(u32::from(segment.len));
        out.advanced = true;
        out.fin_acked |= segment.kind == SegmentKind::Fin;
    }

    fn has_small_outstanding(&self) -> bool {
        let small = self.last_small.and_then(|index| self.flight.get(index));
        small.is_some_and(|segment| segment.fate != Fate::Sacked)
    }
}

/// What there is to know about it.
impl SendBuffer {
    /// Room for so many more bytes.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        if self.end == End::Open { self.bytes.free() } else { 0 }
    }

    /// Written, never sent.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.bytes.len() - self.cut_bytes
    }

    /// Written, not acknowledged up to the first gap: all that is held.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether [`finish`](Self::finish) was called, or nothing can follow anyway.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.end != End::Open
    }

    /// Number of the FIN, once it has been sent.
    #[must_use]
    pub fn fin_seq(&self) -> Option<SeqNr> {
        if let End::FinSent(seq) = self.end { Some(seq) } else { None }
    }

    /// Bytes of memory taken: for bytes, and for what is known about segments.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.flight.memory_bytes() + self.loss.memory_bytes()
    }

    /// Bytes of memory that writing so many more, or as many as there is room for, would take.
    #[must_use]
    pub fn growth_for(&self, bytes: usize) -> usize {
        self.bytes.growth_for(bytes.min(self.bytes.free()))
    }

    /// Bytes that can be written without taking more memory.
    #[must_use]
    pub const fn spare_bytes(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Number of the next new segment: what a pure acknowledgement carries.
    #[must_use]
    pub fn next_seq(&self) -> SeqNr {
        self.flight.next_seq()
    }

    /// Everything up to and including this is acknowledged; the number before the first at the start.
    #[must_use]
    pub fn last_acked(&self) -> SeqNr {
        self.flight.last_acked()
    }

    /// How many segments were sent and are not acknowledged cumulatively, reported ones included.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.flight.len()
    }

    /// Payload sent, neither acknowledged, reported nor lost. A segment counts once, however often it was sent.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u32 {
        self.flight.bytes()
    }

    /// Segments sent, neither acknowledged, reported nor lost.
    #[must_use]
    pub fn packets_in_flight(&self) -> u32 {
        self.flight.packets()
    }

    /// Whether anything waits for retransmission.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.flight.queued() > 0
    }

    /// First transmission of the first outstanding segment.
    #[must_use]
    pub fn oldest_sent_at(&self) -> Option<Instant> {
        self.flight.head().map(|segment| segment.first_sent)
    }

    /// The latest transmission of the first outstanding segment.
    #[must_use]
    pub fn head_sent_at(&self) -> Option<Instant> {
        self.flight.head().map(|segment| segment.last_sent)
    }

    /// The latest transmission of anything, while something is outstanding.
    #[must_use]
    pub fn newest_sent_at(&self) -> Option<Instant> {
        (!self.flight.is_empty()).then_some(self.flight.newest_sent())
    }

    /// How often the first outstanding segment was sent, up to 255; 0 if nothing is outstanding.
    #[must_use]
    pub fn head_transmissions(&self) -> u8 {
        self.flight.head().map_or(0, |segment| segment.transmissions)
    }

    /// Nothing outstanding and nothing to send, the FIN included once finishing.
    #[must_use]
    pub fn is_all_acked(&self) -> bool {
        self.flight.is_empty() && self.bytes.is_empty() && !matches!(self.end, End::FinDue | End::Abandoned)
    }

    /// Everything but the FIN is acknowledged, and the FIN was sent.
    #[must_use]
    pub fn only_fin_outstanding(&self) -> bool {
        self.flight.head().is_some_and(|segment| segment.kind == SegmentKind::Fin)
    }
}
