//! Boxes in a world, with raw hosts and with plain connections.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::Config;
use crate::sim::{HostId, Link, RawNet, RawProgram, Side, Size, Traffic, World};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Sends what it is told to, and remembers what it hears: from whom, and on which port.
#[derive(Debug, Default)]
struct Talker {
    script: Vec<(Duration, u16, SocketAddr, u8)>,
    heard: Vec<(SocketAddr, u16)>,
    /// Answers everything.
    echo: bool,
}

impl RawProgram for Talker {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
        let port = net.addressed().port();
        self.heard.push((from, port));
        if self.echo && bytes != b"echo" {
            net.send_with_hops(port, from, 64, b"echo");
        }
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        let now = net.now();
        for (_, port, to, hops) in self.script.extract_if(.., |(at, ..)| *at <= now) {
            net.send_with_hops(port, to, hops, b"hello");
        }
        if let Some(next) = self.script.iter().map(|(at, ..)| *at).min() {
            net.wake_at(next);
        }
    }
}

fn echo() -> Talker {
    Talker { echo: true, ..Talker::default() }
}

/// Lets a raw host send something now.
fn say(world: &mut World, host: HostId, port: u16, to: SocketAddr, hops: u8) {
    let now = world.now();
    world.raw_mut::<Talker>(host).unwrap().script.push((now, port, to, hops));
    world.ring(host);
    world.run_for(ms(500));
}

fn heard(world: &World, host: HostId) -> Vec<(SocketAddr, u16)> {
    world.raw::<Talker>(host).unwrap().heard.clone()
}

fn line() -> Link {
    Link::perfect().delay(ms(20))
}

fn addr(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// A host behind a box, and one without.
fn pair(nat: Nat) -> (World, NatId, HostId, HostId) {
    let mut world = World::new(3);
    let home = world.nat(nat, line());
    let host = world.raw_host_at(Place::behind(home), Talker::default(), Link::perfect());
    let server = world.raw_host_at(Place::internet(), echo(), line());
    (world, home, host, server)
}

#[test]
fn a_server_sees_the_address_of_the_box_and_answers_arrive() {
    let (mut world, home, host, server) = pair(Nat::port_restricted());
    let to = world.addr(server);
    say(&mut world, host, 5000, to, 64);
    let outer = world.nat_addr(home).unwrap();
    assert_eq!(heard(&world, server), [(addr(outer, 5000), 6881)]);
    assert_eq!(heard(&world, host), [(to, 5000)]);
    assert!(world.addr(host).ip().to_string().starts_with("192.168.1."));
    let stats = world.nat_stats(home);
    assert_eq!((stats.out, stats.back, stats.mappings, stats.flows), (1, 1, 1, 1));
}

#[test]
fn a_small_time_to_live_opens_the_own_box_and_does_not_reach_the_others() {
    // Home, carrier, backbone: the datagram dies on the backbone, and both boxes let in the answer.
    let mut world = World::new(3);
    let carrier = world.nat(Nat::carrier(), line());
    let home = world.nat_behind(carrier, Nat::linux(), Link::perfect());
    let host = world.raw_host_at(Place::behind(home), Talker::default(), Link::perfect());
    let peer = world.raw_host_at(Place::internet(), Talker::default(), line());
    let to = world.addr(peer);
    say(&mut world, host, 5000, to, 5);
    assert_eq!(heard(&world, peer), []);
    assert_eq!(world.backbone_stats().refused(NatRefusal::HopsExceeded), 1);
    assert_eq!([home, carrier].map(|nat| world.nat_stats(nat).flows), [1, 1]);
    // With two hops it does not even leave the carrier, and the carrier makes no mapping of it.
    let other = addr(to.ip(), 77);
    say(&mut world, host, 5000, other, 2);
    assert_eq!([home, carrier].map(|nat| world.nat_stats(nat).flows), [2, 1]);
    // With enough it gets across, and how many that takes can be set.
    say(&mut world, host, 5000, to, 11);
    assert_eq!(heard(&world, peer).len(), 1);
    world.set_backbone_hops(2);
    say(&mut world, host, 5000, to, 5);
    let seen = heard(&world, peer);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    // The answer comes back through both.
    say(&mut world, peer, 6881, seen[0].0, 64);
    assert_eq!(heard(&world, host), [(to, 5000)]);
}

#[test]
fn whoever_knocks_too_early_at_an_open_linux_box_is_heard_by_nobody() {
    for (nat, moves) in [(Nat::linux_open(), true), (Nat::linux(), false)] {
        let (mut world, home, host, server) = pair(nat);
        let server_addr = world.addr(server);
        say(&mut world, host, 5000, server_addr, 64);
        let peer = world.raw_host_at(Place::internet(), Talker::default(), line());
        let (outside, peer_addr) = (addr(world.nat_addr(home).unwrap(), 5000), world.addr(peer));
        say(&mut world, peer, 6881, outside, 64);
        say(&mut world, host, 5000, peer_addr, 64);
        assert_eq!(heard(&world, peer)[0].0 != outside, moves, "{nat:?}");
        let expected = if moves { NatRefusal::Taken } else { NatRefusal::Unmapped };
        assert_eq!(world.nat_stats(home).refused(expected), 1);
        assert_eq!(world.nat_stats(home).moved, u64::from(moves));
    }
}

#[test]
fn hosts_of_one_network_reach_each_other_directly_and_by_the_outer_address_if_it_is_a_hairpin() {
    for hairpin in [false, true] {
        let (mut world, home, host, server) = pair(Nat::full_cone().hairpin(hairpin));
        let neighbour = world.raw_host_at(Place::behind(home), echo(), Link::perfect());
        let [server, near] = [server, neighbour].map(|host| world.addr(host));
        assert_ne!(near.ip(), world.addr(host).ip());
        say(&mut world, host, 5000, near, 1);
        assert_eq!(heard(&world, host), [(near, 5000)], "within a network nothing is routed");
        say(&mut world, neighbour, 6881, server, 64);
        let outside = addr(world.nat_addr(home).unwrap(), 6881);
        say(&mut world, host, 5000, outside, 64);
        let stats = world.nat_stats(home);
        assert_eq!(stats.refused(NatRefusal::NoHairpin), u64::from(!hairpin));
        // There and back.
        assert_eq!(stats.hairpins, if hairpin { 2 } else { 0 });
        let answers = heard(&world, host);
        assert_eq!(answers.get(1), hairpin.then_some(&(outside, 5000)));
    }
}

#[test]
fn hosts_behind_a_firewall_have_public_addresses_and_hear_only_whom_they_asked() {
    let (mut world, wall, host, server) = pair(Nat::firewall());
    assert_eq!(world.nat_addr(wall), None);
    let [own, to] = [host, server].map(|host| world.addr(host));
    assert!(own.ip().to_string().starts_with("198.18."), "{own}");
    say(&mut world, server, 6881, own, 64);
    assert_eq!(heard(&world, host), []);
    say(&mut world, host, 5000, to, 64);
    assert_eq!(heard(&world, host), [(to, 5000)]);
    assert_eq!(world.nat_stats(wall).refused(NatRefusal::Filtered), 1);
}

#[test]
fn ipv6_is_not_translated_and_is_filtered_and_lost_where_it_is_broken() {
    for (v6, works) in [(NatV6::Firewall(NatFilter::AddressAndPortDependent), true), (NatV6::Broken, false)] {
        let mut world = World::new(3);
        let home = world.nat(Nat::port_restricted().v6(v6), line());
        let host = world.raw_host_at(Place::behind(home).only_v6(), Talker::default(), Link::perfect());
        let server = world.raw_host_at(Place::internet().only_v6(), echo(), line());
        let [own, to] = [host, server].map(|host| world.addr(host));
        assert!(own.is_ipv6() && to.is_ipv6());
        say(&mut world, server, 6881, own, 64);
        assert_eq!(heard(&world, host), []);
        say(&mut world, host, 5000, to, 64);
        assert_eq!(heard(&world, host).len(), usize::from(works));
        let seen = heard(&world, server);
        assert_eq!(seen.first().copied(), works.then_some((addr(own.ip(), 5000), 6881)));
    }
}

#[test]
fn blocked_is_blocked() {
    let (mut world, home, host, server) = pair(Nat::blocked());
    let to = world.addr(server);
    say(&mut world, host, 5000, to, 64);
    assert_eq!(heard(&world, server), []);
    assert_eq!(world.nat_stats(home).refused(NatRefusal::Blocked), 1);
    assert!(world.trace().to_string().contains("blocked"));
}

#[test]
fn after_a_reboot_nobody_gets_in_until_somebody_goes_out() {
    let (mut world, home, host, server) = pair(Nat::full_cone());
    let to = world.addr(server);
    say(&mut world, host, 5000, to, 64);
    let outside = addr(world.nat_addr(home).unwrap(), 5000);
    world.reboot(home);
    say(&mut world, server, 6881, outside, 64);
    assert_eq!(heard(&world, host).len(), 1);
    say(&mut world, host, 5000, to, 64);
    assert_eq!(heard(&world, host).len(), 2);
    assert_eq!((world.nat_stats(home).reboots, world.nat_stats(home).mappings), (1, 2));
}

#[test]
fn what_is_for_nobody_ends_on_the_backbone() {
    let (mut world, _, host, _) = pair(Nat::full_cone());
    say(&mut world, host, 5000, SocketAddr::from(([203, 0, 113, 1], 9)), 64);
    assert_eq!(world.backbone_stats().refused(NatRefusal::NoRoute), 1);
}

#[test]
#[should_panic(expected = "the same addresses inside and outside")]
fn two_networks_of_the_same_addresses_are_not_put_into_each_other() {
    let mut world = World::new(3);
    let outer = world.nat(Nat::linux(), line());
    world.nat_behind(outer, Nat::linux(), line());
}

#[test]
fn a_client_behind_every_kind_of_box_reaches_a_server_and_the_same_seed_goes_the_same_way() {
    let run = |kind: NatKind, seed| {
        let mut world = World::new(seed);
        let home = world.nat(kind.nat(), line());
        let client = world.host_at(Place::behind(home), Config::default(), Link::perfect());
        let server = world.host_at(Place::internet(), Config::default(), line());
        let flow = world.start(client, server, &Traffic::echo(Size::kib(200)));
        world.settle(Duration::from_secs(60)).unwrap_or_else(|stuck| panic!("{kind}: {stuck}"));
        for side in Side::BOTH {
            let report = world.report(flow, side);
            assert_eq!((report.received, report.wrong_at), (200 << 10, None), "{kind}");
        }
        assert_eq!(world.strays(), 0);
        world.trace().hash()
    };
    for kind in NatKind::ALL {
        assert_eq!(run(kind, 5), run(kind, 5), "{kind}");
        assert_ne!(run(kind, 5), run(kind, 6), "{kind}");
    }
}

#[test]
fn a_client_that_is_behind_two_boxes_or_has_both_families_reaches_a_server() {
    let mut world = World::new(5);
    let carrier = world.nat(Nat::carrier(), line());
    let home = world.nat_behind(carrier, Nat::linux(), Link::perfect());
    let client = world.host_at(Place::behind(home).dual_stack(), Config::default(), Link::perfect());
    let server = world.host_at(Place::internet().dual_stack(), Config::default(), line());
    let v6 = world.addrs(server).find(SocketAddr::is_ipv6).unwrap();
    let flows = [
        world.start(client, server, &Traffic::echo(Size::kib(100))),
        world.start_to(client, server, v6, &Traffic::echo(Size::kib(100))),
    ];
    world.settle(Duration::from_secs(60)).unwrap();
    for flow in flows {
        assert_eq!(world.report(flow, Side::Initiator).received, 100 << 10);
    }
    assert_eq!(world.nat_stats(home).mappings, 1, "IPv6 is not mapped");
}

#[test]
fn captures_show_both_sides_of_a_box() {
    let path = std::env::temp_dir().join(format!("ebbtide-nat-{}.pcapng", std::process::id()));
    let (mut world, home, host, server) = pair(Nat::linux());
    world.record_pcapng(std::fs::File::create(&path).unwrap()).unwrap();
    let to = world.addr(server);
    say(&mut world, host, 5000, to, 64);
    world.stop_recording().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for ip in [world.addr(host).ip(), world.nat_addr(home).unwrap()] {
        let IpAddr::V4(ip) = ip else { panic!("IPv4") };
        assert!(bytes.windows(4).any(|window| window == ip.octets()), "{ip}");
    }
}
