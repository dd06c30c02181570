//! Small messages on loopback: how many a second through one connection, what one costs, and how long an echo takes
//! beside kernel TCP.
//!
//! `cargo bench --bench messages`
//!
//! Kinds take turns, and medians are told. The allocator counts, which costs each allocation a little; beside other
//! libraries, `benches/rivals` runs the same.

#![expect(unreachable_pub, reason = "modules that benches/rivals has too")]

mod kernel;
mod measure;
mod ours;

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return; // not to be measured, only to be built
    }
    let kinds = [
        ("reliable, ordered", ours::ORDERED),
        ("reliable, unordered", ours::UNORDERED),
        ("unreliable", ours::UNRELIABLE),
    ];
    let mut ways = [const { Vec::new() }; 3];
    let mut allocations = [const { Vec::new() }; 3];
    let [mut ours, mut tcp, mut udp] = [const { Vec::<Duration>::new() }; 3];
    for _ in 0..measure::ROUNDS {
        for (index, (_, channel)) in kinds.iter().enumerate() {
            let region = Region::new(COUNTED);
            ways[index].push(ours::one_way(*channel));
            let each = region.change().allocations as f64 / (measure::WARM + measure::COUNT) as f64;
            allocations[index].push(each);
        }
        ours.extend(ours::echo());
        tcp.extend(kernel::tcp_echo());
        udp.extend(kernel::udp_echo());
    }
    for (index, (name, _)) in kinds.iter().enumerate() {
        measure::report(name, &ways[index]);
        let each = measure::median(allocations[index].iter().copied());
        println!("{:<34} {each:.2} allocations each, at both ends, with the one for the message", "");
    }
    let tcp = measure::report_echo("TCP, echo", &mut tcp);
    for (name, samples) in [("UDP, echo", &mut udp), ("ebbtide, echo", &mut ours)] {
        let ratio = measure::report_echo(name, samples) / tcp;
        println!("{:<34} p50 is {ratio:.2} times that of TCP", "");
    }
}
