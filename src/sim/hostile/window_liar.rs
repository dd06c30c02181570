//! Lies about how much it can take in, or does not care how much we can.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::Packet;

/// What a [`WindowLiar`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowLie {
    /// Says 4 GiB.
    Huge,
    /// Takes so many bytes, and then nothing any more: every packet says 0.
    ShutAfter(u64),
    /// Says less each time, by so many bytes, below what it has promised before; at 0 it begins again.
    Shrinking(u32),
    /// Open and shut in turns, so many bytes wide.
    Flapping(u32),
    /// Says what is true, and sends so many full packets every millisecond, whatever our window is.
    IgnoresOurs(u16),
}

/// A peer that lies about windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLiar {
    /// How.
    pub lie: WindowLie,
    /// Packets that it has sent beyond what we said we could take.
    pub excess: u64,
}

impl WindowLiar {
    /// One that lies like this.
    #[must_use]
    pub const fn new(lie: WindowLie) -> Self {
        Self { lie, excess: 0 }
    }

    const fn window(&self, stream: &RawStream) -> u32 {
        match self.lie {
            WindowLie::Huge => u32::MAX,
            WindowLie::ShutAfter(bytes) if stream.received >= bytes => 0,
            WindowLie::Shrinking(by) => match stream.window.checked_sub(by) {
                Some(less) => less,
                None => 1 << 20,
            },
            WindowLie::Flapping(bytes) if stream.window == bytes => 0,
            WindowLie::Flapping(bytes) => bytes,
            WindowLie::ShutAfter(_) | WindowLie::IgnoresOurs(_) => 1 << 20,
        }
    }
}

impl Trick for WindowLiar {
    fn every(&self) -> Option<Duration> {
        Some(match self.lie {
            WindowLie::IgnoresOurs(_) => Duration::from_millis(1),
            _ => Duration::from_millis(200),
        })
    }

    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, _: &Packet<'_>, fresh: bool) {
        if fresh {
            stream.window = self.window(stream);
            net.send(stream.peer, &stream.selective_ack(net.timestamp()));
        }
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        let WindowLie::IgnoresOurs(packets) = self.lie else {
            stream.window = self.window(stream);
            return net.send(stream.peer, &stream.ack(net.timestamp()));
        };
        let flight = stream.next_seq.prev().distance_from(stream.acked).max(0);
        for sent in flight..flight + packets.min(1000).cast_signed() {
            if sent > 1500 {
                // Starts over: nobody could have a use for more.
                stream.next_seq = stream.acked.next();
            }
            self.excess += u64::from(u64::from(sent.cast_unsigned()) * 1380 > u64::from(stream.peer_window));
            let data = stream.data(net.timestamp(), &[0; 1380]);
            net.send(stream.peer, &data);
        }
    }
}
