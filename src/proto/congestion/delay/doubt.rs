//! Can what the peer reports be true?
//!
//! Three delays are known, of which the peer makes up one or two: what it reports about our packets, what we measure of
//! its own by the send times that it writes, and the round trip, which nobody can shorten. The queues there and back
//! add up to that of the round trip, but for the time that the peer takes to answer. A peer that hides the queue of our
//! packets, to be sent more, has to say where the round trip went.
//!
//! It may say "on the way back", and write send times that fit. Nobody can tell that from a path whose way back is full,
//! which LEDBAT must not mind; against such a peer there is only loss.

use std::time::Duration;

/// Queueing delays at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    /// As the peer reports it about our packets.
    pub(super) reported: Duration,
    /// As we measure it of the peer's packets.
    pub(super) back: Duration,
    /// Of the round trip.
    pub(super) round_trip: Duration,
}

impl Queues {
    /// The queue of our packets, if the one reported leaves more of the round trip unexplained than this.
    pub(super) fn hidden(&self, tolerance: Duration) -> Option<Duration> {
        let forward = self.round_trip.saturating_sub(self.back);
        (forward.saturating_sub(self.reported) > tolerance).then_some(forward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_a_queue_is_hidden_only_if_neither_direction_explains_the_round_trip() {
        let hidden = |reported, back, round_trip| {
            let [reported, back, round_trip] = [reported, back, round_trip].map(Duration::from_millis);
            let queues = Queues { reported, back, round_trip };
            queues.hidden(Duration::from_millis(50)).map(|hidden| hidden.as_millis())
        };
        assert_eq!(hidden(0, 0, 120), Some(120));
        assert_eq!(hidden(0, 60, 120), Some(60));
        assert_eq!(hidden(70, 0, 120), None, "the peer took its time");
        assert_eq!(hidden(0, 300, 300), None, "a full way back");
        assert_eq!(hidden(200, 100, 250), None, "clocks drift");
    }
}
