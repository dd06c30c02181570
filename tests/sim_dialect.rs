//! Whole transfers in the dialect of utp-punch over a simulated network, and those of its faults that take one.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::time::Duration;

use ebbtide::sim::{Direction, HostId, LineId, Link, Rate, Side, Size, Strike, Traffic, World};
use ebbtide::{Config, Dialect, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const MINUTE: Duration = Duration::from_secs(60);

/// 20 Mbit/s, a queue of 256 KiB.
fn link(delay: u64) -> Link {
    Link::perfect().rate(Rate::megabits(20)).delay(MS(delay)).queue(Size::kib(256))
}

struct Two {
    world: World,
    hosts: [HostId; 2],
    line: LineId,
}

impl Two {
    /// Two that speak the dialect; the clock of one is about to wrap.
    fn new(seed: u64, link: Link) -> Self {
        let config = Config::default().dialect(Dialect::UtpPunch);
        let mut world = World::new(seed);
        let start = Instant::from_micros((1 << 32) - 500_000);
        let hosts = [world.host_with_clock(config.clone(), start), world.host(config)];
        let line = world.join(hosts[0], hosts[1], link);
        Self { world, hosts, line }
    }

    /// Everything arrives and ends, and is forgotten; returns how long it took, and how many packets per one that was
    /// needed went from the first to the second.
    fn transfer(&mut self, traffic: &Traffic, there: u64, back: u64) -> (Duration, f64) {
        let flow = self.world.start(self.hosts[0], self.hosts[1], traffic);
        let took = self.world.run_until(|world| world.is_done(flow), 5 * MINUTE).unwrap();
        for (side, sent, received) in [(Side::Initiator, there, back), (Side::Acceptor, back, there)] {
            let report = self.world.report(flow, side);
            assert_eq!((report.wrong_at, report.sent, report.received), (None, sent, received), "{report:?}");
            assert!(report.eof && report.acked && report.closed.is_none(), "{report:?}");
        }
        let stats = self.world.stream_stats(flow, Side::Initiator);
        let packets = there.div_ceil(1000).max(1) as f64;
        self.world.settle(MINUTE).unwrap();
        (took, (packets + stats.packets_retransmitted as f64) / packets)
    }
}

#[test]
fn everything_arrives_over_a_bad_line() {
    for seed in 0..5 {
        let bad = link(20).loss(Strike::random(0.02)).duplicate(Strike::random(0.01), MS(3)).jitter(MS(5));
        let mut two = Two::new(seed, bad);
        two.transfer(&Traffic::both_ways(Size::kib(400), Size::kib(300)), 400 << 10, 300 << 10);
    }
}

#[test]
fn echo_ping_pong_and_half_close_work_between_our_own() {
    let cases = [
        (Traffic::echo(Size::kib(100)), 100 << 10, 100 << 10),
        (Traffic::ping_pong(50, Size::bytes(3000)), 150_000, 150_000),
        (Traffic::half_close(Size::kib(100), Size::kib(200)), 100 << 10, 200 << 10),
    ];
    for (traffic, there, back) in cases {
        Two::new(3, link(5)).transfer(&traffic, there, back);
    }
}

#[test]
fn a_slow_link_is_not_kept_busy_by_a_queue() {
    // 60 packets of 1,020 bytes take 490 ms here.
    let slow = Link::perfect().rate(Rate::megabits(1)).delay(MS(20)).queue(Size::mib(1));
    let mut two = Two::new(4, slow);
    two.transfer(&Traffic::bulk(Size::mib(1)), 1 << 20, 0);
    let stats = two.world.link_stats(two.line, Direction::There);
    // 12,500 bytes are the 100 ms that the controller aims at; slow start may have twice that once.
    eprintln!("queue at most {} bytes", stats.queue_bytes_max);
    assert!(stats.queue_bytes_max <= 30_000, "{}", stats.queue_bytes_max);
}

#[test]
fn u03_the_tail_of_a_scrambled_transfer_arrives() {
    // Each fifth datagram is lost, and each is up to 50 ms late, as in the package's own tests.
    for seed in 0..10 {
        let scrambled = Link::perfect().delay(MS(1)).jitter(MS(50)).loss(Strike::random(0.2));
        let mut two = Two::new(seed, scrambled);
        two.transfer(&Traffic::bulk(Size::bytes(100_000)), 100_000, 0);
    }
}

#[test]
fn u10_a_long_path_is_not_a_reason_to_send_twice() {
    for round_trip in [100, 300] {
        let mut two = Two::new(5, link(round_trip / 2));
        let (took, ratio) = two.transfer(&Traffic::bulk(Size::mib(2)), 2 << 20, 0);
        eprintln!("u10 round trip {round_trip} ms: {ratio:.3} packets per packet, {took:?}");
        assert!(ratio < 1.05, "{ratio}");
    }
}
