//! One connection as a byte stream, with the manners of tokio's `TcpStream`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf, halves};
use crate::error::CloseReason;
use crate::proto::conn::{Reason, Role};
use crate::proto::endpoint::{Handle, Mover};
use crate::stats::StreamStats;

/// A uTP connection: ordered bytes, both ways.
///
/// - `flush` means that everything written has been handed to the network; [`closed`](Self::closed), that the peer has
///   acknowledged it.
/// - `shutdown` ends our direction, after what was written; the peer's goes on.
/// - Errors have the kinds that TCP has: [`BrokenPipe`](io::ErrorKind::BrokenPipe) for writing after `shutdown`,
///   [`ConnectionReset`](io::ErrorKind::ConnectionReset), [`TimedOut`](io::ErrorKind::TimedOut); their source is a
///   [`CloseReason`].
/// - Dropping it ends our direction too: what was written is still delivered in the background, for at most
///   [`Config::linger`](crate::Config::linger), and what arrives is thrown away.
///
/// The methods with `&self` may be used by any number of tasks at once.
pub struct UtpStream {
    handle: Handle,
}

/// Waiting and trying.
impl UtpStream {
    pub(super) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// What is below, for the face without tasks.
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until reading finds something: bytes, the end, or an error.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.handle.poll_readable(cx)).await;
        Ok(())
    }

    /// Waits until writing finds room, or an error.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Cancel safety
    /// Safe: nothing is written.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.handle.poll_writable(cx)).await;
        Ok(())
    }

    /// Reads what is there, without waiting; 0 is the end of the peer's direction.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is there; or how the connection ended.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        at_once(self.handle.try_read(buffer))
    }

    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; or how the connection ended.
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        at_once(self.handle.try_write(data))
    }

    /// Like [`try_write`](Self::try_write), from several pieces in turn.
    ///
    /// # Errors
    /// As for `try_write`.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        at_once(self.handle.try_write_vectored(pieces))
    }

    /// Waits for bytes and copies them, to be read again; 0 is the end of the peer's direction.
    ///
    /// # Errors
    /// As for reading.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.handle.poll_peek(cx, buffer)).await.map_err(Into::into)
    }

    /// Waits until our direction has ended, by `shutdown`, and the peer has acknowledged all of it.
    ///
    /// # Errors
    /// How the connection ended before that: something written may not have arrived.
    ///
    /// # Cancel safety
    /// Safe: it only waits.
    pub async fn closed(&self) -> io::Result<()> {
        poll_fn(|cx| self.handle.poll_acked(cx)).await.map_err(Into::into)
    }

    /// Ends the connection at once: the peer gets [`ConnectionReset`](io::ErrorKind::ConnectionReset), and what it has
    /// not acknowledged may be lost.
    pub fn abort(&self) {
        self.handle.abort();
    }
}

/// The rest.
impl UtpStream {
    /// Two halves that borrow the stream, for one task.
    pub const fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        halves(self)
    }

    /// Two halves that can live in different tasks. Dropping the writing half ends our direction.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        super::split::owned_halves(self)
    }

    pub(super) fn mover(&self) -> Mover {
        self.handle.mover()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle.peer_addr()
    }

    /// The address of the socket that the connection goes through, as that was bound: perhaps a wildcard.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.local_addr().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Tells the peer, if it is made of this crate too, why this end of the stream is over: to be said before `shutdown`
    /// or [`abort`](Self::abort). Codes from 0xFF00 on are this crate's; of the text the first 64 bytes count.
    pub fn set_close_reason(&self, code: u16, text: &str) {
        self.handle.set_close_reason(code, text);
    }

    /// Why the application at the other end has ended its direction, or the stream, if it has told.
    #[must_use]
    pub fn peer_reason(&self) -> Option<Reason> {
        self.handle.peer_reason()
    }

    /// Whether the peer is made of this crate too: services, keepalives that are answered and all else that
    /// [`Config::extensions`](crate::Config::extensions) speaks of then work.
    #[must_use]
    pub fn peer_is_ebbtide(&self) -> bool {
        self.handle.peer_is_ebbtide()
    }

    /// Which end of the stream this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.handle.role()
    }

    /// From which address our packets come as the peer sees it, if the peer is one of ours: behind a NAT, not our own.
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.handle.observed_addr()
    }

    /// Whether small writes leave at once instead of waiting, for at most a round trip, to be merged with more.
    /// Initially [`Config::nodelay`](crate::Config::nodelay).
    pub fn set_nodelay(&self, nodelay: bool) {
        self.handle.set_nodelay(nodelay);
    }

    /// What the connection has seen and done.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.handle.stats()
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.handle.close_reason()
    }
}

/// What the stream and its halves share.
impl UtpStream {
    pub(super) fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(poll_budget(cx));
        let read = ready!(self.handle.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write_from(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(poll_budget(cx));
        self.handle.poll_write(cx, data).map_err(Into::into)
    }

    pub(super) fn poll_write_pieces(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(poll_budget(cx));
        self.handle.poll_write_vectored(cx, pieces).map_err(Into::into)
    }

    pub(super) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.poll_flush(cx).map_err(Into::into)
    }

    pub(super) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.poll_finish(cx).map_err(Into::into)
    }
}

impl AsyncRead for UtpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_into(cx, buffer)
    }
}

impl AsyncWrite for UtpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_from(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_pieces(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}

impl fmt::Debug for UtpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UtpStream").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}

/// A task whose stream always has something would never let others run: tokio's budget tells it when to.
fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    pin!(coop::consume_budget()).poll(cx)
}

fn at_once<E: Into<io::Error>>(outcome: Poll<Result<usize, E>>) -> io::Result<usize> {
    match outcome {
        Poll::Ready(result) => result.map_err(Into::into),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
