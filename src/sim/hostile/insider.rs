//! An attacker with a connection: everything about it is honest but one [`Trick`].

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sim::raw::{RawNet, RawProgram};
use crate::sim::raw_stream::RawStream;
use crate::wire::{ConnId, Kind, Packet, SeqNr};

/// How long it waits for an answer to its SYN.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is dishonest about an [`Insider`]. Left alone, it acknowledges everything that comes, and sends nothing.
pub trait Trick: fmt::Debug + 'static {
    /// How often [`act`](Self::act) is called (default: never).
    fn every(&self) -> Option<Duration> {
        None
    }

    /// A packet of a connection came, and `stream` has taken note of it. `fresh` if an honest peer would answer.
    fn heard(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream, packet: &Packet<'_>, fresh: bool) {
        let _ = packet;
        if fresh {
            net.send(stream.peer, &stream.selective_ack(net.timestamp()));
        }
    }

    /// Time for something that is nobody's answer. Called for each connection that stands.
    fn act(&mut self, net: &mut RawNet<'_>, stream: &mut RawStream) {
        let _ = (net, stream);
    }
}

/// An attacker that has connections, and a [`Trick`].
///
/// It accepts whatever is started towards it, and connects by itself where it is told to: see
/// [`World::serve`](crate::sim::World::serve) for the other end.
#[derive(Debug)]
pub struct Insider<T> {
    trick: T,
    victims: Vec<SocketAddr>,
    streams: Vec<RawStream>,
    /// Connections that it has started itself, and that wait for an answer.
    called: usize,
    next_act: Duration,
}

impl<T: Trick> Insider<T> {
    /// One that waits for others to connect.
    #[must_use]
    pub const fn waiting(trick: T) -> Self {
        Self { trick, victims: Vec::new(), streams: Vec::new(), called: 0, next_act: Duration::ZERO }
    }

    /// One that connects to the victim so many times when the world begins.
    #[must_use]
    pub fn calling(trick: T, victim: SocketAddr, times: usize) -> Self {
        Self { victims: vec![victim; times], ..Self::waiting(trick) }
    }

    /// What it is up to, and how far it got.
    #[must_use]
    pub const fn trick(&self) -> &T {
        &self.trick
    }

    /// Its connections, those that never stood included.
    #[must_use]
    pub fn streams(&self) -> &[RawStream] {
        &self.streams
    }

    fn call(&mut self, net: &mut RawNet<'_>) {
        for victim in std::mem::take(&mut self.victims) {
            let taken = |id: u16| self.streams.iter().any(|stream| stream.recv_id.get().abs_diff(id) < 2);
            let drawn = std::iter::repeat_with(|| net.rng().below(65_000) as u16);
            let id = drawn.take(1000).find(|&id| !taken(id)).unwrap_or(0);
            let isn = SeqNr::new(net.rng().next_u64() as u16);
            self.streams.push(RawStream::new(victim, ConnId::new(id), isn));
            self.called += 1;
        }
        for stream in self.streams.iter_mut().take(self.called).filter(|stream| !stream.connected) {
            // The number that the SYN had before.
            if stream.next_seq != stream.acked {
                stream.next_seq = stream.next_seq.prev();
            }
            let syn = stream.syn(net.timestamp());
            net.send(stream.peer, &syn);
        }
    }

    fn is_calling(&self) -> bool {
        self.streams.iter().take(self.called).any(|stream| !stream.connected && !stream.reset)
    }
}

impl<T: Trick> RawProgram for Insider<T> {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
        let Ok(packet) = Packet::decode(bytes) else { return };
        let (now, header) = (net.timestamp(), packet.header);
        let known = self.streams.iter().position(|stream| stream.peer == from && stream.owns(&header));
        if header.kind == Kind::Syn {
            let twice =
                self.streams.iter().find(|stream| stream.peer == from && stream.send_id == header.conn_id);
            if let Some(stream) = twice {
                return net.send(from, &stream.ack(now));
            }
            let isn = SeqNr::new(net.rng().next_u64() as u16);
            let stream = RawStream::accept(from, &header, isn, now);
            net.send(from, &stream.ack(now));
            self.streams.push(stream);
            return;
        }
        let Some(stream) = known.map(|place| &mut self.streams[place]) else { return };
        let fresh = stream.on_packet(now, &packet);
        if !stream.reset {
            self.trick.heard(net, stream, &packet, fresh);
        }
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        if !self.victims.is_empty() || self.is_calling() {
            self.call(net);
            net.wake_after(PATIENCE);
        }
        let Some(every) = self.trick.every() else { return };
        if net.now() >= self.next_act {
            self.next_act = net.now() + every;
            for stream in self.streams.iter_mut().filter(|stream| stream.connected && !stream.reset) {
                self.trick.act(net, stream);
            }
        }
        net.wake_at(self.next_act);
    }
}
