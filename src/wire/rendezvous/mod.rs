//! The messages between a rendezvous server and its clients, to bytes and back.
//!
//! ```text
//!   0               8              16              24
//!   ├───────────────┴───────────────┼───────────────┼──────────── …
//!   │ length of what follows        │ message       │ fields
//!   └───────────────────────────────┴───────────────┴──────────── …
//!                                        field:  number (1)  length (1)  value
//! ```
//!
//! They travel on an ordinary stream, one after the other, and have at most [`FRAME_MAX`] bytes each. Numbers are big
//! endian. Field 0 is one byte of padding, without a length. A field that is not known is skipped if its number is
//! below 128; from there on it is one that must be understood, and the message is refused. The first of several equal
//! fields counts, where not a list is meant. So newer versions can say more to older ones.
//!
//! Addresses are masked, so that a router that looks for its own addresses in what passes by does not change them.
//!
//! [`Decoder`] takes whatever a stream yields, and keeps at most one message that is not complete. Nothing here knows
//! who may say what: that is the business of the machines.

mod address;
mod decode;
mod encode;
mod field;
mod frame;
mod ids;
mod message;

#[cfg(test)]
mod tests;

pub use decode::MessageError;
pub use encode::EncodeMessageError;
pub use frame::{Decoder, FRAME_MAX};
pub use ids::{ErrorCode, MessageKind, Outcome, PathKind, PeerHandle, RoomId, RoomIdError, Secret};
pub use message::{
    Claim, Connect, Hello, Join, JoinFlags, Leave, Limits, Message, PEERS_MAX, Peers, Ping, Punched, Refusal,
    Relay, Rendezvous, Role, Round, STUN_MAX, WantedRole, Welcome,
};
