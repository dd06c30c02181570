//! A connection that somebody wants to have with us, before anything has been spent on it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::cell::Cell;
use super::handle::Handle;
use super::mailbox::{Decision, Verdict};
use super::shared::Lease;
use super::sockets::canonical;
use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::{Connection, Syn};
use crate::storage::Key;
use crate::wire::SeqNr;

/// A connection to be accepted, refused or ignored. Dropping it refuses it.
///
/// Nothing has been sent yet, and nothing but a few bytes spent: the address may be forged.
pub struct Incoming {
    offer: Offer,
    lease: Lease,
    decided: bool,
}

/// What the driver offers to the application.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Its place in the backlog.
    pub(super) key: Key,
    pub(super) path: Path,
    pub(super) syn: Syn,
    /// The number of our first packet, should it be accepted.
    pub(super) first_seq: SeqNr,
}

impl Incoming {
    pub(super) const fn new(offer: Offer, lease: Lease) -> Self {
        Self { offer, lease, decided: false }
    }

    /// Where the SYN claims to come from; IPv4 as IPv4, whatever socket it came through.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.offer.path.peer)
    }

    /// The address of the socket on which it arrived.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.lease.local_addr(self.offer.path.socket)
    }

    /// What the SYN says.
    #[must_use]
    pub const fn syn(&self) -> &Syn {
        &self.offer.syn
    }

    /// Accepts it: the SYN-ACK is sent. What is written leaves once the initiator has shown that it hears us.
    ///
    /// If the decision took longer than [`Config::connect_timeout`](crate::Config::connect_timeout), or a limit was
    /// reached meanwhile, the handle reports why it is closed.
    #[must_use]
    pub fn accept(mut self) -> Handle {
        self.decided = true;
        let Offer { key, path, syn, first_seq } = self.offer;
        let config = Arc::clone(self.lease.config());
        let conn = Connection::accept(config, path, &syn, first_seq, syn.arrived);
        let cell = Cell::new(path, conn);
        let decision = Decision { key, verdict: Verdict::Accept(Arc::clone(&cell)) };
        if !self.lease.post_decision(decision) {
            cell.fail(CloseReason::EndpointClosed, &mut Vec::new());
        }
        Handle::new(cell, self.lease.clone())
    }

    /// Refuses it with a RESET, so that the initiator knows at once.
    pub fn refuse(self) {
        drop(self);
    }

    /// Says nothing. A repetition of the SYN will be offered again.
    pub fn ignore(mut self) {
        self.decided = true;
        self.lease.post_decision(Decision { key: self.offer.key, verdict: Verdict::Ignore });
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.decided {
            self.lease.post_decision(Decision { key: self.offer.key, verdict: Verdict::Refuse });
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("path", &self.offer.path).field("syn", &self.offer.syn).finish()
    }
}
