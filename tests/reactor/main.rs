//! The face for loops that tick, over networks that a test makes up.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod life;
mod n_list;
mod streams;
mod system;
mod wire;
mod world;
