//! uTP and TCP behind the same verbs, so that a command is written once.
//!
//! A stream is an enum, not a trait object: the branch costs nothing next to a system call. Knows no command.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::ValueEnum;
use ebbtide::{SocketStats, StreamStats};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::Failure;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// The kernel's TCP.
    Tcp,
}

/// Takes connections.
pub(crate) enum Listener {
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) async fn bind(transport: Transport, addr: &str) -> Result<Self, Failure> {
        let local = resolve(addr).await?;
        let failed = |error: io::Error| Failure::io(format_args!("listen on {addr}"), &error);
        match transport {
            Transport::Tcp => TcpListener::bind(local).await.map(Self::Tcp).map_err(failed),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| (Stream::Tcp(stream), peer)),
        }
    }

    pub(crate) fn stats(&self) -> Option<SocketStats> {
        match self {
            Self::Tcp(_) => None,
        }
    }

    /// Delivers what connections that were closed still have to say.
    pub(crate) async fn drain(&self) {
        match self {
            Self::Tcp(_) => {}
        }
    }
}

/// Makes connections to one peer.
pub(crate) enum Dialer {
    Tcp(SocketAddr),
}

impl Dialer {
    pub(crate) async fn new(transport: Transport, peer: &str) -> Result<Self, Failure> {
        let peer = resolve(peer).await?;
        match transport {
            Transport::Tcp => Ok(Self::Tcp(peer)),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        let stream = match self {
            Self::Tcp(peer) => TcpStream::connect(peer).await.map(Stream::Tcp),
        };
        stream.map_err(|error| Failure::io(format_args!("connect to {}", self.peer()), &error))
    }

    pub(crate) const fn peer(&self) -> SocketAddr {
        match self {
            Self::Tcp(peer) => *peer,
        }
    }

    pub(crate) fn stats(&self) -> Option<SocketStats> {
        match self {
            Self::Tcp(_) => None,
        }
    }

    /// Ends the socket, politely but not for long.
    pub(crate) async fn close(self) {
        match self {
            Self::Tcp(_) => {}
        }
    }
}

/// A connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
}

impl Stream {
    pub(crate) fn stats(&self) -> Option<StreamStats> {
        match self {
            Self::Tcp(_) => None,
        }
    }

    /// Waits, not for long, until the peer has acknowledged everything. The kernel does so for TCP by itself.
    pub(crate) async fn finish(self) {
        match self {
            Self::Tcp(_) => {}
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The first address that a name stands for.
pub(crate) async fn resolve(addr: &str) -> Result<SocketAddr, Failure> {
    let found = tokio::net::lookup_host(addr).await.map_err(|error| Failure::io(addr, &error))?;
    found.into_iter().next().ok_or_else(|| Failure::new(format_args!("{addr}: no address")))
}
