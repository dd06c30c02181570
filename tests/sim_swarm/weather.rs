//! What goes wrong with the network of a random world before it heals, and when.

use std::time::Duration;

use ebbtide::sim::{Direction, FaultKind, LineId, Link, LinkFault, Rng, World};

use crate::scenario::{MS, SECS};

/// A fault of the network that comes and goes.
#[derive(Debug)]
pub(crate) struct Spell {
    fault: LinkFault,
    /// Which ways it strikes.
    ways: Ways,
    from: Duration,
    /// Longer than the world is faulty: until it heals.
    lasts: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Ways {
    There,
    Back,
    Both,
}

impl Ways {
    const fn directions(self) -> &'static [Direction] {
        match self {
            Self::There => &[Direction::There],
            Self::Back => &[Direction::Back],
            Self::Both => &[Direction::There, Direction::Back],
        }
    }
}

impl Spell {
    fn draw(rng: &mut Rng, link: &Link) -> Option<Self> {
        let kinds: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| kind.is_of_link()).collect();
        let kind = *rng.pick(&kinds);
        let fault = LinkFault::draw(kind, link, rng)?;
        let ways = *rng.pick(&[Ways::There, Ways::Back, Ways::Both, Ways::Both]);
        // Most transfers are over after a second or two.
        let from = match rng.below(3) {
            0 => Duration::ZERO,
            1 => rng.duration(MS(0)..MS(1000)),
            _ => rng.duration(MS(0)..SECS(8)),
        };
        let lasts = match kind {
            FaultKind::Partition => rng.duration(MS(50)..SECS(5)),
            _ if rng.chance(0.5) => rng.duration(MS(100)..SECS(10)),
            _ => SECS(3600),
        };
        Some(Self { fault, ways, from, lasts })
    }

    /// Arranges that it comes and goes.
    pub(crate) fn plan(&self, world: &mut World, line: LineId) {
        let Self { fault, ways, from, lasts } = *self;
        world.later(from, move |world| {
            ways.directions().iter().for_each(|&way| world.set_fault(line, way, fault));
        });
        world.later(from + lasts, move |world| {
            ways.directions().iter().for_each(|&way| world.clear_fault(line, way, fault.kind()));
        });
    }
}

/// Some faults at once, or none.
pub(crate) fn weather(rng: &mut Rng, link: &Link) -> Vec<Spell> {
    let count = rng.below(6);
    (0..count).filter_map(|_| Spell::draw(rng, link)).collect()
}
