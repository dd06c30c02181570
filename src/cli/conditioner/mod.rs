//! `ebbtide conditioner`: a bad line between any two programs that speak UDP.
//!
//! Options, what is printed, and when it ends. The line is the crate's; what carries datagrams is `relay`.

mod commands;
mod relay;
mod settings;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use ebbtide::link::{Conditioner, ConditionerStats, Direction, Fault, Line};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::failure::{self, Failure};
use crate::output;
use crate::quantity::{parse_address, parse_seconds};
use crate::signals;
use crate::transport::resolve;
use commands::{Command, Commands};
use relay::{Counts, Limits, Relay};
use settings::Setting;

/// Put a bad line between any two programs that speak UDP
///
/// Listens for clients, and passes what they send to a destination and its answers back, through a line that loses,
/// delays, reorders and spoils datagrams as it is told. Each client is given a port of its own towards the destination;
/// all share the line. Changed at run time by commands on stdin.
///
///   ebbtide conditioner --listen 127.0.0.1:7000 --to 127.0.0.1:6881 --preset wifi --down rate=2M
#[derive(Args)]
#[command(after_help = AFTER_HELP.as_str(), verbatim_doc_comment)]
pub(crate) struct Options {
    /// Where clients send to; port 0 takes a free one, which is printed
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    listen: String,
    /// Where it goes
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    to: String,
    /// A line to begin with; what follows changes it. Clients are the customer, so `up` is their upload
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Line::PRESETS.map(|(name, _)| name)))]
    preset: Option<String>,
    /// Settings of both directions
    #[arg(long, value_name = "SETTING", num_args = 1.., value_parser = settings::parse)]
    set: Vec<Setting>,
    /// Settings of the way from the clients to the destination
    #[arg(long, value_name = "SETTING", num_args = 1.., value_parser = settings::parse)]
    up: Vec<Setting>,
    /// Settings of the way back
    #[arg(long, value_name = "SETTING", num_args = 1.., value_parser = settings::parse)]
    down: Vec<Setting>,
    /// Draw the same chances again; a seed is drawn and printed unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Clients at once; others are ignored
    #[arg(long, value_name = "N", default_value_t = 256,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    clients: usize,
    /// How long a client may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    idle: Duration,
    /// How often to print a line of numbers, in seconds; otherwise at the end only
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    every: Option<Duration>,
    /// End after so many seconds
    #[arg(long, short, value_name = "SECONDS", value_parser = parse_seconds)]
    time: Option<Duration>,
    /// Print JSON, an object per line
    #[arg(long)]
    json: bool,
}

static AFTER_HELP: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| format!("{}\n\n{}", settings::HELP, commands::HELP));

impl Options {
    fn line(&self) -> Line {
        let clean = Line::from(settings::clean());
        let Line { there, back } = self.preset.as_deref().and_then(settings::preset).unwrap_or(clean);
        let both = |link| self.set.iter().fold(link, |link, setting| setting.apply(link));
        Line {
            there: self.up.iter().fold(both(there), |link, setting| setting.apply(link)),
            back: self.down.iter().fold(both(back), |link, setting| setting.apply(link)),
        }
    }
}

/// What is printed when it begins, and after every change.
#[derive(Serialize)]
struct Setup {
    event: &'static str,
    listen: SocketAddr,
    to: SocketAddr,
    seed: u64,
    up: String,
    down: String,
}

/// A line of numbers.
#[derive(Serialize)]
struct Numbers {
    event: &'static str,
    seconds: f64,
    clients: usize,
    clients_expired: u64,
    refused: u64,
    send_errors: u64,
    astray: u64,
    up: Way,
    down: Way,
}

/// Numbers of one direction, in datagrams unless they say bytes.
#[derive(Serialize)]
struct Way {
    received: u64,
    /// Headers of IP and UDP included.
    received_bytes: u64,
    sent: u64,
    sent_bytes: u64,
    lost: u64,
    queue_full: u64,
    too_large: u64,
    link_down: u64,
    no_room: u64,
    doubled: u64,
    reordered: u64,
    corrupted: u64,
    under_way: u64,
    queue_bytes_max: u64,
}

impl From<ConditionerStats> for Way {
    fn from(stats: ConditionerStats) -> Self {
        let struck = |fault| stats.link.struck(fault);
        Self {
            received: stats.link.packets,
            received_bytes: stats.link.bytes,
            sent: stats.delivered,
            sent_bytes: stats.delivered_bytes,
            lost: struck(Fault::Lost) + struck(Fault::BurstLost),
            queue_full: struck(Fault::QueueFull) + struck(Fault::WaitedLong),
            too_large: struck(Fault::Oversize),
            link_down: struck(Fault::Down),
            no_room: stats.no_room,
            doubled: struck(Fault::Doubled),
            reordered: struck(Fault::Delayed),
            corrupted: struck(Fault::Flipped),
            under_way: stats.under_way,
            queue_bytes_max: stats.link.queue_bytes_max,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let (local, to) = (resolve(&options.listen).await?, resolve(&options.to).await?);
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    let limits = Limits { clients: options.clients, idle: options.idle };
    let relay = Relay::bind(local, to, Conditioner::new(options.line(), seed), limits).await;
    let relay = relay.map_err(|error| Failure::io(format_args!("listen on {}", options.listen), &error))?;
    let listen = relay.local_addr().map_err(|error| Failure::io("listen", &error))?;
    let told = Told { relay, listen, to, seed, json: options.json };
    told.setup("listening")?;
    told.serve(&options).await?;
    told.numbers("last")
}

/// The relay, and what is said about it.
struct Told {
    relay: Relay,
    listen: SocketAddr,
    to: SocketAddr,
    seed: u64,
    json: bool,
}

impl Told {
    /// Until somebody wants it to end.
    async fn serve(&self, options: &Options) -> Result<(), Failure> {
        let mut commands = Commands::start().map_err(|error| Failure::io("stdin", &error))?;
        let stopped = signals::asked_to_stop();
        let time_up = async {
            match options.time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let relaying = self.relay.run();
        let printing = self.print(options.every);
        tokio::pin!(stopped, time_up, relaying, printing);
        loop {
            tokio::select! {
                stopped = &mut stopped => return stopped.map_err(|error| Failure::io("signals", &error)),
                () = &mut time_up => return Ok(()),
                error = &mut relaying => return Err(Failure::io("relay", &error)),
                failure = &mut printing => return Err(failure),
                command = commands.next() => match command {
                    Ok(Command::Quit) => return Ok(()),
                    Ok(command) => self.obey(command)?,
                    Err(reason) => failure::to_stderr(reason),
                },
            }
        }
    }

    fn obey(&self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Change(directions, settings) => {
                let change = |link| settings.iter().fold(link, |link, setting| setting.apply(link));
                directions.into_iter().for_each(|direction| self.relay.change(direction, change));
            }
            Command::Line(line) => {
                let Line { there, back } = *line;
                self.relay.change(Direction::There, |_| there);
                self.relay.change(Direction::Back, |_| back);
            }
            Command::Discard => self.relay.discard(),
            Command::Stats => return self.numbers("stats"),
            Command::Quit => {}
        }
        self.setup("changed")
    }

    /// Prints numbers until that fails.
    async fn print(&self, every: Option<Duration>) -> Failure {
        let Some(every) = every else { return std::future::pending().await };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(failure) = self.numbers("stats") {
                return failure;
            }
        }
    }

    fn setup(&self, event: &'static str) -> Result<(), Failure> {
        let Self { listen, to, seed, .. } = *self;
        let Line { there, back } = self.relay.line();
        if self.json {
            return output::json(&Setup {
                event,
                listen,
                to,
                seed,
                up: there.to_string(),
                down: back.to_string(),
            });
        }
        if event == "listening" {
            output::line(format_args!("listening on {listen}, for {to}, seed {seed}"))?;
        }
        output::line(format_args!("up: {there}\ndown: {back}"))
    }

    fn numbers(&self, event: &'static str) -> Result<(), Failure> {
        let (counts, ways, up) = self.relay.stats();
        let [up_way, down_way] = ways.map(Way::from);
        let Counts { clients, expired, refused, send_errors, astray } = counts;
        if self.json {
            return output::json(&Numbers {
                event,
                seconds: up.as_secs_f64(),
                clients,
                clients_expired: expired,
                refused,
                send_errors,
                astray,
                up: up_way,
                down: down_way,
            });
        }
        let way = |way: &Way| {
            format!(
                "{} of {} datagrams through, {} lost, {} dropped by the queue, {} reordered, {} doubled",
                way.sent, way.received, way.lost, way.queue_full, way.reordered, way.doubled
            )
        };
        output::line(format_args!(
            "{clients} clients, {refused} datagrams refused; up: {}; down: {}",
            way(&up_way),
            way(&down_way)
        ))
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

    fn line(more: &[&str]) -> Line {
        let arguments = ["ebbtide", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:2"];
        CommandLine::try_parse_from(arguments.iter().chain(more)).unwrap().options.line()
    }

    #[test]
    fn each_direction_has_what_was_set_for_it_on_top_of_the_preset() {
        assert_eq!(line(&[]), settings::clean().into());
        assert_eq!(line(&["--preset", "adsl"]), Line::adsl());
        let set = line(&["--preset", "adsl", "--set", "delay=5ms", "--up", "loss=1%", "delay=9ms"]);
        assert_eq!(set.back, Line::adsl().back.delay(Duration::from_millis(5)));
        assert!(set.there.to_string().ends_with("9ms, uniform loss 1 %"), "{}", set.there);
    }
}
