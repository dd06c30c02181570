//! `ebbtide demo`: two endpoints over real loopback sockets in one process, and proof that the bytes are the same.
//!
//! Makes and checks content; moving and measuring is for the crate and for `meter`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ebbtide::{Config, SocketStats};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::MissedTickBehavior;

use crate::failure::Failure;
use crate::meter::{Figures, Meter, Probe};
use crate::noise::Noise;
use crate::output;
use crate::quantity::{bit_rate, bytes, goodput, parse_size, ratio};
use crate::transport::{Dialer, Listener, Stream, Transport};

/// Move data between two endpoints in this process, verify it, and show figures
///
/// Content is generated, goes over UDP sockets on loopback, and is hashed with BLAKE3 at both ends. The exit code is
/// 1 if the hashes differ.
#[derive(Args)]
pub(crate) struct Options {
    /// How much to move
    #[arg(long, short, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    size: u64,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    verified: bool,
    bytes: u64,
    seconds: f64,
    goodput_bits_per_second: f64,
    /// Of this process: both ends, making the content and hashing it twice.
    cpu_seconds_per_gib: Option<f64>,
    rtt_ms_mean: Option<f64>,
    queue_delay_ms_mean: Option<f64>,
    queue_delay_ms_p95: Option<f64>,
    /// At the end, bytes.
    cwnd: Option<u64>,
    retransmitted_packets: Option<u64>,
    mtu: Option<u16>,
    datagrams_per_send_call: Option<f64>,
    datagrams_per_receive_call: Option<f64>,
    blake3_sent: String,
    blake3_received: String,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let listener = Listener::bind(Transport::Utp, "127.0.0.1:0", Config::bulk()).await?;
    let failed = |error: io::Error| Failure::io("loopback", &error);
    let address = listener.local_addr().map_err(failed)?;
    let dialer = Dialer::new(Transport::Utp, &address.to_string(), Config::bulk()).await?;
    let (connected, accepted) = tokio::join!(dialer.connect(), listener.accept());
    let (outgoing, (incoming, _)) = (connected?, accepted.map_err(failed)?);

    let meter = Arc::new(Meter::new(1));
    let probe = Probe::start(dialer.stats());
    let began = Instant::now();
    let sender = tokio::spawn(send(outgoing, options.size, Arc::clone(&meter)));
    let receiver = tokio::spawn(receive(incoming, Arc::clone(&meter)));
    let both = async { tokio::try_join!(joined(sender), joined(receiver)) };
    let ((sent, outgoing), (received, incoming)) =
        show_progress(options.size, &meter, began, both).await.map_err(failed)?;
    let cwnd = meter.now().map(|now| now.cwnd);
    let figures = probe.finish(&meter, began.elapsed().as_secs_f64(), dialer.stats());

    let outcome = Outcome::new(&figures, cwnd, listener.stats(), [sent, received], options.size);
    if options.json {
        output::json(&outcome)?
    } else {
        output::table(&outcome.rows())?
    }
    drop((outgoing, incoming));
    tokio::join!(dialer.close(), listener.close());
    if outcome.verified { Ok(()) } else { Err(Failure::new("what arrived is not what was sent")) }
}

async fn joined<T>(task: tokio::task::JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.map_err(io::Error::other)?
}

async fn send(mut stream: Stream, size: u64, meter: Arc<Meter>) -> io::Result<(blake3::Hash, Stream)> {
    let (mut noise, mut hasher) = (Noise::new(size), blake3::Hasher::new());
    let mut block = vec![0; BLOCK];
    let mut pulse = pulse(SAMPLE_EVERY);
    let mut left = size;
    while left > 0 {
        let len = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        noise.fill(&mut block[..len]);
        hasher.update(&block[..len]);
        let mut written = 0;
        while written < len {
            tokio::select! {
                biased;
                _ = pulse.tick() => meter.sample(0, stream.stats()),
                more = stream.write(&block[written..len]) => written += more?,
            }
        }
        left -= len as u64;
    }
    stream.shutdown().await?;
    // The peer ends its direction once it has everything.
    while stream.read(&mut block).await? > 0 {}
    meter.last(0, stream.stats());
    Ok((hasher.finalize(), stream))
}

async fn receive(mut stream: Stream, meter: Arc<Meter>) -> io::Result<(blake3::Hash, Stream)> {
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        let len = stream.read(&mut block).await?;
        if len == 0 {
            break;
        }
        hasher.update(&block[..len]);
        meter.add(len);
    }
    stream.shutdown().await?;
    Ok((hasher.finalize(), stream))
}

/// Runs `work` with a bar on stderr, which stays away where stderr is no terminal.
async fn show_progress<T>(size: u64, meter: &Meter, began: Instant, work: impl Future<Output = T>) -> T {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}  {msg}") {
        bar.set_style(style);
    }
    let mut pulse = pulse(REDRAW_EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            _ = pulse.tick() => {
                bar.set_position(meter.bytes());
                let rate = bit_rate(goodput(meter.bytes(), began.elapsed().as_secs_f64()));
                let rtt = meter.now().and_then(|now| now.rtt_ms);
                bar.set_message(rtt.map_or_else(|| rate.clone(), |rtt| format!("{rate}, rtt {rtt:.2} ms")));
            }
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
        }
    }
}

fn pulse(every: Duration) -> tokio::time::Interval {
    let mut pulse = tokio::time::interval(every);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pulse
}

impl Outcome {
    fn new(
        sender: &Figures,
        cwnd: Option<u64>,
        receiver: Option<SocketStats>,
        [sent, received]: [blake3::Hash; 2],
        size: u64,
    ) -> Self {
        Self {
            verified: sent == received && sender.bytes == size,
            bytes: sender.bytes,
            seconds: sender.seconds,
            goodput_bits_per_second: goodput(sender.bytes, sender.seconds),
            cpu_seconds_per_gib: sender.cpu_seconds_per_gib,
            rtt_ms_mean: sender.rtt_ms_mean,
            queue_delay_ms_mean: sender.queue_delay_ms_mean,
            queue_delay_ms_p95: sender.queue_delay_ms_p95,
            cwnd,
            retransmitted_packets: sender.retransmitted_packets,
            mtu: sender.mtu,
            datagrams_per_send_call: sender.datagrams_per_send_call,
            datagrams_per_receive_call: receiver
                .and_then(|stats| ratio(stats.datagrams_received, stats.receive_calls)),
            blake3_sent: sent.to_hex().to_string(),
            blake3_received: received.to_hex().to_string(),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let figure = |value: Option<f64>, digits: usize, unit: &str| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}{unit}"))
        };
        let ms = |value| figure(value, 2, " ms");
        let (mean, p95) = (ms(self.queue_delay_ms_mean), ms(self.queue_delay_ms_p95));
        let again = self.retransmitted_packets.unwrap_or(0);
        vec![
            ("moved", format!("{} in {:.2} s", bytes(self.bytes), self.seconds)),
            ("goodput", bit_rate(self.goodput_bits_per_second)),
            ("round trip", ms(self.rtt_ms_mean)),
            ("queueing delay", format!("{mean} mean, {p95} at 95 %")),
            ("congestion window", bytes(self.cwnd.unwrap_or(0))),
            ("retransmitted", format!("{again} packets of at most {} bytes", self.mtu.unwrap_or(0))),
            ("datagrams per send call", figure(self.datagrams_per_send_call, 1, "")),
            ("datagrams per receive call", figure(self.datagrams_per_receive_call, 1, "")),
            ("CPU", figure(self.cpu_seconds_per_gib, 2, " s per GiB, content and hashes included")),
            ("BLAKE3 sent", self.blake3_sent.clone()),
            ("BLAKE3 received", self.blake3_received.clone()),
            ("content", if self.verified { "verified".to_owned() } else { "DIFFERS".to_owned() }),
        ]
    }
}

const BLOCK: usize = 256 << 10;
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
const REDRAW_EVERY: Duration = Duration::from_millis(100);
