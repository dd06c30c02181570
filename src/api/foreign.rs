//! Datagrams that are not uTP, both ways, through the port of a uTP socket. Nobody here looks into them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::socket::Inner;
use crate::error::CloseReason;

/// The other protocol on a socket's port: a DHT, a tracker, a rendezvous.
///
/// Whatever arrives and is not uTP can be had here. At most [`Config::foreign_queue`](crate::Config::foreign_queue)
/// datagrams wait; then the oldest is dropped and counted. Several of these share what arrives.
pub struct Foreign {
    inner: Arc<Inner>,
}

impl Foreign {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        inner.foreign_made();
        Self { inner }
    }

    /// Waits for a datagram, copies it, and says how long it is and who sent it. A buffer that is too short gets the
    /// beginning of it.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: no datagram is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (datagram, from) = self.recv().await?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok((len, from))
    }

    /// Waits for a datagram, and hands it over without copying it again.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: no datagram is lost.
    pub async fn recv(&self) -> io::Result<(Bytes, SocketAddr)> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) for hand-written futures. Any number of tasks may wait.
    ///
    /// # Errors
    /// As for `recv`.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Bytes, SocketAddr)>> {
        let foreign = ready!(self.inner.shared().poll_foreign(cx));
        let taken = foreign.map(|foreign| {
            let from = foreign.peer_addr();
            (foreign.bytes, from)
        });
        Poll::Ready(taken.ok_or_else(|| CloseReason::EndpointClosed.into()))
    }

    /// [`recv_from`](Self::recv_from) for hand-written futures. Any number of tasks may wait.
    ///
    /// # Errors
    /// As for `recv_from`.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let (datagram, from) = ready!(self.poll_recv(cx))?;
        buffer.put_slice(&datagram[..datagram.len().min(buffer.remaining())]);
        Poll::Ready(Ok(from))
    }

    /// Hands a datagram to the driver, after waiting for room; it may still get lost, as datagrams do. Returns its
    /// length.
    ///
    /// Nothing keeps you from sending what looks like uTP; the peer's uTP will get it then.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 65,000 bytes,
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if the socket does not reach `peer`,
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: if it is dropped before it returns, nothing was sent.
    pub async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        let bytes = Bytes::copy_from_slice(datagram);
        poll_fn(|cx| self.poll_send_to(cx, &bytes, peer)).await
    }

    /// [`send_to`](Self::send_to) for hand-written futures. Any number of tasks may wait.
    ///
    /// # Errors
    /// As for `send_to`.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        datagram: &Bytes,
        peer: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        ready!(self.inner.shared().poll_send_foreign(cx, peer, datagram))?;
        Poll::Ready(Ok(datagram.len()))
    }

    /// [`send_to`](Self::send_to) without waiting.
    ///
    /// # Errors
    /// As for `send_to`; [`WouldBlock`](io::ErrorKind::WouldBlock) if too many wait to be sent.
    pub fn try_send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.inner.shared().send_foreign(peer, Bytes::copy_from_slice(datagram))?;
        Ok(datagram.len())
    }

    /// The address that the socket is bound to; the first one if there are several.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.inner.foreign_dropped();
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}
