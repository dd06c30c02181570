//! Where the peer is looked for, and where it must not be.
//!
//! A server, or whoever wrote the ticket, can name any address as the peer's. So what is probed at all is decided here,
//! by rules that need nobody's word: no address where nobody can be, no port of the system's own services, nothing in a
//! private network unless it is the same one. Knows paths and who was heard on them; when probes leave is decided
//! elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::PunchPlan;
use super::report::PathKind;
use super::schedule::offset;
use crate::proto::batch::{Path, SocketId};
use crate::time::Instant;
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind};

/// Ours: addresses that only the peer's packets told; more would let a peer with the right token send us anywhere.
pub const PEER_REFLEXIVE_MAX: usize = 8;

/// Ours: targets in all: named ones, the same from a fresh socket, and peer-reflexive ones.
const TARGETS_MAX: usize = 2 * CANDIDATES_MAX + PEER_REFLEXIVE_MAX;

/// Ours: packets that open our NAT and die on the way, for each target: one may get lost.
const OPENERS: u8 = 4;

/// RFC 6335 §6: ports below are for services of the system, and nobody's to be probed.
const PORT_MIN: u16 = 1024;

/// What kind of network an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nobody can be there, or nobody but ourselves.
    Nowhere,
    /// Within one network: means another host in another network.
    Private,
    Public,
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            if ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
                Reach::Nowhere
            } else if ip.is_private() || shared || ip.is_loopback() {
                Reach::Private
            } else {
                Reach::Public
            }
        }
        IpAddr::V6(ip) => {
            if ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() {
                Reach::Nowhere
            } else if ip.is_unique_local() || ip.is_loopback() {
                Reach::Private
            } else {
                Reach::Public
            }
        }
    }
}

/// Whether addresses in private networks are the peer's, and not those of somebody else in our own.
fn shares_a_network(plan: &PunchPlan) -> bool {
    let mut reflexive = plan.named().iter().filter(|candidate| candidate.kind == CandidateKind::Reflexive);
    let public = plan.local.public_v4.map(|addr| *addr.ip());
    match public {
        // The world that has seen us is a private network itself.
        Some(ip) if reach(ip.into()) == Reach::Private => true,
        Some(ip) => reflexive.any(|candidate| candidate.addr.ip() == IpAddr::from(ip)),
        // Nobody has seen either of us from outside: all that is known is within.
        None => reflexive.next().is_none(),
    }
}

/// Where one of the peer's addresses is looked for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) path: Path,
    pub(super) kind: PathKind,
    /// How the address became known.
    pub(super) source: CandidateKind,
    /// Openers still to be sent.
    pub(super) openers: u8,
    /// Since when it is probed by the schedule; not yet without.
    pub(super) since: Option<Instant>,
    /// Probes of the schedule so far.
    pub(super) step: u32,
    /// Something with the right token came from there.
    pub(super) heard: bool,
    /// The peer answers there, so packets get there and back.
    pub(super) acked: bool,
    /// The shortest round trip.
    pub(super) rtt: Option<Duration>,
    /// A connection was tried on it.
    pub(super) called: bool,
}

impl Target {
    fn new(path: Path, kind: PathKind, source: CandidateKind) -> Self {
        Self {
            path,
            kind,
            source,
            openers: 0,
            since: None,
            step: 0,
            heard: false,
            acked: false,
            rtt: None,
            called: false,
        }
    }

    /// When it is to be probed next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + offset(self.step))
    }

    /// Whether openers come before probes: something may translate, and would take a probe that comes first for
    /// another connection.
    pub(super) fn needs_opener(&self) -> bool {
        matches!(self.kind, PathKind::Ipv4)
    }
}

/// Where the peer is looked for.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Never more than [`TARGETS_MAX`].
    list: Vec<Target>,
}

impl Targets {
    /// The candidates of the plan that may be probed. `way` tells how an address is reached from here, if it is.
    pub(super) fn new(
        now: Instant,
        plan: &PunchPlan,
        way: &mut dyn FnMut(SocketAddr) -> Option<Path>,
    ) -> Self {
        let mut this = Self::default();
        let shares_a_network = shares_a_network(plan);
        for candidate in plan.named() {
            let addr = SocketAddr::new(candidate.addr.ip().to_canonical(), candidate.addr.port());
            let vetoed = plan.veto.as_ref().is_some_and(|veto| veto.forbids(addr));
            let reach = reach(addr.ip());
            let allowed = match reach {
                Reach::Nowhere => false,
                Reach::Private => shares_a_network,
                Reach::Public => true,
            };
            if vetoed || !allowed || addr.port() < PORT_MIN {
                continue;
            }
            let Some(path) = way(addr) else { continue };
            if this.list.iter().any(|target| target.path == path) {
                continue;
            }
            let kind = match addr {
                _ if reach == Reach::Private => PathKind::Lan,
                SocketAddr::V6(_) => PathKind::Ipv6,
                SocketAddr::V4(_) => PathKind::Ipv4,
            };
            let mut target = Target::new(path, kind, candidate.kind);
            if target.needs_opener() {
                target.openers = OPENERS;
            } else {
                target.since = Some(now);
            }
            this.list.push(target);
        }
        this
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.list.iter()
    }

    pub(super) fn get_mut(&mut self, path: Path) -> Option<&mut Target> {
        self.list.iter_mut().find(|target| target.path == path)
    }

    pub(super) fn contains(&self, path: Path) -> bool {
        self.list.iter().any(|target| target.path == path)
    }

    /// The peer was heard from a place that was not named. Probed from now on, if there is room for one more.
    pub(super) fn discover(&mut self, now: Instant, path: Path, kind: PathKind) -> Option<&mut Target> {
        let discovered = self.list.iter().filter(|target| target.source == CandidateKind::PeerReflexive);
        if discovered.count() >= PEER_REFLEXIVE_MAX || self.list.len() >= TARGETS_MAX {
            return None;
        }
        let mut target = Target::new(path, kind, CandidateKind::PeerReflexive);
        target.since = Some(now);
        self.list.push(target);
        self.list.last_mut()
    }

    /// The same IPv4 targets once more, from a fresh socket if there is one; and the old ones begin again, at `since`.
    pub(super) fn again(&mut self, socket: Option<SocketId>, since: Instant) {
        let room = TARGETS_MAX.saturating_sub(self.list.len());
        let named = self.list.iter().filter(|target| target.needs_opener()).take(room);
        let from_there = |socket| {
            let fresh = |old: &Target| {
                let path = Path { socket, peer: old.path.peer };
                Target { openers: OPENERS, since: Some(since), ..Target::new(path, old.kind, old.source) }
            };
            named.map(fresh).collect()
        };
        let fresh: Vec<Target> = socket.map_or_else(Vec::new, from_there);
        for old in &mut self.list {
            (old.since, old.step) = (Some(since), 0);
        }
        self.list.extend(fresh);
    }

    /// From now on everything is probed.
    pub(super) fn begin(&mut self, now: Instant) {
        for target in &mut self.list {
            target.since.get_or_insert(now);
            target.openers = 0;
        }
    }

    /// Where a search for the peer's port begins, or where openers for it are sent.
    pub(super) fn origin(&self) -> Option<Path> {
        let rank = |source: CandidateKind| match source {
            CandidateKind::Reflexive => 0,
            CandidateKind::Mapped => 1,
            CandidateKind::Host | CandidateKind::PeerReflexive => 2,
        };
        let public = self.list.iter().filter(|target| target.needs_opener());
        public.min_by_key(|target| rank(target.source)).map(|target| target.path)
    }

    /// The best one on which the peer was heard and that was not called.
    pub(super) fn best_heard(&self) -> Option<&Target> {
        let heard = self.list.iter().filter(|target| target.heard && !target.called);
        heard.min_by_key(|target| (rank(target.kind), target.rtt.unwrap_or(Duration::MAX)))
    }

    /// Whether one that was not heard yet would be better than that.
    pub(super) fn may_get_better(&self, kind: PathKind) -> bool {
        self.list.iter().any(|target| !target.heard && rank(target.kind) < rank(kind))
    }

    /// Whether any is on the way to the peer without a translator: within one network, or IPv6.
    pub(super) fn has_plain(&self) -> bool {
        self.list.iter().any(|target| !target.needs_opener())
    }

    pub(super) fn was_any_heard(&self) -> bool {
        self.list.iter().any(|target| target.heard)
    }

    pub(super) fn was_any_acked(&self) -> bool {
        self.list.iter().any(|target| target.acked)
    }

    /// Everything that was probed, for people.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = Vec::new();
        for target in &self.list {
            let candidate = Candidate::new(target.source, target.path.peer);
            if !all.iter().any(|known| known.addr == candidate.addr) {
                all.push(candidate);
            }
        }
        all
    }
}

/// What is preferred if several work: the local network, then IPv6, then IPv4, and a relay last.
const fn rank(kind: PathKind) -> u8 {
    match kind {
        PathKind::Lan => 0,
        PathKind::Ipv6 => 1,
        PathKind::Ipv4 | PathKind::PeerReflexive | PathKind::Birthday => 2,
        PathKind::Relayed => 3,
    }
}

/// The kind of a path that was not named.
pub(super) fn kind_of_unnamed(peer: SocketAddr) -> PathKind {
    match peer.ip().to_canonical() {
        ip if reach(ip) == Reach::Private => PathKind::Lan,
        IpAddr::V6(_) => PathKind::Ipv6,
        IpAddr::V4(_) => PathKind::PeerReflexive,
    }
}

/// The same address with another port, in the form in which the socket takes it.
pub(super) fn with_port(path: Path, port: u16) -> Path {
    Path { peer: SocketAddr::new(path.peer.ip(), port), ..path }
}
