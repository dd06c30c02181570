//! Where a connection is in its life.
//!
//! ```text
//!   Idle ──start──▶ SynSent ──SYN-ACK──▶ Open ──both ends done──▶ TimeWait ──time──▶ Closed
//!                                          ▲                                           ▲
//!   (SYN arrives) ─▶ SynReceived ──proof───┘        RESET, give-up, abort from anywhere ┘
//! ```
//!
//! Whether a direction has ended is not a state here: each half knows that about itself.

use super::Hello;
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr, Timestamp};

/// The two ids of a connection: neighbours on a circle of 65,536 (BEP 29).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnIds {
    /// The id in packets that we receive.
    pub recv: ConnId,
    /// The id in packets that we send. (A SYN is the exception: it carries `recv`.)
    pub send: ConnId,
}

impl ConnIds {
    /// Ids of the side that sends the SYN with `id`.
    #[must_use]
    pub const fn initiator(id: ConnId) -> Self {
        Self { recv: id, send: id.next() }
    }

    /// Ids of the side that receives a SYN with `id`.
    #[must_use]
    pub const fn acceptor(id: ConnId) -> Self {
        Self { recv: id.next(), send: id }
    }
}

/// What a SYN said, kept until somebody decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// The initiator's receive id.
    pub id: ConnId,
    /// Its number.
    pub seq: SeqNr,
    /// The initiator's receive window; 0 from libtorrent, which means nothing.
    pub window: u32,
    /// The initiator's clock.
    pub sent_at: Timestamp,
    /// When it arrived.
    pub arrived: Instant,
    /// What it said beyond BEP 29, if its sender is one of ours.
    pub hello: Option<Hello>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not on the wire yet.
    Idle,
    /// A SYN is out, or due.
    SynSent { tries: u8, deadline: Instant },
    /// A SYN-ACK is out, or due. Nothing else may leave until the initiator has shown that it heard it.
    SynReceived { deadline: Instant },
    /// Data flows; each direction ends by itself.
    Open,
    /// Both directions are done; a repeated FIN is acknowledged again until then.
    TimeWait { since: Instant, until: Instant },
    /// Nothing is left to do, except perhaps for one last RESET.
    Closed,
}

impl State {
    /// Whether data may flow.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }
}
