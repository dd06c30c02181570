//! Sockets and the driver, on tokio: the floor that has a clock and moves datagrams.
//!
//! Takes no protocol decisions: no sequence number, no window and no state of a connection is known here. What
//! arrives is handed to the endpoint, what the endpoint wants sent is sent, and the time is told.
//!
//! ```text
//!   Udp, MemorySocket, yours ──▶ trait Datagrams ──▶ Driver ──▶ proto::endpoint::Endpoint
//! ```

mod clock;
mod counters;
mod driver;
mod host;
mod memory;
mod socket;
mod udp;

pub use driver::Driver;
pub use memory::{MemoryHub, MemorySocket};
pub use socket::{Datagrams, GrantedBuffers, Run};
pub use udp::Udp;

pub(crate) use clock::Clock;
pub(crate) use counters::IoCounters;
pub(crate) use host::{FAR_AWAY, source_towards};
