//! What a world says about faults, and how they are changed while it runs.

use super::fault::{FaultCounts, FaultKind};
use super::world::World;

/// Faults.
impl World {
    /// How often each kind of fault has happened so far, on all lines and hosts.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        self.network.fault_counts()
    }

    /// Counts a fault that the world does not make itself: a program of yours that reads slowly, a peer that lies.
    pub const fn count_fault(&mut self, kind: FaultKind) {
        self.network.count(kind);
    }
}
