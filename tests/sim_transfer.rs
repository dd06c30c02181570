//! Whole transfers between endpoints over a simulated network: every byte arrives, in order, once, whatever the
//! network does; every connection ends, and nothing is left of it. And the simulator keeps its own promise: a seed
//! decides everything.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::time::Duration;

use ebbtide::sim::{Direction, Fault, FlowId, Line, Link, Pace, Rate, Side, Size, Strike, Traffic, World};
use ebbtide::{Config, Congestion, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// 20 Mbit/s, 40 ms of round trip, a queue of 100 ms.
fn link() -> Link {
    Link::perfect().rate(Rate::megabits(20)).delay(MS(20)).queue(Size::kib(256))
}

/// A world of two hosts whose clocks are about to wrap.
struct Two {
    world: World,
    hosts: [ebbtide::sim::HostId; 2],
    line: ebbtide::sim::LineId,
}

impl Two {
    fn new(seed: u64, config: Config, line: impl Into<Line>) -> Self {
        let mut world = World::new(seed);
        let start = Instant::from_micros((1 << 32) - 500_000);
        let hosts = [world.host_with_clock(config.clone(), start), world.host(config)];
        let line = world.join(hosts[0], hosts[1], line);
        Self { world, hosts, line }
    }

    fn start(&mut self, traffic: &Traffic) -> FlowId {
        self.world.start(self.hosts[0], self.hosts[1], traffic)
    }

    /// Everything arrives and ends well within `limit`, and the endpoints forget it.
    fn finish(&mut self, flow: FlowId, there: u64, back: u64, limit: Duration) -> Duration {
        let took = self.world.run_until(|world| world.is_done(flow), limit).unwrap();
        arrived(&self.world, flow, there, back);
        self.world.settle(MINUTE).unwrap();
        took
    }

    fn struck(&self, direction: Direction, fault: Fault) -> u64 {
        self.world.link_stats(self.line, direction).struck(fault)
    }
}

fn arrived(world: &World, flow: FlowId, there: u64, back: u64) {
    for (side, sent, received) in [(Side::Initiator, there, back), (Side::Acceptor, back, there)] {
        let report = world.report(flow, side);
        assert_eq!(report.wrong_at, None, "{flow} {side}: {report:?}");
        assert_eq!((report.sent, report.received), (sent, received), "{flow} {side}: {report:?}");
        assert!(report.eof && report.acked && report.closed.is_none(), "{flow} {side}: {report:?}");
    }
}

/// Runs one bulk transfer of a mebibyte over this link and returns how long it took.
fn one_mebibyte(link: Link) -> (Two, Duration) {
    let mut two = Two::new(1, Config::default(), link);
    let flow = two.start(&Traffic::bulk(Size::mib(1)));
    let took = two.finish(flow, 1 << 20, 0, 2 * MINUTE);
    (two, took)
}

#[test]
fn c15_a_clean_path_loses_nothing_and_repeats_nothing() {
    // Room for what slow start sends before it learns that the queue grows.
    let mut two = Two::new(1, Config::default(), link().queue(Size::mib(1)));
    let flow = two.start(&Traffic::bulk(Size::mib(4)));
    let took = two.finish(flow, 4 << 20, 0, MINUTE);
    let stats = two.world.stream_stats(flow, Side::Initiator);
    assert_eq!((stats.packets_retransmitted, stats.timeouts, stats.packets_lost), (0, 0, 0), "{stats:?}");
    assert!(took < Duration::from_secs(4), "4 MiB at 20 Mbit/s take 1.7 s at best: {took:?}");
}

#[test]
fn c15_both_directions_at_once() {
    let mut two = Two::new(2, Config::default(), link());
    let flow = two.start(&Traffic::both_ways(Size::mib(2), Size::mib(1)));
    two.finish(flow, 2 << 20, 1 << 20, MINUTE);
}

#[test]
fn c15_one_byte_writes() {
    for nodelay in [true, false] {
        let mut two = Two::new(3, Config::default().nodelay(nodelay), link());
        let flow = two.start(&Traffic::drip(Size::kib(20), Duration::ZERO));
        two.finish(flow, 20 << 10, 0, MINUTE);
        let mut two = Two::new(3, Config::default().nodelay(nodelay), link());
        let flow = two.start(&Traffic::drip(Size::bytes(2000), MS(3)));
        two.finish(flow, 2000, 0, MINUTE);
    }
}

#[test]
fn c15_packet_numbers_wrap_twice() {
    // 130 bytes of payload a packet: 140,000 of them are 18.2 million bytes.
    let config = Config::default().mtu(150).congestion(Congestion::Fixed(200_000));
    let link = Link::perfect().rate(Rate::megabits(1000)).delay(MS(1)).loss(Strike::random(0.001));
    let mut two = Two::new(4, config, link);
    let bytes = 140_000 * 130;
    let flow = two.start(&Traffic::bulk(Size::bytes(bytes)));
    two.finish(flow, bytes, 0, 5 * MINUTE);
    let packets = two.world.link_stats(two.line, Direction::There).packets;
    assert!(packets >= 140_000, "{packets}");
}

#[test]
fn c15_echo_ping_pong_and_half_close() {
    let cases = [
        (Traffic::echo(Size::kib(300)), 300 << 10, 300 << 10),
        (Traffic::ping_pong(100, Size::bytes(3000)), 300_000, 300_000),
        (Traffic::half_close(Size::kib(100), Size::kib(200)), 100 << 10, 200 << 10),
    ];
    for (traffic, there, back) in cases {
        let lossy = link().loss(Strike::random(0.01));
        let mut two = Two::new(5, Config::default(), lossy);
        let flow = two.start(&traffic);
        two.finish(flow, there, back, 2 * MINUTE);
        let mut two = Two::new(5, Config::default(), lossy);
        let flow = two.start(&traffic.reversed());
        two.finish(flow, back, there, 2 * MINUTE);
    }
}

#[test]
fn a_slow_reader_holds_the_sender_back_and_gets_everything() {
    let config = Config::default().receive_buffer(16 << 10).receive_buffer_max(16 << 10);
    let mut two = Two::new(6, config, link().loss(Strike::random(0.005)));
    let slow = Traffic::bulk(Size::kib(512)).acceptor_reads(Pace::new(5000, MS(40)));
    let flow = two.start(&slow);
    let took = two.finish(flow, 512 << 10, 0, 2 * MINUTE);
    assert!(took > Duration::from_secs(4), "105 reads with 40 ms between them: {took:?}");
    let stats = two.world.stream_stats(flow, Side::Acceptor);
    assert_eq!(stats.packets_refused, 0, "nothing is sent beyond the window: {stats:?}");
}

#[test]
fn a_slow_writer_is_no_trouble() {
    let mut two = Two::new(7, Config::default(), link().loss(Strike::random(0.01)));
    let flow = two.start(&Traffic::bulk(Size::kib(64)).initiator_writes(Pace::new(700, MS(50))));
    two.finish(flow, 64 << 10, 0, MINUTE);
}

#[test]
fn one_percent_of_loss() {
    let (two, took) = one_mebibyte(link().loss(Strike::random(0.01)));
    assert!(two.struck(Direction::There, Fault::Lost) > 3);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn reordering() {
    let (two, took) = one_mebibyte(link().reorder(Strike::random(0.05), MS(9)));
    assert!(two.struck(Direction::There, Fault::Delayed) > 20);
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn duplication() {
    let (two, took) = one_mebibyte(link().duplicate(Strike::random(0.1), MS(70)));
    assert!(two.struck(Direction::There, Fault::Doubled) > 50);
    assert!(took < Duration::from_secs(2), "copies take nothing away: {took:?}");
}

#[test]
fn corruption_never_reaches_the_stream() {
    let (two, _) = one_mebibyte(link().corrupt(Strike::random(0.01)));
    assert!(two.struck(Direction::There, Fault::Corrupt) > 3);
}

/// Where not even UDP's checksum helps, a connection may break, but nothing panics, and everything ends.
#[test]
fn flipped_headers_break_nothing_but_their_connection() {
    for seed in 0..50 {
        let config = Config::default().idle_timeout(Some(MINUTE));
        let mut two = Two::new(seed, config, link().corrupt(Strike::random(0.02)).deliver_corrupt(true));
        two.start(&Traffic::both_ways(Size::kib(200), Size::kib(200)));
        two.world.settle(20 * MINUTE).unwrap();
    }
}

#[test]
fn everything_at_once() {
    let bad = link()
        .loss(Strike::random(0.02))
        .corrupt(Strike::random(0.01))
        .reorder(Strike::random(0.03), MS(15))
        .duplicate(Strike::random(0.03), MS(300))
        .jitter(MS(10));
    for seed in 0..10 {
        let mut two = Two::new(seed, Config::default(), bad);
        let flow = two.start(&Traffic::both_ways(Size::kib(300), Size::kib(300)));
        two.finish(flow, 300 << 10, 300 << 10, 2 * MINUTE);
    }
}

#[test]
fn every_preset_carries_uploads_and_downloads() {
    let presets = [Line::adsl(), Line::fibre(), Line::mobile(), Line::satellite(), Line::bufferbloat()];
    for line in presets {
        let mut two = Two::new(8, Config::default(), line);
        let up = two.start(&Traffic::bulk(Size::kib(256)));
        let down = two.start(&Traffic::bulk(Size::mib(1)).reversed());
        two.world.run_until(|world| world.is_done(up) && world.is_done(down), 2 * MINUTE).unwrap();
        arrived(&two.world, up, 256 << 10, 0);
        arrived(&two.world, down, 0, 1 << 20);
        two.world.settle(MINUTE).unwrap();
    }
}

#[test]
fn many_connections_of_one_host() {
    let mut world = World::new(9);
    let hub = world.host(Config::swarm());
    let shared = Link::perfect().rate(Rate::megabits(100)).delay(MS(10)).queue(Size::kib(512));
    let line = world.add_line(shared.loss(Strike::random(0.002)));
    let mut flows = Vec::new();
    for spoke in 0..20 {
        let other = world.host(Config::default());
        world.join_by(other, hub, line);
        for number in 0..10 {
            let size = Size::kib(10 + number + spoke);
            let ends = if number % 2 == 0 { (other, hub) } else { (hub, other) };
            flows.push((world.start(ends.0, ends.1, &Traffic::echo(size)), size.as_bytes()));
        }
    }
    world.run_until(|world| world.running() == 0, 2 * MINUTE).unwrap();
    flows.iter().for_each(|&(flow, size)| arrived(&world, flow, size, size));
    assert_eq!(world.endpoint(hub).stats().accepted, 100);
    world.settle(MINUTE).unwrap();
}

#[test]
fn a_host_that_nobody_answers_for_is_given_up() {
    let mut two = Two::new(10, Config::default(), link().down(true));
    let flow = two.start(&Traffic::bulk(Size::kib(10)));
    let took = two.world.run_until(|world| world.is_done(flow), MINUTE).unwrap();
    let closed = two.world.report(flow, Side::Initiator).closed;
    assert_eq!((closed, took), (Some(ebbtide::CloseReason::TimedOut), Duration::from_secs(10)));
    two.world.settle(MINUTE).unwrap();
}

#[test]
fn a_busy_receiver_looks_at_many_packets_at_once() {
    let mut two = Two::new(11, Config::default(), link());
    two.world.set_turn_delay(two.hosts[1], MS(5));
    let flow = two.start(&Traffic::bulk(Size::mib(1)));
    two.finish(flow, 1 << 20, 0, MINUTE);
    let acks = two.world.link_stats(two.line, Direction::Back).packets;
    let data = two.world.link_stats(two.line, Direction::There).packets;
    assert!(acks < data / 3, "acknowledgements come once per turn: {acks} for {data}");
}

fn run(seed: u64) -> (u64, u64, Duration) {
    let bad = link().loss(Strike::random(0.02)).jitter(MS(3)).reorder(Strike::random(0.01), MS(9));
    let mut two = Two::new(seed, Config::default(), bad);
    for _ in 0..5 {
        two.start(&Traffic::both_ways(Size::kib(100), Size::kib(50)));
    }
    let took = two.world.settle(5 * MINUTE).unwrap();
    (two.world.trace().hash(), two.world.trace().count(), took)
}

#[test]
fn a_seed_decides_everything() {
    let first = run(1);
    assert_eq!(first, run(1), "the same seed, another world");
    assert_ne!(first.0, run(2).0, "another seed, the same world");
}

#[test]
fn a_link_changed_while_it_runs_changes_what_is_to_come() {
    let mut two = Two::new(12, Config::default(), link());
    let line = two.line;
    two.world.later(Duration::from_secs(1), move |world| {
        let link = world.link_mut(line, Direction::There);
        *link = link.down(true);
    });
    two.world.later(Duration::from_secs(3), move |world| world.heal());
    let flow = two.start(&Traffic::bulk(Size::mib(8)));
    let took = two.finish(flow, 8 << 20, 0, MINUTE);
    assert!(two.struck(Direction::There, Fault::Down) > 0);
    assert!(took > Duration::from_secs(5), "two seconds of silence: {took:?}");
}

#[test]
fn what_gets_stuck_says_where_and_with_which_seed() {
    let mut two = Two::new(4711, Config::default(), link().down(true));
    let flow = two.start(&Traffic::bulk(Size::kib(10)));
    let stuck = two.world.run_until(|world| world.is_done(flow), Duration::from_secs(5)).unwrap_err();
    let shown = stuck.to_string();
    for part in ["seed 4711", "not there after 5s", "flow 0 initiator on h0, runs", "ST_SYN", "link down"] {
        assert!(shown.contains(part), "{part:?} is missing in:\n{shown}");
    }
}

/// What waits to be sent takes all the memory that a connection may have, at both ends.
#[test]
fn ends_that_are_both_full_still_take_from_each_other() {
    let tight = || Config::default().max_memory(1 << 20).send_buffer(1 << 20);
    for (seed, both) in [(1, true), (2, false)] {
        let mut world = World::new(seed);
        let alice = world.host(if both { tight() } else { Config::default() });
        let bob = world.host(tight());
        world.join(alice, bob, Link::perfect().rate(Rate::megabits(10)).delay(Duration::from_millis(20)));
        let flow = world.start(alice, bob, &Traffic::both_ways(Size::mib(2), Size::mib(2)));
        world.settle(Duration::from_secs(60)).unwrap();
        for side in Side::BOTH {
            let report = world.report(flow, side);
            assert!(report.received == 2 << 20 && report.eof && report.acked, "{side}: {report:?}");
        }
    }
}
