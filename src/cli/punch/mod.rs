//! `ebbtide punch`: connects two machines that know the same room, and says how.
//!
//! Prints how long it took, what kind of way was found and its round trip; on request it carries bytes both ways and
//! checks them. Refuses to know how a way is found.

mod trial;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use ebbtide::rendezvous::{Client, RelayUse, RoomId};
use ebbtide::{Config, PunchError, PunchReport, Punched, UtpSocket, UtpStream};
use serde::Serialize;
use tokio::time::timeout;

use self::trial::Trial;
use crate::failure::Failure;
use crate::output;
use crate::quantity;
use crate::signals;
use crate::transport::{close, resolve};

/// Connect two machines directly, by a room that both name, and report how.
#[derive(Args)]
pub(crate) struct Options {
    /// The room: whoever names the same one is met, so make it hard to guess
    #[arg(value_name = "ROOM")]
    room: String,

    /// Rendezvous servers; both machines have to name the same ones, in any order
    #[arg(long, value_name = "ADDR", num_args = 1.., required = true, value_parser = quantity::parse_address)]
    server: Vec<String>,

    /// Where to bind
    #[arg(long, value_name = "ADDR", value_parser = quantity::parse_address)]
    bind: Option<String>,

    /// A port that the router forwards here, as the world sees it
    #[arg(long, value_name = "ADDR", value_parser = quantity::parse_address)]
    mapped: Vec<String>,

    /// How long to wait for the other machine and for a way to it, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = quantity::parse_seconds)]
    timeout: Duration,

    /// How long to look for a way once both are there, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = quantity::parse_seconds)]
    deadline: Duration,

    /// Do not search for the port of a symmetric NAT
    #[arg(long)]
    no_birthday: bool,

    /// Do not go through a server that forwards
    #[arg(long)]
    no_relay: bool,

    /// Go through a server that forwards, and no other way
    #[arg(long, conflicts_with = "no_relay")]
    relay_only: bool,

    /// Send so many bytes to the other machine, which checks them
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = quantity::parse_size)]
    send_bytes: u64,

    /// Print JSON, one object
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Outcome {
    connected: bool,
    /// Since both were there.
    connect_ms: f64,
    /// Since this command began.
    total_ms: f64,
    path: Option<String>,
    rtt_ms: Option<f64>,
    local: String,
    remote: String,
    peer: Option<SocketAddr>,
    attempts: u32,
    probes_sent: u32,
    probes_seen: u32,
    acks_seen: u32,
    error: Option<String>,
    transfer: Option<Trial>,
}

impl Outcome {
    fn new(report: &PunchReport, total: Duration) -> Self {
        Self {
            connected: false,
            connect_ms: quantity::millis(report.elapsed),
            total_ms: quantity::millis(total),
            path: report.path.map(|path| path.to_string()),
            rtt_ms: report.rtt.map(quantity::millis),
            local: report.local.to_string(),
            remote: report.remote.to_string(),
            peer: None,
            attempts: report.attempts,
            probes_sent: report.probes_sent,
            probes_seen: report.probes_seen,
            acks_seen: report.acks_seen,
            error: None,
            transfer: None,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let socket = bind(&options).await?;
    let client = client(&socket, &options).await?;
    let begun = Instant::now();
    if !options.json {
        output::line(format_args!("waiting for the other machine in room {:?}", options.room))?;
    }
    let room = RoomId::from_name(&options.room);
    let meeting = timeout(options.timeout, client.meet(room));
    let met = tokio::select! {
        met = meeting => met,
        stopped = signals::asked_to_stop() => {
            stopped.map_err(|error| Failure::io("signals", &error))?;
            // The server is told, so that the place is free at once.
            close(socket).await;
            return Err(Failure::new("stopped"));
        }
    };
    let outcome = match met {
        Ok(Ok(met)) => {
            // If the way is lost, the two meet again.
            let keeping = tokio::spawn(client.keep(room, &met));
            let Punched { stream, report, .. } = met;
            let outcome = connected(&options, stream, &report, begun.elapsed()).await;
            keeping.abort();
            outcome
        }
        Ok(Err(error)) => failed(&options, &error, begun.elapsed()),
        Err(_) => Err(Failure::new("nobody came")),
    };
    close(socket).await;
    outcome
}

async fn bind(options: &Options) -> Result<UtpSocket, Failure> {
    let failed = |error: std::io::Error| Failure::io("UDP socket", &error);
    if let Some(addr) = &options.bind {
        return UtpSocket::bind(resolve(addr).await?).await.map_err(failed);
    }
    let any = |text: &str| text.parse::<SocketAddr>().map_err(Failure::new);
    // Both families, where the system has both.
    match UtpSocket::bind_with(any("[::]:0")?, Config::default()).await {
        Ok(socket) => Ok(socket),
        Err(_) => UtpSocket::bind(any("0.0.0.0:0")?).await.map_err(failed),
    }
}

async fn client(socket: &UtpSocket, options: &Options) -> Result<Client, Failure> {
    let mut mapped = Vec::new();
    for addr in &options.mapped {
        mapped.push(resolve(addr).await?);
    }
    let client = Client::resolve(socket, &options.server).await;
    let client = client.map_err(|error| Failure::io("rendezvous server", &error))?;
    let relay = match (options.no_relay, options.relay_only) {
        (true, _) => RelayUse::Never,
        (_, true) => RelayUse::Only,
        _ => RelayUse::IfNeeded,
    };
    Ok(client.relay(relay).mapped(mapped).birthday(!options.no_birthday).deadline(options.deadline))
}

async fn connected(
    options: &Options,
    mut stream: UtpStream,
    report: &PunchReport,
    total: Duration,
) -> Result<(), Failure> {
    let peer = stream.peer_addr();
    if !options.json {
        output::line(format_args!("{report}\nconnected to {peer}"))?;
    }
    let trial = trial::run(&mut stream, options.send_bytes).await?;
    if options.json {
        let rtt = report.rtt.or_else(|| stream.stats().rtt).map(quantity::millis);
        return output::json(&Outcome {
            connected: true,
            rtt_ms: rtt,
            peer: Some(peer),
            transfer: Some(trial),
            ..Outcome::new(report, total)
        });
    }
    trial.lines().try_for_each(output::line)
}

fn failed(options: &Options, error: &PunchError, total: Duration) -> Result<(), Failure> {
    if options.json {
        let report = error.report();
        output::json(&Outcome { error: Some(error.to_string()), ..Outcome::new(report, total) })?;
        return Err(Failure::silent());
    }
    Err(Failure::new(error))
}
