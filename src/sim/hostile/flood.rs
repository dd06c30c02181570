//! Attackers without a connection: they flood a victim, or somebody else by way of it, mostly in others' names.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::link::Rng;
use crate::sim::raw::{RawNet, RawProgram};
use crate::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, SeqNr, Timestamp};

/// Whose name is on the datagrams of a [`Flood`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Its own.
    Own,
    /// Another one each time, from everywhere.
    Everywhere,
    /// Always this one: the peer whose connection is attacked, or the victim of a reflection.
    Of(SocketAddr),
}

/// What the datagrams of a [`Flood`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// SYNs with ids and numbers of all kinds.
    Syns,
    /// Packets of any kind but SYN, with ids and numbers drawn from all there are, and so many bytes of payload.
    Strays(u16),
    /// RESETs with guessed ids and numbers.
    Resets,
    /// Data with guessed ids and numbers, a hundred bytes each.
    Data,
    /// A SYN, and data that assumes its answer has come: the two-packet trick of reflections.
    Reflections,
    /// So many bytes that are no uTP.
    Garbage(u16),
}

/// Many datagrams, every millisecond.
///
/// As a SYN flood, a flood of strays, an off-path guesser of ids and numbers, or a reflector, by what they are and
/// whose name is on them.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Whom they go to, in turns.
    pub victims: Vec<SocketAddr>,
    /// What they are.
    pub matter: Matter,
    /// Who seems to send them.
    pub sources: Sources,
    /// How many every millisecond.
    pub per_tick: u32,
    /// Datagrams so far.
    pub sent: u64,
    /// Bytes so far.
    pub sent_bytes: u64,
    /// Datagrams that came back here.
    pub answers: u64,
    /// When it ends, counted from the beginning of the world.
    pub until: Duration,
}

impl Flood {
    /// So many datagrams every millisecond, without end.
    #[must_use]
    pub fn new(victim: SocketAddr, matter: Matter, sources: Sources, per_tick: u32) -> Self {
        Self {
            victims: vec![victim],
            matter,
            sources,
            per_tick,
            sent: 0,
            sent_bytes: 0,
            answers: 0,
            until: Duration::MAX,
        }
    }

    fn source(&self, net: &mut RawNet<'_>) -> SocketAddr {
        match self.sources {
            Sources::Own => net.addr(),
            Sources::Of(addr) => addr,
            Sources::Everywhere => {
                let drawn = net.rng().next_u64();
                let [a, b, c, d, ..] = drawn.to_be_bytes();
                // None of those that hosts of a world have.
                SocketAddr::from((Ipv4Addr::new(100 + a % 100, b, c, d), 1024 + (drawn % 60_000) as u16))
            }
        }
    }
}

/// A packet with numbers drawn from all there are.
fn drawn(kind: Kind, now: Timestamp, rng: &mut Rng, payload: usize) -> Vec<u8> {
    let mut number = || rng.next_u64() as u16;
    let header = Header {
        kind,
        conn_id: ConnId::new(number()),
        sent_at: now,
        delay: Delay::NONE,
        window: 1 << 20,
        seq: SeqNr::new(number()),
        ack: SeqNr::new(number()),
    };
    let mut bytes = Vec::with_capacity(20 + payload);
    Packet { header, extensions: Extensions::EMPTY, payload: &[] }.encode(&mut bytes);
    bytes.resize(20 + payload, 0x77);
    bytes
}

impl Flood {
    fn send(&mut self, net: &mut RawNet<'_>, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.sent += 1;
        self.sent_bytes += bytes.len() as u64;
        net.send_from(from, to, bytes);
    }

    fn strike(&mut self, net: &mut RawNet<'_>) {
        let to = self.victims[self.sent as usize % self.victims.len()];
        let (from, now) = (self.source(net), net.timestamp());
        let bytes = match self.matter {
            Matter::Syns => drawn(Kind::Syn, now, net.rng(), 0),
            Matter::Resets => drawn(Kind::Reset, now, net.rng(), 0),
            Matter::Data => drawn(Kind::Data, now, net.rng(), 100),
            Matter::Strays(payload) => {
                let kind = *net.rng().pick(&[Kind::Data, Kind::Fin, Kind::State, Kind::Reset]);
                drawn(kind, now, net.rng(), payload.into())
            }
            Matter::Garbage(len) => {
                let mut bytes = vec![0; usize::from(len)];
                bytes.iter_mut().for_each(|byte| *byte = net.rng().next_u64() as u8);
                bytes
            }
            Matter::Reflections => {
                let syn = drawn(Kind::Syn, now, net.rng(), 0);
                self.send(net, from, to, &syn);
                // On the id that the acceptor receives on, with the number after that of the SYN.
                let mut data = drawn(Kind::Data, now, net.rng(), 80);
                let [id, seq] = [2, 16]
                    .map(|at| u16::from_be_bytes([syn[at], syn[at + 1]]).wrapping_add(1).to_be_bytes());
                data[2..4].copy_from_slice(&id);
                data[16..18].copy_from_slice(&seq);
                data
            }
        };
        self.send(net, from, to, &bytes);
    }
}

impl RawProgram for Flood {
    fn on_datagram(&mut self, _: &mut RawNet<'_>, _: SocketAddr, _: &[u8]) {
        self.answers += 1;
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        if net.now() >= self.until || self.victims.is_empty() {
            return;
        }
        (0..self.per_tick).for_each(|_| self.strike(net));
        net.wake_after(Duration::from_millis(1));
    }
}
