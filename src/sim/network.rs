//! The wires between hosts: who reaches whom through which pipe, and what is under way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::capture::{Capture, Carried};
use super::host::HostId;
use super::nat::Hop;
use super::trace::{Datagram, Event as Noted};
use crate::link::{
    Direction, Fate, Fault, FaultCounts, FaultKind, Line, LinkFault, Pipe, Rng, Sighting, Tracker, Waiting,
    nanos,
};

/// Which line of a world: the pair of links that [`World::join`](super::World::join) made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(u32);

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
    /// The address that it was sent to, as it is on this line.
    pub(super) addressed: SocketAddr,
    pub(super) trail: Trail,
    pub(super) bytes: Vec<u8>,
    /// Its addressee has moved away.
    pub(super) astray: bool,
}

impl Parcel {
    /// Who has sent it, and whereto, through that pipe.
    const fn ends(&self, pipe: usize) -> Ends {
        let route = Route { pipe, to: self.to, addressed: self.addressed, routed: self.trail.routed };
        Ends { from: self.from, sender: self.sender, route, trail: self.trail }
    }
}

/// Where a datagram comes from, whatever has become of its addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail {
    /// Who has sent it.
    pub(super) host: HostId,
    /// The address that it was sent to.
    pub(super) aimed: SocketAddr,
    /// How many routers it may still pass.
    pub(super) hops: u8,
    /// Whether it has passed any.
    pub(super) routed: bool,
}

/// How many routers a datagram may pass, unless its sender says otherwise.
pub(super) const HOPS: u8 = 64;

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Two for each line: there and back.
    pipes: Vec<Pipe>,
    /// One for each line, once a link of it aims at certain packets.
    trackers: Vec<Option<Box<Tracker>>>,
    routes: HashMap<(HostId, SocketAddr), Route>,
    /// Where what has no route goes. Never iterated.
    gateways: HashMap<HostId, Hop>,
    /// Who is behind an address, as a host sees it that hears from there through routers. Never iterated.
    origins: HashMap<(HostId, SocketAddr), HostId>,
    /// Who has, or once had, an address. Never iterated.
    owners: HashMap<SocketAddr, HostId>,
    parcels: Vec<Parcel>,
    /// Places in `parcels` that are free, with their memory.
    free: Vec<u32>,
    capture: Option<Box<Capture>>,
    /// Kept for its memory.
    dropped: Vec<u32>,
    /// Faults that are not a pipe's.
    counted: FaultCounts,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) pipe: usize,
    pub(super) to: HostId,
    pub(super) addressed: SocketAddr,
    /// Whether there is a router at its end.
    pub(super) routed: bool,
}

/// Who sends a datagram, and whereto.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) sender: HostId,
    pub(super) route: Route,
    pub(super) trail: Trail,
}

impl Ends {
    /// A datagram of theirs at that time.
    const fn carrying(self, at: u64, bytes: &[u8]) -> Carried<'_> {
        let Route { pipe, addressed, .. } = self.route;
        Carried { at, pipe, from: self.from, to: addressed, bytes }
    }
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
        self.trackers.push(None);
        if let Some(capture) = &mut self.capture {
            capture.line(&self.pipes[2 * id.0 as usize..]);
        }
        id
    }

    pub(super) fn add_route(&mut self, from: HostId, to: (HostId, SocketAddr), line: LineId, way: Direction) {
        self.routes
            .insert((from, to.1), Route { pipe: line.pipe(way), to: to.0, addressed: to.1, routed: false });
        self.owners.insert(to.1, to.0);
    }

    /// That is where this machine sends what it has no route for.
    pub(super) fn set_gateway(&mut self, host: HostId, hop: Hop) {
        self.gateways.insert(host, hop);
    }

    pub(super) fn gateway(&self, host: HostId) -> Option<Hop> {
        self.gateways.get(&host).copied()
    }

    /// The ways of that line: what its first end sends, and what its second sends.
    pub(super) const fn pipes_of(line: LineId) -> [usize; 2] {
        [line.pipe(Direction::There), line.pipe(Direction::Back)]
    }

    /// A host has heard from an address, and who has sent that.
    pub(super) fn heard(&mut self, host: HostId, from: SocketAddr, trail: Trail) {
        self.origins.insert((host, from), trail.host);
    }

    /// Who has spoken to this host from that address, or else has it, or once had it.
    pub(super) fn origin(&self, host: HostId, from: SocketAddr) -> Option<HostId> {
        self.origins.get(&(host, from)).copied().or_else(|| self.owner(from))
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
        self.routes.extend(
            moved.into_iter().map(|((sender, _), route)| ((sender, to), Route { addressed: to, ..route })),
        );
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

    /// All links are without faults from now on, filters included.
    pub(super) fn heal(&mut self) {
        for pipe in &mut self.pipes {
            let link = pipe.link_mut();
            *link = link.healed();
            pipe.set_filter(None);
            self.free.extend(pipe.forget());
        }
    }

    /// Begins a recording, in place of another one.
    pub(super) fn record(&mut self, mut capture: Capture) {
        self.pipes.chunks_exact(2).for_each(|line| capture.line(line));
        self.capture = Some(Box::new(capture));
    }

    /// Gives back the recording that was going on.
    pub(super) fn stop_recording(&mut self) -> Option<Capture> {
        self.capture.take().map(|capture| *capture)
    }

    /// The link has this fault as well from now on, in place of another of its kind.
    pub(super) fn set_fault(&mut self, line: LineId, direction: Direction, fault: LinkFault) {
        let link = self.pipe_mut(line, direction).link_mut();
        *link = link.with(fault);
    }

    /// The link has no fault of that kind any more.
    pub(super) fn clear_fault(&mut self, line: LineId, direction: Direction, kind: FaultKind) {
        let pipe = &mut self.pipes[line.pipe(direction)];
        *pipe.link_mut() = pipe.link().without(kind);
        if kind == FaultKind::Replay {
            self.free.extend(pipe.forget());
        }
    }

    pub(super) fn route(&self, from: HostId, to: SocketAddr) -> Option<Route> {
        self.routes.get(&(from, to)).copied().or_else(|| {
            let Hop { pipe, to: router } = self.gateway(from)?;
            Some(Route { pipe, to: router, addressed: to, routed: true })
        })
    }

    /// The other direction of the same line.
    pub(super) const fn opposite(pipe: usize) -> usize {
        pipe ^ 1
    }

    /// The shortest time in which an answer to `from` can come back that way, nanoseconds.
    pub(super) fn least_round_trip(&self, route: Route, from: SocketAddr) -> u64 {
        let there = self.pipes[route.pipe].link().delay;
        let back = match route.routed {
            true => Some(Self::opposite(route.pipe)),
            false => self.route(route.to, from).map(|back| back.pipe),
        };
        let back = back.map_or(Duration::ZERO, |back| self.pipes[back].link().delay);
        nanos(there + back)
    }

    /// Hands a datagram to a link at `now`, nanoseconds.
    pub(super) fn send(&mut self, now: u64, ends: Ends, datagram: &[u8], outlet: &mut impl Outlet) {
        let pipe = ends.route.pipe;
        let seen = self.sight(pipe, datagram);
        let fate = self.pipes[pipe].offer(now, datagram, seen);
        if fate.is_plain() {
            outlet.note(Noted::Sent(Datagram::new(ends.sender, ends.route.to, datagram)));
        }
        if let Some(waiting) = fate.waits {
            let parcel = self.store(ends, datagram);
            self.pipes[pipe].enqueue(Waiting { parcel, ..waiting });
            self.drain(now, pipe, outlet);
        } else {
            self.dispatch(now, ends, fate, datagram, outlet);
        }
    }

    /// What the packet is, if one of the two links of the line wants to know.
    fn sight(&mut self, pipe: usize, datagram: &[u8]) -> Option<Sighting> {
        let line = pipe / 2;
        if !self.pipes[2 * line].aims() && !self.pipes[2 * line + 1].aims() {
            return None;
        }
        let direction = if pipe.is_multiple_of(2) { Direction::There } else { Direction::Back };
        self.trackers[line].get_or_insert_default().sight(direction, datagram)
    }

    /// A link has asked to be called at this time.
    pub(super) fn wake(&mut self, now: u64, pipe: usize, outlet: &mut impl Outlet) {
        self.drain(now, pipe, outlet);
        while let Some(parcel) = self.pipes[pipe].pop_held(now) {
            outlet.arrive(now, parcel, self.parcels[parcel as usize].to);
        }
        while let Some((parcel, wanted)) = self.pipes[pipe].pop_replay(now) {
            if !wanted {
                self.release(parcel);
                continue;
            }
            let old = &self.parcels[parcel as usize];
            outlet.note(Noted::Struck(Datagram::new(old.sender, old.to, &old.bytes), Fault::Replayed));
            outlet.arrive(now, parcel, old.to);
            self.pipes[pipe].count(Fault::Replayed);
            if let Some(capture) = &mut self.capture {
                capture.datagram(old.ends(pipe).carrying(now, &old.bytes), [Fault::Replayed].into_iter());
            }
        }
    }

    /// Lets go on their way, or drops, the packets that leave a queue at its head.
    fn drain(&mut self, now: u64, pipe: usize, outlet: &mut impl Outlet) {
        let mut dropped = std::mem::take(&mut self.dropped);
        loop {
            let next = self.pipes[pipe].dequeue(now, &mut dropped);
            for parcel in dropped.drain(..) {
                let lost = &self.parcels[parcel as usize];
                outlet
                    .note(Noted::Struck(Datagram::new(lost.sender, lost.to, &lost.bytes), Fault::WaitedLong));
                if let Some(capture) = &mut self.capture {
                    let carried = lost.ends(pipe).carrying(now, &lost.bytes);
                    capture.datagram(carried, [Fault::WaitedLong].into_iter());
                }
                self.release(parcel);
            }
            let Some((waiting, departs)) = next else { break };
            let parcel = self.take(waiting.parcel);
            if parcel.astray {
                self.put_back(waiting.parcel, parcel);
                continue;
            }
            let ends = parcel.ends(pipe);
            let fate = self.pipes[pipe].release(departs, &waiting, &parcel.bytes);
            self.dispatch(now, ends, fate, &parcel.bytes, outlet);
            self.put_back(waiting.parcel, parcel);
        }
        self.dropped = dropped;
        if let Some(at) = self.pipes[pipe].call_at() {
            outlet.wake(at, pipe);
        }
    }

    /// Lets come true what has been decided about a packet.
    fn dispatch(&mut self, now: u64, ends: Ends, fate: Fate, datagram: &[u8], outlet: &mut impl Outlet) {
        if let Some(capture) = &mut self.capture {
            capture.datagram(ends.carrying(now, datagram), fate.faults());
        }
        let Ends { sender, route: Route { pipe, to, .. }, .. } = ends;
        if !fate.is_plain() {
            let struck = Datagram::new(sender, to, datagram);
            fate.faults().for_each(|fault| outlet.note(Noted::Struck(struck, fault)));
        }
        if let Some((at, left)) = fate.arrives.zip(fate.behind) {
            let parcel = self.store_as(ends, fate, datagram);
            outlet.wake(self.pipes[pipe].hold(parcel, left, at), pipe);
        } else if let Some(at) = fate.arrives {
            let parcel = self.store_as(ends, fate, datagram);
            outlet.arrive(at, parcel, to);
            let Self { pipes, parcels, .. } = self;
            pipes[pipe].overtake(|held| outlet.arrive(at, held, parcels[held as usize].to));
        }
        if let Some(at) = fate.again {
            let parcel = self.store_as(ends, fate, datagram);
            outlet.arrive(at, parcel, to);
        }
        if let Some(at) = fate.replay {
            let parcel = self.store_as(ends, fate, datagram);
            self.pipes[pipe].keep(parcel, at);
            outlet.wake(at, pipe);
        }
    }

    /// Keeps a copy of the datagram as it will arrive.
    fn store_as(&mut self, ends: Ends, fate: Fate, datagram: &[u8]) -> u32 {
        let parcel = self.store(ends, datagram);
        let bytes = &mut self.parcels[parcel as usize].bytes;
        if let Some(bit) = fate.flip {
            let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (bit % 8);
            }
        }
        if let Some(left) = fate.cut {
            bytes.truncate(left);
        }
        parcel
    }

    /// Keeps a copy of the datagram until it is [taken](Self::take).
    fn store(&mut self, ends: Ends, datagram: &[u8]) -> u32 {
        let Ends { from, sender, route: Route { to, addressed, .. }, trail } = ends;
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.parcels.len()).expect("fewer than 4 billion datagrams under way");
            let bytes = Vec::new();
            self.parcels.push(Parcel { from, sender, to, addressed, trail, bytes, astray: false });
            index
        });
        let parcel = &mut self.parcels[index as usize];
        (parcel.from, parcel.sender, parcel.to) = (from, sender, to);
        (parcel.addressed, parcel.trail, parcel.astray) = (addressed, trail, false);
        parcel.bytes.clear();
        parcel.bytes.extend_from_slice(datagram);
        index
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
