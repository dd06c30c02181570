//! The receiving half: packets in any order become bytes in order, and the peer learns what arrived.
//!
//! [`ReceiveBuffer`] keeps the bytes and says what to acknowledge and how much more may come. [`AckPolicy`] says
//! when. Neither knows the other, nor congestion, nor how a packet looks; who composes them passes the outcome of
//! an insertion ([`Inserted`]) from the one to the other.
//!
//! ```text
//!      read by the application │ unread, in order │ gap │ held │ gap │ held │
//!   ───────────────────────────┼──────────────────┼─────┴──────┴─────┴──────┴──▶ packet numbers
//!                                          cumulative │                    highest
//! ```
//!
//! A uTP number counts packets, so nobody can say how many bytes a gap will take: bytes after a gap cannot be put
//! in their final place, and wait in slots of their own.

mod acks;
mod buffer;
mod reorder;

pub use acks::AckPolicy;
pub use buffer::{Inserted, ReceiveBuffer};

#[cfg(test)]
mod tests;
