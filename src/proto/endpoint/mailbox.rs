//! What applications and driver tell each other: the one door between them.
//!
//! Applications post keys of connections that want service, connections to open, decisions about incoming ones and
//! foreign datagrams; the driver posts incoming connections, foreign datagrams and the end. Everything is bounded
//! by what its owner holds (a handle, an [`Incoming`]) or by a limit of the configuration. Knows no connection from
//! the inside.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::cell::Cell;
use super::foreign::{FOREIGN_BYTES_MAX, Foreign, ForeignError};
use super::handle::Handle;
use super::incoming::{Incoming, Offer};
use super::sockets::Sockets;
use super::waiters::{Interest, Waiters, wake_all};
use crate::config::Config;
use crate::error::CloseReason;
use crate::proto::batch::{Path, SocketId};
use crate::proto::conn::Connection;
use crate::stats::SocketStats;
use crate::storage::Key;
use crate::wire::ConnId;

/// The applications' side of an endpoint.
///
/// Whoever wants the endpoint to live takes a [`Lease`]; when the last one is dropped, it closes as if by
/// [`close`](Self::close).
pub struct Shared {
    config: Arc<Config>,
    mailbox: Mutex<Mailbox>,
    stats: Mutex<SocketStats>,
}

#[derive(Debug, Default)]
struct Mailbox {
    /// What the driver has not read yet.
    mail: Mail,
    /// There is mail, or something else the driver should look at.
    unread: bool,
    driver: Option<Waker>,
    /// The driver waits for `driver` to be called.
    asleep: bool,

    sockets: Sockets,
    /// Sockets, handles and undecided incoming connections out there.
    leases: usize,
    listening: bool,
    closing: bool,
    ended: Option<CloseReason>,
    drained: bool,

    /// Never longer than [`Config::accept_queue`].
    incoming: VecDeque<Offer>,
    /// Somebody takes foreign datagrams.
    foreign_wanted: bool,
    foreign: VecDeque<Foreign>,
    waiters: Waiters,
}

/// What the driver finds in the mailbox.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Connections that want service; one entry per time that a cell became dirty.
    pub(super) dirty: Vec<Key>,
    pub(super) opens: Vec<Open>,
    pub(super) decisions: Vec<Decision>,
    /// Never longer than [`Config::foreign_queue`].
    pub(super) foreign: VecDeque<Foreign>,
    /// No new connections; the old ones end.
    pub(super) closing: bool,
}

/// A connection to be started.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) cell: Arc<Cell>,
    pub(super) id: Option<ConnId>,
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
}

/// What tasks wait for.
const INCOMING: Interest = Interest::kind(0);
const FOREIGN: Interest = Interest::kind(1);
const FOREIGN_ROOM: Interest = Interest::kind(2);
const DRAINED: Interest = Interest::kind(3);

impl Mailbox {
    fn is_closed(&self) -> bool {
        self.closing || self.ended.is_some()
    }

    /// Leaves a note for the driver, and returns its waker if it sleeps.
    fn notify(&mut self) -> Option<Waker> {
        self.unread = true;
        if std::mem::take(&mut self.asleep) { self.driver.clone() } else { None }
    }

    fn stop_listening(&mut self) {
        self.listening = false;
        let refuse = |offer: Offer| Decision { key: offer.key, verdict: Verdict::Refuse };
        self.mail.decisions.extend(self.incoming.drain(..).map(refuse));
    }

    fn close(&mut self, woken: &mut Vec<Waker>) {
        self.stop_listening();
        self.closing = true;
        self.mail.closing = true;
        self.waiters.take(INCOMING.and(FOREIGN).and(FOREIGN_ROOM), woken);
    }
}

/// Connections.
impl Shared {
    /// Starts a connection. How it goes, [`Handle::poll_connected`] tells.
    ///
    /// With `id`, that is the receive id, which must be free; it may not be 65,535, which libutp cannot answer.
    pub fn connect(self: &Arc<Self>, peer: SocketAddr, id: Option<ConnId>) -> Handle {
        let lease = self.lease();
        let path = self.lock().sockets.path_to(peer);
        let reachable = path.is_some();
        let path = path.unwrap_or(Path { socket: SocketId::new(0), peer });
        let cell = Cell::new(path, Connection::connect(Arc::clone(&self.config), path));
        let open = Open { cell: Arc::clone(&cell), id };
        let refusal = if reachable {
            self.post(|mailbox, _| match mailbox.is_closed() {
                true => Some(mailbox.ended.unwrap_or(CloseReason::EndpointClosed)),
                false => {
                    mailbox.mail.opens.push(open);
                    None
                }
            })
        } else {
            Some(CloseReason::Unreachable)
        };
        if let Some(reason) = refusal {
            cell.fail(reason, &mut Vec::new());
        }
        Handle::new(cell, lease)
    }

    /// Whether SYNs are offered to [`poll_incoming`](Self::poll_incoming), or refused (as at the beginning).
    ///
    /// Switching it off refuses what is on offer.
    pub fn set_listening(&self, listening: bool) {
        self.post(|mailbox, _| match listening {
            true => mailbox.listening = !mailbox.is_closed(),
            false => mailbox.stop_listening(),
        });
    }

    /// The next incoming connection; `None` once the endpoint is closed.
    ///
    /// Cancel safe: a connection is on offer until somebody gets it.
    pub fn poll_incoming(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.with(|mailbox, woken| {
            if let Some(offer) = mailbox.incoming.pop_front() {
                mailbox.leases += 1;
                let lease = Lease { shared: Arc::clone(self) };
                return Poll::Ready(Some(Incoming::new(offer, lease)));
            }
            if mailbox.is_closed() {
                return Poll::Ready(None);
            }
            mailbox.waiters.register(cx.waker(), INCOMING, woken);
            Poll::Pending
        })
    }
}

/// Foreign datagrams.
impl Shared {
    /// Whether somebody takes the datagrams that are not uTP. If not, they are dropped and counted.
    pub fn set_foreign(&self, wanted: bool) {
        let dropped = self.with(|mailbox, _| {
            mailbox.foreign_wanted = wanted;
            if wanted { 0 } else { mailbox.foreign.drain(..).count() }
        });
        if dropped > 0 {
            self.count(|stats| stats.dropped.foreign += dropped as u64);
        }
    }

    /// The next datagram that is not uTP; `None` once the endpoint is closed.
    ///
    /// Cancel safe: a datagram is in the queue until somebody gets it.
    pub fn poll_foreign(&self, cx: &mut Context<'_>) -> Poll<Option<Foreign>> {
        self.with(|mailbox, woken| {
            if let Some(foreign) = mailbox.foreign.pop_front() {
                return Poll::Ready(Some(foreign));
            }
            if mailbox.is_closed() {
                return Poll::Ready(None);
            }
            mailbox.waiters.register(cx.waker(), FOREIGN, woken);
            Poll::Pending
        })
    }

    /// Sends a datagram of whatever kind from a socket that reaches `peer`. There is no answer if it gets lost.
    ///
    /// # Errors
    /// The queue is full, or what [`poll_send_foreign`](Self::poll_send_foreign) reports.
    pub fn send_foreign(&self, peer: SocketAddr, bytes: Bytes) -> Result<(), ForeignError> {
        self.post(|mailbox, _| self.queue_foreign(mailbox, peer, bytes))
    }

    /// Like [`send_foreign`](Self::send_foreign), and waits while the queue is full. Cancel safe: a datagram for
    /// which it returned `Pending` has not been taken.
    ///
    /// # Errors
    /// The datagram is too long, no socket reaches the peer, or the endpoint is closed.
    pub fn poll_send_foreign(
        &self,
        cx: &mut Context<'_>,
        peer: SocketAddr,
        bytes: &Bytes,
    ) -> Poll<Result<(), ForeignError>> {
        self.post(|mailbox, woken| match self.queue_foreign(mailbox, peer, bytes.clone()) {
            Err(ForeignError::Full) => {
                mailbox.waiters.register(cx.waker(), FOREIGN_ROOM, woken);
                Poll::Pending
            }
            result => Poll::Ready(result),
        })
    }

    fn queue_foreign(
        &self,
        mailbox: &mut Mailbox,
        peer: SocketAddr,
        bytes: Bytes,
    ) -> Result<(), ForeignError> {
        if mailbox.is_closed() {
            return Err(ForeignError::Closed);
        }
        if bytes.len() > FOREIGN_BYTES_MAX {
            return Err(ForeignError::TooLong);
        }
        let path = mailbox.sockets.path_to(peer).ok_or(ForeignError::Unreachable)?;
        if mailbox.mail.foreign.len() >= self.config.foreign_queue.max(1) {
            return Err(ForeignError::Full);
        }
        mailbox.mail.foreign.push_back(Foreign { path, bytes });
        Ok(())
    }
}

/// The endpoint as a whole.
impl Shared {
    pub(super) fn new(config: Arc<Config>) -> Arc<Self> {
        Arc::new(Self { config, mailbox: Mutex::default(), stats: Mutex::default() })
    }

    /// The settings of the endpoint.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A reason for the endpoint to live.
    #[must_use]
    pub fn lease(self: &Arc<Self>) -> Lease {
        self.lock().leases += 1;
        Lease { shared: Arc::clone(self) }
    }

    /// The address of a socket.
    #[must_use]
    pub fn local_addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.lock().sockets.local_addr(socket)
    }

    /// Ends everything gracefully: no new connections; the old ones end their direction, and what is left after
    /// [`Config::linger`] is aborted.
    pub fn close(&self) {
        self.post(|mailbox, woken| {
            if !mailbox.is_closed() {
                mailbox.close(woken);
            }
        });
    }

    /// Whether new connections are refused because the endpoint is closed or closing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed()
    }

    /// Ready once the endpoint is closed and no connection is left.
    pub fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|mailbox, woken| {
            if mailbox.drained {
                return Poll::Ready(());
            }
            mailbox.waiters.register(cx.waker(), DRAINED, woken);
            Poll::Pending
        })
    }

    /// Numbers about the endpoint.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the numbers: what the endpoint cannot know, such as system calls, comes from outside.
    ///
    /// `change` runs under a lock and should do nothing but add.
    pub fn count(&self, change: impl FnOnce(&mut SocketStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The driver goes to sleep: `waker` is called for the next mail. If there is mail already, returns `true`, and
    /// the driver should not sleep.
    pub fn register_driver(&self, waker: &Waker) -> bool {
        let mut mailbox = self.lock();
        if mailbox.unread {
            return true;
        }
        mailbox.asleep = true;
        let old = match &mailbox.driver {
            Some(known) if known.will_wake(waker) => None,
            _ => mailbox.driver.replace(waker.clone()),
        };
        drop(mailbox);
        // Dropped after the lock is released: it may run somebody else's code.
        drop(old);
        false
    }

    /// Whether [`Endpoint::handle_mail`](super::Endpoint::handle_mail) would find something.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.lock().unread
    }
}

/// What handles and incoming connections post.
impl Shared {
    pub(super) fn post_dirty(&self, key: Key) {
        self.post(|mailbox, _| mailbox.mail.dirty.push(key));
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

    pub(super) fn is_listening(&self) -> bool {
        self.lock().listening
    }

    /// Offers an incoming connection to whoever listens.
    pub(super) fn offer(&self, offer: Offer) {
        self.with(|mailbox, woken| {
            mailbox.incoming.push_back(offer);
            mailbox.waiters.take(INCOMING, woken);
        });
    }

    /// An incoming connection has become too old. If nobody has got it, it is the oldest on offer.
    pub(super) fn withdraw(&self, key: Key) {
        self.with(|mailbox, _| {
            if mailbox.incoming.front().is_some_and(|offer| offer.key == key) {
                mailbox.incoming.pop_front();
            }
        });
    }

    /// Hands over a datagram that is not uTP. Drops, and counts, the oldest if nobody has taken it for long.
    pub(super) fn deliver_foreign(&self, path: Path, datagram: &[u8]) {
        let limit = self.config.foreign_queue;
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

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under the lock and wakes tasks after it.
    fn with<R>(&self, change: impl FnOnce(&mut Mailbox, &mut Vec<Waker>) -> R) -> R {
        let mut woken = Vec::new();
        let result = change(&mut self.lock(), &mut woken);
        wake_all(&mut woken);
        result
    }

    /// Does something under the lock that the driver should look at, and wakes it after that.
    fn post<R>(&self, change: impl FnOnce(&mut Mailbox, &mut Vec<Waker>) -> R) -> R {
        let (result, driver) = self.with(|mailbox, woken| (change(mailbox, woken), mailbox.notify()));
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A reason for an endpoint to live: one for each socket, handle and undecided incoming connection out there.
///
/// When the last one is dropped, the endpoint closes as if by [`Shared::close`].
pub struct Lease {
    shared: Arc<Shared>,
}

impl Deref for Lease {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.shared.lease()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last = {
            let mut mailbox = self.shared.lock();
            mailbox.leases -= 1;
            mailbox.leases == 0
        };
        if last {
            self.shared.close();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
