//! The rendezvous server on a socket.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until, timeout};

use super::relay::Forwarder;
use crate::api::{UtpListener, UtpSocket};
use crate::config::Config;
use crate::net::{Clock, Udp};
use crate::proto::endpoint::Lease;
use crate::proto::rendezvous::server::{self, Desk, ServerConfig, ServerStats};

/// A rendezvous server: introduces peers to each other that know the same room.
///
/// It passes on no address at which it has not seen a client, keeps nothing but in memory, and has bounds for
/// everything ([`ServerConfig`]). It also tells everybody who asks by STUN where it sees them, on its port and the next
/// one.
///
/// Dropping it ends it at once; [`close`](Self::close) lets clients find another one first.
///
/// ```
/// use ebbtide::rendezvous::{Server, ServerConfig};
///
/// # fn main() -> std::io::Result<()> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = Server::bind("127.0.0.1:0".parse().unwrap(), ServerConfig::default()).await?;
/// println!("listening on {}", server.local_addr());
/// assert_eq!(server.stats().clients, 0);
/// server.close().await;
/// # Ok(()) }) }
/// ```
pub struct Server {
    inner: Arc<Inner>,
    /// Closes when the task is gone.
    task: watch::Receiver<()>,
}

struct Inner {
    desk: Mutex<Desk>,
    /// To be called when something was asked of the desk from outside.
    task: Mutex<Option<Waker>>,
    clock: Clock,
    local_addrs: Vec<SocketAddr>,
    /// Taken when the server goes. The listener is there to be there: the desk takes what comes in.
    socket: Mutex<Option<(UtpSocket, UtpListener)>>,
}

/// How often a pair of free ports is looked for.
const PAIRS: usize = 16;

impl Server {
    /// A server on `addr` and, for reflection, on the port above it, if that is free. Port 0 takes any two.
    ///
    /// Must be called within a tokio runtime with IO and time enabled; the server's task is spawned there, and ends
    /// with it.
    ///
    /// # Errors
    /// What the system says about the address; [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of
    /// range.
    ///
    /// # Cancel safety
    /// Safe: it never waits.
    pub async fn bind(addr: SocketAddr, config: ServerConfig) -> io::Result<Self> {
        config.validate()?;
        let settings = Self::socket_config(&config);
        let sockets = pair(addr, &settings)?;
        let (socket, driver) = UtpSocket::over_all(sockets, settings)?;
        tokio::spawn(driver.run());
        let relays = config.relay.is_some();
        let server = Self::start(socket, config)?;
        if relays {
            // The port above those two, if that is free.
            let above = server.local_addr().port().checked_add(2).unwrap_or(0);
            let forwards = server.forward_at(SocketAddr::new(addr.ip(), above));
            forwards.or_else(|_| server.forward_at(SocketAddr::new(addr.ip(), 0)))?;
        }
        Ok(server)
    }

    /// Forwards for those who find no way to each other, as [`ServerConfig::relay`] says, through a socket of its own at
    /// that address, which is returned. [`bind`](Self::bind) does so by itself, on the second port above its own, if it can.
    ///
    /// # Errors
    /// What the system says about the address; [`InvalidInput`](io::ErrorKind::InvalidInput) if the settings say that
    /// nothing is forwarded.
    pub fn forward_at(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let forwarder = Forwarder::bind(addr)?;
        let addr = forwarder.local_addr()?;
        if !self.inner.desk().set_relay(addr) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the settings say that nothing is forwarded",
            ));
        }
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(forwarder.run(move |from, datagram| {
            let inner = inner.upgrade().filter(|inner| !inner.is_over())?;
            let to = inner.desk().relay(inner.clock.now(), from, datagram);
            Some(to)
        }));
        Ok(addr)
    }

    /// A server on a socket of your own. It takes everybody who connects, and answers everybody who asks by STUN;
    /// connections may still be made from there.
    ///
    /// # Errors
    /// A setting out of range; no source of chance.
    pub fn start(socket: UtpSocket, config: ServerConfig) -> io::Result<Self> {
        config.validate()?;
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let desk = Desk::new(server::Server::new(config, seed));
        let (alive, task) = watch::channel(());
        let lease = socket.lease();
        let listener = socket.listen();
        lease.serve_stun(true);
        let inner = Arc::new(Inner {
            desk: Mutex::new(desk),
            task: Mutex::new(None),
            clock: Clock::start(),
            local_addrs: socket.local_addrs().to_vec(),
            socket: Mutex::new(Some((socket, listener))),
        });
        let worker = Arc::clone(&inner);
        tokio::spawn(async move {
            worker.run(&lease).await;
            drop(alive);
        });
        Ok(Self { inner, task })
    }

    /// What suits the streams of a server with these settings: many, small and quiet.
    #[must_use]
    pub fn socket_config(config: &ServerConfig) -> Config {
        let per_address = usize::try_from(config.clients_per_address).unwrap_or(usize::MAX);
        // Some more for those who are about to be turned away, or to leave.
        let streams = (config.clients + config.clients / 8 + 64).min(1_000_000);
        Config::default()
            .max_connections(streams)
            .connections_per_address(Some(per_address.saturating_mul(2).min(streams)))
            .connections_per_network(None)
            .send_buffer(config.backlog.max(16 << 10))
            .receive_buffer(16 << 10)
            .receive_buffer_max(16 << 10)
            .keepalive(None)
            .idle_timeout(Some(config.idle + Duration::from_secs(60)))
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addrs[0]
    }

    /// All addresses; the second one is for reflection.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.inner.local_addrs
    }

    /// Tells clients of further servers that reflect addresses by STUN: at another address than this one, so that
    /// they can find out what their router is like. At most four count.
    pub fn set_stun(&self, addrs: &[SocketAddr]) {
        self.inner.desk().set_stun(addrs);
    }

    /// What it has seen and done: numbers, which name nobody.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.inner.desk().stats()
    }

    /// Tells all clients to look for another server, and lets nobody in from now on; those who are there may finish
    /// what they are about.
    pub fn drain(&self) {
        self.inner.desk().drain(self.inner.clock.now());
        self.inner.call();
    }

    /// Ends it gracefully: clients are told, have five seconds to look for another server, and then the port is
    /// free.
    ///
    /// # Cancel safety
    /// Safe: dropping it ends the server at once.
    pub async fn close(mut self) {
        self.drain();
        let empty = async {
            while self.inner.desk().streams() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Whoever is still there then is sent away.
        let _patience = timeout(Desk::GRACE, empty).await;
        let socket = self.inner.end();
        while self.task.changed().await.is_ok() {}
        if let Some((socket, listener)) = socket {
            drop(listener);
            socket.close().await;
        }
    }
}

impl Inner {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task is to have a look.
    fn call(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Everybody is sent away, and the task ends.
    fn end(&self) -> Option<(UtpSocket, UtpListener)> {
        self.desk().close(self.clock.now());
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.call();
        socket
    }

    fn is_over(&self) -> bool {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    async fn run(&self, lease: &Lease) {
        let mut sleep = pin!(sleep_until(tokio::time::Instant::now()));
        poll_fn(|cx| self.poll(cx, lease, sleep.as_mut())).await;
    }

    /// Ready when there is no server any more.
    fn poll(&self, cx: &mut Context<'_>, lease: &Lease, mut sleep: Pin<&mut Sleep>) -> Poll<()> {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        loop {
            let (outcome, due) = {
                let mut desk = self.desk();
                let outcome = desk.poll(cx, self.clock.now(), lease);
                (outcome, desk.poll_timeout())
            };
            if outcome.is_ready() || self.is_over() {
                return Poll::Ready(());
            }
            let Some(due) = due else { return Poll::Pending };
            let due = self.clock.deadline(due);
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.inner.end());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addrs", &self.inner.local_addrs).finish_non_exhaustive()
    }
}

/// A socket at that address, and if possible one on the port above it.
fn pair(addr: SocketAddr, config: &Config) -> io::Result<Vec<Udp>> {
    let buffer = config.socket_buffer;
    let mut alone = None;
    for _ in 0..PAIRS {
        let first = Udp::bind(addr, buffer)?;
        let port = crate::net::Datagrams::local_addr(&first)?.port();
        if let Some(above) = port.checked_add(1)
            && let Ok(second) = Udp::bind(SocketAddr::new(addr.ip(), above), buffer)
        {
            return Ok(vec![first, second]);
        }
        if addr.port() != 0 {
            return Ok(vec![first]);
        }
        alone = Some(first);
    }
    Ok(alone.into_iter().collect())
}
