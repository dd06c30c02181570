//! Transfers during which a NAT forgets one end, or that end moves: the stream follows, and is not interrupted for long.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::time::Duration;

use ebbtide::sim::{FlowId, HostFault, HostId, Link, Rate, Side, Size, Traffic, World};
use ebbtide::{CloseReason, Config};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn world(rate: Rate, configs: [Config; 2]) -> (World, [HostId; 2]) {
    let mut world = World::new(7);
    let hosts = configs.map(|config| world.host(config));
    world.join(hosts[0], hosts[1], Link::perfect().rate(rate).delay(MS(20)).queue(Size::kib(256)));
    (world, hosts)
}

/// Runs until the flow is done and returns the longest time in which nothing arrived.
fn longest_pause(world: &mut World, flow: FlowId, receiver: Side) -> Duration {
    let (mut before, mut since, mut longest) = (0, world.now(), Duration::ZERO);
    while !world.is_done(flow) {
        world.run_for(MS(20));
        let received = world.report(flow, receiver).received;
        if received > before {
            longest = longest.max(world.now() - since);
            (before, since) = (received, world.now());
        }
        assert!(world.now() < SECS(600), "{}", world.report(flow, receiver).received);
    }
    longest
}

/// A transfer of 100 MB whose sender, or receiver, moves in the middle.
fn moves(fault: HostFault, mover: usize) {
    let (mut world, hosts) = world(Rate::megabits(200), [Config::bulk(), Config::bulk()]);
    let flow = world.start(hosts[0], hosts[1], &Traffic::bulk(Size::mib(96)));
    world.later(SECS(2), move |world| world.afflict(hosts[mover], fault));
    let pause = longest_pause(&mut world, flow, Side::Acceptor);
    let [sent, received] = Side::BOTH.map(|side| world.report(flow, side));
    assert_eq!((received.received, received.wrong_at), (sent.sent, None), "{fault}");
    assert_eq!((sent.closed, received.closed), (None, None), "{fault}, {mover}");
    assert!(world.nowhere() > 0, "what was sent to the old address");
    assert!(pause <= SECS(3), "{fault}: host {mover} moved and nothing came for {pause:?}");
    println!("{fault}, host {mover} moved: a pause of {pause:?}");
    world.settle(SECS(600)).unwrap();
}

#[test]
fn n44_a_nat_that_forgets_the_sender_of_a_hundred_megabytes_interrupts_for_less_than_three_seconds() {
    moves(HostFault::PortRebind, 0);
}

#[test]
fn n44_a_nat_that_forgets_the_receiver_of_a_hundred_megabytes_interrupts_for_less_than_three_seconds() {
    moves(HostFault::PortRebind, 1);
}

#[test]
fn n44_a_sender_with_another_address_goes_on_within_three_seconds() {
    moves(HostFault::AddressChange, 0);
}

#[test]
fn n44_a_receiver_with_another_address_goes_on_within_three_seconds() {
    moves(HostFault::AddressChange, 1);
}

#[test]
fn n44_a_stream_follows_as_often_as_its_peer_moves() {
    let (mut world, hosts) = world(Rate::megabits(20), [Config::default(), Config::default()]);
    let flow = world.start(hosts[0], hosts[1], &Traffic::both_ways(Size::mib(20), Size::mib(20)));
    for second in 1..=5 {
        let fault = if second % 2 == 0 { HostFault::PortRebind } else { HostFault::AddressChange };
        let mover = hosts[second as usize % 2];
        world.later(SECS(second * 2), move |world| world.afflict(mover, fault));
    }
    let pause = longest_pause(&mut world, flow, Side::Acceptor);
    assert!(Side::BOTH.iter().all(|&side| world.report(flow, side).closed.is_none()));
    let followed: u64 = Side::BOTH.iter().map(|&side| world.stream_stats(flow, side).migrations).sum();
    assert_eq!(followed, 5);
    assert!(pause <= SECS(3), "{pause:?}");
    world.settle(SECS(600)).unwrap();
}

#[test]
fn n44_two_that_move_at_the_same_moment_have_lost_each_other() {
    let (mut world, hosts) = world(Rate::megabits(20), [Config::default(), Config::default()]);
    let flow = world.start(hosts[0], hosts[1], &Traffic::both_ways(Size::mib(20), Size::mib(20)));
    world.later(SECS(1), move |world| {
        hosts.iter().for_each(|&host| world.afflict(host, HostFault::AddressChange));
    });
    world.settle(SECS(600)).unwrap();
    for side in Side::BOTH {
        let closed = world.report(flow, side).closed;
        assert!(matches!(closed, Some(CloseReason::TimedOut)), "{side:?}: {closed:?}");
    }
}
