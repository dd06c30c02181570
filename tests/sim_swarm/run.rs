//! One world from its beginning to its end, and what has to be true then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ebbtide::CloseReason;
use ebbtide::sim::{FaultCounts, FlowId, Rng, Side, World};

use crate::scenario::{FAULTY, SECS, Scenario};

/// By then everything has to be over, once the network has healed: the longest time limit of any connection, and what
/// a megabyte takes on the slowest line.
const OVER: Duration = Duration::from_secs(600);

/// What came of a world.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) connections: u64,
    pub(crate) graceful: u64,
    pub(crate) unsure: u64,
    pub(crate) bytes: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) after_heal: Duration,
    pub(crate) faults: FaultCounts,
    pub(crate) hash: u64,
}

/// Runs the world of this seed, and remembers so many events. Panics when something is wrong, and says what if it was
/// to remember anything.
pub(crate) fn run_seed(seed: u64, remember: usize) -> Outcome {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw(&mut rng);
    let (mut world, hosts) = scenario.build(rng.next_u64());
    world.trace_mut().remember(remember);
    let mut flows = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for plan in &scenario.flows {
            world.run_for(plan.at.saturating_sub(world.now()));
            let started = plan.start(&mut world, hosts);
            flows.extend(started.into_iter().map(|flow| (flow, plan.is_hopeful())));
        }
        world.run_for(FAULTY.saturating_sub(world.now()));
        world.finish_within(OVER);
        world.settle(OVER + SECS(1)).unwrap();
        judge(&world, &scenario, &flows)
    }));
    if remember > 0 {
        eprintln!("{scenario:#?}\n{}", world.trace());
    }
    let (graceful, unsure) = outcome.unwrap_or_else(|cause| resume_unwind(cause));
    let ends = flows.iter().flat_map(|&(flow, _)| Side::BOTH.map(|side| world.report(flow, side)));
    Outcome {
        events: world.events(),
        connections: flows.len() as u64,
        graceful,
        unsure,
        bytes: ends.map(|report| report.received).sum(),
        virtual_time: world.now(),
        after_heal: world.now().saturating_sub(FAULTY),
        faults: world.fault_counts(),
        hash: world.trace().hash(),
    }
}

/// How many ends had to be good ones, and how many of those could not know that all had arrived.
fn judge(world: &World, scenario: &Scenario, flows: &[(FlowId, bool)]) -> (u64, u64) {
    let (mut graceful, mut unsure) = (0, 0);
    for &(flow, hopeful) in flows {
        if !scenario.is_survivable() || !hopeful {
            continue;
        }
        let ends = Side::BOTH.map(|side| world.report(flow, side));
        if ends[0].closed == Some(CloseReason::IdInUse) {
            // So is the id of a connection that is over, for a while.
            continue;
        }
        if is_turned_away(world, flow, ends[0].closed) {
            continue;
        }
        let unheard = world.stream_stats(flow, Side::Initiator).packets_received == 0;
        if unheard && scenario.is_crowded() {
            continue;
        }
        for (mine, theirs) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            graceful += 1;
            if mine.eof && mine.acked && mine.closed.is_none() {
                continue;
            }
            // The peer had everything and was gone before its last acknowledgement got through.
            let forgotten = mine.eof && theirs.eof && theirs.acked && theirs.received == mine.sent;
            assert!(forgotten, "{flow} came to no good end: {ends:?}");
            unsure += 1;
        }
    }
    (graceful, unsure)
}

/// Whether the acceptor's host had a reason not to take this connection in that a network without faults would not change:
///
/// - No memory. Above four fifths of what `Config::max_memory` allows nobody is let in: SYNs are dropped, and a proof that
///   comes too late is answered by a RESET. As long as others hold that much, nobody can expect to connect, and in worlds
///   where one send buffer is nearly all that a host may hold that is longer than the initiator waits.
/// - The id. There are 65,536, and two hosts that call each other within one round trip may draw neighbours, which one
///   of them refuses by a RESET: its peer has to try again under another.
fn is_turned_away(world: &World, flow: FlowId, closed: Option<CloseReason>) -> bool {
    let acceptor = world.endpoint(world.host_of(flow, Side::Acceptor));
    let dropped = acceptor.stats().dropped;
    let began = world.stream_stats(flow, Side::Acceptor).packets_sent > 0;
    let collided = closed == Some(CloseReason::Refused) && dropped.id_collision > 0;
    !began && (dropped.out_of_memory > 0 || collided)
}
