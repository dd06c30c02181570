//! What must be true at every moment of every world, whatever the network does: ten oracles, always on.
//!
//! They watch what hosts send and receive, what programs report and how large the tables are. They do not ask an
//! endpoint what it thinks it is doing, so that a mistake in the endpoint's own book-keeping does not hide itself.
//! The first violation ends the run: [`Why::Violation`](super::Why::Violation).
//!
//! ```text
//!   programs ──▶ streams    bytes are right, the end comes after all of them
//!   wire     ──▶ ledger     nothing is amplified towards an address that has not spoken for itself
//!            ──▶ repeats    nothing is sent twice within a round trip without a reason
//!            ──▶ stimuli    nobody answers answers
//!   tables   ──▶ tables     what is bounded stays bounded, what is closed leaves nothing behind
//!   time     ──▶ here       everything ends in time
//! ```
//!
//! An eleventh promise, that a seed decides everything, takes two runs to see: compare
//! [`Trace::hash`](super::Trace::hash).

mod ledger;
mod repeats;
mod stimuli;
mod streams;
mod tables;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use watch::{Oracles, Turn};

/// One of the promises that every world keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Oracle {
    /// What is read is what was written, byte by byte: [`Report::wrong_at`](super::Report::wrong_at) stays empty and
    /// nobody reads more than the other end wrote.
    Bytes,
    /// Nothing panics, no arithmetic overflows (where overflow checks are on).
    Panic,
    /// A stream ends after all of its bytes.
    End,
    /// Whoever waits, waits for something: a timer is armed for what is not acknowledged, and nobody who could go on
    /// is left asleep.
    Progress,
    /// Everything comes to its end within the time given by [`World::finish_within`](super::World::finish_within).
    Deadline,
    /// Tables and buffers stay within what the configuration allows.
    Memory,
    /// Towards an address that has not proved that it hears us, never more bytes leave than came from there.
    Amplification,
    /// No packet is sent twice within the smallest possible round trip, except to probe a shut window, or once for
    /// three duplicate acknowledgements.
    Repeats,
    /// What arrives causes at most one packet without data (the same acknowledgement under two numbers in a row is one,
    /// for the sake of other implementations), and packets without data do not answer each other for ever.
    PingPong,
    /// When the last connection is gone, so are its routes and timers.
    Leftovers,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Bytes,
        Self::Panic,
        Self::End,
        Self::Progress,
        Self::Deadline,
        Self::Memory,
        Self::Amplification,
        Self::Repeats,
        Self::PingPong,
        Self::Leftovers,
    ];
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "wrong bytes",
            Self::Panic => "panic",
            Self::End => "end before the end",
            Self::Progress => "no progress",
            Self::Deadline => "not finished in time",
            Self::Memory => "too much memory",
            Self::Amplification => "amplification",
            Self::Repeats => "repeated too soon",
            Self::PingPong => "answers to answers",
            Self::Leftovers => "something is left over",
        })
    }
}

/// What an oracle says when it is not content.
pub(super) type Verdict = Result<(), (Oracle, String)>;

/// Not content.
fn violated(oracle: Oracle, text: impl fmt::Display) -> Verdict {
    Err((oracle, text.to_string()))
}
