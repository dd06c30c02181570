//! The stream to a server: which one, how far it is, and what comes after it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::servers::ServerAddr;
use crate::proto::endpoint::{Handle, Shared};
use crate::proto::rendezvous::Client;
use crate::time::Instant;

/// Ours: how long a server has to answer before the next one is asked as well. Handshakes that lose a packet take a
/// second.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ours: the pause after all servers have been tried in vain; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Ours: the longest of those pauses.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Ours: bytes that are read at once.
const READ: usize = 4096;

#[derive(Debug)]
enum State {
    /// Until then.
    Waiting(Instant),
    Dialling {
        handle: Handle,
        until: Instant,
    },
    Up(Handle),
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// There is a stream to the server in this place; whether it is the one that we had before.
    Up { place: usize, again: bool },
    /// It broke.
    Down,
    /// All servers have been tried in vain.
    Exhausted,
}

#[derive(Debug)]
pub(super) struct Link {
    servers: Vec<ServerAddr>,
    /// Which server, and which of its addresses.
    place: usize,
    addr: usize,
    /// The server that we had last.
    last: Option<usize>,
    /// Addresses that were tried in vain since there was a stream.
    failed: usize,
    rounds: u32,
    state: State,
}

impl Link {
    pub(super) fn new(servers: Vec<ServerAddr>) -> Self {
        let state = State::Waiting(Instant::ZERO);
        Self { servers, place: 0, addr: 0, last: None, failed: 0, rounds: 0, state }
    }

    pub(super) fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// The server that is asked, or has been reached.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Where it is, by the family that is in use.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        self.servers.get(self.place)?.addrs().get(self.addr).copied()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(until) | State::Dialling { until, .. } => {
                Some(until).filter(|_| !self.servers.is_empty())
            }
            State::Up(_) => None,
        }
    }

    /// Goes as far as it gets, and says what has changed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
        rng: &mut StdRng,
    ) -> Option<Change> {
        loop {
            match &self.state {
                State::Up(_) => return None,
                State::Waiting(until) if *until > now => return None,
                State::Waiting(_) => {
                    let handle = shared.connect(self.addr()?, None);
                    self.state = State::Dialling { handle, until: now + PATIENCE };
                }
                State::Dialling { handle, until } => match handle.poll_connected(cx) {
                    Poll::Ready(Ok(())) => return Some(self.reached()),
                    Poll::Pending if *until > now => return None,
                    Poll::Pending | Poll::Ready(Err(_)) => {
                        if let Some(change) = self.failed(now, rng) {
                            return Some(change);
                        }
                    }
                },
            }
        }
    }

    fn reached(&mut self) -> Change {
        let again = self.last == Some(self.place);
        self.last = Some(self.place);
        self.failed = 0;
        self.rounds = 0;
        let state = std::mem::replace(&mut self.state, State::Waiting(Instant::ZERO));
        if let State::Dialling { handle, .. } = state {
            handle.set_nodelay(true);
            self.state = State::Up(handle);
        }
        Change::Up { place: self.place, again }
    }

    /// The next address is the one to try.
    fn failed(&mut self, now: Instant, rng: &mut StdRng) -> Option<Change> {
        let state = std::mem::replace(&mut self.state, State::Waiting(now));
        if let State::Dialling { handle, .. } = state {
            handle.abort();
        }
        self.failed += 1;
        self.addr += 1;
        if self.addr >= self.servers[self.place].addrs().len() {
            self.addr = 0;
            self.place = (self.place + 1) % self.servers.len();
        }
        if self.failed < self.servers.iter().map(|server| server.addrs().len()).sum() {
            return None;
        }
        let pause = (PAUSE * (1 << self.rounds.min(10))).min(PAUSE_MAX);
        self.rounds += 1;
        self.failed = 0;
        // The best one first.
        (self.place, self.addr) = (0, 0);
        self.state = State::Waiting(now + pause.mul_f64(rng.random_range(0.5..1.0)));
        Some(Change::Exhausted)
    }

    /// Moves bytes both ways between the stream and the conversation.
    pub(super) fn talk(&self, cx: &mut Context<'_>, now: Instant, client: &mut Client) -> Option<Change> {
        let mut buffer = [0; READ];
        let State::Up(handle) = &self.state else { return None };
        loop {
            match handle.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(read @ 1..)) => client.receive(now, &buffer[..read]),
                Poll::Ready(Ok(0) | Err(_)) => return Some(Change::Down),
                Poll::Pending => break,
            }
        }
        while !client.outgoing().is_empty() {
            match handle.poll_write(cx, client.outgoing()) {
                Poll::Ready(Ok(count)) => client.sent(count),
                Poll::Ready(Err(_)) => return Some(Change::Down),
                Poll::Pending => break,
            }
        }
        None
    }

    /// Ends the stream, and makes another one after a while: to the same server, or to the next one.
    pub(super) fn renew(&mut self, at: Instant, next: bool) {
        // What was said last is delivered by itself.
        self.state = State::Waiting(at);
        if next && self.servers.len() > 1 {
            self.place = (self.place + 1) % self.servers.len();
            self.addr = 0;
        }
    }

    /// Ends the stream, and makes one to the server in this place.
    pub(super) fn move_to(&mut self, now: Instant, place: usize) {
        self.renew(now, false);
        (self.place, self.addr) = (place, 0);
    }

    /// Ends the stream for good.
    pub(super) fn end(&mut self) {
        self.state = State::Waiting(Instant::ZERO);
        self.servers.clear();
    }
}
