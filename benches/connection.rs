//! Two connections and no sockets: what one packet costs in the machines alone, both ends together.
//!
//! `cargo bench --bench connection`

#![expect(clippy::unwrap_used, reason = "a bench that unwraps nothing has failed")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::conn::{ConnIds, Connection, ReadOutcome, Syn, WriteOutcome};
use ebbtide::wire::{ConnId, Packet, SeqNr, Timestamp};
use ebbtide::{Config, Congestion, Instant};

const CHUNK: usize = 256 << 10;
const PER_ITERATION: usize = 4 << 20;

struct Pair {
    sender: Connection,
    receiver: Connection,
    now: Instant,
    batch: Batch,
    data: Vec<u8>,
    out: Vec<u8>,
}

impl Pair {
    fn new(mtu: u16) -> Self {
        let config = Arc::new(Config::default().mtu(mtu).congestion(Congestion::Fixed(1 << 20)));
        let path = Path { socket: SocketId::new(0), peer: SocketAddr::from(([127, 0, 0, 1], 9)) };
        let now = Instant::from_micros(1_000_000);
        let (id, seq) = (ConnId::new(100), SeqNr::new(65_000));
        let mut sender = Connection::connect(Arc::clone(&config), path);
        sender.start(now, path, ConnIds::initiator(id), seq);
        let syn = Syn { id, seq, window: 1 << 20, sent_at: Timestamp::new(1), arrived: now, hello: None };
        let receiver = Connection::accept(config, path, &syn, SeqNr::new(65_500), now);
        let mut pair = Self {
            sender,
            receiver,
            now,
            batch: Batch::new(64),
            data: vec![0x5a; CHUNK],
            out: vec![0; CHUNK],
        };
        for _ in 0..4 {
            pair.turn();
        }
        assert!(pair.sender.is_connected() && pair.receiver.is_connected());
        pair
    }

    /// Carries everything that either side has to send to the other.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_micros(50);
        for _ in 0..2 {
            self.batch.clear();
            while self.sender.poll_transmit(self.now, &mut self.batch) {
                for datagram in self.batch.datagrams() {
                    self.receiver.handle_packet(self.now, &Packet::decode(datagram).unwrap());
                }
                self.batch.clear();
            }
            std::mem::swap(&mut self.sender, &mut self.receiver);
        }
    }

    fn transfer(&mut self, bytes: usize) -> usize {
        let mut received = 0;
        while received < bytes {
            while let WriteOutcome::Written(1..) = self.sender.write(&self.data) {}
            self.turn();
            while let ReadOutcome::Data(len) = self.receiver.read(&mut self.out) {
                black_box(&self.out[..len]);
                received += len;
            }
        }
        received
    }
}

fn transfer(c: &mut Criterion) {
    let mut group = c.benchmark_group("connection");
    for mtu in [1400, 1472] {
        let mut pair = Pair::new(mtu);
        group.throughput(Throughput::Bytes(PER_ITERATION as u64));
        group.bench_function(format!("transfer/{mtu}"), |b| {
            b.iter(|| assert!(pair.transfer(PER_ITERATION) >= PER_ITERATION));
        });
        let stats = pair.sender.stats();
        assert_eq!((stats.packets_retransmitted, stats.timeouts), (0, 0), "the bench itself lost packets");
    }
    group.finish();
}

criterion_group!(benches, transfer);
criterion_main!(benches);
