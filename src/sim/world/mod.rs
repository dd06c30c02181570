//! Virtual time: what happens next, and to whom, until something has come true.
//!
//! One heap of events in a total order, one seed from which all chance comes. Two worlds that are built the same way
//! with the same seed go the same way, event by event; [`World::trace`] proves it.

mod around;
mod boxes;
mod look;
mod run;
mod sleep;
mod watched;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use self::around::Around;
use self::boxes::Topology;
use super::flow::{FlowId, Flows, Side};
use super::host::{Host, HostId};
use super::nat::Router;
use super::network::{LineId, Network};
use super::oracle::Oracles;
use super::program::{Program, Report};
use super::queue::Queue;
use super::raw::{RawHost, RawProgram};
use super::trace::{Event as Noted, Trace};
use super::traffic::Traffic;
use crate::config::Config;
use crate::link::{Direction, FaultKind, Line, Rng, nanos};
use crate::proto::endpoint::Handle;
use crate::stats::StreamStats;
use crate::time::Instant;
use crate::wire::ConnId;

/// Hosts, the lines between them, and time.
pub struct World {
    seed: u64,
    rng: Rng,
    /// Nanoseconds since the world began.
    now: u64,
    machines: Vec<Machine>,
    queue: Queue<Event>,
    pub(super) network: Network,
    flows: Flows,
    trace: Trace,
    actions: Vec<Option<Action>>,
    scratch: Vec<u8>,
    events: u64,
    /// Datagrams to where nobody is.
    nowhere: u64,
    /// Datagrams that found the buffer of a socket full.
    overflowed: u64,
    livelock: Option<HostId>,
    oracles: Oracles,
    topology: Topology,
}

/// What a [`HostId`] stands for.
#[derive(Debug)]
enum Machine {
    /// One with an endpoint.
    Host(Box<Host>),
    /// One without.
    Raw(Box<RawHost>),
    /// A box, or the backbone.
    Router(Box<Router>),
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
    /// The timer of an endpoint, or the alarm of a raw program.
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
            machines: Vec::new(),
            queue: Queue::new(),
            network: Network::default(),
            flows: Flows::default(),
            trace: Trace::new(seed),
            actions: Vec::new(),
            scratch: vec![0; 64 << 10],
            events: 0,
            nowhere: 0,
            overflowed: 0,
            livelock: None,
            oracles: Oracles::default(),
            topology: Topology::default(),
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
        let (id, addr) = self.next_host();
        let seed = self.rng.bytes();
        self.oracles.note_dialect(config.dialect);
        self.machines.push(Machine::Host(Box::new(Host::new(&[addr], Arc::new(config), seed, start))));
        id
    }

    /// A host without an endpoint, on which this program lives.
    pub fn raw_host(&mut self, program: impl RawProgram) -> HostId {
        let (id, addr) = self.next_host();
        let rng = self.rng.fork();
        self.machines.push(Machine::Raw(Box::new(RawHost::new(Box::new(program), addr, rng, self.now))));
        self.queue.push(self.now, Event::Timer(id));
        self.oracles.note_raw(id);
        id
    }

    fn next_id(&self) -> HostId {
        HostId::new(u32::try_from(self.machines.len()).expect("fewer than 4 billion hosts"))
    }

    fn next_host(&self) -> (HostId, SocketAddr) {
        let id = self.next_id();
        let [_, b, c, d] = (id.index() + 1).to_be_bytes();
        (id, SocketAddr::from((Ipv4Addr::new(10, b, c, d), 6881)))
    }

    /// Joins two hosts by a line of their own. A [`Link`](crate::sim::Link) alone stands for both directions.
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
        let [from, to] = [first, second].map(|id| (id, self.addr(id)));
        self.network.add_route(from.0, to, line, Direction::There);
        self.network.add_route(to.0, from, line, Direction::Back);
    }

    /// How long datagrams wait before the host looks at them, all that came meanwhile at once (default 0). Stands
    /// for a busy machine.
    pub fn set_turn_delay(&mut self, host: HostId, delay: Duration) {
        self.machine_mut(host).turn_delay = delay;
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
        self.count_fault(FaultKind::DroppedFuture);
        let (machine, mut outside) = self.split(host);
        match machine {
            Machine::Host(host) => host.vanish(&mut outside),
            Machine::Raw(host) => host.alive = false,
            Machine::Router(_) => {}
        }
    }

    /// The host's endpoint closes: no new connections, the old ones end within
    /// [`Config::linger`](crate::Config::linger).
    pub fn close(&mut self, host: HostId) {
        self.note(Noted::Changed("closes", host));
        self.machine(host).close();
        self.turn(host);
    }
}

/// Connections.
impl World {
    /// Starts a connection now, with the two programs of `traffic` at its ends.
    pub fn start(&mut self, from: HostId, to: HostId, traffic: &Traffic) -> FlowId {
        let (initiator, acceptor) = self.programs(traffic);
        self.connect(from, to, initiator, acceptor)
    }

    /// Starts so many connections, one now and one each time that `every` has passed; [`flows`](Self::flows) tells
    /// which. For many short ones.
    pub fn start_many(&mut self, from: HostId, to: HostId, traffic: &Traffic, count: u32, every: Duration) {
        let traffic = *traffic;
        (0..count).for_each(|number| {
            self.later(every * number, move |world| {
                world.start(from, to, &traffic);
            });
        });
    }

    fn programs(&mut self, traffic: &Traffic) -> (Box<dyn Program>, Box<dyn Program>) {
        if traffic.reads_slowly() {
            self.count_fault(FaultKind::SlowReader);
        }
        traffic.programs(u64::from(self.flows.len()))
    }

    /// All connections, in the order in which they were started.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        (0..self.flows.len()).map(FlowId::new)
    }

    /// Starts a connection with an id of your own, on which the initiator will receive: for ids that collide, and ids
    /// that are used again.
    pub fn start_as(&mut self, from: HostId, to: HostId, id: ConnId, traffic: &Traffic) -> FlowId {
        let (initiator, acceptor) = self.programs(traffic);
        self.connect_as(from, to, Some(id), initiator, acceptor)
    }

    /// Starts a connection now, with programs of your own at its ends.
    pub fn connect(
        &mut self,
        from: HostId,
        to: HostId,
        initiator: Box<dyn Program>,
        acceptor: Box<dyn Program>,
    ) -> FlowId {
        self.connect_as(from, to, None, initiator, acceptor)
    }

    /// The same with a connection id of your own, on which the initiator will receive. If it is in use towards that
    /// host, the connection [ends at once](crate::CloseReason::IdInUse).
    pub fn connect_as(
        &mut self,
        from: HostId,
        to: HostId,
        id: Option<ConnId>,
        initiator: Box<dyn Program>,
        acceptor: Box<dyn Program>,
    ) -> FlowId {
        let addr = self.addr(to);
        self.connect_to(from, (to, addr), id, initiator, acceptor)
    }

    fn connect_to(
        &mut self,
        from: HostId,
        (to, peer): (HostId, SocketAddr),
        id: Option<ConnId>,
        initiator: Box<dyn Program>,
        acceptor: Box<dyn Program>,
    ) -> FlowId {
        let flow = self.flows.add([from, to], acceptor);
        let now = self.now;
        let (machine, mut outside) = self.split_host(from);
        let app = machine.connect(now, (peer, id), flow, initiator, &mut outside);
        let started = machine.handle(app).filter(|handle| handle.close_reason().is_none());
        if let Some(id) = started.map(|handle| handle.conn_ids().recv) {
            self.flows.expect(flow, id);
            self.oracles.asked(from, peer, id);
        }
        self.turn(from);
        flow
    }

    /// Whoever connects to this host from now on without a [`start`](Self::start) gets the acceptor's program of
    /// `traffic`: raw hosts, mostly. By default they are refused, see [`strays`](Self::strays).
    pub fn serve(&mut self, host: HostId, traffic: &Traffic) {
        self.flows.serve(host, *traffic);
    }

    pub(super) fn serve_if_not(&mut self, host: HostId, traffic: &Traffic) {
        if !self.flows.serves(host) {
            self.serve(host, traffic);
        }
    }

    /// The connections that [`serve`](Self::serve) has brought about on this host so far. They have a program on the
    /// acceptor's side only.
    pub fn served(&self, host: HostId) -> impl Iterator<Item = FlowId> {
        self.flows.served(host)
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
        end.app.map_or_else(Report::default, |app| self.machine(end.host).report(app))
    }

    /// Numbers about that end of a connection, as they are or as they were when its program left.
    #[must_use]
    pub fn stream_stats(&self, flow: FlowId, side: Side) -> StreamStats {
        let end = self.flows.end(flow, side);
        end.app.map_or_else(StreamStats::default, |app| self.machine(end.host).stream_stats(app))
    }

    /// Which host has that end of a connection.
    #[must_use]
    pub fn host_of(&self, flow: FlowId, side: Side) -> HostId {
        self.flows.end(flow, side).host
    }

    /// That end of a connection, while its program runs.
    #[must_use]
    pub fn handle(&self, flow: FlowId, side: Side) -> Option<&Handle> {
        let end = self.flows.end(flow, side);
        end.app.and_then(|app| self.machine(end.host).handle(app))
    }

    /// Incoming connections that nobody had started, and that were refused: SYNs that came late, or twice.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.flows.strays
    }
}

/// Machines.
impl World {
    /// The machine with an endpoint that this is.
    ///
    /// # Panics
    /// If it is a raw host.
    pub(super) fn machine(&self, id: HostId) -> &Host {
        match &self.machines[id.get()] {
            Machine::Host(host) => host,
            Machine::Raw(_) | Machine::Router(_) => panic!("{id} has no endpoint"),
        }
    }

    pub(super) fn machine_mut(&mut self, id: HostId) -> &mut Host {
        match &mut self.machines[id.get()] {
            Machine::Host(host) => host,
            Machine::Raw(_) | Machine::Router(_) => panic!("{id} has no endpoint"),
        }
    }

    pub(super) const fn flows_mut(&mut self) -> &mut Flows {
        &mut self.flows
    }

    /// A machine, and the world without its machines.
    fn split(&mut self, id: HostId) -> (&mut Machine, Around<'_>) {
        let Self { machines, queue, network, flows, trace, scratch, nowhere, oracles, now, .. } = self;
        let around = Around { id, now: *now, queue, network, flows, trace, nowhere, scratch, oracles };
        (&mut machines[id.get()], around)
    }

    /// The same for one that has an endpoint.
    fn split_host(&mut self, id: HostId) -> (&mut Host, Around<'_>) {
        match self.split(id) {
            (Machine::Host(host), around) => (host, around),
            (Machine::Raw(_) | Machine::Router(_), _) => panic!("{id} has no endpoint"),
        }
    }
}
