//! Acknowledges what it has not got, so that the sender believes in a faster path than there is.

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::{Kind, Packet, SeqNr};

/// A receiver that acknowledges too much: "uTP with a misbehaving receiver" (Adamsky et al., 2012).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optimist {
    /// How many packets beyond the newest one that came it acknowledges at most; in the beginning fewer, since an
    /// acknowledgement of what was not sent yet is a waste. With 0 it is lazy: it acknowledges only what has been lost
    /// besides, and is never asked for data it does not need.
    pub ahead: u16,
    /// Numbers that it has acknowledged without having them.
    pub lied: u64,
    /// Packets of data that came.
    pub heard: u64,
}

impl Optimist {
    /// One that acknowledges so many packets beyond the newest.
    #[must_use]
    pub const fn new(ahead: u16) -> Self {
        Self { ahead, lied: 0, heard: 0 }
    }

    /// One that acknowledges what was lost.
    #[must_use]
    pub const fn lazy() -> Self {
        Self::new(0)
    }
}

/// The newest number that has come.
fn newest(stream: &RawStream) -> SeqNr {
    let ahead = stream.held.iter().map(|&seq| SeqNr::new(seq).distance_from(stream.ack)).max();
    stream.ack + ahead.map_or(0, i16::cast_unsigned)
}

impl Trick for Optimist {
    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, packet: &Packet<'_>, fresh: bool) {
        if !fresh && packet.header.kind == Kind::State {
            return;
        }
        let (newest, missing) = (newest(stream), stream.held.len());
        let lost = u64::from(newest.distance_from(stream.ack).cast_unsigned()) - missing as u64;
        self.heard += 1;
        let ahead = self.ahead.min(u16::try_from(self.heard / 4).unwrap_or(u16::MAX));
        self.lied += lost + u64::from(ahead);
        // What it has never had it will never ask for.
        stream.held.clear();
        stream.ack = newest;
        let ack = newest + ahead;
        let lie = stream.packet(net.timestamp(), Kind::State, |header| header.ack = ack);
        net.send(stream.peer, &lie);
    }
}
