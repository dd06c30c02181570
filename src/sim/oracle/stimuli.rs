//! The oracle of answers: what arrives causes at most one packet without data, and such packets do not go to and fro
//! for ever.
//!
//! Counted per turn of a host, and only for turns in which nothing but arrivals can have been the cause: no timer was
//! due and no program ran.

use crate::wire::{Header, Kind};

/// The longest chain of packets without data, each sent for nothing but the one before. A SYN is answered, the answer
/// is answered by the third leg of the handshake, and a host that has forgotten the connection meanwhile resets it; with
/// other packets in between it may look longer: two that both reset what is left of a connection seem to take turns. A
/// real ping-pong has no end.
const CHAIN_MAX: u32 = 64;

/// What one host and one address do to each other.
#[derive(Debug, Default)]
pub(super) struct Stimuli {
    /// In this turn.
    arrived: u32,
    answered: u32,
    only_bare: bool,
    /// The last packet without data that left in this turn.
    last: Option<Header>,
    /// How many packets without data led to the last one that this host sent there.
    chain: u32,
}

impl Stimuli {
    /// A datagram came from there.
    pub(super) const fn arrived(&mut self, bare: bool) {
        self.only_bare = bare && (self.only_bare || self.arrived == 0);
        self.arrived += 1;
    }

    /// A packet with data, a SYN or a FIN leaves for there.
    pub(super) const fn spoke(&mut self) {
        self.chain = 0;
    }

    /// A packet without data leaves for there; `caused_by` is the chain of what last came from there.
    pub(super) fn answered(&mut self, header: &Header, caused_by: u32) {
        // The same acknowledgement under the next number: once a FIN is out, some implementations want the number of the
        // FIN, and others the one after it.
        let is_pair = self.last.is_some_and(|last| {
            last.kind == Kind::State
                && Header { seq: last.seq.next(), sent_at: header.sent_at, delay: header.delay, ..last }
                    == *header
        });
        self.last = (!is_pair).then_some(*header);
        self.answered += u32::from(!is_pair);
        self.chain = if self.arrived > 0 && self.only_bare { caused_by + 1 } else { 0 };
    }

    pub(super) const fn chain(&self) -> u32 {
        self.chain
    }

    /// The turn is over; `pure` if nothing but arrivals can have caused what was sent. Returns what is wrong.
    pub(super) fn turned(&mut self, pure: bool) -> Result<(), String> {
        let (arrived, answered) = (std::mem::take(&mut self.arrived), std::mem::take(&mut self.answered));
        self.last = None;
        if !pure {
            self.chain = 0;
            return Ok(());
        }
        if answered > arrived {
            return Err(format!("{answered} packets without data for {arrived} that arrived"));
        }
        if self.chain > CHAIN_MAX {
            return Err(format!("{} packets without data, each for the one before", self.chain));
        }
        Ok(())
    }
}
