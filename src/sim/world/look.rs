//! What can be asked of a world, and what it says when it is stuck.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Machine, World};
use crate::link::{Direction, LinkStats, Rng};
use crate::proto::endpoint::Endpoint;
use crate::sim::flow::{FlowId, Side};
use crate::sim::host::HostId;
use crate::sim::ledger::Exchanged;
use crate::sim::network::LineId;
use crate::sim::raw::RawProgram;
use crate::sim::stuck::{Stuck, Why};
use crate::sim::trace::Trace;

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
    ///
    /// # Panics
    /// For a raw host.
    #[must_use]
    pub fn endpoint(&self, host: HostId) -> &Endpoint {
        self.machine(host).endpoint()
    }

    /// What a direction of a line has done.
    #[must_use]
    pub fn link_stats(&self, line: LineId, direction: Direction) -> &LinkStats {
        self.network.pipe(line, direction).stats()
    }

    /// The address of a host.
    #[must_use]
    pub fn addr(&self, host: HostId) -> SocketAddr {
        match &self.machines[host.get()] {
            Machine::Host(host) => host.addr(),
            Machine::Raw(host) => host.addr,
            Machine::Router(_) => panic!("{host} is no host"),
        }
    }

    /// What the endpoint of a host has exchanged with one address.
    ///
    /// # Panics
    /// For a raw host.
    #[must_use]
    pub fn exchanged(&self, host: HostId, peer: SocketAddr) -> Exchanged {
        self.machine(host).exchanged(peer)
    }

    /// Datagrams that were sent to where nobody is: answers to spoofed addresses mostly.
    #[must_use]
    pub const fn nowhere(&self) -> u64 {
        self.nowhere
    }

    /// Datagrams that came to hosts that slept, and found the buffer of the socket full.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// The program of a raw host, to read out what it has seen; `None` if it is another one.
    #[must_use]
    pub fn raw<T: RawProgram>(&self, host: HostId) -> Option<&T> {
        match &self.machines[host.get()] {
            Machine::Raw(host) => host.program().downcast_ref(),
            Machine::Host(_) | Machine::Router(_) => None,
        }
    }

    /// The program of a raw host, to be told something; `None` if it is another one.
    #[must_use]
    pub fn raw_mut<T: RawProgram>(&mut self, host: HostId) -> Option<&mut T> {
        match &mut self.machines[host.get()] {
            Machine::Raw(host) => host.program_mut().downcast_mut(),
            Machine::Host(_) | Machine::Router(_) => None,
        }
    }

    pub(super) fn stuck(&self, why: Why) -> Stuck {
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
        let tables = self.machines.iter().enumerate().map(|(index, machine)| match machine {
            Machine::Host(host) => {
                let endpoint = host.endpoint();
                let (connections, half_open) = (endpoint.connections(), endpoint.half_open());
                let routes = endpoint.routes_len();
                format!("h{index}: {connections} connections, {half_open} half-open, {routes} routes")
            }
            Machine::Raw(host) => format!("h{index}: {:?}", host.program),
            Machine::Router(router) => format!("h{index}: {:?}", router.stats(self.now)),
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
            .field("machines", &self.machines.len())
            .field("running", &self.running())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
