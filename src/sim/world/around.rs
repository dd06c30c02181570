//! The world as one of its machines sees it during its turn: the way out, and who is to serve an incoming connection.

use std::net::SocketAddr;
use std::ops::Range;

use super::Event;
use crate::link::{Fault, FaultKind};
use crate::proto::batch::{Batch, Path};
use crate::proto::endpoint::Incoming;
use crate::sim::flow::{FlowId, Flows, Side};
use crate::sim::host::{HostId, Outside};
use crate::sim::network::{Ends, HOPS, Network, Outlet, Route, Trail};
use crate::sim::oracle::Oracles;
use crate::sim::program::{Leave, Program, Report};
use crate::sim::queue::Queue;
use crate::sim::raw::Wire;
use crate::sim::trace::{Event as Noted, Trace};
use crate::wire::{ConnId, Packet, Timestamp};

/// What will happen and what has happened, as the network sees them.
pub(super) struct Agenda<'a> {
    pub(super) now: u64,
    pub(super) queue: &'a mut Queue<Event>,
    pub(super) trace: &'a mut Trace,
    pub(super) oracles: &'a mut Oracles,
}

impl Outlet for Agenda<'_> {
    fn arrive(&mut self, at: u64, parcel: u32, to: HostId) {
        self.queue.push(at, Event::Arrive(parcel, to));
    }

    fn wake(&mut self, at: u64, pipe: usize) {
        self.queue.push(at, Event::Wire(pipe));
    }

    fn note(&mut self, event: Noted) {
        if let Noted::Struck(datagram, Fault::Flipped) = event {
            self.oracles.falsified(datagram.ends());
        }
        self.trace.note(self.now, event);
    }
}

/// The world without its hosts, as one of them sees it.
pub(super) struct Around<'a> {
    pub(super) id: HostId,
    pub(super) now: u64,
    pub(super) queue: &'a mut Queue<Event>,
    pub(super) network: &'a mut Network,
    pub(super) flows: &'a mut Flows,
    pub(super) trace: &'a mut Trace,
    pub(super) nowhere: &'a mut u64,
    pub(super) scratch: &'a mut [u8],
    pub(super) oracles: &'a mut Oracles,
}

impl Around<'_> {
    fn carry(&mut self, from: SocketAddr, route: Route, hops: u8, datagram: &[u8]) {
        let Self { now, queue, trace, oracles, .. } = self;
        let mut agenda = Agenda { now: *now, queue, trace, oracles };
        let trail = Trail { host: self.id, aimed: route.addressed, hops, routed: false };
        self.network.send(self.now, Ends { from, sender: self.id, route, trail }, datagram, &mut agenda);
    }

    /// The same way seen from its other end, unless it is hidden behind routers.
    fn reverse(route: Route, from: SocketAddr) -> Option<(HostId, SocketAddr)> {
        (!route.routed).then_some((route.to, from))
    }
}

/// What a packet says about its sender's clock, if that had been set by so many microseconds: its send time, and the
/// delay that was measured by that clock.
fn move_stamps(datagram: &mut [u8], shift: u32) {
    let Ok(Packet { mut header, extensions, .. }) = Packet::decode(datagram) else { return };
    header.sent_at = Timestamp::new(header.sent_at.get().wrapping_add(shift));
    if header.delay.is_sample() {
        header.delay = header.delay.shifted(shift.cast_signed()).as_sample();
    }
    let first = extensions.first_id();
    if let Some(bytes) = datagram.first_chunk_mut() {
        header.write(first, bytes);
    }
}

impl Wire for Around<'_> {
    fn put(&mut self, from: SocketAddr, to: SocketAddr, hops: u8, bytes: &[u8]) {
        match self.network.route(self.id, to) {
            Some(route) => {
                if self.oracles.oversees(self.id) {
                    let least = self.network.least_round_trip(route, from);
                    self.oracles.sent(self.now, (self.id, to), Self::reverse(route, from), bytes, least);
                }
                self.carry(from, route, hops, bytes);
            }
            None => *self.nowhere += 1,
        }
    }
}

impl Outside for Around<'_> {
    fn send(&mut self, from: SocketAddr, path: Path, batch: &Batch, which: Range<usize>, shift: u32) {
        let Some(route) = self.network.route(self.id, path.peer) else {
            // As if there were no such network.
            *self.nowhere += which.len() as u64;
            return;
        };
        let (here, there) = ((self.id, path.peer), Self::reverse(route, from));
        let least = self.network.least_round_trip(route, from);
        let hops = batch.ttl().unwrap_or(HOPS);
        for datagram in batch.datagrams().skip(which.start).take(which.len()) {
            self.oracles.sent(self.now, here, there, datagram, least);
            if shift == 0 {
                self.carry(from, route, hops, datagram);
            } else {
                let mut moved = datagram.to_vec();
                move_stamps(&mut moved, shift);
                self.carry(from, route, hops, &moved);
            }
        }
    }

    fn wake(&mut self, at: u64) {
        self.queue.push(at, Event::Look(self.id));
    }

    fn unblocked(&mut self) {
        self.oracles.excuse_repeats(self.now, self.id);
    }

    fn fault(&mut self, kind: FaultKind) {
        self.network.count(kind);
    }

    fn program_for(&mut self, incoming: &Incoming) -> Option<(FlowId, Box<dyn Program>)> {
        // Whether it is accepted or refused, more may follow than the answer to what has arrived.
        self.oracles.acted();
        let id: ConnId = incoming.syn().id;
        let from = self.network.origin(self.id, incoming.peer_addr());
        let claimed = self.flows.claim(self.id, from, id)?;
        if let Some(from) = from
            && self.flows.end(claimed.0, Side::Initiator).host == self.id
        {
            // One who has moved meanwhile is served as a stranger, and gets what is meant for strangers.
            self.oracles.falsified([from, self.id]);
        }
        Some(claimed)
    }

    fn settled(&mut self, flow: FlowId, side: Side, app: u32) {
        self.flows.settled(flow, side, app);
        self.trace.note(self.now, Noted::Started(flow, side));
    }

    fn timed(&mut self) {
        self.oracles.acted();
    }

    fn stepped(&mut self, flow: FlowId, side: Side, report: &Report) {
        let hosts = Side::BOTH.map(|side| self.flows.end(flow, side).host);
        self.oracles.stepped(flow, side, hosts, report);
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
