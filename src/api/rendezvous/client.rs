//! Meeting peers by way of a rendezvous server.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::lookup_host;
use tokio::time::{Sleep, sleep_until};

use super::keep::Keep;
use super::{PeerHandle, RelayUse, RendezvousError, RoomId, ServerAddr};
use crate::api::{Punched, UtpSocket, UtpStream};
use crate::net::Clock;
use crate::proto::endpoint::Lease;
use crate::proto::punch::{NatReport, PathKind, PunchError, PunchReport, Veto};
use crate::proto::rendezvous::{Agent, AgentConfig, AgentEvent, Keeper, Meeting};
use crate::time::Instant;
use crate::wire::Service;

/// Meets peers that cannot be reached directly, by way of a rendezvous [`Server`](super::Server).
///
/// Two who want to meet need the same room and the same servers, named the same way. Each gets one end of one stream,
/// which goes directly from one to the other.
///
/// ```no_run
/// use ebbtide::UtpSocket;
/// use ebbtide::rendezvous::{Client, RoomId};
/// use tokio::io::AsyncWriteExt;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = UtpSocket::bind("[::]:0".parse()?).await?;
/// let client = Client::resolve(&socket, ["rendezvous.example.org:7171"]).await?;
/// let mut met = client.meet(RoomId::from_name("otter-vivid-lantern-4711")).await?;
/// println!("{}", met.report);
/// met.stream.write_all(b"hello").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    socket: UtpSocket,
    /// The room in it is only an example.
    config: AgentConfig,
}

/// How to go about it.
impl Client {
    /// A client of these servers, on this socket: streams to peers leave from its port.
    #[must_use]
    pub fn new(socket: &UtpSocket, servers: impl IntoIterator<Item = ServerAddr>) -> Self {
        let servers: Vec<ServerAddr> = servers.into_iter().collect();
        let hosts = host_addrs(socket, &servers);
        let config = AgentConfig { hosts, ..AgentConfig::new(servers, RoomId::from_name("")) };
        Self { socket: socket.clone(), config }
    }

    /// A client of the servers with these names, such as `rendezvous.example.org:7171`. Each name stands for one
    /// server, which may have an address of IPv4 and one of IPv6.
    ///
    /// # Errors
    /// None of the names means an address: the error of the last one.
    ///
    /// # Cancel safety
    /// Safe: nothing has been done.
    pub async fn resolve(
        socket: &UtpSocket,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> io::Result<Self> {
        let (mut servers, mut failure) = (Vec::new(), None);
        for name in names {
            let name = name.as_ref();
            match lookup_host(name).await {
                Ok(found) => servers.push(ServerAddr::new(name, one_of_each_family(found))),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if servers.is_empty() => Err(error),
            _ => Ok(Self::new(socket, servers)),
        }
    }

    /// Ports that a router forwards to the socket (by UPnP, NAT-PMP, PCP, or by hand), as the world sees them.
    #[must_use]
    pub fn mapped(mut self, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.config.mapped = addrs.into_iter().collect();
        self
    }

    /// What the router is like, if that is known already; otherwise the servers are asked.
    #[must_use]
    pub fn nat(mut self, nat: NatReport) -> Self {
        self.config.nat = Some(nat);
        self
    }

    /// Whether the port of a symmetric NAT may be searched for, by up to 2,048 packets or 256 sockets (default yes).
    #[must_use]
    pub const fn birthday(mut self, birthday: bool) -> Self {
        self.config.birthday = birthday;
        self
    }

    /// How long to look for a way to a peer (default 15 s; servers may allow less).
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// What is to be done about ways through a server that forwards (default: if no other way is found).
    #[must_use]
    pub const fn relay(mut self, relay: RelayUse) -> Self {
        self.config.relay = relay;
        self
    }

    /// Within which time a room is entered again after a server has gone (default 10 s): not everybody at once.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.config.jitter = jitter;
        self
    }

    /// Which service streams to peers are for (default none).
    #[must_use]
    pub const fn service(mut self, service: Option<Service>) -> Self {
        self.config.service = service;
        self
    }

    /// Addresses to which nothing is sent, whatever servers say: those for which this is true (default none).
    #[must_use]
    pub fn block(mut self, forbids: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.config.veto = Some(Veto::new(forbids));
        self
    }
}

/// Meeting.
impl Client {
    /// Meets the other one who is, or will be, in this room. Waits for him as long as it is polled.
    ///
    /// The room is a room of two: a third one is refused. Who the other one is, nobody has checked but by the room.
    ///
    /// # Errors
    /// What went wrong, with all that is known about it: no server can be reached, the room is full, the peer has gone,
    /// or no way to it was found.
    ///
    /// # Cancel safety
    /// Dropping it gives up; the other one may still get the end of a stream that leads nowhere.
    pub fn meet(&self, room: RoomId) -> Meet {
        let config = AgentConfig { room, ..self.config.clone() };
        Meet { state: seed().map(|seed| (Meeting::new(config, seed), Wait::new(&self.socket))) }
    }

    /// Looks after the way of a stream that has come of [`meet`](Self::meet) in this room, as long as it is polled: when the
    /// peer is found no more, or only through a server, the two meet again in the room, and the stream goes on along the
    /// way that is found, with nothing lost. Both have to do this. Ready when the stream is over.
    ///
    /// A peer whose router has forgotten it is followed without this, if its packets get through
    /// ([`Config::migration`](crate::Config::migration), which this needs too); it takes three seconds or so to see that
    /// they do not, and twenty more if the port of a symmetric NAT has been searched for just before. With [`RelayUse::Only`] nothing is done, since the peer would learn our addresses. Others in the room cannot take the stream: what the two ends know is mixed into what is sent.
    ///
    /// ```no_run
    /// # use ebbtide::rendezvous::{Client, RoomId};
    /// # use tokio::io::AsyncWriteExt;
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let room = RoomId::from_name("otter-vivid-lantern-4711");
    /// let mut met = client.meet(room).await?;
    /// let keep = client.keep(room, &met);
    /// tokio::spawn(keep);
    /// met.stream.write_all(b"hello").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// If the system has no source of randomness.
    ///
    /// # Cancel safety
    /// Dropping it leaves the stream where it is.
    pub fn keep(&self, room: RoomId, met: &Punched) -> Keep {
        let relayed = met.report.path == Some(PathKind::Relayed);
        let wait = Wait::new(&self.socket);
        let config = AgentConfig { room, ..self.config.clone() };
        let seed = seed().expect("a source of randomness");
        Keep { keeper: Keeper::new(wait.now(), config, seed, met.stream.mover(), relayed), wait }
    }

    /// Enters a room for up to `members`, to see who is there and to meet any of them.
    ///
    /// # Errors
    /// No source of chance.
    pub fn join(&self, room: RoomId, members: u16) -> io::Result<Room> {
        let config = AgentConfig { room, capacity: members, welcomes_all: false, ..self.config.clone() };
        Ok(Room { agent: Agent::new(config, seed()?), wait: Wait::new(&self.socket) })
    }
}

/// What lets time pass for an agent.
pub(super) struct Wait {
    pub(super) lease: Lease,
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
}

impl Wait {
    fn new(socket: &UtpSocket) -> Self {
        let sleep = Box::pin(sleep_until(tokio::time::Instant::now()));
        Self { lease: socket.lease(), clock: Clock::start(), sleep }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whether that time has come; if not, the task is woken when it has.
    pub(super) fn is_due(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> bool {
        let Some(at) = at else { return false };
        let at = self.clock.deadline(at);
        if self.sleep.deadline() != at {
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

/// A meeting of two, made by [`Client::meet`]. Dropping it gives up.
#[must_use = "dropping it gives up"]
pub struct Meet {
    state: io::Result<(Meeting, Wait)>,
}

impl Meet {
    /// What our router is like, as far as is known by now.
    #[must_use]
    pub fn nat(&self) -> Option<&NatReport> {
        self.state.as_ref().ok().map(|(meeting, _)| meeting.agent().nat())
    }

    /// The server that is asked, or has been reached.
    #[must_use]
    pub fn server(&self) -> Option<&ServerAddr> {
        self.state.as_ref().ok().and_then(|(meeting, _)| meeting.agent().server())
    }
}

impl Future for Meet {
    type Output = Result<Punched, PunchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (meeting, wait) = match &mut self.state {
            Ok(state) => state,
            Err(error) => {
                let (why, report) = (error.to_string(), Box::default());
                return Poll::Ready(Err(PunchError::Rendezvous { why, report }));
            }
        };
        loop {
            if let Poll::Ready(met) = meeting.poll(cx, wait.now(), &wait.lease) {
                return Poll::Ready(met.map(|met| {
                    let stream = UtpStream::new(met.handle);
                    Punched { stream, report: met.report }
                }));
            }
            if !wait.is_due(cx, meeting.poll_timeout()) {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Meet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meet").field("server", &self.server()).finish_non_exhaustive()
    }
}

/// A room that we are in, made by [`Client::join`]. Nothing happens but while [`next`](Self::next) is waited for.
///
/// Dropping it leaves the room.
pub struct Room {
    agent: Agent,
    wait: Wait,
}

/// What has happened in a [`Room`].
#[derive(Debug)]
#[non_exhaustive]
pub enum RoomEvent {
    /// We are in the room, and these were there before us. Again after the server was lost.
    Joined(Vec<PeerHandle>),
    /// Somebody came.
    Came(PeerHandle),
    /// Somebody went.
    Went(PeerHandle),
    /// Somebody wants to meet us: [`Room::meet`] agrees, [`Room::decline`] does not.
    Asked(PeerHandle),
    /// There is a stream to somebody.
    Met {
        /// Who.
        peer: PeerHandle,
        /// The stream.
        stream: UtpStream,
        /// How it went.
        report: Box<PunchReport>,
    },
    /// There is no stream to somebody.
    NotMet {
        /// Who.
        peer: PeerHandle,
        /// Why.
        error: PunchError,
    },
    /// Something is wrong about a server; it is being mended.
    Trouble(RendezvousError),
}

impl Room {
    /// The next thing that happens. Everything that goes on does so while this is waited for.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> RoomEvent {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<RoomEvent> {
        loop {
            while let Poll::Ready(event) = self.agent.poll(cx, self.wait.now(), &self.wait.lease) {
                if let Some(event) = room_event(event) {
                    return Poll::Ready(event);
                }
            }
            if !self.wait.is_due(cx, self.agent.poll_timeout()) {
                return Poll::Pending;
            }
        }
    }

    /// Wants to meet somebody, or agrees to meet somebody who asked.
    pub fn meet(&mut self, peer: PeerHandle) {
        self.agent.meet(peer);
    }

    /// Does not want to meet somebody who asked.
    pub fn decline(&mut self, peer: PeerHandle) {
        self.agent.decline(self.wait.now(), peer);
    }

    /// Who else is in the room.
    #[must_use]
    pub fn peers(&self) -> &[PeerHandle] {
        self.agent.peers()
    }

    /// What our router is like, as far as is known by now.
    #[must_use]
    pub const fn nat(&self) -> &NatReport {
        self.agent.nat()
    }
}

fn room_event(event: AgentEvent) -> Option<RoomEvent> {
    Some(match event {
        AgentEvent::Arrived(_) => return None,
        AgentEvent::Joined(there) => RoomEvent::Joined(there),
        AgentEvent::Came(peer) => RoomEvent::Came(peer),
        AgentEvent::Went(peer) => RoomEvent::Went(peer),
        AgentEvent::Asked(peer) => RoomEvent::Asked(peer),
        AgentEvent::Met(met) => RoomEvent::Met {
            peer: met.peer,
            stream: UtpStream::new(met.handle),
            report: Box::new(met.report),
        },
        AgentEvent::NotMet(peer, error) => RoomEvent::NotMet { peer, error },
        AgentEvent::Trouble(error) => RoomEvent::Trouble(error),
    })
}

impl Drop for Room {
    fn drop(&mut self) {
        let now = self.wait.now();
        self.agent.leave(now);
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        let _nothing = self.agent.poll(&mut nobody, now, &self.wait.lease);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("agent", &self.agent).finish_non_exhaustive()
    }
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// The first address of each family.
fn one_of_each_family(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for addr in addrs {
        if found.iter().all(|known| known.is_ipv4() != addr.is_ipv4()) {
            found.push(addr);
        }
    }
    // Over IPv4 there are NATs to be seen through: that is the address that matters.
    found.sort_by_key(|addr| !addr.is_ipv4());
    found
}

/// The addresses from which the system would send to these servers, with the port of the socket: where it can be
/// reached from within its own network.
fn host_addrs(socket: &UtpSocket, servers: &[ServerAddr]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for bound in socket.local_addrs() {
        if !bound.ip().is_unspecified() {
            found.push(*bound);
            continue;
        }
        for server in servers.iter().flat_map(ServerAddr::addrs) {
            if bound.is_ipv4() && !server.is_ipv4() {
                continue;
            }
            if let Some(ip) = source_towards(*server) {
                found.push(SocketAddr::new(ip, bound.port()));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Sends nothing: connecting a UDP socket only looks up the route.
fn source_towards(peer: SocketAddr) -> Option<std::net::IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let probe = UdpSocket::bind(any).ok()?;
    probe.connect(peer).ok()?;
    Some(probe.local_addr().ok()?.ip())
}
