//! Two hosts behind boxes of all kinds: whether they find each other, how long that takes, and what they are told if
//! they do not.
//!
//! | variable | what it does |
//! | --- | --- |
//! | `SEEDS=1000` | so many worlds for each pair instead of the usual number |
//! | `SEED=7` | that seed alone |
//! | `PAIR=linux,symmetric` | that pair alone |
//! | `LOSS=20` | with `SEED` and `PAIR`: so many percent lost, instead of 2 |
//! | `THREADS=1` | instead of one for each core |
//!
//! A world that fails prints how it was drawn, what went wrong and its last events, and how to run it again.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

mod bare;
mod introduced;
mod matrix;
mod notes;
mod peer;
mod plain;
mod scenario;
mod special;

use std::env;

/// The number in this environment variable.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
