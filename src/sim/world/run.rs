//! Lets time pass: one event after the other, each handed to the machine that it concerns.

use std::time::Duration;

use super::around::Agenda;
use super::{Event, Machine, World};
use crate::link::nanos;
use crate::sim::host::{HostId, NEVER};
use crate::sim::network::{Network, Parcel};
use crate::sim::oracle::{Oracles, Turn};
use crate::sim::raw::Cause;
use crate::sim::stuck::{Stuck, Why};
use crate::sim::trace::{Datagram, Event as Noted};

/// How many datagrams a host looks at in one turn at most, as the driver does.
const ARRIVALS_MAX: usize = 256;

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
            if let Some(why) = self.trouble() {
                return Err(self.stuck(why));
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
    ///
    /// # Panics
    /// If an oracle is violated, or a host is busy for ever.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now.saturating_add(nanos(duration));
        while self.queue.peek().is_some_and(|(at, _)| at <= end) {
            self.step();
            if let Some(why) = self.trouble() {
                panic!("{}", self.stuck(why));
            }
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
        self.run_until(Self::is_settled, Duration::from_nanos(rest))?;
        self.watch_end();
        self.run_until(Self::is_settled, Duration::ZERO)
    }

    /// Whether no program runs, nothing is under way and the tables of all endpoints are empty.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let empty = |machine: &Machine| {
            let Machine::Host(host) = machine else { return true };
            let endpoint = host.endpoint();
            endpoint.connections() == 0
                && endpoint.half_open() == 0
                && endpoint.routes_len() == 0
                && endpoint.ready_len() == 0
        };
        self.running() == 0 && self.network.under_way() == 0 && self.machines.iter().all(empty)
    }

    /// One event.
    pub(super) fn step_unwatched(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        debug_assert!(at >= self.now, "time does not go back");
        self.now = at;
        self.events += 1;
        match event {
            Event::Arrive(parcel, host) => self.arrive(parcel, host),
            Event::Look(host) => self.look_or_wake(host),
            Event::Timer(host) => self.timer(host),
            Event::Alarm(host, app) => {
                self.machine_mut(host).alarm_rang(app, at);
                self.turn(host);
            }
            Event::Wire(pipe) => {
                let Self { queue, network, trace, oracles, now, .. } = self;
                network.wake(*now, pipe, &mut Agenda { now: *now, queue, trace, oracles });
            }
            Event::Act(place) => {
                if let Some(action) = self.actions[place].take() {
                    action(self);
                }
            }
        }
    }

    fn timer(&mut self, id: HostId) {
        let at = self.now;
        match &mut self.machines[id.get()] {
            Machine::Host(host) if host.timer_at == at => {
                host.timer_at = NEVER;
                self.note(Noted::Timer(id));
                self.turn(id);
            }
            Machine::Raw(host) if host.alarm_at == at => {
                host.alarm_at = NEVER;
                self.note(Noted::Timer(id));
                self.call_raw(id, None);
            }
            // Set anew meanwhile.
            _ => {}
        }
    }

    /// A datagram, and those for the same host that arrive at the same moment and are next.
    fn arrive(&mut self, first: u32, id: HostId) {
        if self.network.parcel(first).astray {
            self.nowhere += 1;
            return self.network.release(first);
        }
        let host = match &mut self.machines[id.get()] {
            Machine::Host(host) => host,
            Machine::Raw(_) => return self.call_raw(id, Some(first)),
            Machine::Router(_) => return self.route(id, first),
        };
        if host.asleep {
            return self.arrive_in_sleep(first, id);
        }
        let (delay, idle) = (nanos(host.turn_delay), host.inbox.is_empty());
        host.inbox.push(first);
        let mut arrivals = 1;
        while let Some((at, &Event::Arrive(parcel, to))) = self.queue.peek()
            && at == self.now
            && to == id
            && arrivals < ARRIVALS_MAX
            && !self.network.parcel(parcel).astray
        {
            self.queue.pop();
            self.events += 1;
            arrivals += 1;
            host.inbox.push(parcel);
        }
        if delay == 0 {
            self.look(id);
        } else if idle {
            self.queue.push(self.now + delay, Event::Look(id));
        }
    }

    fn look_or_wake(&mut self, id: HostId) {
        match &self.machines[id.get()] {
            Machine::Host(host) if host.asleep && host.wakes_at == self.now => self.wake_up(id),
            _ => self.look(id),
        }
    }

    pub(super) fn look(&mut self, id: HostId) {
        let mut more = true;
        while more {
            let Self { machines, network, trace, oracles, nowhere, now, .. } = self;
            let Machine::Host(host) = &mut machines[id.get()] else { return };
            if host.asleep {
                return;
            }
            let mut inbox = std::mem::take(&mut host.inbox);
            let looked_at = inbox.len().min(ARRIVALS_MAX);
            if host.is_alive() {
                for &parcel in &inbox[..looked_at] {
                    meet(network, oracles, id, parcel);
                    let parcel = network.parcel(parcel);
                    trace.note(*now, Noted::Arrived(Datagram::new(parcel.sender, id, &parcel.bytes)));
                    oracles.arrived(id, parcel.from, &parcel.bytes);
                }
                let parcels = inbox[..looked_at].iter().map(|&parcel| network.parcel(parcel));
                *nowhere += host.receive(*now, parcels);
            }
            inbox.drain(..looked_at).for_each(|parcel| network.release(parcel));
            more = !inbox.is_empty();
            host.inbox = inbox;
            host.inbox_bytes = 0;
            // What has waited for something else goes out now too.
            let other = looked_at == 0 || host.is_overdue(*now) || host.is_blocked();
            self.turn_for(id, if other { Turn::Other } else { Turn::Arrivals });
        }
    }

    /// Calls a raw program about this datagram, or else because of its alarm.
    fn call_raw(&mut self, id: HostId, parcel: Option<u32>) {
        if let Some(parcel) = parcel {
            meet(&mut self.network, &mut self.oracles, id, parcel);
        }
        let taken = parcel.map(|place| self.network.take(place));
        let now = self.now;
        let (Machine::Raw(host), mut around) = self.split(id) else { return };
        if host.alive {
            let overseen = around.oracles.oversees(id);
            let cause = match &taken {
                Some(parcel) => {
                    if overseen {
                        around.oracles.arrived(id, parcel.from, &parcel.bytes);
                    }
                    around.trace.note(now, Noted::Arrived(Datagram::new(parcel.sender, id, &parcel.bytes)));
                    Cause::Datagram { from: parcel.from, addressed: parcel.addressed, bytes: &parcel.bytes }
                }
                None => Cause::Alarm,
            };
            let turn = if taken.is_some() { Turn::Arrivals } else { Turn::Other };
            let alarm = host.call(now, cause, &mut around);
            if overseen {
                around.oracles.turned(turn);
            }
            if let Some(at) = alarm {
                self.queue.push(at, Event::Timer(id));
            }
        }
        // The memory is used again.
        if let (Some(place), Some(parcel)) = (parcel, taken) {
            self.network.put_back(place, parcel);
        }
    }

    pub(in crate::sim) fn turn(&mut self, host: HostId) {
        self.turn_for(host, Turn::Other);
    }

    fn turn_for(&mut self, host: HostId, cause: Turn) {
        let now = self.now;
        let (Machine::Host(machine), mut outside) = self.split(host) else { return };
        if !machine.is_alive() || machine.asleep {
            return;
        }
        let outcome = machine.turn(now, &mut outside);
        let timeout = machine.next_timeout(now).filter(|&at| at < machine.timer_at);
        if let Some(at) = timeout {
            machine.timer_at = at;
            self.queue.push(at, Event::Timer(host));
        }
        if outcome.is_err() {
            self.livelock = Some(host);
        }
        self.watch_turn(host, cause);
    }

    pub(in crate::sim) fn note(&mut self, event: Noted) {
        self.trace.note(self.now, event);
    }
}

/// Two hosts have routers between them, and one has just heard from the other.
fn meet(network: &mut Network, oracles: &mut Oracles, host: HostId, parcel: u32) {
    let &Parcel { from, trail, .. } = network.parcel(parcel);
    if trail.routed && network.origin(host, from) != Some(trail.host) {
        network.heard(host, from, trail);
    }
    if trail.routed {
        oracles.met((host, from), (trail.host, trail.aimed));
    }
}
