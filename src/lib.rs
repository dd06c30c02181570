//! A uTP (BEP 29) transport: bulk data over UDP, at full speed when the line is free, out of the way when anybody
//! else needs it (LEDBAT).
//!
//! One UDP port dials and listens at once and may be shared with another protocol. Streams have the manners of
//! tokio's TCP: [`AsyncRead`](tokio::io::AsyncRead), [`AsyncWrite`](tokio::io::AsyncWrite), half close, splitting,
//! the same [`io::ErrorKind`](std::io::ErrorKind)s.
//!
//! ```
//! use ebbtide::UtpSocket;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
//! let listener = server.listen();
//! let addr = server.local_addr();
//! let echo = tokio::spawn(async move {
//!     let (mut stream, _peer) = listener.accept().await?;
//!     let mut words = String::new();
//!     stream.read_to_string(&mut words).await?; // until the peer's end
//!     stream.write_all(words.to_uppercase().as_bytes()).await?;
//!     stream.shutdown().await?; // our end
//!     stream.closed().await // everything acknowledged
//! });
//!
//! let client = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
//! let mut stream = client.connect(addr).await?;
//! stream.write_all(b"the tide ebbs").await?;
//! stream.shutdown().await?; // half close: reading goes on
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "THE TIDE EBBS");
//! echo.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to begin
//!
//! | you want | take |
//! | --- | --- |
//! | streams on tokio | [`UtpSocket`], [`UtpListener`], [`UtpStream`] |
//! | streams for threads, without a runtime of yours | [`blocking`] |
//! | streams, messages and punching in a loop that ticks, without a runtime | [`Reactor`], with the feature `reactor` |
//! | to see or refuse a connection before it costs anything | [`UtpListener::incoming`], [`Incoming`] |
//! | to meet a peer by the name of a room, and a server that makes that possible | [`rendezvous`] |
//! | to meet a peer behind a NAT | [`UtpSocket::punch`], [`UtpSocket::punch_addr`] |
//! | to talk to utp-punch for Node | [`Config::dialect`], [`UtpSocket::punch_hole`] |
//! | a DHT or another protocol on the same port | [`UtpSocket::foreign`], [`Foreign`] |
//! | your own transport below (a tunnel, a relay, a test) | [`Datagrams`], [`PollDatagrams`], [`UtpSocket::over`], [`MemoryHub`] |
//! | the protocol without a socket (a radio, another runtime) | [`proto::endpoint::Endpoint`] |
//! | messages, reliable or not, on many channels | [`message`], [`UtpSocket::connect_messages`] |
//! | typed packets over any stream, conversations that outlive connections | `packet`, `session`, with the feature `session` |
//! | packets only (a dissector, a fuzzer) | [`wire::Packet`] |
//! | a bad link below a socket or in a loop of your own | `Conditioned`, `link::Conditioner`, with the feature `conditioner` |
//! | to simulate a network | `sim`, with the feature of that name |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `tokio` | yes | sockets, streams, the driver |
//! | `reactor` | no | the face for loops that tick, without tokio |
//! | `session` | no | packets and sessions over any byte stream |
//! | `conditioner` | no | bad links on purpose: loss, delay, jitter, reordering, rate and more |
//! | `serde` | no | values of your types as messages ([`message`]) |
//! | `sim` | no | the network in a box; no promise of stability |
//! | `cli` | no | the `ebbtide` program |
//!
//! Without default features the crate is the core alone: [`wire`], [`storage`], [`proto`], with no runtime, no socket
//! and no clock.
//!
//! # Invariants
//!
//! The floors below `net` read no clock and no source of randomness; nothing allocates per packet in steady state;
//! nothing that a peer sends panics or makes memory grow beyond [`Config`]; there is no `unsafe` here. The
//! repository's `ARCHITECTURE.md` has the map and the whole list.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "tokio"),
    expect(rustdoc::broken_intra_doc_links, reason = "the front page is about the whole crate")
)]

pub mod proto;
pub mod storage;
pub mod wire;

mod config;
mod error;
mod stats;
mod time;

#[cfg(feature = "conditioner")]
pub mod link;

#[cfg(feature = "sim")]
pub mod sim;

#[cfg(any(feature = "tokio", feature = "reactor"))]
pub mod net;

#[cfg(any(feature = "tokio", feature = "reactor"))]
mod api;

#[cfg(any(feature = "tokio", feature = "reactor"))]
pub use api::*;

pub use config::{Config, Congestion, ControllerFactory, VanillaCross};
pub use error::{CloseReason, ConfigError};
pub use proto::conn::{Reason, Role};
pub use stats::{DropStats, SocketStats, StreamStats};
pub use time::Instant;
pub use wire::Dialect;

/// The examples in the README are tests.
#[cfg(all(doctest, feature = "tokio", feature = "reactor"))]
#[doc = include_str!("../README.md")]
struct Readme;
