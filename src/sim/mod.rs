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
//! # Faults
//!
//! A [`FaultKind`] is what can go wrong; [`World::fault_counts`] says how often each has. The network's are
//! [`LinkFault`]s: part of a [`Link`], at most one of each kind, and changed while the world runs by
//! [`World::set_fault`], [`World::clear_fault`], [`World::link_mut`] and [`World::heal`]. Settings come from named
//! [presets](LinkFault::presets), from [draws](LinkFault::draw) for random worlds, or are your own:
//!
//! ```
//! use std::time::Duration;
//! use ebbtide::Config;
//! use ebbtide::sim::{Direction, Fault, FaultKind, Line, LinkFault, PacketClass, Size, Target, Traffic, World};
//!
//! let mut world = World::new(1);
//! let hosts = [world.host(Config::default()), world.host(Config::default())];
//! let line = world.join(hosts[0], hosts[1], Line::fibre());
//! // The acceptor's first two answers are lost, and an elevator comes after a second.
//! let replies = LinkFault::Target(Target::first(PacketClass::SynReply, 2));
//! world.set_fault(line, Direction::Back, replies);
//! world.later(Duration::from_secs(1), move |world| {
//!     let (_, elevator) = LinkFault::presets(FaultKind::Blackhole)[0];
//!     world.set_fault(line, Direction::There, elevator);
//! });
//! world.start(hosts[0], hosts[1], &Traffic::echo(Size::mib(1)));
//! world.settle(Duration::from_secs(120))?;
//! assert_eq!(world.link_stats(line, Direction::Back).struck(Fault::Targeted), 2);
//! # Ok::<(), ebbtide::sim::Stuck>(())
//! ```
//!
//! | kind | stands for | set by |
//! |---|---|---|
//! | uniform loss | noise on a wire | [`LinkFault::Loss`] |
//! | burst loss | radio: good for a while, bad for a while (Gilbert-Elliott) | [`LinkFault::Burst`] |
//! | targeted loss | bad luck with the one packet that matters: SYN, its reply, first DATA, FIN, last ACK, RESET | [`LinkFault::Target`] |
//! | duplication | link layers that repeat what was acknowledged too late | [`LinkFault::Duplicate`] |
//! | replay | routing loops and played-back captures, seconds to minutes later | [`LinkFault::Replay`] |
//! | reordering | several paths, several queues | [`LinkFault::Reorder`] |
//! | jitter | shared media, busy machines | [`LinkFault::Jitter`] |
//! | delay spike | handover between cells: nothing for 0.1 to 10 s, then all at once | [`LinkFault::Spike`] |
//! | bandwidth step | radio, and lines shared with others | [`LinkFault::Steps`] |
//! | tail drop | most routers | [`LinkFault::TailDrop`] |
//! | CoDel | good routers (RFC 8289) | [`LinkFault::CoDel`] |
//! | policer | providers (token bucket) | [`LinkFault::Police`] |
//! | black hole | tunnels, elevators: on and off | [`LinkFault::Blackhole`] |
//! | one-way partition | broken routes, firewalls | [`LinkFault::Partition`] |
//! | ack-path congestion | a filled upload | [`LinkFault::AckCongestion`] |
//! | bit flip | what checksums are for, and what they miss | [`LinkFault::Flip`] |
//! | truncation | broken middleboxes and drivers | [`LinkFault::Truncate`] |
//! | MTU black hole | tunnels whose ICMP messages are filtered | [`LinkFault::MtuBlackhole`] |
//! | MTU shrink | a route that changes into a tunnel | [`LinkFault::MtuShrink`] |
//! | port rebind | a NAT that has forgotten | [`HostFault::PortRebind`] |
//! | address change | a host that moves from Wi-Fi to mobile | [`HostFault::AddressChange`] |
//! | clock skew | every clock, up to 500 ppm | [`HostFault::ClockSkew`] |
//! | clock step | somebody who sets the clock | [`HostFault::ClockStep`], [`HostFault::ClockJump`] |
//! | start at the wrap | one connection in 65,536, and every 71 minutes | [`HostFault::WrapStart`] |
//! | suspend | a lid that is closed | [`HostFault::Suspend`] |
//! | socket error | EAGAIN, ENOBUFS, EMSGSIZE, ECONNREFUSED | [`HostFault::SocketError`] |
//! | slow reader | an application that is busy, or hangs | [`HostFault::Pause`], [`Traffic::acceptor_reads`] |
//! | dropped future | tasks that are cancelled, runtimes that end | [`HostFault::DropTasks`], [`HostFault::Vanish`] |
//! | id collision | both open at once, ids used again | [`World::start_both`], [`World::start_as`] |
//! | hostile peer | somebody who breaks the rules on purpose | [`hostile`], [`RawProgram`] |
//!
//! Those of a host are [`HostFault`]s: switched on by [`World::afflict`], and over by themselves, by [`World::cure`] or
//! by [`World::heal`]. Hostile peers live on [raw hosts](World::raw_host) and have [names](hostile::Attack::PRESETS):
//!
//! ```
//! use std::time::Duration;
//! use ebbtide::Config;
//! use ebbtide::sim::hostile::Attack;
//! use ebbtide::sim::{HostFault, Line, Side, Size, Sleep, Traffic, World};
//!
//! let mut world = World::new(7);
//! let [server, laptop] = [(); 2].map(|()| world.host(Config::default()));
//! world.join(laptop, server, Line::fibre());
//! let (_, attack) = Attack::PRESETS[0];
//! let attacker = world.attack(&attack, server, laptop, Line::adsl());
//!
//! let flow = world.start(laptop, server, &Traffic::bulk(Size::mib(20)));
//! world.later(Duration::from_millis(100), move |world| {
//!     world.afflict(laptop, HostFault::Suspend(Duration::from_secs(9), Sleep::ClockStops));
//! });
//! world.run_until(|world| world.is_done(flow), Duration::from_secs(60))?;
//! assert_eq!(world.report(flow, Side::Acceptor).received, 20 << 20);
//! # Ok::<(), ebbtide::sim::Stuck>(())
//! ```
//!
//! ## To add a fault
//!
//! One of your own needs no change here: a [filter](World::set_filter) sees every datagram and drops what it likes, a
//! [`RawProgram`] sends what it likes, and [`World::count_fault`] counts. In this crate, a fault of the network is
//!
//! 1. a kind in `link/fault/kind.rs`, and what it does to a single packet in `link/fault/mod.rs`, which prints it in
//!    traces;
//! 2. its settings in `link/fault/setting.rs`, and presets and draws in `link/fault/presets.rs`;
//! 3. its work in `link/pipe/mod.rs`: `admit` is the near end, `spoil` and `mislead` the far one. It draws from the pipe's own
//!    generator, only while it is set, so that other seeds go the way they went;
//! 4. a test in `link/pipe/tests.rs` of what it does to packets, and a line in `tests/sim_faults.rs`, which lets a
//!    connection live through it and fails as long as a kind has none.
//!
//! # Boxes
//!
//! Hosts that are [joined](World::join) have addresses that all know. [`nat`] has what is between hosts and the rest of
//! the world elsewhere: NATs and firewalls, with hosts behind them that share an address.
//!
//! # Reading a trace
//!
//! [`World::trace`] prints the last events, a line each; [`Trace::remember`] says how many:
//!
//! ```text
//!    0.000000 flow 0 initiator starts
//!    0.000000 h0 > h1 ST_SYN id 35556 seq 41389 ack 0 wnd 1048576, 20 B  sent
//!    0.010384 h0 > h1 ST_SYN id 35556 seq 41389 ack 0 wnd 1048576, 20 B  arrived
//!    0.010384 h1 > h0 ST_STATE id 35556 seq 15011 ack 41389 wnd 1048576, 20 B  aimed at
//!    1.000000 h0 timer
//! ```
//!
//! Seconds of the world's clock; who sends to whom; the header, `+ext` if there are extensions, and the length of the
//! datagram; what became of it. `sent` was handed to a line that will deliver it, `arrived` is its other end, and
//! anything else is a [`Fault`]. A packet that only some queue has dropped later was `sent` first. Then come the timers
//! of endpoints, the programs that start and leave, and what was done to hosts.
//!
//! # Captures
//!
//! [`World::record_pcapng`] writes all that the lines carry into a file for Wireshark, with what struck each packet in
//! its comment. All hosts use port 6881:
//!
//! ```text
//! tshark -r world.pcapng -d udp.port==6881,bt-utp
//! ebbtide decode world.pcapng
//! ```
//!
//! # What it refuses to know
//!
//! No clock, no thread, no socket, no chance but the seed. It does not look into packets, except to print them, to find
//! those that a [`Target`] means, and to see whether what a host sends keeps the promises of every [`Oracle`].

mod ailment;
mod capture;
mod flow;
mod host;
pub mod hostile;
mod ledger;
pub mod nat;
mod network;
mod oracle;
mod pattern;
mod pcapng;
mod program;
mod queue;
mod raw;
mod raw_stream;
mod rendezvous;
mod resident;
mod stuck;
mod trace;
mod traffic;
mod weather;
mod world;

pub use crate::link::{
    Burst, Direction, Discipline, Fault, FaultCounts, FaultKind, Filter, Line, Link, LinkFault, LinkStats,
    OVERHEAD, Overtaken, PacketClass, Rate, Rng, Size, Span, Strike, Target, splitmix64,
};
pub use ailment::{HostFault, Sleep};
pub use flow::{FlowId, Side};
pub use host::{HostId, SocketError};
pub use ledger::Exchanged;
pub use nat::{
    Nat, NatFilter, NatId, NatKind, NatMapping, NatPorts, NatRefusal, NatStats, NatTimeouts, NatV6, Place,
};
pub use network::LineId;
pub use oracle::Oracle;
pub use pattern::Pattern;
pub use program::{App, Leave, Program, Report};
pub use raw::{RawNet, RawProgram};
pub use raw_stream::RawStream;
pub use rendezvous::{RendezvousClient, RendezvousRelay, RendezvousServer};
pub use resident::{Home, Resident};
pub use stuck::{Stuck, Why};
pub use trace::{Record, Trace};
pub use traffic::{Pace, Parting, Traffic};
pub use world::World;
