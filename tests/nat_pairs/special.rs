//! What is not a pair of two boxes: one network, two boxes in a row, one box for both, ports in blocks or in steps,
//! IPv6, and what becomes of a way that was found.

use std::time::Duration;

use ebbtide::proto::punch::PathKind;
use ebbtide::sim::{Nat, NatKind, NatPorts, NatTimeouts, NatV6, Pace, Place, Side, Size, Traffic};

use crate::matrix::run_all;
use crate::number;
use crate::scenario::{Home, Meeting, Outcome, Setting};

/// Worlds for each of these in an ordinary run.
const SEEDS: u64 = 100;

/// Meets with each seed, and expects it to work.
fn meet_all(name: &str, setting: impl Fn(u64) -> Setting + Sync) -> Vec<Outcome> {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let mut tallies = run_all(&[()], seeds, |(), seed| crate::matrix::run(setting(seed)));
    let tally = tallies.remove(0);
    if let Some((seed, why)) = tally.broken.first() {
        panic!("{name}, seed {seed}: {why}");
    }
    let outcomes = tally.outcomes.into_iter().map(|(seed, outcome)| {
        assert!(outcome.is_ok(), "{name}: {:?}\n{}", outcome.results, setting(seed));
        outcome
    });
    let outcomes: Vec<_> = outcomes.collect();
    println!(
        "{name}: {} worlds, median {:?}, longest {:?}",
        outcomes.len(),
        took(&outcomes, 2),
        took(&outcomes, 1)
    );
    outcomes
}

/// The time that half of all took at most, or all.
fn took(outcomes: &[Outcome], part: usize) -> Duration {
    let mut all: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    all.sort_unstable();
    all[all.len().div_ceil(part) - 1]
}

fn all_went_by(outcomes: &[Outcome], path: PathKind) {
    for outcome in outcomes {
        assert!(outcome.results.iter().all(|result| *result == Ok(path)), "{:?}", outcome.results);
    }
}

#[test]
fn two_hosts_of_one_network_meet_within_it() {
    for kind in NatKind::ALL.into_iter().filter(|&kind| kind != NatKind::Firewall) {
        let outcomes = meet_all(&format!("one network, {kind}"), |seed| {
            Setting::draw(seed, &[Home::from(kind.nat())], 0.02)
        });
        all_went_by(&outcomes, PathKind::Lan);
    }
}

#[test]
fn two_homes_behind_one_box_meet_by_its_hairpin() {
    let carrier = Nat::carrier().hairpin(true);
    for [one, two] in [[NatKind::Linux, NatKind::PortRestricted], [NatKind::LinuxOpen, NatKind::FullCone]] {
        meet_all(&format!("hairpin, {one} x {two}"), |seed| {
            let homes = [one, two].map(|kind| Home::from(kind.nat()));
            Setting { shared: Some(carrier), ..Setting::draw(seed, &homes, 0.02) }
        });
    }
}

#[test]
fn two_boxes_in_a_row_on_both_sides_are_no_obstacle() {
    for [one, two] in [
        [NatKind::Linux, NatKind::Linux],
        [NatKind::LinuxOpen, NatKind::LinuxOpen],
        [NatKind::PortRestricted, NatKind::FullCone],
    ] {
        meet_all(&format!("behind carriers, {one} x {two}"), |seed| {
            let homes = [one, two].map(|kind| Home { outer: Some(Nat::carrier()), ..Home::from(kind.nat()) });
            Setting::draw(seed, &homes, 0.02)
        });
    }
}

#[test]
fn ports_of_a_small_block_or_in_steps_are_found_sooner() {
    let hard = [
        ("block of 1,024 ports", Nat::symmetric().block(Some(1024)), Duration::from_millis(2500)),
        ("steps of one", Nat::symmetric().ports(NatPorts::Step(1)), Duration::from_millis(2500)),
        ("steps of two", Nat::symmetric().ports(NatPorts::Step(2)), Duration::from_millis(2500)),
    ];
    for (name, nat, limit) in hard {
        let outcomes = meet_all(name, |seed| {
            Setting::draw(seed, &[Home::from(nat), Home::from(Nat::port_restricted())], 0.02)
        });
        assert!(took(&outcomes, 2) <= limit, "{name}: {:?}", took(&outcomes, 2));
    }
}

#[test]
fn ipv6_is_punched_like_a_firewall_and_needs_no_server() {
    let homes = [NatKind::PortRestricted, NatKind::Symmetric]
        .map(|kind| Home { place: Place::only_v6, ..Home::from(kind.nat()) });
    let outcomes = meet_all("IPv6 only", |seed| Setting::draw(seed, &homes, 0.02));
    all_went_by(&outcomes, PathKind::Ipv6);
    // Two symmetric NATs do not matter to those who have IPv6.
    let homes = [(); 2].map(|()| Home { place: Place::dual_stack, ..Home::from(Nat::symmetric()) });
    let outcomes = meet_all("symmetric, with IPv6", |seed| Setting::draw(seed, &homes, 0.02));
    all_went_by(&outcomes, PathKind::Ipv6);
}

#[test]
fn ipv6_that_is_broken_does_not_keep_two_from_meeting_by_ipv4() {
    for broken in [[true, true], [true, false], [false, true]] {
        let homes = broken.map(|broken| {
            let nat = Nat::port_restricted();
            let nat = if broken { nat.v6(NatV6::Broken) } else { nat };
            Home { place: Place::dual_stack, ..Home::from(nat) }
        });
        let outcomes = meet_all(&format!("IPv6 broken {broken:?}"), |seed| Setting::draw(seed, &homes, 0.02));
        all_went_by(&outcomes, PathKind::Ipv4);
    }
}

#[test]
fn a_way_that_was_found_survives_ten_idle_minutes_behind_boxes_that_forget_after_thirty_seconds() {
    let pairs = [
        [NatKind::PortRestricted, NatKind::Linux],
        [NatKind::LinuxOpen, NatKind::LinuxOpen],
        [NatKind::Symmetric, NatKind::FullCone],
        [NatKind::Symmetric, NatKind::PortRestricted],
    ];
    let timeouts = NatTimeouts::plain(Duration::from_secs(30));
    let idle = Pace::new(4096, Duration::from_secs(600));
    let quiet = Traffic::both_ways(Size::kib(8), Size::kib(8)).initiator_writes(idle).acceptor_writes(idle);
    for kinds in pairs {
        for seed in 0..3 {
            let homes = kinds.map(|kind| Home::from(kind.nat().timeouts(timeouts)));
            let mut setting = Setting::draw(seed, &homes, 0.02);
            setting.traffic = quiet;
            let mut meeting = Meeting::prepare(setting.clone());
            let (outcome, flow) = meeting.meet();
            assert!(outcome.is_ok(), "{:?}\n{setting}", outcome.results);
            let began = meeting.world.now();
            let done = meeting.world.run_until(|world| world.is_done(flow), Duration::from_secs(900));
            let ended = done.unwrap_or_else(|stuck| panic!("{setting}\n{stuck}"));
            assert!(ended - began >= Duration::from_secs(600));
            for side in Side::BOTH {
                let report = meeting.world.report(flow, side);
                assert_eq!((report.received, report.closed), (8 << 10, None), "{side}\n{setting}");
            }
        }
    }
}
