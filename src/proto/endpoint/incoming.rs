//! A connection that somebody wants to have with us, before anything has been spent on it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::cell::Cell;
use super::clock::Clock;
use super::gauge::Gauge;
use super::handle::Handle;
use super::mailbox::{Decision, Verdict};
use super::shared::Lease;
use super::sockets::canonical;
use crate::config::Config;
use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::{Connection, Syn};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{SeqNr, Service};

/// A connection to be accepted, refused or ignored. Dropping it refuses it.
///
/// Mostly nothing has been sent yet, and nothing but a few bytes spent: the address may be forged. In a rush of
/// connections the SYN has been answered and forgotten, and the initiator has proved its address since:
/// [`is_proved`](Self::is_proved) tells.
pub struct Incoming {
    offer: Offer,
    /// The connection, if it exists already.
    proved: Option<Arc<Cell>>,
    lease: Lease,
    decided: bool,
}

/// What the driver offers to the application.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Its place in the backlog; in the tables, if the connection exists.
    pub(super) key: Key,
    pub(super) request: Request,
}

/// The connection that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) path: Path,
    pub(super) syn: Syn,
    /// For whom it is.
    pub(super) service: Option<Service>,
    /// The number of our first packet.
    pub(super) first_seq: SeqNr,
    pub(super) clock: Clock,
}

impl Incoming {
    pub(super) const fn new(offer: Offer, proved: Option<Arc<Cell>>, lease: Lease) -> Self {
        Self { offer, proved, lease, decided: false }
    }

    /// Where the SYN claims to come from; IPv4 as IPv4, whatever socket it came through.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.offer.request.path.peer)
    }

    /// The address of the socket on which it arrived.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.lease.local_addr(self.offer.request.path.socket)
    }

    /// Which service the initiator asks for, if any.
    #[must_use]
    pub const fn service(&self) -> Option<Service> {
        self.offer.request.service
    }

    /// Whether the initiator has proved that it receives at that address, and the connection exists already.
    #[must_use]
    pub const fn is_proved(&self) -> bool {
        self.proved.is_some()
    }

    /// What the SYN says; window, send time and arrival are those of the first packet after it if the initiator
    /// [has proved](Self::is_proved) its address.
    #[must_use]
    pub const fn syn(&self) -> &Syn {
        &self.offer.request.syn
    }

    /// Accepts it: the SYN-ACK is sent. What is written leaves once the initiator has shown that it hears us.
    ///
    /// If the decision took longer than [`Config::connect_timeout`](crate::Config::connect_timeout), or a limit was
    /// reached meanwhile, the handle reports why it is closed.
    #[must_use]
    pub fn accept(self) -> Handle {
        self.accept_with(|_| ())
    }

    /// As [`accept`](Self::accept), with a connection that is made ready before it answers.
    pub(super) fn accept_with(mut self, prepare: impl FnOnce(&mut Connection)) -> Handle {
        self.decided = true;
        let key = self.offer.key;
        let (cell, verdict) = match self.proved.take() {
            Some(cell) => (cell, Verdict::AcceptProved),
            None => {
                let cell = self.offer.request.create(
                    Arc::clone(self.lease.config()),
                    self.lease.gauge(),
                    Connection::accept,
                );
                prepare(&mut cell.lock().conn);
                (Arc::clone(&cell), Verdict::Accept(cell))
            }
        };
        if !self.lease.post_decision(Decision { key, verdict }) {
            cell.fail(CloseReason::EndpointClosed, &mut Vec::new());
        }
        Handle::new(cell, self.lease.clone())
    }

    /// Refuses it with a RESET, so that the initiator knows at once.
    pub fn refuse(self) {
        drop(self);
    }

    /// Says nothing. What the initiator sends next will be offered again.
    pub fn ignore(mut self) {
        self.decide(Verdict::Ignore, Verdict::IgnoreProved);
    }

    fn decide(&mut self, verdict: Verdict, if_proved: Verdict) {
        if !std::mem::replace(&mut self.decided, true) {
            let verdict = if self.is_proved() { if_proved } else { verdict };
            self.lease.post_decision(Decision { key: self.offer.key, verdict });
        }
    }
}

impl Request {
    /// Makes the connection.
    pub(super) fn create(
        &self,
        config: Arc<Config>,
        gauge: &Arc<Gauge>,
        accept: fn(Arc<Config>, Path, &Syn, SeqNr, Instant) -> Connection,
    ) -> Arc<Cell> {
        // As it arrived by the connection's own clock.
        let syn = Syn { arrived: self.clock.shown(self.syn.arrived), ..self.syn };
        let conn = accept(config, self.path, &syn, self.first_seq, syn.arrived);
        Cell::new(conn, self.clock, gauge)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.decide(Verdict::Refuse, Verdict::RefuseProved);
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("path", &self.offer.request.path)
            .field("syn", &self.offer.request.syn)
            .finish()
    }
}
