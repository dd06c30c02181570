//! Meeting peers that cannot be reached directly.
//!
//! Two peers behind routers that let nobody in can often still reach each other: both send at the same time, to where
//! the other one is seen from outside, and each router takes what comes in for answers. For that they need somebody
//! who tells each where the other one is seen, and when to begin: a [`Server`], which any machine with a public address
//! can run ([`Server::bind`], or `ebbtide rendezvous`). Nothing of what the two say to each other passes through it.
//!
//! A [`Client`] meets whoever is in the same room, a name that the two have agreed on: [`Client::meet`] for two,
//! [`Client::join`] to see who is there and choose. If no way is found, [`PunchError`](crate::PunchError) says why, in
//! words.
//!
//! What a server must be trusted with: it sees who meets whom, and could introduce somebody else. uTP does not encrypt:
//! prove on the stream who is who, with TLS or the like.

mod client;
mod relay;
mod server;

pub use self::client::{Client, Meet, Room, RoomEvent};
pub use self::server::Server;
pub use crate::proto::rendezvous::server::{RelayConfig, ServerConfig, ServerStats};
pub use crate::proto::rendezvous::{Rate, RelayUse, RendezvousError, ServerAddr};
pub use crate::wire::rendezvous::{PeerHandle, RoomId, RoomIdError};
