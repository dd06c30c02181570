//! `ebbtide bench`: how fast, at what cost, in the manner of iperf3; over uTP or kernel TCP by the same code.
//!
//! A client opens a control stream and then the streams that carry data; each begins with a small header
//! (`protocol`). The server needs no options that the client has: it is told. When the data is through, the client
//! ends its side of the control stream and gets the server's figures on it.
//!
//! ```text
//!   client                         server
//!     ├── control: header ───────────▶│
//!     │◀──────────────────── ready ───┤
//!     ├── data: header, bytes … end ─▶│    or, reversed, ◀─ bytes … end
//!     │◀───────────────────── end ────┤
//!     ├── control: end ──────────────▶│
//!     │◀────────────── figures, end ──┤
//! ```

mod client;
mod flow;
mod protocol;
mod report;
mod server;

use std::time::Duration;

use clap::{Args, Subcommand};
use ebbtide::Config;

use crate::failure::Failure;
use crate::quantity::{parse_address, parse_seconds, parse_size};
use crate::transport::Transport;

/// Measure throughput, delay and CPU cost between two processes
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    Server(ServerOptions),
    Client(ClientOptions),
}

/// Wait for clients, and do what they ask for, until interrupted
#[derive(Args)]
struct ServerOptions {
    /// Where to listen; port 0 takes a free one, which is printed on stderr
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    listen: String,
    /// End after the first client
    #[arg(long)]
    one_off: bool,
    /// One JSON object per client instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    link: LinkOptions,
}

/// Run one measurement against a server
#[derive(Args)]
struct ClientOptions {
    /// The server
    #[arg(value_name = "HOST:PORT", value_parser = parse_address)]
    server: String,
    /// How long to send [default: 10]
    #[arg(long, short, value_name = "SECONDS", value_parser = parse_seconds)]
    time: Option<Duration>,
    /// How much to send over all streams together, instead of how long
    #[arg(long, short = 'n', value_name = "SIZE", value_parser = parse_size, conflicts_with = "time")]
    bytes: Option<u64>,
    /// The server sends, the client receives
    #[arg(long, short = 'R')]
    reverse: bool,
    /// Connections side by side
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(protocol::STREAMS_MAX)))]
    streams: u16,
    /// Seconds between interval lines; 0 for none
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
    /// Interval lines and the result as JSON, one object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    link: LinkOptions,
}

/// What both sides must choose for themselves.
#[derive(Args)]
struct LinkOptions {
    /// What carries the bytes
    #[arg(long, value_enum, default_value_t = Transport::Utp)]
    transport: Transport,
    /// Largest UDP datagram that this side sends, bytes of payload (uTP only)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(150..=65_000))]
    mtu: Option<u16>,
}

impl LinkOptions {
    /// A peer that vanished is noticed in the end: ours sends something at least every 15 seconds.
    fn config(&self) -> Config {
        let config = Config::bulk().idle_timeout(Some(Duration::from_secs(40)));
        match self.mtu {
            Some(mtu) => config.mtu(mtu),
            None => config,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    match options.side {
        Side::Server(options) => server::run(options).await,
        Side::Client(options) => client::run(options).await,
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    if text.parse() == Ok(0.0) { Ok(Duration::ZERO) } else { parse_seconds(text) }
}

/// How long either side waits for a word on a control stream or for a header.
const PATIENCE: Duration = Duration::from_secs(10);
