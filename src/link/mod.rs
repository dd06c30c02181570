//! Bad links on purpose: how fast a path is, how long, how much it buffers, and what it does to datagrams.
//!
//! A [`Link`] says what one direction of a path is like, a [`Line`] both; a [`LinkFault`] is what can go wrong with it.
//! The [`Conditioner`] is a line at work: datagrams and the time go in, and come out late, lost, doubled or spoilt. It
//! runs in three places: by hand in a loop of your own, below a socket of this crate as
//! [`Conditioned`](crate::Conditioned) (feature `tokio`), and between any two programs as `ebbtide conditioner`. The
//! simulator (feature `sim`) is made of the same links.
//!
//! Nothing here keeps time or has a source of chance: both come in through arguments, so the same seed does the same
//! again.

mod burst;
mod conditioner;
mod discipline;
mod fault;
mod line;
mod pipe;
mod quantity;
mod seed;
mod store;
mod strike;
mod target;
#[cfg(test)]
mod tests;

pub use burst::Burst;
pub use conditioner::{Conditioner, ConditionerStats};
pub use discipline::Discipline;
pub use fault::{Fault, FaultCounts, FaultKind, LinkFault, Overtaken, Span};
pub use line::{Direction, Line, Link, OVERHEAD};
pub use pipe::{Filter, LinkStats};
pub use quantity::{Rate, Size};
pub use seed::{Rng, splitmix64};
pub use strike::Strike;
pub use target::{PacketClass, Target};

#[cfg(feature = "sim")]
pub(crate) use discipline::Waiting;
#[cfg(feature = "sim")]
pub(crate) use pipe::{Fate, Pipe, nanos};
#[cfg(feature = "sim")]
pub(crate) use target::{Sighting, Tracker};
