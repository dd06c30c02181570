//! What can go wrong in a world: the kinds, how often each has happened, and what has struck a single packet.
//!
//! Names and numbers. Does nothing to any packet itself.

mod counts;
mod kind;
mod presets;
mod setting;

pub use counts::FaultCounts;
pub use kind::FaultKind;
pub(super) use setting::Faults;
pub use setting::{LinkFault, Overtaken, Span};

use std::fmt;

/// What a link can do to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Dropped by the test's own filter.
    Filtered,
    /// Dropped because the link, or this direction of it, is down.
    Down,
    /// Dropped because nothing passes at the moment.
    Blackholed,
    /// Dropped because it is larger than the MTU.
    Oversize,
    /// Dropped because it is larger than the MTU has become.
    Shrunk,
    /// Lost because of what it was.
    Targeted,
    /// Dropped because it exceeded the rate of a policer.
    Policed,
    /// Dropped in the queue of acknowledgements.
    AckDropped,
    /// Dropped because the queue is full.
    QueueFull,
    /// Dropped at the head of the queue, because packets have waited for too long.
    WaitedLong,
    /// Lost on the way.
    Lost,
    /// Lost on the way, with others.
    BurstLost,
    /// A bit flipped on the way, and the receiver's system noticed.
    Corrupt,
    /// A bit flipped on the way, and nobody noticed.
    Flipped,
    /// Arrives cut short.
    Truncated,
    /// Arrives much later, and with it all that follows.
    Stalled,
    /// Arrives late, so that others overtake it.
    Delayed,
    /// Arrives twice.
    Doubled,
    /// An old packet arrives once more.
    Replayed,
}

impl Fault {
    /// Every kind of fault.
    pub const ALL: [Self; 19] = [
        Self::Filtered,
        Self::Down,
        Self::Blackholed,
        Self::Oversize,
        Self::Shrunk,
        Self::Targeted,
        Self::Policed,
        Self::AckDropped,
        Self::QueueFull,
        Self::WaitedLong,
        Self::Lost,
        Self::BurstLost,
        Self::Corrupt,
        Self::Flipped,
        Self::Truncated,
        Self::Stalled,
        Self::Delayed,
        Self::Doubled,
        Self::Replayed,
    ];

    /// Of which kind it is; none, if the test itself has dropped the packet.
    #[must_use]
    pub const fn kind(self) -> Option<FaultKind> {
        Some(match self {
            Self::Filtered => return None,
            Self::Down => FaultKind::Partition,
            Self::Blackholed => FaultKind::Blackhole,
            Self::Oversize => FaultKind::MtuBlackhole,
            Self::Shrunk => FaultKind::MtuShrink,
            Self::Targeted => FaultKind::TargetedLoss,
            Self::Policed => FaultKind::Policer,
            Self::AckDropped => FaultKind::AckCongestion,
            Self::QueueFull => FaultKind::TailDrop,
            Self::WaitedLong => FaultKind::CoDel,
            Self::Lost => FaultKind::UniformLoss,
            Self::BurstLost => FaultKind::BurstLoss,
            Self::Corrupt | Self::Flipped => FaultKind::BitFlip,
            Self::Truncated => FaultKind::Truncation,
            Self::Stalled => FaultKind::DelaySpike,
            Self::Delayed => FaultKind::Reorder,
            Self::Doubled => FaultKind::Duplication,
            Self::Replayed => FaultKind::Replay,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filtered => "filtered",
            Self::Down => "link down",
            Self::Blackholed => "black hole",
            Self::Oversize => "too large",
            Self::Shrunk => "too large now",
            Self::Targeted => "aimed at",
            Self::Policed => "policed",
            Self::AckDropped => "ack dropped",
            Self::QueueFull => "queue full",
            Self::WaitedLong => "waited too long",
            Self::Lost => "lost",
            Self::BurstLost => "lost in a burst",
            Self::Corrupt => "corrupt, dropped",
            Self::Flipped => "corrupt, delivered",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
            Self::Delayed => "delayed",
            Self::Doubled => "doubled",
            Self::Replayed => "replayed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_place_of_its_own() {
        let places: Vec<_> = Fault::ALL.iter().map(|fault| *fault as usize).collect();
        assert_eq!(places, (0..Fault::ALL.len()).collect::<Vec<_>>());
    }
}
