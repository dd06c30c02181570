//! Worlds with boxes in them: who is put where, and how a datagram gets through a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::around::Agenda;
use super::{Event, Machine, World};
use crate::config::Config;
use crate::link::Line;
use crate::sim::flow::FlowId;
use crate::sim::host::{Host, HostId};
use crate::sim::nat::{Hop, Nat, NatId, NatStats, Place, Router, Transit};
use crate::sim::network::{Ends, Network, Route, Trail};
use crate::sim::raw::{RawHost, RawProgram};
use crate::sim::trace::{Datagram, Event as Noted};
use crate::sim::traffic::Traffic;
use crate::time::Instant;

/// How many routers the backbone has, unless told otherwise: more than a datagram gets past that is to open its
/// sender's boxes only.
const BACKBONE_HOPS: u8 = 8;

/// What the world knows about its routers.
#[derive(Debug, Default)]
pub(super) struct Topology {
    /// Once anything is attached to it.
    backbone: Option<HostId>,
    /// IPv6 addresses that were given away.
    given_v6: u32,
}

/// Boxes, and what is behind them.
impl World {
    /// A box on the backbone. The line leads there, and it sends in the direction
    /// [`There`](crate::sim::Direction::There).
    pub fn nat(&mut self, nat: Nat, line: impl Into<Line>) -> NatId {
        let backbone = self.backbone();
        self.add_nat(backbone, nat, line.into())
    }

    /// A box behind another one: a home behind a carrier's.
    ///
    /// # Panics
    /// If both networks have the same addresses: see [`Nat::lan`].
    pub fn nat_behind(&mut self, outer: NatId, nat: Nat, line: impl Into<Line>) -> NatId {
        self.add_nat(outer.0, nat, line.into())
    }

    /// A host that listens, somewhere in the network. The line leads to its box or to the backbone, and the host sends
    /// in the direction [`There`](crate::sim::Direction::There).
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn host_at(&mut self, place: Place, config: Config, line: impl Into<Line>) -> HostId {
        config.validate().expect("a valid configuration");
        let (id, addrs) = self.put(place, line.into());
        let seed = self.rng.bytes();
        self.oracles.note_dialect(config.dialect);
        let host = Host::new(&addrs, Arc::new(config), seed, Instant::ZERO);
        self.machines.push(Machine::Host(Box::new(host)));
        id
    }

    /// A host without an endpoint, somewhere in the network. Whatever is sent to its address reaches it, on any port.
    pub fn raw_host_at(&mut self, place: Place, program: impl RawProgram, line: impl Into<Line>) -> HostId {
        let (id, addrs) = self.put(place, line.into());
        let rng = self.rng.fork();
        let host = RawHost::new(Box::new(program), addrs[0], rng, self.now);
        self.machines.push(Machine::Raw(Box::new(host)));
        self.queue.push(self.now, Event::Timer(id));
        self.oracles.note_raw(id);
        id
    }

    /// Rings for the program of a raw host now, so that it looks at what [`raw_mut`](Self::raw_mut) has told it.
    pub fn ring(&mut self, raw: HostId) {
        if let Machine::Raw(host) = &mut self.machines[raw.get()] {
            host.alarm_at = self.now;
            self.queue.push(self.now, Event::Timer(raw));
        }
    }

    /// How many routers the backbone has (default 8). A datagram needs more hops than that to get across.
    pub fn set_backbone_hops(&mut self, hops: u8) {
        let backbone = self.backbone();
        self.router_mut(backbone).set_hops(hops);
    }

    /// The box has forgotten all mappings, and gives away other ports from now on.
    pub fn reboot(&mut self, nat: NatId) {
        self.note(Noted::Changed("reboots", nat.0));
        self.router_mut(nat.0).reboot();
    }

    /// What a box has done.
    #[must_use]
    pub fn nat_stats(&self, nat: NatId) -> NatStats {
        self.router(nat.0).stats(self.now)
    }

    /// What the backbone has done: it drops what has no hops left, or goes to where nobody is.
    #[must_use]
    pub fn backbone_stats(&self) -> NatStats {
        let backbone = self.topology.backbone;
        backbone.map_or_else(NatStats::default, |backbone| self.router(backbone).stats(self.now))
    }

    /// The address that a box has outside, if it translates.
    #[must_use]
    pub fn nat_addr(&self, nat: NatId) -> Option<IpAddr> {
        self.router(nat.0).outer().map(IpAddr::from)
    }

    /// The addresses of all sockets that a host has now; that of a raw host.
    pub fn addrs(&self, host: HostId) -> impl Iterator<Item = SocketAddr> {
        let addrs: Vec<_> = match &self.machines[host.get()] {
            Machine::Host(host) => host.addrs().collect(),
            Machine::Raw(host) => vec![host.addr],
            Machine::Router(_) => Vec::new(),
        };
        addrs.into_iter()
    }

    /// Starts a connection to a host by another address than its first: one that a box has for it, or that of IPv6.
    pub fn start_to(&mut self, from: HostId, to: HostId, addr: SocketAddr, traffic: &Traffic) -> FlowId {
        let (initiator, acceptor) = self.programs(traffic);
        self.connect_to(from, (to, addr), None, initiator, acceptor)
    }
}

/// Where everything is.
impl World {
    fn backbone(&mut self) -> HostId {
        if let Some(backbone) = self.topology.backbone {
            return backbone;
        }
        let backbone = self.next_id();
        self.machines.push(Machine::Router(Box::new(Router::backbone(BACKBONE_HOPS))));
        self.topology.backbone = Some(backbone);
        backbone
    }

    fn add_nat(&mut self, outside: HostId, nat: Nat, line: Line) -> NatId {
        let id = self.next_id();
        let [there, back] = Network::pipes_of(self.add_line(line));
        let translates = nat.translates();
        let outer = translates.then(|| self.give_v4(outside));
        if let Some(outer) = outer {
            let network = |ip: Ipv4Addr| u32::from(ip) >> 8;
            assert!(network(outer) != network(nat.network()), "the same addresses inside and outside");
        }
        let rng = self.rng.fork();
        let up = Hop { pipe: there, to: outside };
        self.machines.push(Machine::Router(Box::new(Router::nat(nat, rng, up, outer))));
        if let Some(outer) = outer {
            self.attach(outside, outer.into(), Hop { pipe: back, to: id });
        }
        NatId(id)
    }

    /// Gives addresses to a host that is about to be made, and makes it reachable.
    fn put(&mut self, place: Place, line: Line) -> (HostId, Vec<SocketAddr>) {
        let router = match place.behind {
            Some(nat) => nat.0,
            None => self.backbone(),
        };
        let id = self.next_id();
        let [there, back] = Network::pipes_of(self.add_line(line));
        self.network.set_gateway(id, Hop { pipe: there, to: router });
        let v4 = place.v4.then(|| IpAddr::V4(self.give_v4(router)));
        let v6 = place.v6.then(|| IpAddr::V6(self.give_v6(place.behind)));
        let ips: Vec<_> = v4.into_iter().chain(v6).collect();
        for &ip in &ips {
            self.attach(router, ip, Hop { pipe: back, to: id });
        }
        let ports = [Some(place.port), place.second_port].into_iter().flatten();
        let addrs = ports.flat_map(|port| ips.iter().map(move |&ip| SocketAddr::new(ip, port))).collect();
        (id, addrs)
    }

    fn give_v4(&mut self, mut router: HostId) -> Ipv4Addr {
        loop {
            let machine = self.router_mut(router);
            if let Some(addr) = machine.give_v4() {
                return addr;
            }
            router = machine.up().expect("what gives no addresses is behind something that does").to;
        }
    }

    /// An IPv6 address in the network of its box; on the backbone everybody has a network (/64) to himself.
    fn give_v6(&mut self, behind: Option<NatId>) -> Ipv6Addr {
        self.topology.given_v6 += 1;
        let halves = |number: u32| [(number >> 16) as u16, number as u16];
        let [low, high] = [halves(self.topology.given_v6), halves(behind.map_or(0, |nat| nat.0.index()))];
        // Set aside for documentation (RFC 3849).
        match behind {
            Some(_) => Ipv6Addr::new(0x2001, 0xdb8, high[0] | 0x8000, high[1], 0, 0, low[0], low[1]),
            None => Ipv6Addr::new(0x2001, 0xdb8, low[0], low[1], 0, 0, 0, 1),
        }
    }

    /// That address is behind this router, and so behind all routers further out to which it is not hidden.
    fn attach(&mut self, mut router: HostId, addr: IpAddr, mut hop: Hop) {
        loop {
            let machine = self.router_mut(router);
            machine.attach(addr, hop);
            let hidden = addr.is_ipv4() && machine.outer().is_some();
            let Some(up) = machine.up().filter(|_| !hidden) else { return };
            (router, hop) = (up.to, Hop { pipe: Network::opposite(up.pipe), to: router });
        }
    }

    /// A host has moved within its network.
    pub(in crate::sim) fn rename(&mut self, host: HostId, from: IpAddr, to: IpAddr) {
        let mut next = self.network.gateway(host).map(|hop| hop.to);
        while let Some(router) = next {
            let machine = self.router_mut(router);
            machine.rename(from, to);
            let hidden = from.is_ipv4() && machine.outer().is_some();
            next = machine.up().filter(|_| !hidden).map(|up| up.to);
        }
    }

    fn router(&self, id: HostId) -> &Router {
        match &self.machines[id.get()] {
            Machine::Router(router) => router,
            Machine::Host(_) | Machine::Raw(_) => panic!("{id} is no router"),
        }
    }

    fn router_mut(&mut self, id: HostId) -> &mut Router {
        match &mut self.machines[id.get()] {
            Machine::Router(router) => router,
            Machine::Host(_) | Machine::Raw(_) => panic!("{id} is no router"),
        }
    }

    /// A datagram has come to a router.
    pub(super) fn route(&mut self, id: HostId, place: u32) {
        let parcel = self.network.take(place);
        let Self { machines, queue, network, trace, oracles, now, .. } = self;
        if let Machine::Router(router) = &mut machines[id.get()] {
            let transit = Transit { from: parcel.from, to: parcel.addressed, hops: parcel.trail.hops };
            match router.pass(*now, parcel.sender, transit) {
                Ok((hop, Transit { from, to, hops })) => {
                    let route = Route { pipe: hop.pipe, to: hop.to, addressed: to, routed: true };
                    let trail = Trail { hops, routed: true, ..parcel.trail };
                    let ends = Ends { from, sender: id, route, trail };
                    let mut agenda = Agenda { now: *now, queue, trace, oracles };
                    network.send(*now, ends, &parcel.bytes, &mut agenda);
                }
                Err(why) => {
                    let datagram = Datagram::new(parcel.sender, id, &parcel.bytes);
                    trace.note(*now, Noted::Refused(datagram, why));
                }
            }
        }
        self.network.put_back(place, parcel);
    }
}
