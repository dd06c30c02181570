//! One bottleneck for two receivers, of whom one is not honest.

use std::time::Duration;

use ebbtide::sim::hostile::{Insider, Trick};
use ebbtide::sim::{FlowId, LineId, Link, Rate, Side, Size, Strike, Traffic, World};
use ebbtide::{CloseReason, Config};

use crate::beside::MS;

/// What a trick is compared with.
#[derive(Debug)]
pub(crate) struct Honest;

impl Trick for Honest {}

/// A host sends to two others through one bottleneck of 10 Mbit/s: to an honest endpoint, and to a raw host with
/// this trick.
pub(crate) struct Bottleneck {
    pub(crate) world: World,
    pub(crate) honest: FlowId,
    pub(crate) tricked: FlowId,
    pub(crate) line: LineId,
}

impl Bottleneck {
    pub(crate) fn with(trick: impl Trick, loss: Strike, seed: u64) -> Self {
        let mut world = World::new(seed);
        let [sender, honest] = [(); 2].map(|()| world.host(Config::default()));
        let tricked = world.raw_host(Insider::waiting(trick));
        // A queue of a quarter of a second.
        let link = Link::perfect().rate(Rate::megabits(10)).delay(MS(20)).queue(Size::kib(312)).loss(loss);
        let line = world.add_line(link);
        world.join_by(sender, honest, line);
        world.join_by(sender, tricked, line);
        let flows = [honest, tricked].map(|to| world.start(sender, to, &Traffic::bulk(Size::mib(500))));
        Self { world, honest: flows[0], tricked: flows[1], line }
    }

    /// Bytes that have been acknowledged to the sender on each of the two connections between these times: by the
    /// honest one, and by the other.
    pub(crate) fn acknowledged(&mut self, from: Duration, to: Duration) -> [f64; 2] {
        let flows = [self.honest, self.tricked];
        let bytes = |world: &World| flows.map(|flow| world.stream_stats(flow, Side::Initiator).bytes_acked);
        self.world.run_for(from.saturating_sub(self.world.now()));
        let before = bytes(&self.world);
        self.world.run_for(to.saturating_sub(self.world.now()));
        let after = bytes(&self.world);
        [0, 1].map(|i| (after[i] - before[i]) as f64)
    }

    pub(crate) fn end(&self) -> Option<CloseReason> {
        self.world.report(self.tricked, Side::Initiator).closed
    }
}
