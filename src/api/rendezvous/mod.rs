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
//! A stream follows a peer whose router forgets it. Where nothing can get through any more, because the other router lets in
//! only what was asked for, and where a stream goes through the server for want of a better way, [`Client::keep`] lets the
//! two meet again and leads their stream along the way that is found then.
//!
//! What a server must be trusted with: it sees who meets whom, and could introduce somebody else. uTP does not encrypt:
//! prove on the stream who is who, with TLS or the like.

mod client;
mod keep;
mod relay;
mod server;

pub use self::client::{Client, Meet, Room, RoomEvent};
pub use self::keep::Keep;
pub use self::server::Server;
pub use crate::proto::rendezvous::server::{RelayConfig, ServerConfig, ServerStats};
pub use crate::proto::rendezvous::{Rate, RelayUse, RendezvousError, ServerAddr};
pub use crate::wire::rendezvous::{PeerHandle, RoomId, RoomIdError};
