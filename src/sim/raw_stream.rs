//! One connection of a raw host: ids, numbers and the peer's timestamps, kept as an honest speaker would.
//!
//! Makes datagrams and looks at those that came; sends nothing, times nothing, repeats nothing, believes everything.
//! Every field may be bent.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, SackBits, SeqNr, Timestamp};

/// One end of a connection in the hands of a [`RawProgram`](super::RawProgram).
#[derive(Clone, Debug)]
pub struct RawStream {
    /// Where the other end is.
    pub peer: SocketAddr,
    /// The id that the peer puts into its packets.
    pub recv_id: ConnId,
    /// The id that we put into ours, SYN excepted.
    pub send_id: ConnId,
    /// The number of the next packet that takes one.
    pub next_seq: SeqNr,
    /// Everything up to and including this has arrived from the peer.
    pub ack: SeqNr,
    /// What arrived beyond it, at most 2,016 packets.
    pub held: BTreeSet<u16>,
    /// The window to advertise (1 MiB).
    pub window: u32,
    /// The delay to report: as measured on the last packet that came.
    pub delay: Delay,
    /// The peer has acknowledged everything up to and including this.
    pub acked: SeqNr,
    /// The window that the peer last advertised.
    pub peer_window: u32,
    /// Whether anything but a RESET has come from the peer.
    pub connected: bool,
    /// The number of the peer's FIN.
    pub fin: Option<SeqNr>,
    /// Whether the peer has sent a RESET.
    pub reset: bool,
    /// Payload bytes that came, each number counted once.
    pub received: u64,
}

impl RawStream {
    /// The initiator's end. `conn_id` is what the SYN carries, `isn` its number.
    #[must_use]
    pub const fn new(peer: SocketAddr, conn_id: ConnId, isn: SeqNr) -> Self {
        Self {
            peer,
            recv_id: conn_id,
            send_id: conn_id.next(),
            next_seq: isn,
            ack: SeqNr::new(0),
            held: BTreeSet::new(),
            window: 1 << 20,
            delay: Delay::NONE,
            acked: isn,
            peer_window: 0,
            connected: false,
            fin: None,
            reset: false,
            received: 0,
        }
    }

    /// The acceptor's end, in answer to this SYN; the number of the first packet that takes one is `isn`.
    #[must_use]
    pub fn accept(peer: SocketAddr, syn: &Header, isn: SeqNr, now: Timestamp) -> Self {
        let mut stream = Self::new(peer, syn.conn_id.next(), isn);
        stream.send_id = syn.conn_id;
        stream.ack = syn.seq;
        stream.acked = isn.prev();
        stream.delay = now.delay_since(syn.sent_at);
        stream.peer_window = syn.window;
        stream.connected = true;
        stream
    }

    /// Whether a packet from the peer's address belongs here.
    #[must_use]
    pub fn owns(&self, header: &Header) -> bool {
        header.conn_id == self.recv_id || (header.kind == Kind::Reset && header.conn_id == self.send_id)
    }

    /// A SYN, under the number that comes next.
    #[must_use]
    pub fn syn(&mut self, now: Timestamp) -> Vec<u8> {
        let id = self.recv_id;
        let syn = self.packet(now, Kind::Syn, |header| {
            (header.conn_id, header.ack, header.delay) = (id, SeqNr::new(0), Delay::NONE);
        });
        self.next_seq = self.next_seq.next();
        syn
    }

    /// An acknowledgement; an acceptor's first is its answer to the SYN.
    #[must_use]
    pub fn ack(&self, now: Timestamp) -> Vec<u8> {
        self.packet(now, Kind::State, |_| {})
    }

    /// An acknowledgement with a mask of what is [`held`](Self::held).
    #[must_use]
    pub fn selective_ack(&self, now: Timestamp) -> Vec<u8> {
        let mut mask = SackBits::new();
        for &seq in &self.held {
            mask.set(usize::from(seq.wrapping_sub(self.ack.get()).wrapping_sub(2)));
        }
        self.masked_ack(now, mask.as_bytes())
    }

    /// An acknowledgement with a mask of your own, of up to 255 bytes; none if it is empty.
    ///
    /// # Panics
    /// With a longer mask.
    #[must_use]
    pub fn masked_ack(&self, now: Timestamp, mask: &[u8]) -> Vec<u8> {
        if mask.is_empty() {
            return self.ack(now);
        }
        let mut bytes = self.ack(now);
        bytes[1] = 1;
        bytes.extend([0, u8::try_from(mask.len()).expect("a mask of at most 255 bytes")]);
        bytes.extend(mask);
        bytes
    }

    /// A packet of data, under the number that comes next.
    #[must_use]
    pub fn data(&mut self, now: Timestamp, payload: &[u8]) -> Vec<u8> {
        let mut data = self.packet(now, Kind::Data, |_| {});
        data.extend_from_slice(payload);
        self.next_seq = self.next_seq.next();
        data
    }

    /// A FIN, under the number that comes next.
    #[must_use]
    pub fn fin(&mut self, now: Timestamp) -> Vec<u8> {
        let fin = self.packet(now, Kind::Fin, |_| {});
        self.next_seq = self.next_seq.next();
        fin
    }

    /// A RESET.
    #[must_use]
    pub fn reset(&self, now: Timestamp) -> Vec<u8> {
        self.packet(now, Kind::Reset, |_| {})
    }

    /// A header of this kind as an honest speaker would fill it, after `bend` was at it. Payload may be appended.
    #[must_use]
    pub fn packet(&self, now: Timestamp, kind: Kind, bend: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut header = Header {
            kind,
            conn_id: self.send_id,
            sent_at: now,
            delay: self.delay,
            window: self.window,
            seq: self.next_seq,
            ack: self.ack,
        };
        bend(&mut header);
        let mut bytes = Vec::new();
        Packet { header, extensions: Extensions::EMPTY, payload: &[] }.encode(&mut bytes);
        bytes
    }

    /// Takes note of a packet of this connection that came. Returns whether it brought something new that wants to be
    /// acknowledged: data, a FIN, or the answer to our SYN.
    pub fn on_packet(&mut self, now: Timestamp, packet: &Packet<'_>) -> bool {
        let Header { kind, sent_at, window, seq, ack, .. } = packet.header;
        if kind == Kind::Reset {
            self.reset = true;
            return false;
        }
        self.delay = now.delay_since(sent_at).as_sample();
        self.peer_window = window;
        if ack.is_after(self.acked) {
            self.acked = ack;
        }
        let first = !std::mem::replace(&mut self.connected, true);
        if first {
            // An answer to a SYN has the number of the first packet to come.
            self.ack = seq.prev();
        }
        match kind {
            Kind::Data | Kind::Fin => self.take(seq, kind, packet.payload.len()),
            _ => first,
        }
    }

    fn take(&mut self, seq: SeqNr, kind: Kind, len: usize) -> bool {
        let ahead = seq.distance_from(self.ack);
        let fresh = (1..=2017).contains(&ahead) && self.held.insert(seq.get());
        if fresh {
            self.received += len as u64;
            if kind == Kind::Fin {
                self.fin = Some(seq);
            }
        }
        while self.held.remove(&self.ack.next().get()) {
            self.ack = self.ack.next();
        }
        fresh
    }

    /// Whether everything has come, the peer's FIN included.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.fin == Some(self.ack)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{HostId, Link, RawNet, RawProgram, Side, Size, Traffic, World};
    use super::*;
    use crate::Config;

    /// Accepts one connection, and acknowledges what it brings; says goodbye when the peer does.
    #[derive(Debug, Default)]
    struct Sink {
        stream: Option<RawStream>,
        goodbye: bool,
    }

    impl RawProgram for Sink {
        fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
            let packet = Packet::decode(bytes).expect("honest packets");
            let (now, header) = (net.timestamp(), packet.header);
            if header.kind == Kind::Syn && self.stream.is_none() {
                let stream = RawStream::accept(from, &header, SeqNr::new(65_535), now);
                net.send(from, &stream.ack(now));
                self.stream = Some(stream);
                return;
            }
            let Some(stream) = self.stream.as_mut().filter(|stream| stream.owns(&header)) else { return };
            if stream.on_packet(now, &packet) || header.kind != Kind::State {
                net.send(from, &stream.selective_ack(now));
            }
            if stream.at_end() && !self.goodbye {
                self.goodbye = true;
                let fin = stream.fin(now);
                net.send(from, &fin);
            }
        }

        fn on_alarm(&mut self, _: &mut RawNet<'_>) {}
    }

    #[test]
    fn an_endpoint_takes_a_raw_stream_for_an_honest_peer() {
        let mut world = World::new(3);
        let sender = world.host(Config::default());
        let sink = world.raw_host(Sink::default());
        world.join(sender, sink, Link::perfect().delay(Duration::from_millis(20)));
        let flow = world.start(sender, sink, &Traffic::bulk(Size::kib(300)));
        world.settle(Duration::from_secs(60)).expect("a transfer that ends");
        let report = world.report(flow, Side::Initiator);
        assert!(report.eof && report.acked && report.closed.is_none(), "{report:?}");
        let stream = world.raw::<Sink>(sink).and_then(|sink| sink.stream.as_ref()).expect("a stream");
        assert_eq!((stream.received, stream.acked), (300 << 10, SeqNr::new(65_535)));
    }

    /// Connects, sends ten packets of a byte each and a FIN, and acknowledges whatever wants it.
    #[derive(Debug)]
    struct Source(RawStream);

    impl RawProgram for Source {
        fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
            let packet = Packet::decode(bytes).expect("honest packets");
            let (now, fresh) = (net.timestamp(), !self.0.connected);
            if self.0.on_packet(now, &packet) && !fresh {
                net.send(from, &self.0.ack(now));
            }
            if fresh && self.0.connected {
                for byte in 0..10 {
                    let data = self.0.data(now, &[byte]);
                    net.send(from, &data);
                }
                let fin = self.0.fin(now);
                net.send(from, &fin);
            }
        }

        fn on_alarm(&mut self, net: &mut RawNet<'_>) {
            let syn = self.0.syn(net.timestamp());
            net.send(self.0.peer, &syn);
        }
    }

    fn source(served: bool) -> (World, HostId, HostId) {
        let mut world = World::new(3);
        let victim = world.host(Config::default());
        let stream = RawStream::new(world.addr(victim), ConnId::new(65_000), SeqNr::new(65_530));
        let source = world.raw_host(Source(stream));
        world.join(source, victim, Link::perfect().delay(Duration::from_millis(20)));
        if served {
            world.serve(victim, &Traffic::bulk(Size::ZERO));
        }
        world.run_for(Duration::from_millis(1));
        world.settle(Duration::from_secs(60)).expect("an end");
        (world, victim, source)
    }

    #[test]
    fn a_stranger_is_served_where_strangers_are() {
        let (world, victim, source) = source(true);
        let stream = &world.raw::<Source>(source).expect("a source").0;
        let flow = world.served(victim).next().expect("one connection");
        let report = world.report(flow, Side::Acceptor);
        assert!(report.received == 10 && report.eof && report.acked && report.closed.is_none(), "{report:?}");
        assert!(stream.at_end() && world.is_done(flow));
        assert_eq!((stream.acked, stream.next_seq), (SeqNr::new(5), SeqNr::new(6)));
    }

    #[test]
    fn a_stranger_is_refused_otherwise() {
        let (world, victim, source) = source(false);
        let stream = &world.raw::<Source>(source).expect("a source").0;
        assert!(stream.reset && !stream.connected, "{stream:?}");
        assert_eq!((world.strays(), world.served(victim).count()), (1, 0));
    }
}
