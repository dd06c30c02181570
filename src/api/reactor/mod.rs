//! uTP for loops that tick: no async, no threads, no runtime; one call per frame.
//!
//! A [`Reactor`] has one UDP port and any number of connections. [`tick`](Reactor::tick) reads what has arrived, does
//! what time has made due, and sends; [`next_event`](Reactor::next_event) tells what has come of it. Nothing here ever
//! waits, and nothing happens between ticks. It is the same protocol as that of [`UtpSocket`](crate::UtpSocket), and
//! each talks to the other.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
//! use ebbtide::reactor::{Event, Reactor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const CHAT: u8 = 0;
//! let channels = MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered)]);
//! let mut server = Reactor::bind("127.0.0.1:0".parse()?)?;
//! server.listen(&channels)?;
//! let mut client = Reactor::bind("127.0.0.1:0".parse()?)?;
//! let peer = client.connect(server.local_addr(), &channels)?;
//! client.send(peer, CHAT, "flood")?; // leaves with the handshake's end
//!
//! let mut answer = None;
//! # let begun = Instant::now();
//! while answer.is_none() {
//!     server.tick()?;
//!     while let Some(event) = server.next_event() {
//!         if let Event::Message { peer, channel, bytes } = event {
//!             assert_eq!(bytes, "flood");
//!             server.send(peer, channel, "ebb")?; // leaves with the next tick
//!         }
//!     }
//!     client.tick()?;
//!     while let Some(event) = client.next_event() {
//!         if let Event::Message { bytes, .. } = event {
//!             answer = Some(bytes);
//!         }
//!     }
//!     std::thread::sleep(Duration::from_millis(1)); // the rest of the frame
//! #   assert!(begun.elapsed() < Duration::from_secs(20));
//! }
//! assert_eq!(answer.as_deref(), Some(&b"ebb"[..]));
//! # Ok(()) }
//! ```
//!
//! # How often to tick
//!
//! As often as there are frames. A connection does not die of a slow frame: keepalives and
//! [limits on silence](crate::Config::idle_timeout) are counted in seconds. But acknowledgements, and so the speed of
//! both sides, wait for the next tick; a loop without frames ticks when the [socket](Reactor::socket) is readable, or
//! after [`next_timeout`](Reactor::next_timeout).
//!
//! # What it costs
//!
//! A tick looks at connections to which something has happened, and at no others. What has arrived stays with its
//! connection, under the limits of [`Config`] and [`MessageConfig`], until
//! [`next_event`](Reactor::next_event) tells it: a program that does not ask makes its peers wait, not its memory grow.
//!
//! # A transport of one's own
//!
//! Whatever implements [`Datagrams`] can be below: [`Reactor::over`]. With [`tick_at`](Reactor::tick_at) the program says
//! what time it is, so tests need no waiting.

mod bell;
mod error;
mod event;
mod messages;
mod peer;
mod punch;
mod stream;
mod survey;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use self::error::{NoSuchPeer, SendError};
pub use self::event::{Event, PeerId, PunchId, SurveyId};

use self::bell::{Bell, Owner, Rung};
use self::peer::{Carries, News, Peer};
use self::punch::Attempt;
use self::survey::Inquiry;
use crate::config::Config;
use crate::net::{Datagrams, Pump, SystemSocket};
use crate::proto::endpoint::{Handle, Incoming, Lease};
use crate::proto::message::MessageConfig;
use crate::stats::{SocketStats, StreamStats};
use crate::storage::Slab;
use crate::time::Instant;

/// Turns of a tick, at most. Each takes up to 256 datagrams from a socket, and sends up to 64 batches of up to 64
/// datagrams: some ten milliseconds of work, and then the rest of the frame has its turn.
const TURNS_MAX: usize = 16;

/// How long to sleep while the socket is full, if nobody waits for it.
const FULL_SOCKET: Duration = Duration::from_millis(1);

/// A uTP port for a loop that ticks. See the [module](self).
///
/// Dropping it is the end of all its connections, and their peers are not told: [`close`](Self::close) first, and tick
/// until it [is closed](Self::is_closed).
pub struct Reactor<S: Datagrams = SystemSocket> {
    pump: Pump<S>,
    lease: Lease,
    local_addr: SocketAddr,
    /// What [`tick`](Self::tick) counts from.
    epoch: std::time::Instant,
    /// When it ticked last.
    now: Instant,
    /// The last tick was ended by its bound.
    more: bool,
    peers: Slab<Peer>,
    attempts: Slab<Attempt>,
    inquiries: Slab<Inquiry>,
    /// Whom something has happened to.
    rung: Arc<Rung>,
    /// Those of them who are being asked. At most one place for each.
    asked: VecDeque<Owner>,
    doors: Doors,
    takes_foreign: bool,
}

/// Which connections are let in.
#[derive(Debug, Default)]
struct Doors {
    messages: Option<MessageConfig>,
    streams: bool,
}

impl Doors {
    const fn are_open(&self) -> bool {
        self.messages.is_some() || self.streams
    }
}

/// Beginning and end.
impl Reactor {
    /// A reactor on a UDP port, with default settings. `[::]` takes IPv4 as well, port 0 any free port.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not ours.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::bind_with(addr, Config::default())
    }

    /// Like [`bind`](Self::bind), with settings of your own.
    ///
    /// # Errors
    /// As for `bind`; [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`ConfigError`](crate::ConfigError) as
    /// source for a setting out of range.
    pub fn bind_with(addr: SocketAddr, config: Config) -> io::Result<Self> {
        config.validate()?;
        let socket = SystemSocket::bind(addr, config.socket_buffer)?;
        Self::over(socket, config)
    }
}

/// Beginning and end, over any transport.
impl<S: Datagrams> Reactor<S> {
    /// A reactor over a transport of your own: a [`MemorySocket`](crate::MemorySocket), a tunnel, a [`SystemSocket`] with
    /// options of your own.
    ///
    /// # Errors
    /// A setting out of range; a transport that cannot tell its address.
    pub fn over(transport: S, config: Config) -> io::Result<Self> {
        config.validate()?;
        let local_addr = transport.local_addr()?;
        let pump = Pump::new(vec![transport], Arc::new(config))?;
        Ok(Self {
            lease: pump.shared().lease(),
            pump,
            local_addr,
            epoch: std::time::Instant::now(),
            now: Instant::ZERO,
            more: false,
            peers: Slab::new(),
            attempts: Slab::new(),
            inquiries: Slab::new(),
            rung: Arc::default(),
            asked: VecDeque::new(),
            doors: Doors::default(),
            takes_foreign: false,
        })
    }

    /// Ends everything gracefully: no new connections; what was sent is delivered, streams get the end of input. What is
    /// left after [`Config::linger`] is aborted. Go on ticking until it [is closed](Self::is_closed).
    pub fn close(&mut self) {
        self.lease.close();
    }

    /// Whether [`close`](Self::close) has come to its end, and the reactor can be dropped without a loss.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pump.is_drained()
    }
}

/// Time.
impl<S: Datagrams> Reactor<S> {
    /// Reads what has arrived, does what is due, and sends: to be called once per frame. Bounded to some ten
    /// milliseconds of work; what is left is done at the next tick.
    ///
    /// # Errors
    /// The transport is gone. Every connection has failed then, which the events tell.
    pub fn tick(&mut self) -> io::Result<()> {
        let (epoch, last) = (self.epoch, self.now);
        self.take_turns(&|| last.max(Instant::ZERO + epoch.elapsed()))
    }

    /// Like [`tick`](Self::tick), at a time that you say: for tests and simulations. Time never goes back, and one
    /// reactor is ticked in one of the two ways.
    ///
    /// # Errors
    /// As for `tick`.
    pub fn tick_at(&mut self, now: Instant) -> io::Result<()> {
        let now = self.now.max(now);
        self.take_turns(&|| now)
    }

    fn take_turns(&mut self, clock: &dyn Fn() -> Instant) -> io::Result<()> {
        for _ in 0..TURNS_MAX {
            let outcome = self.pump.turn(clock);
            self.now = clock();
            if outcome.is_err() {
                self.pump.shut_down();
            }
            self.more = outcome?;
            self.let_in();
            if !self.more && !self.lease.has_mail() {
                break;
            }
        }
        self.inquiries.iter().for_each(|(_, inquiry)| inquiry.ring_if_due(self.now));
        Ok(())
    }

    /// How long after the last tick the next one is due, if nothing arrives meanwhile: zero if there is something to do
    /// or to tell already; `None` if there is nothing to come.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.more || self.lease.has_mail() || !self.asked.is_empty() || !self.rung.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.pump.next_timeout().map(|at| at.since(self.now));
        let due = [due, self.next_survey()].into_iter().flatten().min();
        match self.pump.full_socket() {
            Some(_) => Some(due.map_or(FULL_SOCKET, |due| due.min(FULL_SOCKET))),
            None => due,
        }
    }

    /// The transport, to be waited for: for a system's socket, [`SystemSocket::socket`] is what `poll`, `epoll` and `mio`
    /// take. Do not read from it. `None` once it is gone.
    #[must_use]
    pub fn socket(&self) -> Option<&S> {
        self.pump.sockets().next().map(|(_, socket)| socket)
    }
}

/// Who is let in.
impl<S: Datagrams> Reactor<S> {
    /// Lets in connections that carry messages on these channels, from now on; both ends need the same. Others are
    /// refused, and without this, all. What is let in turns up as [`Event::Connected`]; nobody is let in while there are
    /// [`Config::max_connections`] of which the end has not been told.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn listen(&mut self, channels: &MessageConfig) -> io::Result<()> {
        channels.validate().map_err(invalid)?;
        self.doors.messages = Some(channels.clone());
        self.lease.set_listening(true);
        Ok(())
    }

    /// Lets in streams, from now on.
    pub fn listen_streams(&mut self) {
        self.doors.streams = true;
        self.lease.set_listening(true);
    }

    /// Lets in nobody any more. Connections that exist go on.
    pub fn stop_listening(&mut self) {
        self.doors = Doors::default();
        self.lease.set_listening(false);
    }

    /// Answers those who wait to be let in.
    fn let_in(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // Those that are over are still here until it is told, so a program that does not ask is soon left alone.
        let places = self.lease.config().max_connections;
        while self.doors.are_open()
            && self.peers.len() < places
            && let Poll::Ready(Some(incoming)) = self.lease.poll_incoming(&mut cx)
        {
            if let Some((handle, carries)) = self.doors.admit(incoming) {
                self.enter(|bell| Peer::called(handle, bell, carries));
            }
        }
    }

    fn enter(&mut self, make: impl FnOnce(Bell) -> Peer) -> PeerId {
        let rung = &self.rung;
        let key = self.peers.insert_with(|key| {
            let peer = make(Bell::new(Owner::Peer(key), rung));
            // Asked for the first time, it registers what it waits for.
            peer.bell.ring();
            peer
        });
        PeerId(key)
    }
}

impl Doors {
    /// Accepts it if it wants what there is. Otherwise it is refused.
    fn admit(&self, incoming: Incoming) -> Option<(Handle, Carries)> {
        if incoming.wants_messages().is_none() {
            return self.streams.then(|| (incoming.accept(), Carries::stream()));
        }
        let channels = self.messages.as_ref()?;
        incoming.accept_messages(channels).ok().map(|handle| (handle, Carries::messages()))
    }
}

/// What has happened.
impl<S: Datagrams> Reactor<S> {
    /// The next thing that has happened, until there is nothing more to tell: usually asked in a loop after each tick. What
    /// is not asked for is not lost, and is told later.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let Some(&owner) = self.asked.front() else {
                self.rung.take(&mut self.asked);
                if self.asked.is_empty() {
                    return self.next_foreign();
                }
                continue;
            };
            let event = match owner {
                Owner::Peer(key) => self.news_of_peer(PeerId(key)),
                Owner::Punch(key) => self.news_of_attempt(PunchId(key)),
                Owner::Survey(key) => self.news_of_survey(SurveyId(key)),
            };
            if event.is_some() {
                return event;
            }
            self.asked.pop_front();
        }
    }

    /// All that there is to tell now, as an iterator over [`next_event`](Self::next_event): for loops whose body does not
    /// need the reactor.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + use<'_, S> {
        std::iter::from_fn(|| self.next_event())
    }

    fn news_of_peer(&mut self, id: PeerId) -> Option<Event> {
        let peer = self.peers.get_mut(id.0)?;
        peer.bell.heard();
        match peer.poll_news(id) {
            Poll::Ready(News::Event(event)) => Some(event),
            Poll::Ready(News::Over(reason)) => {
                self.peers.remove(id.0);
                Some(Event::Disconnected { peer: id, reason })
            }
            Poll::Ready(News::Vanished) => {
                self.peers.remove(id.0);
                None
            }
            Poll::Pending => None,
        }
    }
}

/// Connections, whatever they carry.
impl<S: Datagrams> Reactor<S> {
    /// The connections of which [`Event::Connected`] has told, and no [`Event::Disconnected`] since.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + use<'_, S> {
        self.peers.iter().filter(|(_, peer)| peer.is_open()).map(|(key, _)| PeerId(key))
    }

    /// Ends a connection: what was sent is still delivered in the background, for at most [`Config::linger`], and then
    /// the peer sees its end. Nothing more is told about it, and `peer` is stale from now on.
    ///
    /// # Errors
    /// It is gone already.
    pub fn disconnect(&mut self, peer: PeerId) -> Result<(), NoSuchPeer> {
        self.peers.remove(peer.0).map(drop).ok_or(NoSuchPeer(peer))
    }

    /// Ends a connection at once: the peer is told, and what it has not acknowledged may be lost.
    ///
    /// # Errors
    /// It is gone already.
    pub fn abort(&mut self, peer: PeerId) -> Result<(), NoSuchPeer> {
        let gone = self.peers.remove(peer.0).ok_or(NoSuchPeer(peer))?;
        gone.handle.abort();
        Ok(())
    }

    /// The peer's address; `None` for a connection that is gone.
    #[must_use]
    pub fn peer_addr(&self, peer: PeerId) -> Option<SocketAddr> {
        self.peers.get(peer.0).map(|peer| peer.handle.peer_addr())
    }

    /// Numbers about a connection: round trips (from sending, not from queueing), windows, losses; `None` if it is gone.
    #[must_use]
    pub fn peer_stats(&self, peer: PeerId) -> Option<StreamStats> {
        self.peers.get(peer.0).map(|peer| peer.handle.stats())
    }
}

/// The port as a whole.
impl<S: Datagrams> Reactor<S> {
    /// The address that the transport is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What the reactor has seen and done.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let mut stats = self.lease.stats();
        self.pump.counters().fill(&mut stats);
        stats
    }

    /// Whether datagrams that are not uTP are told ([`Event::Foreign`]), or dropped and counted (as at first). At most
    /// [`Config::foreign_queue`] of them wait to be told.
    pub fn take_foreign(&mut self, take: bool) {
        self.takes_foreign = take;
        self.lease.set_foreign(take);
    }

    /// Sends a datagram that is not uTP, with the next tick. It may get lost, as datagrams do.
    ///
    /// # Errors
    /// See [`ForeignError`](crate::proto::endpoint::ForeignError).
    pub fn send_foreign(
        &mut self,
        to: SocketAddr,
        bytes: impl Into<bytes::Bytes>,
    ) -> Result<(), crate::proto::endpoint::ForeignError> {
        self.lease.send_foreign(to, bytes.into())
    }

    fn next_foreign(&self) -> Option<Event> {
        if !self.takes_foreign {
            return None;
        }
        match self.lease.poll_foreign(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(foreign)) => {
                Some(Event::Foreign { from: foreign.peer_addr(), bytes: foreign.bytes })
            }
            _ => None,
        }
    }
}

impl<S: Datagrams> fmt::Debug for Reactor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("local_addr", &self.local_addr)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

fn invalid(error: crate::proto::message::MessageConfigError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
