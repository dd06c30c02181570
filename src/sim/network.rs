//! The wires between hosts: who reaches whom through which pipe, and what is under way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::fault::{FaultCounts, FaultKind};
use super::host::HostId;
use super::link::Line;
use super::pipe::{Pipe, nanos};
use super::seed::Rng;
use super::trace::{Datagram, Event as Noted};

/// Which line of a world: the pair of links that [`World::join`](super::World::join) made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(u32);

/// One of the two directions of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the first host to the second.
    There,
    /// From the second host to the first.
    Back,
}

impl LineId {
    const fn pipe(self, direction: Direction) -> usize {
        2 * self.0 as usize + direction as usize
    }
}

/// A datagram under way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) from: SocketAddr,
    pub(super) sender: HostId,
    pub(super) to: HostId,
    pub(super) bytes: Vec<u8>,
    /// Its addressee has moved away.
    pub(super) astray: bool,
}

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Two for each line: there and back.
    pipes: Vec<Pipe>,
    routes: HashMap<(HostId, SocketAddr), Route>,
    /// Who has, or once had, an address. Never iterated.
    owners: HashMap<SocketAddr, HostId>,
    parcels: Vec<Parcel>,
    /// Places in `parcels` that are free, with their memory.
    free: Vec<u32>,
    /// Faults that are not a pipe's.
    counted: FaultCounts,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pipe: usize,
    pub(super) to: HostId,
}

/// Who sends a datagram, and whereto.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) sender: HostId,
    pub(super) route: Route,
}

/// Where the network says what is going to happen and what has.
pub(super) trait Outlet {
    /// The datagram arrives then.
    fn arrive(&mut self, at: u64, parcel: u32, to: HostId);
    /// The network wants to be [woken](Network::wake) then, for that pipe.
    fn wake(&mut self, at: u64, pipe: usize);
    /// That has happened just now.
    fn note(&mut self, event: Noted);
}

impl Network {
    pub(super) fn add_line(&mut self, line: Line, rng: &mut Rng) -> LineId {
        let id = LineId(u32::try_from(self.pipes.len() / 2).expect("fewer than 4 billion lines"));
        self.pipes.extend([line.there, line.back].map(|link| Pipe::new(link, rng.fork())));
        id
    }

    pub(super) fn add_route(&mut self, from: HostId, to: (HostId, SocketAddr), line: LineId, way: Direction) {
        self.routes.insert((from, to.1), Route { pipe: line.pipe(way), to: to.0 });
        self.owners.insert(to.1, to.0);
    }

    /// Who has, or once had, this address.
    pub(super) fn owner(&self, addr: SocketAddr) -> Option<HostId> {
        self.owners.get(&addr).copied()
    }

    /// The host has another address: whoever could reach it reaches it there, and what is under way does not.
    pub(super) fn move_host(&mut self, host: HostId, from: SocketAddr, to: SocketAddr) {
        let leads_there =
            |(_, addr): &(HostId, SocketAddr), route: &mut Route| route.to == host && *addr == from;
        let moved: Vec<_> = self.routes.extract_if(leads_there).collect();
        self.routes.extend(moved.into_iter().map(|((sender, _), route)| ((sender, to), route)));
        self.owners.insert(to, host);
        self.parcels.iter_mut().filter(|parcel| parcel.to == host).for_each(|parcel| parcel.astray = true);
    }

    pub(super) fn pipe(&self, line: LineId, direction: Direction) -> &Pipe {
        &self.pipes[line.pipe(direction)]
    }

    pub(super) fn pipe_mut(&mut self, line: LineId, direction: Direction) -> &mut Pipe {
        &mut self.pipes[line.pipe(direction)]
    }

    pub(super) fn pipes(&self) -> &[Pipe] {
        &self.pipes
    }

    pub(super) fn pipes_mut(&mut self) -> &mut [Pipe] {
        &mut self.pipes
    }

    pub(super) fn route(&self, from: HostId, to: SocketAddr) -> Option<Route> {
        self.routes.get(&(from, to)).copied()
    }

    /// The shortest time in which an answer to `from` can come back that way, nanoseconds.
    pub(super) fn least_round_trip(&self, route: Route, from: SocketAddr) -> u64 {
        let there = self.pipes[route.pipe].link().delay;
        let back =
            self.route(route.to, from).map_or(Duration::ZERO, |back| self.pipes[back.pipe].link().delay);
        nanos(there + back)
    }

    /// Hands a datagram to a link at `now`, nanoseconds.
    pub(super) fn send(&mut self, now: u64, ends: Ends, datagram: &[u8], outlet: &mut impl Outlet) {
        let Ends { from, sender, route } = ends;
        let fate = self.pipes[route.pipe].offer(now, datagram);
        let noted = Datagram::new(sender, route.to, datagram);
        if fate.is_plain() {
            outlet.note(Noted::Sent(noted));
        }
        for fault in fate.faults() {
            outlet.note(Noted::Struck(noted, fault));
        }
        for at in [fate.arrives, fate.again].into_iter().flatten() {
            let parcel = self.store(from, sender, route.to, datagram);
            if let Some(bit) = fate.flip {
                self.flip(parcel, bit);
            }
            outlet.arrive(at, parcel, route.to);
        }
    }

    /// A link has asked to be called at this time.
    pub(super) fn wake(&mut self, _now: u64, _pipe: usize, _outlet: &mut impl Outlet) {}

    /// Keeps a copy of the datagram until it is [taken](Self::take).
    pub(super) fn store(&mut self, from: SocketAddr, sender: HostId, to: HostId, datagram: &[u8]) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.parcels.len()).expect("fewer than 4 billion datagrams under way");
            self.parcels.push(Parcel { from, sender, to, bytes: Vec::new(), astray: false });
            index
        });
        let parcel = &mut self.parcels[index as usize];
        (parcel.from, parcel.sender, parcel.to, parcel.astray) = (from, sender, to, false);
        parcel.bytes.clear();
        parcel.bytes.extend_from_slice(datagram);
        index
    }

    pub(super) fn flip(&mut self, parcel: u32, bit: u64) {
        let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if let Some(byte) = self.parcels[parcel as usize].bytes.get_mut(place) {
            *byte ^= 1 << (bit % 8);
        }
    }

    pub(super) fn parcel(&self, index: u32) -> &Parcel {
        &self.parcels[index as usize]
    }

    /// Takes the datagram out of its place, until it is [put back](Self::put_back).
    pub(super) fn take(&mut self, index: u32) -> Parcel {
        let parcel = &mut self.parcels[index as usize];
        let bytes = std::mem::take(&mut parcel.bytes);
        Parcel { bytes, ..*parcel }
    }

    /// The datagram has been looked at: its place and its memory may be used again.
    pub(super) fn put_back(&mut self, index: u32, parcel: Parcel) {
        self.parcels[index as usize] = parcel;
        self.release(index);
    }

    /// The parcel's place may be used again.
    pub(super) fn release(&mut self, index: u32) {
        self.free.push(index);
    }

    /// A fault has happened that is not a link's.
    pub(super) const fn count(&mut self, kind: FaultKind) {
        self.counted.add(kind, 1);
    }

    pub(super) fn fault_counts(&self) -> FaultCounts {
        let mut counts = self.counted;
        self.pipes.iter().for_each(|pipe| counts += pipe.stats().fault_counts());
        counts
    }

    /// Datagrams under way.
    pub(super) fn under_way(&self) -> usize {
        self.parcels.len() - self.free.len()
    }
}
