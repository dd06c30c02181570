//! What the peer last told us about itself: its receive window, and when we heard from it.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::{Delay, Timestamp};

/// Ours: a send time further back than this is a clock that was set, not a packet that was overtaken.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// The peer as seen through its packets.
#[derive(Debug)]
pub(super) struct Peer {
    window: u32,
    window_stamp: Timestamp,
    window_known: bool,
    /// The largest window so far.
    largest: u32,
    /// What we echo in every packet: our clock minus the send time of the last packet.
    pub(super) reply: Delay,
    /// When the last valid packet arrived.
    pub(super) last_heard: Instant,
}

impl Peer {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            window: 0,
            window_stamp: Timestamp::new(0),
            window_known: false,
            largest: 0,
            reply: Delay::NONE,
            last_heard: now,
        }
    }

    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// How much room a packet should find, of at most `payload` bytes: RFC 1122 §4.2.3.4, half of what the peer
    /// ever had, or its receive buffer may be too small for a full packet for ever.
    pub(super) fn room_needed(&self, payload: u16) -> u32 {
        u32::from(payload).min(self.largest / 2).max(1)
    }

    /// Whether the window is too small for a packet of at most `payload` bytes to be worth while.
    pub(super) fn is_shut(&self, payload: u16) -> bool {
        self.window < self.room_needed(payload)
    }

    /// A valid packet: remembers when, and what to echo.
    pub(super) fn heard(&mut self, now: Instant, sent_at: Timestamp) {
        self.last_heard = now;
        // A timestamp of 0 says "do not measure" (libutp).
        self.reply =
            if sent_at.get() == 0 { Delay::NONE } else { now.stamp().delay_since(sent_at).as_sample() };
    }

    /// A window in a packet. An overtaken packet carries an older window; what tells is its send time, since
    /// window updates repeat sequence and acknowledgement numbers.
    pub(super) fn advertise(&mut self, sent_at: Timestamp, window: u32) {
        let behind = Duration::from_micros(u64::from(self.window_stamp.delay_since(sent_at).get()));
        let overtaken = self.window_known && !behind.is_zero() && behind < CLOCK_STEP;
        if overtaken {
            return;
        }
        self.window = window;
        self.window_stamp = sent_at;
        self.window_known = true;
        self.largest = self.largest.max(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overtaken_window_is_ignored_and_a_set_clock_is_not() {
        let mut peer = Peer::new(Instant::ZERO);
        let at = |micros| Timestamp::new(micros);
        peer.advertise(at(5_000), 1000);
        peer.advertise(at(4_000), 0);
        assert_eq!(peer.window(), 1000);
        peer.advertise(at(6_000), 0);
        assert!(peer.is_shut(100));
        peer.advertise(at(7_000), 499);
        assert!(peer.is_shut(1380));
        peer.advertise(at(7_001), 500);
        assert!(!peer.is_shut(1380), "half of the largest is enough");
        // The clock went back by an hour; the stamp before it wraps too.
        peer.advertise(at(7_001u32.wrapping_sub(3_600_000_000)), 7000);
        assert_eq!((peer.window(), peer.is_shut(100)), (7000, false));
    }

    #[test]
    fn a_timestamp_of_zero_is_not_measured() {
        let mut peer = Peer::new(Instant::ZERO);
        peer.heard(Instant::from_micros(77), Timestamp::new(0));
        assert_eq!(peer.reply, Delay::NONE);
        peer.heard(Instant::from_micros(77), Timestamp::new(77));
        assert!(peer.reply.is_sample(), "a real delay of 0 must not look like none");
    }
}
