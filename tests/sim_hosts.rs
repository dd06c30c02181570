//! What goes wrong on hosts, kind by kind: what is delivered nevertheless, and how connections end that plain uTP
//! cannot save.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::time::Duration;

use ebbtide::sim::{
    Direction, FaultKind, FlowId, HostFault, HostId, Line, Link, Pace, Rate, Rng, Side, Size, Sleep,
    SocketError, Strike, Traffic, World,
};
use ebbtide::wire::{ConnId, SeqNr};
use ebbtide::{CloseReason, Config};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn link() -> Link {
    Link::perfect().rate(Rate::megabits(10)).delay(MS(20)).queue(Size::kib(64))
}

fn pair(seed: u64, config: &Config) -> (World, [HostId; 2]) {
    let mut world = World::new(seed);
    let hosts = [(); 2].map(|()| world.host(config.clone()));
    world.join(hosts[0], hosts[1], Line::from(link()));
    (world, hosts)
}

/// Both directions got everything, and both ends know.
fn assert_complete(world: &World, flow: FlowId) {
    let [one, two] = Side::BOTH.map(|side| world.report(flow, side));
    for (mine, theirs) in [(one, two), (two, one)] {
        assert!(mine.eof && mine.acked && mine.closed.is_none(), "{flow}: {mine:?}\n{}", world.trace());
        assert_eq!((mine.wrong_at, mine.received), (None, theirs.sent), "{flow}");
    }
}

fn both_ways() -> Traffic {
    Traffic::both_ways(Size::kib(600), Size::kib(600))
}

/// A transfer during which this happens to the first host after 200 ms. Returns how long it took.
fn survives(fault: HostFault) -> Duration {
    let (mut world, hosts) = pair(5, &Config::default());
    let flow = world.start(hosts[0], hosts[1], &both_ways());
    world.later(MS(200), move |world| world.afflict(hosts[0], fault));
    let took = world.run_until(|world| world.is_done(flow), SECS(1200)).unwrap();
    assert_complete(&world, flow);
    assert!(world.fault_counts()[fault.kind()] > 0, "{fault}");
    world.settle(SECS(600)).unwrap();
    took
}

#[test]
fn nothing_but_the_loss_of_an_address_ends_a_connection() {
    for kind in FaultKind::ALL {
        for &(name, fault) in HostFault::presets(kind) {
            // Ten minutes are longer than the peer waits for an answer.
            if !fault.is_fatal() && fault.silence() < SECS(60) {
                let took = survives(fault);
                assert!(took < SECS(40), "{kind}, {name}: {took:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_a_host_can_be_drawn_and_is_what_it_says() {
    let mut rng = Rng::new(1);
    for kind in FaultKind::ALL.into_iter().filter(|kind| !kind.is_of_link()) {
        for _ in 0..100 {
            let Some(fault) = HostFault::draw(kind, SECS(5), &mut rng) else {
                assert!(matches!(kind, FaultKind::IdCollision | FaultKind::HostilePeer), "{kind}");
                break;
            };
            assert!(fault.kind() == kind && fault.silence() <= SECS(5), "{fault}");
        }
        assert!(HostFault::presets(kind).iter().all(|(_, fault)| fault.kind() == kind));
    }
}

/// How both ends of a connection end whose first host changes its address in the middle, and that does not follow it.
fn after_a_move(fault: HostFault) -> [Option<CloseReason>; 2] {
    let (mut world, hosts) = pair(5, &Config::default().migration(false));
    let flow = world.start(hosts[0], hosts[1], &both_ways());
    world.later(MS(300), move |world| world.afflict(hosts[0], fault));
    world.run_until(|world| world.is_done(flow), SECS(600)).unwrap();
    assert!(world.nowhere() > 0, "what was sent to the old address");
    // Whoever connects from now on is served, in both directions.
    let again = [(0, 1), (1, 0)].map(|(from, to)| world.start(hosts[from], hosts[to], &both_ways()));
    world.settle(SECS(600)).unwrap();
    again.iter().for_each(|&flow| assert_complete(&world, flow));
    Side::BOTH.map(|side| world.report(flow, side).closed)
}

#[test]
fn a_host_that_moves_hears_a_reset_and_its_peer_times_out() {
    for fault in [HostFault::PortRebind, HostFault::AddressChange] {
        let [moved, stayed] = after_a_move(fault);
        assert_eq!(stayed, Some(CloseReason::TimedOut), "{fault}");
        assert!(matches!(moved, Some(CloseReason::Reset | CloseReason::TimedOut)), "{fault}: {moved:?}");
    }
}

#[test]
fn a_syn_that_is_repeated_from_another_address_still_connects() {
    let mut world = World::new(5);
    let hosts = [(); 2].map(|()| world.host(Config::default()));
    let line = world.join(hosts[0], hosts[1], link());
    world.set_filter(line, Direction::There, Some(Box::new(|_| true)));
    let flow = world.start(hosts[0], hosts[1], &both_ways());
    world.set_filter(line, Direction::There, None);
    world.afflict(hosts[0], HostFault::AddressChange);
    world.settle(SECS(100)).unwrap();
    assert_complete(&world, flow);
}

#[test]
fn a_peer_that_sleeps_for_ten_minutes_is_given_up_and_finds_out_when_it_wakes_up() {
    for clock in [Sleep::ClockStops, Sleep::ClockRuns] {
        let (mut world, hosts) = pair(5, &Config::default());
        let flow = world.start(hosts[0], hosts[1], &both_ways());
        world.run_for(MS(200));
        world.afflict(hosts[1], HostFault::Suspend(SECS(600), clock));
        world.run_for(SECS(300));
        assert_eq!(world.report(flow, Side::Initiator).closed, Some(CloseReason::TimedOut));
        assert_eq!(world.report(flow, Side::Acceptor).closed, None, "it sleeps");
        world.run_until(|world| world.is_done(flow), SECS(600)).unwrap();
        assert!(world.report(flow, Side::Acceptor).closed.is_some());
        world.settle(SECS(600)).unwrap();
    }
}

#[test]
fn what_arrives_at_a_host_that_sleeps_fills_the_buffer_of_its_socket_and_no_more() {
    let (mut world, hosts) = pair(5, &Config::default().socket_buffer(64 << 10));
    world.afflict(hosts[1], HostFault::Suspend(SECS(3), Sleep::ClockRuns));
    for _ in 0..200 {
        world.start(hosts[0], hosts[1], &Traffic::bulk(Size::kib(1)));
    }
    world.run_for(SECS(2));
    // Two SYNs each by now, of 52 bytes and the system's own 512.
    assert_eq!(world.overflowed(), 400 - (64 << 10) / 564);
    world.settle(SECS(200)).unwrap();
    world.flows().for_each(|flow| assert_complete(&world, flow));
}

#[test]
fn a_full_socket_loses_nothing_and_its_delay_is_not_the_path_s() {
    let full = HostFault::SocketError(Strike::every(3), SocketError::Full(MS(30)));
    let (mut world, hosts) = pair(5, &Config::default());
    world.afflict(hosts[0], full);
    let flow = world.start(hosts[0], hosts[1], &Traffic::bulk(Size::kib(200)));
    world.settle(SECS(100)).unwrap();
    assert_complete(&world, flow);
    let stats = world.stream_stats(flow, Side::Initiator);
    assert_eq!((stats.packets_retransmitted, stats.timeouts), (0, 0), "{stats:?}");
    assert!(world.fault_counts()[FaultKind::SocketError] >= 10);
}

#[test]
fn packet_numbers_and_timestamps_wrap_where_they_are_told_to() {
    let (mut world, hosts) = pair(5, &Config::default());
    for host in hosts {
        world.afflict(host, HostFault::WrapStart { seq: SeqNr::new(65_534), wrap_in: MS(100) });
    }
    let flow = world.start(hosts[0], hosts[1], &both_ways());
    world.trace_mut().remember(10_000);
    world.settle(SECS(100)).unwrap();
    assert_complete(&world, flow);
    let trace = world.trace().to_string();
    for expected in ["ST_SYN id", "seq 65534", "seq 65535", "seq 0 ", "seq 1 "] {
        assert!(trace.contains(expected), "{expected}");
    }
}

#[test]
fn a_reader_that_never_reads_is_given_up_after_the_stall_timeout() {
    let (mut world, hosts) = pair(5, &Config::default().receive_buffer(64 << 10).stall_timeout(SECS(60)));
    let flow = world.start(hosts[0], hosts[1], &Traffic::bulk(Size::mib(2)).acceptor_reads(Pace::NEVER));
    let took = world.run_until(|world| world.is_done(flow), SECS(200)).unwrap();
    let [sender, reader] = Side::BOTH.map(|side| world.report(flow, side));
    assert_eq!((sender.closed, reader.closed), (Some(CloseReason::Stalled), Some(CloseReason::Reset)));
    assert!(reader.received == 0 && took > SECS(60) && took < SECS(70), "{took:?}");
    world.settle(SECS(600)).unwrap();
    assert_eq!(world.fault_counts()[FaultKind::SlowReader], 1);
}

#[test]
fn a_connection_that_is_quiet_for_an_hour_lives_on_keepalives() {
    let (mut world, hosts) = pair(5, &Config::default().idle_timeout(Some(SECS(40))));
    let flow = world.start(hosts[0], hosts[1], &Traffic::idle(SECS(3600)));
    let took = world.run_until(|world| world.is_done(flow), SECS(4000)).unwrap();
    assert_complete(&world, flow);
    assert!(took > SECS(3600));
}

#[test]
fn requests_are_answered_and_many_short_connections_leave_nothing_behind() {
    let (mut world, hosts) = pair(5, &Config::default());
    let flow =
        world.start(hosts[0], hosts[1], &Traffic::request_response(20, Size::bytes(300), Size::kib(20)));
    world.start_many(hosts[1], hosts[0], &Traffic::echo(Size::kib(2)), 300, MS(10));
    world.run_for(SECS(3));
    world.settle(SECS(100)).unwrap();
    assert_eq!((world.flows().count(), world.report(flow, Side::Acceptor).sent), (301, (20 * 20) << 10));
    world.flows().for_each(|flow| assert_complete(&world, flow));
}

#[test]
fn both_may_open_at_once_under_ids_that_touch_each_other() {
    for offset in [0, 1, 2, 65_535, 65_534] {
        let (mut world, hosts) = pair(5, &Config::default());
        let id = ConnId::new(65_000);
        let theirs = ConnId::new(id.get().wrapping_add(offset));
        let there = world.start_as(hosts[0], hosts[1], id, &both_ways());
        let back = world.start_as(hosts[1], hosts[0], theirs, &both_ways());
        world.settle(SECS(200)).unwrap();
        let ends: Vec<_> =
            [there, back].iter().map(|&flow| world.report(flow, Side::Initiator).closed).collect();
        assert!(ends.contains(&None), "at least one: {offset}: {ends:?}");
        for (flow, end) in [there, back].into_iter().zip(&ends) {
            match end {
                None => assert_complete(&world, flow),
                Some(reason) => assert!(
                    matches!(reason, CloseReason::Refused | CloseReason::TimedOut | CloseReason::IdInUse),
                    "{offset}: {reason:?}"
                ),
            }
        }
    }
}

#[test]
fn an_id_in_use_is_refused_at_once_and_free_again_when_the_connection_is_forgotten() {
    let (mut world, hosts) = pair(5, &Config::default());
    let id = ConnId::new(40_000);
    let first = world.start_as(hosts[0], hosts[1], id, &both_ways());
    let second = world.start_as(hosts[0], hosts[1], id, &both_ways());
    assert_eq!(world.report(second, Side::Initiator).closed, Some(CloseReason::IdInUse));
    world.settle(SECS(200)).unwrap();
    assert_complete(&world, first);
    let third = world.start_as(hosts[0], hosts[1], id, &both_ways());
    world.settle(SECS(200)).unwrap();
    assert_complete(&world, third);
}

#[test]
fn a_cured_host_is_as_good_as_new() {
    let (mut world, hosts) = pair(5, &Config::default());
    for fault in [
        HostFault::Suspend(SECS(600), Sleep::ClockStops),
        HostFault::SocketError(Strike::always(), SocketError::NoBuffers),
        HostFault::DropTasks(Strike::always()),
        HostFault::ClockSkew(500),
    ] {
        world.afflict(hosts[0], fault);
    }
    let flow = world.start(hosts[1], hosts[0], &both_ways());
    world.run_for(SECS(2));
    world.heal();
    let of_hosts = |world: &World| -> u64 {
        world.fault_counts().iter().filter(|(kind, _)| !kind.is_of_link()).map(|(_, times)| times).sum()
    };
    let healed = of_hosts(&world);
    world.run_until(|world| world.is_done(flow), SECS(20)).unwrap();
    assert_complete(&world, flow);
    assert_eq!(of_hosts(&world), healed);
}

/// A world in which both hosts fall ill again and again, for twenty seconds. Whether something of that was fatal.
fn ill(seed: u64) -> (World, Vec<FlowId>, bool) {
    let mut rng = Rng::new(seed);
    let config =
        Config::default().connect_timeout(SECS(60)).idle_timeout(Some(SECS(90))).stall_timeout(SECS(90));
    let (mut world, hosts) = pair(rng.next_u64(), &config);
    let kinds: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| !kind.is_of_link()).collect();
    let mut fatal = false;
    for _ in 0..rng.within(1..10) {
        let drawn = HostFault::draw(*rng.pick(&kinds), SECS(4), &mut rng);
        let (host, at) = (*rng.pick(&hosts), rng.duration(Duration::ZERO..SECS(12)));
        if let Some(fault) = drawn {
            fatal |= fault.is_fatal();
            world.later(at, move |world| world.afflict(host, fault));
        }
    }
    world.later(SECS(20), World::heal);
    let mut flows = Vec::new();
    for _ in 0..rng.within(1..6) {
        world.run_for(rng.duration(Duration::ZERO..SECS(3)));
        let sizes = [(); 2].map(|()| Size::bytes(rng.below(300_000)));
        let traffic = match rng.below(4) {
            0 => Traffic::bulk(sizes[0]),
            1 => Traffic::echo(sizes[0]),
            2 => Traffic::request_response(rng.within(1..20), Size::bytes(200), Size::bytes(9000)),
            _ => Traffic::both_ways(sizes[0], sizes[1]),
        };
        let (one, other) = if rng.chance(0.5) { (0, 1) } else { (1, 0) };
        if rng.chance(0.2) {
            let id = ConnId::new(rng.below(65_000) as u16);
            flows.extend(world.start_both(hosts[one], hosts[other], id, &traffic));
        } else {
            flows.push(world.start(hosts[one], hosts[other], &traffic));
        }
    }
    (world, flows, fatal)
}

#[test]
fn hosts_that_fall_ill_at_random_deliver_everything_unless_they_move() {
    let seeds = std::env::var("SEEDS").map_or(300, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("FIRST_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let (mut world, flows, fatal) = ill(seed);
        world.settle(SECS(600)).unwrap_or_else(|stuck| panic!("seed {seed}: {stuck}"));
        for flow in flows {
            let ends = Side::BOTH.map(|side| world.report(flow, side));
            let collided = matches!(ends[0].closed, Some(CloseReason::IdInUse | CloseReason::Refused));
            for (mine, theirs) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                let complete = mine.closed.is_none() && mine.eof && mine.acked && mine.wrong_at.is_none();
                // The peer had everything, and was gone before its last acknowledgement got through.
                let forgotten = mine.eof && theirs.eof && theirs.acked && theirs.received == mine.sent;
                assert!(fatal || collided || complete || forgotten, "seed {seed}, {flow}: {ends:?}");
            }
        }
    }
}
