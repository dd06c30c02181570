//! LEDBAT (RFC 6817): fills what nobody else wants, and gives way to whoever makes a queue.
//!
//! The window grows while our packets queue for less than the target and shrinks while they queue for longer. Knows no
//! clocks of peers and no packets; what queues comes measured from outside.

use std::time::Duration;

use super::{Acked, Controller, LossEvent, Snapshot};
use crate::time::Instant;

/// The controller of the standard, with a slow start that doubles and a decrease that is in a hurry.
#[derive(Clone, Debug)]
pub struct Ledbat {
    target: Duration,
    /// Payload of a full packet.
    mss: f64,
    /// Bytes, with the fraction that a single acknowledgement adds to a large window.
    window: f64,
    /// Bytes; infinite while unknown.
    ssthresh: f64,
    slow_start: bool,
    /// Bytes still in flight from before the last cut. The queue that they report is the one that was cut for.
    settling: u32,
    /// Whether a loss among those bytes was answered in advance, because the queue was seen before it overflowed.
    loss_answered: bool,
    /// Whether the timer fired and nothing was acknowledged since.
    timed_out: bool,
    delivery: Delivery,
}

impl Ledbat {
    /// A controller that aims at `target` of queueing delay, for packets of `mss` bytes of payload.
    #[must_use]
    pub fn new(target: Duration, mss: u32) -> Self {
        let mss = f64::from(mss.max(1));
        Self {
            target: target.max(TARGET_MIN),
            mss,
            window: WINDOW_MIN_PACKETS * mss,
            ssthresh: f64::INFINITY,
            slow_start: true,
            settling: 0,
            loss_answered: false,
            timed_out: false,
            delivery: Delivery::default(),
        }
    }

    /// Whether a larger window would have been used. A pacer may hold data back for a moment in a flow that is limited
    /// by something else; half a window in flight tells the two apart.
    fn may_grow(&self, ack: &Acked<'_>) -> bool {
        ack.window_limited && f64::from(ack.bytes_in_flight) * FLIGHTS_MAX >= self.window
    }

    fn floor(&self) -> f64 {
        WINDOW_MIN_PACKETS * self.mss
    }

    fn set_window(&mut self, bytes: f64) {
        self.window = bytes.clamp(self.floor(), f64::from(u32::MAX));
    }

    /// Doubles per round trip, until the threshold or a queue.
    fn on_slow_start_ack(&mut self, ack: &Acked<'_>) {
        if ack.queue_delay.is_some_and(|queue| queue > self.target.mul_f64(SLOW_START_EXIT)) {
            // What comes back was sent when the window was half as large, so the queue will be several times this one.
            let settled =
                self.delivery.rate * (ack.rtt.min().unwrap_or_default() + self.target / 2).as_secs_f64();
            self.set_window(settled.clamp(self.window / 4.0, self.window / 2.0));
            self.ssthresh = self.window;
            self.slow_start = false;
            self.settling = ack.bytes_in_flight.saturating_sub(ack.bytes);
            self.loss_answered = self.settling > 0;
        } else if self.may_grow(ack) {
            self.set_window((self.window + f64::from(ack.bytes)).min(self.ssthresh));
            self.slow_start = self.window < self.ssthresh;
        }
    }

    /// Moves towards the window whose queue is the target.
    fn on_steady_ack(&mut self, ack: &Acked<'_>) {
        let settling = self.settling > 0;
        self.settling = self.settling.saturating_sub(ack.bytes);
        self.loss_answered &= self.settling > 0;
        let Some(queue) = ack.queue_delay else { return };
        let share = f64::from(ack.bytes) / f64::from(ack.bytes_in_flight.max(ack.bytes));
        let (queue, target) = (queue.as_secs_f64(), self.target.as_secs_f64());
        let gain = GAIN_BYTES * (target - queue) / target;
        if gain >= 0.0 {
            if self.may_grow(ack) {
                self.set_window(self.window + gain * share);
            }
        } else if !settling {
            let excess =
                self.window * (queue - target) / ack.rtt.smoothed().unwrap_or(self.target).as_secs_f64();
            let decrease = (excess * EXCESS_DECREASE).max(-gain).min(self.window * DECREASE_MAX);
            self.set_window(self.window - decrease * share);
        }
    }
}

impl Controller for Ledbat {
    fn on_ack(&mut self, ack: &Acked<'_>) {
        if ack.bytes == 0 {
            return;
        }
        self.timed_out = false;
        self.delivery.on_ack(ack.now, ack.bytes, ack.rtt.smoothed().unwrap_or_default());
        if self.slow_start {
            self.on_slow_start_ack(ack);
        } else {
            self.on_steady_ack(ack);
        }
    }

    fn on_loss(&mut self, loss: &LossEvent) {
        if std::mem::take(&mut self.loss_answered) {
            return;
        }
        self.set_window(self.window * LOSS_FACTOR);
        self.ssthresh = self.window;
        self.slow_start = false;
        self.settling = loss.bytes_in_flight;
    }

    fn on_timeout(&mut self, _now: Instant) {
        // Timeouts in a row are one event: halving for each would leave nothing to come back to.
        if !self.timed_out {
            let half = self.window.max(self.delivery.per_round_trip) * LOSS_FACTOR;
            self.ssthresh = half.max(self.floor());
        }
        self.timed_out = true;
        self.window = self.floor();
        self.slow_start = true;
        (self.settling, self.loss_answered) = (0, false);
    }

    fn on_idle(&mut self, _now: Instant, idle: Duration) {
        let halvings = i32::try_from(idle.as_secs() / IDLE_HALVING.as_secs()).unwrap_or(i32::MAX);
        if halvings == 0 {
            return;
        }
        if !self.slow_start {
            self.ssthresh = (self.window * IDLE_SSTHRESH).max(self.floor());
        }
        self.set_window(self.window * 0.5_f64.powi(halvings));
        (self.settling, self.loss_answered) = (0, false);
        self.slow_start = self.window < self.ssthresh;
    }

    fn on_mtu(&mut self, payload: u32) {
        self.mss = f64::from(payload.max(1));
        self.set_window(self.window);
    }

    fn window(&self) -> u32 {
        to_bytes(self.window)
    }

    fn in_slow_start(&self) -> bool {
        self.slow_start
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { window: self.window(), ssthresh: to_bytes(self.ssthresh), slow_start: self.slow_start }
    }
}

/// What arrives per round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Delivery {
    /// When the current round began.
    since: Option<Instant>,
    /// Bytes of the current round.
    bytes: f64,
    /// Bytes per second of the last whole round.
    rate: f64,
    /// Bytes per round trip, remembered for some rounds when they get fewer.
    per_round_trip: f64,
}

impl Delivery {
    fn on_ack(&mut self, now: Instant, bytes: u32, round_trip: Duration) {
        let Some(since) = self.since else {
            self.since = Some(now);
            return;
        };
        self.bytes += f64::from(bytes);
        let elapsed = now.since(since);
        if elapsed >= round_trip / 4 && !elapsed.is_zero() {
            self.rate = self.bytes / elapsed.as_secs_f64();
            self.per_round_trip = (self.rate * round_trip.as_secs_f64()).max(self.per_round_trip * MEMORY);
            (self.since, self.bytes) = (Some(now), 0.0);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
const fn to_bytes(bytes: f64) -> u32 {
    bytes as u32
}

/// Ours: windows that may be open per one in flight while growing. Slow start has at most two, because what doubled the
/// window is answered by packets that leave within the next round trip.
const FLIGHTS_MAX: f64 = 2.0;

/// RFC 6817 §2.5: MIN_CWND and INIT_CWND, two packets. libutp's floor of 10 bytes stalls until the timer fires.
const WINDOW_MIN_PACKETS: f64 = 2.0;

/// libutp: bytes per round trip by which an empty queue lets the window grow, two packets and a bit. Measured in the
/// closed loop of the tests, 20 Mbit/s, 40 ms, one packet in a thousand lost: 78 % of the link, against 53 % with the one
/// packet per round trip of RFC 6817.
const GAIN_BYTES: f64 = 3000.0;

/// Measured in the closed loop of the tests, when 50 Mbit/s become 10: the part of the excess queue to take back per
/// round trip. The queue of 470 ms is back at the target after 1.5 s; by the linear rule alone 410 ms are left after 4 s.
/// RFC 6817 §2.5 allows to decrease faster than to increase.
const EXCESS_DECREASE: f64 = 0.5;

/// RFC 6817 §2.4.2: no more than half of the window per round trip, as for a loss.
const DECREASE_MAX: f64 = 0.5;

/// RFC 6817 §2.4.2: a loss halves the window.
const LOSS_FACTOR: f64 = 0.5;

/// Ours: part of the target at which doubling ends, as in LEDBAT++: the answer comes a round trip late.
const SLOW_START_EXIT: f64 = 0.75;

/// Ours: below a millisecond even the clock's own noise looks like a queue. Also the smallest that can be configured.
const TARGET_MIN: Duration = Duration::from_millis(1);

/// RFC 2861: the window is halved for each retransmission timeout without sending; RFC 6298 §2.4 makes that a
/// second.
const IDLE_HALVING: Duration = Duration::from_secs(1);

/// RFC 2861: after idling, double up to three quarters of the window that was in use.
const IDLE_SSTHRESH: f64 = 0.75;

/// Ours: what is left per round of the memory of better rounds; half after five, which is what slow start needs to come
/// back to a hundred packets.
const MEMORY: f64 = 0.875;

#[cfg(test)]
mod tests;
