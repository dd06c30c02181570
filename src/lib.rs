//! A uTP (BEP 29) transport.

pub mod proto;
pub mod storage;
pub mod wire;

mod config;
mod error;
mod stats;
mod time;

#[cfg(feature = "sim")]
pub mod sim;

#[cfg(feature = "tokio")]
pub mod net;

#[cfg(feature = "tokio")]
mod api;

#[cfg(feature = "tokio")]
pub use api::*;

pub use config::{Config, Congestion, ControllerFactory};
pub use error::{CloseReason, ConfigError};
pub use stats::{DropStats, SocketStats, StreamStats};
pub use time::Instant;
