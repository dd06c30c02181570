//! The same pairs with everything as it is outside: a rendezvous server somewhere, two who know its address and the name
//! of a room, and nobody who helps them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ebbtide::Config;
use ebbtide::proto::punch::{PathKind, PunchError, PunchReport};
use ebbtide::proto::rendezvous::server::ServerConfig;
use ebbtide::proto::rendezvous::{AgentConfig, ServerAddr};
use ebbtide::sim::{
    HostId, Link, Nat, NatKind, NatV6, Place, RendezvousClient, RendezvousServer, Side, World,
};
use ebbtide::wire::rendezvous::RoomId;

use crate::matrix::{Pair, Tally, print, run_all};
use crate::number;
use crate::scenario::{Home, Outcome, Setting, ms};

/// Worlds for each pair in an ordinary run.
const SEEDS: u64 = 100;

type Told = Option<Result<PunchReport, PunchError>>;

fn told(world: &World, host: HostId) -> Told {
    world.resident::<RendezvousClient>(host).unwrap().outcome().cloned()
}

/// Two who meet in a room: how long the punch took, and how it went.
fn meet(setting: &Setting) -> Outcome {
    let mut world = World::new(setting.seed);
    let place = Place::internet().dual_stack().port(7171).second_port(7172);
    let server = world.host_at(place, Config::default(), setting.line(setting.server_delay));
    world.reside(server, RendezvousServer::new(ServerConfig::default()));
    let servers: Vec<_> = world.addrs(server).filter(|addr| addr.port() == 7171).collect();
    let (_, spots) = setting.build(&mut world);
    let peers = spots.map(|spot| world.host_at(spot, Config::default(), Link::perfect()));
    let flow = world.flow(peers[0], peers[1]);
    let mut begin = Duration::ZERO;
    for (number, (host, side)) in (1u8..).zip(peers.into_iter().zip(Side::BOTH)) {
        let hosts = world.addrs(host).collect();
        let server = ServerAddr::new("rendezvous", servers.clone());
        let config = AgentConfig { hosts, ..AgentConfig::new(vec![server], RoomId::from_name("lagoon")) };
        let seed = world.rng().bytes().map(|byte| byte ^ number);
        world.reside(host, RendezvousClient::new(config, side, flow, &setting.traffic, seed));
        if side == Side::Initiator {
            world.run_for(setting.skew);
            begin = world.now();
        }
    }
    let over = |world: &World| peers.iter().all(|&host| told(world, host).is_some());
    let waited = world.run_until(over, Duration::from_secs(60));
    // Who hears that it is to begin only when the other has given up waits for somebody else.
    let gave_up = |host: &HostId| matches!(told(&world, *host), Some(Err(_)));
    if let Err(stuck) = waited {
        assert!(peers.iter().any(gave_up), "{stuck}");
    }
    let alone = || Err(PunchError::PeerNotFound(Box::default()));
    let ends = peers.map(|host| told(&world, host).unwrap_or_else(alone));
    let met_at = |host: HostId| world.resident::<RendezvousClient>(host).unwrap().met_at();
    let at = peers.map(|host| met_at(host).unwrap_or_else(|| world.now()));
    let open = ends.iter().all(Result::is_ok);
    let end = if open { at.into_iter().min() } else { at.into_iter().max() };
    let reports = || ends.iter().map(|end| end.as_ref().unwrap_or_else(|error| error.report()));
    if open {
        let done = world.run_until(|world| world.is_done(flow), Duration::from_secs(120));
        done.unwrap_or_else(|stuck| panic!("connected, and then {stuck}"));
        for (side, received) in [(Side::Initiator, 5 << 10), (Side::Acceptor, 3 << 10)] {
            let report = world.report(flow, side);
            assert_eq!((report.received, report.wrong_at), (received, None), "{side}");
        }
    }
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
    let punch = reports().map(|report| report.elapsed).min().unwrap();
    Outcome {
        took: end.unwrap().saturating_sub(begin),
        attempts: reports().map(|report| report.attempts).max().unwrap(),
        probes: reports().map(|report| report.probes_sent).sum(),
        excess: micros(punch) - micros(setting.goal()),
        results: ends.map(|end| end.map(|report| report.path.unwrap())),
    }
}

fn attempt(setting: Setting) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| meet(&setting))).map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// What went wrong, in few lines.
fn failures(tally: &Tally, is_right: impl Fn(&Outcome) -> bool) -> Vec<String> {
    let broken = tally.broken.iter().map(|(seed, why)| {
        let beginning: Vec<_> = why.lines().take(3).collect();
        format!("SEED={seed}: {}", beginning.join("\n"))
    });
    let wrong = tally.outcomes.iter().filter(|(_, outcome)| !is_right(outcome));
    broken.chain(wrong.map(|(seed, outcome)| format!("SEED={seed}: {outcome:?}"))).collect()
}

#[test]
fn every_pair_meets_in_a_room_but_two_symmetric_ones_which_are_told_so() {
    let pairs = Pair::chosen();
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let tallies = run_all(&pairs, seeds, |pair, seed| attempt(pair.setting(seed, 0.02)));
    print(&pairs, &tallies);
    // In one world of thousands every SYN to the server gets lost, which is not about NATs.
    let unreached = |outcome: &Outcome| {
        outcome.results.iter().any(|end| matches!(end, Err(PunchError::Rendezvous { .. })))
    };
    let count = |tally: &Tally| tally.outcomes.iter().filter(|(_, outcome)| unreached(outcome)).count();
    let worlds: usize = tallies.iter().map(Tally::worlds).sum();
    assert!(tallies.iter().map(count).sum::<usize>() <= worlds.div_ceil(1000));
    for (pair, tally) in pairs.iter().zip(&tallies) {
        let hopeless = |outcome: &Outcome| {
            let named = |end: &Result<_, PunchError>| matches!(end, Err(PunchError::BothSymmetric(_)));
            let alone = |end: &Result<_, PunchError>| matches!(end, Err(PunchError::PeerNotFound(_)));
            outcome.results.iter().any(named) && outcome.results.iter().all(|end| named(end) || alone(end))
        };
        let wrong = match pair.is_hopeless() {
            true => failures(tally, |outcome| hopeless(outcome) || unreached(outcome)),
            false => failures(tally, |outcome| outcome.is_ok() || unreached(outcome)),
        };
        // Where what the server says gets lost three times in a row, one side goes ahead without the other, and whoever
        // is behind a box that takes what comes too early is moved by that.
        let share = if pair.is_search() { 100 } else { 1000 };
        let may_miss = tally.worlds() / share;
        assert!(wrong.len() <= may_miss, "{}: {}", pair.name(), wrong.join("\n"));
    }
}

#[test]
fn whoever_reaches_no_server_is_told_so_in_five_seconds() {
    for kind in NatKind::ALL {
        for seed in 0..3 {
            let homes = [Home::from(Nat::blocked()), Home::from(kind.nat())];
            let setting = Setting::draw(seed, &homes, 0.02);
            let mut world = World::new(seed);
            let place = Place::internet().port(7171).second_port(7172);
            let server = world.host_at(place, Config::default(), setting.line(setting.server_delay));
            world.reside(server, RendezvousServer::new(ServerConfig::default()));
            let servers = vec![ServerAddr::from(world.addr(server))];
            let (_, spots) = setting.build(&mut world);
            let host = world.host_at(spots[0], Config::default(), Link::perfect());
            let flow = world.flow(host, server);
            let hosts = world.addrs(host).collect();
            let config = AgentConfig { hosts, ..AgentConfig::new(servers, RoomId::from_name("lagoon")) };
            let client = RendezvousClient::new(config, Side::Initiator, flow, &setting.traffic, [7; 32]);
            world.reside(host, client);
            let over = |world: &World| told(world, host).is_some();
            let took = world.run_until(over, Duration::from_secs(60)).unwrap();
            let end = told(&world, host).unwrap();
            assert!(matches!(end, Err(PunchError::UdpBlocked(_))), "{kind}: {end:?}");
            assert!(took <= Duration::from_secs(5), "{kind}: {took:?}");
        }
    }
}

/// What it is called, where the two are, what their site is behind, and the way that they find.
type Case = (&'static str, Vec<Home>, Option<Nat>, Option<PathKind>);

#[test]
fn what_is_not_a_pair_of_two_boxes_meets_in_a_room_too() {
    let home = |kind: NatKind| Home::from(kind.nat());
    let six = |place: fn(Place) -> Place, v6| Home { place, ..Home::from(Nat::symmetric().v6(v6)) };
    let (works, broken) = (NatV6::Firewall(ebbtide::sim::NatFilter::AddressAndPortDependent), NatV6::Broken);
    let carrier = |kind: NatKind| Home { outer: Some(Nat::carrier()), ..home(kind) };
    let easy = Home { place: Place::dual_stack, ..Home::from(Nat::port_restricted().v6(broken)) };
    let hairpin = Some(Nat::carrier().hairpin(true));
    let cases: [Case; 7] = [
        ("one network", vec![home(NatKind::Linux)], None, Some(PathKind::Lan)),
        ("one network, symmetric", vec![home(NatKind::Symmetric)], None, Some(PathKind::Lan)),
        ("hairpin", vec![home(NatKind::Linux), home(NatKind::PortRestricted)], hairpin, None),
        ("carriers", vec![carrier(NatKind::LinuxOpen), carrier(NatKind::Linux)], None, None),
        ("IPv6 only", vec![six(Place::only_v6, works); 2], None, Some(PathKind::Ipv6)),
        ("symmetric, with IPv6", vec![six(Place::dual_stack, works); 2], None, Some(PathKind::Ipv6)),
        ("IPv6 broken", vec![easy; 2], None, Some(PathKind::Ipv4)),
    ];
    for (name, homes, shared, path) in cases {
        let setting = |seed| Setting { shared, ..Setting::draw(seed, &homes, 0.02) };
        let seeds = number("SEEDS").unwrap_or(SEEDS);
        let tally = run_all(&[()], seeds, |(), seed| attempt(setting(seed))).remove(0);
        let right = |outcome: &Outcome| match path {
            Some(path) => outcome.results.iter().all(|end| *end == Ok(path)),
            None => outcome.is_ok(),
        };
        let wrong = failures(&tally, right);
        println!("{name}: {} worlds, median {:?}", tally.worlds(), tally.took(500));
        // The stream that shows the server the second address is not waited for when its packets get lost. Who has one
        // address that is good for something notices.
        let may_miss = if name == "symmetric, with IPv6" { tally.worlds().div_ceil(10) } else { 0 };
        assert!(wrong.len() <= may_miss, "{name}: {}", wrong.join("\n"));
        assert!(tally.took(500) < ms(2_000), "{name}: {:?}", tally.took(500));
    }
}
