//! What users see: sockets, listeners and streams with the manners of tokio's TCP and of std's, and a reactor for loops
//! that tick.
//!
//! Takes no protocol decisions, and touches connections through their handles only.

#[cfg(feature = "tokio")]
pub mod blocking;
#[cfg(feature = "tokio")]
mod foreign;
#[cfg(feature = "tokio")]
mod listener;
pub mod message;
#[cfg(feature = "tokio")]
mod nat;
#[cfg(feature = "session")]
pub mod packet;
#[cfg(feature = "tokio")]
mod punch;
#[cfg(feature = "reactor")]
pub mod reactor;
#[cfg(feature = "tokio")]
pub mod rendezvous;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "tokio")]
mod socket;
#[cfg(feature = "tokio")]
mod split;
#[cfg(feature = "tokio")]
mod stream;
mod ticket;
mod whereabouts;

#[cfg(feature = "tokio")]
pub use foreign::Foreign;
#[cfg(feature = "tokio")]
pub use listener::{Incoming, UtpListener};
#[cfg(feature = "tokio")]
pub use punch::{HolePunching, Punched, Punching};
#[cfg(feature = "reactor")]
pub use reactor::Reactor;
#[cfg(feature = "tokio")]
pub use socket::{Connect, UtpSocket};
#[cfg(feature = "tokio")]
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
#[cfg(feature = "tokio")]
pub use stream::UtpStream;

#[cfg(all(feature = "conditioner", feature = "tokio"))]
pub use crate::net::{Conditioned, LineControl};
pub use crate::net::{Datagrams, GrantedBuffers, MemoryHub, MemorySocket, PollDatagrams, Run, SystemSocket};
#[cfg(feature = "tokio")]
pub use crate::net::{Driver, Udp};
pub use crate::proto::batch::Batch;
pub use crate::proto::punch::{NatReport, PathKind, PunchError, PunchPlan, PunchReport, PunchRole};
pub use crate::proto::stun::StunError;
pub use crate::wire::{Candidate, CandidateKind, ConnId, Filtering, Mapping, Ticket, TicketError};
