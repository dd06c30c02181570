//! A path in a few lines, for tests of controllers: a bottleneck that drops at its tail, propagation, and clocks that
//! disagree. One flow, packets in order, an acknowledgement for each; losses are noticed by the next acknowledgement.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Acked, Controller, DelayMeter, LossEvent, Pacer, Rate, RttEstimator};
use crate::time::Instant;
use crate::wire::Delay;

/// Ours: the payload of the default datagram of 1,400 bytes.
pub(super) const MSS: u32 = 1380;

/// The bottleneck, in bytes per second, seconds of round trip without queue, and bytes of queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) rate: f64,
    pub(super) round_trip: f64,
    pub(super) queue: f64,
}

/// What comes back for one packet: when, and the queue that it met; `None` if it was dropped.
#[derive(Debug)]
struct Echo {
    back_at: f64,
    sent_at: f64,
    forward: Option<f64>,
}

/// A sender on a link, and what can be seen from above that the sender cannot.
#[derive(Debug)]
pub(super) struct Flow<C> {
    pub(super) controller: C,
    pub(super) link: Link,
    /// Seconds.
    pub(super) now: f64,
    /// Bytes per second that the application writes.
    pub(super) application: f64,
    /// Seconds by which the peer's clock is ahead, and by how much it runs fast.
    pub(super) offset: f64,
    pub(super) drift: f64,
    /// Drop every so manyth packet, whatever the queue.
    pub(super) drop_every: u64,
    /// Nothing gets through.
    pub(super) cut: bool,
    pub(super) delivered: f64,
    pub(super) drops: u64,
    pub(super) cuts: u64,
    pub(super) rtt: RttEstimator,
    delays: DelayMeter,
    pacer: Pacer,
    echoes: VecDeque<Echo>,
    in_flight: u32,
    written: f64,
    packets: u64,
    link_free_at: f64,
    epoch: f64,
    limited: bool,
    timer: f64,
}

impl<C: Controller> Flow<C> {
    pub(super) fn new(controller: C, link: Link) -> Self {
        Self {
            controller,
            link,
            now: 0.0,
            application: f64::INFINITY,
            offset: 0.0,
            drift: 0.0,
            drop_every: u64::MAX,
            cut: false,
            delivered: 0.0,
            drops: 0,
            cuts: 0,
            rtt: RttEstimator::new(Duration::from_millis(500)),
            delays: DelayMeter::default(),
            pacer: Pacer::new(MSS),
            echoes: VecDeque::new(),
            in_flight: 0,
            written: 0.0,
            packets: 0,
            link_free_at: 0.0,
            epoch: -1.0,
            limited: false,
            timer: f64::INFINITY,
        }
    }

    /// Seconds of queue in front of a packet sent now.
    pub(super) fn standing_queue(&self) -> f64 {
        (self.link_free_at - self.now).max(0.0)
    }

    /// Runs for `seconds`; bytes per second delivered, and the mean and largest queue, sampled every millisecond.
    pub(super) fn run(&mut self, seconds: f64) -> Outcome {
        let (end, before) = (self.now + seconds, self.delivered);
        let (mut sum, mut max, mut samples) = (0.0, 0.0_f64, 0.0);
        while self.now < end {
            let tick = (self.now + 0.001).min(end);
            while let Some(next) = self.next_event().filter(|&next| next <= tick) {
                self.now = self.now.max(next);
                self.step();
            }
            self.now = tick;
            self.step();
            sum += self.standing_queue();
            max = max.max(self.standing_queue());
            samples += 1.0;
        }
        Outcome { rate: (self.delivered - before) / seconds, queue_mean: sum / samples, queue_max: max }
    }

    fn next_event(&self) -> Option<f64> {
        let back = self.echoes.front().map(|echo| echo.back_at);
        let release = self.pacer.next_release(self.instant(), MSS).as_micros() as f64 / 1e6;
        let release = (self.may_send() && release > self.now).then_some(release);
        [back, release].into_iter().flatten().reduce(f64::min)
    }

    fn step(&mut self) {
        while self.echoes.front().is_some_and(|echo| echo.back_at <= self.now) {
            if let Some(echo) = self.echoes.pop_front() {
                self.receive(&echo);
            }
        }
        if self.now >= self.timer {
            self.controller.on_timeout(self.instant());
            self.rtt.back_off();
            self.in_flight = 0;
            self.echoes.clear();
            self.timer = f64::INFINITY;
        }
        self.send();
    }

    fn receive(&mut self, echo: &Echo) {
        let now = self.instant();
        let bytes_in_flight = self.in_flight;
        self.in_flight -= MSS;
        let Some(forward) = echo.forward else {
            if echo.sent_at >= self.epoch {
                self.epoch = self.now;
                self.cuts += 1;
                let bytes_in_flight = self.in_flight;
                self.controller.on_loss(&LossEvent { now, bytes: MSS, packets: 1, bytes_in_flight });
            }
            return;
        };
        let theirs = self.offset + self.drift * self.now;
        let backward = self.link.round_trip / 2.0;
        self.rtt.sample(Duration::from_secs_f64(self.now - echo.sent_at));
        self.delays.on_packet(now, Some(delay(forward + theirs)), Some(delay(backward - theirs)));
        self.delivered += f64::from(MSS);
        self.timer = self.now + self.rtt.rto().as_secs_f64();
        let queue_delay = self.delays.queue_delay(&self.rtt);
        let window_limited = std::mem::take(&mut self.limited);
        let rtt = &self.rtt;
        self.controller.on_ack(&Acked { now, bytes: MSS, bytes_in_flight, queue_delay, rtt, window_limited });
    }

    fn may_send(&self) -> bool {
        self.in_flight + MSS <= self.controller.window()
            && self.written + f64::from(MSS) <= self.application * self.now
    }

    fn send(&mut self) {
        while self.written + f64::from(MSS) <= self.application * self.now {
            let (window, slow_start) = (self.controller.window(), self.controller.in_slow_start());
            let rate = Rate::for_window(window, slow_start, MSS, &self.rtt);
            if self.in_flight + MSS > window || self.pacer.allowance(self.instant(), rate) < MSS {
                self.limited = true;
                return;
            }
            self.pacer.on_sent(MSS);
            self.transmit();
        }
    }

    fn transmit(&mut self) {
        self.written += f64::from(MSS);
        self.in_flight += MSS;
        self.packets += 1;
        if self.timer.is_infinite() {
            self.timer = self.now + self.rtt.rto().as_secs_f64();
        }
        if self.cut {
            return;
        }
        let fits = self.standing_queue() * self.link.rate <= self.link.queue;
        let forward = if fits && !self.packets.is_multiple_of(self.drop_every) {
            self.link_free_at = self.link_free_at.max(self.now) + f64::from(MSS) / self.link.rate;
            Some(self.link_free_at - self.now + self.link.round_trip / 2.0)
        } else {
            self.drops += 1;
            None
        };
        let back_at = self.link_free_at.max(self.now) + self.link.round_trip;
        self.echoes.push_back(Echo { back_at, sent_at: self.now, forward });
    }

    fn instant(&self) -> Instant {
        Instant::from_micros((self.now * 1e6).round() as u64)
    }
}

/// What a stretch of time looked like: bytes per second, seconds of queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) rate: f64,
    pub(super) queue_mean: f64,
    pub(super) queue_max: f64,
}

fn delay(seconds: f64) -> Delay {
    Delay::new((seconds * 1e6) as i64 as u32).as_sample()
}
