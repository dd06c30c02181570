//! Recovery from loss that is aimed: row 16 of the conformance table. Not only does everything arrive, it arrives
//! without waiting for timeouts where the acknowledgements say enough, and without repeating what was not lost.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::collections::HashMap;
use std::time::Duration;

use ebbtide::sim::{Direction, Fault, Filter, Line, LineId, Link, Rate, Side, Size, Strike, Traffic, World};
use ebbtide::wire::{Kind, Packet};
use ebbtide::{Config, Congestion, StreamStats};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECOND: Duration = Duration::from_secs(1);

/// 40 Mbit/s and 40 ms of round trip, with room for what slow start sends too much.
fn link() -> Link {
    Link::perfect().rate(Rate::megabits(40)).delay(MS(20)).queue(Size::mib(4))
}

fn lossy(there: u64, back: u64) -> Line {
    Line { there: link().loss(Strike::every(there)), back: link().loss(Strike::every(back)) }
}

/// Something happens to what the initiator sends, nothing to the answers.
fn there(link: Link) -> Line {
    Line { there: link, back: link.healed() }
}

/// What came of a transfer.
struct Outcome {
    world: World,
    line: LineId,
    took: Duration,
    /// The sender's numbers.
    stats: StreamStats,
}

impl Outcome {
    fn struck(&self, direction: Direction, fault: Fault) -> u64 {
        self.world.link_stats(self.line, direction).struck(fault)
    }
}

struct Case {
    config: Config,
    line: Line,
    size: Size,
    filters: [Option<Filter>; 2],
}

impl Case {
    fn new(line: impl Into<Line>, size: Size) -> Self {
        Self { config: Config::default(), line: line.into(), size, filters: [None, None] }
    }

    fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Drops what the initiator sends.
    fn there(mut self, filter: impl FnMut(&[u8]) -> bool + Send + 'static) -> Self {
        self.filters[0] = Some(Box::new(filter));
        self
    }

    /// Drops what the acceptor sends.
    fn back(mut self, filter: impl FnMut(&[u8]) -> bool + Send + 'static) -> Self {
        self.filters[1] = Some(Box::new(filter));
        self
    }

    /// A bulk transfer, which must arrive in full and be forgotten afterwards.
    fn run(self) -> Outcome {
        let mut world = World::new(16);
        let (a, b) = (world.host(self.config.clone()), world.host(self.config));
        let line = world.join(a, b, self.line);
        let [there, back] = self.filters;
        world.set_filter(line, Direction::There, there);
        world.set_filter(line, Direction::Back, back);
        let flow = world.start(a, b, &Traffic::bulk(self.size));
        let took = world.run_until(|world| world.is_done(flow), Duration::from_secs(120)).unwrap();
        let (sent, got) = (world.report(flow, Side::Initiator), world.report(flow, Side::Acceptor));
        assert_eq!((got.received, got.wrong_at, got.eof), (self.size.as_bytes(), None, true), "{got:?}");
        assert!(sent.acked && got.acked, "{sent:?} {got:?}");
        let stats = world.stream_stats(flow, Side::Initiator);
        world.settle(Duration::from_secs(30)).unwrap();
        Outcome { world, line, took, stats }
    }
}

fn packet(datagram: &[u8]) -> Packet<'_> {
    Packet::decode(datagram).unwrap()
}

/// Drops the first `times` transmissions of each data packet that `which` picks by its place in the stream, from 0.
fn drop_data(times: u32, which: impl Fn(u64) -> bool + 'static) -> impl FnMut(&[u8]) -> bool {
    let mut places: HashMap<u16, (u64, u32)> = HashMap::new();
    move |datagram| {
        let Packet { header, .. } = packet(datagram);
        if header.kind != Kind::Data {
            return false;
        }
        let next = places.len() as u64;
        let (place, seen) = places.entry(header.seq.get()).or_insert((next, 0));
        *seen += 1;
        which(*place) && *seen <= times
    }
}

/// Drops every `k`-th packet of that kind.
fn drop_kind(kind: Kind, k: u64) -> impl FnMut(&[u8]) -> bool {
    let mut count = 0;
    move |datagram| {
        let hit = packet(datagram).header.kind == kind;
        count += u64::from(hit);
        hit && count % k == 0
    }
}

/// Drops the first `count` packets of that kind.
fn drop_first(kind: Kind, count: u64) -> impl FnMut(&[u8]) -> bool {
    let mut seen = 0;
    move |datagram| {
        let hit = packet(datagram).header.kind == kind;
        seen += u64::from(hit);
        hit && seen <= count
    }
}

/// Retransmissions are at most what was lost, and a few that could not be known better.
fn repeats_little(outcome: &Outcome, lost: u64, spare: u64) {
    let repeated = outcome.stats.packets_retransmitted;
    assert!(repeated <= lost + spare, "{lost} lost, {repeated} repeated: {:?}", outcome.stats);
}

#[test]
fn c16_every_33rd_packet_and_every_47th_ack_lost() {
    let outcome = Case::new(lossy(33, 47), Size::mib(2)).run();
    assert_eq!(outcome.stats.timeouts, 0, "{:?}", outcome.stats);
    assert!(outcome.took < 12 * SECOND, "{:?}", outcome.took);
    repeats_little(&outcome, outcome.struck(Direction::There, Fault::Lost), 4);
}

#[test]
fn c16_every_7th_packet_and_every_13th_ack_lost() {
    let outcome = Case::new(lossy(7, 13), Size::kib(512)).run();
    assert!(outcome.took < 25 * SECOND, "{:?} {:?}", outcome.took, outcome.stats);
    assert!(outcome.stats.timeouts <= 3, "{:?}", outcome.stats);
    repeats_little(&outcome, outcome.struck(Direction::There, Fault::Lost), 10);
}

#[test]
fn c16_every_27th_packet_and_every_23rd_ack_late() {
    let line = Line {
        there: link().reorder(Strike::every(27), MS(9)),
        back: link().reorder(Strike::every(23), MS(9)),
    };
    let outcome = Case::new(line, Size::mib(2)).run();
    assert_eq!(outcome.stats.timeouts, 0, "{:?}", outcome.stats);
    // The first few teach that this path reorders.
    repeats_little(&outcome, 0, 10);
    assert!(outcome.took < 3 * SECOND, "{:?} {:?}", outcome.took, outcome.stats);
}

#[test]
fn c16_heavy_loss_and_reordering() {
    let line = Line {
        there: link().loss(Strike::every(7)).reorder(Strike::every(27), MS(9)),
        back: link().loss(Strike::every(13)).reorder(Strike::every(23), MS(9)),
    };
    let outcome = Case::new(line, Size::kib(512)).run();
    assert!(outcome.took < 25 * SECOND, "{:?} {:?}", outcome.took, outcome.stats);
}

#[test]
fn c16_every_nth_packet_doubled() {
    for n in [1, 2, 3, 10] {
        for after in [Duration::ZERO, MS(1), MS(100)] {
            let outcome = Case::new(link().duplicate(Strike::every(n), after), Size::mib(1)).run();
            let stats = outcome.stats;
            // Copies make the peer answer twice, which looks like a loss until it has proved not to be one.
            assert!(stats.packets_lost <= 1, "every {n}, {after:?}: {stats:?}");
            assert_eq!(stats.timeouts, 0, "every {n}, {after:?}: {stats:?}");
            assert!(outcome.took < 2 * SECOND, "every {n}, {after:?}: {:?}", outcome.took);
        }
    }
}

#[test]
fn c16_every_kth_ack_lost() {
    for k in [2, 3, 7] {
        let outcome = Case::new(link(), Size::mib(1)).back(drop_kind(Kind::State, k)).run();
        let stats = outcome.stats;
        assert_eq!((stats.packets_retransmitted, stats.timeouts), (0, 0), "every {k}: {stats:?}");
        assert!(outcome.took < 2 * SECOND, "every {k}: {:?}", outcome.took);
    }
}

/// Whether they say so one by one or not: these packets were lost, and nothing else.
fn burst(count: u64) {
    let config = Config::bulk().congestion(Congestion::Fixed(600_000));
    // The queue holds the window, so that nothing but the burst gets lost.
    let outcome = Case::new(there(link().loss(Strike::run(800, count))), Size::mib(4)).config(config).run();
    assert_eq!(outcome.struck(Direction::There, Fault::Lost), count);
    assert_eq!(outcome.stats.timeouts, 0, "{:?}", outcome.stats);
    repeats_little(&outcome, count, 3);
    assert!(outcome.took < 2 * SECOND, "1 s without loss: {:?}", outcome.took);
}

#[test]
fn c16_a_burst_of_30_lost() {
    burst(30);
}

#[test]
fn c16_a_burst_of_300_lost() {
    burst(300);
}

#[test]
fn c16_a_burst_lost_under_ledbat() {
    for count in [30, 300] {
        let outcome = Case::new(there(link().loss(Strike::run(600, count))), Size::mib(4)).run();
        assert!(outcome.took < 10 * SECOND, "{count}: {:?} {:?}", outcome.took, outcome.stats);
        repeats_little(&outcome, count, 5);
    }
}

#[test]
fn c16_a_retransmission_lost() {
    for times in [2, 3] {
        let outcome = Case::new(link(), Size::mib(2)).there(drop_data(times, |place| place == 500)).run();
        assert_eq!(outcome.struck(Direction::There, Fault::Filtered), times.into());
        assert_eq!(outcome.stats.timeouts, 0, "lost {times} times: {:?}", outcome.stats);
        assert!(outcome.took < 3 * SECOND, "lost {times} times: {:?}", outcome.took);
    }
}

#[test]
fn c16_many_retransmissions_lost() {
    let outcome = Case::new(link(), Size::mib(2)).there(drop_data(2, |place| place % 50 == 49)).run();
    assert_eq!(outcome.stats.timeouts, 0, "{:?}", outcome.stats);
    assert!(outcome.took < 12 * SECOND, "{:?}", outcome.took);
}

#[test]
fn c16_the_tail_lost() {
    // 100 packets of 1,380 bytes; the last ones get lost, with or without a FIN after them.
    for tail in [1, 2, 5, 20] {
        let lost = drop_data(1, move |place| place >= 100 - tail);
        let outcome = Case::new(link(), Size::bytes(138_000)).there(lost).run();
        assert_eq!(outcome.struck(Direction::There, Fault::Filtered), tail);
        assert!(outcome.took < SECOND, "{tail}: {:?} {:?}", outcome.took, outcome.stats);
        repeats_little(&outcome, tail, 2);
    }
}

#[test]
fn c16_the_tail_and_the_fin_lost() {
    for tail in [1, 2, 5, 20] {
        let mut data = drop_data(1, move |place| place >= 100 - tail);
        let mut fin = drop_first(Kind::Fin, 1);
        let lost = move |datagram: &[u8]| data(datagram) | fin(datagram);
        let outcome = Case::new(link(), Size::bytes(138_000)).there(lost).run();
        assert_eq!(outcome.stats.timeouts, 0, "{tail}: {:?}", outcome.stats);
        assert!(outcome.took < SECOND, "{tail}: {:?} {:?}", outcome.took, outcome.stats);
    }
}

#[test]
fn c16_the_handshake_lost() {
    for (there, back) in [(1, 0), (0, 1), (1, 1), (2, 0)] {
        let outcome = Case::new(link(), Size::kib(64))
            .there(drop_first(Kind::Syn, there))
            .back(drop_first(Kind::State, back))
            .run();
        assert!(outcome.took < 5 * SECOND, "{there} and {back}: {:?}", outcome.took);
    }
}

#[test]
fn c16_fins_and_their_acks_lost() {
    for count in [1, 2] {
        let outcome = Case::new(link(), Size::kib(64))
            .there(drop_first(Kind::Fin, count))
            .back(drop_first(Kind::Fin, count))
            .run();
        assert!(outcome.took < 5 * SECOND, "{count}: {:?}", outcome.took);
    }
}

#[test]
fn c16_the_first_data_packets_lost() {
    for count in [1, 2, 3, 10] {
        let outcome = Case::new(link(), Size::kib(256)).there(drop_data(1, move |place| place < count)).run();
        assert!(outcome.took < 4 * SECOND, "{count}: {:?} {:?}", outcome.took, outcome.stats);
    }
}

#[test]
fn c16_silence_for_a_while_is_survived() {
    for direction in [Direction::There, Direction::Back] {
        for pause in [MS(300), SECOND, 5 * SECOND] {
            let mut world = World::new(17);
            let (a, b) = (world.host(Config::default()), world.host(Config::default()));
            let line = world.join(a, b, link());
            let flow = world.start(a, b, &Traffic::bulk(Size::mib(4)));
            world.run_for(MS(400));
            let up = *world.link_mut(line, direction);
            *world.link_mut(line, direction) = up.down(true);
            world.run_for(pause);
            *world.link_mut(line, direction) = up;
            let healed = world.now();
            let done = world.run_until(|world| world.is_done(flow), Duration::from_secs(120)).unwrap();
            let stats = world.stream_stats(flow, Side::Initiator);
            // The timeout has backed off by no more than the pause, and slow start takes its time.
            let bound = pause + 6 * SECOND;
            assert!(done - healed < bound, "{direction:?}, {pause:?}: {:?} {stats:?}", done - healed);
        }
    }
}
