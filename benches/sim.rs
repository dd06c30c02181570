//! What a simulation costs: two megabytes over a path with one percent of loss and 40 ms of round trip, endpoints,
//! programs, links and all.
//!
//! `cargo bench --bench sim`

#![expect(clippy::unwrap_used, reason = "a bench that unwraps nothing has failed")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ebbtide::Config;
use ebbtide::sim::{Link, Rate, Side, Size, Strike, Traffic, World};

const BYTES: u64 = 2_000_000;

/// Returns the events that it took.
fn transfer(seed: u64, link: Link, bytes: u64) -> u64 {
    let mut world = World::new(seed);
    let (alice, bob) = (world.host(Config::default()), world.host(Config::default()));
    world.join(alice, bob, link.delay(Duration::from_millis(20)));
    let flow = world.start(alice, bob, &Traffic::bulk(Size::bytes(bytes)));
    world.run_until(|world| world.is_done(flow), Duration::from_secs(600)).unwrap();
    let report = world.report(flow, Side::Acceptor);
    assert_eq!((report.received, report.wrong_at, report.eof), (bytes, None, true));
    assert!(world.report(flow, Side::Initiator).acked);
    world.events()
}

fn sim(criterion: &mut Criterion) {
    let clean = Link::perfect().rate(Rate::megabits(100)).queue(Size::mib(2));
    let lossy = clean.loss(Strike::random(0.01));

    let mut group = criterion.benchmark_group("2 MB, 40 ms");
    group.throughput(Throughput::Bytes(BYTES));
    let mut seed = 0;
    for (name, link) in [("clean", clean), ("1 % lost", lossy)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                seed += 1;
                transfer(seed, link, BYTES)
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("events");
    let bytes = 20_000_000;
    group.sample_size(20).throughput(Throughput::Elements(transfer(1, lossy, bytes)));
    group.bench_function("20 MB, 40 ms, 1 % lost", |bencher| bencher.iter(|| transfer(1, lossy, bytes)));
    group.finish();
}

criterion_group!(benches, sim);
criterion_main!(benches);
