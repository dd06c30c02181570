//! Peers whose clocks and measurements cannot be believed.

use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::hostile::{DelayLiar, TimeTraveller};
use ebbtide::sim::{Direction, HostFault, Side, Size, Strike, Traffic, World};

use crate::beside::{MS, SECS, line};
use crate::bottleneck::{Bottleneck, Honest};

/// How long 4 MiB take over a path with a queue, while something happens to the clock of one of the ends.
fn transfer(faults: &[(u64, HostFault)], of_receiver: bool) -> Duration {
    let mut world = World::new(4);
    let hosts = [(); 2].map(|()| world.host(Config::default()));
    world.join(hosts[0], hosts[1], line());
    for &(at, fault) in faults {
        let host = hosts[usize::from(of_receiver)];
        world.later(MS(at), move |world| world.afflict(host, fault));
    }
    let flow = world.start(hosts[0], hosts[1], &Traffic::bulk(Size::mib(4)));
    let took = world.run_until(|world| world.is_done(flow), SECS(300)).unwrap();
    assert_eq!(world.report(flow, Side::Acceptor).received, 4 << 20);
    took
}

#[test]
fn t13_clocks_that_are_set_cost_a_quarter_of_the_goodput_at_most() {
    const BOUND: f64 = 1.25;
    const HOUR: i64 = 3_600_000_000;
    let alone = transfer(&[], false);
    for step in [HOUR, -HOUR, 1_500_000, -1_500_000, 200_000, -200_000] {
        for of_receiver in [false, true] {
            let there_and_back = [(800, HostFault::ClockStep(step)), (2000, HostFault::ClockStep(-step))];
            let cost = transfer(&there_and_back, of_receiver).as_secs_f64() / alone.as_secs_f64();
            let whose = if of_receiver { "receiver" } else { "sender" };
            eprintln!("t13 {step} us, {whose}: bound={BOUND} measured={cost:.2}");
            assert!(cost <= BOUND, "{step} us at the {whose}: {cost}");
        }
    }
}

#[test]
fn t13_a_peer_from_all_times_at_once_is_still_sent_to() {
    const BOUND: f64 = 0.25;
    let [_, fair] = Bottleneck::with(Honest, Strike::never(), 3).acknowledged(SECS(0), SECS(30));
    for trick in [TimeTraveller::new(u32::MAX, 1, true), TimeTraveller::new(3_000_000, 7, true)] {
        let mut bottleneck = Bottleneck::with(trick, Strike::never(), 3);
        let [honest, got] = bottleneck.acknowledged(SECS(0), SECS(30));
        let share = got / (honest + got);
        eprintln!("t13 {trick:?}: bound={BOUND} measured={:.2} of fair, {share:.2} of all", got / fair);
        assert!(got >= BOUND * fair, "{trick:?}: {got} bytes instead of {fair}");
        assert!(share <= 0.6, "{trick:?}: {share}");
    }
}

#[test]
fn t12_liars_do_not_fill_the_queue_for_everybody_else() {
    // A hundred milliseconds of queue is what an honest pair makes; the liar may add what its losses allow.
    let mut bottleneck = Bottleneck::with(DelayLiar { micros: 1 }, Strike::never(), 3);
    bottleneck.acknowledged(SECS(0), SECS(60));
    let stats = bottleneck.world.link_stats(bottleneck.line, Direction::There);
    let delay = bottleneck.world.stream_stats(bottleneck.honest, Side::Initiator).queue_delay;
    eprintln!("t12 queue: {} bytes at most, {delay:?} at last", stats.queue_bytes_max);
    assert!(delay.is_some());
}

#[test]
fn t12_a_liar_about_delay_gets_three_fifths_of_a_bottleneck_at_most() {
    const BOUND: f64 = 0.6;
    for micros in [0, 1, 1000, 0x7FFF_FFFF, u32::MAX] {
        let mut bottleneck = Bottleneck::with(DelayLiar { micros }, Strike::never(), 3);
        let [honest, liar] = bottleneck.acknowledged(SECS(20), SECS(120));
        let share = liar / (honest + liar);
        eprintln!("t12 {micros} us: bound={BOUND} measured={share:.2}");
        assert!(share <= BOUND, "{micros} us: {share}");
    }
}
