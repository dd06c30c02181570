//! The applications' side of an endpoint: connect, listen, foreign datagrams, the end.
//!
//! Every verb locks the mailbox for a moment. Knows no connection from the inside, and nothing of how the driver
//! works but that it has to be woken.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::cell::Cell;
use super::clock::Clock;
use super::dial::Dial;
use super::foreign::{FOREIGN_BYTES_MAX, Foreign, ForeignError};
use super::gauge::Gauge;
use super::handle::Handle;
use super::incoming::Incoming;
use super::mailbox::{DRAINED, FOREIGN, FOREIGN_ROOM, Mailbox, Open};
use super::waiters::wake_all;
use crate::config::Config;
use crate::error::CloseReason;
use crate::proto::batch::{Path, SocketId};
use crate::proto::conn::Connection;
use crate::proto::sync::{Mutex, MutexGuard};
use crate::stats::SocketStats;
use crate::wire::{ConnId, Service};

/// The applications' side of an endpoint.
///
/// Whoever wants the endpoint to live takes a [`Lease`]; when the last one is dropped, it closes as if by
/// [`close`](Self::close).
pub struct Shared {
    config: Arc<Config>,
    gauge: Arc<Gauge>,
    mailbox: Mutex<Mailbox>,
    stats: Mutex<SocketStats>,
}

/// Connections.
impl Shared {
    /// Starts a connection. How it goes, [`Handle::poll_connected`] tells.
    ///
    /// With `id`, that is the receive id, which must be free; it may not be 65,535, which libutp cannot answer.
    pub fn connect(self: &Arc<Self>, peer: SocketAddr, id: Option<ConnId>) -> Handle {
        self.dial(peer, Dial { id, ..Dial::default() })
    }

    /// Starts a connection as `dial` says. How it goes, [`Handle::poll_connected`] tells.
    pub fn dial(self: &Arc<Self>, peer: SocketAddr, dial: Dial) -> Handle {
        self.dial_with(peer, dial, |_| ())
    }

    /// As [`dial`](Self::dial), with a connection that is made ready before it starts.
    pub(super) fn dial_with(
        self: &Arc<Self>,
        peer: SocketAddr,
        dial: Dial,
        prepare: impl FnOnce(&mut Connection),
    ) -> Handle {
        let lease = self.lease();
        let path = dial.path.or_else(|| self.lock().sockets.path_to(peer));
        let reachable = path.is_some();
        let path = path.unwrap_or(Path { socket: SocketId::new(0), peer });
        let mut conn = Connection::connect(Arc::clone(&self.config), path);
        prepare(&mut conn);
        let cell = Cell::new(conn, Clock::default(), &self.gauge);
        let open = Open { cell: Arc::clone(&cell), dial };
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
        self.post(|mailbox, _| {
            let listening = listening && !mailbox.is_closed();
            mailbox.listeners.set(listening, &mut mailbox.mail.decisions);
        });
    }

    /// One more wants the SYNs that name this service; [`poll_incoming_for`](Self::poll_incoming_for) gets them.
    pub fn listen_for(&self, service: Service) {
        self.with(|mailbox, _| {
            if !mailbox.is_closed() {
                mailbox.listeners.enter(Some(service));
            }
        });
    }

    /// One fewer does. When the last one has gone, what is on offer is refused, and what comes is.
    pub fn unlisten_for(&self, service: Service) {
        self.post(|mailbox, _| mailbox.listeners.leave(Some(service), &mut mailbox.mail.decisions));
    }

    /// The next incoming connection; `None` once the endpoint is closed.
    ///
    /// Cancel safe: a connection is on offer until somebody gets it.
    pub fn poll_incoming(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.poll_offers(cx, None)
    }

    /// The next incoming connection for this service; `None` once the endpoint is closed.
    ///
    /// Cancel safe, as [`poll_incoming`](Self::poll_incoming).
    pub fn poll_incoming_for(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        service: Service,
    ) -> Poll<Option<Incoming>> {
        self.poll_offers(cx, Some(service))
    }

    fn poll_offers(self: &Arc<Self>, cx: &Context<'_>, service: Option<Service>) -> Poll<Option<Incoming>> {
        self.with(|mailbox, woken| {
            if let Some((offer, cell)) = mailbox.listeners.take(service) {
                mailbox.leases += 1;
                let lease = Lease { shared: Arc::clone(self) };
                return Poll::Ready(Some(Incoming::new(offer, cell, lease)));
            }
            if mailbox.is_closed() {
                return Poll::Ready(None);
            }
            mailbox.listeners.register(service, cx.waker(), woken);
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
        let gauge = Gauge::new(config.max_memory);
        Arc::new(Self { config, gauge, mailbox: Mutex::default(), stats: Mutex::default() })
    }

    /// The settings of the endpoint.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How much memory the connections hold.
    pub(super) const fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
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
        let stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        SocketStats { memory: self.gauge.total(), ..stats }
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
        let old = mailbox.driver.replace(waker.clone());
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

/// Under the lock, and after it.
impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under the lock and wakes tasks after it.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut Mailbox, &mut Vec<Waker>) -> R) -> R {
        let mut woken = Vec::new();
        let result = change(&mut self.lock(), &mut woken);
        wake_all(&mut woken);
        result
    }

    /// Does something under the lock that the driver should look at, and wakes it after that.
    pub(super) fn post<R>(&self, change: impl FnOnce(&mut Mailbox, &mut Vec<Waker>) -> R) -> R {
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
