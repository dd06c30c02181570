//! The socket through which a server forwards: whatever comes goes where the desk says, or nowhere.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// The longest datagram that is forwarded. uTP's are no longer than this on any way between two hosts.
const DATAGRAM_MAX: usize = 2048;

/// A socket of its own: what comes there is not for the endpoint.
#[derive(Debug)]
pub(super) struct Forwarder {
    socket: UdpSocket,
    v6: bool,
}

impl Forwarder {
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, v6: addr.is_ipv6() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Forwards until `target`, which is asked about each datagram and where it comes from, has gone: `None`.
    pub(super) async fn run(self, target: impl Fn(SocketAddr, &[u8]) -> Option<Option<SocketAddr>>) {
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            // An error is about something that was sent before; the next datagram has nothing to do with it.
            let Ok((len, from)) = self.socket.recv_from(&mut buffer).await else { continue };
            let datagram = &buffer[..len];
            let Some(to) = target(from, datagram) else { return };
            if let Some(to) = to {
                // Where there is no room, there is none: whoever sent it notices as he would on any way.
                let sent = self.socket.try_send_to(datagram, self.as_bound(to));
                tracing::trace!(?sent, "forwarded");
            }
        }
    }

    /// As the socket takes it.
    fn as_bound(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}
