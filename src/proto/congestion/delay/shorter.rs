//! When to believe that the path has become much shorter.
//!
//! The smallest round trip of ten minutes is what queues are counted from, so one that never was does damage for ten
//! minutes. A machine that has slept measures such ones: its clock stood still while answers came, and all of them are
//! read at once when it wakes up. A path that is shorter goes on being shorter.

use crate::wire::Timestamp;

/// Ours: shorter than half of the smallest before is much shorter.
const MUCH: u32 = 2;

/// A round trip that nothing has confirmed yet. Small, since every connection has one: times are of 32 bits, in
/// microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shorter {
    at: Timestamp,
    /// 0 if there is none.
    doubtful: u32,
}

impl Shorter {
    /// Whether this round trip may count, of which the smallest before was `least`.
    ///
    /// One that is much shorter, or the first of all, counts when another like it ends later than a packet could that
    /// was sent after it.
    pub(super) fn believes(&mut self, now: Timestamp, sample: u32, least: Option<u32>) -> bool {
        if least.is_some_and(|least| sample >= least / MUCH) {
            self.doubtful = 0;
            return true;
        }
        if self.doubtful != 0 && sample / MUCH < self.doubtful {
            return now.delay_since(self.at).get() >= self.doubtful;
        }
        (self.at, self.doubtful) = (now, sample.max(1));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(least: Option<u32>, samples: &[(u32, u32)]) -> Vec<bool> {
        let mut shorter = Shorter::default();
        let at = |millis: u32| Timestamp::new((1000 * millis).wrapping_sub(150_000));
        let least = least.map(|millis| 1000 * millis);
        samples.iter().map(|&(now, sample)| shorter.believes(at(now), 1000 * sample, least)).collect()
    }

    #[test]
    fn what_is_read_at_once_after_a_sleep_is_not_believed_and_a_shorter_path_is() {
        let woken = [(100, 41), (100, 45), (100, 50), (385, 285), (386, 41), (427, 286)];
        assert_eq!(believed(Some(285), &woken), [false, false, false, true, false, true]);
        assert_eq!(believed(Some(285), &[(100, 41), (140, 40), (141, 45)]), [false, false, true]);
        assert_eq!(believed(Some(50), &[(100, 25)]), [true], "half is not much less");
    }

    #[test]
    fn the_first_of_all_has_to_be_confirmed_too() {
        assert_eq!(believed(None, &[(0, 20), (100, 150), (251, 160)]), [false, false, true]);
    }
}
