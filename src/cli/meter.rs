//! Counts and samples of one measurement on one side, and what they add up to.
//!
//! Cheap enough for the data path: a counter per block, a look at the stream a few hundred times per second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cpu_time::ProcessTime;
use ebbtide::{SocketStats, StreamStats};
use serde::{Deserialize, Serialize};

use crate::quantity::{millis, ratio};

/// Readings of all streams of a measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: AtomicU64,
    series: Mutex<Series>,
}

#[derive(Debug)]
struct Series {
    /// The newest numbers of each stream.
    latest: Vec<Option<StreamStats>>,
    rtt_ms_sum: f64,
    rtt_samples: u64,
    /// At most [`SAMPLES_MAX`]: when full, every second one goes and half as many are taken from then on.
    queue_delays_us: Vec<u32>,
    take_every: u64,
    offered: u64,
}

impl Meter {
    pub(crate) fn new(streams: u16) -> Self {
        let series = Series {
            latest: vec![None; usize::from(streams)],
            rtt_ms_sum: 0.0,
            rtt_samples: 0,
            queue_delays_us: Vec::new(),
            take_every: 1,
            offered: 0,
        };
        Self { bytes: AtomicU64::new(0), series: Mutex::new(series) }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A reading of stream number `index` while it is under way.
    pub(crate) fn sample(&self, index: usize, stats: Option<StreamStats>) {
        let Some(stats) = stats else { return };
        let mut series = self.series();
        if let Some(rtt) = stats.rtt {
            series.rtt_ms_sum += millis(rtt);
            series.rtt_samples += 1;
        }
        if let Some(delay) = stats.queue_delay {
            series.queue_delay(delay);
        }
        series.keep(index, stats);
    }

    /// The last reading of a stream. Its counters count; its delays only if nothing was measured before: there is
    /// nothing under way any more.
    pub(crate) fn last(&self, index: usize, stats: Option<StreamStats>) {
        if self.series().rtt_samples == 0 {
            self.sample(index, stats);
        } else if let Some(stats) = stats {
            self.series().keep(index, stats);
        }
    }

    /// The newest numbers of all streams in one.
    pub(crate) fn now(&self) -> Option<Now> {
        let series = self.series();
        let latest = || series.latest.iter().flatten();
        let count = u32::try_from(latest().count()).ok().filter(|count| *count > 0)?;
        let mean = |of: fn(&StreamStats) -> Option<Duration>| {
            let known = || latest().filter_map(of);
            let sum: Duration = known().sum();
            u32::try_from(known().count()).ok().and_then(|known| sum.checked_div(known)).map(millis)
        };
        Some(Now {
            rtt_ms: mean(|stats| stats.rtt),
            queue_delay_ms: mean(|stats| stats.queue_delay),
            cwnd: latest().map(|stats| u64::from(stats.cwnd)).sum::<u64>() / u64::from(count),
            retransmitted: latest().map(|stats| stats.packets_retransmitted).sum(),
            mtu: latest().map(|stats| stats.mtu).max().unwrap_or(0),
        })
    }

    fn series(&self) -> std::sync::MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn keep(&mut self, index: usize, stats: StreamStats) {
        if let Some(latest) = self.latest.get_mut(index) {
            *latest = Some(stats);
        }
    }

    fn queue_delay(&mut self, delay: Duration) {
        self.offered += 1;
        if !self.offered.is_multiple_of(self.take_every) {
            return;
        }
        if self.queue_delays_us.len() >= SAMPLES_MAX {
            let mut index = 0_usize;
            self.queue_delays_us.retain(|_| {
                index += 1;
                index.is_multiple_of(2)
            });
            self.take_every *= 2;
        }
        self.queue_delays_us.push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
    }
}

/// A momentary view over all streams of a side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) queue_delay_ms: Option<f64>,
    /// Mean per stream, bytes.
    pub(crate) cwnd: u64,
    pub(crate) retransmitted: u64,
    pub(crate) mtu: u16,
}

/// What one side measured. Fields that its transport cannot know are `null`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) cpu_seconds_per_gib: Option<f64>,
    pub(crate) rtt_ms_mean: Option<f64>,
    pub(crate) queue_delay_ms_mean: Option<f64>,
    pub(crate) queue_delay_ms_p95: Option<f64>,
    pub(crate) retransmitted_packets: Option<u64>,
    pub(crate) mtu: Option<u16>,
    pub(crate) datagrams_per_send_call: Option<f64>,
    pub(crate) datagrams_per_receive_call: Option<f64>,
}

/// Readings of process and socket when a measurement began.
#[derive(Debug)]
pub(crate) struct Probe {
    cpu: Option<ProcessTime>,
    socket: Option<SocketStats>,
}

impl Probe {
    pub(crate) fn start(socket: Option<SocketStats>) -> Self {
        Self { cpu: ProcessTime::try_now().ok(), socket }
    }

    /// The figures of `seconds` of transfer. With several clients at once, process and socket are theirs together.
    pub(crate) fn finish(&self, meter: &Meter, seconds: f64, socket: Option<SocketStats>) -> Figures {
        let cpu_seconds = self.cpu.and_then(|cpu| cpu.try_elapsed().ok()).map(|cpu| cpu.as_secs_f64());
        let bytes = meter.bytes();
        let calls = self.socket.zip(socket);
        let (now, mut series) = (meter.now(), meter.series());
        series.queue_delays_us.sort_unstable();
        let delays = &series.queue_delays_us;
        let sum: u64 = delays.iter().map(|delay| u64::from(*delay)).sum();
        Figures {
            bytes,
            seconds,
            cpu_seconds,
            cpu_seconds_per_gib: cpu_seconds.and_then(|cpu| per_gib(cpu, bytes)),
            rtt_ms_mean: ratio(1, series.rtt_samples).map(|share| series.rtt_ms_sum * share),
            queue_delay_ms_mean: ratio(sum, delays.len() as u64).map(|mean| mean / 1e3),
            queue_delay_ms_p95: delays.get(delays.len() * 95 / 100).map(|delay| f64::from(*delay) / 1e3),
            retransmitted_packets: now.map(|now| now.retransmitted),
            mtu: now.map(|now| now.mtu),
            datagrams_per_send_call: calls.and_then(|(before, after)| {
                let sent = after.datagrams_sent - before.datagrams_sent;
                ratio(sent, after.send_calls - before.send_calls)
            }),
            datagrams_per_receive_call: calls.and_then(|(before, after)| {
                let received = after.datagrams_received - before.datagrams_received;
                ratio(received, after.receive_calls - before.receive_calls)
            }),
        }
    }
}

/// `seconds` per GiB, or nothing if nothing was moved.
pub(crate) fn per_gib(seconds: f64, bytes: u64) -> Option<f64> {
    ratio(bytes, 1 << 30).filter(|gib| *gib > 0.0).map(|gib| seconds / gib)
}

/// Far more than a percentile needs, and a quarter of a MiB at most.
const SAMPLES_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_delay(us: u64) -> Option<StreamStats> {
        let mut stats = StreamStats::default();
        stats.queue_delay = Some(Duration::from_micros(us));
        stats.rtt = Some(Duration::from_micros(2 * us));
        stats.packets_retransmitted = us;
        Some(stats)
    }

    #[test]
    fn means_and_percentiles_are_of_the_samples() {
        let meter = Meter::new(1);
        let probe = Probe::start(None);
        (1..=100).rev().for_each(|ms| meter.sample(0, with_delay(ms * 1000)));
        meter.last(0, with_delay(7));
        meter.add(1 << 30);
        let figures = probe.finish(&meter, 2.0, None);
        assert_eq!(figures.queue_delay_ms_mean, Some(50.5));
        assert_eq!(figures.queue_delay_ms_p95, Some(96.0));
        assert_eq!(figures.rtt_ms_mean.map(f64::round), Some(101.0));
        assert_eq!(figures.retransmitted_packets, Some(7));
        assert_eq!(figures.datagrams_per_send_call, None);
    }

    #[test]
    fn retransmissions_add_up_over_streams() {
        let meter = Meter::new(2);
        meter.sample(0, with_delay(3));
        meter.sample(1, with_delay(4));
        assert_eq!(meter.now().map(|now| now.retransmitted), Some(7));
    }

    #[test]
    fn samples_stay_bounded() {
        let meter = Meter::new(1);
        (0..3 * SAMPLES_MAX as u64).for_each(|us| meter.sample(0, with_delay(us)));
        let series = meter.series();
        assert!(series.queue_delays_us.len() <= SAMPLES_MAX);
        assert!(series.queue_delays_us.len() > SAMPLES_MAX / 4);
    }

    #[test]
    fn nothing_moved_has_no_cost_per_gib() {
        let figures = Probe::start(None).finish(&Meter::new(1), 0.0, None);
        assert_eq!(figures.cpu_seconds_per_gib, None);
        assert_eq!(figures.queue_delay_ms_p95, None);
    }
}
