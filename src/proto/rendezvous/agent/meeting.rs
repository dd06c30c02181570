//! Two who meet in a room: whoever comes second asks, and both get a stream.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Agent, AgentConfig, AgentEvent, Met, RendezvousError};
use crate::proto::endpoint::{Mover, Shared};
use crate::proto::punch::{PunchError, PunchReport};
use crate::time::Instant;
use crate::wire::rendezvous::{ErrorCode, PeerHandle};

/// Ours: how long the one who was there first waits for the other one to ask, before it asks itself.
const MANNERS: Duration = Duration::from_secs(5);

/// An agent for two. Dropping it gives up.
pub struct Meeting {
    agent: Agent,
    /// Somebody came, then; if he does not ask, we do.
    came: Option<(PeerHandle, Instant)>,
    /// A server has been reached at some time.
    arrived: bool,
}

impl Meeting {
    /// With that agent; see [`Agent::new`].
    #[must_use]
    pub fn new(config: AgentConfig, seed: [u8; 32]) -> Self {
        Self::with(Agent::new(AgentConfig { capacity: 2, ..config }, seed))
    }

    /// The same for a stream that there is already; see [`Agent::again`].
    #[must_use]
    pub fn again(config: AgentConfig, seed: [u8; 32], stream: Mover) -> Self {
        Self::with(Agent::again(AgentConfig { capacity: 2, ..config }, seed, stream))
    }

    const fn with(agent: Agent) -> Self {
        Self { agent, came: None, arrived: false }
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Gives up, and says so. [`poll`](Self::poll) must not be called any more.
    pub fn leave(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) {
        self.agent.leave(now);
        let _nothing = self.agent.poll(cx, now, shared);
    }

    /// Goes as far as it gets; ready with the other one, or with why there is none. Waits for the other one for as long
    /// as it is polled.
    ///
    /// # Errors
    /// No server can be reached, the room is full, or no way to the other one was found.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
    ) -> Poll<Result<Box<Met>, PunchError>> {
        loop {
            while let Poll::Ready(event) = self.agent.poll(cx, now, shared) {
                if let Some(outcome) = self.happened(now, event) {
                    self.leave(cx, now, shared);
                    return Poll::Ready(outcome);
                }
            }
            match self.came {
                Some((peer, at)) if at + MANNERS <= now => {
                    self.came = None;
                    self.agent.meet(peer);
                }
                _ => return Poll::Pending,
            }
        }
    }

    /// When to call [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asks = self.came.map(|(_, at)| at + MANNERS);
        [self.agent.poll_timeout(), asks].into_iter().flatten().min()
    }

    fn happened(&mut self, now: Instant, event: AgentEvent) -> Option<Result<Box<Met>, PunchError>> {
        match event {
            AgentEvent::Arrived(_) => self.arrived = true,
            AgentEvent::Joined(there) => {
                self.came = None;
                there.into_iter().for_each(|peer| self.agent.meet(peer));
            }
            AgentEvent::Came(peer) => self.came = Some((peer, now)),
            AgentEvent::Went(peer) => self.came = self.came.filter(|(came, _)| *came != peer),
            AgentEvent::Asked(peer) => self.agent.meet(peer),
            AgentEvent::Met(met) => return Some(Ok(met)),
            // It went away before anything began: another one may come.
            AgentEvent::NotMet(_, PunchError::PeerNotFound(_)) => {}
            AgentEvent::NotMet(_, error) => return Some(Err(error)),
            AgentEvent::Trouble(error) if self.is_final(error) => {
                let report = PunchReport { local: self.agent.nat().clone(), ..PunchReport::default() };
                let report = Box::new(report);
                // No server answers, neither as one for meetings nor as one for addresses.
                let blocked = error == RendezvousError::Unreachable && report.local.blocked;
                return Some(Err(match blocked {
                    true => PunchError::UdpBlocked(report),
                    false => PunchError::Rendezvous { why: error.to_string(), report },
                }));
            }
            AgentEvent::Trouble(_) => {}
        }
        None
    }

    /// Whether waiting will not mend it.
    fn is_final(&self, error: RendezvousError) -> bool {
        match error {
            RendezvousError::NoServers => true,
            RendezvousError::Unreachable => !self.arrived,
            RendezvousError::Refused { code, .. } => code != ErrorCode::RateLimited,
            _ => false,
        }
    }
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meeting").field("agent", &self.agent).finish_non_exhaustive()
    }
}
