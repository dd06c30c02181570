//! Why boxes and routers drop datagrams, and what they count.

use std::fmt;

/// Why a box, or the network between boxes, has dropped a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatRefusal {
    /// It came to a port that nobody has.
    Unmapped,
    /// The same, and the box has taken it for its own: see [`Nat::input_open`](super::Nat::input_open).
    Taken,
    /// Nobody inside has asked for it.
    Filtered,
    /// It has passed as many routers as it may.
    HopsExceeded,
    /// It was to go from a host behind the box to the box's own address, and that is off.
    NoHairpin,
    /// No port is left for its sender.
    NoPort,
    /// The table is full.
    Full,
    /// Nothing may pass.
    Blocked,
    /// Nobody has that address.
    NoRoute,
}

impl NatRefusal {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Unmapped,
        Self::Taken,
        Self::Filtered,
        Self::HopsExceeded,
        Self::NoHairpin,
        Self::NoPort,
        Self::Full,
        Self::Blocked,
        Self::NoRoute,
    ];
}

impl fmt::Display for NatRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmapped => "no mapping",
            Self::Taken => "taken by the box",
            Self::Filtered => "not asked for",
            Self::HopsExceeded => "hops exceeded",
            Self::NoHairpin => "no hairpin",
            Self::NoPort => "no port left",
            Self::Full => "table full",
            Self::Blocked => "blocked",
            Self::NoRoute => "no route",
        })
    }
}

/// What a box has done, see [`World::nat_stats`](crate::sim::World::nat_stats). Counters never go back, not even when
/// it reboots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatStats {
    /// Datagrams from inside that were passed on.
    pub out: u64,
    /// Datagrams from outside that were passed on.
    pub back: u64,
    /// Datagrams from inside that were passed back inside by the outer address; in both other counts too.
    pub hairpins: u64,
    /// Mappings made.
    pub mappings: u64,
    /// Mappings that got another port because the box had taken what came before.
    pub moved: u64,
    /// Flows that it remembers now.
    pub flows: usize,
    /// Times that it has forgotten everything.
    pub reboots: u64,
    pub(super) refusals: [u64; NatRefusal::ALL.len()],
}

impl NatStats {
    /// How many datagrams it has dropped for that reason.
    #[must_use]
    pub const fn refused(&self, why: NatRefusal) -> u64 {
        self.refusals[why as usize]
    }

    pub(super) const fn refuse(&mut self, why: NatRefusal) {
        self.refusals[why as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_place_of_its_own() {
        let places = NatRefusal::ALL.map(|why| why as usize);
        assert_eq!(places, std::array::from_fn(|place| place));
    }
}
