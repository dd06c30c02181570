//! What a world says about faults, and how they are changed while it runs.

use super::network::LineId;
use super::world::World;
use crate::link::{Direction, FaultCounts, FaultKind, Filter, Link, LinkFault};

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

    /// One direction of a line has this fault from now on, in place of another of its kind. Same as
    /// [`Link::with`] on [`link_mut`](Self::link_mut).
    pub fn set_fault(&mut self, line: LineId, direction: Direction, fault: LinkFault) {
        self.network.set_fault(line, direction, fault);
    }

    /// One direction of a line has no fault of that kind any more. Old packets that were still to be replayed are
    /// forgotten with that fault.
    pub fn clear_fault(&mut self, line: LineId, direction: Direction, kind: FaultKind) {
        self.network.clear_fault(line, direction, kind);
    }

    /// All lines are up and without faults from now on, filters included, and all hosts are [cured](Self::cure). What
    /// is under way arrives as it would have, but old packets that were still to be replayed are forgotten.
    pub fn heal(&mut self) {
        self.network.heal();
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
