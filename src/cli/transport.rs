//! uTP and TCP behind the same verbs, so that a command is written once.
//!
//! A stream is an enum, not a trait object: the branch costs nothing next to a copy. Knows no command.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::ValueEnum;
use ebbtide::{Config, SocketStats, StreamStats, UtpListener, UtpSocket, UtpStream};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::failure::Failure;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// uTP, by this crate
    Utp,
    /// TCP, by the kernel
    Tcp,
}

/// Takes connections.
pub(crate) enum Listener {
    Utp(UtpSocket, UtpListener),
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) async fn bind(transport: Transport, addr: &str, config: Config) -> Result<Self, Failure> {
        let local = resolve(addr).await?;
        let listener = match transport {
            Transport::Utp => UtpSocket::bind_with(local, config).await.map(|socket| {
                let listener = socket.listen();
                Self::Utp(socket, listener)
            }),
            Transport::Tcp => TcpListener::bind(local).await.map(Self::Tcp),
        };
        listener.map_err(|error| Failure::io(format_args!("listen on {addr}"), &error))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Utp(socket, _) => Ok(socket.local_addr()),
            Self::Tcp(listener) => listener.local_addr(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Utp(_, listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Utp(stream), peer))
            }
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), peer))
            }
        }
    }

    pub(crate) fn stats(&self) -> Option<SocketStats> {
        match self {
            Self::Utp(socket, _) => Some(socket.stats()),
            Self::Tcp(_) => None,
        }
    }

    /// Delivers what closed connections still have to say, and ends the socket.
    pub(crate) async fn close(&self) {
        if let Self::Utp(socket, _) = self {
            close(socket.clone()).await;
        }
    }
}

/// Makes connections to one peer.
pub(crate) enum Dialer {
    Utp(UtpSocket, SocketAddr),
    Tcp(SocketAddr),
}

impl Dialer {
    pub(crate) async fn new(transport: Transport, peer: &str, config: Config) -> Result<Self, Failure> {
        let peer = resolve(peer).await?;
        match transport {
            Transport::Utp => match UtpSocket::bind_with(any_port(peer), config).await {
                Ok(socket) => Ok(Self::Utp(socket, peer)),
                Err(error) => Err(Failure::io("UDP socket", &error)),
            },
            Transport::Tcp => Ok(Self::Tcp(peer)),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        let stream = match self {
            Self::Utp(socket, peer) => socket.connect(*peer).await.map(Stream::Utp),
            Self::Tcp(peer) => TcpStream::connect(peer).await.map(Stream::Tcp),
        };
        stream.map_err(|error| Failure::io(format_args!("connect to {}", self.peer()), &error))
    }

    pub(crate) const fn peer(&self) -> SocketAddr {
        match self {
            Self::Utp(_, peer) | Self::Tcp(peer) => *peer,
        }
    }

    pub(crate) fn stats(&self) -> Option<SocketStats> {
        match self {
            Self::Utp(socket, _) => Some(socket.stats()),
            Self::Tcp(_) => None,
        }
    }

    /// Delivers what closed connections still have to say, and ends the socket.
    pub(crate) async fn close(self) {
        if let Self::Utp(socket, _) = self {
            close(socket).await;
        }
    }
}

/// A connection.
pub(crate) enum Stream {
    Utp(UtpStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(crate) fn stats(&self) -> Option<StreamStats> {
        match self {
            Self::Utp(stream) => Some(stream.stats()),
            Self::Tcp(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Utp(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Utp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Utp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Utp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The first address that a name stands for.
pub(crate) async fn resolve(addr: &str) -> Result<SocketAddr, Failure> {
    let mut found = tokio::net::lookup_host(addr).await.map_err(|error| Failure::io(addr, &error))?;
    found.next().ok_or_else(|| Failure::new(format_args!("{addr}: no address")))
}

/// Where to bind in order to reach `peer`.
pub(crate) fn any_port(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Closes a socket whose streams have ended. By then all data is acknowledged, and what is left is courtesy towards
/// a peer whose last packets got lost: it has its limit.
pub(crate) async fn close(socket: UtpSocket) {
    if timeout(COURTESY, socket.close()).await.is_err() {
        tracing::debug!("the socket still had something to say");
    }
}

const COURTESY: Duration = Duration::from_secs(2);
