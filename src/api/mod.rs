//! What users see: sockets, listeners and streams with the manners of tokio's TCP.
//!
//! Takes no protocol decisions, and touches connections through their handles only.

pub mod blocking;
mod foreign;
mod listener;
pub mod message;
mod nat;
#[cfg(feature = "session")]
pub mod packet;
mod punch;
pub mod rendezvous;
#[cfg(feature = "session")]
pub mod session;
mod socket;
mod split;
mod stream;

pub use foreign::Foreign;
pub use listener::{Incoming, UtpListener};
pub use punch::{Punched, Punching};
pub use socket::{Connect, UtpSocket};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::UtpStream;

pub use crate::net::{
    Datagrams, Driver, GrantedBuffers, MemoryHub, MemorySocket, PollDatagrams, Run, SystemSocket, Udp,
};
pub use crate::proto::batch::Batch;
pub use crate::proto::punch::{NatReport, PathKind, PunchError, PunchPlan, PunchReport, PunchRole};
pub use crate::proto::stun::StunError;
pub use crate::wire::{Candidate, CandidateKind, ConnId, Filtering, Mapping, Ticket, TicketError};
