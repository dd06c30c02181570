//! A uTP socket for threads, and the thread that drives it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;

use super::listener::UtpListener;
use super::message::MessageConnection;
use super::stream::UtpStream;
use super::wait::{after, block_on, wait};
use crate::api::message::MessageConfig;
use crate::config::Config;
use crate::net::{Driver, PollDatagrams, Udp};
use crate::stats::SocketStats;
use crate::wire::Service;

/// A uTP socket: one UDP port that dials and listens, with a thread that moves its datagrams.
///
/// Clones are handles to the same socket. [`UtpStream::connect`] and [`UtpListener::bind`] make one each, for programs
/// that need no more.
///
/// ```
/// use ebbtide::blocking::UtpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let (one, other) = (UtpSocket::bind("127.0.0.1:0")?, UtpSocket::bind("127.0.0.1:0")?);
/// let (here, there) = (one.listen(), other.listen());
/// let addrs = (one.local_addr()?, other.local_addr()?);
/// std::thread::scope(|scope| {
///     // Each calls the other, from the port that it listens on.
///     scope.spawn(|| here.accept().map(|(_, peer)| assert_eq!(peer, addrs.1)));
///     scope.spawn(|| there.accept().map(|(_, peer)| assert_eq!(peer, addrs.0)));
///     let calling = scope.spawn(|| one.connect(addrs.1));
///     other.connect(addrs.0)?;
///     calling.join().expect("no panic").map(drop)
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UtpSocket {
    socket: crate::UtpSocket,
}

impl UtpSocket {
    /// A socket bound to the first of these addresses that can be had, with default settings. `[::]` takes IPv4 as well,
    /// port 0 any free port.
    ///
    /// # Errors
    /// What the system says about the last address: it is in use, or not ours; no address at all; no thread.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(addr, Config::default())
    }

    /// Like [`bind`](Self::bind), with settings of your own.
    ///
    /// # Errors
    /// As for `bind`; [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`ConfigError`](crate::ConfigError) as
    /// source for a setting out of range.
    pub fn bind_with(addr: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        config.validate()?;
        first_of(addr, |addr| {
            let config = config.clone();
            Self::drive(move || crate::UtpSocket::over(Udp::bind(addr, config.socket_buffer)?, config))
        })
    }

    /// A socket over a UDP socket that is bound already, with its options as they are. It must not be connected.
    ///
    /// # Errors
    /// As for [`bind_with`](Self::bind_with).
    pub fn from_std(socket: std::net::UdpSocket, config: Config) -> io::Result<Self> {
        Self::drive(move || crate::UtpSocket::over(Udp::from_std(socket)?, config))
    }

    /// A socket over a transport of your own: a [`MemorySocket`](crate::MemorySocket), a tunnel. A [`Udp`] belongs to
    /// the runtime that it was made in; see [`from_std`](Self::from_std).
    ///
    /// # Errors
    /// A setting out of range; a transport that cannot tell its address; no thread.
    pub fn over<S: PollDatagrams>(transport: S, config: Config) -> io::Result<Self> {
        Self::drive(move || crate::UtpSocket::over(transport, config))
    }

    /// Starts the thread. What it needs is made there, where the runtime is.
    fn drive<S: PollDatagrams>(
        make: impl FnOnce() -> io::Result<(crate::UtpSocket, Driver<S>)> + Send + 'static,
    ) -> io::Result<Self> {
        let (report, made) = mpsc::sync_channel(1);
        thread::Builder::new().name("ebbtide".into()).spawn(move || {
            let prepared = runtime().and_then(|runtime| {
                let inside = runtime.enter();
                let (socket, driver) = make()?;
                drop(inside);
                Ok((runtime, socket, driver))
            });
            match prepared {
                Ok((runtime, socket, driver)) => {
                    // Whoever asked waits for it. If nobody does, the socket goes, and the driver ends at once.
                    drop(report.send(Ok(socket)));
                    // With a transport that is gone every connection has failed, and has the reason.
                    drop(runtime.block_on(driver.run()));
                }
                Err(error) => drop(report.send(Err(error))),
            }
        })?;
        let socket = made.recv().map_err(|_| io::Error::other("the socket's thread is gone"))??;
        Ok(Self { socket })
    }

    /// Connects to the first of these addresses that answers.
    ///
    /// # Errors
    /// As for [`UtpSocket::connect`](crate::UtpSocket::connect), about the last address.
    pub fn connect(&self, peer: impl ToSocketAddrs) -> io::Result<UtpStream> {
        first_of(peer, |peer| block_on(self.socket.connect(peer)).map(UtpStream::from))
    }

    /// Connects to what listens for `service` at the first of these addresses that answers.
    ///
    /// # Errors
    /// As for [`UtpSocket::connect_to`](crate::UtpSocket::connect_to), about the last address.
    pub fn connect_to(&self, peer: impl ToSocketAddrs, service: Service) -> io::Result<UtpStream> {
        first_of(peer, |peer| block_on(self.socket.connect_to(peer, service)).map(UtpStream::from))
    }

    /// Connects within `timeout`. [`Config::connect_timeout`] is a limit too.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect), with [`TimedOut`](io::ErrorKind::TimedOut) when the time is over;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a time of zero.
    pub fn connect_timeout(&self, peer: &SocketAddr, timeout: Duration) -> io::Result<UtpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time-out of nothing"));
        }
        let mut connecting = pin!(self.socket.connect(*peer));
        match wait(after(timeout), |cx| connecting.as_mut().poll(cx)) {
            Some(outcome) => outcome.map(UtpStream::from),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Connects for messages to the first of these addresses that answers; see [`message`](crate::message).
    ///
    /// # Errors
    /// As for [`UtpSocket::connect_messages`](crate::UtpSocket::connect_messages), about the last address.
    pub fn connect_messages(
        &self,
        peer: impl ToSocketAddrs,
        config: &MessageConfig,
    ) -> io::Result<MessageConnection> {
        first_of(peer, |peer| {
            block_on(self.socket.connect_messages(peer, config)).map(MessageConnection::from)
        })
    }

    /// Takes incoming connections from now on, until the last listener is dropped. Without one they are refused.
    #[must_use]
    pub fn listen(&self) -> UtpListener {
        UtpListener::new(self.socket.listen(), self.clone())
    }

    /// Takes incoming connections for this service from now on, until its last listener is dropped.
    #[must_use]
    pub fn listen_for(&self, service: Service) -> UtpListener {
        UtpListener::new(self.socket.listen_for(service), self.clone())
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// None at present.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local_addr())
    }

    /// What the socket has seen and done.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.socket.stats()
    }

    /// The same socket for tasks: everything that this face does not have. What has time limits of its own, such as
    /// [`punch`](crate::UtpSocket::punch), works in any runtime, as the socket's thread keeps the time.
    #[must_use]
    pub const fn get_ref(&self) -> &crate::UtpSocket {
        &self.socket
    }

    /// Ends everything gracefully, and waits for it: no new connections, what was written is delivered, streams get the
    /// end of input. What is left after [`Config::linger`] is aborted. Then the port is free.
    ///
    /// The other clones are closed with it.
    pub fn close(self) {
        block_on(unconstrained(self.socket.close()));
    }
}

/// The same socket for threads; its driver stays where it is.
impl From<crate::UtpSocket> for UtpSocket {
    fn from(socket: crate::UtpSocket) -> Self {
        Self { socket }
    }
}

/// The wildcard address from which that one can be reached.
pub(super) fn any_towards(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Tries the addresses in turn, until one will do.
pub(super) fn first_of<T>(
    addrs: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addrs.to_socket_addrs()? {
        match attempt(addr) {
            Ok(made) => return Ok(made),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address")))
}

/// What the driver needs, and no threads but its own.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}
