//! Storms: the same useless packet again and again, on a connection that stands.

use std::time::Duration;

use super::Trick;
use crate::sim::raw::RawNet;
use crate::sim::raw_stream::RawStream;
use crate::wire::Kind;

/// What a [`Storm`] consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rain {
    /// Acknowledgements of what was acknowledged long ago.
    DuplicateAcks,
    /// RESETs with the right ids and any numbers.
    Resets,
    /// The SYN, or the answer to it, once more.
    Handshakes,
    /// A packet of data that came long ago.
    OldData,
    /// FINs with any number.
    Fins,
}

/// A peer that repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// What falls.
    pub rain: Rain,
    /// How much every millisecond.
    pub per_tick: u16,
    /// Packets so far.
    pub sent: u64,
}

impl Storm {
    /// So many of those every millisecond.
    #[must_use]
    pub const fn new(rain: Rain, per_tick: u16) -> Self {
        Self { rain, per_tick, sent: 0 }
    }
}

impl Trick for Storm {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }

    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        for _ in 0..self.per_tick {
            let now = net.timestamp();
            let [seq, ack] = [(); 2].map(|()| crate::wire::SeqNr::new(net.rng().next_u64() as u16));
            let drop = match self.rain {
                Rain::DuplicateAcks => stream.ack(now),
                Rain::Resets => {
                    stream.packet(now, Kind::Reset, |header| (header.seq, header.ack) = (seq, ack))
                }
                Rain::Handshakes => {
                    let id = stream.recv_id;
                    stream.packet(now, Kind::Syn, |header| header.conn_id = id)
                }
                Rain::OldData => {
                    let mut old = stream.packet(now, Kind::Data, |header| header.seq = header.seq.prev());
                    old.extend([0; 100]);
                    old
                }
                Rain::Fins => stream.packet(now, Kind::Fin, |header| header.seq = seq),
            };
            self.sent += 1;
            net.send(stream.peer, &drop);
        }
    }
}
