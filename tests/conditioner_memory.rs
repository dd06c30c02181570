//! What a bad link costs in memory: nothing per datagram once it runs, and never more than its capacity.
//!
//! Counts every allocation of the process, so there is one test in this file.

#![cfg(feature = "conditioner")]

use std::alloc::System;
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::link::{Conditioner, Direction, Discipline, Line, Link, Rate, Size};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Offers datagrams in both directions for so many milliseconds, and takes out what comes out.
fn run(line: &mut Conditioner<u32>, from: u64, millis: u64) {
    let datagram = [7; 9_000];
    for at in from..from + millis {
        let now = Instant::from_micros(at * 1_000);
        for direction in Direction::BOTH {
            for len in [0, 100, 1_400, 9_000] {
                line.offer(now, direction, 1, &datagram[..len]);
            }
            while line.peek(now, direction).is_some() {
                line.pop(direction);
            }
        }
    }
}

#[test]
fn datagrams_allocate_nothing_and_capacity_is_the_bound() {
    let codel = Link::perfect().rate(Rate::megabits(8)).queue(Size::kib(64)).discipline(Discipline::codel());
    let big = |link: Link| link.mtu(Size::bytes(65_535)).jitter(Duration::from_millis(3));
    let Line { there, back } = Line::terrible();
    for line in [Line { there: big(there), back: big(back) }, big(codel).into()] {
        let mut line = Conditioner::with_capacity(line, 1, Size::mib(1));
        // Tables that grow do so at their record, which comes early or late as chance has it.
        run(&mut line, 0, 60_000);
        let steady = Region::new(COUNTED);
        run(&mut line, 60_000, 20_000);
        let change = steady.change();
        let packets = line.stats(Direction::There).link.packets;
        assert_eq!(packets, 320_000);
        assert!(change.allocations + change.reallocations <= 2, "{change:?}");
    }

    let before = Region::new(COUNTED);
    let ages = Link::perfect().delay(Duration::from_secs(1_000_000)).mtu(Size::bytes(65_535));
    let mut line = Conditioner::with_capacity(ages, 1, Size::mib(1));
    run(&mut line, 0, 3_000);
    let change = before.change();
    let grown =
        change.bytes_allocated as isize + change.bytes_reallocated - change.bytes_deallocated as isize;
    println!("two full directions of 1 MiB each hold {grown} bytes");
    assert!(grown < (2 << 20) + (2 << 18), "{grown} bytes for two directions of 1 MiB");
    assert!(line.stats(Direction::There).no_room > 0);
}
