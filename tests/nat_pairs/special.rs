//! What is not a pair of two boxes: one network, two boxes in a row, one box for both, ports in blocks or in steps.

use std::time::Duration;

use ebbtide::proto::punch::PathKind;
use ebbtide::sim::{Nat, NatKind, NatPorts};

use crate::matrix::run_all;
use crate::number;
use crate::scenario::{Home, Outcome, Setting};

/// Worlds for each of these in an ordinary run.
const SEEDS: u64 = 40;

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
