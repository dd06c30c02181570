//! The application's half of one connection.
//!
//! Every verb locks its own connection for the length of a copy, and tells the driver only if there is something
//! that nothing else would bring it to. Knows nothing of how the driver works; see the contract in `cell.rs`.

use std::fmt;
use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use super::cell::{ACKED, CONNECT, Cell, FLUSH, Inner, READ, WRITE};
use super::shared::Lease;
use super::sockets::canonical;
use super::waiters::{Interest, wake_all};
use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::{ConnIds, Connection, ReadOutcome, Reason, Role, WriteOutcome};
use crate::stats::StreamStats;

/// One connection, as the application holds it. Dropping it lets the connection end in the background: what was
/// written is delivered for at most [`Config::linger`](crate::Config::linger), what arrives is thrown away.
///
/// Any number of tasks may use one handle at once, through an `Arc`. All `poll_` verbs are cancel safe: a verb that
/// returned `Pending` has done nothing but remember the waker.
pub struct Handle {
    cell: Arc<Cell>,
    lease: Lease,
}

/// What it takes to lead a connection along another way. It lives beside the handle, and keeps nothing of the connection.
#[derive(Clone, Debug)]
pub struct Mover {
    cell: Weak<Cell>,
}

impl Mover {
    pub(super) fn cell(&self) -> Option<Arc<Cell>> {
        self.cell.upgrade()
    }

    /// Whether the peer is looked for, and has not answered several questions.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.cell().is_some_and(|cell| cell.lock().conn.is_lost())
    }

    /// Whether the connection is over, or nobody here writes or reads any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.cell().is_none_or(|cell| {
            let inner = cell.lock();
            inner.conn.close_reason().is_some() || inner.conn.is_detached()
        })
    }
}

/// Why nothing can be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// [`Handle::poll_finish`] has ended our direction.
    Finished,
    /// The connection is over.
    Closed(CloseReason),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("this direction has been ended"),
            Self::Closed(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Finished => Self::new(io::ErrorKind::BrokenPipe, error),
            WriteError::Closed(reason) => reason.into(),
        }
    }
}

/// The handshake.
impl Handle {
    pub(super) const fn new(cell: Arc<Cell>, lease: Lease) -> Self {
        Self { cell, lease }
    }

    /// Ready once the peer has answered; at once for a connection that was accepted.
    ///
    /// # Errors
    /// Why the connection never came to be.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.poll(cx, CONNECT, |inner| match inner.conn.close_reason() {
            _ if inner.was_connected() => Poll::Ready(Ok(())),
            Some(reason) => Poll::Ready(Err(reason)),
            None if inner.is_dialled() || inner.conn.is_initiator() => Poll::Pending,
            None => Poll::Ready(Ok(())),
        })
    }

    /// Ready once each side has shown that it hears the other: unlike [`poll_connected`](Self::poll_connected), not at
    /// once for a connection that was accepted, since the address in a SYN may be forged, and the SYN a repeated one.
    ///
    /// # Errors
    /// Why the connection never came to be.
    pub fn poll_confirmed(&self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.poll(cx, CONNECT, |inner| match inner.conn.close_reason() {
            _ if inner.was_connected() => Poll::Ready(Ok(())),
            Some(reason) => Poll::Ready(Err(reason)),
            None => Poll::Pending,
        })
    }
}

/// Reading.
impl Handle {
    /// Takes received bytes, in order; 0 at the end of the peer's direction, or if `out` is empty.
    ///
    /// # Errors
    /// The connection ended in another way, and everything received has been read.
    pub fn poll_read(&self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize, CloseReason>> {
        self.poll(cx, READ, |inner| readable(inner.conn.read(out)))
    }

    /// Like [`poll_read`](Self::poll_read), and leaves the bytes to be read again.
    ///
    /// # Errors
    /// As for reading.
    pub fn poll_peek(&self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<Result<usize, CloseReason>> {
        self.poll(cx, READ, |inner| readable(inner.conn.peek(out)))
    }

    /// Like [`poll_read`](Self::poll_read), without waiting: `Pending` if there is nothing.
    ///
    /// # Errors
    /// As for reading.
    pub fn try_read(&self, out: &mut [u8]) -> Poll<Result<usize, CloseReason>> {
        self.with(|inner, _| readable(inner.conn.read(out)))
    }

    /// Ends reading: what has arrived and what will arrive is thrown away, and whoever reads finds the end. The peer is
    /// not told.
    pub fn stop_reading(&self) {
        self.with(|inner, woken| {
            inner.conn.stop_reading();
            inner.waiters.take(READ, woken);
        });
    }

    /// Ready once reading would not have to wait: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, READ, |inner| readable(inner.conn.read_outcome(1)).map(|_| ()))
    }
}

/// Writing.
impl Handle {
    /// Takes as many of these bytes as there is room for; before the handshake is over, they wait.
    ///
    /// # Errors
    /// Our direction has been ended, or the connection has.
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        self.poll(cx, WRITE, |inner| written(write(inner, data)))
    }

    /// Like [`poll_write`](Self::poll_write), from several pieces in turn.
    ///
    /// # Errors
    /// As for writing.
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize, WriteError>> {
        self.poll(cx, WRITE, |inner| write_all_pieces(inner, pieces))
    }

    /// Like [`poll_write`](Self::poll_write), without waiting: `Pending` if there is no room.
    ///
    /// # Errors
    /// As for writing.
    pub fn try_write(&self, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        self.with(|inner, _| written(write(inner, data)))
    }

    /// Like [`poll_write_vectored`](Self::poll_write_vectored), without waiting.
    ///
    /// # Errors
    /// As for writing.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> Poll<Result<usize, WriteError>> {
        self.with(|inner, _| write_all_pieces(inner, pieces))
    }

    /// Ready once writing would not have to wait: room, or an error.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, WRITE, |inner| match inner.conn.write_refusal() {
            Some(WriteOutcome::Full) => Poll::Pending,
            None if inner.writable(1) == 0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
    }

    /// Ready once everything written has been handed to the network. Nothing of it waits to be merged with more.
    ///
    /// # Errors
    /// The connection ended before.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.poll(cx, FLUSH, |inner| {
            if inner.conn.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            inner.conn.push();
            unless_closed(&inner.conn)
        })
    }

    /// Ends our direction after the last byte written; the peer's goes on. Ready at once: that it arrives is what
    /// [`poll_acked`](Self::poll_acked) waits for.
    ///
    /// # Errors
    /// The connection ended before everything was acknowledged.
    pub fn poll_finish(&self, _cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.with(|inner, woken| {
            inner.conn.finish();
            // Whoever waits for room waits in vain now.
            inner.waiters.take(WRITE, woken);
            match inner.conn.close_reason() {
                Some(reason) if !inner.conn.is_acked() => Poll::Ready(Err(reason)),
                _ => Poll::Ready(Ok(())),
            }
        })
    }

    /// Ready once our direction has been ended and the peer has acknowledged everything.
    ///
    /// # Errors
    /// The connection ended before.
    pub fn poll_acked(&self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.poll(cx, ACKED, |inner| match inner.conn.is_acked() {
            true => Poll::Ready(Ok(())),
            false => unless_closed(&inner.conn),
        })
    }
}

/// The rest.
impl Handle {
    /// Ends the connection at once, with a RESET; what is not acknowledged may be lost.
    pub fn abort(&self) {
        self.with(|inner, woken| {
            inner.conn.abort();
            inner.collect(woken);
        });
    }

    /// Tells the peer, if it is of this crate's making, why this end is over: to be said before
    /// [`poll_finish`](Self::poll_finish) or [`abort`](Self::abort). Of the text the first 64 bytes count.
    pub fn set_close_reason(&self, code: u16, text: &str) {
        self.with(|inner, _| inner.conn.set_reason(code, text));
    }

    /// Why the application at the other end has ended its direction, or the connection, if it has told.
    #[must_use]
    pub fn peer_reason(&self) -> Option<Reason> {
        self.with(|inner, _| inner.conn.peer_reason().cloned())
    }

    /// Whether small writes leave at once instead of waiting to be merged with more.
    pub fn set_nodelay(&self, nodelay: bool) {
        self.with(|inner, _| inner.conn.set_nodelay(nodelay));
    }

    /// What leads this connection along another way.
    #[must_use]
    pub fn mover(&self) -> Mover {
        Mover { cell: Arc::downgrade(&self.cell) }
    }

    /// Numbers about this connection.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.with(|inner, _| inner.conn.stats())
    }

    /// What waits although nothing will come of it; to be asked after a turn of the driver.
    #[cfg(feature = "sim")]
    pub(crate) fn waits_in_vain(&self) -> Option<&'static str> {
        self.with(|inner, _| inner.waits_in_vain())
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.with(|inner, _| inner.conn.close_reason())
    }

    /// Whether the peer has shown that it is made of this crate too; false before the handshake.
    #[must_use]
    pub fn peer_is_ebbtide(&self) -> bool {
        self.with(|inner, _| inner.conn.peer_is_ebbtide())
    }

    /// Which end of the connection this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.with(|inner, _| inner.conn.role())
    }

    /// From which address our packets come as the peer sees it, if it has told: behind a NAT, not our own.
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.with(|inner, _| inner.conn.observed_addr())
    }

    /// The ids of the connection; zeros before it has any.
    #[must_use]
    pub fn conn_ids(&self) -> ConnIds {
        self.with(|inner, _| inner.conn.ids())
    }

    /// The socket and the peer's address as the socket takes it.
    #[must_use]
    pub fn path(&self) -> Path {
        self.cell.path()
    }

    /// The peer's address; IPv4 as IPv4, whatever socket it came through.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.cell.path().peer)
    }

    /// The address of the socket, `None` if none reaches the peer.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.lease.local_addr(self.cell.path().socket)
    }

    /// Does something under the lock, then what has to be done after it.
    pub(super) fn with<R>(&self, verb: impl FnOnce(&mut Inner, &mut Vec<Waker>) -> R) -> R {
        let mut woken = Vec::new();
        let (result, post) = {
            let mut inner = self.cell.lock();
            let result = verb(&mut inner, &mut woken);
            inner.weigh();
            (result, inner.post_due())
        };
        if let Some(key) = post {
            self.lease.post_dirty(key);
        }
        wake_all(&mut woken);
        result
    }

    /// Tries something, and registers the task under the same lock if it has to wait.
    pub(super) fn poll<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        attempt: impl FnOnce(&mut Inner) -> Poll<R>,
    ) -> Poll<R> {
        self.with(|inner, woken| {
            let result = attempt(inner);
            if result.is_pending() {
                inner.waiters.register(cx.waker(), interest, woken);
            }
            result
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The wakers are dropped after the lock is released: dropping one may run somebody else's code.
        let waiters = self.with(|inner, _| {
            inner.conn.detach();
            std::mem::take(&mut inner.waiters)
        });
        drop(waiters);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("path", &self.cell.path()).finish_non_exhaustive()
    }
}

const fn readable(outcome: ReadOutcome) -> Poll<Result<usize, CloseReason>> {
    match outcome {
        ReadOutcome::Data(bytes) => Poll::Ready(Ok(bytes)),
        ReadOutcome::Eof => Poll::Ready(Ok(0)),
        ReadOutcome::Empty => Poll::Pending,
        ReadOutcome::Closed(reason) => Poll::Ready(Err(reason)),
    }
}

const fn written(outcome: WriteOutcome) -> Poll<Result<usize, WriteError>> {
    match outcome {
        WriteOutcome::Written(bytes) => Poll::Ready(Ok(bytes)),
        WriteOutcome::Full => Poll::Pending,
        WriteOutcome::Finished => Poll::Ready(Err(WriteError::Finished)),
        WriteOutcome::Closed(reason) => Poll::Ready(Err(WriteError::Closed(reason))),
    }
}

/// Writes as much as there is room for, in the buffer and in the memory of the endpoint.
fn write(inner: &mut Inner, data: &[u8]) -> WriteOutcome {
    let most = inner.writable(data.len());
    if most == 0 && !data.is_empty() {
        return inner.conn.write_refusal().unwrap_or(WriteOutcome::Full);
    }
    let outcome = inner.conn.write(&data[..most]);
    // The next piece is judged by what this one took.
    inner.weigh();
    outcome
}

fn write_all_pieces(inner: &mut Inner, pieces: &[IoSlice<'_>]) -> Poll<Result<usize, WriteError>> {
    let mut total = 0;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        match write(inner, piece) {
            WriteOutcome::Written(bytes) => {
                total += bytes;
                if bytes < piece.len() {
                    break;
                }
            }
            _ if total > 0 => break,
            refusal => return written(refusal),
        }
    }
    Poll::Ready(Ok(total))
}

/// Still to come, unless the connection is over.
fn unless_closed(conn: &Connection) -> Poll<Result<(), CloseReason>> {
    conn.close_reason().map_or(Poll::Pending, |reason| Poll::Ready(Err(reason)))
}
