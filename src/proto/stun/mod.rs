//! STUN, apart from its bytes: who has been asked for our address, and what the answers tell about the NAT.
//!
//! Questions are asked again until an answer comes from where they went, with the number that only the one who was
//! asked has seen. What an answer says is believed: whoever could forge it could also take the packets that it is
//! about.
//!
//! ```text
//!   Client   questions under way: when to ask again, whose answer that is
//!   reply    what to answer to somebody else's question
//!   Survey   whom to ask to know the NAT, and what the answers mean together
//! ```
//!
//! Knows no socket, no clock and no connection.

mod client;
mod error;
mod server;
mod survey;
mod told;

pub use self::error::StunError;
pub use self::survey::{SERVERS_MAX, Survey};

pub(super) use self::client::{Client, Heard};
pub(super) use self::server::reply;
