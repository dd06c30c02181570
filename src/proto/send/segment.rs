//! A segment: the bytes one packet number stands for, and what has become of it so far.
//!
//! Knows nothing of its neighbours. Its boundaries are fixed when it is first sent and never change, because uTP
//! numbers packets, not bytes: a peer that received number 7 will never look at another number 7.

use crate::time::Instant;
use crate::wire::SeqNr;

/// What a segment is to its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// Bytes of the stream, at least one.
    Data,
    /// The end of the stream. It takes a number of its own and never carries bytes: libtorrent discards the
    /// payload of a FIN and misplaces the end by one.
    Fin,
}

/// One segment that may be sent now: what [`peek_lost`] and [`peek_new`] propose, [`fill`] writes and [`sent`]
/// confirms.
///
/// Good until the next call that changes the buffer other than those four.
///
/// [`peek_lost`]: super::SendBuffer::peek_lost
/// [`peek_new`]: super::SendBuffer::peek_new
/// [`fill`]: super::SendBuffer::fill
/// [`sent`]: super::SendBuffer::sent
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentRef {
    /// The packet number.
    pub seq: SeqNr,
    /// How many bytes it carries; 0 for a FIN.
    pub len: u16,
    /// Data or the end.
    pub kind: SegmentKind,
    /// Where its bytes begin, counted from the beginning of the stream, modulo 2^32.
    pub(super) start: u32,
    /// Never sent before: sending it cuts it.
    pub(super) fresh: bool,
    /// Smaller than a packet could have been, for Minshall's rule.
    pub(super) small: bool,
    /// Cut already, kept back, and never sent.
    pub(super) kept_back: bool,
}

impl SegmentRef {
    /// Whether this is a segment that went out before.
    #[must_use]
    pub const fn is_retransmission(&self) -> bool {
        !self.fresh && !self.kept_back
    }
}

/// Where a segment that was sent is believed to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// On its way, or arrived without our knowing.
    InFlight,
    /// Given up for lost, and not sent again since.
    Lost,
    /// Has its number and was never sent, although later ones were.
    KeptBack,
    /// Reported by a selective acknowledgement. Final: a uTP receiver does not take that back.
    Sacked,
}

/// A segment between its first transmission and its cumulative acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) first_sent: Instant,
    pub(super) last_sent: Instant,
    /// The latest transmission's place among all transmissions of the connection. Packets of one batch share an
    /// instant, so times alone do not tell which was sent first.
    pub(super) order: u64,
    /// As in [`SegmentRef`].
    pub(super) start: u32,
    pub(super) len: u16,
    /// Saturates at 255.
    pub(super) transmissions: u8,
    pub(super) kind: SegmentKind,
    pub(super) fate: Fate,
    /// Waits for retransmission. Every lost segment does; of those in flight only a tail probe.
    pub(super) queued: bool,
    /// A retransmission that time has declared lost, if only the peer's masks reached far enough to know.
    pub(super) deferred: bool,
    /// Given up by a timeout rather than by evidence, and not sent again since.
    pub(super) timed_out: bool,
    /// Was kept back, so later ones were sent before it, and may be reported before it.
    pub(super) late: bool,
}

impl Segment {
    pub(super) const fn new(segment: &SegmentRef, now: Instant, order: u64) -> Self {
        Self {
            first_sent: now,
            last_sent: now,
            order,
            start: segment.start,
            len: segment.len,
            transmissions: 1,
            kind: segment.kind,
            fate: Fate::InFlight,
            queued: false,
            deferred: false,
            timed_out: false,
            late: false,
        }
    }

    /// One that gets its number now and is sent after later ones.
    pub(super) const fn kept_back(segment: &SegmentRef, now: Instant) -> Self {
        Self { fate: Fate::KeptBack, transmissions: 0, late: true, ..Self::new(segment, now, 0) }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.fate == Fate::InFlight
    }

    /// Takes up room in the windows.
    pub(super) fn takes_room(&self) -> bool {
        matches!(self.fate, Fate::InFlight | Fate::KeptBack)
    }

    pub(super) const fn is_retransmitted(&self) -> bool {
        self.transmissions > 1
    }

    /// Its last transmission came after those of later segments, so what is known of them does not tell about it.
    pub(super) const fn is_out_of_turn(&self) -> bool {
        self.late || self.is_retransmitted()
    }
}
