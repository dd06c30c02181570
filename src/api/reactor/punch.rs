//! Meeting peers through NATs, tick by tick.

use std::net::SocketAddr;
use std::task::Poll;

use super::Reactor;
use super::bell::{Bell, Owner};
use super::event::{Event, PunchId};
use super::peer::Peer;
use crate::api::ticket;
use crate::net::Datagrams;
use crate::proto::endpoint::PunchHandle;
use crate::proto::punch::{NatReport, PunchPlan};
use crate::wire::{Candidate, Ticket, TicketError};

/// An attempt that has no outcome yet.
#[derive(Debug)]
pub(super) struct Attempt {
    handle: PunchHandle,
    bell: Bell,
}

/// Meeting peers behind NATs.
impl<S: Datagrams> Reactor<S> {
    /// Looks for a way to a peer that looks for us at the same time, as the plan says, and opens a stream there.
    /// Nobody has to listen for it. [`Event::Punched`] or [`Event::PunchFailed`] tells what came of it; what is sent
    /// meanwhile, and to whom, [`PunchPlan`] and its tickets say, as for `UtpSocket::punch`.
    pub fn punch(&mut self, plan: PunchPlan) -> PunchId {
        let (handle, rung) = (self.lease.punch(plan), &self.rung);
        let key = self.attempts.insert_with(|key| {
            let bell = Bell::new(Owner::Punch(key), rung);
            bell.ring();
            Attempt { handle, bell }
        });
        PunchId(key)
    }

    /// Like [`punch`](Self::punch) with nothing but the peer's address: both sides call this with each other's, at about
    /// the same time. It tries for half a second times `attempts`. The two share no secret, so whoever answers at that
    /// address may be met instead: see [`PunchPlan::to_addr`].
    ///
    /// # Panics
    /// If the system has no source of randomness.
    pub fn punch_addr(&mut self, addr: SocketAddr, attempts: u32) -> PunchId {
        self.punch(ticket::plan_to_addr(addr, attempts))
    }

    /// Gives an attempt up, silently. Returns whether it had no outcome yet.
    pub fn cancel_punch(&mut self, punch: PunchId) -> bool {
        self.attempts.remove(punch.0).is_some()
    }

    /// A ticket for one attempt, to be handed to the peer, and to nobody else; with the peer's,
    /// [`PunchPlan::from_tickets`] makes a plan of it. `report` says what is in front of this port, and gives the public
    /// addresses; `more` are further candidates.
    ///
    /// # Errors
    /// More candidates than fit into a ticket, or one where nobody can be. Of more than eight, the last are left out.
    ///
    /// # Panics
    /// If the system has no source of randomness.
    pub fn ticket(&self, report: &NatReport, more: &[Candidate]) -> Result<Ticket, TicketError> {
        ticket::draw(report, more)
    }

    pub(super) fn news_of_attempt(&mut self, punch: PunchId) -> Option<Event> {
        let attempt = self.attempts.get_mut(punch.0)?;
        attempt.bell.heard();
        let Poll::Ready(outcome) = attempt.handle.poll_done(&mut attempt.bell.context()) else {
            return None;
        };
        self.attempts.remove(punch.0);
        Some(match outcome {
            Ok((handle, report)) => {
                let peer = self.enter(|bell| Peer::open(handle, bell));
                Event::Punched { punch, peer, report: Box::new(report) }
            }
            Err(error) => Event::PunchFailed { punch, error },
        })
    }
}
