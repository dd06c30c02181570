//! Random worlds, each from one seed: settings, network, traffic and the way it ends are all drawn. Half of them end
//! rudely. Whatever happens, what is read is a prefix of what was written, everything ends within a bounded time,
//! and no endpoint keeps anything. Where nobody is rude, everything arrives.
//!
//! `SEEDS=100000 cargo test --release --test sim_swarm` runs more of them; a failure prints its seed, and
//! `SEED=… cargo test --test sim_swarm` runs that one again.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ebbtide::sim::{
    Direction, Fault, FlowId, HostId, Line, LineId, Link, Pace, Parting, Rate, Rng, Side, Size, Strike,
    Traffic, World,
};
use ebbtide::{Config, Congestion, Instant};

/// Worlds in an ordinary run.
const SEEDS: u64 = 2000;

/// When the network heals.
const FAULTY: Duration = Duration::from_secs(20);

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// How a world ends before its time.
#[derive(Clone, Copy, Debug)]
enum Rude {
    /// A program aborts, or goes away, after so many bytes.
    Program,
    /// A host is gone from one moment to the next.
    Vanish { second: bool, after: Duration },
    /// An endpoint closes.
    Close { second: bool, after: Duration },
}

/// Everything that a seed decides, to be printed when it fails.
#[derive(Debug)]
struct Scenario {
    configs: [Config; 2],
    clocks: [Instant; 2],
    turn_delays: [Duration; 2],
    line: Line,
    /// The line is down from .0 on, for .1.
    outages: Vec<(Duration, Duration)>,
    /// What, whether the second host starts it, and when.
    flows: Vec<(Traffic, bool, Duration)>,
    rude: Option<Rude>,
}

fn config(rng: &mut Rng) -> Config {
    let buffers = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
    let receive = *rng.pick(&buffers);
    let mut config = Config::default()
        .nodelay(rng.chance(0.5))
        .pacing(rng.chance(0.7))
        .send_buffer(*rng.pick(&buffers))
        .receive_buffer(receive)
        .receive_buffer_max(receive << rng.below(3))
        .ack_delay(*rng.pick(&[Duration::ZERO, MS(1), MS(5), MS(50)]))
        .packets_in_flight(*rng.pick(&[4, 20, 950, 5000]))
        .keepalive(*rng.pick(&[None, Some(SECS(2)), Some(SECS(15))]))
        .rto_min(*rng.pick(&[MS(100), MS(250), MS(500)]))
        .linger(*rng.pick(&[Duration::ZERO, SECS(2), SECS(30)]))
        .connect_timeout(SECS(60))
        .idle_timeout(Some(SECS(90)))
        .stall_timeout(SECS(120));
    if rng.chance(0.5) {
        config = config.mtu(*rng.pick(&[150, 576, 1232, 1400, 1472]));
    }
    if rng.chance(0.25) {
        config = config.congestion(Congestion::Fixed(rng.within(3000..100_000) as u32));
    }
    config
}

fn strike(rng: &mut Rng) -> Strike {
    match rng.below(4) {
        0 => Strike::every(rng.within(10..100)),
        1 => Strike::random(0.001 + 0.03 * rng.below(100) as f64 / 100.0),
        2 => Strike::run(rng.within(1..200), rng.within(1..4)),
        _ => Strike::never(),
    }
}

fn link(rng: &mut Rng) -> Link {
    let mut link = Link::perfect().delay(rng.duration(Duration::ZERO..MS(150)));
    if rng.chance(0.8) {
        let rate = Rate::kilobits(*rng.pick(&[250, 1_000, 10_000, 100_000]));
        // From a queue of a few packets to one of two seconds.
        let least = rate.in_time(rng.duration(MS(1)..SECS(2)));
        link = link.rate(rate).queue(Size::bytes(least.as_bytes().max(6_000)));
    }
    if rng.chance(0.5) {
        link = link.jitter(rng.duration(Duration::ZERO..MS(30)));
    }
    let (reorder_by, again_after) = (rng.duration(MS(1)..MS(50)), rng.duration(Duration::ZERO..SECS(3)));
    link.loss(strike(rng))
        .corrupt(strike(rng))
        .reorder(strike(rng), reorder_by)
        .duplicate(strike(rng), again_after)
}

fn traffic(rng: &mut Rng, size_max: u64) -> Traffic {
    let mut size = || Size::bytes(rng.below(size_max));
    let (one, two) = (size(), size());
    let drawn = match rng.below(7) {
        0 | 1 => Traffic::bulk(one),
        2 => Traffic::both_ways(one, two),
        3 => Traffic::half_close(one, two),
        4 => Traffic::echo(one),
        5 => Traffic::ping_pong(rng.within(1..30), Size::bytes(rng.within(1..4000))),
        _ => Traffic::drip(Size::bytes(rng.within(1..500)), rng.duration(Duration::ZERO..MS(30))),
    };
    let drawn = if rng.chance(0.3) { drawn.reversed() } else { drawn };
    match rng.below(4) {
        0 => drawn.acceptor_reads(Pace::new(rng.within(2000..20_000) as usize, rng.duration(MS(1)..MS(60)))),
        1 => {
            drawn.initiator_writes(Pace::new(rng.within(1000..20_000) as usize, rng.duration(MS(1)..MS(60))))
        }
        _ => drawn,
    }
}

/// The same traffic, of which one end has enough after a while.
fn rudely(rng: &mut Rng, traffic: Traffic, size_max: u64) -> Traffic {
    let after = Size::bytes(rng.below(size_max));
    let parting = if rng.chance(0.5) { Parting::Abort(after) } else { Parting::Drop(after) };
    if rng.chance(0.5) { traffic.initiator_parts(parting) } else { traffic.acceptor_parts(parting) }
}

impl Scenario {
    fn draw(rng: &mut Rng) -> Self {
        let line = Line { there: link(rng), back: link(rng) };
        let size_max = *rng.pick(&[1_000, 50_000, 200_000]);
        let rude = rng.chance(0.5).then(|| {
            let (second, after) = (rng.chance(0.5), rng.duration(Duration::ZERO..SECS(10)));
            match rng.below(4) {
                0 => Rude::Vanish { second, after },
                1 => Rude::Close { second, after },
                _ => Rude::Program,
            }
        });
        let flows = (0..rng.within(1..5))
            .map(|_| {
                let drawn = traffic(rng, size_max);
                let drawn = match rude {
                    Some(Rude::Program) => rudely(rng, drawn, size_max),
                    _ => drawn,
                };
                (drawn, rng.chance(0.3), rng.duration(Duration::ZERO..SECS(3)))
            })
            .collect();
        let outages = (0..rng.below(3))
            .map(|_| (rng.duration(Duration::ZERO..SECS(10)), rng.duration(Duration::ZERO..SECS(2))))
            .collect();
        let wrap = Instant::from_micros((1 << 32) - rng.below(20_000_000));
        let clock = |rng: &mut Rng| *rng.pick(&[Instant::ZERO, wrap]);
        let delay =
            |rng: &mut Rng| if rng.chance(0.2) { rng.duration(Duration::ZERO..MS(10)) } else { MS(0) };
        Self {
            configs: [config(rng), config(rng)],
            clocks: [clock(rng), clock(rng)],
            turn_delays: [delay(rng), delay(rng)],
            line,
            outages,
            flows,
            rude,
        }
    }

    fn build(&self, seed: u64) -> Swarm {
        let mut world = World::new(seed);
        let hosts = [0, 1].map(|i| {
            let host = world.host_with_clock(self.configs[i].clone(), self.clocks[i]);
            world.set_turn_delay(host, self.turn_delays[i]);
            host
        });
        let line = world.join(hosts[0], hosts[1], self.line);
        for &(from, lasts) in &self.outages {
            world.later(from, move |world| set_down(world, line, true));
            world.later(from + lasts, move |world| set_down(world, line, false));
        }
        world.later(FAULTY, World::heal);
        match self.rude {
            Some(Rude::Vanish { second, after }) => {
                world.later(after, move |world| world.vanish(hosts[usize::from(second)]));
            }
            Some(Rude::Close { second, after }) => {
                world.later(after, move |world| world.close(hosts[usize::from(second)]));
            }
            Some(Rude::Program) | None => {}
        }
        Swarm { world, hosts, line, flows: Vec::new() }
    }
}

fn set_down(world: &mut World, line: LineId, down: bool) {
    for direction in [Direction::There, Direction::Back] {
        let link = world.link_mut(line, direction);
        *link = link.down(down);
    }
}

struct Swarm {
    world: World,
    hosts: [HostId; 2],
    line: LineId,
    flows: Vec<FlowId>,
}

impl Swarm {
    /// Starts every connection in its time, and lets everything come to its end.
    fn run(&mut self, scenario: &Scenario) {
        let mut starts: Vec<_> = scenario.flows.iter().collect();
        starts.sort_by_key(|(_, _, at)| *at);
        for (traffic, swapped, at) in starts {
            self.world.run_for(at.saturating_sub(self.world.now()));
            let [from, to] = if *swapped { [self.hosts[1], self.hosts[0]] } else { self.hosts };
            self.flows.push(self.world.start(from, to, traffic));
        }
        self.world.run_for(FAULTY.saturating_sub(self.world.now()));
        self.world.settle(SECS(1200)).unwrap();
    }

    /// Returns how many programs could not know that all had arrived.
    fn check(&self, scenario: &Scenario) -> u64 {
        let mut unsure = 0;
        for &flow in &self.flows {
            let ends = Side::BOTH.map(|side| self.world.report(flow, side));
            for (mine, theirs) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                assert_eq!(mine.wrong_at, None, "{flow}: {mine:?}");
                assert!(mine.received <= theirs.sent, "{flow}: read what was not written: {ends:?}");
                if mine.eof && theirs.closed.is_none() {
                    assert_eq!(mine.received, theirs.sent, "{flow}: the end before the end: {ends:?}");
                }
                if scenario.rude.is_some() || (mine.eof && mine.acked && mine.closed.is_none()) {
                    continue;
                }
                // The peer had everything and was gone before its last acknowledgement got through.
                let forgotten = mine.eof && theirs.eof && theirs.acked && theirs.received == mine.sent;
                assert!(forgotten, "{flow}: {ends:?}");
                unsure += 1;
            }
        }
        unsure
    }
}

/// Counts of faults, in the order of [`Fault::ALL`].
type Faults = [u64; Fault::ALL.len()];

/// What came of some worlds.
#[derive(Default)]
struct Tally {
    faults: Faults,
    events: u64,
    graceful: u64,
    unsure: u64,
}

fn run_seed(seed: u64, loud: bool, tally: &mut Tally) {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng);
    let mut swarm = scenario.build(rng.next_u64());
    swarm.world.trace_mut().remember(if loud { 100_000 } else { 50 });
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        swarm.run(&scenario);
        swarm.check(&scenario)
    }));
    if outcome.is_err() || loud {
        eprintln!("{scenario:?}\n{}", swarm.world.trace());
    }
    let unsure = outcome.unwrap_or_else(|cause| {
        eprintln!("failed: SEED={seed} cargo test --test sim_swarm");
        resume_unwind(cause);
    });
    for (fault, total) in Fault::ALL.into_iter().zip(&mut tally.faults) {
        for direction in [Direction::There, Direction::Back] {
            *total += swarm.world.link_stats(swarm.line, direction).struck(fault);
        }
    }
    tally.events += swarm.world.events();
    tally.graceful += if scenario.rude.is_none() { 2 * swarm.flows.len() as u64 } else { 0 };
    tally.unsure += unsure;
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn random_worlds_keep_every_promise() {
    let mut tally = Tally::default();
    if let Some(seed) = number("SEED") {
        return run_seed(seed, true, &mut tally);
    }
    let first = number("FIRST_SEED").unwrap_or(0);
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    (first..first + seeds).for_each(|seed| run_seed(seed, false, &mut tally));
    let Tally { faults, events, graceful, unsure } = tally;
    println!("{seeds} worlds, {events} events, {graceful} graceful ends, {unsure} of them unsure");
    for (fault, count) in Fault::ALL.into_iter().zip(faults) {
        println!("{fault}: {count}");
        // The others have tests of their own.
        let drawn = matches!(
            fault,
            Fault::Down | Fault::QueueFull | Fault::Lost | Fault::Corrupt | Fault::Delayed | Fault::Doubled
        );
        assert!(!drawn || count >= seeds / 4, "{fault} struck {count} packets in {seeds} worlds");
    }
    assert!(unsure * 50 <= graceful, "{unsure} of {graceful}");
}
