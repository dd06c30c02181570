//! What a connection has to mind whose peer is utp-punch, or speaks like it ([`Dialect::UtpPunch`]).
//!
//! All of it was measured with utp-punch 1.0.1, or read in it:
//!
//! - It says where its stream begins in every answer to a SYN, as "the number after what I have sent so far". If its
//!   first answer was lost and it has spoken meanwhile, the second one names a number too high.
//! - It resends packets as they were, with the acknowledgement of long ago.
//! - It ignores an acknowledgement of 64 packets at once, and it may have 63 of data and the end under way.
//! - To a packet for a connection that it does not have it answers by a RESET with the numbers 0 and 0.

use super::output::Send;
use super::{Connection, Role};
use crate::error::CloseReason;
use crate::wire::{Dialect, Header, Kind, SeqNr};

/// Ours: as long as fewer packets have come than this, a number before the first one is no number of later.
const EARLY_PACKETS_MAX: u64 = 16_384;

/// What is known about where the peer's stream begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beginning {
    /// The lowest number of data that came before the answer to our SYN.
    early: Option<SeqNr>,
    /// The first number.
    first: SeqNr,
}

impl Connection {
    pub(super) fn is_in_dialect(&self) -> bool {
        self.config.dialect == Dialect::UtpPunch
    }

    /// Data came before the answer to our SYN, which is lost or late.
    pub(super) fn note_early(&mut self, header: &Header) {
        let acknowledges = header.ack == self.syn_seq && header.conn_id == self.ids.recv;
        if self.is_in_dialect() && acknowledges && matches!(header.kind, Kind::Data | Kind::Fin) {
            let earlier = |early: &SeqNr| early.is_after(header.seq);
            self.beginning.early =
                Some(self.beginning.early.filter(|early| !earlier(early)).unwrap_or(header.seq));
        }
    }

    /// The answer to our SYN came: the number of the peer's first packet.
    pub(super) fn first_number(&mut self, header: &Header) -> SeqNr {
        let early = self.beginning.early.filter(|early| header.seq.is_after(*early));
        self.beginning.first = early.unwrap_or(header.seq);
        self.beginning.first
    }

    /// Whether a packet belongs before the one that we took for the first. If nothing is read or held that would have to
    /// come after it, the stream begins there; otherwise bytes are missing that nobody can put into their place any more.
    pub(super) fn is_before_beginning(&mut self, header: &Header) -> bool {
        let before = header.seq.distance_from(self.beginning.first) < 0;
        if !before
            || !self.is_in_dialect()
            || self.role != Role::Initiator
            || self.counters.packets_received > EARLY_PACKETS_MAX
        {
            return false;
        }
        if self.recv.cumulative().next() == self.beginning.first && !self.recv.has_gap() {
            self.beginning.first = header.seq;
            self.recv.start(header.seq.prev());
            return false;
        }
        self.close_with_reset(CloseReason::Misbehaved);
        true
    }

    /// Whether this is how somebody says that he has never heard of us. Anybody who guesses the id could, so it is
    /// believed only while nothing else has been heard.
    pub(super) fn is_blank_reset(&self, reset: &Header) -> bool {
        let blank = (reset.seq, reset.ack) == (SeqNr::new(0), SeqNr::new(0));
        self.is_in_dialect() && reset.conn_id == self.ids.recv && blank
    }

    /// Acknowledges; the end of the stream in two steps, of which the first leaves out the end.
    pub(super) fn next_ack_in_dialect(&mut self, seq: SeqNr) -> Send {
        if self.recv.is_finished() {
            self.second_ack = Some(seq);
            return Send::Keepalive;
        }
        Send::State(seq)
    }
}
