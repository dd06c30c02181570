//! Hosts that sleep: their datagrams pile up until the socket's buffer is full, their timers fire late.

use std::time::Duration;

use super::{Event, Machine, World};
use crate::link::nanos;
use crate::sim::host::HostId;
use crate::sim::trace::Event as Noted;

/// What a system charges for a datagram in a socket's buffer besides its bytes.
const DATAGRAM_COST: usize = 512;

impl World {
    /// The host does nothing from now on until it is [woken up](Self::wake_up).
    pub(in crate::sim) fn suspend(&mut self, id: HostId, lasts: Duration, clock_stops: bool) {
        let now = self.now;
        self.note(Noted::Changed("falls asleep", id));
        let host = self.machine_mut(id);
        if std::mem::replace(&mut host.asleep, true) {
            return;
        }
        host.clock.stop(now, clock_stops);
        host.wakes_at = now.saturating_add(nanos(lasts));
        let at = host.wakes_at;
        self.queue.push(at, Event::Look(id));
    }

    /// The host goes on. Does nothing to one that is awake.
    pub(in crate::sim) fn wake_up(&mut self, id: HostId) {
        let now = self.now;
        let host = self.machine_mut(id);
        if !std::mem::replace(&mut host.asleep, false) {
            return;
        }
        host.clock.stop(now, false);
        self.note(Noted::Changed("wakes up", id));
        // What it was asked for meanwhile, to close for one, it does now, besides answering what has arrived.
        self.oracles.acted();
        self.look(id);
    }

    /// A datagram for a host that sleeps.
    pub(super) fn arrive_in_sleep(&mut self, parcel: u32, id: HostId) {
        let Self { machines, network, .. } = self;
        let Machine::Host(host) = &mut machines[id.get()] else { return };
        let charge = |parcel: u32| network.parcel(parcel).bytes.len() + DATAGRAM_COST;
        let waiting: usize = host.inbox_bytes;
        if waiting + charge(parcel) > host.inbox_max {
            self.overflowed += 1;
            network.release(parcel);
        } else {
            host.inbox_bytes += charge(parcel);
            host.inbox.push(parcel);
        }
    }

    /// Asks for a turn of that host.
    pub(in crate::sim) fn look_at(&mut self, host: HostId, at: u64) {
        self.queue.push(at, Event::Look(host));
    }

    pub(in crate::sim) const fn now_nanos(&self) -> u64 {
        self.now
    }

    pub(in crate::sim) const fn host_count(&self) -> u32 {
        self.machines.len() as u32
    }

    pub(in crate::sim) fn has_endpoint(&self, id: HostId) -> bool {
        matches!(self.machines[id.get()], Machine::Host(_))
    }

    pub(in crate::sim) fn take_addr(&mut self, id: HostId, addr: std::net::SocketAddr) {
        self.note(Noted::Changed("moves", id));
        match &mut self.machines[id.get()] {
            Machine::Host(host) => host.set_addr(addr),
            Machine::Raw(host) => host.addr = addr,
            Machine::Router(_) => {}
        }
    }
}
