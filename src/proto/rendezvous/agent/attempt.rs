//! One attempt to find a way to a peer: a CONNECT becomes a punch, and its end a report.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{AgentConfig, AgentEvent, Met};
use crate::proto::endpoint::{Mover, PunchHandle, Shared};
use crate::proto::punch::{self, NatReport, PunchError, PunchPlan, PunchRole, Start, WAIT_MIN};
use crate::time::Instant;
use crate::wire::rendezvous::{Connect, Outcome, PathKind, PeerHandle, Punched, Role};
use crate::wire::{Candidate, CandidateKind, Session, Token};

/// Ours: how long to wait for the other one at the relay: one of the two may have known after two seconds that there is
/// no other way, and the other one after fifteen.
const THROUGH: Duration = Duration::from_secs(20);

/// What is to be done about a CONNECT.
pub(super) fn plan(
    config: &AgentConfig,
    token: Token,
    local: NatReport,
    server_rtt: Duration,
    connect: &Connect,
) -> PunchPlan {
    let role = match connect.role {
        Role::Initiator => PunchRole::Initiator,
        Role::Acceptor => PunchRole::Acceptor,
    };
    let ours = Connect::session_token(token, connect.session);
    let candidates = connect.candidates.clone();
    PunchPlan {
        local,
        remote: connect.class,
        start: Start::OnGo { server_rtt },
        birthday: config.birthday,
        deadline: config.deadline.min(connect.deadline),
        service: config.service,
        veto: config.veto.clone(),
        ..PunchPlan::new(connect.session, role, ours, connect.token, candidates)
    }
}

/// What is to be done when there is no other way than through the server: the same under another name, since a name is
/// good for one attempt.
fn through(relay: SocketAddr, plan: &PunchPlan) -> PunchPlan {
    let mut name = plan.session.to_bytes();
    name[15] ^= 1;
    PunchPlan {
        session: Session::new(name),
        candidates: vec![Candidate::new(CandidateKind::Mapped, relay)],
        start: Start::After(WAIT_MIN),
        birthday: false,
        deadline: THROUGH,
        ..plan.clone()
    }
}

pub(super) struct Attempt {
    session: Session,
    peer: PeerHandle,
    role: Role,
    punch: PunchHandle,
    /// What is left to try.
    fallback: Option<PunchPlan>,
    /// Why there was no other way; by now it is tried through the server.
    first: Option<PunchError>,
    /// It is tried through the server.
    relayed: bool,
    /// The server has been told that our first packets are out.
    ready: bool,
    begun: Instant,
}

impl Attempt {
    pub(super) fn begin(
        now: Instant,
        shared: &Arc<Shared>,
        connect: &Connect,
        plan: PunchPlan,
        relay: Option<SocketAddr>,
    ) -> Self {
        let mut fallback = relay.map(|relay| through(relay, &plan));
        // One of the two does not want to be found otherwise.
        let at_once = fallback.take_if(|_| plan.candidates.is_empty());
        let relayed = at_once.is_some();
        let plan = at_once.unwrap_or(plan);
        Self { fallback, relayed, ..Self::with(now, connect, shared.punch(plan)) }
    }

    /// For a stream that there is already.
    pub(super) fn again(
        now: Instant,
        shared: &Arc<Shared>,
        connect: &Connect,
        plan: PunchPlan,
        stream: &Mover,
    ) -> Self {
        Self::with(now, connect, shared.punch_again(plan, stream))
    }

    const fn with(now: Instant, connect: &Connect, punch: PunchHandle) -> Self {
        Self {
            session: connect.session,
            peer: connect.peer,
            role: connect.role,
            punch,
            fallback: None,
            first: None,
            relayed: false,
            ready: false,
            begun: now,
        }
    }

    pub(super) const fn session(&self) -> Session {
        self.session
    }

    /// Both have sent their first packets.
    pub(super) fn go(&self) {
        self.punch.go();
    }

    /// Whether our first packets are out, for the first time.
    pub(super) fn became_ready(&mut self, cx: &mut Context<'_>) -> bool {
        let now_ready = !self.ready && self.punch.poll_ready(cx).is_ready();
        self.ready |= now_ready;
        now_ready
    }

    /// Ready with what the server and the one we work for are to be told.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
    ) -> Poll<(Punched, AgentEvent)> {
        let done = loop {
            match std::task::ready!(self.punch.poll_done(cx)) {
                Err(error) if may_be_mended(&error) && self.fallback.is_some() => {
                    if let Some(plan) = self.fallback.take() {
                        self.punch = shared.punch(plan);
                        self.relayed = true;
                        self.first = Some(error);
                    }
                }
                // What it was through the server says less.
                Err(error) => break Err(self.first.take().unwrap_or(error)),
                Ok((handle, mut report)) => {
                    if self.relayed {
                        report.path = Some(punch::PathKind::Relayed);
                    }
                    break Ok((handle, report));
                }
            }
        };
        let took = now.since(self.begun);
        Poll::Ready(match done {
            Ok((handle, report)) => {
                let path = report.path.map(path_kind);
                let result = Punched { session: self.session, outcome: Outcome::Connected, path, took };
                let met = Met { peer: self.peer, handle, role: self.role, report };
                (result, AgentEvent::Met(Box::new(met)))
            }
            Err(error) => {
                let outcome = outcome(&error);
                let result = Punched { session: self.session, outcome, path: None, took };
                (result, AgentEvent::NotMet(self.peer, error))
            }
        })
    }

    /// It is given up; what the server is to be told, and whom it was about.
    pub(super) fn given_up(self, now: Instant) -> (Punched, PeerHandle) {
        let took = now.since(self.begun);
        (Punched { session: self.session, outcome: Outcome::Cancelled, path: None, took }, self.peer)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Whether a way through the server helps.
const fn may_be_mended(error: &PunchError) -> bool {
    matches!(
        error,
        PunchError::Timeout(_)
            | PunchError::BothSymmetric(_)
            | PunchError::UdpBlocked(_)
            | PunchError::NoCandidates(_)
            | PunchError::Vanilla(_)
    )
}

const fn outcome(error: &PunchError) -> Outcome {
    match error {
        PunchError::Timeout(_) => Outcome::TimedOut,
        PunchError::BothSymmetric(_) => Outcome::BothSymmetric,
        PunchError::UdpBlocked(_) => Outcome::UdpBlocked,
        PunchError::Cancelled(_) => Outcome::Cancelled,
        _ => Outcome::Failed,
    }
}

const fn path_kind(path: punch::PathKind) -> PathKind {
    match path {
        punch::PathKind::Lan => PathKind::Local,
        punch::PathKind::Ipv6 => PathKind::V6,
        punch::PathKind::Ipv4 => PathKind::V4,
        punch::PathKind::PeerReflexive => PathKind::PeerReflexive,
        punch::PathKind::Birthday => PathKind::Birthday,
        punch::PathKind::Relayed => PathKind::Relayed,
    }
}
