//! One connection towards a peer that says whatever the fuzzer wants, at any time, while an application does whatever
//! the fuzzer wants.
//!
//! ```text
//!   input = 4 bytes of settings, role, our id, our number, and as a listener the SYN; then commands:
//!     one byte, of which the low half says what is done and the top bit that nothing is sent yet, and what it needs
//! ```

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::conn::{ConnIds, Connection, Events, ReadOutcome, Syn, WriteOutcome};
use ebbtide::wire::{ConnId, Delay, Extensions, HEADER_LEN, Header, Kind, Packet, SeqNr, Timestamp};

use super::outgoing::Outgoing;
use super::pattern::stretch;
use super::peer::Spoken;
use super::script::Script;
use super::settings;

/// So that no number comes round again within one input.
const WRITTEN_MAX: usize = 256 << 10;
/// Nothing in a connection takes longer than that once its application is gone: it lingers, repeats its end, and waits
/// for afterthoughts.
const END_MAX: Duration = Duration::from_secs(3600);

/// How often the figures that the connection has to work out are looked at: each takes a while, and what is wrong with
/// them stays wrong for longer.
const CHECKS_PER_LOOK: u32 = 4;

/// The most that is read at once.
const ROOM_BYTES: usize = 64 << 10;

/// Room for what is known about a segment; twice, because tables double.
const SEGMENT_BYTES: usize = 512;

thread_local! {
    /// Kept for their memory.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new(64));
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; ROOM_BYTES]);
}

/// A byte string drives packets, time and application calls on one connection.
pub fn connection(input: &[u8]) {
    BATCH.with_borrow_mut(|batch| {
        let mut script = Script::new(input);
        let mut scene = Scene::new(&mut script, batch);
        scene.settle();
        while !script.is_over() {
            scene.step(&mut script);
        }
        scene.end();
    });
}

struct Scene<'a> {
    conn: Connection,
    now: Instant,
    batch: &'a mut Batch,
    spoken: Spoken,
    outgoing: Outgoing,
    /// Number of the peer's next packet.
    next: SeqNr,
    /// What the peer acknowledges unless told otherwise.
    ack: SeqNr,
    window: u32,
    /// The last packet, to be said again.
    last: Vec<u8>,
    heard_bytes: usize,
    /// Nobody reads any more, and what there was has been thrown away.
    detached: bool,
    packets_max: usize,
    window_max: usize,
    memory_max: usize,
    checks: u32,
}

impl<'a> Scene<'a> {
    fn new(script: &mut Script<'_>, batch: &'a mut Batch) -> Self {
        let settings = settings::small(script);
        let path = Path { socket: SocketId::new(0), peer: SocketAddr::from(([192, 0, 2, 1], 6881)) };
        let now = Instant::from_micros(u64::from(u32::MAX) - 3_000_000);
        let dials = script.flag();
        let (id, ours) = (ConnId::new(script.short()), SeqNr::new(script.short()));
        let config = Arc::new(settings.config);
        let (conn, next) = if dials {
            let mut conn = Connection::connect(Arc::clone(&config), path);
            conn.start(now, path, ConnIds::initiator(id), ours);
            (conn, SeqNr::new(script.short()))
        } else {
            let syn = Syn {
                id,
                seq: SeqNr::new(script.short()),
                window: script.word(),
                sent_at: Timestamp::new(script.word()),
                arrived: now,
                hello: None,
            };
            (Connection::accept(Arc::clone(&config), path, &syn, ours, now), syn.seq.next())
        };
        let stats = conn.stats();
        let first = if dials { ours.next() } else { ours };
        let mut spoken = Spoken::default();
        spoken.begin(next.get());
        Self {
            outgoing: Outgoing::new(conn.ids(), first, usize::from(stats.mtu), settings.receive_buffer_max),
            memory_max: 2 * settings.receive_buffer_max.max(48 << 10)
                + (64 << 10)
                + settings.send_buffer
                + SEGMENT_BYTES * usize::from(settings.packets_in_flight.max(64)),
            window_max: settings.receive_buffer_max,
            conn,
            now,
            batch,
            spoken,
            next,
            ack: first.prev(),
            window: 1 << 20,
            last: Vec::new(),
            heard_bytes: if dials { usize::MAX / 2 } else { HEADER_LEN },
            detached: false,
            packets_max: 2000,
            checks: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        match command & 0x0F {
            0 => self.say_next(Kind::Data, usize::from(script.byte()) * 8),
            1 => self.say_next(Kind::State, 0),
            2 => self.say_sack(script.counted()),
            3..=5 => self.say_anything(script),
            6 => self.say_raw(script),
            7 => self.say_again(script.byte()),
            8 => self.pass(Duration::from_millis(script.byte().into())),
            9 => self.pass_until_due(script.byte()),
            10 => self.pass(Duration::from_secs(u64::from(script.byte()) * 4)),
            11 => self.write(usize::from(script.byte()) * 64 + 1),
            12 => self.read(usize::from(script.byte()) * 64),
            13 => self.say_next(Kind::Fin, usize::from(script.byte() & 0x7F)),
            14 => self.window = script.word() >> (script.byte() & 31),
            _ => self.wish(script),
        }
        if command & 0x80 == 0 {
            self.settle();
        }
    }

    fn wish(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => self.conn.finish(),
            1 => self.conn.push(),
            2 => self.conn.set_nodelay(script.flag()),
            3 => {
                self.conn.detach();
                self.detached = true;
            }
            4 => self.conn.abort(),
            5 => self.peek(),
            6 => self.conn.handle_timeout(self.now),
            _ => {
                let events = self.conn.take_events();
                assert!(!events.intersects(Events::CLOSED) || self.conn.close_reason().is_some());
                assert!(self.conn.take_events().is_empty(), "taken is taken");
            }
        }
    }

    fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            conn_id: self.conn.ids().recv,
            sent_at: self.now.stamp(),
            delay: Delay::new(5000),
            window: self.window,
            seq: self.next,
            ack: self.ack,
        }
    }

    /// The peer acknowledges everything, and goes on.
    fn say_next(&mut self, kind: Kind, len: usize) {
        self.ack = self.outgoing.newest();
        let header = self.header(kind);
        self.say(header, Extensions::EMPTY, len);
        if kind != Kind::State {
            self.next = self.next.next();
        }
    }

    fn say_sack(&mut self, mask: &[u8]) {
        let header = self.header(Kind::State);
        let mut datagram = [0; HEADER_LEN].to_vec();
        datagram.extend([0, mask.len() as u8]);
        datagram.extend_from_slice(mask);
        self.say_datagram(datagram, header, 1);
    }

    /// A packet that is more or less right. The first byte tells what about it is out of the ordinary.
    fn say_anything(&mut self, script: &mut Script<'_>) {
        let odd = script.byte();
        let is_odd = |bit: u8| odd & (1 << bit) != 0;
        let mut header = self.header(Kind::ALL[usize::from(script.byte() % 5)]);
        let shift = |number: SeqNr, by: i8| number + (i16::from(by)).cast_unsigned();
        if is_odd(0) {
            header.seq = shift(header.seq, script.signed());
        }
        if is_odd(1) {
            header.ack = shift(self.outgoing.newest(), script.signed());
        }
        if is_odd(2) {
            header.conn_id = ConnId::new(header.conn_id.get().wrapping_add_signed(script.signed().into()));
        }
        if is_odd(3) {
            header.window = script.word();
        }
        if is_odd(4) {
            (header.sent_at, header.delay) = (Timestamp::new(script.word()), Delay::new(script.word()));
        }
        if is_odd(5) {
            header.seq = SeqNr::new(script.short());
        }
        if is_odd(6) {
            header.ack = SeqNr::new(script.short());
        }
        let len = usize::from(script.byte()) * 6;
        if is_odd(7) {
            let first = script.byte();
            let mut datagram = [0; HEADER_LEN].to_vec();
            datagram.extend_from_slice(script.counted());
            return self.say_datagram(datagram, header, first);
        }
        if !is_odd(1) && !is_odd(6) {
            self.ack = header.ack;
        }
        self.say(header, Extensions::EMPTY, len);
    }

    fn say_datagram(&mut self, mut datagram: Vec<u8>, header: Header, first_extension: u8) {
        if let Some(front) = datagram.first_chunk_mut() {
            header.write(first_extension, front);
        }
        self.say_bytes(&datagram);
    }

    /// Bytes as they might be recorded from a real peer.
    fn say_raw(&mut self, script: &mut Script<'_>) {
        let len = usize::from(script.short() % 2048);
        let datagram = script.take(len).to_vec();
        self.say_bytes(&datagram);
    }

    fn say_again(&mut self, times: u8) {
        let datagram = std::mem::take(&mut self.last);
        if let Ok(packet) = Packet::decode(&datagram) {
            for _ in 0..times {
                self.say(packet.header, packet.extensions, packet.payload.len());
            }
        }
        self.last = datagram;
    }

    fn say_bytes(&mut self, datagram: &[u8]) {
        if let Ok(packet) = Packet::decode(datagram) {
            self.say(packet.header, packet.extensions, packet.payload.len());
            self.last.clear();
            self.last.extend_from_slice(datagram);
        }
    }

    fn say(&mut self, header: Header, extensions: Extensions<'_>, len: usize) {
        let numbered = matches!(header.kind, Kind::Data | Kind::Fin);
        let len = if numbered { len } else { 0 };
        let before = self.conn.is_confirmed();
        let dials = self.conn.is_initiator();
        let fin = header.kind == Kind::Fin;
        let payload = if numbered { self.spoken.payload(header.seq.get(), len, fin) } else { &[] };
        let packet = Packet { header, extensions, payload };
        self.heard_bytes += packet.encoded_len();
        self.conn.handle_packet(self.now, &packet);
        if dials && !before && self.conn.is_confirmed() {
            self.next = header.seq;
            self.spoken.begin(header.seq.get());
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.conn.handle_timeout(self.now);
    }

    /// Jumps from deadline to deadline.
    fn pass_until_due(&mut self, times: u8) {
        for _ in 0..times % 16 {
            let Some(at) = self.conn.poll_timeout() else { return };
            self.now = self.now.max(at);
            self.conn.handle_timeout(self.now);
            self.settle();
        }
    }

    fn write(&mut self, len: usize) {
        let from = self.outgoing.written;
        let len = len.min(WRITTEN_MAX - from);
        match self.conn.write(stretch(from, len)) {
            WriteOutcome::Written(taken) => {
                assert!(taken <= len && (taken > 0 || len == 0));
                self.outgoing.written += taken;
            }
            WriteOutcome::Closed(reason) => assert_eq!(self.conn.close_reason(), Some(reason)),
            WriteOutcome::Full | WriteOutcome::Finished => {}
        }
    }

    fn read(&mut self, room: usize) {
        if self.detached {
            return;
        }
        ROOM.with_borrow_mut(|out| match self.conn.read(&mut out[..room]) {
            ReadOutcome::Data(len) => self.spoken.delivered(&out[..len]),
            ReadOutcome::Eof => self.spoken.ended(),
            ReadOutcome::Closed(reason) => assert_eq!(self.conn.close_reason(), Some(reason)),
            ReadOutcome::Empty => {}
        });
    }

    /// Looking changes nothing.
    fn peek(&mut self) {
        let (mut first, mut second) = ([0; 4096], [0; 4096]);
        assert_eq!(self.conn.peek(&mut first), self.conn.peek(&mut second));
        assert_eq!(first, second);
    }

    /// Sends everything that can be sent now; after that nothing is overdue.
    fn settle(&mut self) {
        self.drain();
        for _ in 0..8 {
            match self.conn.poll_timeout() {
                Some(at) if at <= self.now => {
                    self.conn.handle_timeout(self.now);
                    self.drain();
                }
                _ => return self.check(),
            }
        }
        panic!("a deadline is left behind at {}: {:#?}", self.now, self.conn);
    }

    fn drain(&mut self) {
        self.outgoing.begin_round();
        for _ in 0..self.packets_max {
            self.batch.clear();
            if !self.conn.poll_transmit(self.now, self.batch) {
                return;
            }
            for datagram in self.batch.datagrams() {
                self.outgoing.left(datagram);
            }
        }
        panic!("a connection that never stops sending: {:#?}", self.conn);
    }

    fn check(&mut self) {
        if !self.conn.is_confirmed() && self.conn.close_reason().is_none() {
            assert!(
                self.outgoing.bytes <= self.heard_bytes,
                "more bytes out than in before the address is proved"
            );
        }
        let memory = self.conn.memory();
        assert!(memory <= self.memory_max, "{memory} bytes of memory: {:#?}", self.conn);
        if self.checks.is_multiple_of(CHECKS_PER_LOOK) {
            let stats = self.conn.stats();
            assert!(stats.window_local as usize <= self.window_max);
            assert!(stats.bytes_in_flight as usize <= self.outgoing.written);
        }
        self.checks += 1;
        let readable = match self.conn.read_outcome(usize::MAX) {
            ReadOutcome::Data(bytes) => bytes,
            _ => 0,
        };
        // One packet beyond the limit, if it is the one that everything waits for.
        assert!(readable <= self.window_max + 65_535, "{readable} bytes to be read");
        assert!(!self.conn.wants_service(), "has just been serviced: {:#?}", self.conn);
        if self.conn.is_drained() {
            assert_eq!(self.conn.poll_timeout(), None);
        }
    }

    /// The peer falls silent, the application reads what is there and goes away: the connection ends by itself.
    fn end(mut self) {
        self.settle();
        while !self.detached && matches!(self.conn.read_outcome(1), ReadOutcome::Data(_)) {
            self.read(ROOM_BYTES);
        }
        self.read(1);
        self.conn.detach();
        self.settle();
        let end = self.now + END_MAX;
        while let Some(at) = self.conn.poll_timeout() {
            assert!(at < end, "does not end: {:#?}", self.conn);
            self.now = self.now.max(at);
            self.conn.handle_timeout(self.now);
            self.settle();
        }
        assert!(self.conn.is_drained() && self.conn.close_reason().is_some(), "{:#?}", self.conn);
        assert!(!matches!(self.conn.read_outcome(1), ReadOutcome::Empty | ReadOutcome::Data(_)));
    }
}
