//! Does the peer acknowledge what it has, or what it wishes to have?
//!
//! A peer that acknowledges packets before they arrive, or instead of those that were lost, is sent more than its share
//! of the path: it decides alone what congestion control hears. uTP cannot leave a number out to see who claims to have
//! it, since everybody else would wait for it. But the sender may keep a packet back until later ones have been
//! answered. An honest receiver reports the gap, as it would after a loss, and gets the packet a round trip late. One
//! that acknowledges it meanwhile is a liar beyond doubt.
//!
//! ```text
//!   sent          1 2 3   5 6 7 8 9 …  4            time ─▶
//!   answered            1 2 3 │ 3+5 ──▶│ honest: 4 is due
//!                             │ 5 ──▶ Misbehaved
//! ```
//!
//! A peer that waits to see whether a gap is a loss before it lies about it has to leave later packets unanswered
//! meanwhile, and so delays its own stream.

use std::time::Duration;

use super::Connection;
use crate::proto::send::{SegmentKind, SegmentRef};
use crate::time::Instant;

/// Ours: the first packet kept back is one of so many after the first sixteen, so that a liar is found before slow
/// start has taken it far.
const FIRST: (u64, u64) = (16, 48);

/// Ours: packets from one to the next, once on average within half as many again: a round trip's delay of the stream
/// per thousand packets is less than what losses cost on any path that has some.
const PAUSE_MIN: u64 = 1024;

/// Ours: and at least so many windows. To a receiver whose masks are short (libutp) a packet kept back costs up to a
/// round trip of sending, so one in sixty-four to a hundred and twenty-eight round trips.
const PAUSE_WINDOWS: u64 = 64;

/// Ours: later packets that must be ready to go, so that there is something to answer.
const FOLLOWERS: u32 = 3;

/// Ours: a peer that has not answered by then will not; no shorter than timers are precise.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// Which packets to keep back.
#[derive(Debug)]
pub(super) struct Honesty {
    random: u64,
    /// Packets sent, without repetitions.
    sent: u64,
    next: u64,
}

impl Honesty {
    pub(super) fn new(seed: u64) -> Self {
        let mut this = Self { random: seed, sent: 0, next: 0 };
        this.next = FIRST.0 + this.draw() % FIRST.1;
        this
    }

    /// A packet was sent for the first time.
    pub(super) const fn sent(&mut self) {
        self.sent += 1;
    }

    /// A packet is kept back, while the window is so many packets.
    fn kept_back(&mut self, window: u64) {
        let pause = PAUSE_MIN.max(PAUSE_WINDOWS * window);
        self.next = self.sent + pause + self.draw() % pause;
    }

    /// Keeps nothing back: tests of other things count packets.
    #[cfg(test)]
    pub(super) const fn silence(&mut self) {
        self.next = u64::MAX;
    }

    /// Steele, Lea, Flood 2014 (SplitMix): enough for somebody who does not see the state.
    const fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Connection {
    /// Whether this new segment, which could be sent now, should wait instead. Only in the middle of a stream: enough
    /// follows at once, and nothing else is being found out.
    pub(super) fn should_keep_back(&self, segment: &SegmentRef) -> bool {
        let len = u32::from(segment.len);
        self.config.verify_acks
            && self.honesty.sent >= self.honesty.next
            && segment.kind == SegmentKind::Data
            && segment.len == self.payload_max()
            && self.send.unsent_bytes() > (FOLLOWERS * len) as usize
            && self.send.peek_kept_back().is_none()
            && !self.send.has_lost()
            && self.rtt.backoffs() == 0
            && self.rtt.smoothed().is_some()
            && self.has_room_for_all(2, len)
    }

    fn has_room_for_all(&self, count: u32, len: u32) -> bool {
        let after = self.send.bytes_in_flight() + count * len;
        after <= self.congestion.window()
            && after <= self.peer.window()
            && self.send.outstanding() + count as usize <= usize::from(self.config.packets_in_flight)
    }

    pub(super) fn keep_back(&mut self, now: Instant, segment: &SegmentRef) {
        self.send.keep_back(segment, now);
        self.due.kept_back = false;
        self.honesty.kept_back(u64::from(self.congestion.window() / u32::from(segment.len).max(1)));
        let round_trip = self.rtt.smoothed().unwrap_or_default() + 4 * self.rtt.variation();
        let wait = (round_trip + self.config.ack_delay).clamp(WAIT_MIN, self.rtt.rto());
        self.timers.kept_back = Some(now + wait);
    }

    /// The segment that was kept back, once its time has come: the peer has answered something later, or will not, or
    /// there is nothing else to send.
    pub(super) fn next_kept_back(&self) -> Option<SegmentRef> {
        let segment = self.send.peek_kept_back()?;
        if !self.due.kept_back && self.send.unsent_bytes() > 0 {
            return None;
        }
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_drawn_as_the_generator_is_published() {
        let mut honesty = Honesty::new(0);
        honesty.random = 0;
        let drawn = [honesty.draw(), honesty.draw(), honesty.draw()];
        assert_eq!(drawn, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
    }

    #[test]
    fn the_first_place_is_any_of_forty_eight() {
        let mut places: Vec<u64> = (0..2000).map(|seed| Honesty::new(seed).next).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, (16..64).collect::<Vec<_>>());
    }

    #[test]
    fn the_next_place_is_one_to_two_pauses_away_and_the_pause_grows_with_the_window() {
        for (window, pause) in [(0, 1024), (16, 1024), (17, 1088), (100, 6400)] {
            let mut honesty = Honesty::new(65_530);
            for _ in 0..500 {
                honesty.sent();
            }
            let mut places: Vec<u64> = (0..1000)
                .map(|_| {
                    honesty.kept_back(window);
                    honesty.next - 500
                })
                .collect();
            places.sort_unstable();
            let (least, most) = (places[0], places[999]);
            assert!((pause..pause + pause / 50).contains(&least), "{window}: {least}");
            assert!((2 * pause - pause / 50..2 * pause).contains(&most), "{window}: {most}");
        }
    }
}
