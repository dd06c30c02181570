//! A uTP socket: one port (or several) that carries any number of connections, both ways.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

use super::foreign::Foreign;
use super::listener::UtpListener;
use super::stream::UtpStream;
use crate::config::Config;
use crate::net::{Datagrams, Driver, IoCounters, PollDatagrams, Udp};
use crate::proto::endpoint::{Dial, Handle, Lease, Shared};
use crate::stats::SocketStats;
use crate::wire::{ConnId, Service};

/// A uTP socket: makes and takes connections, and shares its port with other protocols.
///
/// Clones are handles to the same socket. When the last of them, and of the listeners, streams and
/// [`Foreign`]s made with them, is dropped, what was written is still delivered, for at most
/// [`Config::linger`]; then the port is free.
///
/// ```
/// use ebbtide::UtpSocket;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
/// let listener = server.listen();
/// let client = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
///
/// let (calling, accepted) = tokio::join!(client.connect(server.local_addr()), listener.accept());
/// let (mut calling, (mut called, peer)) = (calling?, accepted?);
/// assert_eq!(peer, client.local_addr());
///
/// calling.write_all(b"ebb").await?;
/// calling.shutdown().await?;
/// let mut heard = String::new();
/// called.read_to_string(&mut heard).await?;
/// assert_eq!(heard, "ebb");
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct UtpSocket {
    inner: Arc<Inner>,
}

/// What the clones of a socket share, listeners and foreign halves included.
pub(super) struct Inner {
    lease: Lease,
    counters: Arc<IoCounters>,
    /// Closes when the driver is gone.
    driver: watch::Receiver<()>,
    local_addrs: Vec<SocketAddr>,
    /// How many want incoming connections.
    listeners: Users,
    /// How many want datagrams that are not uTP.
    strangers: Users,
}

impl UtpSocket {
    /// A socket bound to `addr`, with default settings. `[::]` takes IPv4 as well, port 0 any free port.
    ///
    /// Must be called within a tokio runtime with IO and time enabled; the socket's driver is spawned there, and ends
    /// with it.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    ///
    /// # Cancel safety
    /// Safe: it never waits.
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::bind_with(addr, Config::default()).await
    }

    /// Like [`bind`](Self::bind), with settings of your own.
    ///
    /// # Errors
    /// As for `bind`; [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`ConfigError`](crate::ConfigError) as
    /// source for a setting out of range.
    ///
    /// # Cancel safety
    /// Safe: it never waits.
    pub async fn bind_with(addr: SocketAddr, config: Config) -> io::Result<Self> {
        config.validate()?;
        let udp = Udp::bind(addr, config.socket_buffer)?;
        let (socket, driver) = Self::over(udp, config)?;
        tokio::spawn(driver.run());
        Ok(socket)
    }

    /// A socket over a transport of your own: a [`MemorySocket`](crate::MemorySocket), a tunnel, a [`Udp`] with
    /// options of your own. Nothing moves until the driver [runs](Driver::run).
    ///
    /// # Errors
    /// A setting out of range; a transport that cannot tell its address.
    pub fn over<S: PollDatagrams>(transport: S, config: Config) -> io::Result<(Self, Driver<S>)> {
        Self::over_all([transport], config)
    }

    /// A socket over several transports, for instance one for IPv4 and one for IPv6, or one per interface.
    ///
    /// A connection uses the first one of its family to go out, and the one where it came in to answer.
    ///
    /// # Errors
    /// As for [`over`](Self::over); [`InvalidInput`](io::ErrorKind::InvalidInput) without a transport.
    pub fn over_all<S: PollDatagrams>(
        transports: impl IntoIterator<Item = S>,
        config: Config,
    ) -> io::Result<(Self, Driver<S>)> {
        config.validate()?;
        let transports: Vec<S> = transports.into_iter().collect();
        let local_addrs = transports.iter().map(Datagrams::local_addr).collect::<io::Result<_>>()?;
        let driver = Driver::new(transports, Arc::new(config))?;
        let inner = Inner {
            lease: driver.shared().lease(),
            counters: driver.counters(),
            driver: driver.end(),
            local_addrs,
            listeners: Users::default(),
            strangers: Users::default(),
        };
        Ok((Self { inner: Arc::new(inner) }, driver))
    }

    /// Connects to `peer`.
    ///
    /// The attempt begins at once, not when it is first polled. It takes as long as
    /// [`Config::connect_timeout`] allows.
    ///
    /// # Errors
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded), [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for an
    /// address that this socket does not reach, [`NotConnected`](io::ErrorKind::NotConnected) after
    /// [`close`](Self::close); with a [`CloseReason`](crate::CloseReason) as source.
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt.
    pub fn connect(&self, peer: SocketAddr) -> Connect {
        Connect { handle: Some(self.inner.lease.connect(peer, None)) }
    }

    /// Like [`connect`](Self::connect), with the connection id at which we receive chosen by you; the peer receives
    /// at the next higher one. For protocols that agree on ids beforehand.
    ///
    /// # Errors
    /// As for `connect`; [`AddrInUse`](io::ErrorKind::AddrInUse) if the id is taken towards that peer.
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt.
    pub fn connect_with(&self, peer: SocketAddr, id: ConnId) -> Connect {
        Connect { handle: Some(self.inner.lease.connect(peer, Some(id))) }
    }

    /// Connects to a peer that connects to us at the same moment, by the same method: both get the two ends of one
    /// stream, which [`UtpStream::role`] tells apart. For peers that have been told about each other by a third party; a
    /// SYN of both is what opens the NATs between them.
    ///
    /// If the peer's call comes first, this one takes it up, up to ten seconds later; after that it goes to whoever
    /// listens. What becomes of the call of a peer of another make, [`Config::vanilla_cross`] says.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt.
    pub fn connect_simultaneous(&self, peer: SocketAddr) -> Connect {
        let dial = Dial { simultaneous: true, ..Dial::default() };
        Connect { handle: Some(self.inner.lease.dial(peer, dial)) }
    }

    /// Connects to what listens for `service` at `peer` ([`listen_for`](Self::listen_for)).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) with
    /// [`NoService`](crate::CloseReason::NoService) as source if nobody does, or if the peer is not made of this crate
    /// and knows of no services.
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt.
    pub fn connect_to(&self, peer: SocketAddr, service: Service) -> Connect {
        let dial = Dial { service: Some(service), ..Dial::default() };
        Connect { handle: Some(self.inner.lease.dial(peer, dial)) }
    }

    /// Takes incoming connections from now on, until the last listener is dropped. Without one they are refused.
    ///
    /// Unlike TCP's, a connection is answered when it is accepted, not before: until then nothing is spent on it, and
    /// the other side waits.
    #[must_use]
    pub fn listen(&self) -> UtpListener {
        UtpListener::new(Arc::clone(&self.inner))
    }

    /// Takes incoming connections for this service from now on, until its last listener is dropped: several protocols
    /// share a port, and each connection names the one it wants, as with ALPN.
    ///
    /// Connections that name none go to [`listen`](Self::listen), and those that name another one not here. All
    /// listeners share the limits of the socket.
    #[must_use]
    pub fn listen_for(&self, service: Service) -> UtpListener {
        UtpListener::for_service(Arc::clone(&self.inner), service)
    }

    /// The next incoming connection, for programs that want nothing else: a [`UtpListener`] made on the first call,
    /// and kept. Connections that come before the first call are refused.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(UtpStream, SocketAddr)> {
        self.inner.listeners.stay(|on| self.inner.lease.set_listening(on));
        poll_fn(|cx| super::listener::poll_accept(&self.inner, None, cx)).await
    }

    /// Datagrams that are not uTP, both ways: a DHT or any other protocol shares the port.
    ///
    /// While there is none of these, such datagrams are dropped and counted.
    #[must_use]
    pub fn foreign(&self) -> Foreign {
        Foreign::new(Arc::clone(&self.inner))
    }

    /// The applications' side of the endpoint.
    pub(super) fn lease(&self) -> Lease {
        self.inner.lease.clone()
    }

    /// The address that the socket is bound to; the first one if there are several.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addrs[0]
    }

    /// The addresses of all transports, in the order in which they were given.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.inner.local_addrs
    }

    /// What the socket has seen and done.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let mut stats = self.inner.lease.stats();
        self.inner.counters.fill(&mut stats);
        stats
    }

    /// Ends everything gracefully, and waits for it: no new connections, what was written is delivered, streams get
    /// the end of input. What is left after [`Config::linger`] is aborted. Then the port is free.
    ///
    /// The other clones are closed with it.
    ///
    /// # Cancel safety
    /// Safe: once it has been polled, closing goes on without it.
    pub async fn close(self) {
        self.inner.lease.close();
        let mut driver = self.inner.driver.clone();
        // Nothing is ever sent: an error is what we wait for.
        while driver.changed().await.is_ok() {}
    }
}

impl UtpSocket {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.inner.shared()
    }
}

impl fmt::Debug for UtpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UtpSocket").field("local_addrs", &self.inner.local_addrs).finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.lease
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    pub(super) fn listener_made(&self, service: Option<Service>) {
        match service {
            Some(service) => self.lease.listen_for(service),
            None => self.listeners.enter(|on| self.lease.set_listening(on)),
        }
    }

    pub(super) fn listener_dropped(&self, service: Option<Service>) {
        match service {
            Some(service) => self.lease.unlisten_for(service),
            None => self.listeners.leave(|on| self.lease.set_listening(on)),
        }
    }

    pub(super) fn foreign_made(&self) {
        self.strangers.enter(|on| self.lease.set_foreign(on));
    }

    pub(super) fn foreign_dropped(&self) {
        self.strangers.leave(|on| self.lease.set_foreign(on));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Streams may outlive the socket. Nobody is left to take more of them.
        self.lease.set_listening(false);
    }
}

/// How many want something that is switched on for all of them.
#[derive(Debug, Default)]
struct Users {
    /// [`STAYING`](Self::STAYING) is set by one that never leaves.
    count: AtomicUsize,
}

impl Users {
    const STAYING: usize = 1 << (usize::BITS - 1);

    fn enter(&self, switch: impl Fn(bool)) {
        if self.count.fetch_add(1, SeqCst) == 0 {
            self.settle(switch);
        }
    }

    fn leave(&self, switch: impl Fn(bool)) {
        if self.count.fetch_sub(1, SeqCst) == 1 {
            self.settle(switch);
        }
    }

    fn stay(&self, switch: impl Fn(bool)) {
        if self.count.fetch_or(Self::STAYING, SeqCst) == 0 {
            self.settle(switch);
        }
    }

    /// Those who come and go at the same time may get at the switch in another order than at the count: whoever gets
    /// there last looks again.
    fn settle(&self, switch: impl Fn(bool)) {
        loop {
            let wanted = self.count.load(SeqCst) > 0;
            switch(wanted);
            if wanted == (self.count.load(SeqCst) > 0) {
                return;
            }
        }
    }
}

/// A connection attempt, made by [`UtpSocket::connect`]. Dropping it abandons the attempt.
#[must_use = "dropping it abandons the attempt"]
pub struct Connect {
    /// Until it has become a stream.
    handle: Option<Handle>,
}

impl Future for Connect {
    type Output = io::Result<UtpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(handle) = &self.handle else { panic!("polled after it was ready") };
        let outcome = ready!(handle.poll_connected(cx));
        let handle = self.handle.take();
        outcome?;
        Poll::Ready(handle.map(UtpStream::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.handle.as_ref().map(Handle::peer_addr);
        f.debug_struct("Connect").field("peer", &peer).finish_non_exhaustive()
    }
}
