//! Worlds in which nothing is wrong but a few packets lost: there no connection may fail, and none may leave anything
//! behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{Link, Rate, Rng, Side, Size, Strike, Traffic, World};

use crate::number;
use crate::scenario::{MS, SECS};

/// Connections in an ordinary run.
const CONNECTIONS: u64 = 100_000;

/// Connections of one world, up to a few dozen of them at the same time.
const PER_WORLD: u64 = 200;

/// Runs one world. Returns how many connections it had; panics if one of them failed.
fn run(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut world = World::new(rng.next_u64());
    world.trace_mut().remember(0);
    let [alice, bob] = [(); 2].map(|()| world.host(Config::default()));
    let loss = Strike::random(0.02 * rng.below(101) as f64 / 100.0);
    let link = Link::perfect()
        .rate(Rate::megabits(*rng.pick(&[10, 100, 1000])))
        .queue(Size::mib(1))
        .delay(rng.duration(MS(1)..MS(100)))
        .loss(loss);
    world.join(alice, bob, link);
    let mut flows = Vec::new();
    for _ in 0..PER_WORLD {
        let (there, back) = (Size::bytes(rng.below(10_000)), Size::bytes(rng.below(10_000)));
        let traffic = match rng.below(3) {
            0 => Traffic::bulk(there),
            1 => Traffic::half_close(there, back),
            _ => Traffic::both_ways(there, back),
        };
        let [from, to] = if rng.chance(0.5) { [alice, bob] } else { [bob, alice] };
        flows.push(world.start(from, to, &traffic));
        world.run_for(rng.duration(Duration::ZERO..MS(40)));
    }
    world.finish_within(SECS(300));
    world.settle(SECS(301)).unwrap();
    for flow in flows {
        let ends = Side::BOTH.map(|side| world.report(flow, side));
        let good = ends.iter().all(|end| end.eof && end.acked && end.closed.is_none());
        let whole = ends[0].received == ends[1].sent && ends[1].received == ends[0].sent;
        assert!(good && whole, "seed {seed}, {flow}: {ends:?}");
    }
    PER_WORLD
}

#[test]
fn no_connection_fails_and_none_leaks_at_up_to_two_percent_of_loss() {
    let wanted = number("CONNECTIONS").unwrap_or(CONNECTIONS);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..number("THREADS").map_or(cores, |threads| threads as usize) {
            scope.spawn(|| {
                while next.load(Ordering::Relaxed) * PER_WORLD < wanted {
                    let connections = run(next.fetch_add(1, Ordering::Relaxed));
                    done.fetch_add(connections, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} connections, 0 failed, 0 left over", done.load(Ordering::Relaxed));
}
