//! What can go wrong in a world: the kinds, how often each has happened, and what has struck a single packet.
//!
//! Names and numbers. Does nothing to any packet itself.

mod counts;
mod kind;

pub use counts::FaultCounts;
pub use kind::FaultKind;

use std::fmt;

/// What a link can do to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Dropped by the test's own filter.
    Filtered,
    /// Dropped because the link is down.
    Down,
    /// Dropped because it is larger than the MTU.
    Oversize,
    /// Dropped because the queue is full.
    QueueFull,
    /// Lost on the way.
    Lost,
    /// A bit flipped on the way, and the receiver's system noticed.
    Corrupt,
    /// A bit flipped on the way, and nobody noticed.
    Flipped,
    /// Arrives late, so that others overtake it.
    Delayed,
    /// Arrives twice.
    Doubled,
}

impl Fault {
    /// Every kind of fault.
    pub const ALL: [Self; 9] = [
        Self::Filtered,
        Self::Down,
        Self::Oversize,
        Self::QueueFull,
        Self::Lost,
        Self::Corrupt,
        Self::Flipped,
        Self::Delayed,
        Self::Doubled,
    ];

    /// Of which kind it is; none, if the test itself has dropped the packet.
    #[must_use]
    pub const fn kind(self) -> Option<FaultKind> {
        Some(match self {
            Self::Filtered => return None,
            Self::Down => FaultKind::Partition,
            Self::Oversize => FaultKind::MtuBlackhole,
            Self::QueueFull => FaultKind::TailDrop,
            Self::Lost => FaultKind::UniformLoss,
            Self::Corrupt | Self::Flipped => FaultKind::BitFlip,
            Self::Delayed => FaultKind::Reorder,
            Self::Doubled => FaultKind::Duplication,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filtered => "filtered",
            Self::Down => "link down",
            Self::Oversize => "too large",
            Self::QueueFull => "queue full",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt, dropped",
            Self::Flipped => "corrupt, delivered",
            Self::Delayed => "delayed",
            Self::Doubled => "doubled",
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
