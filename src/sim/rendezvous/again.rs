//! Two who have met meet again: their stream has lost its way, or goes through a server.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use super::tests::outcomes;
use super::*;
use crate::Config;
use crate::proto::punch::PathKind;
use crate::proto::rendezvous::server::RelayConfig;
use crate::proto::rendezvous::{AgentConfig, RelayUse, ServerAddr};
use crate::sim::{FlowId, HostFault, HostId, Link, Nat, Place, Rate, Side, Size, Traffic, World};
use crate::wire::rendezvous::RoomId;

const SECS: fn(u64) -> Duration = Duration::from_secs;

type Boxes = [fn() -> Nat; 2];

/// Two behind boxes, and a server that forwards.
struct Scene {
    world: World,
    server: HostId,
    hosts: [HostId; 2],
    flow: FlowId,
    /// What both have said about the room.
    config: AgentConfig,
}

const LINK: fn() -> Link =
    || Link::perfect().rate(Rate::megabits(20)).delay(Duration::from_millis(20)).queue(Size::kib(128));

/// They meet as `relay` says, and keep their way if they are asked to.
fn scene(seed: u64, nats: [Nat; 2], relay: RelayUse, keep: bool, traffic: &Traffic) -> Scene {
    let mut world = World::new(seed);
    let place = Place::internet().port(7171).second_port(7172);
    let server = world.host_at(place, Config::default(), LINK());
    let forwards = Some(RelayConfig::default());
    world.reside(server, RendezvousServer::new(ServerConfig { relay: forwards, ..ServerConfig::default() }));
    let forwarder = world.resident::<RendezvousServer>(server).unwrap().relay();
    let forwarder = world.raw_host_at(Place::internet(), forwarder, LINK());
    let at = world.addr(forwarder);
    world.tell(server, |server: &mut RendezvousServer| server.relay_at(at));
    let hosts = nats.map(|nat| {
        let nat = world.nat(nat, Link::perfect());
        world.host_at(Place::behind(nat), Config::default(), LINK())
    });
    let flow = world.flow(hosts[0], hosts[1]);
    let config = AgentConfig::new(vec![ServerAddr::from(world.addr(server))], RoomId::from_name("lagoon"));
    for (number, (host, side)) in (1u8..).zip(hosts.into_iter().zip(Side::BOTH)) {
        let config = AgentConfig { hosts: world.addrs(host).collect(), ..config.clone() };
        let meets = AgentConfig { relay, ..config.clone() };
        let mut client = RendezvousClient::new(meets, side, flow, traffic, [number; 32]);
        if keep {
            client = client.keeping(config, [number + 10; 32]);
        }
        world.reside(host, client);
    }
    Scene { world, server, hosts, flow, config }
}

impl Scene {
    fn found_again(&self) -> [u32; 2] {
        self.hosts.map(|host| self.world.resident::<RendezvousClient>(host).unwrap().found_again())
    }

    fn relayed_bytes(&self) -> u64 {
        self.world.resident::<RendezvousServer>(self.server).unwrap().stats().relayed_bytes
    }

    /// Runs until everything has arrived, and returns the longest time in which nothing came to the acceptor.
    fn finish(&mut self, bytes: u64) -> Duration {
        let (world, flow) = (&mut self.world, self.flow);
        let (mut before, mut since, mut longest) = (0, world.now(), Duration::ZERO);
        while !world.is_done(flow) {
            world.run_for(Duration::from_millis(20));
            let received = world.report(flow, Side::Acceptor).received;
            if received > before {
                longest = longest.max(world.now() - since);
                (before, since) = (received, world.now());
            }
            assert!(world.now() < SECS(600), "{received} bytes, {:?}", world.report(flow, Side::Initiator));
        }
        for side in Side::BOTH {
            let report = world.report(flow, side);
            assert_eq!((report.received, report.wrong_at, report.closed), (bytes, None, None), "{side:?}");
        }
        longest
    }
}

#[test]
fn n46_a_stream_that_goes_through_a_server_goes_on_directly_once_there_is_a_way_and_loses_nothing() {
    let kinds: [Boxes; 3] = [
        [Nat::full_cone, Nat::linux],
        [Nat::port_restricted, Nat::port_restricted],
        [Nat::symmetric, Nat::linux],
    ];
    for (seed, nats) in (0..).zip(kinds) {
        let traffic = Traffic::both_ways(Size::mib(8), Size::mib(8));
        let mut scene = scene(seed, nats.map(|nat| nat()), RelayUse::Only, true, &traffic);
        let pause = scene.finish(8 << 20);
        let paths = outcomes(&scene.world, scene.hosts).map(|outcome| outcome.unwrap().unwrap().path);
        assert_eq!(paths, [Some(PathKind::Relayed); 2], "{seed}");
        assert_eq!(scene.found_again(), [1, 1], "{seed}");
        let relayed = scene.relayed_bytes();
        assert!((100_000..8 << 20).contains(&relayed), "{seed}: {relayed} of {} bytes", 16 << 20);
        assert!(pause <= SECS(1), "{seed}: {pause:?}");
        println!("{seed}: {relayed} bytes through the server, then directly; a pause of {pause:?}");
        scene.world.settle(SECS(600)).unwrap();
    }
}

#[test]
fn n46_a_stream_for_which_there_is_no_other_way_goes_on_through_the_server() {
    let traffic = Traffic::both_ways(Size::mib(8), Size::mib(8));
    let mut scene = scene(4, [Nat::symmetric(), Nat::symmetric()], RelayUse::Only, true, &traffic);
    scene.finish(8 << 20);
    assert_eq!(scene.found_again(), [0, 0]);
    assert!(scene.relayed_bytes() > 16 << 20);
    scene.world.settle(SECS(600)).unwrap();
}

#[test]
fn n47_two_whose_boxes_let_in_only_what_was_asked_for_meet_again_when_one_of_them_has_forgotten() {
    // Between two searches for a port there are twenty seconds.
    let kinds: [(Boxes, Duration); 3] = [
        ([Nat::port_restricted, Nat::port_restricted], SECS(5)),
        ([Nat::linux, Nat::port_restricted], SECS(5)),
        ([Nat::port_restricted, Nat::symmetric], SECS(30)),
    ];
    for (seed, (nats, longest)) in (0..).zip(kinds) {
        let traffic = Traffic::both_ways(Size::mib(8), Size::mib(8));
        let mut scene = scene(seed, nats.map(|nat| nat()), RelayUse::Never, true, &traffic);
        let (flow, moves) = (scene.flow, scene.hosts[0]);
        let in_the_middle =
            |world: &World| Side::BOTH.iter().all(|&side| world.report(flow, side).received > 2 << 20);
        scene.world.run_until(in_the_middle, SECS(60)).unwrap();
        scene.world.afflict(moves, HostFault::PortRebind);
        let pause = scene.finish(8 << 20);
        assert_eq!(scene.found_again(), [1, 1], "{seed}: {pause:?}");
        assert!(pause <= longest, "{seed}: {pause:?}");
        println!("{seed}: found again {:?} times, after a pause of {pause:?}", scene.found_again());
        scene.world.settle(SECS(600)).unwrap();
    }
}

#[test]
fn n48_a_third_one_in_the_room_does_not_get_the_stream() {
    let traffic = Traffic::both_ways(Size::mib(8), Size::mib(8));
    let mut scene = scene(5, [Nat::full_cone(), Nat::full_cone()], RelayUse::Only, true, &traffic);
    scene.world.run_for(SECS(3));
    let world = &mut scene.world;
    let nat = world.nat(Nat::full_cone(), Link::perfect());
    let third = world.host_at(Place::behind(nat), Config::default(), LINK());
    let nothing = world.flow(third, scene.hosts[0]);
    let config = AgentConfig { hosts: world.addrs(third).collect(), ..scene.config.clone() };
    world.reside(third, RendezvousClient::new(config, Side::Initiator, nothing, &traffic, [99; 32]));
    world.run_for(SECS(60));
    let outcome = world.resident::<RendezvousClient>(third).unwrap().outcome().cloned();
    assert!(!matches!(outcome, Some(Ok(_))), "{outcome:?}");
    scene.finish(8 << 20);
}
