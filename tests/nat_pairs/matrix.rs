//! All pairs of kinds, many seeds each, on all cores; and a table of how it went.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ebbtide::proto::punch::PunchError;
use ebbtide::sim::{NatKind, splitmix64};

use crate::number;
use crate::scenario::{Home, Meeting, Outcome, Setting};

/// Worlds for each pair in an ordinary run.
const SEEDS: u64 = 500;

/// Two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair(pub(crate) NatKind, pub(crate) NatKind);

impl Pair {
    pub(crate) fn all() -> Vec<Self> {
        let kinds = NatKind::ALL;
        let pairs = (0..kinds.len()).flat_map(|one| (one..kinds.len()).map(move |two| (one, two)));
        pairs.map(|(one, two)| Self(kinds[one], kinds[two])).collect()
    }

    /// All, or the one that is asked for.
    pub(crate) fn chosen() -> Vec<Self> {
        let mut pairs = Self::all();
        if let Ok(chosen) = env::var("PAIR") {
            pairs.retain(|pair| pair.name() == chosen);
            assert!(!pairs.is_empty(), "there is no pair {chosen}");
        }
        pairs
    }

    pub(crate) fn name(self) -> String {
        format!("{},{}", self.0, self.1)
    }

    /// The world of this seed: another one for each pair. Who is who is up to the seed as well.
    pub(crate) fn setting(self, seed: u64, loss: f64) -> Setting {
        let mut mixed = seed << 8 | (self.0 as u64) << 4 | self.1 as u64;
        let kinds = if seed.is_multiple_of(2) { [self.0, self.1] } else { [self.1, self.0] };
        Setting::draw(splitmix64(&mut mixed), &kinds.map(|kind| Home::from(kind.nat())), loss)
    }

    /// Whether a port has to be searched for.
    pub(crate) fn is_search(self) -> bool {
        use NatKind::{AddressRestricted, FullCone, Symmetric};
        let open = |kind| matches!(kind, FullCone | AddressRestricted);
        (self.0 == Symmetric) != (self.1 == Symmetric) && !open(self.0) && !open(self.1)
    }

    pub(crate) fn is_hopeless(self) -> bool {
        self == Self(NatKind::Symmetric, NatKind::Symmetric)
    }
}

/// One attempt of this pair, with this seed.
pub(crate) fn attempt(pair: Pair, seed: u64, loss: f64) -> Result<Outcome, String> {
    run(pair.setting(seed, loss))
}

/// One attempt. A panic is an error too.
pub(crate) fn run(setting: Setting) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| {
        let mut meeting = Meeting::prepare(setting);
        let (outcome, flow) = meeting.meet();
        if outcome.is_ok() {
            meeting.finish(flow);
        }
        outcome
    }))
    .map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// What came of all seeds of a pair.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) outcomes: Vec<(u64, Outcome)>,
    pub(crate) broken: Vec<(u64, String)>,
}

impl Tally {
    pub(crate) fn worlds(&self) -> usize {
        self.outcomes.len() + self.broken.len()
    }

    pub(crate) fn successes(&self) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count()
    }

    /// The share of all worlds in which this is so.
    fn share(&self, of: impl Fn(&Outcome) -> bool) -> f64 {
        let count = self.outcomes.iter().filter(|(_, outcome)| of(outcome)).count();
        count as f64 / self.worlds().max(1) as f64
    }

    /// That part of all is no larger; parts of a thousand.
    fn quantile(&self, permille: usize, of: impl Fn(&Outcome) -> i64) -> i64 {
        let mut all: Vec<i64> = self.outcomes.iter().map(|(_, outcome)| of(outcome)).collect();
        all.sort_unstable();
        let place = (all.len() * permille).div_ceil(1000).saturating_sub(1);
        all.get(place).copied().unwrap_or(0)
    }

    pub(crate) fn took(&self, permille: usize) -> Duration {
        let micros = self.quantile(permille, |outcome| outcome.took.as_micros() as i64);
        Duration::from_micros(micros.unsigned_abs())
    }
}

/// Runs this many seeds for each, on all cores.
pub(crate) fn run_all<T: Copy + Sync>(
    cases: &[T],
    seeds: u64,
    attempt: impl Fn(T, u64) -> Result<Outcome, String> + Sync,
) -> Vec<Tally> {
    let tallies: Vec<Mutex<Tally>> = cases.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("THREADS").map_or(cores, |threads| threads as usize);
    let chosen = number("SEED");
    let seeds = if chosen.is_some() { 1 } else { seeds };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let (case, number) = (turn % cases.len(), turn / cases.len());
                    if number as u64 >= seeds {
                        return;
                    }
                    let seed = chosen.unwrap_or(number as u64);
                    let result = attempt(cases[case], seed);
                    let mut tally = tallies[case].lock().unwrap();
                    match result {
                        Ok(outcome) => tally.outcomes.push((seed, outcome)),
                        Err(why) => tally.broken.push((seed, why)),
                    }
                }
            });
        }
    });
    tallies.into_iter().map(|tally| tally.into_inner().unwrap()).collect()
}

/// What is wrong with the results of a pair: lines to print.
fn complaints(pair: Pair, tally: &Tally) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = pair.name();
    let replay =
        |seed: u64| format!("SEED={seed} PAIR=\"{name}\" cargo test --test nat_pairs matrix -- --nocapture");
    for (seed, why) in tally.broken.iter().take(3) {
        let beginning: Vec<_> = why.lines().take(3).collect();
        complaints.push(format!("{name}: {}\n    {}", beginning.join("\n"), replay(*seed)));
    }
    let wrong = |outcome: &Outcome| match pair.is_hopeless() {
        true => {
            let named = |result: &Result<_, PunchError>| matches!(result, Err(PunchError::BothSymmetric(_)));
            !outcome.results.iter().all(named) || outcome.took > Duration::from_secs(3)
        }
        false => !outcome.is_ok(),
    };
    // A search may miss.
    let may_miss = if pair.is_search() { 0.01 } else { 0.0 };
    if tally.share(wrong) > may_miss {
        for (seed, outcome) in tally.outcomes.iter().filter(|(_, outcome)| wrong(outcome)).take(3) {
            let results = outcome.results.each_ref().map(|result| match result {
                Ok(path) => path.to_string(),
                Err(error) => error.to_string(),
            });
            complaints.push(format!("{name}: {results:?} after {:?}\n    {}", outcome.took, replay(*seed)));
        }
    }
    let mut expect = |what: &str, holds: bool| {
        if !holds {
            complaints.push(format!("{name}: {what}"));
        }
    };
    if pair.is_hopeless() {
        return complaints;
    }
    if pair.is_search() {
        expect("half of all within 3 s", tally.took(500) <= Duration::from_secs(3));
        let in_time = |outcome: &Outcome| outcome.is_ok() && outcome.took <= Duration::from_secs(12);
        expect("99 % within 12 s", tally.share(in_time) >= 0.99);
    } else {
        expect("half of all within the goal", tally.quantile(500, |outcome| outcome.excess) <= 0);
        expect("99 % within a second", tally.took(990) <= Duration::from_secs(1));
        expect("99.5 % at the first attempt", tally.share(|outcome| outcome.attempts <= 1) >= 0.995);
    }
    complaints
}

pub(crate) fn print(pairs: &[Pair], tallies: &[Tally]) {
    println!(
        "{:38} {:>6} {:>7} {:>9} {:>9} {:>9} {:>12} {:>7}",
        "pair", "worlds", "success", "median", "p99", "max", "over goal", "probes"
    );
    for (pair, tally) in pairs.iter().zip(tallies) {
        println!(
            "{:18} x {:17} {:>6} {:>6.1}% {:>6} ms {:>6} ms {:>6} ms {:>9.1} ms {:>7}",
            pair.0,
            pair.1,
            tally.worlds(),
            100.0 * tally.successes() as f64 / tally.worlds() as f64,
            tally.took(500).as_millis(),
            tally.took(990).as_millis(),
            tally.took(1000).as_millis(),
            tally.quantile(500, |outcome| outcome.excess) as f64 / 1000.0,
            tally.quantile(500, |outcome| outcome.probes.into()),
        );
    }
}

#[test]
fn every_pair_of_boxes_meets_but_two_symmetric_ones_which_are_told_so() {
    let pairs = Pair::chosen();
    if let (Some(seed), [pair]) = (number("SEED"), &pairs[..]) {
        return replay(*pair, seed);
    }
    let began = Instant::now();
    let tallies = run_all(&pairs, number("SEEDS").unwrap_or(SEEDS), |pair, seed| attempt(pair, seed, 0.02));
    print(&pairs, &tallies);
    let worlds: usize = tallies.iter().map(Tally::worlds).sum();
    println!("{worlds} worlds in {:.1} s", began.elapsed().as_secs_f64());
    let wrong: Vec<String> =
        pairs.iter().zip(&tallies).flat_map(|(pair, tally)| complaints(*pair, tally)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// That world alone, and all that happened in it.
fn replay(pair: Pair, seed: u64) {
    let setting = pair.setting(seed, number("LOSS").map_or(0.02, |percent| percent as f64 / 100.0));
    println!("{setting}");
    let mut meeting = Meeting::prepare(setting);
    meeting.world.trace_mut().remember(100_000);
    let (outcome, flow) = meeting.meet();
    println!("{}", meeting.world.trace());
    for nat in &meeting.boxes {
        println!("{:?}", meeting.world.nat_stats(*nat));
    }
    println!("{outcome:?}");
    if outcome.is_ok() {
        meeting.finish(flow);
    }
}

#[test]
fn the_machine_alone_does_the_same_without_an_endpoint() {
    let pairs = Pair::all();
    let seeds = number("SEEDS").unwrap_or(SEEDS) / 5;
    let tallies =
        run_all(&pairs, seeds, |pair, seed| run(Setting { bare: true, ..pair.setting(seed, 0.02) }));
    for (pair, tally) in pairs.iter().zip(&tallies) {
        let expected = if pair.is_hopeless() { 0 } else { tally.worlds() };
        let missed = expected.abs_diff(tally.successes());
        let may_miss = if pair.is_search() { tally.worlds() / 100 } else { 0 };
        assert!(missed <= may_miss, "{}: {missed} of {}, {:?}", pair.name(), tally.worlds(), tally.broken);
    }
}

#[test]
fn a_plain_pair_meets_in_five_seconds_when_every_fifth_packet_is_lost() {
    let pairs = [
        Pair(NatKind::PortRestricted, NatKind::PortRestricted),
        Pair(NatKind::Linux, NatKind::LinuxOpen),
        Pair(NatKind::FullCone, NatKind::Symmetric),
    ];
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let tallies = run_all(&pairs, seeds, |pair, seed| attempt(pair, seed, 0.2));
    print(&pairs, &tallies);
    for (pair, tally) in pairs.iter().zip(&tallies) {
        let quick = |outcome: &Outcome| outcome.is_ok() && outcome.took <= Duration::from_secs(5);
        let slow: Vec<_> = tally.outcomes.iter().filter(|(_, outcome)| !quick(outcome)).collect();
        assert!(tally.broken.is_empty(), "{}: {:?}", pair.name(), tally.broken);
        assert!(tally.share(quick) >= 0.99, "{}, LOSS=20: {slow:?}", pair.name());
    }
}

#[test]
fn whoever_cannot_send_at_all_is_told_so_in_five_seconds() {
    for kind in NatKind::ALL {
        for seed in 0..2 {
            let homes = [Home::from(ebbtide::sim::Nat::blocked()), Home::from(kind.nat())];
            let outcome = run(Setting::draw(seed, &homes, 0.02)).unwrap();
            let named = matches!(outcome.results[0], Err(PunchError::UdpBlocked(_)));
            assert!(named, "{kind}, seed {seed}: {:?}", outcome.results);
            assert!(outcome.took <= Duration::from_secs(5), "{kind}, seed {seed}: {:?}", outcome.took);
            assert!(outcome.results[1].is_err());
        }
    }
}
