//! Sends everything but the next packet, in packets as small as they can be: what is held for later costs memory.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::Kind;

/// A sender of tiny packets with gaps, over all numbers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gapper {
    /// Bytes in each packet.
    pub payload: u16,
    /// Every how many numbers there is a packet: with 1 only the first is missing, with 2 every second.
    pub step: u16,
    /// Packets every millisecond.
    pub per_tick: u16,
    /// Packets so far.
    pub sent: u64,
    offset: u16,
}

impl Gapper {
    /// Packets of so many bytes at every `step`th number, so many each millisecond.
    #[must_use]
    pub const fn new(payload: u16, step: u16, per_tick: u16) -> Self {
        Self { payload, step, per_tick, sent: 0, offset: 0 }
    }
}

impl Trick for Gapper {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        for _ in 0..self.per_tick {
            self.offset = self.offset.wrapping_add(self.step.max(1));
            if self.offset == 0 {
                // That one would fill the gap.
                self.offset = 1;
            }
            let offset = self.offset;
            let mut data =
                stream.packet(net.timestamp(), Kind::Data, |header| header.seq = header.seq + offset);
            data.resize(data.len() + usize::from(self.payload), 0xAA);
            self.sent += 1;
            net.send(stream.peer, &data);
        }
    }
}
