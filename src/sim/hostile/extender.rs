//! Puts chains of extensions into its packets that nobody has ever heard of, some of them broken.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;

/// A peer with much to say about nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extender {
    /// Extensions in each chain; a chain ends at 1,400 bytes, whatever this says.
    pub links: u16,
    /// Bytes in each extension.
    pub bytes: u8,
    /// Whether every second chain runs past the end of the datagram.
    pub broken: bool,
    /// Packets every millisecond.
    pub per_tick: u16,
    /// Packets so far.
    pub sent: u64,
}

impl Extender {
    /// Chains of so many extensions of so many bytes, so many packets each millisecond.
    #[must_use]
    pub const fn new(links: u16, bytes: u8, per_tick: u16, broken: bool) -> Self {
        Self { links, bytes, broken, per_tick, sent: 0 }
    }
}

impl Trick for Extender {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        for _ in 0..self.per_tick {
            let mut bytes = stream.ack(net.timestamp());
            // Ids of the future.
            let mut id = || 4 + net.rng().below(252) as u8;
            bytes[1] = id();
            for link in 1..=self.links {
                let full = bytes.len() + 2 + usize::from(self.bytes) > 1380;
                let last = full || link == self.links;
                bytes.extend([if last { 0 } else { id() }, self.bytes]);
                bytes.resize(bytes.len() + usize::from(self.bytes), 0x55);
                if last {
                    break;
                }
            }
            if self.broken && self.sent.is_multiple_of(2) {
                bytes.pop();
            }
            self.sent += 1;
            net.send(stream.peer, &bytes);
        }
    }
}
