//! Stamps its packets with times from anywhere.

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::{Delay, Packet, Timestamp};

/// A peer whose clock, and whose measurements, leap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeTraveller {
    /// How far, at most, in microseconds, to either side; [`u32::MAX`] is anywhere.
    pub range: u32,
    /// Every how many packets it leaps; between, it stays where it is.
    pub every: u32,
    /// Whether it reports any delay instead of what it has measured.
    pub measures: bool,
    offset: u32,
    packets: u32,
}

impl TimeTraveller {
    /// One that leaps so far every so many packets.
    #[must_use]
    pub const fn new(range: u32, every: u32, measures: bool) -> Self {
        Self { range, every, measures, offset: 0, packets: 0 }
    }
}

impl Trick for TimeTraveller {
    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, _: &Packet<'_>, fresh: bool) {
        if !fresh {
            return;
        }
        self.packets += 1;
        if self.packets.is_multiple_of(self.every.max(1)) {
            let reach = u64::from(self.range);
            self.offset = (net.rng().below(2 * reach + 1) as u32).wrapping_sub(self.range);
        }
        if !self.measures {
            stream.delay = Delay::new(net.rng().next_u64() as u32);
        }
        let at = Timestamp::new(net.timestamp().get().wrapping_add(self.offset));
        net.send(stream.peer, &stream.selective_ack(at));
    }
}
