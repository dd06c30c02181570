//! The socket of a host as its system treats it: full for a while, or refusing for other reasons.
//!
//! Decides about each attempt to send a batch. What the host does about it is what the driver does in production.

use std::fmt;
use std::time::Duration;

use super::nanos;
use crate::link::{Rng, Strike};
use crate::proto::batch::Batch;

/// What a system may say to somebody who wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// EAGAIN: the socket's buffer is full, and stays so for that long. What was to be sent waits, and is sent with
    /// fresh timestamps when there is room.
    Full(Duration),
    /// ENOBUFS: the system has no memory to spare. The datagrams are lost.
    NoBuffers,
    /// EMSGSIZE, for datagrams of more than so many bytes of UDP payload: the system knows of a narrow spot. They
    /// are lost.
    TooLong(usize),
    /// ECONNREFUSED, the answer to an earlier datagram to somebody: nothing was sent. The driver tries once more, and
    /// if that fails too, the datagrams are lost.
    Refused,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(lasts) => write!(f, "EAGAIN for {lasts:?}"),
            Self::NoBuffers => f.write_str("ENOBUFS"),
            Self::TooLong(limit) => write!(f, "EMSGSIZE above {limit} B"),
            Self::Refused => f.write_str("ECONNREFUSED"),
        }
    }
}

/// Why sending stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Until then; the rest waits.
    Full(u64),
    /// The rest is lost.
    Lost,
}

/// The way out of a host.
#[derive(Debug)]
pub(super) struct Socket {
    trouble: Option<(Strike, SocketError)>,
    rng: Rng,
    attempts: u64,
    pub(super) full_until: u64,
}

impl Socket {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { trouble: None, rng, attempts: 0, full_until: 0 }
    }

    /// Which attempts to send fail from now on, and how; none, and it is no longer full either.
    pub(super) const fn set_trouble(&mut self, trouble: Option<(Strike, SocketError)>) {
        self.trouble = trouble;
        self.full_until = 0;
    }

    /// An attempt to send what the batch holds from `skip` on. Returns up to where it is sent, and why not further.
    pub(super) fn attempt(&mut self, now: u64, batch: &Batch, skip: usize) -> (usize, Option<Refusal>) {
        let total = batch.len();
        let Some((which, error)) = self.trouble else { return (total, None) };
        self.attempts += 1;
        if !which.hits(self.attempts, &mut self.rng) {
            return (total, None);
        }
        match error {
            SocketError::Full(lasts) => {
                let fits = self.rng.below((total - skip) as u64) as usize;
                self.full_until = now.saturating_add(nanos(lasts)).max(now + 1);
                (skip + fits, Some(Refusal::Full(self.full_until)))
            }
            SocketError::TooLong(limit) if batch.segment_size() <= limit => (total, None),
            SocketError::Refused => {
                self.attempts += 1;
                match which.hits(self.attempts, &mut self.rng) {
                    true => (skip, Some(Refusal::Lost)),
                    false => (total, None),
                }
            }
            SocketError::NoBuffers | SocketError::TooLong(_) => (skip, Some(Refusal::Lost)),
        }
    }
}
