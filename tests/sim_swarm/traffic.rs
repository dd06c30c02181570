//! What goes over the connections of a random world.

use std::task::{Poll, ready};
use std::time::Duration;

use ebbtide::sim::{
    App, FaultKind, FlowId, HostId, Leave, Pace, Parting, Program, Rng, Size, Traffic, World,
};
use ebbtide::wire::ConnId;

use crate::scenario::{MS, SECS};

/// One connection: what goes over it, who starts it, when, and under which id.
#[derive(Debug)]
pub(crate) struct FlowPlan {
    pub(crate) traffic: Traffic,
    /// The second host starts it.
    pub(crate) swapped: bool,
    pub(crate) at: Duration,
    pub(crate) id: Id,
    /// Instead of all this, the acceptor never reads, and goes away after so long.
    pub(crate) deaf: Option<Duration>,
}

/// Under which id a connection is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    /// The endpoint chooses it.
    Own,
    /// Both hosts start one under it at the same time.
    Both(ConnId),
    /// This one, which others may use too, or have used.
    Shared(ConnId),
}

impl FlowPlan {
    pub(crate) fn start(&self, world: &mut World, hosts: [HostId; 2]) -> Vec<FlowId> {
        let [from, to] = if self.swapped { [hosts[1], hosts[0]] } else { hosts };
        if let Some(stays) = self.deaf {
            world.count_fault(FaultKind::SlowReader);
            let deaf = Deaf { stays, until: None };
            return vec![world.connect(from, to, Box::new(Flood { left: 300_000 }), Box::new(deaf))];
        }
        match self.id {
            Id::Own => vec![world.start(from, to, &self.traffic)],
            Id::Both(id) => world.start_both(from, to, id, &self.traffic).to_vec(),
            Id::Shared(id) => {
                world.count_fault(FaultKind::IdCollision);
                vec![world.start_as(from, to, id, &self.traffic)]
            }
        }
    }

    /// Whether it has to come to a good end, if nothing deadly happens.
    pub(crate) fn is_hopeful(&self) -> bool {
        self.deaf.is_none() && !matches!(self.id, Id::Shared(_))
    }
}

/// Writes so many bytes, ends its direction, and waits until that is acknowledged.
#[derive(Debug)]
struct Flood {
    left: usize,
}

impl Program for Flood {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        let mut cx = app.context();
        while self.left > 0 {
            match ready!(app.handle().poll_write(&mut cx, &[0; 4096][..self.left.min(4096)])) {
                Ok(taken) => self.left -= taken,
                Err(_) => return Poll::Ready(Leave::Drop),
            }
        }
        // Ready, one way or the other, once it is over.
        let ended =
            app.handle().poll_finish(&mut cx).is_ready() && app.handle().poll_acked(&mut cx).is_ready();
        if ended { Poll::Ready(Leave::Drop) } else { Poll::Pending }
    }
}

/// Never reads, and goes away after a while.
#[derive(Debug)]
struct Deaf {
    stays: Duration,
    until: Option<Duration>,
}

impl Program for Deaf {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        let until = *self.until.get_or_insert_with(|| app.now() + self.stays);
        if app.now() >= until {
            return Poll::Ready(Leave::Drop);
        }
        app.wake_at(until);
        Poll::Pending
    }
}

/// From 64 KiB to 1 MiB, small ones as often as large ones.
fn bulk_size(rng: &mut Rng) -> Size {
    let least = 64 << (10 + rng.below(4));
    Size::bytes(rng.within(least..2 * least))
}

fn one(rng: &mut Rng) -> Traffic {
    let small = Size::bytes(rng.within(1..20_000));
    match rng.below(7) {
        0 | 1 => Traffic::bulk(bulk_size(rng)),
        2 => Traffic::both_ways(bulk_size(rng), bulk_size(rng)),
        3 => Traffic::half_close(bulk_size(rng), small),
        4 => Traffic::echo(bulk_size(rng)),
        5 => {
            let (request, response) = (rng.within(1..3000), rng.within(1..20_000));
            Traffic::request_response(rng.within(1..30), Size::bytes(request), Size::bytes(response))
        }
        // Silence in between, so that keepalives and idle limits matter.
        _ => Traffic::idle(rng.duration(SECS(1)..SECS(80))),
    }
}

fn short(rng: &mut Rng) -> Traffic {
    let (there, back) = (Size::bytes(rng.below(4000)), Size::bytes(rng.below(4000)));
    match rng.below(3) {
        0 => Traffic::bulk(there),
        1 => Traffic::half_close(there, back),
        _ => Traffic::both_ways(there, back),
    }
}

/// Makes one end slow, sometimes.
fn paced(rng: &mut Rng, traffic: Traffic) -> Traffic {
    let slow = |rng: &mut Rng| Pace::new(rng.within(4_000..40_000) as usize, rng.duration(MS(1)..MS(40)));
    match rng.below(16) {
        0 | 1 => traffic.acceptor_reads(slow(rng)),
        2 => traffic.initiator_writes(slow(rng)),
        _ => traffic,
    }
}

/// The connections of a world.
pub(crate) fn flows(rng: &mut Rng) -> Vec<FlowPlan> {
    let many = rng.chance(0.15);
    let count = if many { rng.within(10..60) } else { rng.within(1..4) };
    let until = rng.duration(MS(1)..SECS(6));
    let shared = ConnId::new(rng.below(1 << 16) as u16);
    (0..count)
        .map(|_| {
            let drawn = if many { short(rng) } else { one(rng) };
            let drawn = if rng.chance(0.3) { drawn.reversed() } else { drawn };
            let traffic = if many { drawn } else { paced(rng, drawn) };
            let deaf = rng.chance(0.03).then(|| rng.duration(SECS(1)..SECS(150)));
            let at = if rng.chance(0.3) { Duration::ZERO } else { rng.duration(Duration::ZERO..until) };
            let id = match rng.below(20) {
                0 => Id::Both(ConnId::new(rng.below(1 << 16) as u16)),
                1 => Id::Shared(shared),
                _ => Id::Own,
            };
            FlowPlan { traffic, swapped: rng.chance(0.3), at, id, deaf }
        })
        .collect()
}

/// The same traffic, of which one end has enough after a while.
pub(crate) fn rudely(rng: &mut Rng, traffic: Traffic) -> Traffic {
    let most = *rng.pick(&[1, 3_000, 500_000]);
    let after = Size::bytes(rng.below(most));
    let parting = if rng.chance(0.5) { Parting::Abort(after) } else { Parting::Drop(after) };
    if rng.chance(0.5) { traffic.initiator_parts(parting) } else { traffic.acceptor_parts(parting) }
}
