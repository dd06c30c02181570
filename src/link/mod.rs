//! One direction of a path, made up: how fast it is, how long, how much it buffers, and what it does to datagrams.
//!
//! The parts that the simulator and the link conditioner share. They keep no time and have no chance of their own: both
//! come in through arguments.

mod burst;
mod discipline;
mod fault;
mod line;
mod pipe;
mod quantity;
mod seed;
mod strike;
mod target;

pub use burst::Burst;
pub use discipline::Discipline;
pub use fault::{Fault, FaultCounts, FaultKind, LinkFault, Overtaken, Span};
pub use line::{Direction, Line, Link, OVERHEAD};
pub use pipe::{Filter, LinkStats};
pub use quantity::{Rate, Size};
pub use seed::{Rng, splitmix64};
pub use strike::Strike;
pub use target::{PacketClass, Target};

pub(crate) use discipline::Waiting;
pub(crate) use pipe::{Fate, Pipe, nanos};
pub(crate) use target::{Sighting, Tracker};
