//! Says that packets took another time than they did: LEDBAT believes what its peer has measured.

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::{Delay, Packet};

/// A receiver that always reports the same delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayLiar {
    /// What it reports, microseconds. 0 and 0x7FFF_FFFF mean "not measured" to most.
    pub micros: u32,
}

impl Trick for DelayLiar {
    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, _: &Packet<'_>, fresh: bool) {
        if !fresh {
            return;
        }
        stream.delay = Delay::new(self.micros);
        net.send(stream.peer, &stream.selective_ack(net.timestamp()));
    }
}
