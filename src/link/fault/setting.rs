//! The faults of a link with their settings, and a set of them.
//!
//! What is set, not what it does: that is `pipe/mod.rs`.

use std::fmt;
use std::time::Duration;

use super::FaultKind;
use crate::link::burst::Burst;
use crate::link::pipe::nanos;
use crate::link::quantity::{Rate, Size};
use crate::link::seed::Rng;
use crate::link::strike::Strike;
use crate::link::target::Target;

/// A duration to be drawn anew each time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// From the one to the other.
    #[must_use]
    pub const fn new(least: Duration, most: Duration) -> Self {
        Self { least, most }
    }

    /// Always the same.
    #[must_use]
    pub const fn exactly(duration: Duration) -> Self {
        Self::new(duration, duration)
    }

    /// Draws once.
    pub(in crate::link) fn draw(self, rng: &mut Rng) -> Duration {
        Duration::from_nanos(rng.within(nanos(self.least)..nanos(self.most)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}", self.least, self.most)
    }
}

/// How long a packet waits until others have overtaken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overtaken {
    /// For so long.
    For(Duration),
    /// Until so many packets have arrived before it, or for a second if they do not come.
    By(u32),
}

/// A fault of a link, with its settings: one for each of the first nineteen [`FaultKind`]s.
///
/// A link has at most one of each kind: see [`Link::with`](crate::link::Link::with) and
/// `World::set_fault` of the simulator. Where a `Strike` says which packets, they are counted from the
/// first that the link ever saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkFault {
    /// [`FaultKind::UniformLoss`]: which packets vanish, after they have taken their time on the link.
    Loss(Strike),
    /// [`FaultKind::BurstLoss`]: likewise, in bursts.
    Burst(Burst),
    /// [`FaultKind::TargetedLoss`]: which packets of each connection vanish.
    Target(Target),
    /// [`FaultKind::Duplication`].
    Duplicate {
        /// Which packets arrive twice.
        which: Strike,
        /// How long after the first the second arrives.
        after: Duration,
    },
    /// [`FaultKind::Replay`]: at most 16 packets are kept for that at a time.
    Replay {
        /// Which packets arrive once more.
        which: Strike,
        /// How much later.
        after: Span,
    },
    /// [`FaultKind::Reorder`].
    Reorder {
        /// Which packets wait.
        which: Strike,
        /// For how long.
        until: Overtaken,
    },
    /// [`FaultKind::Jitter`]: up to so much is added to the delay of each packet, besides what the link itself has.
    Jitter(Duration),
    /// [`FaultKind::DelaySpike`]: nothing arrives for a while, and then all at once.
    Spike {
        /// With which packets a spike begins.
        which: Strike,
        /// How much later they, and all that would have arrived meanwhile, arrive.
        lasts: Span,
    },
    /// [`FaultKind::BandwidthStep`]: the rate changes to and fro, by the world's clock. Only links with a rate.
    Steps {
        /// What the rate is in every second period, in percent of what it is in the others.
        percent: u32,
        /// How long each period lasts.
        every: Duration,
    },
    /// [`FaultKind::TailDrop`]: the queue holds only so much.
    TailDrop(Size),
    /// [`FaultKind::CoDel`]: see [`Discipline::CoDel`](crate::link::Discipline::CoDel).
    CoDel {
        /// How long packets may wait.
        target: Duration,
        /// How long they may wait longer than that.
        interval: Duration,
    },
    /// [`FaultKind::Policer`]: see [`Discipline::Policer`](crate::link::Discipline::Policer).
    Police {
        /// What passes in the long run.
        rate: Rate,
        /// What passes at once.
        burst: Size,
    },
    /// [`FaultKind::Blackhole`]: by the world's clock, first up, then down, and so on.
    Blackhole {
        /// How long everything passes.
        up: Duration,
        /// How long nothing does.
        down: Duration,
    },
    /// [`FaultKind::Partition`]: nothing passes.
    Partition,
    /// [`FaultKind::AckCongestion`]: pure acknowledgements go through a bottleneck of their own.
    AckCongestion {
        /// How fast that is.
        rate: Rate,
        /// What fits into its queue.
        queue: Size,
    },
    /// [`FaultKind::BitFlip`].
    Flip {
        /// Which packets have a bit flipped.
        which: Strike,
        /// Whether they are delivered nevertheless, with a bit of the uTP header flipped: a stream may end, or lose
        /// bytes, by that. Otherwise the UDP checksum has noticed.
        deliver: bool,
    },
    /// [`FaultKind::Truncation`]: which packets arrive cut off somewhere within header and extensions. Never within
    /// the payload: that would change the stream, since uTP has neither lengths nor checksums.
    Truncate(Strike),
    /// [`FaultKind::MtuBlackhole`]: the largest packet that passes, headers included.
    MtuBlackhole(Size),
    /// [`FaultKind::MtuShrink`].
    MtuShrink {
        /// After so many packets, counted from the first that the link ever saw.
        after: u64,
        /// The largest packet that passes from then on, headers included.
        mtu: Size,
    },
}

impl LinkFault {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::Loss(_) => FaultKind::UniformLoss,
            Self::Burst(_) => FaultKind::BurstLoss,
            Self::Target(_) => FaultKind::TargetedLoss,
            Self::Duplicate { .. } => FaultKind::Duplication,
            Self::Replay { .. } => FaultKind::Replay,
            Self::Reorder { .. } => FaultKind::Reorder,
            Self::Jitter(_) => FaultKind::Jitter,
            Self::Spike { .. } => FaultKind::DelaySpike,
            Self::Steps { .. } => FaultKind::BandwidthStep,
            Self::TailDrop(_) => FaultKind::TailDrop,
            Self::CoDel { .. } => FaultKind::CoDel,
            Self::Police { .. } => FaultKind::Policer,
            Self::Blackhole { .. } => FaultKind::Blackhole,
            Self::Partition => FaultKind::Partition,
            Self::AckCongestion { .. } => FaultKind::AckCongestion,
            Self::Flip { .. } => FaultKind::BitFlip,
            Self::Truncate(_) => FaultKind::Truncation,
            Self::MtuBlackhole(_) => FaultKind::MtuBlackhole,
            Self::MtuShrink { .. } => FaultKind::MtuShrink,
        }
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Loss(which) | Self::Truncate(which) => write!(f, "{kind} {which}"),
            Self::Burst(burst) => write!(f, "{kind} {burst}"),
            Self::Target(target) => write!(f, "{kind} {target}"),
            Self::Duplicate { which, after } => write!(f, "{kind} {which} after {after:?}"),
            Self::Replay { which, after } => write!(f, "{kind} {which} after {after}"),
            Self::Reorder { which, until: Overtaken::For(time) } => write!(f, "{kind} {which} by {time:?}"),
            Self::Reorder { which, until: Overtaken::By(count) } => {
                write!(f, "{kind} {which} by {count} packets")
            }
            Self::Jitter(most) => write!(f, "{kind} {most:?}"),
            Self::Spike { which, lasts } => write!(f, "{kind} {which} of {lasts}"),
            Self::Steps { percent, every } => write!(f, "{kind} to {percent} % every {every:?}"),
            Self::TailDrop(size) => write!(f, "{kind} {size}"),
            Self::CoDel { target, interval } => write!(f, "{kind} {target:?} in {interval:?}"),
            Self::Police { rate, burst } => write!(f, "{kind} {rate} burst {burst}"),
            Self::Blackhole { up, down } => write!(f, "{kind} {up:?} up {down:?} down"),
            Self::Partition => write!(f, "{kind}"),
            Self::AckCongestion { rate, queue } => write!(f, "{kind} {rate} queue {queue}"),
            Self::Flip { which, deliver: false } => write!(f, "{kind} {which}"),
            Self::Flip { which, deliver: true } => write!(f, "{kind} {which}, delivered"),
            Self::MtuBlackhole(mtu) => write!(f, "{kind} {mtu}"),
            Self::MtuShrink { after, mtu } => write!(f, "{kind} {mtu} after {after} packets"),
        }
    }
}

/// How many kinds are a link's.
const KINDS: usize = FaultKind::PortRebind as usize;

/// At most one fault of each kind.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::link) struct Faults {
    /// A bit for each kind that is set, so that a link without faults costs one look.
    active: u32,
    settings: [Option<LinkFault>; KINDS],
}

impl Faults {
    pub(in crate::link) const NONE: Self = Self { active: 0, settings: [None; KINDS] };

    pub(in crate::link) const fn set(&mut self, fault: LinkFault) {
        let kind = fault.kind() as usize;
        self.active |= 1 << kind;
        self.settings[kind] = Some(fault);
    }

    pub(in crate::link) const fn clear(&mut self, kind: FaultKind) {
        if kind.is_of_link() {
            self.active &= !(1 << kind as u32);
            self.settings[kind as usize] = None;
        }
    }

    pub(in crate::link) const fn is_empty(&self) -> bool {
        self.active == 0
    }

    pub(in crate::link) const fn has(&self, kind: FaultKind) -> bool {
        self.active & (1 << kind as u32) != 0
    }

    pub(in crate::link) const fn get(&self, kind: FaultKind) -> Option<&LinkFault> {
        if self.has(kind) { self.settings[kind as usize].as_ref() } else { None }
    }

    pub(in crate::link) fn iter(&self) -> impl Iterator<Item = &LinkFault> {
        self.settings.iter().flatten()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
