//! Against the real thing: libutp, libtorrent and utp-punch, in both roles, over clean loopback and through a bad relay.
//!
//! A peer that is not installed (`tests/interop/peers/install.sh`) is skipped with a line on stderr, or fails the test
//! where `EBBTIDE_REQUIRE_PEERS=1` is set. Everything stays on 127.0.0.1, on ports that the system chooses.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "modules of one test, nobody else reaches them")]

mod captures;
mod libtorrent;
mod libutp;
mod pattern;
mod pcap;
mod peer;
mod relay;
mod table;
#[path = "../../examples/torrent/mod.rs"]
mod torrent;
mod torrents;
mod tshark;
mod utp_punch;
mod utp_punch_neighbour;

/// One transfer at a time, so that throughput means something.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
