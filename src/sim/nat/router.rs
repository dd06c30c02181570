//! What stands between hosts and passes datagrams on: a box, or the backbone, which is all routers between boxes.
//!
//! Decides about one datagram: whereto, under which addresses and with how many hops left. Knows what is attached to
//! it by address; does not send anything itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::refusal::{NatRefusal, NatStats};
use super::setup::{Nat, NatMapping, NatV6};
use super::table::Table;
use crate::link::Rng;
use crate::sim::host::HostId;

/// A way to a neighbour: the pipe that leads there, and who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Hop {
    pub(in crate::sim) pipe: usize,
    pub(in crate::sim) to: HostId,
}

/// A datagram on its way through a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Transit {
    pub(in crate::sim) from: SocketAddr,
    pub(in crate::sim) to: SocketAddr,
    /// How many routers it may still pass.
    pub(in crate::sim) hops: u8,
}

#[derive(Debug)]
enum Kind {
    Backbone { hops: u8 },
    Box(Box<Table>),
}

/// A router.
#[derive(Debug)]
pub(in crate::sim) struct Router {
    kind: Kind,
    /// The address that it has outside, if it translates.
    outer: Option<Ipv4Addr>,
    up: Option<Hop>,
    /// Who is behind it, by address. Never iterated.
    down: HashMap<IpAddr, Hop>,
    /// Addresses of the network behind it that were given away.
    given: u32,
    stats: NatStats,
}

impl Router {
    pub(in crate::sim) fn backbone(hops: u8) -> Self {
        Self::new(Kind::Backbone { hops }, None, None)
    }

    pub(in crate::sim) fn nat(setup: Nat, rng: Rng, up: Hop, outer: Option<Ipv4Addr>) -> Self {
        Self::new(Kind::Box(Box::new(Table::new(setup, rng))), Some(up), outer)
    }

    fn new(kind: Kind, up: Option<Hop>, outer: Option<Ipv4Addr>) -> Self {
        Self { kind, outer, up, down: HashMap::new(), given: 0, stats: NatStats::default() }
    }

    pub(in crate::sim) const fn set_hops(&mut self, passed: u8) {
        if let Kind::Backbone { hops } = &mut self.kind {
            *hops = passed;
        }
    }

    pub(in crate::sim) const fn up(&self) -> Option<Hop> {
        self.up
    }

    pub(in crate::sim) const fn outer(&self) -> Option<Ipv4Addr> {
        self.outer
    }

    /// The next IPv4 address of the network behind it, if it has one of its own.
    pub(in crate::sim) fn give_v4(&mut self) -> Option<Ipv4Addr> {
        let network = match &self.kind {
            // Set aside for tests of networks (RFC 2544).
            Kind::Backbone { .. } => Ipv4Addr::new(198, 18, 0, 0),
            Kind::Box(_) if self.outer.is_none() => return None,
            Kind::Box(table) => table.setup().lan,
        };
        self.given += 1;
        // The first of a network is its router's.
        Some(Ipv4Addr::from(u32::from(network) + 1 + self.given))
    }

    /// That address is behind it.
    pub(in crate::sim) fn attach(&mut self, addr: IpAddr, hop: Hop) {
        self.down.insert(addr, hop);
    }

    /// Whoever had one address has the other.
    pub(in crate::sim) fn rename(&mut self, from: IpAddr, to: IpAddr) {
        if let Some(hop) = self.down.remove(&from) {
            self.down.insert(to, hop);
        }
    }

    /// All mappings are forgotten.
    pub(in crate::sim) fn reboot(&mut self) {
        if let Kind::Box(table) = &mut self.kind {
            table.reboot();
            self.stats.reboots += 1;
        }
    }

    pub(in crate::sim) fn stats(&self, now: u64) -> NatStats {
        let mut stats = self.stats;
        if let Kind::Box(table) = &self.kind {
            (stats.mappings, stats.moved, stats.flows) = (table.made, table.moved, table.live(now));
        }
        stats
    }

    /// Whereto a datagram goes that came from this neighbour, and as what.
    pub(in crate::sim) fn pass(
        &mut self,
        now: u64,
        neighbour: HostId,
        transit: Transit,
    ) -> Result<(Hop, Transit), NatRefusal> {
        let passed = match self.kind {
            Kind::Backbone { hops } => self.across(hops, transit),
            Kind::Box(_) if self.up.is_some_and(|up| up.to == neighbour) => self.inwards(now, transit),
            Kind::Box(_) => self.outwards(now, transit),
        };
        if let Err(why) = passed {
            self.stats.refuse(why);
        }
        passed
    }

    fn down(&self, to: SocketAddr) -> Result<Hop, NatRefusal> {
        self.down.get(&to.ip()).copied().ok_or(NatRefusal::NoRoute)
    }

    /// Across the backbone.
    fn across(&self, hops: u8, transit: Transit) -> Result<(Hop, Transit), NatRefusal> {
        let hop = self.down(transit.to)?;
        Ok((hop, transit.after(hops)?))
    }

    /// Through a box, from inside.
    fn outwards(&mut self, now: u64, transit: Transit) -> Result<(Hop, Transit), NatRefusal> {
        let Transit { from, to, .. } = transit;
        if let Some(hop) = self.down.get(&to.ip()) {
            // Within one network nothing is routed.
            return Ok((*hop, transit));
        }
        let Kind::Box(table) = &mut self.kind else { return Err(NatRefusal::NoRoute) };
        let setup = *table.setup();
        let next = transit.after(1)?;
        let up = self.up.ok_or(NatRefusal::NoRoute)?;
        if setup.blocks_udp || (to.is_ipv6() && setup.v6 == NatV6::Broken) {
            return Err(NatRefusal::Blocked);
        }
        if to.is_ipv6() || setup.mapping == NatMapping::None {
            table.pass_out(now, from, to)?;
            self.stats.out += 1;
            return Ok((up, next));
        }
        let outer = IpAddr::from(self.outer.ok_or(NatRefusal::NoRoute)?);
        let turns = to.ip() == outer;
        if turns && !setup.hairpin {
            return Err(NatRefusal::NoHairpin);
        }
        let next = Transit { from: SocketAddr::new(outer, table.translate_out(now, from, to)?), ..next };
        self.stats.out += 1;
        if turns {
            self.stats.hairpins += 1;
            return self.inwards(now, Transit { hops: transit.hops, ..next });
        }
        Ok((up, next))
    }

    /// Through a box, from outside.
    fn inwards(&mut self, now: u64, transit: Transit) -> Result<(Hop, Transit), NatRefusal> {
        let Transit { from, to, .. } = transit;
        let Kind::Box(table) = &mut self.kind else { return Err(NatRefusal::NoRoute) };
        let setup = *table.setup();
        if setup.blocks_udp || (to.is_ipv6() && setup.v6 == NatV6::Broken) {
            return Err(NatRefusal::Blocked);
        }
        let inside = match (to, setup.v6) {
            (SocketAddr::V6(_), NatV6::Firewall(filter)) => table.pass_in(now, from, to, filter).map(|()| to),
            _ if setup.mapping == NatMapping::None => table.pass_in(now, from, to, setup.filter).map(|()| to),
            _ => table.translate_in(now, from, to.port()),
        }?;
        let hop = self.down(inside)?;
        let next = Transit { to: inside, ..transit.after(1)? };
        self.stats.back += 1;
        Ok((hop, next))
    }
}

impl Transit {
    /// After so many routers.
    fn after(self, routers: u8) -> Result<Self, NatRefusal> {
        let hops = self.hops.checked_sub(routers).filter(|&hops| hops > 0);
        hops.map(|hops| Self { hops, ..self }).ok_or(NatRefusal::HopsExceeded)
    }
}
