//! The real program behind real NATs: all pairs of seven kinds, in network namespaces with nftables.
//!
//! `topology.sh` builds the networks, `meet.sh` runs the server and both ends in them. Needs root, iproute2,
//! nftables and conntrack, and touches no network but its own; where something is missing the tests say so and pass, or fail if
//! `EBBTIDE_REQUIRE_LAB=1` is set. `EBBTIDE_LAB_ROUNDS` says how often each pair meets (default 1).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod lab;
mod nat;
mod pairs;
mod rebind;
