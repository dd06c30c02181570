//! Incoming connections, for threads.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::message::MessageConnection;
use super::socket::UtpSocket;
use super::stream::UtpStream;
use super::wait::{block_on, not_now, poll_once};
use crate::api::message::MessageConfig;
use crate::config::Config;

/// Takes the incoming connections of a socket, with the manners of [`TcpListener`](std::net::TcpListener).
///
/// Any number of threads may wait in [`accept`](Self::accept): each connection goes to one of them. When the last
/// listener of a socket is dropped, further connections are refused.
#[derive(Debug)]
pub struct UtpListener {
    shared: Arc<Shared>,
}

/// What the clones of a listener share.
#[derive(Debug)]
struct Shared {
    listener: crate::UtpListener,
    nonblocking: AtomicBool,
    socket: UtpSocket,
}

impl UtpListener {
    pub(super) fn new(listener: crate::UtpListener, socket: UtpSocket) -> Self {
        Self { shared: Arc::new(Shared { listener, nonblocking: AtomicBool::new(false), socket }) }
    }

    /// A listener with a socket of its own, bound to the first of these addresses that can be had. `[::]` takes IPv4
    /// as well, port 0 any free port.
    ///
    /// # Errors
    /// As for [`UtpSocket::bind`].
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(addr, Config::default())
    }

    /// Like [`bind`](Self::bind), with settings of your own.
    ///
    /// # Errors
    /// As for [`UtpSocket::bind_with`].
    pub fn bind_with(addr: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        Ok(UtpSocket::bind_with(addr, config)?.listen())
    }

    /// The next incoming connection, and where it comes from.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed;
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none and the listener does not wait.
    pub fn accept(&self) -> io::Result<(UtpStream, SocketAddr)> {
        self.wait(self.shared.listener.accept()).map(|(stream, peer)| (stream.into(), peer))
    }

    /// The next incoming connection, undecided; see [`UtpListener::incoming`](crate::UtpListener::incoming). Once
    /// accepted, its stream becomes one of these with `From`.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn undecided(&self) -> io::Result<crate::Incoming> {
        self.wait(self.shared.listener.incoming())
    }

    /// The next incoming connection that wants messages on these channels. Others are refused.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept); [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of range.
    pub fn accept_messages(&self, config: &MessageConfig) -> io::Result<MessageConnection> {
        self.wait(self.shared.listener.accept_messages(config)).map(MessageConnection::from)
    }

    /// Every connection that comes, in turn. It never ends: after an error others may follow, and once the socket is
    /// closed there are only errors.
    #[must_use]
    pub const fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Another handle to the same listener.
    ///
    /// # Errors
    /// None at present.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared) })
    }

    /// Whether [`accept`](Self::accept) says [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting (initially not).
    /// Threads that wait already go on waiting.
    ///
    /// # Errors
    /// None at present.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.shared.nonblocking.store(nonblocking, Relaxed);
        Ok(())
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// None at present.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// The socket below, which dials from the same port.
    #[must_use]
    pub fn socket(&self) -> &UtpSocket {
        &self.shared.socket
    }

    /// Waits for one of the listener's futures, all of which are cancel safe.
    fn wait<T>(&self, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        if self.shared.nonblocking.load(Relaxed) {
            return poll_once(pin!(future)).unwrap_or_else(|| Err(not_now()));
        }
        block_on(future)
    }
}

/// Every connection that comes, made by [`UtpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UtpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UtpStream>;

    fn next(&mut self) -> Option<io::Result<UtpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
