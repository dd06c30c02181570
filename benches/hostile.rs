//! What the worst packet costs: masks of alternating bits, chains of extensions, a thousand gaps.
//!
//! `cargo bench --bench hostile`; each figure is for one packet, decoding included.

#![expect(clippy::unwrap_used, reason = "a bench that unwraps nothing has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::conn::{ConnIds, Connection, WriteOutcome};
use ebbtide::wire::{ConnId, Delay, Header, Kind, Packet, SeqNr};
use ebbtide::{Config, Congestion, Instant};

const FLIGHT: u16 = 1024;
const ID: ConnId = ConnId::new(65_000);
const OUR_SYN: SeqNr = SeqNr::new(65_000);
const THEIR_FIRST: SeqNr = SeqNr::new(65_100);

/// A connection, and what a peer may say to it.
struct Victim {
    conn: Connection,
    now: Instant,
    batch: Batch,
}

impl Victim {
    /// Connected, with 1,024 packets in flight.
    fn new() -> Self {
        let config = Config::default()
            .congestion(Congestion::Fixed(8 << 20))
            .pacing(false)
            .packets_in_flight(FLIGHT)
            .send_buffer(8 << 20)
            .verify_acks(false);
        let path = Path { socket: SocketId::new(0), peer: SocketAddr::from(([127, 0, 0, 1], 9)) };
        let now = Instant::from_micros(1_000_000);
        let mut conn = Connection::connect(Arc::new(config), path);
        conn.start(now, path, ConnIds::initiator(ID), OUR_SYN);
        let mut victim = Self { conn, now, batch: Batch::new(64) };
        victim.drain();
        victim.hear(&victim.packet(Kind::State, THEIR_FIRST, 0, &[], &[]));
        assert!(victim.conn.is_connected());
        assert!(matches!(victim.conn.write(&vec![0; 4 << 20]), WriteOutcome::Written(_)));
        victim.drain();
        assert_eq!(victim.conn.stats().packets_in_flight, u32::from(FLIGHT));
        victim
    }

    fn packet(&self, kind: Kind, seq: SeqNr, acked: u16, chain: &[(u8, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
        let header = Header {
            kind,
            conn_id: ID,
            sent_at: self.now.stamp(),
            delay: Delay::new(5000),
            window: 8 << 20,
            seq,
            ack: OUR_SYN + acked,
        };
        let mut datagram = vec![0; 20];
        header.write(chain.first().map_or(0, |(id, _)| *id), datagram.first_chunk_mut().unwrap());
        for (index, (_, data)) in chain.iter().enumerate() {
            datagram.push(chain.get(index + 1).map_or(0, |(id, _)| *id));
            datagram.push(u8::try_from(data.len()).unwrap());
            datagram.extend(data);
        }
        datagram.extend(payload);
        datagram
    }

    fn hear(&mut self, datagram: &[u8]) {
        self.now = self.now + Duration::from_micros(1);
        self.conn.handle_packet(self.now, &Packet::decode(datagram).unwrap());
    }

    fn drain(&mut self) {
        loop {
            self.batch.clear();
            if !self.conn.poll_transmit(self.now, &mut self.batch) {
                return;
            }
        }
    }
}

/// Ids and contents of extensions.
type Chain = Vec<(u8, Vec<u8>)>;

fn acknowledgements(c: &mut Criterion) {
    let mut group = c.benchmark_group("hostile");
    let chains: [(&str, Chain); 6] = [
        ("mask of alternating bits", vec![(1, vec![0x55; 255])]),
        ("mask of the other bits", vec![(1, vec![0xAA; 255])]),
        ("full mask", vec![(1, vec![0xFF; 255])]),
        ("five full masks", (0..5).map(|_| (1, vec![0xFF; 255])).collect()),
        ("sixteen extensions", (0..16).map(|id| (1 + id, vec![0x55; 84])).collect()),
        ("690 empty extensions", (0..690).map(|_| (1, vec![])).collect()),
    ];
    for (name, chain) in chains {
        let mut victim = Victim::new();
        let datagram = victim.packet(Kind::State, THEIR_FIRST, 0, &chain, &[]);
        group.bench_function(name, |b| b.iter(|| victim.hear(&datagram)));
        assert_eq!(victim.conn.close_reason(), None);
    }
    group.finish();
}

fn gaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("hostile");
    let mut victim = Victim::new();
    for ahead in (1..1022).step_by(2) {
        let datagram = victim.packet(Kind::Data, THEIR_FIRST + ahead, 0, &[], &[7]);
        victim.hear(&datagram);
        victim.drain();
    }
    let datagram = victim.packet(Kind::Data, THEIR_FIRST + 1, 0, &[], &[7]);
    // Each of them is answered by a mask of all 511 packets that wait.
    group.bench_function("511 gaps, answered", |b| {
        b.iter(|| {
            victim.hear(&datagram);
            victim.drain();
        });
    });
    group.finish();
}

criterion_group!(benches, acknowledgements, gaps);
criterion_main!(benches);
