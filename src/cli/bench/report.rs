//! How a measurement reads: for people, and as JSON.
//!
//! Which side knows what: delays, retransmissions and the size of datagrams are the sender's figures; datagrams per
//! call are the sender's when sending and the receiver's when receiving. Each side's own figures are there too.

use serde::Serialize;

use crate::failure::Failure;
use crate::meter::{Figures, Now, per_gib};
use crate::output;
use crate::quantity::{bit_rate, bytes, goodput};
use crate::transport::Transport;

/// What happened since the line before.
#[derive(Serialize)]
pub(super) struct Interval {
    event: &'static str,
    start: f64,
    end: f64,
    bytes: u64,
    goodput_bits_per_second: f64,
    rtt_ms: Option<f64>,
    queue_delay_ms: Option<f64>,
    cwnd: Option<u64>,
    retransmitted_packets: Option<u64>,
}

/// Makes interval lines out of running totals.
pub(super) struct Intervals {
    json: bool,
    end: f64,
    bytes: u64,
    retransmitted: u64,
}

impl Intervals {
    pub(super) fn new(json: bool) -> Self {
        Self { json, end: 0.0, bytes: 0, retransmitted: 0 }
    }

    pub(super) fn print(&mut self, at: f64, total: u64, now: Option<Now>) -> Result<(), Failure> {
        let seconds = at - self.end;
        let moved = total - self.bytes;
        let interval = Interval {
            event: "interval",
            start: self.end,
            end: at,
            bytes: moved,
            goodput_bits_per_second: goodput(moved, seconds),
            rtt_ms: now.and_then(|now| now.rtt_ms),
            queue_delay_ms: now.and_then(|now| now.queue_delay_ms),
            cwnd: now.map(|now| now.cwnd),
            retransmitted_packets: now.map(|now| now.retransmitted.saturating_sub(self.retransmitted)),
        };
        self.end = at;
        self.bytes = total;
        self.retransmitted = now.map_or(0, |now| now.retransmitted);
        if self.json { output::json(&interval) } else { output::line(interval.text()) }
    }
}

impl Interval {
    fn text(&self) -> String {
        let mut text = format!(
            "{:7.2} - {:6.2} s {:>12} {:>14}",
            self.start,
            self.end,
            bytes(self.bytes),
            bit_rate(self.goodput_bits_per_second)
        );
        if let (Some(rtt), Some(cwnd), Some(again)) = (self.rtt_ms, self.cwnd, self.retransmitted_packets) {
            let queue = self.queue_delay_ms.unwrap_or(0.0);
            text +=
                &format!("   rtt {rtt:.2} ms, queue {queue:.2} ms, window {}, again {again}", bytes(cwnd));
        }
        text
    }
}

/// The whole measurement as the client sees it.
#[derive(Serialize)]
pub(super) struct Summary {
    event: &'static str,
    transport: Transport,
    direction: &'static str,
    streams: u16,
    /// Received by whoever received.
    bytes: u64,
    /// From the first byte until the sender knew that the last had arrived.
    seconds: f64,
    goodput_bits_per_second: f64,
    /// Of this process.
    cpu_seconds_per_gib: Option<f64>,
    peer_cpu_seconds_per_gib: Option<f64>,
    both_cpu_seconds_per_gib: Option<f64>,
    rtt_ms_mean: Option<f64>,
    queue_delay_ms_mean: Option<f64>,
    queue_delay_ms_p95: Option<f64>,
    retransmitted_packets: Option<u64>,
    mtu: Option<u16>,
    datagrams_per_send_call: Option<f64>,
    datagrams_per_receive_call: Option<f64>,
    local: Figures,
    peer: Figures,
}

impl Summary {
    pub(super) fn new(
        transport: Transport,
        reverse: bool,
        streams: u16,
        local: Figures,
        peer: Figures,
    ) -> Self {
        let (sender, receiver) = if reverse { (&peer, &local) } else { (&local, &peer) };
        let (bytes, seconds) = (receiver.bytes, local.seconds);
        let cpu = |figures: &Figures| figures.cpu_seconds.and_then(|cpu| per_gib(cpu, bytes));
        Self {
            event: "summary",
            transport,
            direction: if reverse { "download" } else { "upload" },
            streams,
            bytes,
            seconds,
            goodput_bits_per_second: goodput(bytes, seconds),
            cpu_seconds_per_gib: cpu(&local),
            peer_cpu_seconds_per_gib: cpu(&peer),
            both_cpu_seconds_per_gib: cpu(&local).zip(cpu(&peer)).map(|(local, peer)| local + peer),
            rtt_ms_mean: sender.rtt_ms_mean,
            queue_delay_ms_mean: sender.queue_delay_ms_mean,
            queue_delay_ms_p95: sender.queue_delay_ms_p95,
            retransmitted_packets: sender.retransmitted_packets,
            mtu: sender.mtu,
            datagrams_per_send_call: sender.datagrams_per_send_call,
            datagrams_per_receive_call: receiver.datagrams_per_receive_call,
            local,
            peer,
        }
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json { output::json(self) } else { output::table(&self.rows()) }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            (self.direction, format!("{} in {:.2} s", bytes(self.bytes), self.seconds)),
            ("goodput", bit_rate(self.goodput_bits_per_second)),
        ];
        let mut cost = |who: &'static str, cpu: Option<f64>| {
            rows.extend(cpu.map(|cpu| (who, format!("{cpu:.2} s per GiB"))));
        };
        cost("CPU, client", self.cpu_seconds_per_gib);
        cost("CPU, server", self.peer_cpu_seconds_per_gib);
        cost("CPU, both", self.both_cpu_seconds_per_gib);
        if let (Some(again), Some(mtu)) = (self.retransmitted_packets, self.mtu) {
            let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2} ms"));
            let count =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
            let (mean, p95) = (ms(self.queue_delay_ms_mean), ms(self.queue_delay_ms_p95));
            let (sent, received) =
                (count(self.datagrams_per_send_call), count(self.datagrams_per_receive_call));
            rows.extend([
                ("round trip", ms(self.rtt_ms_mean)),
                ("queueing delay", format!("{mean} mean, {p95} at 95 %")),
                ("retransmitted", format!("{again} packets")),
                ("largest datagram", format!("{mtu} bytes")),
                ("datagrams per call", format!("{sent} sent, {received} received")),
            ]);
        }
        rows
    }
}
