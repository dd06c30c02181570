//! Many worlds on all cores: who runs which seed, what is counted, and what is said about those that failed.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ebbtide::sim::FaultCounts;

use crate::number;
use crate::run::{Outcome, run_seed};

/// Worlds in an ordinary run: each fault a thousand times, and a minute of one core.
const SEEDS: u64 = 20_000;

/// How often each kind of fault has to happen in so many worlds.
const EACH_FAULT: u64 = 1_000;

/// Every so many worlds are run twice, and have to go the same way.
const TWICE: u64 = 50;

/// After so many worlds that failed, no more are looked for.
const FAILURES_MAX: usize = 20;

/// What came of some worlds.
#[derive(Debug, Default)]
struct Tally {
    worlds: u64,
    events: u64,
    connections: u64,
    /// Ends of connections that should have come to a good end.
    graceful: u64,
    /// Those of them that could not know that all had arrived.
    unsure: u64,
    bytes: u64,
    virtual_time: Duration,
    /// The longest that it took until everything was over after the network had healed, and in which world.
    longest: (Duration, u64),
    faults: FaultCounts,
    failed: Vec<(u64, String)>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.worlds += 1;
        self.events += outcome.events;
        self.connections += outcome.connections;
        self.graceful += outcome.graceful;
        self.unsure += outcome.unsure;
        self.bytes += outcome.bytes;
        self.virtual_time += outcome.virtual_time;
        self.longest = self.longest.max((outcome.after_heal, seed));
        self.faults += outcome.faults;
    }

    fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.connections += other.connections;
        self.graceful += other.graceful;
        self.unsure += other.unsure;
        self.bytes += other.bytes;
        self.virtual_time += other.virtual_time;
        self.longest = self.longest.max(other.longest);
        self.faults += other.faults;
        self.failed.extend(other.failed);
    }

    fn print(&self, took: Duration, threads: usize) {
        let rate = self.worlds as f64 / took.as_secs_f64();
        let per_thread = rate / threads as f64;
        println!(
            "{} worlds in {:.1} s: {rate:.0} per second, {per_thread:.0} per thread",
            self.worlds,
            took.as_secs_f64()
        );
        println!(
            "{} connections, {} MB, {} events, {:.1} days of virtual time",
            self.connections,
            self.bytes / 1_000_000,
            self.events,
            self.virtual_time.as_secs_f64() / 86_400.0
        );
        println!(
            "{} graceful ends, {} of them unsure; the longest took {:.0} s after the network had healed (seed {})",
            self.graceful,
            self.unsure,
            self.longest.0.as_secs_f64(),
            self.longest.1
        );
        print!("{}", self.faults);
        println!("{} failed", self.failed.len());
    }
}

thread_local! {
    /// Where this thread panicked last.
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What went wrong with this seed, if something did. Says nothing.
pub(crate) fn outcome_of(seed: u64) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| run_seed(seed, 0))).map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
        let place = PANICKED_AT.with_borrow(Clone::clone);
        format!("{place}: {}", text.lines().next().unwrap_or_default())
    })
}

/// Runs `then` while panics are noted instead of printed: they are told with the seed later.
pub(crate) fn quietly<T>(then: impl FnOnce() -> T) -> T {
    let before = take_hook();
    set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        PANICKED_AT.with_borrow_mut(|at| *at = place);
    }));
    let result = then();
    set_hook(before);
    result
}

fn work(next: &AtomicU64, end: u64, failures: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || failures.load(Ordering::Relaxed) >= FAILURES_MAX as u64 {
            return tally;
        }
        let outcome = outcome_of(seed).and_then(|outcome| {
            let again = if seed.is_multiple_of(TWICE) { outcome_of(seed)?.hash } else { outcome.hash };
            (again == outcome.hash)
                .then_some(outcome)
                .ok_or_else(|| "went another way the second time".into())
        });
        match outcome {
            Ok(outcome) => tally.add(seed, &outcome),
            Err(what) => {
                failures.fetch_add(1, Ordering::Relaxed);
                tally.failed.push((seed, what));
            }
        }
    }
}

fn run(first: u64, seeds: u64, threads: usize) -> Tally {
    let (next, failures) = (AtomicU64::new(first), AtomicU64::new(0));
    let total = Mutex::new(Tally::default());
    quietly(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let tally = work(&next, first + seeds, &failures);
                    total.lock().unwrap_or_else(PoisonError::into_inner).merge(tally);
                });
            }
        });
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn random_worlds_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let outcome = run_seed(seed, 100_000);
        println!("{outcome:#?}");
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = number("THREADS").map_or(cores, |threads| threads as usize);
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let begin = Instant::now();
    let mut tally = run(number("FIRST_SEED").unwrap_or(0), seeds, threads);
    tally.print(begin.elapsed(), threads);
    tally.failed.sort();
    for (seed, what) in &tally.failed {
        println!("failed: SEED={seed} cargo test --test sim_swarm\n    {what}");
    }
    if let Some(&(seed, _)) = tally.failed.first() {
        // Once more, with everything there is to say.
        run_seed(seed, 60);
        panic!("seed {seed} failed, and then did not");
    }
    if seeds >= SEEDS {
        for (kind, times) in tally.faults.iter() {
            assert!(times >= EACH_FAULT, "{kind} happened {times} times only in {seeds} worlds");
        }
    }
    assert!(tally.unsure * 50 <= tally.graceful, "{} of {} were unsure", tally.unsure, tally.graceful);
}
