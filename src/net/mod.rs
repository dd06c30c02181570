//! Sockets and those who drive an endpoint with them: the floor that has a clock and moves datagrams.
//!
//! Takes no protocol decisions: no sequence number, no window and no state of a connection is known here. What
//! arrives is handed to the endpoint, what the endpoint wants sent is sent, and the time is told.
//!
//! ```text
//!   SystemSocket, MemorySocket, yours ──▶ trait Datagrams ──────▶ Pump ──▶ proto::endpoint::Endpoint
//!   the same, and Udp ───────────────────▶ trait PollDatagrams ─▶ Driver: a Pump that sleeps (feature `tokio`)
//!
//! Without tokio, a [`Reactor`](crate::reactor::Reactor) has the pump, and the program says when there is time for a
//! turn.
//! ```

#[cfg(feature = "tokio")]
mod clock;
#[cfg(all(feature = "conditioner", feature = "tokio"))]
mod conditioned;
mod counters;
#[cfg(feature = "tokio")]
mod driver;
mod host;
mod memory;
mod pump;
mod socket;
mod system;
#[cfg(feature = "tokio")]
mod udp;

#[cfg(all(feature = "conditioner", feature = "tokio"))]
pub use conditioned::{Conditioned, LineControl};
#[cfg(feature = "tokio")]
pub use driver::Driver;
pub use memory::{MemoryHub, MemorySocket};
pub use socket::{Datagrams, GrantedBuffers, PollDatagrams, Run};
pub use system::SystemSocket;
#[cfg(feature = "tokio")]
pub use udp::Udp;

#[cfg(feature = "tokio")]
pub(crate) use clock::Clock;
#[cfg(feature = "tokio")]
pub(crate) use counters::IoCounters;
pub(crate) use host::{FAR_AWAY, source_towards};
#[cfg(feature = "reactor")]
pub(crate) use pump::Pump;
