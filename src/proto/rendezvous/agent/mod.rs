//! What joins a client's conversation with a server to streams and to ways to peers: the one glue for all faces.
//!
//! An agent is about one room. It finds a server and keeps a stream to it, finds out what its router is like, is in the
//! room, and looks for a way to each peer that it is to meet. It is polled like a future, with the time as an argument,
//! so that a runtime and a simulator run the same; what happened comes out as [`AgentEvent`]s.
//!
//! What goes wrong about servers mends itself: the next one is asked, and after a restart the room is entered again, at
//! a time that is drawn, so that not everybody comes at once.

mod attempt;
mod event;
mod keeper;
mod link;
mod meeting;
mod servers;
mod survey;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use self::event::{AgentEvent, Met, RendezvousError};
pub use self::keeper::Keeper;
pub use self::meeting::Meeting;
pub use self::servers::ServerAddr;

use self::attempt::Attempt;
use self::link::{Change, Link};
use self::survey::Outlook;
use super::{Client, ClientEvent};
use crate::proto::endpoint::{Mover, Shared};
use crate::proto::punch::{DEADLINE, NatReport, PunchError, PunchReport, Veto};
use crate::time::Instant;
use crate::wire::rendezvous::{ErrorCode, Join, JoinFlags, PeerHandle, Refusal, RoomId, WantedRole};
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind, Service, Token};

/// Ours: when a server that goes has been heard of, those who were on it look for another one within this time.
const SCATTER: Duration = Duration::from_secs(1);

/// Ours: how long the room and requests wait for the second address of ours to be known to the server.
const SETTLE: Duration = Duration::from_millis(500);

/// What an agent is to do.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The servers; those who want to meet name the same ones.
    pub servers: Vec<ServerAddr>,
    /// The room.
    pub room: RoomId,
    /// How many the room is for, if we are the first (default 2).
    pub capacity: u16,
    /// Which part we would like to have (default any).
    pub role: WantedRole,
    /// Whoever is in the room may meet us, without asking (default yes).
    pub welcomes_all: bool,
    /// The addresses that our sockets have. They are told to peers in the same network only.
    pub hosts: Vec<SocketAddr>,
    /// Ports that a router forwards to us.
    pub mapped: Vec<SocketAddr>,
    /// What our router is like, if that is known; otherwise the servers are asked.
    pub nat: Option<NatReport>,
    /// The port of a symmetric NAT may be searched for (default yes).
    pub birthday: bool,
    /// How long to look for a way to a peer, at most (default 15 s; the server may allow less).
    pub deadline: Duration,
    /// Which service the stream to the peer is for.
    pub service: Option<Service>,
    /// Who must not be sent anything, whatever servers say.
    pub veto: Option<Veto>,
    /// What is to be done about ways through a server.
    pub relay: RelayUse,
    /// Within which time the room is entered again after a server has gone (default 10 s): not everybody at once.
    pub jitter: Duration,
}

impl AgentConfig {
    /// A room of two on these servers; the rest by default.
    #[must_use]
    pub fn new(servers: Vec<ServerAddr>, room: RoomId) -> Self {
        Self {
            servers,
            room,
            capacity: 2,
            role: WantedRole::Any,
            welcomes_all: true,
            hosts: Vec::new(),
            mapped: Vec::new(),
            nat: None,
            birthday: true,
            deadline: DEADLINE,
            service: None,
            veto: None,
            relay: RelayUse::IfNeeded,
            jitter: Duration::from_secs(10),
        }
    }
}

/// What is to be done about ways through a server that forwards. Few do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayUse {
    /// None.
    Never,
    /// If no other way is found, and the server offers it.
    #[default]
    IfNeeded,
    /// No other: the peer does not learn our addresses.
    Only,
}

/// The glue.
pub struct Agent {
    config: AgentConfig,
    rng: StdRng,
    token: Token,
    client: Client,
    link: Link,
    outlook: Outlook,
    attempts: Vec<Attempt>,
    /// What is to go the way that is found, if there is a stream already.
    stream: Option<Mover>,
    /// Whom we want to meet, once the server knows all about us.
    wishes: VecDeque<PeerHandle>,
    /// Until when wishes wait, and the room.
    settled_at: Instant,
    /// The room waits.
    held_back: bool,
    /// When the room is to be entered again.
    rejoin_at: Option<Instant>,
    events: VecDeque<AgentEvent>,
    over: bool,
}

impl Agent {
    /// An agent that has done nothing yet. All that looks like chance follows from the seed, which nobody else may know.
    #[must_use]
    pub fn new(config: AgentConfig, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let servers = servers::in_order(config.servers.clone(), &config.room);
        let mut events = VecDeque::new();
        if servers.is_empty() {
            events.push_back(AgentEvent::Trouble(RendezvousError::NoServers));
        }
        Self {
            token: Token::new(rng.random()),
            rng,
            client: Client::new(),
            link: Link::new(servers),
            outlook: Outlook::new(config.nat.clone()),
            attempts: Vec::new(),
            stream: None,
            wishes: VecDeque::new(),
            settled_at: Instant::ZERO,
            held_back: false,
            rejoin_at: None,
            events,
            config,
            over: false,
        }
    }

    /// The same for a stream that there is already: those who meet lead it along the way that is found. Not through a
    /// server.
    #[must_use]
    pub fn again(config: AgentConfig, seed: [u8; 32], stream: Mover) -> Self {
        let mut this = Self::new(AgentConfig { relay: RelayUse::Never, ..config }, seed);
        this.stream = Some(stream);
        this
    }

    /// What it is to do.
    #[must_use]
    pub const fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// The server that is asked, or has been reached.
    #[must_use]
    pub fn server(&self) -> Option<&ServerAddr> {
        self.link.servers().get(self.link.place())
    }

    /// Who is in the room besides us.
    #[must_use]
    pub fn peers(&self) -> &[PeerHandle] {
        self.client.peers()
    }

    /// What our router is like, as far as is known.
    #[must_use]
    pub const fn nat(&self) -> &NatReport {
        self.outlook.nat()
    }

    /// The round trip to the server, once known.
    #[must_use]
    pub const fn server_rtt(&self) -> Option<Duration> {
        self.client.rtt()
    }

    /// Wants to meet somebody, or agrees to meet somebody who asked. What comes of it is [`AgentEvent::Met`] or
    /// [`AgentEvent::NotMet`]. [`poll`](Self::poll) again.
    pub fn meet(&mut self, peer: PeerHandle) {
        if !self.wishes.contains(&peer) {
            self.wishes.push_back(peer);
        }
    }

    /// Does not want to meet somebody who asked. [`poll`](Self::poll) again.
    pub fn decline(&mut self, now: Instant, peer: PeerHandle) {
        self.client.decline(now, peer);
    }

    /// Out of the room, and away from the server; attempts to meet somebody are given up. [`poll`](Self::poll) once more,
    /// so that it is said.
    pub fn leave(&mut self, now: Instant) {
        self.over = true;
        self.wishes.clear();
        for attempt in std::mem::take(&mut self.attempts) {
            let (result, _) = attempt.given_up(now);
            self.client.report(now, result);
        }
        self.client.leave(now);
    }

    /// Goes as far as it gets; ready with something that has happened. To be called until it is pending, and again when
    /// the waker was called or [`poll_timeout`](Self::poll_timeout) has come.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) -> Poll<AgentEvent> {
        if self.over {
            if let Some(Change::Down) | None = self.link.talk(cx, now, &mut self.client) {
                self.link.end();
            }
            return self.next_event();
        }
        if let Some(change) = self.link.poll(cx, now, shared, &mut self.rng) {
            self.changed(now, shared, change);
        }
        self.look_out(cx, now, shared);
        self.talk(cx, now, shared);
        // The welcome has told what to say on the second stream.
        self.outlook.poll_annex(cx, now);
        self.search(cx, now, shared);
        if self.held_back && self.is_settled(now) {
            self.enter(now);
        }
        self.wish(now);
        // What was decided meanwhile is said at once.
        self.talk(cx, now, shared);
        self.next_event()
    }

    fn next_event(&mut self) -> Poll<AgentEvent> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// When to call [`poll`](Self::poll) at the latest. Perhaps for nothing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let settled = Some(self.settled_at).filter(|_| self.held_back || !self.wishes.is_empty());
        let outlook = self.outlook.poll_timeout();
        let times = [self.link.poll_timeout(), self.client.poll_timeout(), outlook, self.rejoin_at, settled];
        times.into_iter().flatten().min()
    }

    fn changed(&mut self, now: Instant, shared: &Arc<Shared>, change: Change) {
        match change {
            Change::Up { place, again } => {
                self.client.connected(now, again);
                self.outlook.linked(now, shared, &self.link);
                self.settled_at = now + SETTLE;
                self.enter(now);
                self.events.push_back(AgentEvent::Arrived(place));
            }
            Change::Down => {
                self.client.disconnected();
                self.outlook.detach();
                self.held_back = false;
                self.trouble(RendezvousError::Broken);
                self.again_later(now, self.config.jitter, false);
            }
            Change::Exhausted => self.trouble(RendezvousError::Unreachable),
        }
    }

    fn trouble(&mut self, error: RendezvousError) {
        self.events.push_back(AgentEvent::Trouble(error));
    }

    /// Another stream, within that time.
    fn again_later(&mut self, now: Instant, within: Duration, next: bool) {
        let after = within.mul_f64(self.rng.random_range(0.0..1.0));
        self.link.renew(now + after, next);
    }

    /// What is to be known about our router, and the second address.
    fn look_out(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) {
        let before = self.outlook.nat().class();
        let changed = self.outlook.poll(cx, now, shared, &self.link, &self.config.hosts);
        if changed && (self.client.yourself().is_none() || self.outlook.nat().class() != before) {
            self.enter(now);
        }
        if let Some(place) = self.outlook.better(cx, now, shared, &self.link, &mut self.rng) {
            self.client.disconnected();
            self.outlook.detach();
            self.link.move_to(now, place);
        }
    }

    /// Whether the server knows all that it will know about where we are. Whoever is in the room may be asked for at
    /// once, and is introduced as what is known then.
    fn is_settled(&self, now: Instant) -> bool {
        self.outlook.is_settled() || self.settled_at <= now
    }

    /// Into the room, as soon as enough is known, or with what has changed.
    fn enter(&mut self, now: Instant) {
        self.held_back = !self.is_settled(now);
        if !self.outlook.is_ready(now) || self.over || self.held_back {
            return;
        }
        let hosts = self.config.hosts.iter().map(|addr| Candidate::new(CandidateKind::Host, *addr));
        let mapped = self.config.mapped.iter().map(|addr| Candidate::new(CandidateKind::Mapped, *addr));
        let welcome = if self.config.welcomes_all { JoinFlags::WELCOMES_ALL } else { JoinFlags::NONE };
        let relay = match self.config.relay {
            RelayUse::Never => JoinFlags::NO_RELAY,
            RelayUse::IfNeeded => JoinFlags::NONE,
            RelayUse::Only => JoinFlags::RELAY_ONLY,
        };
        let join = Join {
            room: self.config.room,
            token: self.token,
            class: self.outlook.nat().class(),
            candidates: mapped.chain(hosts).take(CANDIDATES_MAX).collect(),
            role: self.config.role,
            capacity: self.config.capacity,
            flags: welcome | relay,
        };
        self.rejoin_at = None;
        self.client.join(now, join);
    }

    fn talk(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) {
        self.client.handle_timeout(now);
        if self.rejoin_at.is_some_and(|at| at <= now) {
            self.enter(now);
        }
        if let Some(change) = self.link.talk(cx, now, &mut self.client) {
            self.changed(now, shared, change);
        }
        while let Some(event) = self.client.poll_event() {
            self.happened(cx, now, shared, event);
        }
        // Answers to what was heard.
        if let Some(change) = self.link.talk(cx, now, &mut self.client) {
            self.changed(now, shared, change);
        }
    }

    fn happened(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>, event: ClientEvent) {
        match event {
            ClientEvent::Welcome(welcome) => {
                self.settled_at = now + SETTLE;
                self.outlook.welcomed(now, &self.link, &welcome);
            }
            ClientEvent::Joined(_) => {
                let there = self.client.peers().to_vec();
                self.events.push_back(AgentEvent::Joined(there));
            }
            ClientEvent::Came(peer) => self.events.push_back(AgentEvent::Came(peer)),
            ClientEvent::Went(peer) => self.went(peer),
            ClientEvent::Asked(peer) => self.events.push_back(AgentEvent::Asked(peer)),
            ClientEvent::Connect(connect) => self.begin(cx, now, shared, &connect),
            ClientEvent::Go(round) => {
                let attempts = self.attempts.iter().filter(|attempt| attempt.session() == round.session);
                attempts.for_each(Attempt::go);
            }
            ClientEvent::Refused(refusal) => self.refused(now, &refusal),
            ClientEvent::Expelled => {
                self.trouble(RendezvousError::Expelled);
                self.rejoin_at = Some(now + self.config.jitter.mul_f64(self.rng.random_range(0.0..1.0)));
            }
            ClientEvent::Leaving => {
                self.trouble(RendezvousError::Leaving);
                self.client.disconnected();
                self.outlook.detach();
                self.held_back = false;
                let alone = self.link.servers().len() < 2;
                let within = if alone { self.config.jitter } else { SCATTER.min(self.config.jitter) };
                self.again_later(now, within, true);
            }
            ClientEvent::Lost(loss) => {
                self.trouble(RendezvousError::Lost(loss));
                self.outlook.detach();
                self.again_later(now, self.config.jitter, true);
            }
        }
    }

    fn went(&mut self, peer: PeerHandle) {
        let waited = self.wishes.len();
        self.wishes.retain(|wish| *wish != peer);
        if self.wishes.len() < waited {
            let report = Box::new(self.report());
            self.events.push_back(AgentEvent::NotMet(peer, PunchError::PeerNotFound(report)));
        }
        self.events.push_back(AgentEvent::Went(peer));
    }

    /// What is known when no way was looked for.
    fn report(&self) -> PunchReport {
        PunchReport { local: self.nat().clone(), ..PunchReport::default() }
    }

    fn refused(&mut self, now: Instant, refusal: &Refusal) {
        let Refusal { code, retry_after, .. } = *refusal;
        match (refusal.peer, refusal.session) {
            // There is a meeting with that peer already: the other one was faster.
            (_, Some(_)) => {}
            (Some(peer), None) => {
                let report = Box::new(self.report());
                let error = match code {
                    ErrorCode::NoSuchPeer | ErrorCode::NotConnected => PunchError::PeerNotFound(report),
                    ErrorCode::Refused => PunchError::PeerRefused(report),
                    _ => {
                        let why = RendezvousError::Refused { code, retry_after }.to_string();
                        PunchError::Rendezvous { why, report }
                    }
                };
                self.events.push_back(AgentEvent::NotMet(peer, error));
            }
            (None, None) => {
                if refusal.room.is_some() && self.client.yourself().is_none() {
                    // Another place may become free.
                    let after = retry_after.unwrap_or(self.config.jitter).max(Duration::from_secs(1));
                    self.rejoin_at = Some(now + after);
                }
                self.trouble(RendezvousError::Refused { code, retry_after });
            }
        }
    }

    /// Says whom we want to meet, when the server knows all that it will know about us.
    fn wish(&mut self, now: Instant) {
        if self.client.yourself().is_none() || !self.is_settled(now) {
            return;
        }
        while let Some(peer) = self.wishes.pop_front() {
            self.client.meet(now, peer);
        }
    }
}

/// Looking for ways.
impl Agent {
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
        connect: &crate::wire::rendezvous::Connect,
    ) {
        self.wishes.retain(|wish| *wish != connect.peer);
        let rtt = self.client.rtt().unwrap_or(SETTLE);
        let plan = attempt::plan(&self.config, self.token, self.nat().clone(), rtt, connect);
        let relay = self.relay_addr(connect);
        self.attempts.push(match &self.stream {
            Some(stream) => Attempt::again(now, shared, connect, plan, stream),
            None => Attempt::begin(now, shared, connect, plan, relay),
        });
        self.search(cx, now, shared);
    }

    /// Where the server forwards, if it does and that is wanted.
    fn relay_addr(&self, connect: &crate::wire::rendezvous::Connect) -> Option<SocketAddr> {
        let relay = connect.relay.filter(|_| self.config.relay != RelayUse::Never)?;
        let server = self.link.addr()?;
        let ip = if relay.addr.ip().is_unspecified() { server.ip() } else { relay.addr.ip() };
        Some(SocketAddr::new(ip, relay.addr.port()))
    }

    fn search(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) {
        let mut place = 0;
        while let Some(attempt) = self.attempts.get_mut(place) {
            if attempt.became_ready(cx) {
                self.client.ready(now, attempt.session(), 0);
            }
            match attempt.poll(cx, now, shared) {
                Poll::Pending => place += 1,
                Poll::Ready((result, event)) => {
                    self.attempts.swap_remove(place);
                    self.client.report(now, result);
                    self.events.push_back(event);
                }
            }
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("client", &self.client)
            .field("link", &self.link)
            .field("attempts", &self.attempts.len())
            .finish_non_exhaustive()
    }
}
