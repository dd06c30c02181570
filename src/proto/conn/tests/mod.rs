//! Two ways to test a connection without a network: a [`Raw`] peer that says exactly what a test wants, and a
//! [`Pair`] of connections over a link that a closure makes as bad as a test wants.
//!
//! Tests are named after the row of the conformance table that they protect: b handshake, c data, d close.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

mod asked;
mod b_handshake;
mod c_acks;
mod c_recovery;
mod c_transfer;
mod c_window;
mod chaos;
mod consent;
mod counts;
mod d_close;
mod d_reset;
mod d_reset_more;
mod d_time_wait;
mod departures;
mod framed;
mod messages;
mod quiet;
mod t_honesty;
mod t_honesty_when;
mod t_liars;
mod t_off_path;
mod t_storms;

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::Congestion;
use crate::proto::batch::{Batch, SocketId};
use crate::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, Timestamp};

/// A packet that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
}

impl Heard {
    pub(super) fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.bytes).unwrap()
    }

    pub(super) fn header(&self) -> Header {
        self.packet().header
    }

    pub(super) fn kind(&self) -> Kind {
        self.header().kind
    }
}

/// The headers of packets of one kind.
pub(super) fn only(kind: Kind, heard: &[Heard]) -> Vec<Header> {
    heard.iter().map(Heard::header).filter(|header| header.kind == kind).collect()
}

/// What must be the same in repetitions of a packet.
pub(super) const fn numbers(header: &Header) -> (Kind, ConnId, SeqNr, SeqNr) {
    (header.kind, header.conn_id, header.seq, header.ack)
}

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn path() -> Path {
    Path { socket: SocketId::new(0), peer: SocketAddr::from(([127, 0, 0, 1], 9)) }
}

pub(super) fn config() -> Config {
    Config::default().nodelay(true)
}

/// Full packets at once: no pacing, and no congestion control to speak of.
pub(super) fn unlimited() -> Config {
    config().pacing(false).congestion(Congestion::Fixed(1 << 20))
}

/// Payload of a full packet.
pub(super) const FULL: usize = MTU_IPV4 as usize - HEADER_LEN;

fn drain(connection: &mut Connection, now: Instant) -> Vec<Heard> {
    let mut batch = Batch::new(64);
    let mut heard = Vec::new();
    for _ in 0..1000 {
        batch.clear();
        if !connection.poll_transmit(now, &mut batch) {
            return heard;
        }
        heard.extend(batch.datagrams().map(|bytes| Heard { at: now, bytes: bytes.to_vec() }));
    }
    panic!("a connection that never stops sending");
}

/// A deadline that stays in the past would make a driver turn on the spot.
#[derive(Debug, Default)]
struct Spins(u32);

impl Spins {
    fn check(&mut self, now: Instant, next: Instant, connection: &Connection) {
        self.0 = if next > now { 0 } else { self.0 + 1 };
        assert!(self.0 < 100, "a deadline is left behind at {now}: {connection:#?}");
    }
}

/// One connection, and a peer made by hand.
pub(super) struct Raw {
    pub(super) conn: Connection,
    pub(super) now: Instant,
    /// What the peer puts into its headers unless told otherwise.
    pub(super) seq: SeqNr,
    pub(super) ack: SeqNr,
    pub(super) window: u32,
    pub(super) delay: Delay,
}

/// The id in our SYN in all tests of an initiator; near the wrap.
pub(super) const OUR_ID: ConnId = ConnId::new(65_534);
/// The number of our SYN.
pub(super) const OUR_SYN: SeqNr = SeqNr::new(65_533);
/// The number of the peer's first data packet.
pub(super) const THEIR_FIRST: SeqNr = SeqNr::new(65_534);

impl Raw {
    /// We dial: the SYN is due.
    pub(super) fn dialling(config: Config) -> Self {
        let mut conn = Connection::connect(Arc::new(config), path());
        conn.honesty.silence();
        let now = Instant::from_micros(1_000_000);
        conn.start(now, path(), ConnIds::initiator(OUR_ID), OUR_SYN);
        Self { conn, now, seq: THEIR_FIRST, ack: OUR_SYN, window: 1 << 20, delay: Delay::new(5_000) }
    }

    /// We dialled and the peer has answered; the third leg is out.
    pub(super) fn dialled(config: Config) -> Self {
        let mut raw = Self::dialling(config);
        assert_eq!(raw.hear()[0].kind(), Kind::Syn);
        raw.pass(Duration::from_millis(20));
        raw.say(Kind::State, b"");
        assert!(raw.conn.is_connected());
        raw.hear();
        raw
    }

    /// The peer dialled; the SYN-ACK is due.
    pub(super) fn dialled_by(config: Config, syn: Syn) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut conn = Connection::accept(Arc::new(config), path(), &syn, OUR_SYN, now);
        conn.honesty.silence();
        Self {
            conn,
            now,
            seq: syn.seq.next(),
            ack: OUR_SYN.prev(),
            window: 1 << 20,
            delay: Delay::new(5_000),
        }
    }

    /// The peer dialled and has proved its address.
    pub(super) fn accepted(config: Config) -> Self {
        let mut raw = Self::dialled_by(config, syn());
        raw.hear();
        raw.say(Kind::State, b"");
        assert!(raw.conn.is_confirmed());
        raw.hear();
        raw
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.conn.handle_timeout(self.now);
    }

    /// Lets time pass from deadline to deadline, and returns what was sent meanwhile.
    pub(super) fn pass_hearing(&mut self, time: Duration) -> Vec<Heard> {
        let end = self.now + time;
        let mut heard = self.hear();
        let mut spins = Spins::default();
        while let Some(at) = self.conn.poll_timeout().filter(|at| *at <= end) {
            spins.check(self.now, at, &self.conn);
            self.now = self.now.max(at);
            self.conn.handle_timeout(self.now);
            heard.extend(self.hear());
        }
        self.now = end;
        heard
    }

    pub(super) fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            conn_id: self.conn.ids().recv,
            sent_at: self.now.stamp(),
            delay: self.delay,
            window: self.window,
            seq: self.seq,
            ack: self.ack,
        }
    }

    /// The peer sends a packet with its usual header; data and FIN use up a number.
    pub(super) fn say(&mut self, kind: Kind, payload: &[u8]) {
        let header = self.header(kind);
        self.say_with(header, Extensions::EMPTY, payload);
        if matches!(kind, Kind::Data | Kind::Fin) {
            self.seq = self.seq.next();
        }
    }

    pub(super) fn say_with(&mut self, header: Header, extensions: Extensions<'_>, payload: &[u8]) {
        self.conn.handle_packet(self.now, &Packet { header, extensions, payload });
    }

    /// A packet that does not fit leaves no trace but a count.
    pub(super) fn unmoved_by(&mut self, header: Header, extensions: Extensions<'_>) {
        let before = format!("{:?}", self.conn);
        let invalid = std::mem::take(&mut self.conn.counters.packets_invalid);
        self.say_with(header, extensions, b"");
        assert_eq!(std::mem::replace(&mut self.conn.counters.packets_invalid, invalid), 1, "{header:?}");
        assert_eq!(format!("{:?}", self.conn), before, "{header:?}");
    }

    /// What the connection has to send.
    pub(super) fn hear(&mut self) -> Vec<Heard> {
        drain(&mut self.conn, self.now)
    }

    pub(super) fn read(&mut self) -> Vec<u8> {
        read_all(&mut self.conn)
    }

    /// Writes all of `data`, which must fit.
    pub(super) fn write(&mut self, data: &[u8]) {
        assert_eq!(self.conn.write(data), WriteOutcome::Written(data.len()));
    }

    /// The peer acknowledges everything that has been sent.
    pub(super) fn acknowledge_all(&mut self) {
        self.ack = self.conn.send.next_seq().prev();
        self.say(Kind::State, b"");
    }

    /// The peer has everything up to its usual acknowledgement, and the packets that these bits stand for.
    pub(super) fn say_sack(&mut self, mask: &[u8]) {
        let header = self.header(Kind::State);
        let bytes = [&[0, u8::try_from(mask.len()).unwrap()], mask].concat();
        let mut datagram = [0; HEADER_LEN].to_vec();
        header.write(1, datagram.first_chunk_mut().unwrap());
        datagram.extend(bytes);
        self.conn.handle_packet(self.now, &Packet::decode(&datagram).unwrap());
    }
}

/// A SYN near the wrap.
pub(super) fn syn() -> Syn {
    Syn {
        id: ConnId::new(65_535),
        seq: SeqNr::new(65_535),
        window: 1 << 20,
        sent_at: Timestamp::new(77),
        arrived: Instant::from_micros(1_000_000),
        hello: None,
    }
}

pub(super) fn read_all(connection: &mut Connection) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let ReadOutcome::Data(len) = connection.read(&mut buffer) {
        all.extend_from_slice(&buffer[..len]);
    }
    all
}

/// What the link does with a packet: a list of delays after which a copy arrives. Empty: lost.
pub(super) type Fate = Vec<Duration>;

/// Decides the fate of each packet.
pub(super) type Link = Box<dyn FnMut(usize, u64, &Packet<'_>) -> Fate>;

/// Turns a side's packet into what a peer of another make would have sent instead.
pub(super) type Rewrite = Box<dyn FnMut(usize, &mut Vec<u8>)>;

/// A packet under way: arrival, order, receiver, bytes.
type Arrival = (Instant, u64, usize, Vec<u8>);

/// Two connections and the link between them.
pub(super) struct Pair {
    pub(super) ends: [Connection; 2],
    pub(super) now: Instant,
    /// Given who sends (0 dials, 1 accepts), how many packets that side has sent before, and the packet.
    pub(super) link: Link,
    pub(super) rewrite: Rewrite,
    sent: [u64; 2],
    /// (arrival, order, receiver, bytes), earliest first.
    in_transit: BinaryHeap<std::cmp::Reverse<Arrival>>,
    order: u64,
    /// What each side still has to write, and what each has read.
    pub(super) outgoing: [Vec<u8>; 2],
    written: [usize; 2],
    pub(super) incoming: [Vec<u8>; 2],
    pub(super) finish_when_written: [bool; 2],
    pub(super) read: [bool; 2],
    /// Who has seen the end of the peer's stream.
    pub(super) eof: [bool; 2],
    /// Whose application has detached or aborted.
    pub(super) gone: [bool; 2],
    /// Until when the link loses everything from a side.
    pub(super) blackout: [Instant; 2],
}

pub(super) const ONE_WAY: Duration = Duration::from_millis(10);

impl Pair {
    pub(super) fn new(config: Config) -> Self {
        Self::with([config.clone(), config])
    }

    pub(super) fn with(configs: [Config; 2]) -> Self {
        let [first, second] = configs.map(Arc::new);
        let window = u32::try_from(first.receive_buffer).unwrap();
        let now = Instant::from_micros(u64::from(u32::MAX) - 3_000_000);
        let mut dialler = Connection::connect(first, path());
        dialler.start(now, path(), ConnIds::initiator(OUR_ID), OUR_SYN);
        let acceptor = Connection::accept(
            second,
            path(),
            &Syn { id: OUR_ID, seq: OUR_SYN, window, ..syn() },
            THEIR_FIRST,
            now,
        );
        Self {
            ends: [dialler, acceptor],
            now,
            link: Box::new(|_, _, _| vec![ONE_WAY]),
            rewrite: Box::new(|_, _| {}),
            sent: [0; 2],
            in_transit: BinaryHeap::new(),
            order: 0,
            outgoing: [Vec::new(), Vec::new()],
            written: [0; 2],
            incoming: [Vec::new(), Vec::new()],
            finish_when_written: [false; 2],
            read: [true; 2],
            eof: [false; 2],
            gone: [false; 2],
            blackout: [Instant::ZERO; 2],
        }
    }

    /// Runs until `done`, or for at most `limit` of virtual time; returns whether it was done.
    pub(super) fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        let mut spins = [Spins::default(), Spins::default()];
        loop {
            self.service();
            if done(self) {
                return true;
            }
            let arrival = self.in_transit.peek().map(|next| next.0.0);
            let timers = self.ends.iter().filter_map(Connection::poll_timeout).min();
            let Some(next) = [arrival, timers].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            for (spins, connection) in spins.iter_mut().zip(&self.ends) {
                if let Some(at) = connection.poll_timeout() {
                    spins.check(self.now, at, connection);
                }
            }
            self.now = self.now.max(next);
            while self.in_transit.peek().is_some_and(|next| next.0.0 <= self.now) {
                let std::cmp::Reverse((_, _, to, bytes)) = self.in_transit.pop().unwrap();
                self.deliver(to, &bytes);
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let packet = Packet::decode(bytes).unwrap();
        let header = packet.header;
        if !self.ends[to].is_drained() {
            return self.ends[to].handle_packet(self.now, &packet);
        }
        if !matches!(header.kind, Kind::Reset | Kind::Syn) {
            // What an endpoint answers for a connection that it has forgotten.
            let reset = Header { kind: Kind::Reset, ack: header.seq, seq: SeqNr::new(7), ..header };
            let mut bytes = [0; HEADER_LEN];
            reset.write(0, &mut bytes);
            self.post(to, bytes.to_vec());
        }
    }

    fn post(&mut self, side: usize, mut bytes: Vec<u8>) {
        (self.rewrite)(side, &mut bytes);
        let fate = (self.link)(side, self.sent[side], &Packet::decode(&bytes).unwrap());
        self.sent[side] += 1;
        if self.now < self.blackout[side] {
            return;
        }
        for delay in fate {
            self.order += 1;
            self.in_transit.push(std::cmp::Reverse((self.now + delay, self.order, 1 - side, bytes.clone())));
        }
    }

    fn service(&mut self) {
        for side in 0..2 {
            let end = &mut self.ends[side];
            while let WriteOutcome::Written(len @ 1..) = end.write(&self.outgoing[side][self.written[side]..])
            {
                self.written[side] += len;
            }
            if self.finish_when_written[side] && self.written[side] == self.outgoing[side].len() {
                end.finish();
            }
            if self.read[side] && !self.gone[side] {
                self.incoming[side].extend(read_all(end));
                self.eof[side] |= end.read_outcome(1) == ReadOutcome::Eof;
            }
            for heard in drain(end, self.now) {
                self.post(side, heard.bytes);
            }
        }
    }

    /// Both sides send `len` bytes of a pattern and finish; panics unless everything arrives.
    pub(super) fn transfer(&mut self, len: [usize; 2], limit: Duration) {
        self.outgoing = len.map(pattern);
        self.finish_when_written = [true; 2];
        let done = self
            .run(limit, |pair| pair.ends.iter().all(|end| end.close_reason().is_some() || end.is_drained()));
        for side in 0..2 {
            assert!(
                self.incoming[1 - side] == self.outgoing[side],
                "side {side}: {} of {} bytes arrived after {:?}; {:?} {:#?}",
                self.incoming[1 - side].len(),
                self.outgoing[side].len(),
                self.now,
                self.ends[side].close_reason(),
                self.ends[side].stats(),
            );
        }
        assert!(done, "all bytes arrived but the connections did not end: {:#?}", self.ends);
        assert_eq!(self.ends.each_ref().map(Connection::close_reason), [Some(CloseReason::Finished); 2]);
    }
}

/// Bytes whose value depends on their position, with a period longer than any buffer's.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (31 * i + 17 * (i >> 8) + 7 * (i >> 16)) as u8).collect()
}
