//! Acknowledges by its mask what was never sent, in masks as long as they can be.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::Packet;

/// A receiver whose selective acknowledgements are all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskLiar {
    /// Bytes of mask in each packet, at most 255.
    pub bytes: u8,
    /// Masks that it sends besides its answers, every millisecond.
    pub per_tick: u16,
    /// Masks so far.
    pub sent: u64,
}

impl MaskLiar {
    /// One with masks of so many bytes, that sends so many of them every millisecond besides its answers.
    #[must_use]
    pub const fn new(bytes: u8, per_tick: u16) -> Self {
        Self { bytes, per_tick, sent: 0 }
    }

    fn lie(&mut self, net: &mut RawNet<'_>, stream: &RawStream) {
        self.sent += 1;
        let mask = [0xFF; 255];
        let lie = stream.masked_ack(net.timestamp(), &mask[..usize::from(self.bytes)]);
        net.send(stream.peer, &lie);
    }
}

impl Trick for MaskLiar {
    fn every(&self) -> Option<Duration> {
        (self.per_tick > 0).then_some(Duration::from_millis(1))
    }

    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, _: &Packet<'_>, fresh: bool) {
        if fresh {
            self.lie(net, stream);
        }
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        (0..self.per_tick).for_each(|_| self.lie(net, stream));
    }
}
