//! One side behind a box, and nobody to be punched to: ordinary connections, and what keeps them.

use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{
    HostId, Link, Nat, NatId, NatKind, NatTimeouts, Pace, Place, Side, Size, Strike, Traffic, World,
};

const MINUTE: Duration = Duration::from_secs(60);

fn line() -> Link {
    Link::perfect().delay(Duration::from_millis(20))
}

/// A client behind a box, and a server that everybody reaches.
fn client_and_server(world: &mut World, nat: Nat, config: Config) -> (NatId, HostId, HostId) {
    let home = world.nat(nat, line().loss(Strike::random(0.01)));
    let client = world.host_at(Place::behind(home), config.clone(), Link::perfect());
    let server = world.host_at(Place::internet(), config, line());
    (home, client, server)
}

fn impatient() -> NatTimeouts {
    NatTimeouts::plain(Duration::from_secs(30))
}

#[test]
fn a_client_behind_any_box_reaches_a_server_in_spite_of_loss() {
    for kind in NatKind::ALL {
        for seed in 0..10 {
            let mut world = World::new(seed);
            let (_, client, server) = client_and_server(&mut world, kind.nat(), Config::default());
            let flow = world.start(client, server, &Traffic::echo(Size::kib(100)));
            world.settle(2 * MINUTE).unwrap_or_else(|stuck| panic!("{kind}, seed {seed}: {stuck}"));
            assert_eq!(world.report(flow, Side::Initiator).received, 100 << 10, "{kind}, seed {seed}");
        }
    }
}

/// One end sends, says nothing for ten minutes, and sends again.
fn idle_traffic(speaker: Side) -> Traffic {
    let pace = Pace::new(4096, 10 * MINUTE);
    let all = Size::kib(8);
    match speaker {
        Side::Initiator => Traffic::both_ways(all, Size::bytes(1)).initiator_writes(pace),
        Side::Acceptor => Traffic::both_ways(Size::bytes(1), all).acceptor_writes(pace),
    }
}

#[test]
fn a_stream_survives_ten_idle_minutes_behind_a_box_that_forgets_after_thirty_seconds() {
    for kind in NatKind::ALL {
        for speaker in Side::BOTH {
            let mut world = World::new(7);
            let nat = kind.nat().timeouts(impatient());
            let (home, client, server) = client_and_server(&mut world, nat, Config::default());
            let flow = world.start(client, server, &idle_traffic(speaker));
            let took = world.settle(20 * MINUTE).unwrap_or_else(|stuck| panic!("{kind}: {stuck}"));
            assert!(took > 10 * MINUTE);
            for side in Side::BOTH {
                let report = world.report(flow, side);
                assert!(report.eof && report.closed.is_none(), "{kind}, {side}: {report:?}");
            }
            let mappings = if kind == NatKind::Firewall { 0 } else { 1 };
            assert_eq!(world.nat_stats(home).mappings, mappings, "{kind}: it was never forgotten");
        }
    }
}

#[test]
fn without_keepalives_the_same_box_forgets_the_stream() {
    let mut world = World::new(7);
    let config = Config::default().keepalive(None);
    let nat = Nat::symmetric().timeouts(impatient());
    let (home, client, server) = client_and_server(&mut world, nat, config);
    let flow = world.start(client, server, &idle_traffic(Side::Acceptor));
    world.run_for(15 * MINUTE);
    assert_eq!(world.report(flow, Side::Initiator).received, 4096);
    assert!(world.nat_stats(home).refused(ebbtide::sim::NatRefusal::Unmapped) > 0);
}

#[test]
fn only_ipv6_and_ipv6_that_is_broken_do_not_keep_a_client_from_its_server() {
    for (place, v4_works) in [(Place::dual_stack as fn(Place) -> Place, true), (Place::only_v6, false)] {
        let mut world = World::new(7);
        let home = world.nat(Nat::port_restricted(), line());
        let client = world.host_at(place(Place::behind(home)), Config::default(), Link::perfect());
        let server = world.host_at(Place::internet().dual_stack(), Config::default(), line());
        let to: Vec<SocketAddr> = world.addrs(server).filter(|to| v4_works || to.is_ipv6()).collect();
        for addr in to {
            let flow = world.start_to(client, server, addr, &Traffic::echo(Size::kib(10)));
            world.run_until(|world| world.is_done(flow), MINUTE).unwrap();
            assert_eq!(world.report(flow, Side::Initiator).received, 10 << 10, "{addr}");
        }
    }
}
