//! What one run is measured by: rates, CPU time of threads, percentiles. Knows no protocol.

use std::time::{Duration, Instant};

/// Bytes of a message.
pub const LEN: usize = 64;
/// Messages of a round that nobody counts: windows open, buffers grow.
pub const WARM: u64 = 200_000;
/// Messages of a round.
pub const COUNT: u64 = 1_000_000;
/// Rounds of each kind, in turn, so that other work on the machine hits all kinds alike.
pub const ROUNDS: usize = 5;
/// Echoes of a round that nobody counts.
pub const ECHO_WARM: usize = 500;
/// Echoes of a round.
pub const ECHOES: usize = 4000;

/// A message that says which one it is.
pub fn message(number: u64) -> [u8; LEN] {
    let mut bytes = [0x5a; LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Which one a message is.
pub fn number_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(*bytes.first_chunk().expect("a message of the other side"))
}

/// CPU time that this thread has used; nothing where the system does not tell.
pub fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// From one moment to another, as one thread sees it.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    at: Instant,
    cpu: Duration,
}

impl Watch {
    pub fn start() -> Self {
        Self { at: Instant::now(), cpu: cpu() }
    }

    /// Time and CPU time since the start.
    pub fn stop(self) -> (Duration, Duration) {
        (self.at.elapsed(), cpu().saturating_sub(self.cpu))
    }
}

/// One way, as a round has seen it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneWay {
    /// Messages that arrived.
    pub arrived: u64,
    /// From the first of them to the last.
    pub time: Duration,
    pub sender_cpu: Duration,
    pub receiver_cpu: Duration,
    /// Bytes of UDP payload that the sender sent for each message it was given, without what the message is.
    pub overhead: Option<f64>,
}

/// The same of all rounds: medians.
pub fn report(name: &str, rounds: &[OneWay]) {
    let of = |what: fn(&OneWay) -> f64| median(rounds.iter().map(what));
    let rate = of(|round| round.arrived as f64 / round.time.as_secs_f64());
    let nanos = |what: Duration, round: &OneWay| what.as_nanos() as f64 / round.arrived.max(1) as f64;
    let sender = median(rounds.iter().map(|round| nanos(round.sender_cpu, round)));
    let receiver = median(rounds.iter().map(|round| nanos(round.receiver_cpu, round)));
    let lost = of(|round| 1.0 - round.arrived as f64 / COUNT as f64);
    let overhead = median(rounds.iter().filter_map(|round| round.overhead));
    println!(
        "{name:<34} {:>9.0} /s   CPU ns each: sender {sender:>5.0}, receiver {receiver:>5.0}   on the wire \
         {overhead:>4.1} B more   lost {:.1} %",
        rate,
        100.0 * lost
    );
}

/// Round trips of echoes.
pub fn report_echo(name: &str, samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    println!("{name:<34} p50 {:>7.1} us, p99 {:>7.1} us", at(0.5), at(0.99));
    at(0.5)
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
