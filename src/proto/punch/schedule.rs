//! When which probe is due: the times of one target's probes, and the gap between any two.

use std::time::Duration;

use crate::time::Instant;

/// Ours: milliseconds after the beginning at which a target is probed: closely at first, since a lost opener or probe
/// is made up for then, and ever more rarely.
const OFFSETS: [u64; 17] =
    [0, 30, 60, 120, 200, 300, 450, 650, 900, 1200, 1600, 2000, 2500, 3000, 3600, 4300, 5000];

/// Ours: from one probe to the next after those, for peers who come late.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// RFC 8445 §14.2: two checks are at least 5 ms apart, whatever they are for.
pub const PROBE_GAP: Duration = Duration::from_millis(5);

/// Ours: between two openers, which arrive nowhere, and which whoever waits for us to be ready waits for.
pub const OPENER_GAP: Duration = Duration::from_millis(1);

/// Ours: probes of one punch, but for those that search for a port and those that die on the way.
pub const PROBES_MAX: u32 = 120;

/// How long after its beginning a target's probe with this number is due.
pub(super) fn offset(step: u32) -> Duration {
    let last = OFFSETS.len() as u32 - 1;
    let listed = Duration::from_millis(OFFSETS[step.min(last) as usize]);
    listed + AFTERWARDS * step.saturating_sub(last)
}

/// Keeps packets apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nothing is sent before.
    next: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// When something that is wanted at `at` may be sent.
    pub(super) fn earliest(&self, at: Instant) -> Instant {
        self.next.max(at)
    }

    /// Something is sent; the next thing has to keep that distance.
    pub(super) fn sent(&mut self, now: Instant, gap: Duration) {
        self.next = now + gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_come_closely_at_first_and_once_a_second_in_the_end() {
        let millis: Vec<u128> = (0..20).map(|step| offset(step).as_millis()).collect();
        assert_eq!(millis[..5], [0, 30, 60, 120, 200]);
        assert_eq!(millis[15..], [4300, 5000, 6000, 7000, 8000]);
        assert!(millis.is_sorted());
    }

    #[test]
    fn two_packets_keep_their_distance_however_many_are_due() {
        let mut pace = Pace::new(Instant::ZERO);
        let mut now = Instant::ZERO;
        for sent in 0..100u64 {
            now = pace.earliest(Instant::ZERO);
            assert_eq!(now, Instant::from_micros(5000 * sent));
            pace.sent(now, PROBE_GAP);
        }
        let late = now + Duration::from_secs(1);
        assert_eq!(pace.earliest(late), late, "what was not used is not saved up");
    }
}
