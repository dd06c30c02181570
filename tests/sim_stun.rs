//! What servers see of hosts behind all kinds of boxes, and what follows from it, over networks that lose datagrams.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use ebbtide::Config;
use ebbtide::proto::endpoint::Surveying;
use ebbtide::proto::punch::NatReport;
use ebbtide::sim::{Home, HostId, Link, Nat, NatPorts, Place, Resident, Strike, World};
use ebbtide::wire::Mapping;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// One way to the backbone.
const DELAY: Duration = Duration::from_millis(10);

/// Answers whoever asks.
#[derive(Debug)]
struct Server;

impl Resident for Server {
    fn step(&mut self, home: &mut Home<'_>) {
        home.shared().serve_stun(true);
    }
}

/// Asks, once.
#[derive(Debug)]
struct Asker {
    servers: Vec<SocketAddr>,
    locals: Vec<SocketAddr>,
    surveying: Option<Surveying>,
    /// When it was known, and what.
    report: Option<(Duration, NatReport)>,
}

impl Resident for Asker {
    fn step(&mut self, home: &mut Home<'_>) {
        if self.report.is_some() {
            return;
        }
        let now = home.local_now();
        let Self { servers, locals, surveying, report } = self;
        let surveying = surveying.get_or_insert_with(|| home.shared().survey(now, servers));
        match surveying.poll(&mut home.context(), now, locals) {
            Poll::Ready(found) => *report = Some((home.now(), found)),
            Poll::Pending => {
                if let Some(at) = surveying.deadline() {
                    home.wake_at_local(at);
                }
            }
        }
    }
}

/// Two servers, the first with a second port, and what somebody in that place finds out.
fn find_out(seed: u64, link: Link, place: impl FnOnce(&mut World) -> Place) -> (Duration, NatReport) {
    let mut world = World::new(seed);
    let sites = [Place::internet().dual_stack().port(3478).second_port(3479), Place::internet().port(3478)];
    let servers: Vec<HostId> =
        sites.map(|site| world.host_at(site, Config::default(), Link::perfect())).into();
    servers.iter().for_each(|&server| world.reside(server, Server));
    let place = place(&mut world);
    let client = world.host_at(place, Config::default(), link);
    // The first of each family: its second port is the one above it.
    let [four, six] =
        [true, false].map(|four| world.addrs(servers[0]).find(|addr| addr.is_ipv4() == four).unwrap());
    let asked = vec![four, world.addr(servers[1]), six];
    let locals = world.addrs(client).collect();
    world.reside(client, Asker { servers: asked, locals, surveying: None, report: None });
    let known = |world: &World| world.resident::<Asker>(client).unwrap().report.is_some();
    world.run_until(known, Duration::from_secs(10)).unwrap();
    world.resident::<Asker>(client).unwrap().report.clone().unwrap()
}

fn behind(seed: u64, link: Link, nat: Nat) -> (Duration, NatReport) {
    find_out(seed, link, |world| {
        let nat = world.nat(nat, Link::perfect().delay(DELAY));
        Place::behind(nat)
    })
}

fn kinds() -> [(Nat, &'static str); 9] {
    [
        (Nat::firewall(), "none"),
        (Nat::full_cone(), "independent"),
        (Nat::address_restricted(), "independent"),
        (Nat::port_restricted(), "independent"),
        // It keeps the port, whomever its hosts talk to.
        (Nat::linux(), "independent"),
        (Nat::linux_open(), "independent"),
        (Nat::symmetric(), "dependent"),
        (Nat::symmetric().ports(NatPorts::Step(2)), "dependent"),
        (Nat::carrier(), "independent"),
    ]
}

const fn kind(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Unknown => "unknown",
        Mapping::None => "none",
        Mapping::EndpointIndependent => "independent",
        Mapping::EndpointDependent { .. } => "dependent",
    }
}

#[test]
fn every_kind_of_box_is_recognised_within_a_round_trip_and_some_patience() {
    for (nat, expected) in kinds() {
        let (after, report) = behind(1, Link::perfect(), nat);
        assert_eq!(kind(report.mapping), expected, "{nat:?}: {report:?}");
        assert!(after <= 2 * DELAY + MS(250), "{nat:?}: {after:?}");
        assert!(report.public_v4.is_some() && !report.blocked);
    }
}

#[test]
fn a_box_that_counts_is_told_by_its_step_and_one_with_blocks_by_their_size() {
    for step in [1, 2, -1, 7] {
        let (_, report) = behind(3, Link::perfect(), Nat::symmetric().ports(NatPorts::Step(step)));
        let Mapping::EndpointDependent { step: seen, block } = report.mapping else { panic!("{report:?}") };
        assert_eq!(seen, step);
        assert!(block <= 32);
    }
    for seed in 0..20 {
        let (_, report) = behind(seed, Link::perfect(), Nat::symmetric().block(Some(512)));
        let Mapping::EndpointDependent { block, .. } = report.mapping else { panic!("{report:?}") };
        assert!((1..=512).contains(&block), "{report:?}");
    }
}

#[test]
fn both_families_are_looked_at_and_no_udp_is_no_udp() {
    let (_, report) = find_out(1, Link::perfect(), |world| {
        let nat = world.nat(Nat::symmetric(), Link::perfect().delay(DELAY));
        Place::behind(nat).dual_stack()
    });
    assert_eq!((kind(report.mapping), report.mapping_v6), ("dependent", Mapping::None));
    assert!(report.public_v4.is_some() && report.public_v6.is_some());
    let (after, report) = behind(1, Link::perfect(), Nat::blocked());
    assert!(report.blocked && after <= MS(3000), "{after:?} {report:?}");
    let (_, report) = find_out(1, Link::perfect(), |_| Place::internet());
    assert_eq!(report.mapping, Mapping::None);
}

#[test]
fn loss_makes_reports_poorer_and_never_wrong() {
    let (mut known, mut all) = (0, 0);
    for seed in 0..40 {
        for (nat, expected) in kinds() {
            let (after, report) = behind(seed, Link::perfect().loss(Strike::random(0.2)), nat);
            let found = kind(report.mapping);
            assert!(found == expected || found == "unknown", "seed {seed}, {nat:?}: {report:?}");
            assert!(after <= MS(3000), "seed {seed}, {nat:?}: {after:?}");
            known += u32::from(found == expected);
            all += 1;
        }
    }
    println!("{known} of {all} reports complete with a fifth of the datagrams lost each way");
    assert!(known * 100 >= all * 99);
}
