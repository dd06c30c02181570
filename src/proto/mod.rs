//! Pure machines.

pub mod congestion;
pub mod recv;
pub mod send;
