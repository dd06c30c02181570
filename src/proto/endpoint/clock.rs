//! The clock that a connection shows to its peer: the endpoint's, moved ahead by a secret of its own.
//!
//! Only differences between send times mean anything to a peer. With one clock for all, a peer with two addresses
//! could tell that both talk to the same endpoint, and anybody how long it has been running. A connection knows only
//! the clock that it shows; whoever calls it translates.

use std::time::Duration;

use crate::time::Instant;

/// How far ahead: anywhere on the circle of 2^32 microseconds that fits into a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    ahead: u32,
}

impl Clock {
    pub(super) const fn new(ahead: u32) -> Self {
        Self { ahead }
    }

    /// Microseconds ahead of the endpoint's.
    pub(super) const fn ahead(self) -> u32 {
        self.ahead
    }

    /// The endpoint's time on this clock.
    pub(super) fn shown(self, now: Instant) -> Instant {
        now + Duration::from_micros(self.ahead.into())
    }

    /// A time on this clock as the endpoint's.
    pub(super) const fn hidden(self, at: Instant) -> Instant {
        Instant::from_micros(at.as_micros().saturating_sub(self.ahead as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_hidden_again() {
        for ahead in [0, 1, u32::MAX] {
            let clock = Clock::new(ahead);
            assert_eq!(clock.ahead(), ahead);
            for now in [Instant::ZERO, Instant::from_micros(77)] {
                assert_eq!(clock.hidden(clock.shown(now)), now);
            }
            assert_eq!(clock.shown(Instant::ZERO).stamp().get(), ahead);
        }
    }
}
