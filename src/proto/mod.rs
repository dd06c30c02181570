//! Pure machines.

pub mod batch;
pub mod congestion;
pub mod conn;
pub mod endpoint;
pub mod message;
pub mod punch;
pub mod recv;
pub mod rendezvous;
pub mod send;
pub mod stun;
mod sync;
