//! Asks for data and never takes any: a shut window, and a sign of life now and then.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::Packet;

/// A receiver whose window is shut from the beginning: the slow loris of transports. Call with many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miser {
    /// How often it says that it is there, and full.
    pub sign_of_life: Duration,
    /// Whether it says now and then that there is room, and takes back its word.
    pub teases: bool,
}

impl Trick for Miser {
    fn every(&self) -> Option<Duration> {
        Some(self.sign_of_life)
    }

    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, _: &Packet<'_>, _: bool) {
        // Whatever it is, there is no room for it: what has come has not.
        stream.window = 0;
        if stream.received > 0 {
            stream.received = 0;
            stream.ack = stream.ack.prev();
            stream.held.clear();
        }
        net.send(stream.peer, &stream.ack(net.timestamp()));
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        let window = if self.teases && stream.window == 0 { 2000 } else { 0 };
        stream.window = window;
        net.send(stream.peer, &stream.ack(net.timestamp()));
    }
}
