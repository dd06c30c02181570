//! Endpoints against each other and against hand-made packets, without sockets or clocks.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod clocks;
mod crossing;
mod dialect;
mod ends;
mod farewell;
mod handshake;
mod kin;
mod life;
mod limits;
mod migration;
mod punch;
mod reflection;
mod rush;
#[cfg(ebbtide_shuttle)]
mod schedules;
mod services;
mod sockets;
mod strays;
mod stress;
mod stun;
mod u_faults;
mod verbs;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Endpoint, Handle, Incoming, Lease};
use crate::config::Config;
use crate::error::CloseReason;
use crate::proto::batch::{Batch, Path, SocketId};
use crate::time::Instant;
use crate::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, SeqNr, Timestamp};

/// One datagram on its way.
type Datagram = (SocketAddr, Vec<u8>);

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An endpoint with one socket.
struct Side {
    endpoint: Endpoint,
    lease: Lease,
    socket: SocketId,
    addr: SocketAddr,
    batch: Batch,
}

impl Side {
    fn new(number: u8, config: Config) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(config), [number; 32]);
        let addr = SocketAddr::from(([192, 0, 2, number], 4000));
        let socket = endpoint.add_socket(addr);
        let lease = endpoint.shared().lease();
        Self { endpoint, lease, socket, addr, batch: Batch::new(64) }
    }

    fn listening(number: u8, config: Config) -> Self {
        let side = Self::new(number, config);
        side.lease.set_listening(true);
        side
    }

    fn path(&self, peer: SocketAddr) -> Path {
        Path { socket: self.socket, peer }
    }

    /// A turn of a driver after the receive phase; returns what leaves.
    fn turn(&mut self, now: Instant) -> Vec<Datagram> {
        self.endpoint.handle_mail(now);
        self.endpoint.handle_timeout(now);
        let mut sent = Vec::new();
        while let Some(path) = self.endpoint.poll_transmit(now, &mut self.batch) {
            sent.extend(self.batch.datagrams().map(|datagram| (path.peer, datagram.to_vec())));
        }
        assert!(!self.endpoint.has_work());
        sent
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let path = self.path(from);
        self.endpoint.handle_datagrams(now, path, datagram, datagram.len().max(1));
    }

    /// Takes a hand-made packet, and returns the answers.
    fn hears(&mut self, now: Instant, from: SocketAddr, header: Header) -> Vec<Header> {
        self.receive(now, from, &bytes(header, b""));
        self.turn(now).iter().map(|(_, datagram)| Packet::decode(datagram).unwrap().header).collect()
    }

    fn incoming(&self) -> Option<Incoming> {
        match self.lease.poll_incoming(&mut cx()) {
            Poll::Ready(incoming) => incoming,
            Poll::Pending => None,
        }
    }

    fn dropped(&self) -> crate::stats::DropStats {
        self.endpoint.stats().dropped
    }

    fn assert_empty(&self) {
        let endpoint = &self.endpoint;
        let sizes =
            (endpoint.connections(), endpoint.routes_len(), endpoint.timers_len(), endpoint.ready_len());
        assert_eq!((sizes, endpoint.half_open(), endpoint.sources.len()), ((0, 0, 0, 0), 0, 0));
    }
}

/// Two endpoints a millisecond apart.
struct Pair {
    a: Side,
    b: Side,
    now: Instant,
    /// What is under way to `a`, and to `b`.
    under_way: [Vec<Datagram>; 2],
}

impl Pair {
    /// `b` listens.
    fn new(config: Config) -> Self {
        let (a, b) = (Side::new(1, config.clone()), Side::listening(2, config));
        Self { a, b, now: Instant::ZERO, under_way: Default::default() }
    }

    /// Delivers what is under way, a millisecond later, and lets both sides answer. Returns whether anything moved.
    fn step(&mut self) -> bool {
        self.now = self.now + millis(1);
        let [to_a, to_b] = std::mem::take(&mut self.under_way);
        let (from_a, from_b) = (self.a.addr, self.b.addr);
        for (to, datagram) in &to_b {
            assert_eq!(*to, self.b.addr);
            self.b.receive(self.now, from_a, datagram);
        }
        for (to, datagram) in &to_a {
            assert_eq!(*to, self.a.addr);
            self.a.receive(self.now, from_b, datagram);
        }
        self.under_way = [self.b.turn(self.now), self.a.turn(self.now)];
        self.under_way.iter().any(|datagrams| !datagrams.is_empty())
    }

    /// Runs until nothing is under way.
    fn settle(&mut self) {
        while self.step() {}
    }

    /// Runs for that long, jumping over silence.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            if !self.step() {
                let next = [self.a.endpoint.poll_timeout(), self.b.endpoint.poll_timeout()]
                    .into_iter()
                    .flatten()
                    .min();
                self.now = next.unwrap_or(end).clamp(self.now, end);
            }
        }
    }

    fn connect(&mut self) -> (Handle, Handle) {
        let ours = self.a.lease.connect(self.b.addr, None);
        self.settle();
        let theirs = self.b.incoming().unwrap().accept();
        self.settle();
        assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())));
        (ours, theirs)
    }
}

fn read_some(handle: &Handle) -> Option<Vec<u8>> {
    let mut out = vec![0; 10_000];
    match handle.try_read(&mut out) {
        Poll::Ready(Ok(len)) => Some(out[..len].to_vec()),
        _ => None,
    }
}

/// A stranger's address.
fn stranger(host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], 5000))
}

/// One of four thousand million addresses on the Internet (or so).
fn anybody(number: u32) -> SocketAddr {
    let [a, b, c, d] = number.to_be_bytes();
    SocketAddr::from(([11 + a % 90, b, c, d], 5000))
}

fn header(kind: Kind, id: u16, seq: u16, ack: u16) -> Header {
    Header {
        kind,
        conn_id: ConnId::new(id),
        sent_at: Timestamp::new(1),
        delay: Delay::NONE,
        window: 1 << 20,
        seq: SeqNr::new(seq),
        ack: SeqNr::new(ack),
    }
}

fn syn(id: u16, seq: u16) -> Header {
    header(Kind::Syn, id, seq, 0)
}

fn bytes(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Packet { header, extensions: Extensions::EMPTY, payload }.encode(&mut out);
    out
}
