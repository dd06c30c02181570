//! Can what the peer reports be true?
//!
//! Three delays are known of which the peer makes up one or two: what it reports about our packets, what we measure of
//! its own with the send times that it writes, and the round trip, which nobody can shorten. Queues there and back add
//! up to that of the round trip, but for the time that the peer takes to answer. A peer that hides the queue of our
//! packets, to be sent more, has to say where the round trip went.
//!
//! Knows no packets and decides nothing but whom to believe.

use std::time::Duration;

use crate::time::Instant;

/// Queueing delays at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    /// As the peer reports it about our packets.
    pub(super) reported: Duration,
    /// As we measure it of the peer's packets; in the peer's hands too, through their send times.
    pub(super) back: Duration,
    /// Of the round trip.
    pub(super) round_trip: Duration,
}

impl Queues {
    /// What of the round trip neither direction explains: at most the queue that is hidden and the peer's own time.
    const fn unexplained(&self) -> Duration {
        self.round_trip.saturating_sub(self.reported).saturating_sub(self.back)
    }

    /// A queue that is seen by the round trip alone, and a large one.
    fn hardly_credible(&self) -> bool {
        self.round_trip > HARDLY_CREDIBLE.0 && self.reported < HARDLY_CREDIBLE.1
    }
}

/// What the last rounds looked like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    round_end: Instant,
    unexplained: Tally,
    hardly_credible: Tally,
}

impl Doubt {
    /// A round trip was measured. Looks once per round.
    pub(super) fn look(&mut self, now: Instant, round_trip: Duration, queues: &Queues) {
        if now < self.round_end {
            return;
        }
        self.round_end = now + round_trip;
        self.unexplained.count(queues.unexplained() > UNEXPLAINED);
        self.hardly_credible.count(queues.hardly_credible());
    }

    /// The queue of our packets, if the report is not to be believed.
    pub(super) fn instead(&self, queues: &Queues) -> Option<Duration> {
        if self.hardly_credible.is_proved {
            return Some(queues.round_trip.max(queues.reported));
        }
        self.unexplained.is_proved.then(|| queues.round_trip.saturating_sub(queues.back).max(queues.reported))
    }
}

/// For and against, in rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    rounds: u8,
    is_proved: bool,
}

impl Tally {
    fn count(&mut self, suspicious: bool) {
        self.rounds =
            if suspicious { (self.rounds + 1).min(ROUNDS_MAX) } else { self.rounds.saturating_sub(1) };
        self.is_proved = self.rounds >= if self.is_proved { 1 } else { ROUNDS };
    }
}

/// Ours: half the largest target. Less would find fault with peers that are slow to answer.
const UNEXPLAINED: Duration = Duration::from_millis(50);

/// Ours: twice the largest target in the round trip, and less than a quarter of it reported.
const HARDLY_CREDIBLE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(25));

/// Ours: so many rounds more with than without suspicion are a proof.
const ROUNDS: u8 = 10;

/// Ours: and so many without it at most clear the peer.
const ROUNDS_MAX: u8 = 20;
