//! Virtual time: what happens next, and to whom, until something has come true.
//!
//! One heap of events in a total order, one seed from which all chance comes. Two worlds that are built the same way
//! with the same seed go the same way, event by event; [`World::trace`] proves it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::flow::{FlowId, Flows, Side};
use super::host::{Host, HostId, NEVER, Outside};
use super::link::Line;
use super::network::{Direction, Ends, LineId, Network, Outlet};
use super::pipe::{LinkStats, nanos};
use super::program::{Leave, Program, Report};
use super::seed::Rng;
use super::stuck::{Stuck, Why};
use super::trace::{Datagram, Event as Noted, Trace};
use super::traffic::Traffic;
use crate::config::Config;
use crate::proto::batch::{Batch, Path};
use crate::proto::endpoint::{Endpoint, Handle, Incoming};
use crate::stats::StreamStats;
use crate::time::Instant;
use crate::wire::ConnId;

use super::queue::Queue;

/// How many datagrams a host looks at in one turn at most, as the driver does.
const ARRIVALS_MAX: usize = 256;

/// Hosts, the lines between them, and time.
pub struct World {
    seed: u64,
    rng: Rng,
    /// Nanoseconds since the world began.
    now: u64,
    hosts: Vec<Host>,
    queue: Queue<Event>,
    pub(super) network: Network,
    flows: Flows,
    trace: Trace,
    actions: Vec<Option<Action>>,
    scratch: Vec<u8>,
    arrivals: Vec<u32>,
    events: u64,
    livelock: Option<HostId>,
}

/// Something that a test does to the world at some time.
type Action = Box<dyn FnOnce(&mut World)>;

/// What is going to happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A datagram arrives: its place in the network, and where.
    Arrive(u32, HostId),
    /// A host looks at what has arrived.
    Look(HostId),
    /// The timer of an endpoint.
    Timer(HostId),
    /// The alarm of a program.
    Alarm(HostId, u32),
    /// The place of an action.
    Act(usize),
    /// A link has something to do: the place of its pipe.
    Wire(usize),
}

/// Building.
impl World {
    /// An empty world, in which everything that looks like chance follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            now: 0,
            hosts: Vec::new(),
            queue: Queue::new(),
            network: Network::default(),
            flows: Flows::default(),
            trace: Trace::new(seed),
            actions: Vec::new(),
            scratch: vec![0; 64 << 10],
            arrivals: Vec::new(),
            events: 0,
            livelock: None,
        }
    }

    /// A host that listens, with a clock that starts with the world.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn host(&mut self, config: Config) -> HostId {
        self.host_with_clock(config, Instant::ZERO)
    }

    /// A host whose clock shows `start` when the world begins. With a start shortly before 2^32 microseconds the
    /// timestamps in its packets soon wrap.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn host_with_clock(&mut self, config: Config, start: Instant) -> HostId {
        config.validate().expect("a valid configuration");
        let id = HostId::new(u32::try_from(self.hosts.len()).expect("fewer than 4 billion hosts"));
        let seed = self.rng.bytes();
        self.hosts.push(Host::new(id, Arc::new(config), seed, start));
        id
    }

    /// Joins two hosts by a line of their own. A [`Link`] alone stands for both directions.
    pub fn join(&mut self, first: HostId, second: HostId, line: impl Into<Line>) -> LineId {
        let id = self.add_line(line);
        self.join_by(first, second, id);
        id
    }

    /// A line that joins nobody yet.
    pub fn add_line(&mut self, line: impl Into<Line>) -> LineId {
        self.network.add_line(line.into(), &mut self.rng)
    }

    /// Joins two hosts by a line that exists, whose rate and queue they share with others from now on. The first
    /// host sends in the direction [`There`](Direction::There).
    pub fn join_by(&mut self, first: HostId, second: HostId, line: LineId) {
        let [from, to] = [first, second].map(|id| (id, self.hosts[id.get()].addr()));
        self.network.add_route(from.0, to, line, Direction::There);
        self.network.add_route(to.0, from, line, Direction::Back);
    }

    /// How long datagrams wait before the host looks at them, all that came meanwhile at once (default 0). Stands
    /// for a busy machine.
    pub fn set_turn_delay(&mut self, host: HostId, delay: Duration) {
        self.hosts[host.get()].turn_delay = delay;
    }

    /// Does something to the world, so much time from now.
    pub fn later(&mut self, after: Duration, action: impl FnOnce(&mut Self) + 'static) {
        self.actions.push(Some(Box::new(action)));
        self.queue.push(self.now + nanos(after), Event::Act(self.actions.len() - 1));
    }
}

/// What can be done to hosts while it runs.
impl World {
    /// The host is gone, its connections and programs with it, without a word to anybody.
    pub fn vanish(&mut self, host: HostId) {
        self.note(Noted::Changed("vanishes", host));
        let (machine, mut outside) = self.split(host);
        machine.vanish(&mut outside);
    }

    /// The host's endpoint closes: no new connections, the old ones end within
    /// [`Config::linger`](crate::Config::linger).
    pub fn close(&mut self, host: HostId) {
        self.note(Noted::Changed("closes", host));
        self.hosts[host.get()].close();
        self.turn(host);
    }
}

/// Connections.
impl World {
    /// Starts a connection now, with the two programs of `traffic` at its ends.
    pub fn start(&mut self, from: HostId, to: HostId, traffic: &Traffic) -> FlowId {
        let (initiator, acceptor) = traffic.programs(u64::from(self.flows.len()));
        self.connect(from, to, initiator, acceptor)
    }

    /// Starts a connection now, with programs of your own at its ends.
    pub fn connect(
        &mut self,
        from: HostId,
        to: HostId,
        initiator: Box<dyn Program>,
        acceptor: Box<dyn Program>,
    ) -> FlowId {
        let flow = self.flows.add([from, to], acceptor);
        let (source, peer) = (self.hosts[from.get()].addr(), self.hosts[to.get()].addr());
        let now = self.now;
        let (machine, mut outside) = self.split(from);
        let app = machine.connect(now, peer, flow, initiator, &mut outside);
        if let Some(id) = machine.handle(app).map(|handle| handle.conn_ids().recv) {
            self.flows.expect(flow, source, id);
        }
        self.turn(from);
        flow
    }

    /// Whether both programs of a connection have left. One that was never accepted has only one.
    #[must_use]
    pub fn is_done(&self, flow: FlowId) -> bool {
        self.flows.is_done(flow)
    }

    /// Programs that have not left.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.flows.running
    }

    /// What the program at that end has done and seen; nothing, if it never started.
    #[must_use]
    pub fn report(&self, flow: FlowId, side: Side) -> Report {
        let end = self.flows.end(flow, side);
        end.app.map_or_else(Report::default, |app| self.hosts[end.host.get()].report(app))
    }

    /// Numbers about that end of a connection, as they are or as they were when its program left.
    #[must_use]
    pub fn stream_stats(&self, flow: FlowId, side: Side) -> StreamStats {
        let end = self.flows.end(flow, side);
        end.app.map_or_else(StreamStats::default, |app| self.hosts[end.host.get()].stream_stats(app))
    }

    /// That end of a connection, while its program runs.
    #[must_use]
    pub fn handle(&self, flow: FlowId, side: Side) -> Option<&Handle> {
        let end = self.flows.end(flow, side);
        end.app.and_then(|app| self.hosts[end.host.get()].handle(app))
    }

    /// Incoming connections that nobody had started, and that were refused: SYNs that came late, or twice.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.flows.strays
    }
}

/// Running.
impl World {
    /// Lets time pass until something has come true, which is asked after every event. Returns the time.
    ///
    /// # Errors
    /// It did not come true within `limit` from now, or nothing can happen any more. Says so with the seed, the state
    /// of all programs and the last events.
    pub fn run_until(
        &mut self,
        mut done: impl FnMut(&Self) -> bool,
        limit: Duration,
    ) -> Result<Duration, Stuck> {
        let end = self.now.saturating_add(nanos(limit));
        loop {
            if let Some(host) = self.livelock {
                return Err(self.stuck(Why::Livelock(host)));
            }
            if done(self) {
                return Ok(self.now());
            }
            match self.queue.peek() {
                None => return Err(self.stuck(Why::Silence)),
                Some((at, _)) if at > end => {
                    self.now = end;
                    return Err(self.stuck(Why::Limit(limit)));
                }
                Some(_) => self.step(),
            }
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now.saturating_add(nanos(duration));
        while self.livelock.is_none() && self.queue.peek().is_some_and(|(at, _)| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until every program has left and every endpoint has forgotten its connections.
    ///
    /// # Errors
    /// As for [`run_until`](Self::run_until): something is left over for ever, or for longer than `limit`.
    pub fn settle(&mut self, limit: Duration) -> Result<Duration, Stuck> {
        let begin = self.now;
        self.run_until(|world| world.running() == 0, limit)?;
        let rest = nanos(limit).saturating_sub(self.now - begin);
        self.run_until(Self::is_settled, Duration::from_nanos(rest))
    }

    /// Whether no program runs, nothing is under way and the tables of all endpoints are empty.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let empty = |host: &Host| {
            let endpoint = host.endpoint();
            endpoint.connections() == 0
                && endpoint.half_open() == 0
                && endpoint.routes_len() == 0
                && endpoint.ready_len() == 0
        };
        self.running() == 0 && self.network.under_way() == 0 && self.hosts.iter().all(empty)
    }

    /// One event.
    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        debug_assert!(at >= self.now, "time does not go back");
        self.now = at;
        self.events += 1;
        match event {
            Event::Arrive(parcel, host) => self.arrive(parcel, host),
            Event::Look(host) => self.look(host),
            Event::Timer(host) if self.hosts[host.get()].timer_at == at => {
                self.hosts[host.get()].timer_at = NEVER;
                self.note(Noted::Timer(host));
                self.turn(host);
            }
            Event::Timer(_) => {}
            Event::Alarm(host, app) => {
                self.hosts[host.get()].alarm_rang(app, at);
                self.turn(host);
            }
            Event::Wire(pipe) => {
                let Self { queue, network, trace, now, .. } = self;
                network.wake(*now, pipe, &mut Agenda { now: *now, queue, trace });
            }
            Event::Act(place) => {
                if let Some(action) = self.actions[place].take() {
                    action(self);
                }
            }
        }
    }

    /// A datagram, and those for the same host that arrive at the same moment and are next.
    fn arrive(&mut self, first: u32, host: HostId) {
        let delay = nanos(self.hosts[host.get()].turn_delay);
        let idle = self.hosts[host.get()].inbox.is_empty();
        self.arrivals.push(first);
        while let Some((at, &Event::Arrive(parcel, to))) = self.queue.peek()
            && at == self.now
            && to == host
            && self.arrivals.len() < ARRIVALS_MAX
        {
            self.queue.pop();
            self.events += 1;
            self.arrivals.push(parcel);
        }
        self.hosts[host.get()].inbox.append(&mut self.arrivals);
        if delay == 0 {
            self.look(host);
        } else if idle {
            self.queue.push(self.now + delay, Event::Look(host));
        }
    }

    fn look(&mut self, host: HostId) {
        let machine = &mut self.hosts[host.get()];
        let mut inbox = std::mem::take(&mut machine.inbox);
        if machine.is_alive() {
            for &parcel in &inbox {
                let parcel = self.network.parcel(parcel);
                let datagram = Datagram::new(parcel.sender, host, &parcel.bytes);
                self.trace.note(self.now, Noted::Arrived(datagram));
            }
            machine.receive(self.now, inbox.iter().map(|&parcel| self.network.parcel(parcel)));
        }
        inbox.drain(..).for_each(|parcel| self.network.release(parcel));
        machine.inbox = inbox;
        self.turn(host);
    }

    fn turn(&mut self, host: HostId) {
        if !self.hosts[host.get()].is_alive() {
            return;
        }
        let now = self.now;
        let (machine, mut outside) = self.split(host);
        let outcome = machine.turn(now, &mut outside);
        let timeout = machine.next_timeout(now).filter(|&at| at < machine.timer_at);
        if let Some(at) = timeout {
            machine.timer_at = at;
            self.queue.push(at, Event::Timer(host));
        }
        if outcome.is_err() {
            self.livelock = Some(host);
        }
    }

    fn note(&mut self, event: Noted) {
        self.trace.note(self.now, event);
    }

    /// A host, and the world without its hosts.
    fn split(&mut self, id: HostId) -> (&mut Host, Around<'_>) {
        let Self { hosts, queue, network, flows, trace, scratch, now, .. } = self;
        let host = &mut hosts[id.get()];
        let addr = host.addr();
        (host, Around { id, addr, now: *now, queue, network, flows, trace, scratch })
    }
}

/// Looking.
impl World {
    /// Time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A generator of the world's own, for what a test wants to draw.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Events that have happened: arrivals, timers, alarms, actions.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// What happened.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// To change how much is remembered.
    pub const fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// The endpoint of a host.
    #[must_use]
    pub fn endpoint(&self, host: HostId) -> &Endpoint {
        self.hosts[host.get()].endpoint()
    }

    /// What a direction of a line has done.
    #[must_use]
    pub fn link_stats(&self, line: LineId, direction: Direction) -> &LinkStats {
        self.network.pipe(line, direction).stats()
    }

    fn stuck(&self, why: Why) -> Stuck {
        let flows = (0..self.flows.len()).map(FlowId::new).filter(|&flow| !self.is_done(flow));
        let ends = flows.flat_map(|flow| Side::BOTH.map(|side| (flow, side))).map(|(flow, side)| {
            let (end, report) = (self.flows.end(flow, side), self.report(flow, side));
            let state = match (end.app, end.left) {
                (None, _) => "not started",
                (_, true) => "left",
                _ => "runs",
            };
            let stats = self.stream_stats(flow, side);
            format!("{flow} {side} on {}, {state}: {report:?}\n    {stats:?}", end.host)
        });
        let links =
            self.network.pipes().iter().map(|pipe| format!("link {}: {:?}", pipe.link(), pipe.stats()));
        let tables = self.hosts.iter().enumerate().map(|(index, host)| {
            let endpoint = host.endpoint();
            format!(
                "h{index}: {} connections, {} half-open, {} routes",
                endpoint.connections(),
                endpoint.half_open(),
                endpoint.routes_len()
            )
        });
        let state = tables.chain(links).chain(ends.take(20)).collect();
        Stuck::new(self.seed, self.now(), why, state, self.trace.clone())
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .field("hosts", &self.hosts.len())
            .field("running", &self.running())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// What will happen and what has happened, as the network sees them.
struct Agenda<'a> {
    now: u64,
    queue: &'a mut Queue<Event>,
    trace: &'a mut Trace,
}

impl Outlet for Agenda<'_> {
    fn arrive(&mut self, at: u64, parcel: u32, to: HostId) {
        self.queue.push(at, Event::Arrive(parcel, to));
    }

    fn wake(&mut self, at: u64, pipe: usize) {
        self.queue.push(at, Event::Wire(pipe));
    }

    fn note(&mut self, event: Noted) {
        self.trace.note(self.now, event);
    }
}

/// The world without its hosts, as one of them sees it.
struct Around<'a> {
    id: HostId,
    addr: std::net::SocketAddr,
    now: u64,
    queue: &'a mut Queue<Event>,
    network: &'a mut Network,
    flows: &'a mut Flows,
    trace: &'a mut Trace,
    scratch: &'a mut [u8],
}

impl Outside for Around<'_> {
    fn send(&mut self, path: Path, batch: &Batch) {
        // Nobody there: as if there were no such network.
        let Some(route) = self.network.route(self.id, path.peer) else { return };
        let mut agenda = Agenda { now: self.now, queue: self.queue, trace: self.trace };
        for datagram in batch.datagrams() {
            self.network.send(
                self.now,
                Ends { from: self.addr, sender: self.id, route },
                datagram,
                &mut agenda,
            );
        }
    }

    fn program_for(&mut self, incoming: &Incoming) -> Option<(FlowId, Box<dyn Program>)> {
        let id: ConnId = incoming.syn().id;
        self.flows.claim(incoming.peer_addr(), id)
    }

    fn settled(&mut self, flow: FlowId, side: Side, app: u32) {
        self.flows.settled(flow, side, app);
        self.trace.note(self.now, Noted::Started(flow, side));
    }

    fn alarm(&mut self, app: u32, at: u64) {
        self.queue.push(at, Event::Alarm(self.id, app));
    }

    fn left(&mut self, flow: FlowId, side: Side, how: Leave) {
        self.flows.left(flow, side);
        self.trace.note(self.now, Noted::Ended(flow, side, how));
    }

    fn scratch(&mut self) -> &mut [u8] {
        self.scratch
    }
}
