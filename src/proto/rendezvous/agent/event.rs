//! What an agent tells.

use std::fmt;
use std::time::Duration;

use crate::proto::endpoint::Handle;
use crate::proto::punch::{PunchError, PunchReport};
use crate::proto::rendezvous::Loss;
use crate::wire::rendezvous::{ErrorCode, PeerHandle, Role};

/// What has happened.
#[derive(Debug)]
pub enum AgentEvent {
    /// A server has taken us: its place among those that are asked about this room.
    Arrived(usize),
    /// We are in the room, and these were there before us.
    Joined(Vec<PeerHandle>),
    /// Somebody else came.
    Came(PeerHandle),
    /// Somebody else went.
    Went(PeerHandle),
    /// Somebody wants to meet us: [`Agent::meet`](super::Agent::meet) agrees,
    /// [`Agent::decline`](super::Agent::decline) does not. Nothing is heard of this if
    /// [everybody is welcome](super::AgentConfig::welcomes_all).
    Asked(PeerHandle),
    /// There is a stream to somebody.
    Met(Box<Met>),
    /// There is no stream to somebody.
    NotMet(PeerHandle, PunchError),
    /// Something is wrong about a server. The agent goes on by itself.
    Trouble(RendezvousError),
}

/// Somebody who was met.
#[derive(Debug)]
pub struct Met {
    /// Who.
    pub peer: PeerHandle,
    /// The stream.
    pub handle: Handle,
    /// Which part we had.
    pub role: Role,
    /// How it went.
    pub report: PunchReport,
}

/// What was wrong about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RendezvousError {
    /// No server was named that our sockets reach.
    NoServers,
    /// All of them were tried, and none could be reached.
    Unreachable,
    /// The stream to it broke.
    Broken,
    /// Nothing sensible came from it.
    Lost(Loss),
    /// It is about to go.
    Leaving,
    /// It does not let us into the room, or does not bring two together.
    Refused {
        /// Why.
        code: ErrorCode,
        /// When it makes sense to try again.
        retry_after: Option<Duration>,
    },
    /// The room has been closed.
    Expelled,
}

impl fmt::Display for RendezvousError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServers => f.write_str("no rendezvous server that can be reached from here was named"),
            Self::Unreachable => f.write_str("no rendezvous server answers"),
            Self::Broken => f.write_str("the connection to the rendezvous server broke"),
            Self::Lost(loss) => loss.fmt(f),
            Self::Leaving => f.write_str("the rendezvous server is about to go"),
            Self::Refused { code, retry_after: None } => write!(f, "the rendezvous server refused: {code}"),
            Self::Refused { code, retry_after: Some(after) } => {
                write!(f, "the rendezvous server refused: {code}; try again in {} s", after.as_secs().max(1))
            }
            Self::Expelled => f.write_str("the rendezvous server has closed the room"),
        }
    }
}

impl std::error::Error for RendezvousError {}
