//! Random worlds, each from one seed: settings, network, faults, traffic and the way it ends are all drawn. Several
//! faults at once come and go while bytes flow, half of the worlds end rudely, then the network heals. Ten oracles
//! watch every step; in the end everything has to be over within a bounded time, no endpoint keeps anything, and
//! where nothing deadly was drawn, everything has arrived.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `SEED=7` | runs that world alone, and prints what happened in it |
//! | `SEEDS=1000000` | runs so many worlds instead of the usual number |
//! | `FIRST_SEED=500000` | begins with that one |
//! | `THREADS=1` | instead of one for each core |
//! | `CONNECTIONS=1000000` | how many connections must not fail at up to two percent of loss |
//!
//! A world that fails prints how it was drawn, what went wrong and its last events, and how to run it again.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

mod lossy;
mod mishaps;
mod regressions;
mod run;
mod scenario;
mod swarm;
mod traffic;
mod weather;

use std::env;

/// The number in this environment variable.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
