//! Bytes and things at rest: [`ByteRing`] for streams, [`Slab`] for what is looked up by a small key.
//!
//! Knows nothing of packets, time or addresses. Both take no memory until used, reuse it while in use, and are
//! bounded: the ring by its limit, the slab by the most values it ever held at once.

mod ring;
mod slab;

pub use ring::ByteRing;
pub use slab::{Key, Slab};
