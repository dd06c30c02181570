//! How often each kind of fault has happened.

use std::fmt;
use std::ops::{AddAssign, Index};

use super::FaultKind;

/// A count for each [`FaultKind`]. Adds up, so that many worlds can be counted together.
///
/// ```
/// use ebbtide::link::{FaultCounts, FaultKind};
/// let mut counts = FaultCounts::default();
/// counts.add(FaultKind::Replay, 3);
/// counts += counts;
/// assert_eq!(counts[FaultKind::Replay], 6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; FaultKind::ALL.len()]);

impl FaultCounts {
    /// That kind has happened so many times more.
    pub const fn add(&mut self, kind: FaultKind, times: u64) {
        let count = &mut self.0[kind as usize];
        *count = count.saturating_add(times);
    }

    /// How often that kind has happened.
    #[must_use]
    pub const fn get(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// All of them, in the order of [`FaultKind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        FaultKind::ALL.into_iter().zip(self.0)
    }
}

impl Index<FaultKind> for FaultCounts {
    type Output = u64;

    fn index(&self, kind: FaultKind) -> &u64 {
        &self.0[kind as usize]
    }
}

impl AddAssign for FaultCounts {
    fn add_assign(&mut self, other: Self) {
        other.iter().for_each(|(kind, times)| self.add(kind, times));
    }
}

/// A line for each kind that has happened.
impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut happened = self.iter().filter(|(_, times)| *times > 0);
        happened.try_for_each(|(kind, times)| writeln!(f, "{kind:20} {times:>12}"))
    }
}
