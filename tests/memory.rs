//! What a connection costs in memory: nothing per packet once it runs, and little while it idles.
//!
//! Counts every allocation of the process, so there is one test in this file, and it drives two endpoints by hand.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path};
use ebbtide::proto::endpoint::{Endpoint, Handle, Lease};
use ebbtide::{Config, Instant};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Two endpoints, and a wire that carries everything in half a millisecond.
struct Pair {
    ends: [Endpoint; 2],
    /// Without them, the endpoints would close with their last connection.
    _leases: [Lease; 2],
    addrs: [SocketAddr; 2],
    now: Instant,
    batch: Batch,
}

impl Pair {
    fn new(config: Config) -> Self {
        let config = Arc::new(config);
        let addrs = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let ends = [0, 1].map(|side| {
            let mut end = Endpoint::new(Arc::clone(&config), [side as u8; 32]);
            end.add_socket(addrs[side]);
            end
        });
        ends[1].shared().set_listening(true);
        let leases = ends.each_ref().map(|end| end.shared().lease());
        Self { ends, _leases: leases, addrs, now: Instant::from_micros(1), batch: Batch::new(64) }
    }

    fn turn(&mut self) {
        self.now = self.now + Duration::from_micros(500);
        for side in 0..2 {
            self.ends[side].handle_mail(self.now);
            self.ends[side].handle_timeout(self.now);
            while let Some(path) = self.ends[side].poll_transmit(self.now, &mut self.batch) {
                let other = self.addrs.iter().position(|addr| *addr == path.peer).unwrap();
                let from = Path { peer: self.addrs[side], ..path };
                let (bytes, stride) = (self.batch.bytes(), self.batch.segment_size());
                self.ends[other].handle_datagrams(self.now, from, bytes, stride);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
        }
    }

    fn connect(&mut self) -> [Handle; 2] {
        let mut cx = Context::from_waker(Waker::noop());
        let dialler = self.ends[0].shared().connect(self.addrs[1], None);
        let acceptor = loop {
            self.turn();
            if let Poll::Ready(Some(incoming)) = self.ends[1].shared().poll_incoming(&mut cx) {
                break incoming.accept();
            }
        };
        while dialler.poll_connected(&mut cx).is_pending() {
            self.turn();
        }
        [dialler, acceptor]
    }
}

/// Writes, carries and reads so many bytes.
fn transfer(pair: &mut Pair, from: &Handle, to: &Handle, bytes: usize, buffer: &mut [u8]) {
    let (mut written, mut received) = (0, 0);
    while received < bytes {
        while written < bytes
            && let Poll::Ready(taken) = from.try_write(&buffer[..buffer.len().min(bytes - written)])
        {
            written += taken.unwrap();
        }
        pair.turn();
        while let Poll::Ready(read) = to.try_read(buffer) {
            received += read.unwrap();
        }
    }
}

#[test]
fn packets_allocate_nothing_and_idle_connections_cost_little() {
    let mut pair = Pair::new(Config::default().max_connections(2000).keepalive(None).verify_acks(false));
    // A packet that the sender keeps back leaves a gap, and what comes after a gap waits in memory of its own.
    let mut buffer = vec![0x5a; 256 << 10];
    let [from, to] = pair.connect();
    // Twice: mail changes hands in two lists, and each grows when it is first used.
    for _ in 0..2 {
        transfer(&mut pair, &from, &to, 32 << 20, &mut buffer);
    }
    let packets = from.stats().packets_sent;
    let steady = Region::new(COUNTED);
    transfer(&mut pair, &from, &to, 64 << 20, &mut buffer);
    let change = steady.change();
    let packets = from.stats().packets_sent - packets;
    assert!(packets > 40_000, "{packets} packets are no steady state");
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{packets} packets: {change:?}");

    const COUNT: usize = 1000;
    drop((from, to));
    pair.pass(Duration::from_secs(10));
    assert_eq!(pair.ends.each_ref().map(Endpoint::connections), [0, 0]);
    let before = Region::new(COUNTED);
    let mut idle = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let ends = pair.connect();
        transfer(&mut pair, &ends[0], &ends[1], 10_000, &mut buffer);
        idle.push(ends);
    }
    pair.pass(Duration::from_secs(3));
    let change = before.change();
    let grown =
        change.bytes_allocated as isize + change.bytes_reallocated - change.bytes_deallocated as isize;
    let per_connection = grown / (2 * COUNT as isize);
    println!("an idle connection that has been used costs {per_connection} bytes");
    assert!(per_connection <= 4096, "an idle connection costs {per_connection} bytes");
}
