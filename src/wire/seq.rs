//! Numbers on a circle of 65,536: packet numbers and connection ids.

use std::fmt;
use std::ops::{Add, Sub};

/// A packet number.
///
/// Has a distance instead of an order, because a circle has none: with any "less than" 0 < 30,000 < 60,000 < 0,
/// so sorting or a tree would go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNr(u16);

impl SeqNr {
    /// The packet number with this value in the header.
    #[must_use]
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }

    /// The value in the header.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number before this one.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// How many steps lead from `earlier` to here: the shorter way round, negative if backwards.
    ///
    /// Exactly half-way round counts as backwards (-32,768).
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// Whether the shorter way from `other` to here goes forwards.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.distance_from(other) > 0
    }
}

impl Add<u16> for SeqNr {
    type Output = Self;
    fn add(self, steps: u16) -> Self {
        Self(self.0.wrapping_add(steps))
    }
}

impl Sub<u16> for SeqNr {
    type Output = Self;
    fn sub(self, steps: u16) -> Self {
        Self(self.0.wrapping_sub(steps))
    }
}

impl fmt::Debug for SeqNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for SeqNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection id: which of the connections between two addresses a packet belongs to.
///
/// A SYN carries the id on which its sender wants to receive; every later packet carries the id on which its
/// receiver receives. The two ids of a connection are neighbours (BEP 29).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ConnId(u16);

impl ConnId {
    /// The id with this value in the header.
    #[must_use]
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }

    /// The value in the header.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The id after this one; 0 follows 65,535.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The id before this one.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(raw: u16) -> SeqNr {
        SeqNr::new(raw)
    }

    #[test]
    fn a04_the_order_of_packet_numbers_wraps() {
        for (earlier, later) in
            [(1, 2), (0, 1), (0xFFF0, 0xFFFF), (0xFFFF, 0), (0xFFFF, 5), (0xFFF0, 0x0FFF), (0xFFFF, 0x7FFE)]
        {
            assert!(seq(later).is_after(seq(earlier)), "{later} comes after {earlier}");
            assert!(!seq(earlier).is_after(seq(later)), "{earlier} does not come after {later}");
        }
    }

    #[test]
    fn a04_a_packet_number_is_not_after_itself() {
        for raw in [0, 1, 0x7FFF, 0x8000, 0xFFFF] {
            assert!(!seq(raw).is_after(seq(raw)));
            assert_eq!(seq(raw).distance_from(seq(raw)), 0);
        }
    }

    #[test]
    fn a04_half_way_round_is_backwards_from_both_sides() {
        for raw in [0, 1, 0x7FFF, 0x8000, 0xFFFF] {
            let opposite = seq(raw) + 0x8000;
            assert_eq!(opposite.distance_from(seq(raw)), i16::MIN);
            assert_eq!(seq(raw).distance_from(opposite), i16::MIN);
            assert!(!opposite.is_after(seq(raw)) && !seq(raw).is_after(opposite));
        }
    }

    #[test]
    fn a04_distances_count_steps_across_the_wrap() {
        assert_eq!(seq(3).distance_from(seq(65_534)), 5);
        assert_eq!(seq(65_534).distance_from(seq(3)), -5);
        assert_eq!(seq(65_534) + 5, seq(3));
        assert_eq!(seq(3) - 5, seq(65_534));
    }

    #[test]
    fn a04_neighbours_wrap() {
        assert_eq!(seq(65_535).next(), seq(0));
        assert_eq!(seq(0).prev(), seq(65_535));
        assert_eq!(ConnId::new(65_535).next(), ConnId::new(0));
        assert_eq!(ConnId::new(0).prev(), ConnId::new(65_535));
    }

    #[test]
    fn numbers_and_ids_look_different_in_logs() {
        assert_eq!(format!("{:?} {:?}", seq(7), ConnId::new(7)), "#7 @7");
        assert_eq!(format!("{} {}", seq(7), ConnId::new(7)), "7 7");
    }
}
