//! The bench of messages, beside other libraries for the same: `renet` and `rusty_enet`.
//!
//! `cargo run --release --manifest-path benches/rivals/Cargo.toml`
//!
//! One thread for each end, messages of 64 bytes, all kinds in turn. What each library was set to stands in its file.

#[path = "../../messages/kernel.rs"]
mod kernel;
#[path = "../../messages/measure.rs"]
mod measure;
#[path = "../../messages/ours.rs"]
mod ours;

mod enet;
mod games;
mod sockets;

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use measure::OneWay;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Way = (&'static str, fn() -> OneWay);
type Echo = (&'static str, fn() -> Vec<Duration>);

const WAYS: [Way; 8] = [
    ("ebbtide reliable, ordered", || ours::one_way(ours::ORDERED)),
    ("ebbtide reliable, unordered", || ours::one_way(ours::UNORDERED)),
    ("ebbtide unreliable", || ours::one_way(ours::UNRELIABLE)),
    ("renet reliable, ordered", || games::one_way(games::ORDERED)),
    ("renet reliable, unordered", || games::one_way(games::UNORDERED)),
    ("renet unreliable", || games::one_way(games::UNRELIABLE)),
    ("rusty_enet reliable, ordered", || enet::one_way(true)),
    ("rusty_enet unreliable", || enet::one_way(false)),
];

const ECHOES: [Echo; 5] = [
    ("TCP, echo", kernel::tcp_echo),
    ("UDP, echo", kernel::udp_echo),
    ("ebbtide, echo", ours::echo),
    ("renet, echo", games::echo),
    ("rusty_enet, echo", enet::echo),
];

fn main() {
    // Names of kinds to be run, and of no others.
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str()));
    let mut ways = WAYS.map(|way| (way, Vec::new(), Vec::new()));
    let mut echoes = ECHOES.map(|echo| (echo, Vec::new()));
    for _ in 0..measure::ROUNDS {
        for ((name, run), rounds, allocations) in ways.iter_mut().filter(|way| wanted(way.0.0)) {
            let region = Region::new(COUNTED);
            eprint!("{name} ... ");
            rounds.push(run());
            let sent = (measure::WARM + measure::COUNT) as f64;
            allocations.push(region.change().allocations as f64 / sent);
            eprintln!("{:.2} s", rounds.last().map_or(0.0, |round: &OneWay| round.time.as_secs_f64()));
        }
        for ((_, run), samples) in echoes.iter_mut().filter(|echo| wanted(echo.0.0)) {
            samples.extend(run());
        }
    }
    for ((name, _), rounds, allocations) in ways.iter().filter(|way| wanted(way.0.0)) {
        measure::report(name, rounds);
        let each = measure::median(allocations.iter().copied());
        println!("{:<34} {each:.2} allocations each, at both ends, with the one for the message", "");
    }
    let mut first = f64::NAN;
    for ((name, _), samples) in echoes.iter_mut().filter(|echo| wanted(echo.0.0)) {
        let median = measure::report_echo(name, samples);
        first = if first.is_nan() { median } else { first };
        println!("{:<34} p50 is {:.2} times the first", "", median / first);
    }
}
