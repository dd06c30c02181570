//! Bytes to packets and back.

mod seq;
mod stamp;

pub use seq::{ConnId, SeqNr};
pub use stamp::{Delay, Timestamp};
