//! Every deadline of a connection, in one place.

use crate::time::Instant;

/// Deadlines; those of other parts (delayed acks, window updates, losses by time) live there.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// The next SYN; after the handshake, the next repetition of its third leg.
    pub(super) syn: Option<Instant>,
    /// The oldest packet is overdue.
    pub(super) retransmit: Option<Instant>,
    /// Nothing was heard since the last packet of a burst: send one more (RFC 8985 §7).
    pub(super) probe: Option<Instant>,
    /// A hole is old enough to be a loss (RFC 8985 §6.2).
    pub(super) loss: Option<Instant>,
    /// A segment has been kept back long enough.
    pub(super) kept_back: Option<Instant>,
    /// The pacer lets the next packet go.
    pub(super) pace: Option<Instant>,
    /// Try a shut window.
    pub(super) persist: Option<Instant>,
    /// The peer may not know where we are: ask it once more.
    pub(super) search: Option<Instant>,
    /// Has more come since?
    pub(super) flow: Option<Instant>,
    /// The peer has been silent for long: ask it once more.
    pub(super) consent: Option<Instant>,
    /// Nothing was sent for long: keep the NATs' mappings.
    pub(super) keepalive: Option<Instant>,
    /// The application is gone; what is left by then is dropped.
    pub(super) linger: Option<Instant>,
    /// Buffers that stay empty give their memory back.
    pub(super) trim: Option<Instant>,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        [
            self.syn,
            self.retransmit,
            self.probe,
            self.loss,
            self.kept_back,
            self.pace,
            self.persist,
            self.search,
            self.flow,
            self.consent,
            self.keepalive,
            self.linger,
            self.trim,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Stops what has to do with moving data: all but giving memory back.
    pub(super) fn stop_data(&mut self) {
        *self = Self { trim: self.trim, ..Self::default() };
    }
}

/// Whether a deadline has passed; clears it if so.
pub(super) fn expired(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}
