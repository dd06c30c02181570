//! All pairs of seven kinds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::lab::{Outcome, alone, is_possible, meet, rounds};

const KINDS: [&str; 7] = ["fw", "full", "addr", "port", "linux", "linuxopen", "sym"];

/// Pairs that run side by side.
const AT_ONCE: usize = 2;

type Meetings = Vec<[Outcome; 2]>;

fn every_pair() -> BTreeMap<(usize, usize), Meetings> {
    let pairs: Vec<_> = (0..KINDS.len()).flat_map(|a| (a..KINDS.len()).map(move |b| (a, b))).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&(a, b)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let meetings = meet([KINDS[a], KINDS[b]], rounds(), &[], &[]);
                    found.lock().unwrap().insert((a, b), meetings);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// The slower end of each meeting that came about, in milliseconds, sorted.
fn times(meetings: &Meetings) -> Vec<f64> {
    let met = meetings.iter().filter(|ends| ends.iter().all(|end| end.connected));
    let mut times: Vec<f64> = met.map(|ends| ends[0].connect_ms.max(ends[1].connect_ms)).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn table(found: &BTreeMap<(usize, usize), Meetings>) -> String {
    let mut out = format!("median ms to a stream, {} meeting(s) a pair\n{:10}", rounds(), "");
    KINDS.iter().for_each(|kind| write!(out, "{kind:>10}").unwrap());
    for a in 0..KINDS.len() {
        write!(out, "\n{:10}", KINDS[a]).unwrap();
        for b in 0..KINDS.len() {
            let meetings = &found[&(a.min(b), a.max(b))];
            let times = times(meetings);
            match times.get(times.len() / 2) {
                Some(median) if times.len() == meetings.len() => write!(out, "{median:>10.0}"),
                Some(median) => {
                    write!(out, "{:>10}", format!("{median:.0} {}/{}", times.len(), meetings.len()))
                }
                None => write!(out, "{:>10}", "none"),
            }
            .unwrap();
        }
    }
    out
}

#[test]
fn every_pair_of_nats_meets_but_two_symmetric_ones_and_those_are_told_why() {
    let _turn = alone();
    if !is_possible() {
        return;
    }
    let found = every_pair();
    eprintln!("{}", table(&found));
    let symmetric = KINDS.len() - 1;
    let mut failures = Vec::new();
    for (&(a, b), meetings) in &found {
        for ends in meetings {
            let hopeless = (a, b) == (symmetric, symmetric);
            let right = ends.iter().all(|end| match (hopeless, &end.error) {
                (false, error) => end.connected && error.is_none(),
                (true, Some(error)) => error.contains("symmetric") && end.connect_ms <= 3_500.0,
                (true, None) => false,
            });
            if !right {
                failures.push(format!("{} x {}: {ends:#?}", KINDS[a], KINDS[b]));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn where_udp_is_blocked_both_ends_are_told_within_five_seconds() {
    let _turn = alone();
    if !is_possible() {
        return;
    }
    for ends in meet(["blocked", "port"], 1, &["--timeout", "20"], &[("PATIENCE", "30")]) {
        let error = ends[0].error.as_deref().unwrap_or("");
        eprintln!("behind a wall: {error}");
        assert!(!ends[0].connected && error.to_lowercase().contains("udp"), "{ends:#?}");
    }
}

#[test]
fn behind_two_boxes_on_one_side_it_works_as_well() {
    let _turn = alone();
    if !is_possible() {
        return;
    }
    for ends in meet(["double", "port"], rounds(), &[], &[]) {
        assert!(ends.iter().all(|end| end.connected), "{ends:#?}");
    }
}

#[test]
fn over_ipv6_there_is_a_way_where_both_nats_are_symmetric() {
    let _turn = alone();
    if !is_possible() {
        return;
    }
    let environment = [("IPV6", "1"), ("SERVER", "[2001:db8:c::10]:7171")];
    for ends in meet(["sym", "sym"], rounds(), &[], &environment) {
        assert!(ends.iter().all(|end| end.connected), "{ends:#?}");
        assert!(ends.iter().all(|end| end.path.as_deref().is_some_and(|path| path.contains("IPv6"))));
    }
}
