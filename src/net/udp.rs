//! A UDP socket of the operating system whose readiness tokio watches.
//!
//! What the system can do with a socket is known in `system.rs`; here is only how to wait for it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::socket::{Datagrams, GrantedBuffers, PollDatagrams, Run};
use super::system::{Offload, RECEIVE_BUFFERS};
use crate::proto::batch::Batch;

/// A UDP socket: the transport that [`UtpSocket::bind`](crate::UtpSocket::bind) uses.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    offload: Offload,
}

impl Udp {
    /// Binds to `addr` and asks the system for kernel buffers of `buffer` bytes each way.
    ///
    /// `[::]` takes IPv4 as well, where the system allows it. Must be called within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Self> {
        Self::watched(Offload::bind(addr, buffer)?)
    }

    /// Takes over a socket that is already bound, with options as they are. Must not be connected.
    ///
    /// Must be called within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// If the system refuses the options that are needed, or tokio the socket.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let offload = Offload::of(&socket)?;
        Self::watched((socket, offload))
    }

    fn watched((socket, offload): (std::net::UdpSocket, Offload)) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(socket)?, offload })
    }

    /// The socket underneath, for options that are not ours to set.
    #[must_use]
    pub const fn socket(&self) -> &UdpSocket {
        &self.socket
    }
}

impl Datagrams for Udp {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let socket = SockRef::from(&self.socket);
        let most = buffers.len().min(RECEIVE_BUFFERS);
        let mut last = None;
        let outcome = self.socket.try_io(Interest::READABLE, || {
            let filled = self.offload.recv(&socket, buffers, runs)?;
            if filled == most {
                return Ok(filled);
            }
            // The system had no more. What comes from now on is announced anew, so there is no need for another call
            // that finds nothing, with those who wait for what was received waiting for that too.
            last = Some(filled);
            Err(io::ErrorKind::WouldBlock.into())
        });
        last.map_or(outcome, Ok)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let socket = SockRef::from(&self.socket);
        self.socket.try_io(Interest::WRITABLE, || self.offload.send(&socket, peer, batch, skip))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Bound to the same IP address, and with the same buffers. Options that were set from outside are not repeated.
    fn open_like(&self) -> io::Result<Self> {
        Self::watched(self.offload.open_like(self.local_addr()?)?)
    }

    fn is_dual_stack(&self) -> bool {
        self.offload.is_dual_stack()
    }

    fn max_segments(&self) -> usize {
        self.offload.max_segments()
    }

    fn receive_buffers(&self) -> usize {
        RECEIVE_BUFFERS
    }

    fn granted_buffers(&self) -> GrantedBuffers {
        self.offload.granted_buffers()
    }
}

impl PollDatagrams for Udp {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::future::poll_fn;

    use super::*;

    fn udp() -> Udp {
        Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap()
    }

    /// Waits for one datagram.
    async fn receive(socket: &Udp) -> (SocketAddr, Vec<u8>) {
        let mut space = vec![0; socket.receive_buffer_len()];
        loop {
            poll_fn(|cx| socket.poll_recv_ready(cx)).await.unwrap();
            let mut runs = [Run::default()];
            match socket.try_recv(&mut [IoSliceMut::new(&mut space)], &mut runs) {
                Ok(_) => return (runs[0].from, space[..runs[0].len].to_vec()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_datagram_is_woken_and_an_empty_socket_says_so() {
        let (a, b) = (udp(), udp().open_like().unwrap());
        let nothing = b.try_recv(&mut [IoSliceMut::new(&mut [0; 9])], &mut [Run::default()]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let mut batch = Batch::new(1);
        batch.push(7, |out| out.fill(7));
        let sending = async {
            tokio::task::yield_now().await;
            poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
            assert_eq!(a.try_send(b.local_addr().unwrap(), &batch, 0).unwrap(), 1);
        };
        let (heard, ()) = tokio::join!(biased; receive(&b), sending);
        assert_eq!(heard, (a.local_addr().unwrap(), vec![7; 7]));
    }
}
