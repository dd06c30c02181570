//! What the sending half reports: what an acknowledgement settled, and what was found lost.
//!
//! Plain values for whoever composes a connection. They name no windows and take no decisions.

use std::time::Duration;

use crate::time::Instant;

/// What one acknowledgement settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckOutcome {
    /// Payload newly acknowledged or reported, in bytes.
    pub bytes: u32,
    /// Segments newly acknowledged or reported.
    pub packets: u32,
    /// The cumulative acknowledgement moved.
    pub advanced: bool,
    /// Round trip of the newest of them. Nothing if any of them was retransmitted: its echo cannot be told from the
    /// original's (Karn), and what its arrival released has waited at the receiver.
    pub rtt: Option<Duration>,
    /// Latest transmission of the newest of them.
    pub newest_sent_at: Option<Instant>,
    /// Some of them had been retransmitted.
    pub retransmitted_acked: bool,
    /// How many proved reordering: never retransmitted, yet reported after a later one.
    pub reordered: u32,
    /// How many had been retransmitted for nothing: the answer came sooner than any round trip.
    pub spurious: u32,
    /// The last timeout proved premature. What it had given up and was not sent again counts as in flight again.
    pub timeout_spurious: bool,
    /// It acknowledges, or reports, a segment that was kept back: nobody can have received that.
    pub lied: bool,
    /// The FIN, and so everything, is acknowledged.
    pub fin_acked: bool,
}

/// What was newly found lost. Everything in it waits for retransmission, except what a tail probe repaired already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Segments lost.
    pub packets: u32,
    /// Their payload, in bytes.
    pub bytes: u32,
    /// When the newest of the lost transmissions was sent.
    pub newest_sent_at: Instant,
    /// At least one was sent after the last epoch began: the first sign of congestion since then. Cut the window
    /// for these only, or one burst of losses counts many times.
    pub new_epoch: bool,
}
