//! Meeting peers that cannot be reached directly.
//!
//! Two peers behind routers that let nobody in can often still reach each other: both send at the same time, to where
//! the other one is seen from outside, and each router takes what comes in for answers. For that they need somebody
//! who tells each where the other one is seen, and when to begin: a [`Server`], which any machine with a public address
//! can run ([`Server::bind`], or `ebbtide rendezvous`). Nothing of what the two say to each other passes through it.
//!
//! What a server must be trusted with: it sees who meets whom, and could introduce somebody else. uTP does not encrypt:
//! prove on the stream who is who, with TLS or the like.

mod server;

pub use self::server::Server;
pub use crate::proto::rendezvous::Rate;
pub use crate::proto::rendezvous::server::{ServerConfig, ServerStats};
pub use crate::wire::rendezvous::{Outcome, PathKind, PeerHandle, RoomId, RoomIdError};
