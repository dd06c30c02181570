//! Every fault of the network at work on a connection: it strikes, the connection gets through, and once the fault
//! has gone it strikes no more.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{
    Direction, Discipline, Fault, FaultCounts, FaultKind, FlowId, Line, LineId, Link, LinkFault, Overtaken,
    PacketClass, Rate, Rng, Side, Size, Span, Strike, Target, Traffic, World,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn link() -> Link {
    Link::perfect().rate(Rate::megabits(1)).delay(MS(10)).queue(Size::kib(64))
}

/// Two hosts and a line between them.
struct Two {
    world: World,
    line: LineId,
    flow: FlowId,
}

impl Two {
    /// With the same link, and the same number of bytes, in both directions.
    fn new(seed: u64, link: Link) -> Self {
        let mut world = World::new(seed);
        let hosts = [world.host(Config::default()), world.host(Config::default())];
        let line = world.join(hosts[0], hosts[1], link);
        let flow =
            world.start(hosts[0], hosts[1], &Traffic::both_ways(Size::bytes(BYTES), Size::bytes(BYTES)));
        Self { world, line, flow }
    }

    fn clear_both(&mut self, kind: FaultKind) {
        Direction::BOTH.into_iter().for_each(|way| self.world.clear_fault(self.line, way, kind));
    }

    /// Lets everything end well: all bytes arrive, and both ends know it, unless the one that knew first was gone
    /// before the other heard of it.
    fn finish(&mut self) {
        self.world.settle(SECS(900)).unwrap();
        let reports = Side::BOTH.map(|side| self.world.report(self.flow, side));
        for report in reports {
            assert_eq!((report.wrong_at, report.eof, report.received), (None, true, BYTES), "{report:?}");
        }
        assert!(reports.iter().any(|report| report.acked && report.closed.is_none()), "{reports:?}");
    }

    fn struck(&self, way: Direction, fault: Fault) -> u64 {
        self.world.link_stats(self.line, way).struck(fault)
    }
}

const BYTES: u64 = 700_000;

/// How long a fault lasts in these tests, from the first packet on.
fn lasts(kind: FaultKind) -> Duration {
    match kind {
        // Nothing gets through, and nobody waits for a connection for ever.
        FaultKind::Partition | FaultKind::MtuBlackhole => SECS(3),
        FaultKind::Replay => SECS(320),
        _ => SECS(10),
    }
}

/// Every preset of that kind, in both directions.
fn survives(kind: FaultKind) {
    for (name, fault) in LinkFault::presets(kind) {
        if matches!(fault, LinkFault::Flip { deliver: true, .. }) {
            continue;
        }
        let run = || {
            // A policer has to be slower than the link.
            let rate = match kind {
                FaultKind::Policer => Rate::megabits(20),
                FaultKind::TailDrop => Rate::megabits(4),
                _ => Rate::megabits(1),
            };
            let mut two = Two::new(1, link().rate(rate).with(*fault));
            two.world.run_for(lasts(kind));
            two.clear_both(kind);
            let struck = two.world.fault_counts()[kind];
            two.finish();
            // Nothing of it afterwards.
            assert_eq!(two.world.fault_counts()[kind], struck, "{kind} {name}");
            // The queue of the link itself may overflow.
            let counts = two.world.fault_counts();
            let mut others = counts.iter().filter(|(other, _)| ![kind, FaultKind::TailDrop].contains(other));
            assert!(others.all(|(_, count)| count == 0), "{kind} {name}: {counts}");
            (struck, two.world.trace().hash())
        };
        let (struck, hash) = run();
        // Whether a RESET is sent at all is not the network's business.
        let rare =
            matches!(fault, LinkFault::Target(_) | LinkFault::MtuBlackhole(_) | LinkFault::Blackhole { .. });
        assert!(struck > 0 || rare, "{kind} {name}");
        assert_eq!(run(), (struck, hash), "{kind} {name}: a seed decides everything");
    }
}

macro_rules! survives {
    ($($name:ident: $kind:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            survives(FaultKind::$kind);
        })*

        #[test]
        fn every_kind_of_the_network_has_such_a_test() {
            let tested = [$(FaultKind::$kind),*];
            assert!(FaultKind::ALL.into_iter().filter(|kind| kind.is_of_link()).eq(tested));
        }
    };
}

survives! {
    survives_uniform_loss: UniformLoss,
    survives_burst_loss: BurstLoss,
    survives_targeted_loss: TargetedLoss,
    survives_duplication: Duplication,
    survives_replay: Replay,
    survives_reordering: Reorder,
    survives_jitter: Jitter,
    survives_delay_spikes: DelaySpike,
    survives_bandwidth_steps: BandwidthStep,
    survives_tail_drop: TailDrop,
    survives_codel: CoDel,
    survives_a_policer: Policer,
    survives_a_black_hole: Blackhole,
    survives_a_partition: Partition,
    survives_congestion_of_acknowledgements: AckCongestion,
    survives_bit_flips: BitFlip,
    survives_truncation: Truncation,
    survives_an_mtu_black_hole: MtuBlackhole,
    survives_an_mtu_that_shrinks: MtuShrink,
}

#[test]
fn what_is_aimed_at_is_lost_and_nothing_else() {
    for class in PacketClass::ALL {
        let mut two = Two::new(3, link().with(LinkFault::Target(Target::first(class, 2))));
        two.finish();
        let lost = Direction::BOTH.map(|way| two.struck(way, Fault::Targeted));
        match class {
            PacketClass::Syn => assert_eq!(lost, [2, 0]),
            PacketClass::SynReply => assert_eq!(lost, [0, 2]),
            PacketClass::FirstData | PacketClass::Fin => assert_eq!(lost, [2, 2], "{class}"),
            PacketClass::LastAck => assert!(lost.iter().sum::<u64>() >= 1, "{lost:?}"),
            PacketClass::Reset => assert_eq!(lost, [0, 0]),
        }
    }
}

#[test]
fn codel_holds_the_queue_of_a_sender_short() {
    let waits = |discipline| {
        let mut world = World::new(5);
        let hosts = [world.host(Config::default()), world.host(Config::default())];
        let slow = Link::perfect().rate(Rate::megabits(4)).delay(MS(20)).queue(Size::mib(1));
        let line = world.join(hosts[0], hosts[1], Line { there: slow.discipline(discipline), back: slow });
        let flow = world.start(hosts[0], hosts[1], &Traffic::bulk(Size::mib(8)));
        world.run_for(SECS(10));
        // What the sender measures is the round trip with the queue in it.
        let rtt = world.stream_stats(flow, Side::Initiator).rtt.unwrap();
        world.settle(SECS(600)).unwrap();
        assert_eq!(world.report(flow, Side::Acceptor).received, 8 << 20);
        (rtt, world.link_stats(line, Direction::There).struck(Fault::WaitedLong))
    };
    let (long, none) = waits(Discipline::TailDrop);
    let (short, dropped) = waits(Discipline::codel());
    assert!(none == 0 && dropped > 10, "{none} {dropped}");
    assert!(short + MS(30) < long, "{short:?} {long:?}");
}

#[test]
fn a_discipline_may_change_while_packets_wait() {
    let mut two = Two::new(8, link());
    for (at, discipline) in [(1, Discipline::codel()), (2, Discipline::TailDrop), (3, Discipline::codel())] {
        let line = two.line;
        two.world.later(SECS(at), move |world| {
            let link = world.link_mut(line, Direction::There);
            *link = link.discipline(discipline);
        });
    }
    two.finish();
}

#[test]
fn a_packet_is_overtaken_by_as_many_as_asked_for() {
    let reorder = LinkFault::Reorder { which: Strike::every(40), until: Overtaken::By(25) };
    let mut two = Two::new(9, link().with(reorder));
    two.finish();
    assert!(two.struck(Direction::There, Fault::Delayed) > 10);
}

#[test]
fn replays_are_bounded_and_forgotten_when_the_network_heals() {
    let replay = LinkFault::Replay { which: Strike::always(), after: Span::exactly(SECS(3000)) };
    let mut two = Two::new(10, link().with(replay));
    two.world.run_until(|world| world.running() == 0, SECS(60)).unwrap();
    // Sixteen in each direction are still under way, and would be for most of an hour.
    two.world.run_for(SECS(120));
    assert!(!two.world.is_settled());
    two.world.heal();
    two.finish();
    assert_eq!(two.world.fault_counts()[FaultKind::Replay], 0);
    assert!(two.world.now() < SECS(300));
}

/// A connection over a link with some random faults, which heals after a while.
fn random_faults(seed: u64, counts: &mut FaultCounts) {
    let mut rng = Rng::new(seed);
    let kinds: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| kind.is_of_link()).collect();
    let mut link = || {
        let rate = Rate::kilobits(*rng.pick(&[500, 2_000, 20_000, 100_000]));
        let queue = Size::bytes(rate.in_time(MS(300)).as_bytes().max(20_000));
        let mut link = Link::perfect().rate(rate).delay(rng.duration(MS(0)..MS(80))).queue(queue);
        for _ in 0..rng.within(1..4) {
            let kind = *rng.pick(&kinds);
            // Nothing to see without a connection.
            if kind != FaultKind::Partition || rng.chance(0.1) {
                link = link.with(LinkFault::draw(kind, &link, &mut rng).unwrap());
            }
        }
        link
    };
    let line = Line { there: link(), back: link() };
    let bytes = Size::bytes(rng.within(1..300_000));
    let mut world = World::new(rng.next_u64());
    let hosts = [world.host(Config::default()), world.host(Config::default())];
    world.join(hosts[0], hosts[1], line);
    let flow = world.start(hosts[0], hosts[1], &Traffic::both_ways(bytes, bytes));
    // Before anybody gives up: a FIN that nobody answers counts as delivered after five seconds, since some peers never
    // answer, and whoever has not got it by then may wait for ever.
    world.later(SECS(4), World::heal);
    if let Err(stuck) = world.settle(SECS(900)) {
        panic!("seed {seed}, {} and {}: {stuck}", line.there, line.back);
    }
    for (mine, theirs) in [(Side::Initiator, Side::Acceptor), (Side::Acceptor, Side::Initiator)] {
        let (mine, theirs) = (world.report(flow, mine), world.report(flow, theirs));
        assert_eq!(mine.wrong_at, None, "seed {seed}");
        assert!(mine.received <= theirs.sent, "seed {seed}: {mine:?} {theirs:?}");
        assert!(!mine.eof || mine.received == bytes.as_bytes(), "seed {seed}: {mine:?}");
    }
    *counts += world.fault_counts();
}

#[test]
fn random_faults_break_no_promise_and_all_of_them_strike() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (first, seeds) = (number("FIRST_SEED").unwrap_or(0), number("SEEDS").unwrap_or(400));
    let mut counts = FaultCounts::default();
    (first..first + seeds).for_each(|seed| random_faults(seed, &mut counts));
    println!("{seeds} worlds:\n{counts}");
    for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_of_link()) {
        assert!(counts[kind] > 0 || seeds < 400, "{kind}");
    }
}
