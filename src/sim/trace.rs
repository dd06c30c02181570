//! What happened: the last events, to be read when something went wrong, and a hash of all of them.
//!
//! The hash is how a world proves that a seed decides everything: two runs of one seed end with the same hash. The
//! record is bounded, so that a world may run for a virtual year.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::flow::{FlowId, Side};
use super::host::HostId;
use super::nat::NatRefusal;
use super::program::Leave;
use crate::link::Fault;
use crate::wire::{HEADER_LEN, Packet};

/// How many events a world remembers unless told otherwise.
const REMEMBERED: usize = 50;

/// A bounded record of events and a hash of all that ever were.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    limit: usize,
    /// Never longer than `limit`.
    last: VecDeque<Record>,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, in nanoseconds since the world began.
    pub(super) at: u64,
    pub(super) event: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Handed to the link, which will deliver it.
    Sent(Datagram),
    /// Handed to the link, which does something else with it, or something besides.
    Struck(Datagram, Fault),
    Arrived(Datagram),
    /// Dropped by a router.
    Refused(Datagram, NatRefusal),
    Timer(HostId),
    Started(FlowId, Side),
    Ended(FlowId, Side, Leave),
    Changed(&'static str, HostId),
}

/// A datagram as far as a trace tells it apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    from: HostId,
    to: HostId,
    len: u32,
    head: [u8; HEADER_LEN],
}

impl Datagram {
    pub(super) fn new(from: HostId, to: HostId, bytes: &[u8]) -> Self {
        let mut head = [0; HEADER_LEN];
        let known = bytes.len().min(HEADER_LEN);
        head[..known].copy_from_slice(&bytes[..known]);
        Self { from, to, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX), head }
    }

    /// From whom to whom.
    pub(super) const fn ends(&self) -> [HostId; 2] {
        [self.from, self.to]
    }

    fn words(&self) -> [u64; 4] {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| self.head[at + i]));
        let ends = (u64::from(self.from.index()) << 32) | u64::from(self.to.index());
        // Bytes 12 to 20 overlap none of the others but 12 to 16, which does no harm.
        [ends ^ (u64::from(self.len) << 48), word(0), word(8), word(12)]
    }
}

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        Self { hash: seed, count: 0, limit: REMEMBERED, last: VecDeque::new() }
    }

    /// Remembers so many events from now on.
    pub fn remember(&mut self, events: usize) {
        self.limit = events;
        while self.last.len() > events {
            self.last.pop_front();
        }
    }

    /// A hash over the seed and every event so far, with its time.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Events so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The last events, oldest first.
    pub fn last(&self) -> impl Iterator<Item = &Record> {
        self.last.iter()
    }

    pub(super) fn note(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.mix(at);
        match &event {
            Event::Sent(datagram) => self.mix_datagram(1, datagram),
            Event::Struck(datagram, fault) => self.mix_datagram(16 + *fault as u64, datagram),
            Event::Arrived(datagram) => self.mix_datagram(2, datagram),
            Event::Refused(datagram, why) => self.mix_datagram(64 + *why as u64, datagram),
            Event::Timer(host) => self.mix((3 << 32) | u64::from(host.index())),
            Event::Started(flow, side) => self.mix_flow(4, *flow, *side),
            Event::Ended(flow, side, leave) => self.mix_flow(5 + *leave as u64, *flow, *side),
            Event::Changed(what, host) => {
                self.mix((8 << 32) | u64::from(host.index()));
                what.bytes().for_each(|byte| self.mix(byte.into()));
            }
        }
        if self.limit > 0 {
            if self.last.len() >= self.limit {
                self.last.pop_front();
            }
            self.last.push_back(Record { at, event });
        }
    }

    fn mix_datagram(&mut self, what: u64, datagram: &Datagram) {
        self.mix(what);
        datagram.words().into_iter().for_each(|word| self.mix(word));
    }

    fn mix_flow(&mut self, what: u64, flow: FlowId, side: Side) {
        self.mix((what << 40) | (u64::from(flow.index()) << 1) | side as u64);
    }

    /// One round of a multiply-rotate hash: enough to tell runs apart, not to withstand anybody.
    const fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at);
        write!(f, "{:4}.{:06} ", at.as_secs(), at.subsec_micros())?;
        match self.event {
            Event::Sent(datagram) => write!(f, "{datagram}  sent"),
            Event::Struck(datagram, fault) => write!(f, "{datagram}  {fault}"),
            Event::Arrived(datagram) => write!(f, "{datagram}  arrived"),
            Event::Refused(datagram, why) => write!(f, "{datagram}  {why}"),
            Event::Timer(host) => write!(f, "{host} timer"),
            Event::Started(flow, side) => write!(f, "{flow} {side} starts"),
            Event::Ended(flow, side, leave) => write!(f, "{flow} {side} leaves: {leave}"),
            Event::Changed(what, host) => write!(f, "{host} {what}"),
        }
    }
}

impl fmt::Display for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} ", self.from, self.to)?;
        // The chain of extensions is not kept, so the header has to pass for one without.
        let mut bare = self.head;
        bare[1] = 0;
        match Packet::decode(&bare) {
            Ok(Packet { header, .. }) => write!(
                f,
                "{} id {} seq {} ack {} wnd {}{}, {} B",
                header.kind,
                header.conn_id,
                header.seq,
                header.ack,
                header.window,
                if self.head[1] == 0 { "" } else { " +ext" },
                self.len
            ),
            Err(_) => write!(f, "not uTP, {} B", self.len),
        }
    }
}

/// All that is remembered, a line each.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the last {} of {} events:", self.last.len(), self.count)?;
        self.last.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(host: u32) -> Event {
        Event::Timer(HostId::new(host))
    }

    #[test]
    fn the_hash_depends_on_seed_order_time_and_content() {
        let run = |seed, events: &[(u64, u32)]| {
            let mut trace = Trace::new(seed);
            events.iter().for_each(|&(at, host)| trace.note(at, timer(host)));
            trace.hash()
        };
        let base = run(1, &[(5, 0), (6, 1)]);
        assert_eq!(base, run(1, &[(5, 0), (6, 1)]));
        for other in [run(2, &[(5, 0), (6, 1)]), run(1, &[(6, 1), (5, 0)]), run(1, &[(5, 0), (7, 1)])] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn only_the_last_events_are_remembered_but_all_are_hashed() {
        let mut trace = Trace::new(0);
        trace.remember(2);
        (0..10).for_each(|host| trace.note(host.into(), timer(host)));
        assert_eq!(trace.count(), 10);
        let shown: Vec<_> = trace.last().map(ToString::to_string).collect();
        assert_eq!(shown, ["   0.000000 h8 timer", "   0.000000 h9 timer"]);
    }
}
