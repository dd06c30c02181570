//! A search for the port that a symmetric NAT has chosen, by the paradox of the birthdays: the side behind it opens
//! many ports, the other side tries many, and soon one of these is one of those.
//!
//! ```text
//!   hard side   256 sockets, from each an opener that dies on the way, again every 10 s
//!   easy side   a probe every 5 ms to another port of the hard side's address, 2,048 at most
//! ```
//!
//! The openers must not arrive: a NAT on the other side would take each for a connection of its own, and the probe
//! behind it for another. Knows ports and sockets; what a probe is, others know.

use std::time::Duration;

use rand::rngs::StdRng;

use super::PunchPlan;
use super::output::Job;
use super::spray::Spray;
use super::targets::with_port;
use crate::proto::batch::{Path, SocketId};
use crate::time::Instant;

/// Ours: sockets of the side behind the symmetric NAT: enough to be found, few enough for a home router's table.
pub const BIRTHDAY_SOCKETS: usize = 256;

/// Ours: how long plain probes are given before a search begins.
const PLAIN_FIRST: Duration = Duration::from_secs(1);

/// Ours: how long a NAT is trusted to remember an opener; Linux forgets after 30 s.
const OPENER_AGAIN: Duration = Duration::from_secs(10);

/// Where a search stands.
#[derive(Debug)]
pub(super) enum Birthday {
    /// There will be none: not for these two, not wanted, or over.
    No,
    /// Not yet, and perhaps never; not before that time in any case.
    Perhaps { not_before: Instant },
    /// We are behind the symmetric NAT.
    Hard { easy: Path, sockets: Vec<Extra> },
    /// The peer is.
    Easy { hard: Path, spray: Spray },
}

/// One of many sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extra {
    socket: SocketId,
    /// When its next opener is due.
    due: Instant,
}

impl Birthday {
    pub(super) const fn new(plan: &PunchPlan) -> Self {
        let suits = plan.local.mapping.is_hard() != plan.remote.mapping.is_hard();
        if plan.birthday && suits { Self::Perhaps { not_before: Instant::ZERO } } else { Self::No }
    }

    /// When it should begin, if nothing is found until then and everything was sent from `went` on.
    pub(super) fn wanted_from(&self, went: Option<Instant>) -> Option<Instant> {
        match self {
            Self::Perhaps { not_before } => Some((went? + PLAIN_FIRST).max(*not_before)),
            _ => None,
        }
    }

    /// It has to wait.
    pub(super) fn defer(&mut self, until: Instant) {
        if let Self::Perhaps { not_before } = self {
            *not_before = until;
        }
    }

    /// Begins it. Returns how many sockets it takes.
    pub(super) fn begin(&mut self, plan: &PunchPlan, origin: Path) -> usize {
        if plan.local.mapping.is_hard() {
            *self = Self::Hard { easy: origin, sockets: Vec::new() };
            BIRTHDAY_SOCKETS
        } else {
            *self = Self::Easy { hard: origin, spray: Spray::new(plan.remote.mapping, origin.peer.port()) };
            0
        }
    }

    /// Whether it is under way.
    pub(super) const fn is_on(&self) -> bool {
        matches!(self, Self::Hard { .. } | Self::Easy { .. })
    }

    /// Whether it may still find something.
    pub(super) const fn is_possible(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// One of the sockets is there.
    pub(super) fn opened(&mut self, now: Instant, socket: SocketId) {
        if let Self::Hard { sockets, .. } = self
            && sockets.len() < BIRTHDAY_SOCKETS
        {
            sockets.push(Extra { socket, due: now });
        }
    }

    /// What is to be sent next, and when.
    pub(super) fn next_job(&self, now: Instant) -> Option<(Instant, Job)> {
        match self {
            Self::Hard { easy, sockets } => {
                let first = sockets.iter().min_by_key(|extra| extra.due)?;
                Some((first.due, Job::ManyOpeners(Path { socket: first.socket, ..*easy })))
            }
            Self::Easy { spray, .. } if !spray.is_over() => Some((now, Job::Search)),
            _ => None,
        }
    }

    /// An opener has left from that socket.
    pub(super) fn opener_sent(&mut self, now: Instant, socket: SocketId) {
        if let Self::Hard { sockets, .. } = self
            && let Some(extra) = sockets.iter_mut().find(|extra| extra.socket == socket)
        {
            extra.due = now + OPENER_AGAIN;
        }
    }

    /// The next port to be tried.
    pub(super) fn next_port(&mut self, rng: &mut StdRng) -> Option<Path> {
        let Self::Easy { hard, spray } = self else { return None };
        let port = spray.next(rng);
        let path = port.map(|port| with_port(*hard, port));
        if path.is_none() {
            *self = Self::No;
        }
        path
    }

    /// Whether what came on that path came because of the search.
    pub(super) fn found(&self, path: Path) -> bool {
        match self {
            Self::Hard { easy, .. } => path.socket != easy.socket,
            Self::Easy { hard, .. } => path.socket == hard.socket && path.peer.ip() == hard.peer.ip(),
            _ => false,
        }
    }
}
