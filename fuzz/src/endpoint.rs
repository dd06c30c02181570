//! One endpoint and eight addresses, from which anything comes, while applications open, accept, use and drop.
//!
//! ```text
//!   input = 8 bytes of limits and settings; then commands:
//!     one byte, of which the low half says what is done and the top bit that the driver is not called yet
//! ```

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::{Endpoint, Handle, Incoming, Lease};
use ebbtide::wire::{ConnId, Delay, HEADER_LEN, Header, Kind, Packet, SeqNr};
use ebbtide::{Config, Instant};

use super::pattern::stretch;
use super::script::Script;
use super::settings;
use super::tasks::{cx, ignore};

/// Whatever connections still want when nobody uses them any more, they want it for less time than that.
const END_MAX: Duration = Duration::from_secs(3600);
/// No more handles than that at a time, nor undecided connections in an application's hands.
const HANDLES_MAX: usize = 24;

/// The least that can be set.
const MEMORY_MAX: usize = 1 << 20;

thread_local! {
    /// Kept for its memory.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new(64));
}

/// A byte string sends datagrams from several addresses, and moves applications and time.
pub fn endpoint(input: &[u8]) {
    BATCH.with_borrow_mut(|batch| {
        let mut script = Script::new(input);
        let mut place = Place::new(&mut script, batch);
        while !script.is_over() {
            place.step(&mut script);
        }
        place.end();
    });
}

/// Somebody at an address.
struct Stranger {
    path: Path,
    /// The last packet that the endpoint sent here.
    heard: Option<Header>,
    sent_bytes: usize,
    heard_bytes: usize,
    /// The endpoint has spoken first, or an answer showed that its packets arrive here.
    known: bool,
    /// Numbers of bare acknowledgements that the endpoint sent here: answers to a SYN are among them.
    answers: Vec<SeqNr>,
}

/// What the endpoint may hold.
struct Limits {
    connections: usize,
    half_open: usize,
    accept_queue: usize,
}

struct Place<'a> {
    endpoint: Endpoint,
    lease: Option<Lease>,
    now: Instant,
    batch: &'a mut Batch,
    limits: Limits,
    strangers: Vec<Stranger>,
    handles: Vec<Handle>,
    incoming: Vec<Incoming>,
}

impl<'a> Place<'a> {
    fn new(script: &mut Script<'_>, batch: &'a mut Batch) -> Self {
        let limits = Limits {
            connections: script.pick(&[4, 16, 1]),
            half_open: script.pick(&[4, 16, 1]),
            accept_queue: script.pick(&[4, 2, 1]),
        };
        let config = settings::small(script)
            .config
            .max_connections(limits.connections)
            .half_open(limits.half_open)
            .accept_queue(limits.accept_queue)
            .max_memory(MEMORY_MAX)
            .foreign_queue(2);
        let config = match script.byte() % 4 {
            0 => config.connections_per_address(None).connections_per_network(None),
            1 => config.connections_per_address(Some(2)).connections_per_network(Some(3)),
            2 => config.connections_per_address(None).connections_per_network(Some(2)),
            _ => config,
        };
        let (endpoint, strangers) = with_strangers(config);
        let lease = endpoint.shared().lease();
        lease.set_listening(true);
        Self {
            endpoint,
            lease: Some(lease),
            now: Instant::from_micros(u64::from(u32::MAX) - 2_000_000),
            batch,
            limits,
            strangers,
            handles: Vec::new(),
            incoming: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        match command & 0x0F {
            0..=3 => self.speak(script),
            4 => self.speak_in_a_row(script),
            5 => self.speak_raw(script),
            6 => self.dial(script),
            7 => self.look_for_incoming(),
            8 => self.decide(script),
            9..=11 => self.use_handle(script),
            12 => self.wish(script),
            13 => self.now = self.now + Duration::from_millis(u64::from(script.byte()) * 16),
            14 => self.now = self.now + Duration::from_secs(u64::from(script.byte()) * 2),
            _ => self.now = self.endpoint.poll_timeout().map_or(self.now, |at| self.now.max(at)),
        }
        if command & 0x80 == 0 {
            self.drive();
        }
    }

    /// One packet, more or less an answer to the last one heard.
    fn speak(&mut self, script: &mut Script<'_>) {
        let who = usize::from(script.byte()) % self.strangers.len();
        let datagram = self.packet(who, script);
        self.arrives(who, &datagram, datagram.len());
    }

    /// Several packets of one size, end to end.
    fn speak_in_a_row(&mut self, script: &mut Script<'_>) {
        let who = usize::from(script.byte()) % self.strangers.len();
        let mut run = Vec::new();
        let mut stride = 0;
        for _ in 0..script.byte() % 8 {
            let datagram = self.packet(who, script);
            stride = if run.is_empty() { datagram.len() } else { stride };
            run.extend_from_slice(&datagram);
        }
        self.arrives(who, &run, stride);
    }

    fn speak_raw(&mut self, script: &mut Script<'_>) {
        let who = usize::from(script.byte()) % self.strangers.len();
        let len = usize::from(script.short() % 2048);
        let datagram = script.take(len);
        self.arrives(who, datagram, usize::from(script.byte()) * 8);
    }

    fn packet(&self, who: usize, script: &mut Script<'_>) -> Vec<u8> {
        let (odd, shape) = (script.byte(), script.byte());
        let kind = Kind::ALL[usize::from(shape % 5)];
        let shift = |number: SeqNr, by: i8| number + i16::from(by).cast_unsigned();
        let mut header = self.answer(who, kind);
        if odd & 1 != 0 {
            header.seq = shift(header.seq, script.signed());
        }
        if odd & 2 != 0 {
            header.ack = shift(header.ack, script.signed());
        }
        if odd & 4 != 0 {
            let by = i16::from(script.signed());
            header.conn_id = ConnId::new(header.conn_id.get().wrapping_add_signed(by));
        }
        if odd & 8 != 0 {
            header.window = script.word();
        }
        let mut datagram = [0; HEADER_LEN].to_vec();
        if let Some(front) = datagram.first_chunk_mut() {
            header.write(if odd & 16 != 0 { script.byte() } else { 0 }, front);
        }
        if odd & 16 != 0 {
            datagram.extend_from_slice(script.counted());
        }
        if kind == Kind::Data {
            datagram.extend_from_slice(stretch(0, shape.into()));
        }
        datagram
    }

    /// What somebody would say who has heard the last packet; a SYN if there was none.
    fn answer(&self, who: usize, kind: Kind) -> Header {
        let fresh = Header {
            kind,
            conn_id: ConnId::new(65_534),
            sent_at: self.now.stamp(),
            delay: Delay::new(5000),
            window: 1 << 20,
            seq: SeqNr::new(65_533),
            ack: SeqNr::new(0),
        };
        let Some(heard) = self.strangers[who].heard else { return fresh };
        // A SYN names the id for the answer; everything else names its neighbour, above or below it.
        let dialled = self.strangers[who].known && heard.kind != Kind::Syn;
        let conn_id = match (kind, heard.kind) {
            (Kind::Syn, _) => fresh.conn_id,
            (_, Kind::Syn) => heard.conn_id,
            _ if dialled => heard.conn_id.prev(),
            _ => heard.conn_id.next(),
        };
        let ack = if heard.kind == Kind::State { heard.seq.prev() } else { heard.seq };
        Header { conn_id, seq: heard.ack.next(), ack, ..fresh }
    }

    fn arrives(&mut self, who: usize, run: &[u8], stride: usize) {
        let stranger = &mut self.strangers[who];
        stranger.sent_bytes += run.len();
        for datagram in run.chunks(stride.max(1)) {
            if let Ok(packet) = Packet::decode(datagram) {
                stranger.known |= stranger.answers.contains(&packet.header.ack.next());
            }
        }
        self.endpoint.handle_datagrams(self.now, stranger.path, run, stride);
    }

    fn dial(&mut self, script: &mut Script<'_>) {
        let who = usize::from(script.byte()) % self.strangers.len();
        let id = script.byte();
        let id = (id != 0).then(|| ConnId::new(65_280 + u16::from(id)));
        let Some(lease) = &self.lease else { return };
        if self.handles.len() < HANDLES_MAX {
            self.strangers[who].known = true;
            self.handles.push(lease.connect(self.strangers[who].path.peer, id));
        }
    }

    fn look_for_incoming(&mut self) {
        let Some(lease) = self.lease.as_ref().filter(|_| self.incoming.len() < HANDLES_MAX) else { return };
        if let Poll::Ready(Some(incoming)) = lease.poll_incoming(&mut cx()) {
            self.incoming.push(incoming);
        }
    }

    fn decide(&mut self, script: &mut Script<'_>) {
        let (which, verdict) = (usize::from(script.byte()), script.byte());
        if self.incoming.is_empty() {
            self.look_for_incoming();
        }
        if self.incoming.is_empty() {
            return;
        }
        let incoming = self.incoming.remove(which % self.incoming.len());
        match verdict % 8 {
            0 => incoming.refuse(),
            1 => incoming.ignore(),
            2 => drop(incoming),
            _ if self.handles.len() < HANDLES_MAX => self.handles.push(incoming.accept()),
            _ => {}
        }
    }

    fn use_handle(&mut self, script: &mut Script<'_>) {
        let (which, verb, amount) = (script.byte(), script.byte(), script.byte());
        if self.handles.is_empty() {
            return;
        }
        let which = usize::from(which) % self.handles.len();
        let handle = &self.handles[which];
        let mut bytes = [0; 4096];
        let len = usize::from(amount) * 16;
        let cx = &mut cx();
        match verb % 12 {
            0 | 1 => ignore(handle.poll_write(cx, &bytes[..len])),
            2 | 3 => ignore(handle.poll_read(cx, &mut bytes[..len])),
            4 => ignore(handle.poll_finish(cx)),
            5 => ignore(handle.poll_flush(cx)),
            6 => ignore(handle.poll_acked(cx)),
            7 => ignore(handle.poll_peek(cx, &mut bytes[..len])),
            8 => handle.abort(),
            9 => ignore(handle.poll_connected(cx)),
            10 => handle.set_nodelay(amount & 1 == 1),
            _ => drop(self.handles.remove(which)),
        }
    }

    fn wish(&mut self, script: &mut Script<'_>) {
        let (what, amount) = (script.byte(), script.byte());
        let Some(lease) = &self.lease else { return };
        let peer = self.strangers[usize::from(amount) % self.strangers.len()].path.peer;
        match what % 8 {
            0 => lease.set_listening(amount & 1 == 1),
            1 => lease.set_foreign(amount & 1 == 1),
            2 => ignore(lease.poll_foreign(&mut cx())),
            3 => {
                if lease.send_foreign(peer, Bytes::from_static(b"d1:y1:qe")).is_ok() {
                    self.strangers[usize::from(amount) % 8].known = true;
                }
            }
            4 if amount == 0xFF => lease.close(),
            5 if amount == 0xFF => self.lease = None,
            _ => assert!(lease.stats().connections <= self.limits.connections),
        }
    }

    /// A turn of a driver; after it nothing is overdue.
    fn drive(&mut self) {
        for _ in 0..16 {
            self.endpoint.handle_mail(self.now);
            self.endpoint.handle_timeout(self.now);
            self.transmit();
            assert!(!self.endpoint.has_work());
            let mail = self.endpoint.shared().has_mail();
            if !mail && self.endpoint.poll_timeout().is_none_or(|at| at > self.now) {
                return self.check();
            }
        }
        panic!("something stays overdue at {}: {:?}", self.now, self.endpoint);
    }

    fn transmit(&mut self) {
        for _ in 0..10_000 {
            let Some(path) = self.endpoint.poll_transmit(self.now, self.batch) else { return };
            let Some(stranger) = self.strangers.iter_mut().find(|each| is_same(each.path.peer, path.peer))
            else {
                panic!("to {path:?}, from where nothing ever came");
            };
            for datagram in self.batch.datagrams() {
                stranger.heard_bytes += datagram.len();
                if let Ok(packet) = Packet::decode(datagram) {
                    if packet.header.kind == Kind::State && !stranger.known {
                        stranger.answers.push(packet.header.seq);
                    }
                    if packet.header.kind != Kind::Reset {
                        stranger.heard = Some(packet.header);
                    }
                }
            }
        }
        panic!("an endpoint that never stops sending");
    }

    fn check(&self) {
        for stranger in self.strangers.iter().filter(|stranger| !stranger.known) {
            let (out, come) = (stranger.heard_bytes, stranger.sent_bytes);
            assert!(out <= come, "{out} bytes to {:?}, which sent {come} and proved nothing", stranger.path);
        }
        let endpoint = &self.endpoint;
        let connections = endpoint.connections();
        assert!(connections <= self.limits.connections, "{connections} connections");
        assert!(endpoint.half_open() <= self.limits.half_open, "{} half open", endpoint.half_open());
        assert!(endpoint.routes_len() <= connections + self.limits.accept_queue);
        assert!(endpoint.timers_len() <= 2 * connections + 64, "{} timers", endpoint.timers_len());
        assert_eq!(endpoint.ready_len(), 0);
        let memory = endpoint.stats().memory;
        assert!(memory <= MEMORY_MAX, "{memory} bytes of memory");
    }

    /// Everybody falls silent and all applications go: the endpoint ends by itself, and its tables are empty.
    fn end(mut self) {
        self.handles.clear();
        self.incoming.clear();
        self.lease = None;
        self.drive();
        let end = self.now + END_MAX;
        while let Some(at) = self.endpoint.poll_timeout() {
            assert!(at < end, "does not end: {:?}", self.endpoint);
            self.now = self.now.max(at);
            self.drive();
        }
        assert!(self.endpoint.is_drained(), "{:?}", self.endpoint);
        let endpoint = &self.endpoint;
        let sizes =
            [endpoint.connections(), endpoint.routes_len(), endpoint.timers_len(), endpoint.half_open()];
        assert_eq!(sizes, [0; 4]);
    }
}

/// An endpoint with an IPv4 socket and one that carries both families, and who speaks to it: neighbours, strangers,
/// the same host on two ports.
fn with_strangers(config: Config) -> (Endpoint, Vec<Stranger>) {
    let mut endpoint = Endpoint::new(Arc::new(config), [7; 32]);
    let four = endpoint.add_socket(SocketAddr::from(([192, 0, 2, 1], 4000)));
    let both = endpoint.add_dual_stack_socket(SocketAddr::from((Ipv6Addr::LOCALHOST, 4000)));
    let stranger = |socket: SocketId, ip: IpAddr, port: u16| Stranger {
        path: Path { socket, peer: SocketAddr::new(ip, port) },
        heard: None,
        sent_bytes: 0,
        heard_bytes: 0,
        known: false,
        answers: Vec::new(),
    };
    let v4 = |last: u8| IpAddr::from(Ipv4Addr::new(198, 51, 100, last));
    let v6 = |last: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let strangers = vec![
        stranger(four, v4(1), 6881),
        stranger(four, v4(1), 6882),
        stranger(four, v4(2), 6881),
        stranger(four, IpAddr::from([203, 0, 113, 9]), 6881),
        stranger(both, v6(1), 6881),
        stranger(both, v6(2), 6881),
        stranger(both, IpAddr::from(Ipv4Addr::new(203, 0, 113, 77).to_ipv6_mapped()), 6881),
        // Cannot be answered.
        stranger(four, v4(3), 0),
    ];
    (endpoint, strangers)
}

/// Whether these are one address, IPv4 inside IPv6 or not.
fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
}
