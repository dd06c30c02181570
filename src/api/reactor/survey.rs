//! Where a reactor is, as others see it: what a ticket is made of.

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use super::Reactor;
use super::bell::{Bell, Owner};
use super::event::{Event, SurveyId};
use crate::api::whereabouts;
use crate::net::Datagrams;
use crate::proto::endpoint::Surveying;
use crate::time::Instant;
use crate::wire::Candidate;

/// Questions that have no outcome yet.
#[derive(Debug)]
pub(super) struct Inquiry {
    surveying: Surveying,
    /// The addresses that our datagrams carry when they leave.
    locals: Vec<SocketAddr>,
    bell: Bell,
}

impl Inquiry {
    /// When there is an outcome, whatever is answered until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.surveying.deadline()
    }

    /// Rings if it is time.
    pub(super) fn ring_if_due(&self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.bell.ring();
        }
    }
}

/// Where the port is, as others see it.
impl<S: Datagrams> Reactor<S> {
    /// Finds out what is in front of this port: asks up to four STUN servers (RFC 8489), each on the port given and on the
    /// one above it, and compares what they see. Every reactor that [serves STUN](Self::serve_stun) is one.
    /// [`Event::Surveyed`] tells, within some three seconds.
    pub fn survey(&mut self, servers: &[SocketAddr]) -> SurveyId {
        let locals = whereabouts::sources(&[self.local_addr()], servers);
        let (surveying, rung) = (self.lease.survey(self.now, servers), &self.rung);
        let key = self.inquiries.insert_with(|key| {
            let bell = Bell::new(Owner::Survey(key), rung);
            bell.ring();
            Inquiry { surveying, locals, bell }
        });
        SurveyId(key)
    }

    /// The addresses at which peers in the same network may find this port: the one it is bound to, or else for each
    /// family the one that the system would use. For [tickets](Self::ticket).
    #[must_use]
    pub fn host_candidates(&self) -> Vec<Candidate> {
        whereabouts::host_candidates(&[self.local_addr()])
    }

    /// Whether this port answers STUN Binding requests (at first it does not), so that others can ask it where they are.
    pub fn serve_stun(&mut self, serve: bool) {
        self.lease.serve_stun(serve);
    }

    /// How long after the last tick the next outcome is due.
    pub(super) fn next_survey(&self) -> Option<Duration> {
        let deadlines = self.inquiries.iter().filter_map(|(_, inquiry)| inquiry.deadline());
        deadlines.min().map(|at| at.since(self.now))
    }

    pub(super) fn news_of_survey(&mut self, survey: SurveyId) -> Option<Event> {
        let inquiry = self.inquiries.get_mut(survey.0)?;
        inquiry.bell.heard();
        let asked = inquiry.surveying.poll(&mut inquiry.bell.context(), self.now, &inquiry.locals);
        let Poll::Ready(report) = asked else { return None };
        let outcome = match inquiry.surveying.failure() {
            Some(failure) if !report.blocked => Err(failure),
            _ => Ok(report),
        };
        self.inquiries.remove(survey.0);
        Some(Event::Surveyed { survey, outcome })
    }
}
