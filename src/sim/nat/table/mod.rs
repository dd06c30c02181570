//! What a box remembers: who inside has talked to whom outside, under which port, and until when that counts.
//!
//! Two kinds of memory tell the truth: a hold for each socket inside, and a flow for each socket and each of its peers.
//! The rest are indexes into them, and may be out of date: what they say is looked up before it is believed. Nothing
//! is done when something expires; it is removed when there is no room, or when it is in the way.
//!
//! Pure: time is an argument. Knows nothing of lines, hops and datagrams.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::ports::Picker;
use super::refusal::NatRefusal;
use super::setup::{Nat, NatFilter, NatMapping, NatTimeouts, NatV6};
use crate::link::{Rng, nanos};

/// Until when something counts, and whether it was used in both directions.
#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    expires: u64,
    out: bool,
    back: bool,
}

impl Timer {
    const fn is_live(self, now: u64) -> bool {
        now < self.expires
    }

    fn extend(&mut self, now: u64, timeouts: &NatTimeouts) {
        let lasts = if self.out && self.back { timeouts.answered } else { timeouts.unanswered };
        self.expires = self.expires.max(now.saturating_add(nanos(lasts)));
    }

    fn went_out(&mut self, now: u64, timeouts: &NatTimeouts) {
        if !self.is_live(now) {
            *self = Self::default();
        }
        self.out = true;
        self.extend(now, timeouts);
    }

    fn came_back(&mut self, now: u64, setup: &Nat) {
        self.back = true;
        if setup.inbound_refreshes {
            self.extend(now, &setup.timeouts);
        }
    }
}

/// A socket inside, or one of its flows: the port that it has outside.
#[derive(Clone, Copy, Debug)]
struct Hold {
    outside: u16,
    timer: Timer,
}

impl Hold {
    fn new(outside: u16) -> Self {
        Self { outside, timer: Timer::default() }
    }
}

/// Whose a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    inside: SocketAddr,
    /// Where a port is for one peer only.
    remote: Option<SocketAddr>,
}

/// What a box remembers. Never more than [`Nat::capacity`] flows, and at most twice as many entries in any other
/// table. None of them is ever iterated, but for removing what has expired.
#[derive(Debug)]
struct Memory {
    setup: Nat,
    /// What each socket inside has, where that does not depend on its peer.
    holds: HashMap<SocketAddr, Hold>,
    /// What each socket inside has for each peer.
    flows: HashMap<(SocketAddr, SocketAddr), Hold>,
    /// Which socket inside a peer means by a port.
    replies: HashMap<(u16, SocketAddr), SocketAddr>,
    /// Which socket inside anybody means by a port.
    owners: HashMap<u16, Owner>,
    /// IP addresses that a socket inside has sent to.
    contacts: HashMap<(SocketAddr, IpAddr), Timer>,
    /// Flows of the box's own: it has taken what came to that port from there, until then.
    locals: HashMap<(u16, SocketAddr), u64>,
    /// When it last looked for what has expired.
    swept: u64,
}

/// The memory of a box, and its choice of ports.
#[derive(Debug)]
pub(super) struct Table {
    memory: Memory,
    picker: Picker,
    /// Mappings that got another port than they would have, because of a flow of the box's own.
    pub(super) moved: u64,
    /// Mappings ever made.
    pub(super) made: u64,
}

/// How often it looks for what has expired when there is no room, nanoseconds.
const SWEEP_EVERY: u64 = 100_000_000;

impl Table {
    pub(super) fn new(setup: Nat, rng: Rng) -> Self {
        Self { memory: Memory::new(setup), picker: Picker::new(rng), moved: 0, made: 0 }
    }

    pub(super) const fn setup(&self) -> &Nat {
        &self.memory.setup
    }

    /// All is forgotten.
    pub(super) fn reboot(&mut self) {
        self.picker.reboot();
        self.memory = Memory::new(self.memory.setup);
    }

    /// Flows that have not expired.
    pub(super) fn live(&self, now: u64) -> usize {
        self.memory.flows.values().filter(|hold| hold.timer.is_live(now)).count()
    }

    /// Something leaves the socket `inside` for `remote`: the port that it has outside.
    pub(super) fn translate_out(
        &mut self,
        now: u64,
        inside: SocketAddr,
        remote: SocketAddr,
    ) -> Result<u16, NatRefusal> {
        self.memory.make_room(now, inside, remote)?;
        let outside = match self.memory.mapped(now, inside, remote) {
            Some(outside) => outside,
            None => self.map(now, inside, remote)?,
        };
        self.memory.use_flow(now, inside, remote, outside);
        if !self.memory.is_dependent() {
            self.memory.use_hold(now, inside, outside);
        }
        Ok(outside)
    }

    /// Something came from `remote` to that port of the box: the socket inside that is meant.
    pub(super) fn translate_in(
        &mut self,
        now: u64,
        remote: SocketAddr,
        outside: u16,
    ) -> Result<SocketAddr, NatRefusal> {
        let Some(inside) = self.memory.meant(now, remote, outside) else {
            return Err(self.memory.take(now, remote, outside));
        };
        self.memory.let_in(now, remote, inside, self.memory.setup.filter)?;
        Ok(inside)
    }

    /// Something leaves the socket `inside` for `remote`, and nothing is translated.
    pub(super) fn pass_out(
        &mut self,
        now: u64,
        inside: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), NatRefusal> {
        self.memory.make_room(now, inside, remote)?;
        self.memory.use_flow(now, inside, remote, inside.port());
        Ok(())
    }

    /// Something came from `remote` for the socket `inside`, and nothing is translated.
    pub(super) fn pass_in(
        &mut self,
        now: u64,
        remote: SocketAddr,
        inside: SocketAddr,
        filter: NatFilter,
    ) -> Result<(), NatRefusal> {
        self.memory.let_in(now, remote, inside, filter)
    }

    /// A new mapping.
    fn map(&mut self, now: u64, inside: SocketAddr, remote: SocketAddr) -> Result<u16, NatRefusal> {
        let Self { memory, picker, .. } = self;
        let free = |port: u16| memory.is_free(now, port, remote);
        let picked = picker.pick(&memory.setup, (inside.ip(), inside.port()), free);
        let outside = picked.ok_or(NatRefusal::NoPort)?;
        self.made += 1;
        let displaced = outside != inside.port() && memory.is_own(now, inside.port(), remote);
        self.moved += u64::from(displaced);
        let remote = memory.is_dependent().then_some(remote);
        memory.owners.insert(outside, Owner { inside, remote });
        Ok(outside)
    }
}

impl Memory {
    fn new(setup: Nat) -> Self {
        Self {
            setup,
            holds: HashMap::new(),
            flows: HashMap::new(),
            replies: HashMap::new(),
            owners: HashMap::new(),
            contacts: HashMap::new(),
            locals: HashMap::new(),
            swept: 0,
        }
    }

    /// Whether a socket inside has a port for each peer.
    fn is_dependent(&self) -> bool {
        self.setup.mapping == NatMapping::EndpointDependent
    }

    /// Whether a port may have different owners, which peers tell apart.
    fn shares_ports(&self) -> bool {
        self.is_dependent() && self.setup.filter == NatFilter::AddressAndPortDependent
    }

    /// The port that it has already.
    fn mapped(&self, now: u64, inside: SocketAddr, remote: SocketAddr) -> Option<u16> {
        let hold = match self.is_dependent() {
            true => self.flows.get(&(inside, remote)),
            false => self.holds.get(&inside),
        };
        hold.filter(|hold| hold.timer.is_live(now)).map(|hold| hold.outside)
    }

    /// Which socket inside this peer means by this port.
    fn meant(&self, now: u64, remote: SocketAddr, outside: u16) -> Option<SocketAddr> {
        let by_peer = self.replies.get(&(outside, remote)).copied();
        let by_peer = by_peer.filter(|&inside| self.has_flow(now, inside, remote, outside));
        if by_peer.is_some() || self.shares_ports() {
            return by_peer;
        }
        let owner = self.owners.get(&outside).filter(|owner| self.owns(now, outside, owner));
        owner.map(|owner| owner.inside)
    }

    /// Whether contacts are looked at.
    fn filters_by_address(&self) -> bool {
        self.setup.filter == NatFilter::AddressDependent
            || self.setup.v6 == NatV6::Firewall(NatFilter::AddressDependent)
    }

    fn has_flow(&self, now: u64, inside: SocketAddr, remote: SocketAddr, outside: u16) -> bool {
        let flow = self.flows.get(&(inside, remote));
        flow.is_some_and(|flow| flow.outside == outside && flow.timer.is_live(now))
    }

    /// Whether the port is still theirs.
    fn owns(&self, now: u64, outside: u16, owner: &Owner) -> bool {
        let hold = match owner.remote {
            Some(remote) => self.flows.get(&(owner.inside, remote)),
            None => self.holds.get(&owner.inside),
        };
        hold.is_some_and(|hold| hold.outside == outside && hold.timer.is_live(now))
    }

    fn is_own(&self, now: u64, outside: u16, remote: SocketAddr) -> bool {
        self.locals.get(&(outside, remote)).is_some_and(|&expires| now < expires)
    }

    /// Whether a mapping may have that port.
    fn is_free(&self, now: u64, outside: u16, remote: SocketAddr) -> bool {
        let taken = if self.shares_ports() {
            let meant = self.replies.get(&(outside, remote));
            meant.is_some_and(|&inside| self.has_flow(now, inside, remote, outside))
        } else {
            self.owners.get(&outside).is_some_and(|owner| self.owns(now, outside, owner))
        };
        !taken && !self.is_own(now, outside, remote)
    }

    fn use_flow(&mut self, now: u64, inside: SocketAddr, remote: SocketAddr, outside: u16) {
        let by_address = self.filters_by_address();
        let Self { setup, flows, replies, contacts, .. } = self;
        let flow = flows.entry((inside, remote)).or_insert_with(|| Hold::new(outside));
        flow.outside = outside;
        flow.timer.went_out(now, &setup.timeouts);
        replies.insert((outside, remote), inside);
        if by_address {
            let contact = contacts.entry((inside, remote.ip())).or_default();
            contact.went_out(now, &setup.timeouts);
        }
    }

    fn use_hold(&mut self, now: u64, inside: SocketAddr, outside: u16) {
        let hold = self.holds.entry(inside).or_insert_with(|| Hold::new(outside));
        hold.outside = outside;
        hold.timer.went_out(now, &self.setup.timeouts);
    }

    /// Whether the filter admits it; if so, it was used.
    fn let_in(
        &mut self,
        now: u64,
        remote: SocketAddr,
        inside: SocketAddr,
        filter: NatFilter,
    ) -> Result<(), NatRefusal> {
        let flow = self.flows.get_mut(&(inside, remote)).filter(|flow| flow.timer.is_live(now));
        let contact = self.contacts.get_mut(&(inside, remote.ip())).filter(|timer| timer.is_live(now));
        let admitted = match filter {
            NatFilter::EndpointIndependent => true,
            NatFilter::AddressDependent => contact.is_some() || flow.is_some(),
            NatFilter::AddressAndPortDependent => flow.is_some(),
        };
        if !admitted {
            return Err(NatRefusal::Filtered);
        }
        let hold = self.holds.get_mut(&inside).map(|hold| &mut hold.timer);
        for timer in [flow.map(|flow| &mut flow.timer), contact, hold].into_iter().flatten() {
            timer.came_back(now, &self.setup);
        }
        Ok(())
    }

    /// Something came to a port that is nobody's.
    fn take(&mut self, now: u64, remote: SocketAddr, outside: u16) -> NatRefusal {
        if !self.setup.input_open {
            return NatRefusal::Unmapped;
        }
        if self.locals.len() >= self.setup.capacity && !self.locals.contains_key(&(outside, remote)) {
            self.locals.retain(|_, &mut expires| now < expires);
            if self.locals.len() >= self.setup.capacity {
                return NatRefusal::Full;
            }
        }
        self.locals.insert((outside, remote), now.saturating_add(nanos(self.setup.timeouts.unanswered)));
        NatRefusal::Taken
    }

    /// Makes sure that there is room for one more flow.
    fn make_room(&mut self, now: u64, inside: SocketAddr, remote: SocketAddr) -> Result<(), NatRefusal> {
        if self.flows.contains_key(&(inside, remote)) {
            return Ok(());
        }
        if self.is_crowded() && (self.swept == 0 || now >= self.swept + SWEEP_EVERY) {
            self.sweep(now);
        }
        if self.is_crowded() { Err(NatRefusal::Full) } else { Ok(()) }
    }

    fn is_crowded(&self) -> bool {
        let capacity = self.setup.capacity;
        let indexes = [self.replies.len(), self.owners.len(), self.contacts.len(), self.holds.len()];
        self.flows.len() >= capacity || indexes.into_iter().any(|len| len >= 2 * capacity)
    }

    /// Removes what has expired, and what points to it.
    fn sweep(&mut self, now: u64) {
        self.swept = now;
        self.holds.retain(|_, hold| hold.timer.is_live(now));
        self.flows.retain(|_, hold| hold.timer.is_live(now));
        self.contacts.retain(|_, timer| timer.is_live(now));
        let Self { flows, holds, .. } = self;
        self.replies.retain(|&(outside, remote), inside| {
            flows.get(&(*inside, remote)).is_some_and(|flow| flow.outside == outside)
        });
        self.owners.retain(|&outside, owner| {
            let hold = match owner.remote {
                Some(remote) => flows.get(&(owner.inside, remote)),
                None => holds.get(&owner.inside),
            };
            hold.is_some_and(|hold| hold.outside == outside)
        });
    }
}
