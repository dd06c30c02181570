//! The oracle of answers: what arrives causes at most one packet without data, and such packets do not go to and fro
//! for ever.
//!
//! Counted per turn of a host, and only for turns in which nothing but arrivals can have been the cause: no timer was
//! due and no program ran. What arrives from the address that the peer of a connection has left a moment ago is answered
//! where the peer is now.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::wire::{ConnId, Dialect, Header, Kind};

/// The longest chain of packets without data, each sent for nothing but the one before. A SYN is answered, the answer
/// is answered by the third leg of the handshake, and a host that has forgotten the connection meanwhile resets it; with
/// several packets in one turn it may look longer. A real ping-pong has no end.
const CHAIN_MAX: u32 = 8;

/// How many packets without data led to each of those that are under way, if any did. What two hosts send each other
/// unasked at the same time, on one connection or on several, is no chain, however much each resets of the other's.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// By what is in the packet, the times included. Never iterated.
    lengths: HashMap<u64, u32>,
}

impl Chains {
    fn key(datagram: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(datagram);
        hasher.finish()
    }

    /// A packet without data has arrived: what led to it?
    pub(super) fn arrived(&mut self, datagram: &[u8]) -> u32 {
        if self.lengths.is_empty() { 0 } else { self.lengths.remove(&Self::key(datagram)).unwrap_or(0) }
    }
}

/// What one host and one address do to each other.
#[derive(Debug, Default)]
pub(super) struct Stimuli {
    /// In this turn.
    arrived: u32,
    answered: u32,
    only_bare: bool,
    /// The ids on which something arrived.
    heard: Vec<ConnId>,
    /// Packets without data that left in this turn, the last of each connection, unless it was the second of a pair.
    last: Vec<Header>,
    /// The longest chain that led to what arrived in this turn.
    chain: u32,
    /// Packets without data that left in this turn, perhaps for nothing but such packets.
    led_to: Vec<u64>,
}

impl Stimuli {
    /// A datagram came from there: one without data at the end of such a chain, or another one.
    pub(super) fn arrived(&mut self, bare: Option<u32>) {
        self.only_bare = bare.is_some() && (self.only_bare || self.arrived == 0);
        self.chain = self.chain.max(bare.unwrap_or(0));
        self.arrived += 1;
    }

    /// A packet without data leaves for there.
    pub(super) fn answered(&mut self, dialect: Dialect, header: &Header, datagram: &[u8]) {
        // The same acknowledgement under the next number: once a FIN is out, some implementations want the number of the
        // FIN, and others the one after it.
        // In the other dialect the end is acknowledged in two steps.
        let last = self.last.iter().position(|last| last.conn_id == header.conn_id);
        let is_pair = last.map(|place| self.last.swap_remove(place)).is_some_and(|last| {
            let (seq, ack) = match dialect {
                Dialect::UtpPunch => (last.seq, last.ack.next()),
                _ => (last.seq.next(), last.ack),
            };
            last.kind == Kind::State
                && Header { seq, ack, sent_at: header.sent_at, delay: header.delay, ..last } == *header
        });
        if !is_pair {
            self.last.push(*header);
        }
        self.answered += u32::from(!is_pair);
        if self.arrived > 0 && self.only_bare {
            self.led_to.push(Chains::key(datagram));
        }
    }

    /// A packet arrives on that id.
    pub(super) fn heard(&mut self, id: ConnId) {
        self.heard.push(id);
    }

    /// Whether more has left in this turn than arrived.
    pub(super) const fn is_excessive(&self) -> bool {
        self.answered > self.arrived
    }

    /// One packet more counts as arrived, if that many more have arrived from `elsewhere` than were answered there, one of
    /// them on a connection on which something has left for here.
    pub(super) fn borrow(&mut self, elsewhere: &mut Self) {
        let is_same = |id: &ConnId| {
            self.last.iter().any(|last| [last.conn_id.next(), last.conn_id.prev()].contains(id))
        };
        while self.is_excessive() && elsewhere.arrived > elsewhere.answered {
            let Some(place) = elsewhere.heard.iter().position(is_same) else { return };
            elsewhere.heard.swap_remove(place);
            elsewhere.arrived -= 1;
            self.arrived += 1;
        }
    }

    /// The turn is over; `pure` if nothing but arrivals can have caused what was sent. Returns what is wrong.
    pub(super) fn turned(&mut self, pure: bool, chains: &mut Chains) -> Result<(), String> {
        let (arrived, answered) = (std::mem::take(&mut self.arrived), std::mem::take(&mut self.answered));
        let chain = std::mem::take(&mut self.chain) + 1;
        self.last.clear();
        self.heard.clear();
        if !pure {
            self.led_to.clear();
            return Ok(());
        }
        if answered > arrived {
            return Err(format!("{answered} packets without data for {arrived} that arrived"));
        }
        if chain > CHAIN_MAX && !self.led_to.is_empty() {
            return Err(format!("{chain} packets without data, each for the one before"));
        }
        chains.lengths.extend(self.led_to.drain(..).map(|key| (key, chain)));
        Ok(())
    }
}
