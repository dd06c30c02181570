//! Rendezvous: how two peers that cannot reach each other find a third who introduces them.
//!
//! ```text
//!    A                            server                            B
//!    ├─ HELLO ──────────────────────▶│◀────────────────────── HELLO ─┤
//!    │◀───────────── WELCOME, where I see you, ─────────────────────▶│
//!    ├─ JOIN room, class, token ────▶│◀──── JOIN room, class, token ─┤
//!    │◀─────────────────────── PEERS, who is there ─────────────────▶│
//!    ├─ RENDEZVOUS with B ──────────▶│        (B may be asked first) │
//!    │◀───── CONNECT session, where the other one is, its token ────▶│
//!    │── first packets, short-lived ─┼─▶           ◀─────────────────│
//!    ├─ READY ──────────────────────▶│◀────────────────────── READY ─┤
//!    │◀──────────────────────────── GO ─────────────────────────────▶│
//!    │◀═══════════════ packets, and a stream of their own ══════════▶│
//!    ├─ RESULT ─────────────────────▶│◀───────────────────── RESULT ─┤
//! ```
//!
//! [`server`] is the machine of the one in the middle, [`Client`] that of the others. Both are pure: bytes in, bytes out, time as an
//! argument. An [`Agent`] joins a client to streams and to ways to peers; a [`Meeting`] is one for two.

mod agent;
mod client;
mod rate;
pub mod server;

pub use agent::{
    Agent, AgentConfig, AgentEvent, Keeper, Meeting, Met, RelayUse, RendezvousError, ServerAddr,
};
pub use client::{Client, ClientEvent, Loss};
pub use rate::Rate;

/// Ours: the version of the protocol that is spoken here.
pub const VERSION: u8 = 1;
