//! `ebbtide rendezvous`: a server that introduces peers to each other.
//!
//! Prints where it listens, then a line of numbers every now and then, none of which names anybody. Refuses to know how
//! peers are introduced.

mod metrics;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use ebbtide::rendezvous::{Rate, RelayConfig, Server, ServerConfig, ServerStats};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::output;
use crate::quantity;
use crate::signals;
use crate::transport::resolve;

/// Introduce peers to each other that know the same room, and tell them how the world sees them (STUN).
#[derive(Args)]
pub(crate) struct Options {
    /// Where to listen; the port above it answers STUN as well
    #[arg(long, value_name = "ADDR", default_value = "[::]:7171", value_parser = quantity::parse_address)]
    listen: String,

    /// Further servers that answer STUN, at other addresses, for clients to compare
    #[arg(long, value_name = "ADDR", num_args = 1.., value_parser = quantity::parse_address)]
    stun: Vec<String>,

    /// Clients in all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    clients: usize,

    /// Clients from one IPv4 address, or one IPv6 /56
    #[arg(long, value_name = "N", default_value_t = 64)]
    clients_per_address: u32,

    /// Rooms in all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    rooms: usize,

    /// Rooms that one client may be in at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms_per_client: u16,

    /// Members that a room may be made for
    #[arg(long, value_name = "N", default_value_t = 256)]
    members: u16,

    /// Meetings that one client may ask for, per minute
    #[arg(long, value_name = "N", default_value_t = 10)]
    meetings_per_client: u32,

    /// Meetings that may be asked for from one address, per minute
    #[arg(long, value_name = "N", default_value_t = 60)]
    meetings_per_address: u32,

    /// Rooms that one client may try, per minute
    #[arg(long, value_name = "N", default_value_t = 30)]
    joins_per_client: u32,

    /// Rooms that may be tried from one address, per minute
    #[arg(long, value_name = "N", default_value_t = 120)]
    joins_per_address: u32,

    /// How long a client may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = quantity::parse_seconds)]
    idle: Duration,

    /// Let clients with private addresses meet others: for laboratories, and for networks that route such addresses
    #[arg(long)]
    mixed_scopes: bool,

    /// Forward for those who find no way to each other, on the second port above
    #[arg(long)]
    relay: bool,

    /// Pairs to forward for at once
    #[arg(long, value_name = "N", default_value_t = 64, requires = "relay")]
    relay_pairs: usize,

    /// Bytes to forward for a pair, in each direction
    #[arg(long, value_name = "SIZE", default_value = "128MiB", requires = "relay", value_parser = quantity::parse_size)]
    relay_bytes: u64,

    /// How long to forward for a pair, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1800", requires = "relay", value_parser = quantity::parse_seconds)]
    relay_time: Duration,

    /// Bytes per second to forward for a pair, in each direction
    #[arg(long, value_name = "SIZE", default_value = "256KiB", requires = "relay", value_parser = quantity::parse_size)]
    relay_rate: u64,

    /// How often to print a line of numbers, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = quantity::parse_seconds)]
    every: Duration,

    /// Print no such lines
    #[arg(long)]
    quiet: bool,

    /// Serve the same numbers over HTTP at this address, as Prometheus reads them
    #[arg(long, value_name = "ADDR", value_parser = quantity::parse_address)]
    metrics: Option<String>,

    /// Print JSON, an object per line
    #[arg(long)]
    json: bool,
}

impl Options {
    fn config(&self) -> ServerConfig {
        let defaults = ServerConfig::default();
        let rate =
            |per_minute: u32, default: Rate| Rate::per_minute(per_minute, default.burst.min(per_minute));
        ServerConfig {
            clients: self.clients,
            clients_per_address: self.clients_per_address,
            rooms: self.rooms,
            rooms_per_client: self.rooms_per_client,
            members: self.members,
            rendezvous_per_client: rate(self.meetings_per_client, defaults.rendezvous_per_client),
            rendezvous_per_address: rate(self.meetings_per_address, defaults.rendezvous_per_address),
            joins_per_client: rate(self.joins_per_client, defaults.joins_per_client),
            joins_per_address: rate(self.joins_per_address, defaults.joins_per_address),
            idle: self.idle,
            mixed_scopes: self.mixed_scopes,
            relay: self.relay.then(|| RelayConfig {
                sessions: self.relay_pairs,
                bytes: self.relay_bytes,
                duration: self.relay_time,
                rate: u32::try_from(self.relay_rate).unwrap_or(u32::MAX),
            }),
            ..defaults
        }
    }
}

/// What is printed once it listens.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    listen: &'a [SocketAddr],
    metrics: Option<SocketAddr>,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let local = resolve(&options.listen).await?;
    let server = Server::bind(local, options.config()).await;
    let server = server.map_err(|error| Failure::io(format_args!("listen on {}", options.listen), &error))?;
    let mut stun = Vec::new();
    for addr in &options.stun {
        stun.push(resolve(addr).await?);
    }
    server.set_stun(&stun);
    let metrics = match &options.metrics {
        Some(addr) => Some(metrics::Metrics::bind(addr).await?),
        None => None,
    };
    let metrics_addr = metrics.as_ref().map(metrics::Metrics::local_addr);
    announce(&options, &server, metrics_addr)?;
    tokio::select! {
        stopped = signals::asked_to_stop() => stopped.map_err(|error| Failure::io("signals", &error))?,
        failed = report(&options, &server) => return failed,
        () = serve(metrics, &server) => {}
    }
    if !options.json {
        output::line("telling clients to look for another server")?;
    }
    let last = server.stats();
    tokio::select! {
        () = server.close() => {}
        again = signals::asked_to_stop() => again.map_err(|error| Failure::io("signals", &error))?,
    }
    print(&options, &last, Duration::ZERO, "last")
}

fn announce(options: &Options, server: &Server, metrics: Option<SocketAddr>) -> Result<(), Failure> {
    let listen = server.local_addrs();
    if options.json {
        return output::json(&Listening { event: "listening", listen, metrics });
    }
    let [first, others @ ..] = listen else { return Ok(()) };
    output::line(format_args!("listening on {first} (uTP and STUN)"))?;
    match others {
        [] => output::line(
            "the next port is taken: clients need another server to find out what their router is like",
        )?,
        _ => others.iter().try_for_each(|addr| output::line(format_args!("listening on {addr} (STUN)")))?,
    }
    match metrics {
        Some(addr) => output::line(format_args!("metrics at http://{addr}/metrics")),
        None => Ok(()),
    }
}

/// Prints numbers until that fails.
async fn report(options: &Options, server: &Server) -> Result<(), Failure> {
    if options.quiet {
        return std::future::pending().await;
    }
    let begun = Instant::now();
    let mut ticks = interval(options.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        print(options, &server.stats(), begun.elapsed(), "stats")?;
    }
}

fn print(options: &Options, stats: &ServerStats, up: Duration, event: &str) -> Result<(), Failure> {
    if options.json {
        let mut object = serde_json::Map::new();
        object.insert("event".to_owned(), event.into());
        object.insert("up_secs".to_owned(), up.as_secs().into());
        object.extend(stats.rows().map(|(name, number)| (name, number.into())));
        return output::json(&object);
    }
    output::line(format_args!(
        "{} clients, {} rooms; so far {} came, {} meetings begun, {} of {} reports say connected, {} refused",
        stats.clients,
        stats.rooms,
        stats.arrived,
        stats.connects,
        stats.outcomes[0],
        stats.outcomes.iter().sum::<u64>(),
        stats.refused_full + stats.refused_address + stats.no_place + stats.rate_limited,
    ))
}

/// Serves numbers for ever.
async fn serve(metrics: Option<metrics::Metrics>, server: &Server) {
    match metrics {
        Some(metrics) => metrics.serve(|| server.stats().to_string()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_the_command_line_leaves_out_is_the_default() {
        let line = CommandLine::try_parse_from(["ebbtide"]).unwrap();
        assert_eq!(line.options.config(), ServerConfig::default());
    }

    #[test]
    fn the_relay_is_off_unless_it_is_asked_for() {
        let line = CommandLine::try_parse_from(["ebbtide", "--relay"]).unwrap();
        assert_eq!(line.options.config().relay, Some(RelayConfig::default()));
        assert!(CommandLine::try_parse_from(["ebbtide", "--relay-pairs", "3"]).is_err());
    }

    #[test]
    fn a_rate_below_the_burst_lowers_the_burst() {
        let line = CommandLine::try_parse_from(["ebbtide", "--meetings-per-client", "2"]).unwrap();
        let config = line.options.config();
        assert_eq!(config.rendezvous_per_client, Rate::per_minute(2, 2));
        config.validate().unwrap();
    }
}
