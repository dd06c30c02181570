//! Loss in bursts: a link that is good for a while and bad for a while, after Gilbert and Elliott.
//!
//! The model; the state of a link that follows it is kept by whoever carries the packets.

use std::fmt;

use super::seed::Rng;

/// A Gilbert-Elliott model: two states, in each of which packets are lost with a probability of its own, and the
/// probabilities with which each packet changes the state.
///
/// ```
/// use ebbtide::link::Burst;
/// assert_eq!(Burst::mean(0.02, 5.0).to_string(), "2 % in bursts of 5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    to_bad: f64,
    to_good: f64,
    loss_good: f64,
    loss_bad: f64,
}

impl Burst {
    /// `to_bad` and `to_good` are the probabilities that a packet changes the state, `loss_good` and `loss_bad` those
    /// that a packet is lost in that state. All 0 to 1.
    #[must_use]
    pub const fn new(to_bad: f64, to_good: f64, loss_good: f64, loss_bad: f64) -> Self {
        Self { to_bad, to_good, loss_good, loss_bad }
    }

    /// Loses that share of all packets, in bursts of so many on average: everything in the bad state, nothing in
    /// the good one.
    #[must_use]
    pub const fn mean(loss: f64, packets: f64) -> Self {
        let to_good = 1.0 / packets;
        Self::new(loss * to_good / (1.0 - loss), to_good, 0.0, 1.0)
    }

    /// The share of packets that it loses in the long run.
    #[must_use]
    pub const fn mean_loss(self) -> f64 {
        let changes = self.to_bad + self.to_good;
        if changes == 0.0 {
            return self.loss_good;
        }
        (self.to_good * self.loss_good + self.to_bad * self.loss_bad) / changes
    }

    /// Whether a packet is lost that passes at `now`, nanoseconds. Draws twice.
    pub(super) fn hits(self, state: &mut State, now: u64, rng: &mut Rng) -> bool {
        let change = match (now.saturating_sub(state.last) >= FORGOTTEN_AFTER, state.bad) {
            // As likely bad as at any other time.
            (true, _) => {
                state.bad = false;
                self.to_bad / (self.to_bad + self.to_good)
            }
            (false, true) => self.to_good,
            (false, false) => self.to_bad,
        };
        state.bad ^= rng.chance(change);
        state.last = now;
        rng.chance(if state.bad { self.loss_bad } else { self.loss_good })
    }
}

/// Bursts are counted in packets, but they do not wait for packets: after so many nanoseconds without any, the state is
/// another. Otherwise a burst would swallow packets that are sent once in a second for as long as it has a mind to.
const FORGOTTEN_AFTER: u64 = 200_000_000;

/// Where a model is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    bad: bool,
    /// When the last packet passed, nanoseconds.
    last: u64,
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        write!(f, "{} % in bursts of {}", rounded(self.mean_loss() * 100.0), rounded(1.0 / self.to_good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_and_length_of_bursts_come_out_as_asked() {
        let burst = Burst::mean(0.05, 8.0);
        let (mut rng, mut state) = (Rng::new(3), State::default());
        let lost: Vec<bool> = (0..400_000).map(|at| burst.hits(&mut state, at, &mut rng)).collect();
        let count = lost.iter().filter(|lost| **lost).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((0.045..0.055).contains(&(count / 400_000.0)), "{count}");
        assert!((7.5..8.5).contains(&(count / bursts)), "{}", count / bursts);
    }

    #[test]
    fn both_states_lose_as_they_should() {
        let burst = Burst::new(0.01, 0.03, 0.02, 0.5);
        let (mut rng, mut state) = (Rng::new(4), State::default());
        let count = (0..400_000).filter(|at| burst.hits(&mut state, *at, &mut rng)).count() as f64;
        assert!((burst.mean_loss() - 0.14).abs() < 1e-9);
        assert!((0.13..0.15).contains(&(count / 400_000.0)), "{count}");
    }

    #[test]
    fn bursts_do_not_wait_for_packets_that_come_seldom() {
        let burst = Burst::mean(0.05, 50.0);
        let (mut rng, mut state) = (Rng::new(5), State::default());
        let lost: Vec<bool> =
            (1..=100_000).map(|i| burst.hits(&mut state, i * FORGOTTEN_AFTER, &mut rng)).collect();
        let count = lost.iter().filter(|lost| **lost).count();
        assert!((4_500..5_500).contains(&count), "{count}");
        assert!(lost.windows(6).all(|six| six.contains(&false)), "six in a row once in 64 million");
    }
}
