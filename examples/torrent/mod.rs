//! A small BitTorrent peer, for any stream: shared by `torrent_seed` and `torrent_leech`.
//!
//! It knows one file, one peer at a time and BEP 3. Only [`args`] has heard of addresses, and nothing here of uTP:
//! what carries it only has to read and write.

#![allow(dead_code, unreachable_pub, reason = "two programs share this, and each uses its half")]

pub mod args;
pub mod leech;
pub mod message;
pub mod metainfo;
pub mod seed;
