//! One machine in the world: an [`Endpoint`] and the programs that use it, driven as production drives them.
//!
//! Stands where the driver stands, with the same verbs in the same order. Reads no clock: its time is the world's,
//! seen through a clock of its own that may be wrong.

mod bell;
mod bound;
mod clock;
mod lodgers;
mod running;
mod socket;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use self::socket::SocketError;

use self::bell::{Bell, Bells};
use self::bound::Bound;
pub(super) use self::clock::HostClock;
use self::lodgers::Lodgers;
use self::running::Running;
use self::socket::{Refusal, Socket};
use super::flow::{FlowId, Side};
use super::ledger::{Exchanged, Ledger};
use super::network::Parcel;
use super::program::{Leave, Program, Report};
use crate::config::Config;
use crate::error::CloseReason;
use crate::link::{FaultKind, Rng, Strike, nanos};
use crate::proto::batch::{Batch, Path};
use crate::proto::endpoint::{Endpoint, Handle, Incoming, Lease, SocketRequest};
use crate::stats::StreamStats;
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr};

/// Which host of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u32);

impl HostId {
    pub(super) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Its place among the hosts, in the order in which they came.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    pub(super) const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// What a host needs of the world during a turn.
pub(super) trait Outside {
    /// Puts some datagrams of a batch on the wire, their timestamps moved by so many microseconds.
    fn send(&mut self, from: SocketAddr, path: Path, batch: &Batch, which: Range<usize>, shift: u32);
    /// The host wants a turn then, nanoseconds.
    fn wake(&mut self, at: u64);
    /// What leaves next was to leave earlier, and has been given up meanwhile perhaps.
    fn unblocked(&mut self);
    /// Something has gone wrong on the host.
    fn fault(&mut self, kind: FaultKind);
    /// Who is to serve this incoming connection; nobody, and it is refused.
    fn program_for(&mut self, incoming: &Incoming) -> Option<(FlowId, Box<dyn Program>)>;
    /// Where the program of that flow and side has come to live.
    fn settled(&mut self, flow: FlowId, side: Side, app: u32);
    /// A timer was due.
    fn timed(&mut self);
    /// The program has made a step.
    fn stepped(&mut self, flow: FlowId, side: Side, report: &Report);
    /// The program wants to be stepped then, nanoseconds.
    fn alarm(&mut self, app: u32, at: u64);
    /// The program has left.
    fn left(&mut self, flow: FlowId, side: Side, how: Leave);
    /// Memory to read into.
    fn scratch(&mut self) -> &mut [u8];
}

/// A host keeps finding work without time passing: an error of the machine, not of the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Livelock;

/// Rounds of a turn after which something is thought to be wrong. One batch per round would be a very busy turn.
const ROUNDS_MAX: usize = 100_000;

/// How many datagrams a batch carries, as with segmentation offload.
const BATCH_SEGMENTS: usize = 64;

/// No time at all.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) struct Host {
    config: Arc<Config>,
    endpoint: Endpoint,
    /// Keeps the endpoint from closing while nobody has a connection.
    lease: Option<Lease>,
    batch: Batch,
    bound: Bound,
    pub(super) clock: HostClock,
    out: Socket,
    /// What of `batch` waits for room in the socket: its path, and where it begins.
    unsent: Option<(Path, usize)>,
    apps: Vec<Running>,
    /// How the programs' tasks are treated.
    tasks: Tasks,
    lodgers: Lodgers,
    bells: Arc<Bells>,
    /// Kept for its memory.
    rung: Vec<u32>,
    /// Whose turn it is to be looked at.
    looked_at: usize,
    listener: Waker,
    /// The datagrams of one run, end to end.
    run: Vec<u8>,
    ledger: Ledger,
    alive: bool,
    /// How long datagrams wait before the host looks at them.
    pub(super) turn_delay: Duration,
    /// What has arrived and waits.
    pub(super) inbox: Vec<u32>,
    /// How many bytes may wait while it sleeps.
    pub(super) inbox_max: usize,
    /// It does nothing, and its clock shows something else when it wakes up.
    pub(super) asleep: bool,
    /// When that ends, nanoseconds.
    pub(super) wakes_at: u64,
    /// What waits, as the system counts it.
    pub(super) inbox_bytes: usize,
    /// When the world will call for its timers, nanoseconds.
    pub(super) timer_at: u64,
}

/// What the runtime does to programs.
#[derive(Debug)]
struct Tasks {
    /// Nobody is stepped before that, nanoseconds.
    paused_until: u64,
    /// Which steps are taken twice: by a task that is dropped at once, and by another one.
    dropped: Strike,
    steps: u64,
    rng: Rng,
}

impl Host {
    /// With a socket at each of these addresses; there is at least one.
    pub(super) fn new(
        addrs: &[SocketAddr],
        config: Arc<Config>,
        seed: [u8; 32],
        clock_start: Instant,
    ) -> Self {
        let inbox_max = config.socket_buffer;
        let mut rng = Rng::new(u64::from_le_bytes(seed[..8].try_into().expect("eight bytes")));
        let mut endpoint = Endpoint::new(Arc::clone(&config), seed);
        let mut bound = Bound::default();
        addrs.iter().for_each(|&addr| bound.bind(endpoint.add_socket(addr), addr));
        let shared = endpoint.shared();
        shared.set_listening(true);
        let bells = Arc::<Bells>::default();
        let host = Self {
            config,
            lease: Some(shared.lease()),
            endpoint,
            batch: Batch::new(BATCH_SEGMENTS),
            bound,
            clock: HostClock::new(clock_start),
            out: Socket::new(rng.fork()),
            unsent: None,
            apps: Vec::new(),
            tasks: Tasks { paused_until: 0, dropped: Strike::never(), steps: 0, rng },
            lodgers: Lodgers::default(),
            listener: Bell::waker(&bells, Bell::LISTENER),
            bells,
            rung: Vec::new(),
            looked_at: 0,
            run: Vec::new(),
            ledger: Ledger::default(),
            alive: true,
            turn_delay: Duration::ZERO,
            inbox: Vec::new(),
            inbox_max,
            asleep: false,
            wakes_at: NEVER,
            inbox_bytes: 0,
            timer_at: NEVER,
        };
        // The first look registers the waker.
        host.bells.ring(Bell::LISTENER);
        host
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.bound.first()
    }

    pub(super) fn exchanged(&self, peer: SocketAddr) -> Exchanged {
        self.ledger.account(peer)
    }

    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    /// What its clock shows when the world's shows `now`, nanoseconds.
    pub(super) const fn local(&self, now: u64) -> Instant {
        self.clock.at(now)
    }

    /// When, on the world's clock, it wants to be called; not before `now`.
    pub(super) fn next_timeout(&self, now: u64) -> Option<u64> {
        let at = self.endpoint.poll_timeout()?;
        Some(self.clock.when(at, now))
    }

    /// Whether its timer is due.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        self.endpoint.poll_timeout().is_some_and(|at| at <= self.local(now))
    }

    /// Hands over what has arrived: runs of equal size from one sender together, as a system with receive offload
    /// does. Returns how many datagrams were for ports that are not bound.
    pub(super) fn receive<'a>(&mut self, now: u64, parcels: impl Iterator<Item = &'a Parcel>) -> u64 {
        let local = self.local(now);
        let (mut path, mut stride, mut lost) = (None, 0, 0);
        for parcel in parcels {
            let Some(socket) = self.bound.at(parcel.addressed) else {
                lost += 1;
                continue;
            };
            let (len, way) = (parcel.bytes.len(), Path { socket, peer: parcel.from });
            let full = self.run.len().is_multiple_of(stride.max(1));
            if let Some(begun) = path.filter(|&begun| begun != way || len > stride || !full) {
                self.hand_over(local, begun, stride);
                path = None;
            }
            if path.is_none() {
                (path, stride) = (Some(way), len);
            }
            self.run.extend_from_slice(&parcel.bytes);
        }
        if let Some(begun) = path {
            self.hand_over(local, begun, stride);
        }
        lost
    }

    fn hand_over(&mut self, local: Instant, path: Path, stride: usize) {
        let account = self.ledger.account_mut(path.peer);
        account.in_packets += self.run.len().div_ceil(stride.max(1)).max(1) as u64;
        account.in_bytes += self.run.len() as u64;
        self.endpoint.handle_datagrams(local, path, &self.run, stride);
        self.run.clear();
    }

    /// Starts a connection and its program. Its ids are known when this returns, unless it failed at once. A program
    /// on a host that has vanished leaves at once.
    pub(super) fn connect(
        &mut self,
        now: u64,
        (peer, id): (SocketAddr, Option<ConnId>),
        flow: FlowId,
        program: Box<dyn Program>,
        outside: &mut impl Outside,
    ) -> u32 {
        let handle = self.endpoint.shared().connect(peer, id);
        self.endpoint.handle_mail(self.local(now));
        let index = self.install(flow, Side::Initiator, handle, program, outside);
        if !self.alive {
            self.apps[index as usize].leave(Leave::Vanish, outside);
        }
        index
    }

    /// Everything there is to do at this moment.
    pub(super) fn turn(&mut self, now: u64, outside: &mut impl Outside) -> Result<(), Livelock> {
        let local = self.local(now);
        for _ in 0..ROUNDS_MAX {
            self.endpoint.handle_mail(local);
            if self.endpoint.poll_timeout().is_some_and(|at| at <= local) {
                self.endpoint.handle_timeout(local);
                outside.timed();
            }
            self.send(now, outside);
            self.step_programs(now, outside);
            let served = self.serve_sockets();
            let overdue = self.endpoint.poll_timeout().is_some_and(|at| at <= local);
            let can_send = self.unsent.is_none() && self.endpoint.has_work();
            if !served && !overdue && !can_send && !self.endpoint.shared().has_mail() {
                return Ok(());
            }
        }
        Err(Livelock)
    }

    fn send(&mut self, now: u64, outside: &mut impl Outside) {
        let local = self.local(now);
        if let Some((path, from)) = self.unsent {
            if now < self.out.full_until {
                return;
            }
            // The wait for the socket must not look like a delay of the path.
            self.batch.restamp(from, local);
            outside.unblocked();
            if !self.send_batch(now, path, from, outside) {
                return;
            }
        }
        while let Some(path) = self.endpoint.poll_transmit(local, &mut self.batch) {
            if !self.send_batch(now, path, 0, outside) {
                return;
            }
        }
    }

    /// Returns whether the socket has room for more; what did not fit is kept otherwise.
    fn send_batch(&mut self, now: u64, path: Path, from: usize, outside: &mut impl Outside) -> bool {
        let (to, refusal) = self.out.attempt(now, &self.batch, from);
        if to > from {
            let size = self.batch.segment_size();
            let account = self.ledger.account_mut(path.peer);
            account.out_packets += (to - from) as u64;
            account.out_bytes += (self.batch.bytes().len().min(to * size) - from * size) as u64;
            // A socket that was closed meanwhile sends nothing.
            if let Some(source) = self.bound.addr(path.socket) {
                outside.send(source, path, &self.batch, from..to, self.clock.shift());
            }
        }
        self.unsent = match refusal {
            Some(Refusal::Full(until)) => {
                outside.wake(until);
                Some((path, to))
            }
            Some(Refusal::Lost) | None => None,
        };
        if refusal.is_some() {
            outside.fault(FaultKind::SocketError);
        }
        self.unsent.is_none()
    }

    /// Whether something waits for room in the socket.
    pub(super) const fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    /// Which attempts to send fail, and how.
    pub(super) const fn set_socket_error(&mut self, trouble: Option<(Strike, SocketError)>) {
        self.out.set_trouble(trouble);
    }

    /// Nobody is stepped before that, nanoseconds.
    pub(super) const fn pause_programs(&mut self, until: u64) {
        self.tasks.paused_until = until;
    }

    /// Which steps are taken twice: by a task that is dropped at once, and then by another one.
    pub(super) const fn drop_tasks(&mut self, which: Strike) {
        self.tasks.dropped = which;
    }

    pub(super) fn set_addr(&mut self, addr: SocketAddr) {
        self.bound.move_first(addr);
    }

    /// Of all its sockets.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.addrs()
    }

    /// Opens and closes sockets as the endpoint asks. Whether there was anything to do.
    fn serve_sockets(&mut self) -> bool {
        let mut served = false;
        while let Some(request) = self.endpoint.poll_socket_request() {
            served = true;
            match request {
                SocketRequest::Open { like } => match self.bound.free_like(like) {
                    Some(addr) => self.bound.bind(self.endpoint.socket_opened(like, addr), addr),
                    None => self.endpoint.socket_refused(like),
                },
                SocketRequest::Close(socket) => self.bound.close(socket),
            }
        }
        served
    }

    /// The packet number of connections that start from now on; by chance, if there is none.
    pub(super) const fn set_first_seq(&mut self, seq: Option<SeqNr>) {
        self.endpoint.set_first_seq(seq);
    }

    /// It is gone, without a word to anybody.
    pub(super) fn vanish(&mut self, outside: &mut impl Outside) {
        self.alive = false;
        self.endpoint.shut_down(CloseReason::EndpointClosed);
        for app in &mut self.apps {
            app.leave(Leave::Vanish, outside);
        }
        self.lodgers = Lodgers::default();
        self.lease = None;
    }

    /// Closes the endpoint gracefully: no new connections, the old ones linger.
    pub(super) fn close(&self) {
        self.endpoint.shared().close();
    }

    /// Rings for a program whose alarm was set to `now`; an alarm that was set anew meanwhile is not the one.
    pub(super) fn alarm_rang(&mut self, app: u32, now: u64) {
        if app >= Bell::LODGERS {
            return self.lodgers.alarm_rang(app, now);
        }
        let app = &mut self.apps[app as usize];
        if app.alarm_at == now {
            app.alarm_at = NEVER;
            app.waker.wake_by_ref();
        }
    }

    /// A program that may be looked at now; in turns.
    pub(super) fn next_looked_at(&mut self) -> Option<u32> {
        self.looked_at = if self.looked_at + 1 < self.apps.len() { self.looked_at + 1 } else { 0 };
        (self.looked_at < self.apps.len()).then_some(self.looked_at as u32)
    }

    pub(super) fn report(&self, app: u32) -> Report {
        self.apps[app as usize].program.report()
    }

    pub(super) fn handle(&self, app: u32) -> Option<&Handle> {
        self.apps[app as usize].handle.as_ref()
    }

    pub(super) fn stream_stats(&self, app: u32) -> StreamStats {
        let app = &self.apps[app as usize];
        app.handle.as_ref().map_or(app.stats, Handle::stats)
    }

    fn install(
        &mut self,
        flow: FlowId,
        side: Side,
        handle: Handle,
        program: Box<dyn Program>,
        outside: &mut impl Outside,
    ) -> u32 {
        let index = u32::try_from(self.apps.len()).expect("fewer than 4 billion programs");
        let bell = Bell::new(&self.bells, index);
        self.apps.push(Running {
            flow,
            side,
            program,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            handle: Some(handle),
            alarm_at: NEVER,
            stats: StreamStats::default(),
        });
        outside.settled(flow, side, index);
        self.bells.ring(index);
        index
    }

    fn step_programs(&mut self, now: u64, outside: &mut impl Outside) {
        if now < self.tasks.paused_until {
            return;
        }
        let mut rung = std::mem::take(&mut self.rung);
        loop {
            self.bells.take(&mut rung);
            if rung.is_empty() {
                break;
            }
            for &index in &rung {
                match index {
                    Bell::LISTENER => self.accept(outside),
                    Bell::LODGERS.. => self.step_lodger(index, now, outside),
                    _ => self.step_program(index, now, outside),
                }
            }
        }
        self.rung = rung;
    }

    fn step_program(&mut self, index: u32, now: u64, outside: &mut impl Outside) {
        let app = &mut self.apps[index as usize];
        let Tasks { dropped, steps, rng, .. } = &mut self.tasks;
        *steps += 1;
        if app.handle.is_some() && dropped.hits(*steps, rng) {
            outside.fault(FaultKind::DroppedFuture);
            app.step(index, now, outside);
            app.replace_task();
        }
        app.step(index, now, outside);
    }

    fn accept(&mut self, outside: &mut impl Outside) {
        if self.lodgers.accept_themselves() {
            return;
        }
        let shared = self.endpoint.shared();
        let waker = self.listener.clone();
        while let Poll::Ready(Some(incoming)) = shared.poll_incoming(&mut Context::from_waker(&waker)) {
            match outside.program_for(&incoming) {
                Some((flow, program)) => {
                    let handle = incoming.accept();
                    self.install(flow, Side::Acceptor, handle, program, outside);
                }
                None => incoming.refuse(),
            }
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("addr", &self.addr())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
