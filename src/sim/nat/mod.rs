//! Boxes between hosts and the rest of the network: NATs and firewalls of all kinds, one behind another if need be,
//! with what real ones do when somebody knocks too early, when they are idle, and when they reboot.
//!
//! A world without boxes [joins](crate::sim::World::join) its hosts by lines. With boxes there is a backbone in the
//! middle, and everything is put [somewhere](Place): on the backbone, with a public address, or behind a box.
//!
//! ```text
//!   alice 192.168.1.2 ─── home ─── backbone ─── office ─── 192.168.1.2 bob
//!                       198.18.0.2     │      198.18.0.3
//!                                   server 198.18.0.4
//! ```
//!
//! ```
//! use std::time::Duration;
//! use ebbtide::Config;
//! use ebbtide::sim::{Link, Nat, Place, Size, Traffic, World};
//!
//! let mut world = World::new(7);
//! let line = Link::perfect().delay(Duration::from_millis(20));
//! let home = world.nat(Nat::port_restricted(), line);
//! let alice = world.host_at(Place::behind(home), Config::default(), Link::perfect());
//! let server = world.host_at(Place::internet(), Config::default(), line);
//! let upload = world.start(alice, server, &Traffic::bulk(Size::kib(100)));
//! world.run_until(|world| world.is_done(upload), Duration::from_secs(60))?;
//! assert_eq!(world.addr(alice).to_string(), "192.168.1.2:6881");
//! assert!(world.nat_stats(home).back > 0, "answers came to the box's address");
//! # Ok::<(), ebbtide::sim::Stuck>(())
//! ```
//!
//! Every box and every router of the backbone takes one off a datagram's hops, so that one with a small time-to-live
//! gets out of its sender's boxes, and no further. Captures have an interface for each line, and so show what a box
//! makes of addresses. What a box drops is in its [statistics](NatStats) and in the trace.
//!
//! Not here: ICMP, TCP, fragments, and translation between IPv4 and IPv6.

mod place;
mod ports;
mod refusal;
mod router;
mod setup;
mod table;

#[cfg(test)]
mod tests;

pub use place::{NatId, Place};
pub use refusal::{NatRefusal, NatStats};
pub(super) use router::{Hop, Router, Transit};
pub use setup::{Nat, NatFilter, NatKind, NatMapping, NatPorts, NatTimeouts, NatV6};
