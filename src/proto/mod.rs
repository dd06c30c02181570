//! Pure machines.

pub mod batch;
pub mod congestion;
pub mod conn;
pub mod recv;
pub mod send;
