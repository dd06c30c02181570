//! A network in a box: hosts, links and time, all of them made up, around the same
//! [`Endpoint`](crate::proto::endpoint::Endpoint) that production drives.
//!
//! A world does in milliseconds what takes minutes outside, does it the same way every time, and does to packets
//! whatever is asked for. It is for the tests of this crate, and for yours: put your own protocol in place of
//! [`Traffic`] by implementing [`Program`]. There is no promise of stability.
//!
//! # A simulation
//!
//! Make a world from a seed, put hosts into it, join them by a line, start connections, and let time pass until
//! something has come true:
//!
//! ```
//! use std::time::Duration;
//! use ebbtide::Config;
//! use ebbtide::sim::{Line, Side, Size, Strike, Traffic, World};
//!
//! let mut world = World::new(7);
//! let alice = world.host(Config::default());
//! let bob = world.host(Config::default());
//! let mut line = Line::adsl();
//! line.there = line.there.loss(Strike::random(0.01));
//! world.join(alice, bob, line);
//!
//! let upload = world.start(alice, bob, &Traffic::bulk(Size::kib(512)));
//! let took = world.run_until(|world| world.is_done(upload), Duration::from_secs(60))?;
//!
//! let report = world.report(upload, Side::Acceptor);
//! assert_eq!((report.received, report.wrong_at), (512 << 10, None));
//! assert!(took > Duration::from_secs(4), "1 Mbit/s is 1 Mbit/s");
//! # Ok::<(), ebbtide::sim::Stuck>(())
//! ```
//!
//! If it does not come true, the error is [`Stuck`]: it prints the seed, what every program was about, and the last
//! events. Ten [oracles](Oracle) watch every step of every world, and what they object to ends the run in the same way.
//! Build the world again with that seed and it goes the same way; [`Trace::hash`] is equal then, and only then.
//! [`World::later`] changes the network while it runs.
//!
//! # What it refuses to know
//!
//! No clock, no thread, no socket, no chance but the seed. It does not look into packets, except to print them, and
//! to see whether what a host sends keeps the promises of every [`Oracle`].

mod ailment;
mod burst;
mod capture;
mod discipline;
mod fault;
mod flow;
mod host;
pub mod hostile;
mod ledger;
mod link;
mod network;
mod oracle;
mod pattern;
mod pcapng;
mod pipe;
mod program;
mod quantity;
mod queue;
mod raw;
mod raw_stream;
mod seed;
mod strike;
mod stuck;
mod target;
mod trace;
mod traffic;
mod weather;
mod world;

pub use ailment::{HostFault, Sleep};
pub use burst::Burst;
pub use discipline::Discipline;
pub use fault::{Fault, FaultCounts, FaultKind, LinkFault, Overtaken, Span};
pub use flow::{FlowId, Side};
pub use host::{HostId, SocketError};
pub use ledger::Exchanged;
pub use link::{Line, Link, OVERHEAD};
pub use network::{Direction, LineId};
pub use oracle::Oracle;
pub use pattern::Pattern;
pub use pipe::{Filter, LinkStats};
pub use program::{App, Leave, Program, Report};
pub use quantity::{Rate, Size};
pub use raw::{RawNet, RawProgram};
pub use raw_stream::RawStream;
pub use seed::{Rng, splitmix64};
pub use strike::Strike;
pub use stuck::{Stuck, Why};
pub use target::{PacketClass, Target};
pub use trace::{Record, Trace};
pub use traffic::{Pace, Parting, Traffic};
pub use world::World;
