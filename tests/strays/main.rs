//! Packets that are for nobody cost an endpoint no memory and leave nothing in its tables.
//!
//! Counts every allocation of the process, so there is one test in this file.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]
#![expect(unreachable_pub, reason = "modules of one test, nobody else reaches them")]

mod kinds;

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::{Endpoint, Handle, Lease};
use ebbtide::wire::{ConnId, Delay, HEADER_LEN, Header, Kind, Packet, SeqNr, Timestamp};
use ebbtide::{Config, Instant};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SYN_ID: ConnId = ConnId::new(4_000);
const SYN_SEQ: SeqNr = SeqNr::new(65_534);

/// An endpoint with one connection, whose peer is this test.
struct Victim {
    endpoint: Endpoint,
    _lease: Lease,
    handle: Handle,
    path: Path,
    now: Instant,
    batch: Batch,
    /// What the connection expects next from its peer, and the last number that it has sent.
    seq: SeqNr,
    ack: SeqNr,
}

impl Victim {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(Config::default()), [7; 32]);
        endpoint.add_socket(SocketAddr::from(([127, 0, 0, 1], 1)));
        let shared = endpoint.shared();
        shared.set_listening(true);
        let path = Path { socket: SocketId::new(0), peer: SocketAddr::from(([127, 0, 0, 1], 2)) };
        let now = Instant::from_micros(1_000_000);
        let syn = packet(Kind::Syn, SYN_ID, SYN_SEQ, SeqNr::new(0));
        endpoint.handle_datagrams(now, path, &syn, HEADER_LEN);
        let incoming = shared.poll_incoming(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(incoming)) = incoming else { panic!("nobody called") };
        let handle = incoming.accept();
        shared.set_listening(false);
        let lease = shared.lease();
        let batch = Batch::new(64);
        let mut victim = Self {
            endpoint,
            _lease: lease,
            handle,
            path,
            now,
            batch,
            seq: SYN_SEQ.next(),
            ack: SeqNr::new(0),
        };
        victim.endpoint.handle_mail(now);
        assert!(victim.endpoint.poll_transmit(now, &mut victim.batch).is_some(), "the answer to our SYN");
        victim.ack = Packet::decode(victim.batch.bytes()).unwrap().header.seq.prev();
        let proof = packet(Kind::State, SYN_ID.next(), victim.seq, victim.ack);
        victim.endpoint.handle_datagrams(now, path, &proof, HEADER_LEN);
        victim.turn();
        victim
    }

    /// Sends all that is due.
    fn turn(&mut self) {
        self.endpoint.handle_mail(self.now);
        self.endpoint.handle_timeout(self.now);
        while self.endpoint.poll_transmit(self.now, &mut self.batch).is_some() {}
    }

    /// A second in a thousand turns, with as many strays. Every one comes on its own.
    fn suffer(&mut self, strays: &[kinds::Stray]) {
        for some in strays.chunks(strays.len().div_ceil(1000)) {
            self.now = self.now + Duration::from_millis(1);
            for stray in some {
                let path = Path { peer: stray.from, ..self.path };
                self.endpoint.handle_datagrams(self.now, path, &stray.bytes, stray.bytes.len());
            }
            // From the peer's own address too, with numbers that do not fit.
            for kind in [Kind::Data, Kind::Reset, Kind::State] {
                let (seq, ack) = (self.seq + 20_000, self.ack + 20_000);
                let mut bytes = [0; HEADER_LEN];
                header(kind, SYN_ID.next(), seq, ack).write(0, &mut bytes);
                self.endpoint.handle_datagrams(self.now, self.path, &bytes, HEADER_LEN);
            }
            self.turn();
        }
    }

    fn sizes(&self) -> [usize; 5] {
        let endpoint = &self.endpoint;
        [
            endpoint.connections(),
            endpoint.half_open(),
            endpoint.routes_len(),
            endpoint.timers_len(),
            endpoint.ready_len(),
        ]
    }
}

fn header(kind: Kind, conn_id: ConnId, seq: SeqNr, ack: SeqNr) -> Header {
    Header { kind, conn_id, sent_at: Timestamp::new(1), delay: Delay::NONE, window: 1 << 20, seq, ack }
}

fn packet(kind: Kind, conn_id: ConnId, seq: SeqNr, ack: SeqNr) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    header(kind, conn_id, seq, ack).write(0, &mut bytes);
    bytes
}

#[test]
fn t20_strays_allocate_nothing_and_leave_nothing() {
    const STRAYS: u32 = 100_000;
    let strays = kinds::strays(STRAYS, SYN_ID.next());
    let mut victim = Victim::new();
    // The first second: queues for answers grow once.
    victim.suffer(&strays[..10_000]);
    let (sizes, before) = (victim.sizes(), victim.endpoint.stats());
    let steady = Region::new(COUNTED);
    victim.suffer(&strays);
    let change = steady.change();
    println!("t20 bound=0 measured={} allocations for {STRAYS} strays", change.allocations);
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!(victim.sizes(), sizes, "connections, half open ones, routes, timers, ready ones");

    let (stats, dropped) = (victim.endpoint.stats(), victim.endpoint.stats().dropped);
    let each = u64::from(STRAYS) / 8;
    let news = |now: u64, before: u64| now - before;
    assert_eq!(news(dropped.unknown_connection, before.dropped.unknown_connection), 4 * each);
    assert_eq!(news(dropped.not_listening, before.dropped.not_listening), each);
    assert_eq!(news(dropped.malformed, before.dropped.malformed), each);
    assert_eq!(news(dropped.foreign, before.dropped.foreign), each);
    assert_eq!(news(dropped.bad_reset, before.dropped.bad_reset), each + 1000);
    let answers = stats.resets_sent - before.resets_sent;
    assert!(answers <= 200, "{answers} answers in a second");
    assert!(victim.handle.stats().packets_invalid >= 2000);
    assert_eq!(victim.handle.close_reason(), None);
    let data = packet(Kind::Data, SYN_ID.next(), victim.seq, victim.ack);
    victim.endpoint.handle_datagrams(victim.now, victim.path, &[&data[..], b"still here"].concat(), 100);
    let mut out = [0; 100];
    let Poll::Ready(read) = victim.handle.try_read(&mut out) else { panic!("the connection is dead") };
    assert_eq!(&out[..read.unwrap()], b"still here");
}
