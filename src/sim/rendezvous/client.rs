//! A peer who meets another one by way of a rendezvous server, on a simulated host.

use std::time::Duration;

use super::super::flow::{FlowId, Side};
use super::super::resident::{Home, Resident};
use super::super::traffic::Traffic;
use crate::proto::punch::{PathKind, PunchError, PunchReport};
use crate::proto::rendezvous::{AgentConfig, Keeper, Meeting};
use crate::wire::rendezvous::{Role, WantedRole};

/// Meets whoever is in the same room, and then has one end of a connection, as a [`Resident`].
///
/// The connection is a [`flow`](crate::sim::World::flow), whose initiator must be the one with
/// [`WantedRole::Initiator`].
#[derive(Debug)]
pub struct RendezvousClient {
    meeting: Option<Meeting>,
    flow: FlowId,
    traffic: Traffic,
    outcome: Option<Result<PunchReport, PunchError>>,
    met_at: Option<Duration>,
    /// With what it looks after the way of the stream.
    keeps: Option<(AgentConfig, [u8; 32])>,
    keeper: Option<Keeper>,
}

impl RendezvousClient {
    /// The peer with that part. What looks like chance follows from the seed.
    #[must_use]
    pub fn new(config: AgentConfig, side: Side, flow: FlowId, traffic: &Traffic, seed: [u8; 32]) -> Self {
        let role = match side {
            Side::Initiator => WantedRole::Initiator,
            Side::Acceptor => WantedRole::Acceptor,
        };
        let meeting = Some(Meeting::new(AgentConfig { role, ..config }, seed));
        Self { meeting, flow, traffic: *traffic, outcome: None, met_at: None, keeps: None, keeper: None }
    }

    /// Meets again, as this says, when the stream has lost its way or goes through a server.
    #[must_use]
    pub fn keeping(mut self, config: AgentConfig, seed: [u8; 32]) -> Self {
        self.keeps = Some((config, seed));
        self
    }

    /// How often another way for the stream was found.
    #[must_use]
    pub fn found_again(&self) -> u32 {
        self.keeper.as_ref().map_or(0, Keeper::found)
    }

    /// How it went, once it is over.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Result<PunchReport, PunchError>> {
        self.outcome.as_ref()
    }

    /// When that was, since the world began.
    #[must_use]
    pub const fn met_at(&self) -> Option<Duration> {
        self.met_at
    }

    /// The meeting, as long as it goes on.
    #[must_use]
    pub const fn meeting(&self) -> Option<&Meeting> {
        self.meeting.as_ref()
    }
}

impl RendezvousClient {
    fn keep(&mut self, home: &mut Home<'_>) {
        let Some(keeper) = &mut self.keeper else { return };
        if keeper.poll(&mut home.context(), home.local_now(), home.shared()).is_pending() {
            home.wake_at_local(keeper.poll_timeout());
        }
    }
}

impl Resident for RendezvousClient {
    fn step(&mut self, home: &mut Home<'_>) {
        let now = home.local_now();
        let Some(meeting) = &mut self.meeting else { return self.keep(home) };
        match meeting.poll(&mut home.context(), now, home.shared()) {
            std::task::Poll::Pending => {
                if let Some(at) = meeting.poll_timeout() {
                    home.wake_at_local(at);
                }
            }
            std::task::Poll::Ready(outcome) => {
                self.meeting = None;
                self.met_at = Some(home.now());
                self.outcome = Some(outcome.map(|met| {
                    let side = match met.role {
                        Role::Initiator => Side::Initiator,
                        Role::Acceptor => Side::Acceptor,
                    };
                    if let Some((config, seed)) = self.keeps.take() {
                        let relayed = met.report.path == Some(PathKind::Relayed);
                        let mover = met.handle.mover();
                        self.keeper = Some(Keeper::new(now, config, seed, mover, relayed));
                    }
                    home.adopt(self.flow, side, met.handle, &self.traffic);
                    met.report
                }));
                self.keep(home);
            }
        }
    }
}
