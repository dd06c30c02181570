//! What is asked of a socket by those who drive an endpoint: the traits to implement for a transport of your own.
//!
//! Nothing here knows uTP. Datagrams may be lost, doubled and reordered by whatever implements this; they must
//! arrive whole or not at all.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::proto::batch::Batch;

/// Datagrams from one sender that one receive buffer holds, end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Who sent them.
    pub from: SocketAddr,
    /// Bytes of the buffer that are used.
    pub len: usize,
    /// Bytes of each datagram; the last may be shorter. Equal to `len` if there is only one.
    pub stride: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self { from: SocketAddr::new(IpAddr::from([0; 4]), 0), len: 0, stride: 0 }
    }
}

impl Run {
    /// How many datagrams there are; an empty one counts.
    #[must_use]
    pub const fn datagrams(&self) -> usize {
        if self.stride == 0 || self.len <= self.stride { 1 } else { self.len.div_ceil(self.stride) }
    }
}

/// Kernel buffers as the system granted them, bytes; 0 where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantedBuffers {
    /// For sending.
    pub send: usize,
    /// For receiving.
    pub receive: usize,
}

/// Something that moves datagrams: a UDP socket, a tunnel, a test.
///
/// Whoever drives the endpoint is the only caller, from one thread at a time, except for
/// [`local_addr`](Self::local_addr). Nothing here ever waits: a verb that would have to says
/// [`WouldBlock`](io::ErrorKind::WouldBlock). A [`Driver`](crate::Driver) also has to know when to come back:
/// [`PollDatagrams`].
///
/// # Errors
/// Every error of a `try_` verb but `WouldBlock` concerns that one datagram or batch (an ICMP answer to something sent
/// earlier, a datagram too large, a full queue): it is counted and the caller goes on. A transport that is gone for
/// good says [`BrokenPipe`](io::ErrorKind::BrokenPipe): that ends the driver.
pub trait Datagrams: Send + Sync + 'static {
    /// Receives into `buffers`, and describes what each one that was filled holds in the entry of `runs` with the
    /// same index. Returns how many were filled.
    ///
    /// Both slices have the same length, [`receive_buffers`](Self::receive_buffers); each buffer holds
    /// [`receive_buffer_len`](Self::receive_buffer_len) bytes.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; see the trait for the others.
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize>;

    /// Sends datagrams of `batch` to `peer`, beginning with number `skip`, as many as one call takes. Returns how
    /// many were taken, at least one.
    ///
    /// A batch may say how many [hops](Batch::ttl) it may take; such datagrams are meant to be lost behind the NATs on
    /// our side. A transport that passes through no routers, or that cannot tell them, may ignore that: finding a way
    /// through NATs then fails more often.
    ///
    /// # Errors
    /// `WouldBlock` if none could be taken; see the trait for the others.
    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize>;

    /// The address that peers send to, as far as it is known here. Its family decides which peers this socket can
    /// reach.
    ///
    /// # Errors
    /// If it cannot be told.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Another transport like this one, with the same local IP address and another port, which lives and dies with the
    /// driver. Asked for when a way through NATs is searched; what that needs beyond it works without.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) unless implemented; what the system says.
    fn open_like(&self) -> io::Result<Self>
    where
        Self: Sized,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether this is an IPv6 transport that reaches IPv4 as well, with addresses of the form `::ffff:a.b.c.d` in
    /// both directions.
    fn is_dual_stack(&self) -> bool {
        false
    }

    /// Most datagrams that one send may carry now (segmentation offload). May change.
    fn max_segments(&self) -> usize {
        1
    }

    /// How many buffers one receive may fill.
    fn receive_buffers(&self) -> usize {
        1
    }

    /// How large each receive buffer has to be, bytes: the largest run that can arrive.
    fn receive_buffer_len(&self) -> usize {
        65_536
    }

    /// Kernel buffers that back this transport.
    fn granted_buffers(&self) -> GrantedBuffers {
        GrantedBuffers::default()
    }
}

/// Datagrams that a task can wait for, as a [`Driver`](crate::Driver) does after a `try_` verb has said
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait PollDatagrams: Datagrams {
    /// Waits until [`try_recv`](Datagrams::try_recv) may find something. May be ready too early.
    ///
    /// # Errors
    /// Only if the transport is gone: that ends the driver.
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until [`try_send`](Datagrams::try_send) may succeed. May be ready too early.
    ///
    /// # Errors
    /// Only if the transport is gone: that ends the driver.
    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A shared transport opens no others.
impl<S: Datagrams + ?Sized> Datagrams for Arc<S> {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        (**self).try_recv(buffers, runs)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        (**self).try_send(peer, batch, skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        (**self).local_addr()
    }

    fn is_dual_stack(&self) -> bool {
        (**self).is_dual_stack()
    }

    fn max_segments(&self) -> usize {
        (**self).max_segments()
    }

    fn receive_buffers(&self) -> usize {
        (**self).receive_buffers()
    }

    fn receive_buffer_len(&self) -> usize {
        (**self).receive_buffer_len()
    }

    fn granted_buffers(&self) -> GrantedBuffers {
        (**self).granted_buffers()
    }
}

impl<S: PollDatagrams + ?Sized> PollDatagrams for Arc<S> {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_send_ready(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_its_short_last_datagram() {
        let run = |len, stride| Run { len, stride, ..Run::default() }.datagrams();
        assert_eq!((run(0, 0), run(7, 7), run(2800, 1400), run(2801, 1400)), (1, 1, 2, 3));
    }
}
