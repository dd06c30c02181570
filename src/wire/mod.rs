//! Bytes to packets and back.
//!
//! ```text
//!   0       4       8               16              24              32
//!   ├───────┼───────┼───────────────┼───────────────┴───────────────┤
//!   │ type  │ ver 1 │ extension     │ connection id                 │
//!   ├───────┴───────┴───────────────┼───────────────────────────────┤
//!   │ send time, microseconds, wrapping                             │
//!   ├───────────────────────────────────────────────────────────────┤
//!   │ delay that the sender measured on the last packet it received │
//!   ├───────────────────────────────────────────────────────────────┤
//!   │ receive window, bytes                                         │
//!   ├───────────────────────────────┬───────────────────────────────┤
//!   │ packet number                 │ acknowledgement               │
//!   └───────────────────────────────┴───────────────────────────────┘
//!     extensions …   payload …                    all big endian (BEP 29)
//! ```
//!
//! [`Packet::decode`] promises: it never panics, allocates nothing, copies nothing but the header, and reads each
//! byte of the chain of extensions at most once. What it accepts, [`Packet::encode`] writes again byte for byte.
//! It accepts whatever has the length, version and type of a packet and a chain of extensions that ends within the
//! datagram; known extensions of an odd length are skipped like unknown ones. What it refuses is either *not uTP*,
//! and somebody else on the port may want it, or *malformed*, and nobody does ([`DecodeError::is_utp`]).
//!
//! [`Packet::encode`] needs room for [`Packet::encoded_len`] bytes. It cannot write a chain that libutp would drop,
//! because [`ExtensionsBuf`] does not build one; one that arrived is written as it arrived.
//!
//! Everything on a circle (packet numbers, ids, times, delays) is a type of its own, and has a distance instead of
//! an order. This floor knows no connection, no clock and no socket.

mod candidate;
mod close;
mod dialect;
mod extension;
mod header;
mod holepunch;
mod mark;
mod nat;
mod own;
mod packet;
pub mod rendezvous;
mod sack;
mod seq;
mod stamp;
mod stun;
mod ticket;

pub use candidate::{CANDIDATES_MAX, Candidate, CandidateError, CandidateKind};
pub use close::CloseCode;
pub use dialect::{Dialect, PunchWord};
pub use extension::{EncodeError, Extension, Extensions, ExtensionsBuf};
pub use header::{HEADER_LEN, Header, Kind, NotUtp, restamp};
pub use holepunch::{Holepunch, HolepunchError, InvalidHolepunch};
pub use mark::{Mark, MarkFlags, Tag};
pub use nat::{Filtering, Mapping, NatClass, NatClassError};
pub use own::{InvalidService, Own, OwnError, OwnReason, PathToken, Service, Session, Token, Txn};
pub use packet::{DecodeError, Packet};
pub use sack::{Sack, SackBits};
pub use seq::{ConnId, SeqNr};
pub use stamp::{Delay, Timestamp};
pub use stun::{StunBuf, StunClass, StunDecodeError, StunId, StunMessage};
pub use ticket::{Ticket, TicketError};
