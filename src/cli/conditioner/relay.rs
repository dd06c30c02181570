//! Carries datagrams between clients and one destination, through a bad line.
//!
//! Each client's address has a socket of its own towards the destination, so that answers find their way back; all
//! share the line. Everything is bounded: clients by a number, what is under way by the line's capacity. Knows nothing of
//! options and output.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::link::{Conditioner, ConditionerStats, Direction, Line, Link};
use ebbtide::storage::{Key, Slab};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::transport::any_port;

/// What the relay has done besides what the line did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Clients there are now.
    pub(super) clients: usize,
    /// Clients that were silent for too long.
    pub(super) expired: u64,
    /// Datagrams of addresses that found no place.
    pub(super) refused: u64,
    /// Datagrams that came out of the line and were lost, because the system did not take them.
    pub(super) send_errors: u64,
    /// Datagrams that came out of the line when their client was gone.
    pub(super) astray: u64,
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Clients at once.
    pub(super) clients: usize,
    /// How long one may be silent in both directions.
    pub(super) idle: Duration,
}

#[derive(Clone)]
pub(super) struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    listen: UdpSocket,
    to: SocketAddr,
    begun: tokio::time::Instant,
    limits: Limits,
    /// Something comes out earlier than the relay expects.
    sooner: Notify,
    state: Mutex<State>,
}

struct State {
    line: Conditioner<Key>,
    clients: Slab<Client>,
    keys: HashMap<SocketAddr, Key>,
    /// When the relay looks again by itself.
    awake_at: Option<Instant>,
    counts: Counts,
}

struct Client {
    addr: SocketAddr,
    socket: Arc<UdpSocket>,
    seen: Instant,
    /// The task that takes in what the destination sends.
    reading: Option<AbortHandle>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
    }
}

impl Relay {
    pub(super) async fn bind(
        listen: SocketAddr,
        to: SocketAddr,
        line: Conditioner<Key>,
        limits: Limits,
    ) -> io::Result<Self> {
        let state = State {
            line,
            clients: Slab::new(),
            keys: HashMap::new(),
            awake_at: None,
            counts: Counts::default(),
        };
        let shared = Shared {
            listen: UdpSocket::bind(listen).await?,
            to,
            begun: tokio::time::Instant::now(),
            limits,
            sooner: Notify::new(),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.listen.local_addr()
    }

    /// Relays until the socket is gone.
    pub(super) async fn run(&self) -> io::Error {
        let shared = &self.shared;
        let mut buffer = vec![0; DATAGRAM_MAX];
        // Often enough that nobody stays much longer than allowed.
        let mut sweep = interval((shared.limits.idle / 4).max(Duration::from_millis(10)));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let next = shared.deliver();
            tokio::select! {
                readable = shared.listen.readable() => {
                    if let Err(error) = readable {
                        return error;
                    }
                    shared.receive(&mut buffer);
                }
                () = shared.sooner.notified() => {}
                () = sleep_until(next) => {}
                _ = sweep.tick() => shared.expire(),
            }
        }
    }

    /// Changes one direction.
    pub(super) fn change(&self, direction: Direction, change: impl FnOnce(Link) -> Link) {
        let line = &mut self.shared.state().line;
        line.set_link(direction, change(line.link(direction)));
    }

    /// Loses what is under way.
    pub(super) fn discard(&self) {
        let line = &mut self.shared.state().line;
        Direction::BOTH.into_iter().for_each(|direction| line.discard(direction));
    }

    pub(super) fn line(&self) -> Line {
        let line = &self.shared.state().line;
        Line { there: line.link(Direction::There), back: line.link(Direction::Back) }
    }

    pub(super) fn stats(&self) -> (Counts, [ConditionerStats; 2], Duration) {
        let state = self.shared.state();
        let counts = Counts { clients: state.clients.len(), ..state.counts };
        (counts, Direction::BOTH.map(|direction| state.line.stats(direction)), self.shared.begun.elapsed())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.begun.elapsed()
    }

    /// Takes in what clients have sent, a bounded number of datagrams.
    fn receive(self: &Arc<Self>, buffer: &mut [u8]) {
        for _ in 0..RECEIVE_MAX {
            match self.listen.try_recv_from(buffer) {
                Ok((len, from)) => {
                    let (now, mut state) = (self.now(), self.state());
                    match self.client(&mut state, from, now) {
                        Some(key) => state.line.offer(now, Direction::There, key, &buffer[..len]),
                        None => state.counts.refused += 1,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The answer to something that was sent to a client who is gone.
                Err(error) => tracing::trace!(%error, "receiving from clients"),
            }
        }
    }

    /// The client with that address, who may be new.
    fn client(self: &Arc<Self>, state: &mut State, addr: SocketAddr, now: Instant) -> Option<Key> {
        if let Some(&key) = state.keys.get(&addr) {
            state.clients.get_mut(key)?.seen = now;
            return Some(key);
        }
        if state.clients.len() >= self.limits.clients {
            return None;
        }
        let socket = match self.open() {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::debug!(%error, "a socket for another client");
                return None;
            }
        };
        let key =
            state.clients.insert(Client { addr, socket: Arc::clone(&socket), seen: now, reading: None });
        let reading = tokio::spawn(Arc::clone(self).read(key, socket)).abort_handle();
        state.clients.get_mut(key)?.reading = Some(reading);
        state.keys.insert(addr, key);
        Some(key)
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let socket = std::net::UdpSocket::bind(any_port(self.to))?;
        socket.connect(self.to)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// Takes in what the destination sends to one client.
    async fn read(self: Arc<Self>, key: Key, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            match socket.recv(&mut buffer).await {
                Ok(len) => self.answer(key, &buffer[..len]),
                Err(error) => {
                    // The destination does not listen, most likely. It may begin to.
                    tracing::trace!(%error, "receiving from the destination");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    fn answer(&self, key: Key, datagram: &[u8]) {
        let (now, mut state) = (self.now(), self.state());
        let Some(client) = state.clients.get_mut(key) else { return };
        client.seen = now;
        state.line.offer(now, Direction::Back, key, datagram);
        let next = state.line.next_at(Direction::Back);
        let sooner = next.is_some_and(|next| state.awake_at.is_none_or(|awake_at| next < awake_at));
        drop(state);
        if sooner {
            self.sooner.notify_one();
        }
    }

    /// Sends what has come out of the line; says when to look again.
    fn deliver(&self) -> tokio::time::Instant {
        let (now, mut state) = (self.now(), self.state());
        let State { line, clients, counts, .. } = &mut *state;
        for direction in Direction::BOTH {
            while let Some((key, datagram)) = line.peek(now, direction) {
                match clients.get(key) {
                    Some(client) => {
                        counts.send_errors += u64::from(self.send(client, direction, datagram).is_err())
                    }
                    None => counts.astray += 1,
                }
                line.pop(direction);
            }
        }
        let next = Direction::BOTH.into_iter().filter_map(|direction| line.next_at(direction)).min();
        state.awake_at = next;
        let after = next.map_or(FAR_AWAY, |next| next.since(Instant::ZERO));
        self.begun.checked_add(after).unwrap_or_else(|| tokio::time::Instant::now() + FAR_AWAY)
    }

    /// Straight to the system: tokio calls a socket full until it has heard otherwise, and of a new one it has not.
    fn send(&self, client: &Client, direction: Direction, datagram: &[u8]) -> io::Result<usize> {
        let send = || match direction {
            Direction::There => SockRef::from(&*client.socket).send(datagram),
            Direction::Back => SockRef::from(&self.listen).send_to(datagram, &client.addr.into()),
        };
        match send() {
            // The answer to an earlier one, reported here; this one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => send(),
            outcome => outcome,
        }
    }

    /// Parts with clients that have been silent for too long.
    fn expire(&self) {
        let (now, mut state) = (self.now(), self.state());
        let silent = |(key, client): (Key, &Client)| {
            (now.since(client.seen) >= self.limits.idle).then_some((key, client.addr))
        };
        let silent: Vec<_> = state.clients.iter().filter_map(silent).collect();
        for (key, addr) in silent {
            state.keys.remove(&addr);
            state.clients.remove(key);
            state.counts.expired += 1;
        }
    }
}

/// The longest that UDP carries, and more.
const DATAGRAM_MAX: usize = 65_536;

/// Datagrams of clients taken in before others have their turn.
const RECEIVE_MAX: usize = 64;

const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Instead of never: there is something to do long before that.
const FAR_AWAY: Duration = Duration::from_secs(3_600);
