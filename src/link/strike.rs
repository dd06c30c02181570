//! Which packets a fault strikes: none, some by chance, some by count.
//!
//! One type for every fault, so that loss, reordering, duplication and corruption can each be periodic or random. It
//! has no memory; loss in bursts, which has, is in `burst.rs`.

use std::fmt;

use super::seed::Rng;

/// Which of the packets on a link a fault strikes.
///
/// ```
/// use ebbtide::link::Strike;
/// assert_eq!(Strike::random(0.01).to_string(), "1 %");
/// assert_eq!(Strike::every(33).to_string(), "every 33rd");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Strike(Model);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Model {
    #[default]
    Never,
    Random(f64),
    Every(u64),
    Run {
        first: u64,
        count: u64,
    },
}

impl Strike {
    /// No packet.
    #[must_use]
    pub const fn never() -> Self {
        Self(Model::Never)
    }

    /// Every packet.
    #[must_use]
    pub const fn always() -> Self {
        Self(Model::Every(1))
    }

    /// Each packet with this probability, whatever happened to others. 0 to 1.
    #[must_use]
    pub const fn random(probability: f64) -> Self {
        Self(Model::Random(probability))
    }

    /// Packets number `k`, `2k`, `3k`, … counted from 1; none if `k` is 0.
    #[must_use]
    pub const fn every(k: u64) -> Self {
        Self(if k == 0 { Model::Never } else { Model::Every(k) })
    }

    /// `count` packets in a row, from number `first`, counted from 1.
    #[must_use]
    pub const fn run(first: u64, count: u64) -> Self {
        Self(Model::Run { first, count })
    }

    pub(super) const fn is_never(self) -> bool {
        matches!(self.0, Model::Never)
    }

    /// Whether packet `number` (from 1) is struck. Draws from `rng` only if chance decides.
    pub(crate) fn hits(self, number: u64, rng: &mut Rng) -> bool {
        match self.0 {
            Model::Never => false,
            Model::Random(probability) => rng.chance(probability),
            Model::Every(k) => number.is_multiple_of(k),
            Model::Run { first, count } => number >= first && number - first < count,
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Model::Never => f.write_str("never"),
            Model::Random(probability) => write!(f, "{} %", probability * 100.0),
            Model::Every(1) => f.write_str("always"),
            Model::Every(k) => write!(f, "every {k}{}", ordinal(k)),
            Model::Run { first, count } => write!(f, "{count} from the {first}{} on", ordinal(first)),
        }
    }
}

const fn ordinal(number: u64) -> &'static str {
    match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(strike: Strike) -> Vec<u64> {
        let mut rng = Rng::new(1);
        (1..=10).filter(|&number| strike.hits(number, &mut rng)).collect()
    }

    #[test]
    fn counted_strikes_hit_the_packets_they_name() {
        assert_eq!(struck(Strike::every(3)), [3, 6, 9]);
        assert_eq!(struck(Strike::run(4, 2)), [4, 5]);
        assert_eq!(struck(Strike::always()).len(), 10);
        assert!(struck(Strike::never()).is_empty() && struck(Strike::every(0)).is_empty());
    }

    #[test]
    fn a_strike_that_does_not_depend_on_chance_draws_nothing() {
        let mut rng = Rng::new(1);
        let _ = (Strike::every(2).hits(1, &mut rng), Strike::never().hits(1, &mut rng));
        assert_eq!(rng, Rng::new(1));
    }
}
