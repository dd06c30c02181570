//! What each fuzz target does with its input, in functions that an ordinary test can call too.
//!
//! `fuzz_targets/` hands these functions to libFuzzer, `tests/fuzz_corpus.rs` of the crate replays the committed
//! inputs through them. A function returns if all is well and panics if not. It reads no clock and no source of
//! chance, so an input does the same every time.

#![forbid(unsafe_code)]

mod channels;
mod codec;
mod connection;
mod datagram;
mod duo;
mod endpoint;
mod frames;
mod mailroom;
mod outgoing;
mod own;
mod pair;
mod pattern;
mod peer;
mod punch;
#[path = "../../tests/reference/mod.rs"]
mod reference;
mod rendezvous;
mod sack;
mod script;
mod session;
mod settings;
mod stun;
mod tasks;

pub use channels::channels;
pub use codec::codec;
pub use connection::connection;
pub use datagram::{chain, decode, round_trip};
pub use endpoint::endpoint;
pub use frames::frames;
pub use own::own_block;
pub use pair::{config, pair};
pub use punch::punch;
pub use rendezvous::{messages, rendezvous};
pub use sack::sack;
pub use session::session;
pub use stun::stun;

/// The name of a binary and of the folder of its inputs, and what it does with one.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 17] = [
    ("decode", decode),
    ("round_trip", round_trip),
    ("chain", chain),
    ("sack", sack),
    ("own", own_block),
    ("connection", connection),
    ("endpoint", endpoint),
    ("pair", pair),
    ("config", config),
    ("messages", messages),
    ("rendezvous", rendezvous),
    ("stun", stun),
    ("punch", punch),
    ("frames", frames),
    ("channels", channels),
    ("session", session),
    ("codec", codec),
];
