//! When bytes may leave, so that a window goes out spread over its round trip instead of as one burst.
//!
//! A bucket that fills at the pacing rate and is emptied by what is sent. Knows no packets and sets no timer: it says
//! when to ask again.

use std::time::Duration;

use super::RttEstimator;
use crate::time::Instant;

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// As fast as it goes.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// So many bytes per second.
    #[must_use]
    pub const fn from_bytes_per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes per second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// The rate at which to send a window of `window` bytes in packets of `mss`.
    ///
    /// Slightly faster than the window per round trip, so that the window stays the limit; twice as fast while it
    /// doubles each round trip; exactly that fast below two packets, where pacing is all there is to hold them apart.
    /// [`UNLIMITED`](Self::UNLIMITED) before the first round trip was measured.
    #[must_use]
    pub fn for_window(window: u32, slow_start: bool, mss: u32, rtt: &RttEstimator) -> Self {
        let Some(smoothed) = rtt.smoothed() else { return Self::UNLIMITED };
        let micros = u64::try_from(smoothed.as_micros()).unwrap_or(u64::MAX).max(1);
        let percent = match window {
            _ if u64::from(window) < 2 * u64::from(mss) => 100,
            _ if slow_start => GAIN_SLOW_START_PERCENT,
            _ => GAIN_PERCENT,
        };
        Self(u64::from(window) * percent * (MICROS_PER_SECOND / 100) / micros)
    }

    /// Millionths of a byte that this rate makes in `duration`.
    fn in_time(self, duration: Duration) -> i64 {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        i64::try_from(self.0.saturating_mul(micros)).unwrap_or(i64::MAX)
    }
}

/// A bucket of bytes of payload that may be sent.
///
/// It holds a millisecond of the rate, or two packets. On a path with a round trip of a millisecond or less that is the
/// whole window, and the pacer never holds anything back.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// Millionths of a byte in the bucket, so that a slow rate that is asked often loses nothing to rounding. Below
    /// zero after more was sent than allowed.
    level: i64,
    /// When `level` was right; `None` while nothing limits the rate.
    filled_at: Option<Instant>,
    rate: Rate,
    /// Payload of a full packet.
    packet: u32,
    /// Whether the last answer was less than a packet, so that somebody waits.
    refused: bool,
}

impl Pacer {
    /// A full bucket, for packets of at most `packet` bytes of payload.
    #[must_use]
    pub const fn new(packet: u32) -> Self {
        Self { level: 0, filled_at: None, rate: Rate::UNLIMITED, packet, refused: false }
    }

    /// A full packet now carries this many bytes of payload.
    pub const fn on_mtu(&mut self, packet: u32) {
        self.packet = packet;
    }

    /// Bytes that may leave now at this rate.
    ///
    /// To be asked only with something to send, and again until that is gone or the answer is less than a packet: who is
    /// refused like that gets the time until the next question in full, up to the lateness of a coarse timer, so that
    /// late calls cost no throughput. Otherwise time is not saved up beyond the burst.
    pub fn allowance(&mut self, now: Instant, rate: Rate) -> u32 {
        self.rate = rate;
        if rate == Rate::UNLIMITED {
            (self.filled_at, self.refused) = (None, false);
            return u32::MAX;
        }
        let burst = self.burst();
        match self.filled_at {
            None => (self.level, self.filled_at) = (burst, Some(now)),
            Some(filled_at) => {
                let passed = now.since(filled_at);
                let cap = if self.refused {
                    burst.max(rate.in_time(LATENESS_MAX))
                } else if passed <= BURST_TIME {
                    // What is left of a large answer is still good within the same turn.
                    burst.max(self.level)
                } else {
                    burst
                };
                self.level = self.level.saturating_add(rate.in_time(passed)).min(cap);
                self.filled_at = Some(filled_at.max(now));
            }
        }
        let bytes = u32::try_from(self.level.max(0) / BYTE).unwrap_or(u32::MAX);
        self.refused = bytes < self.packet;
        bytes
    }

    /// So many bytes left.
    ///
    /// More than allowed is possible, for what cannot wait, and is paid back later; never more than another burst's
    /// worth, so that no mistake can hold a connection up for long.
    pub fn on_sent(&mut self, bytes: u32) {
        if self.filled_at.is_some() {
            let debt_max = self.burst().saturating_neg();
            self.level = self.level.saturating_sub(i64::from(bytes) * BYTE).max(debt_max);
        }
    }

    /// When `bytes` will be allowed at the rate of the last question: `now`, if they are already.
    ///
    /// More than the bucket holds count as what it holds.
    #[must_use]
    pub fn next_release(&self, now: Instant, bytes: u32) -> Instant {
        let Some(filled_at) = self.filled_at else { return now };
        let wanted = (i64::from(bytes) * BYTE).min(self.burst());
        let missing = u64::try_from(wanted.saturating_sub(self.level)).unwrap_or(0);
        let wait = Duration::from_micros(missing.div_ceil(self.rate.0.max(1)));
        now.max(filled_at + wait)
    }

    fn burst(&self) -> i64 {
        (2 * i64::from(self.packet) * BYTE).max(self.rate.in_time(BURST_TIME))
    }
}

/// Ours: the unit of the bucket, a millionth of a byte: what a byte per second makes in a microsecond.
const BYTE: i64 = 1_000_000;

/// Ours: microseconds, in which round trips are counted, in the second that rates are counted by.
const MICROS_PER_SECOND: u64 = 1_000_000;

/// RFC 9002 §7.7: some factor above 1, so that the window is used in full; its 1.25 keeps bursts together that 1.05 lets
/// run apart.
const GAIN_PERCENT: u64 = 105;

/// RFC 9406 §4.2: growth per acknowledgement needs no limit if packets are paced, and doubling needs twice the rate.
const GAIN_SLOW_START_PERCENT: u64 = 200;

/// RFC 9002 §7.7: bursts should be limited. A millisecond of the rate is a hundredth of the usual target delay, and lets
/// fast paths fill their batches.
const BURST_TIME: Duration = Duration::from_millis(1);

/// Ours: the coarsest timers in use tick every 15.6 ms (Windows).
const LATENESS_MAX: Duration = Duration::from_millis(16);

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u32 = 1380;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Sends whatever is allowed, in whole packets, every `every` microseconds; bytes per second over `seconds`.
    fn throughput(rate: Rate, every: u64, seconds: u64) -> u64 {
        let mut pacer = Pacer::new(PACKET);
        let mut sent = 0;
        for now in (0..seconds * MICROS_PER_SECOND).step_by(usize::try_from(every).unwrap_or(1)) {
            while pacer.allowance(at(now), rate) >= PACKET {
                pacer.on_sent(PACKET);
                sent += u64::from(PACKET);
            }
        }
        sent / seconds
    }

    #[test]
    fn the_rate_comes_out_whenever_it_is_asked() {
        for rate in [50_000, 1_250_000, 125_000_000] {
            for every in [7, 100, 1_000, 10_000, 15_600] {
                let got = throughput(Rate::from_bytes_per_second(rate), every, 4);
                assert!(got.abs_diff(rate) <= rate / 50, "{got} of {rate} B/s, polled every {every} us");
            }
        }
    }

    #[test]
    fn the_rate_comes_out_when_asked_at_the_release() {
        let rate = Rate::from_bytes_per_second(1_000_003);
        let (mut pacer, mut now, mut sent) = (Pacer::new(PACKET), at(0), 0);
        while now < at(2_000_000) {
            assert!(pacer.allowance(now, rate) >= PACKET, "released too early at {now}");
            pacer.on_sent(PACKET);
            sent += PACKET;
            now = pacer.next_release(now, PACKET);
        }
        assert!(sent.abs_diff(2_000_006) <= 2 * PACKET, "{sent}");
    }

    #[test]
    fn idle_time_buys_no_more_than_a_burst() {
        let rate = Rate::from_bytes_per_second(10_000_000);
        let mut pacer = Pacer::new(PACKET);
        assert_eq!(pacer.allowance(at(0), rate), 10_000);
        pacer.on_sent(PACKET);
        assert_eq!(pacer.allowance(at(9_000_000), rate), 10_000);
        let slow = Rate::from_bytes_per_second(50_000);
        assert_eq!(Pacer::new(PACKET).allowance(at(0), slow), 2 * PACKET);
    }

    #[test]
    fn waiting_buys_no_more_than_a_timer_is_late() {
        let rate = Rate::from_bytes_per_second(10_000_000);
        let mut pacer = Pacer::new(PACKET);
        assert_eq!(pacer.allowance(at(0), rate), 10_000);
        pacer.on_sent(10_000);
        assert_eq!(pacer.allowance(at(0), rate), 0);
        assert_eq!(pacer.allowance(at(9_000_000), rate), 160_000);
        // Not taken at once, most of it is gone.
        assert_eq!(pacer.allowance(at(9_000_500), rate), 160_000);
        assert_eq!(pacer.allowance(at(9_100_000), rate), 10_000);
    }

    #[test]
    fn an_answer_of_a_packet_is_no_refusal() {
        let rate = Rate::from_bytes_per_second(10_000_000);
        let mut pacer = Pacer::new(PACKET);
        pacer.allowance(at(0), rate);
        pacer.on_sent(10_000 - PACKET);
        assert_eq!(pacer.allowance(at(0), rate), PACKET);
        assert_eq!(pacer.allowance(at(9_000_000), rate), 10_000);
    }

    #[test]
    fn a_burst_grows_with_packets() {
        let mut pacer = Pacer::new(PACKET);
        pacer.on_mtu(8_000);
        assert_eq!(pacer.allowance(at(0), Rate::from_bytes_per_second(50_000)), 16_000);
    }

    #[test]
    fn a_time_is_never_credited_twice() {
        let rate = Rate::from_bytes_per_second(1_000_000);
        let mut pacer = Pacer::new(PACKET);
        assert_eq!(pacer.allowance(at(1_000), rate), 2 * PACKET);
        pacer.on_sent(2 * PACKET);
        for now in [1_100, 1_000, 1_100, 1_050, 1_100] {
            assert_eq!(pacer.allowance(at(now), rate), 100);
        }
    }

    #[test]
    fn overdraft_is_paid_back_but_bounded() {
        let rate = Rate::from_bytes_per_second(1_000_000);
        let mut pacer = Pacer::new(PACKET);
        assert_eq!(pacer.allowance(at(0), rate), 2 * PACKET);
        for _ in 0..1000 {
            pacer.on_sent(u32::MAX);
        }
        assert_eq!(pacer.next_release(at(0), PACKET), at(u64::from(3 * PACKET)));
        assert_eq!(pacer.allowance(at(100), rate), 0);
    }

    #[test]
    fn a_loopback_window_is_never_held_back() {
        let mut rtt = RttEstimator::new(Duration::from_millis(500));
        rtt.sample(Duration::from_micros(40));
        let window = 1 << 20;
        let rate = Rate::for_window(window, false, PACKET, &rtt);
        let mut pacer = Pacer::new(PACKET);
        for turn in 0..100 {
            assert!(pacer.allowance(at(turn * 40), rate) >= window);
            pacer.on_sent(window);
        }
    }

    #[test]
    fn a_window_becomes_a_rate_with_some_room() {
        let mut rtt = RttEstimator::new(Duration::from_millis(500));
        assert_eq!(Rate::for_window(100_000, false, PACKET, &rtt), Rate::UNLIMITED);
        rtt.sample(Duration::from_millis(100));
        let rate = |window, slow_start| Rate::for_window(window, slow_start, PACKET, &rtt).bytes_per_second();
        assert_eq!(rate(100_000, false), 1_050_000);
        assert_eq!(rate(100_000, true), 2_000_000);
        assert_eq!(rate(2000, true), 20_000);
        assert_eq!(rate(2 * PACKET, false), 28_980);
        assert_eq!(rate(u32::MAX, true), 85_899_345_900);
    }

    #[test]
    fn no_rate_and_no_clock_can_break_the_arithmetic() {
        let mut pacer = Pacer::new(u32::MAX);
        assert_eq!(pacer.allowance(at(5), Rate::UNLIMITED), u32::MAX);
        pacer.on_sent(u32::MAX);
        assert_eq!(pacer.next_release(at(5), PACKET), at(5));
        for rate in [0, 1, u64::MAX - 1] {
            for now in [0, 9, u64::MAX, 3] {
                pacer.allowance(at(now), Rate::from_bytes_per_second(rate));
                pacer.on_sent(u32::MAX);
                assert!(pacer.next_release(at(now), u32::MAX) >= at(now));
            }
        }
    }
}
