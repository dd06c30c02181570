//! What applications and driver tell each other: the one door between them.
//!
//! Applications post keys of connections that want service, connections to open, decisions about incoming ones and
//! foreign datagrams; the driver posts incoming connections, foreign datagrams and the end. Everything is bounded
//! by what its owner holds (a handle, an incoming connection) or by a limit of the configuration. Knows no connection from
//! the inside.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::cell::Cell;
use super::dial::Dial;
use super::foreign::Foreign;
use super::holes::HoleWish;
use super::incoming::Offer;
use super::listeners::Listeners;
use super::meeting::Wish;
use super::reflect::Ask;
use super::shared::Shared;
use super::sockets::Sockets;
use super::waiters::{Interest, Waiters};
use crate::error::CloseReason;
use crate::proto::batch::{Path, SocketId};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::Service;

/// What lies between the two.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// What the driver has not read yet.
    pub(super) mail: Mail,
    /// There is mail, or something else the driver should look at.
    pub(super) unread: bool,
    pub(super) driver: Option<Waker>,
    /// The driver waits for `driver` to be called.
    pub(super) asleep: bool,

    pub(super) sockets: Sockets,
    /// Sockets, handles and undecided incoming connections out there.
    pub(super) leases: usize,
    pub(super) closing: bool,
    pub(super) ended: Option<CloseReason>,
    pub(super) drained: bool,

    /// Who takes incoming connections, and those on offer: all together never more than `Config::accept_queue`.
    pub(super) listeners: Listeners,
    /// Somebody takes foreign datagrams.
    pub(super) foreign_wanted: bool,
    pub(super) foreign: VecDeque<Foreign>,
    pub(super) waiters: Waiters,
}

/// What the driver finds in the mailbox.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Connections that want service; one entry per time that a cell became dirty.
    pub(super) dirty: Vec<Key>,
    pub(super) opens: Vec<Open>,
    pub(super) decisions: Vec<Decision>,
    /// Never longer than `Config::foreign_queue`.
    pub(super) foreign: VecDeque<Foreign>,
    /// Questions to STUN servers.
    pub(super) asks: Vec<Ask>,
    /// Peers to be met.
    pub(super) punches: Vec<Wish>,
    /// Peers to whom the way is to be opened.
    pub(super) holes: Vec<HoleWish>,
    /// Whether others' questions are answered from now on, if that is to change.
    pub(super) serve_stun: Option<bool>,
    /// No new connections; the old ones end.
    pub(super) closing: bool,
}

/// A connection to be started.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) cell: Arc<Cell>,
    pub(super) dial: Dial,
}

/// What is to become of an incoming connection.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) key: Key,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Accept(Arc<Cell>),
    Refuse,
    Ignore,
    /// These three are about connections that exist.
    AcceptProved,
    RefuseProved,
    IgnoreProved,
}

/// A connection that exists and is on offer.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) offer: Offer,
    pub(super) cell: Arc<Cell>,
}

/// What is on offer, and whether anybody wants more for a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reception {
    pub(super) listening: bool,
    /// Connections that exist and that nobody has taken.
    pub(super) proved: usize,
}

/// What tasks wait for.
pub(super) const FOREIGN: Interest = Interest::kind(1);
pub(super) const FOREIGN_ROOM: Interest = Interest::kind(2);
pub(super) const DRAINED: Interest = Interest::kind(3);

impl Mailbox {
    pub(super) fn is_closed(&self) -> bool {
        self.closing || self.ended.is_some()
    }

    /// Leaves a note for the driver, and returns its waker if it sleeps.
    pub(super) fn notify(&mut self) -> Option<Waker> {
        self.unread = true;
        if std::mem::take(&mut self.asleep) { self.driver.clone() } else { None }
    }

    pub(super) fn close(&mut self, woken: &mut Vec<Waker>) {
        self.listeners.close(&mut self.mail.decisions, woken);
        self.closing = true;
        self.mail.closing = true;
        self.waiters.take(FOREIGN.and(FOREIGN_ROOM), woken);
    }
}

/// What handles and incoming connections post.
impl Shared {
    pub(super) fn post_dirty(&self, key: Key) {
        self.post(|mailbox, _| {
            if mailbox.ended.is_none() {
                mailbox.mail.dirty.push(key);
            }
        });
    }

    /// Whether there is still a driver that will read it.
    pub(super) fn post_decision(&self, decision: Decision) -> bool {
        self.post(|mailbox, _| {
            let alive = mailbox.ended.is_none();
            if alive {
                mailbox.mail.decisions.push(decision);
            }
            alive
        })
    }
}

/// The driver's side.
impl Shared {
    pub(super) fn add_socket(&self, addr: SocketAddr, dual_stack: bool) -> SocketId {
        self.lock().sockets.add(addr, dual_stack)
    }

    pub(super) fn add_extra_socket(&self, addr: SocketAddr, like: SocketId) -> SocketId {
        self.lock().sockets.add_extra(addr, like)
    }

    pub(super) fn remove_socket(&self, socket: SocketId) {
        self.lock().sockets.remove(socket);
    }

    /// Swaps the mail for `mail`, which is empty but for what it may have left of foreign datagrams: then no more of
    /// those are taken.
    pub(super) fn collect(&self, mail: &mut Mail) {
        self.with(|mailbox, woken| {
            let kept = std::mem::take(&mut mail.foreign);
            std::mem::swap(&mut mailbox.mail, mail);
            if kept.is_empty() {
                mailbox.waiters.take(FOREIGN_ROOM, woken);
            } else {
                mailbox.mail.foreign = std::mem::replace(&mut mail.foreign, kept);
            }
            mailbox.asleep = false;
            mailbox.unread = !mailbox.mail.foreign.is_empty();
        });
    }

    pub(super) fn reception(&self, service: Option<Service>) -> Reception {
        let listeners = &self.lock().listeners;
        Reception { listening: listeners.is_open(service), proved: listeners.proved() }
    }

    /// Offers an incoming connection to whoever listens.
    pub(super) fn offer(&self, offer: Offer) {
        self.with(|mailbox, woken| mailbox.listeners.offer(offer, woken));
    }

    /// Offers a connection that exists.
    pub(super) fn offer_proved(&self, proved: Proved) {
        self.with(|mailbox, woken| mailbox.listeners.offer_proved(proved, woken));
    }

    /// Withdraws the oldest connection on offer, if it has been there since `before` or longer.
    pub(super) fn withdraw_proved(&self, before: Instant) -> Option<Key> {
        self.lock().listeners.withdraw_proved(before)
    }

    /// Since when the oldest connection has been on offer.
    pub(super) fn oldest_proved(&self) -> Option<Instant> {
        self.lock().listeners.oldest_proved()
    }

    /// An incoming connection has become too old.
    pub(super) fn withdraw(&self, service: Option<Service>, key: Key) {
        self.lock().listeners.withdraw(service, key);
    }

    /// Hands over a datagram that is not uTP. Drops, and counts, the oldest if nobody has taken it for long.
    pub(super) fn deliver_foreign(&self, path: Path, datagram: &[u8]) {
        let limit = self.config().foreign_queue;
        let (delivered, dropped) = self.with(|mailbox, woken| {
            if !mailbox.foreign_wanted || limit == 0 {
                return (false, true);
            }
            mailbox.waiters.take(FOREIGN, woken);
            let full = mailbox.foreign.len() >= limit && mailbox.foreign.pop_front().is_some();
            mailbox.foreign.push_back(Foreign { path, bytes: Bytes::copy_from_slice(datagram) });
            (true, full)
        });
        self.count(|stats| {
            stats.foreign_received += u64::from(delivered);
            stats.dropped.foreign += u64::from(dropped);
        });
    }

    /// Whether the endpoint should go once it has no connections: it was closed, or nobody is left who could ask
    /// for anything.
    pub(super) fn may_go(&self) -> bool {
        let mailbox = self.lock();
        mailbox.is_closed() && !mailbox.unread
    }

    /// No connection is left.
    pub(super) fn announce_drained(&self) {
        self.with(|mailbox, woken| {
            mailbox.drained = true;
            mailbox.waiters.take(DRAINED, woken);
        });
    }

    /// The driver goes away. Returns the mail that it will not read.
    pub(super) fn end(&self, reason: CloseReason) -> Mail {
        self.with(|mailbox, woken| {
            mailbox.waiters.take(Interest::ALL, woken);
            mailbox.close(woken);
            mailbox.ended.get_or_insert(reason);
            mailbox.drained = true;
            mailbox.unread = false;
            std::mem::take(&mut mailbox.mail)
        })
    }
}
