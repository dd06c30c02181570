//! Two punches, a NAT before each, and a wire between them: as small as it can be and still fail where real ones do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use rand::{RngExt, SeedableRng};

use super::*;
use crate::proto::batch::Batch;
use crate::wire::{Candidate, CandidateKind, Mapping, NatClass, Packet, Session, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One port for all, whoever sends.
    FullCone,
    /// One port for all, from whom we have sent to.
    PortRestricted,
    /// Keeps the port unless a stranger's packet has taken it, and lets in whom we have sent to.
    LinuxOpen,
    /// Another port for each.
    Symmetric,
    /// Nothing passes.
    Blocked,
}

pub(super) const EASY: [Kind; 3] = [Kind::FullCone, Kind::PortRestricted, Kind::LinuxOpen];

pub(super) struct Nat {
    kind: Kind,
    ip: Ipv4Addr,
    /// From socket (and peer) to port.
    ports: BTreeMap<(u16, Option<SocketAddr>), u16>,
    /// From port to socket.
    sockets: BTreeMap<u16, u16>,
    /// Whom we have sent to, from which port.
    open: BTreeSet<(u16, SocketAddr)>,
    /// What strangers have taken.
    taken: BTreeSet<(u16, SocketAddr)>,
    rng: StdRng,
}

impl Nat {
    fn out(&mut self, socket: u16, to: SocketAddr) -> SocketAddr {
        let hard = self.kind == Kind::Symmetric || self.taken.contains(&(40_000 + socket, to));
        let key = (socket, hard.then_some(to));
        let drawn = if hard { self.rng.random_range(1024..=u16::MAX) } else { 40_000 + socket };
        let port = *self.ports.entry(key).or_insert(drawn);
        self.sockets.insert(port, socket);
        self.open.insert((port, to));
        SocketAddr::new(self.ip.into(), port)
    }

    fn enter(&mut self, port: u16, from: SocketAddr) -> Option<u16> {
        let socket = self.sockets.get(&port).copied();
        let open = self.open.contains(&(port, from));
        match self.kind {
            Kind::Blocked => None,
            Kind::FullCone => socket,
            _ if open => socket,
            Kind::LinuxOpen => {
                self.taken.insert((port, from));
                None
            }
            _ => None,
        }
    }
}

pub(super) struct Side {
    pub(super) punch: Punch,
    pub(super) nat: Nat,
    pub(super) ready: bool,
    pub(super) outcome: Option<Result<Path, PunchError>>,
    pub(super) over: bool,
    pub(super) sockets: u16,
    pub(super) connects: u32,
    /// Bytes that left, those included that die on the way.
    pub(super) bytes: usize,
    pub(super) sent: Vec<(Instant, Option<u8>)>,
}

struct Flying {
    at: Instant,
    to: usize,
    dst: SocketAddr,
    src: SocketAddr,
    bytes: Vec<u8>,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) sides: [Side; 2],
    flying: Vec<Flying>,
    pub(super) delay: Duration,
    /// One in so many is lost; none with 0.
    pub(super) loss: u32,
    go_at: Option<Instant>,
    batch: Batch,
    rng: StdRng,
}

pub(super) fn mapping(kind: Kind) -> Mapping {
    match kind {
        Kind::Symmetric => Mapping::EndpointDependent { step: 0, block: 0 },
        _ => Mapping::EndpointIndependent,
    }
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn plan(side: usize, kinds: [Kind; 2], candidates: Vec<Candidate>) -> PunchPlan {
    let role = if side == 0 { PunchRole::Initiator } else { PunchRole::Acceptor };
    let tokens = [Token::new(0xAAAA), Token::new(0xBBBB)];
    let session = Session::new([7; 16]);
    PunchPlan {
        local: NatReport::from(NatClass::new(mapping(kinds[side]))),
        remote: NatClass::new(mapping(kinds[1 - side])),
        start: Start::OnGo { server_rtt: ms(40) },
        ..PunchPlan::new(session, role, tokens[side], tokens[1 - side], candidates)
    }
}

pub(super) fn way(addr: SocketAddr) -> Option<Path> {
    Some(Path { socket: SocketId::new(0), peer: addr })
}

impl World {
    pub(super) fn new(kinds: [Kind; 2], seed: u64, adjust: impl Fn(usize, &mut PunchPlan)) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let ips = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 1)];
        let server: SocketAddr = "192.0.2.10:3478".parse().unwrap();
        let mut nats = [0, 1].map(|side| Nat {
            kind: kinds[side],
            ip: ips[side],
            ports: BTreeMap::new(),
            sockets: BTreeMap::new(),
            open: BTreeSet::new(),
            taken: BTreeSet::new(),
            rng: StdRng::seed_from_u64(rng.random()),
        });
        let seen = [0, 1].map(|side| {
            let addr = nats[side].out(0, server);
            Candidate::new(CandidateKind::Reflexive, addr)
        });
        let mut nats = nats.into_iter();
        let sides = [0, 1].map(|side| {
            let mut plan = plan(side, kinds, vec![seen[1 - side]]);
            adjust(side, &mut plan);
            Side {
                punch: Punch::new(Instant::ZERO, plan, rng.random(), &mut way).unwrap(),
                nat: nats.next().unwrap(),
                ready: false,
                outcome: None,
                over: false,
                sockets: 0,
                connects: 0,
                bytes: 0,
                sent: Vec::new(),
            }
        });
        Self {
            now: Instant::ZERO,
            sides,
            flying: Vec::new(),
            delay: ms(20),
            loss: 0,
            go_at: None,
            batch: Batch::new(1),
            rng,
        }
    }

    /// Runs until both have come to an end, or for that long.
    pub(super) fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            (0..2).for_each(|side| self.turn(side));
            if self.sides.iter().all(|side| side.outcome.is_some()) {
                return;
            }
            let timeouts = self.sides.iter().filter_map(|side| side.punch.poll_timeout());
            let arrivals = self.flying.iter().map(|flying| flying.at);
            let Some(next) = timeouts.chain(arrivals).chain(self.go_at).min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        if self.go_at.is_some_and(|at| at <= self.now) {
            self.go_at = None;
            self.sides.iter_mut().for_each(|side| side.punch.go(self.now));
        }
        let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|f| f.at <= self.now);
        self.flying = later;
        for Flying { to, dst, src, bytes, .. } in due {
            let Some(socket) = self.sides[to].nat.enter(dst.port(), src) else { continue };
            let path = Path { socket: SocketId::new(socket), peer: src };
            self.receive(to, path, &bytes);
        }
        self.sides.iter_mut().for_each(|side| side.punch.handle_timeout(self.now));
    }

    fn receive(&mut self, to: usize, path: Path, bytes: &[u8]) {
        let (now, side) = (self.now, &mut self.sides[to]);
        match bytes {
            b"SYN" => {
                let (session, token) = (side.punch.session(), side.punch.local_token());
                if side.punch.handle_syn(now, path, session, token) && side.outcome.is_none() {
                    self.send(to, path, b"SYN-ACK".to_vec(), None);
                }
            }
            b"SYN-ACK" | b"ACK" => {
                if side.outcome.is_none() {
                    side.outcome = Some(Ok(path));
                    side.punch.connected(now, path);
                    if bytes == b"SYN-ACK" {
                        self.send(to, path, b"ACK".to_vec(), None);
                    }
                }
            }
            _ => {
                let packet = Packet::decode(bytes).unwrap();
                let probe = Probe::read(&packet).unwrap();
                // One that has given up is silent.
                let taken = side.punch.handle_probe(now, path, &probe);
                assert!(taken || side.over);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        if self.sides[at].punch.wants_birthday(self.now) {
            self.sides[at].punch.begin_birthday(self.now);
        }
        while let Some(action) = self.sides[at].punch.poll_action() {
            let side = &mut self.sides[at];
            match action {
                Action::Ready => {
                    side.ready = true;
                    let waits = matches!(side.punch.plan().start, Start::OnGo { .. });
                    if waits && self.sides.iter().all(|side| side.ready) {
                        self.go_at = Some(self.now + ms(40));
                    }
                }
                Action::OpenSockets { count, .. } => {
                    for _ in 0..count {
                        side.sockets += 1;
                        let socket = SocketId::new(side.sockets);
                        side.punch.socket_opened(self.now, Some(socket));
                    }
                }
                Action::CloseSockets => {}
                Action::Connect(path) => {
                    side.connects += 1;
                    self.send(at, path, b"SYN".to_vec(), None);
                }
                Action::Repeat(path) => self.send(at, path, b"SYN".to_vec(), None),
                Action::Failed(error) => side.outcome = Some(Err(error)),
                Action::Over => side.over = true,
            }
        }
        loop {
            self.batch.clear();
            let Some(path) = self.sides[at].punch.poll_transmit(self.now, &mut self.batch, &|_, _| true)
            else {
                break;
            };
            let (bytes, ttl) = (self.batch.bytes().to_vec(), self.batch.ttl());
            self.send(at, path, bytes, ttl);
        }
    }

    fn send(&mut self, from: usize, path: Path, bytes: Vec<u8>, ttl: Option<u8>) {
        let other = 1 - from;
        let reaches = path.peer.ip() == self.sides[other].nat.ip;
        let side = &mut self.sides[from];
        side.bytes += bytes.len();
        if bytes.len() == PROBE_LEN {
            side.sent.push((self.now, ttl));
        }
        let src = side.nat.out(path.socket.get(), path.peer);
        // That the last leg arrives is the connection's business.
        let lost = self.loss > 0 && bytes != b"ACK" && self.rng.random_ratio(1, self.loss);
        if ttl.is_none() && !lost && reaches && side.nat.kind != Kind::Blocked {
            let at = self.now + self.delay;
            self.flying.push(Flying { at, to: other, dst: path.peer, src, bytes });
        }
    }

    /// What both came to; panics if one has come to nothing.
    pub(super) fn outcomes(&self) -> [Result<Path, PunchError>; 2] {
        [0, 1].map(|side| self.sides[side].outcome.clone().expect("an end"))
    }

    pub(super) fn both_met(&self) -> bool {
        self.sides.iter().all(|side| matches!(side.outcome, Some(Ok(_))))
    }
}
