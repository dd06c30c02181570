//! What happens to the hosts of a random world before it heals, and when.

use std::time::Duration;

use ebbtide::sim::hostile::Attack;
use ebbtide::sim::{FaultKind, HostFault, HostId, Link, Rng, World};

use crate::scenario::{MS, SECS};

/// Something that happens to a host, and is cured when the network heals.
#[derive(Debug)]
pub(crate) struct Mishap {
    fault: HostFault,
    second: bool,
    at: Duration,
}

impl Mishap {
    fn draw(rng: &mut Rng) -> Option<Self> {
        let kinds: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| !kind.is_of_link()).collect();
        let kind = *rng.pick(&kinds);
        let presets = HostFault::presets(kind);
        let fault = if !presets.is_empty() && rng.chance(0.2) {
            rng.pick(presets).1
        } else {
            HostFault::draw(kind, SECS(5), rng)?
        };
        let at = if rng.chance(0.3) { Duration::ZERO } else { rng.duration(MS(0)..SECS(4)) };
        Some(Self { fault, second: rng.chance(0.5), at })
    }

    /// Whether connections need not survive it: ten minutes of sleep are longer than the peer waits.
    pub(crate) fn is_deadly(&self) -> bool {
        self.fault.is_fatal() || self.fault.silence() > SECS(5)
    }

    /// Arranges that it happens.
    pub(crate) fn plan(&self, world: &mut World, hosts: [HostId; 2]) {
        let (fault, host) = (self.fault, hosts[usize::from(self.second)]);
        world.later(self.at, move |world| world.afflict(host, fault));
    }
}

/// What happens to the hosts: mostly nothing.
pub(crate) fn mishaps(rng: &mut Rng) -> Vec<Mishap> {
    let count = if rng.chance(0.4) { rng.within(1..4) } else { 0 };
    (0..count).filter_map(|_| Mishap::draw(rng)).collect()
}

/// Somebody who breaks the rules, and goes away after a while.
#[derive(Debug)]
pub(crate) struct Assault {
    attack: Attack,
    second: bool,
    at: Duration,
    lasts: Duration,
}

impl Assault {
    /// One in some worlds.
    pub(crate) fn draw(rng: &mut Rng) -> Option<Self> {
        if !rng.chance(0.1) {
            return None;
        }
        let (at, lasts) = (rng.duration(MS(0)..SECS(1)), rng.duration(MS(10)..MS(500)));
        Some(Self { attack: Attack::draw(rng), second: rng.chance(0.5), at, lasts })
    }

    /// Arranges that it happens.
    pub(crate) fn plan(&self, world: &mut World, hosts: [HostId; 2]) {
        let Self { attack, second, lasts, .. } = *self;
        let [peer, victim] = if second { hosts } else { [hosts[1], hosts[0]] };
        world.later(self.at, move |world| {
            let attacker = world.attack(&attack, victim, peer, Link::perfect().delay(MS(5)));
            world.later(lasts, move |world| world.vanish(attacker));
        });
    }
}
