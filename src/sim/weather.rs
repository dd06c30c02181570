//! What a world says about faults, and how they are changed while it runs.

use super::fault::{FaultCounts, FaultKind};
use super::link::Link;
use super::network::{Direction, LineId};
use super::pipe::Filter;
use super::world::World;

/// Faults.
impl World {
    /// One direction of a line, to be changed for packets to come.
    pub fn link_mut(&mut self, line: LineId, direction: Direction) -> &mut Link {
        self.network.pipe_mut(line, direction).link_mut()
    }

    /// Asked about every datagram in this direction before anything else; `true` drops it. `None` takes the filter
    /// away. For faults that depend on what a packet is.
    pub fn set_filter(&mut self, line: LineId, direction: Direction, filter: Option<Filter>) {
        self.network.pipe_mut(line, direction).set_filter(filter);
    }

    /// All lines are up and without faults from now on, filters included, and all hosts are [cured](Self::cure).
    pub fn heal(&mut self) {
        for pipe in self.network.pipes_mut() {
            let link = pipe.link_mut();
            *link = link.healed();
            pipe.set_filter(None);
        }
        self.cure_all();
    }

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
