//! What the peer last told us about itself: its receive window, and when we heard from it.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::{Delay, SeqNr, Timestamp};

/// Ours: a send time further back than this is a clock that was set, not a packet that was overtaken.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// The peer as seen through its packets.
#[derive(Debug)]
pub(super) struct Peer {
    window: u32,
    window_stamp: Timestamp,
    window_known: bool,
    shut_since: Option<Instant>,
    /// What we echo in every packet: our clock minus the send time of the last packet.
    pub(super) reply: Delay,
    /// When the last valid packet arrived.
    pub(super) last_heard: Instant,
    /// The highest number that the peer has used, as far as we know.
    pub(super) newest: SeqNr,
}

impl Peer {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            window: 0,
            window_stamp: Timestamp::new(0),
            window_known: false,
            shut_since: None,
            reply: Delay::NONE,
            last_heard: now,
            newest: SeqNr::new(0),
        }
    }

    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// Since when the window has been too small for a packet.
    pub(super) const fn shut_since(&self) -> Option<Instant> {
        self.shut_since
    }

    /// A valid packet: remembers when, and what to echo.
    pub(super) fn heard(&mut self, now: Instant, sent_at: Timestamp) {
        self.last_heard = now;
        // A timestamp of 0 says "do not measure" (libutp).
        self.reply =
            if sent_at.get() == 0 { Delay::NONE } else { now.stamp().delay_since(sent_at).as_sample() };
    }

    /// A window in a packet. An overtaken packet carries an older window; what tells is its send time, since
    /// window updates repeat sequence and acknowledgement numbers. Returns whether the window grew.
    pub(super) fn advertise(
        &mut self,
        now: Instant,
        sent_at: Timestamp,
        window: u32,
        room_needed: u32,
    ) -> bool {
        let behind = Duration::from_micros(u64::from(self.window_stamp.delay_since(sent_at).get()));
        let overtaken = self.window_known && !behind.is_zero() && behind < CLOCK_STEP;
        if overtaken {
            return false;
        }
        let grew = window > self.window;
        self.window = window;
        self.window_stamp = sent_at;
        self.window_known = true;
        if window >= room_needed {
            self.shut_since = None;
        } else if self.shut_since.is_none() {
            self.shut_since = Some(now);
        }
        grew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overtaken_window_is_ignored_and_a_set_clock_is_not() {
        let mut peer = Peer::new(Instant::ZERO);
        let at = |micros| Timestamp::new(micros);
        assert!(peer.advertise(Instant::ZERO, at(5_000), 1000, 100));
        assert!(!peer.advertise(Instant::ZERO, at(4_000), 0, 100));
        assert_eq!(peer.window(), 1000);
        peer.advertise(Instant::ZERO, at(6_000), 0, 100);
        assert_eq!(peer.shut_since(), Some(Instant::ZERO));
        // The clock went back by an hour; the stamp before it wraps too.
        assert!(peer.advertise(Instant::ZERO, at(6_000u32.wrapping_sub(3_600_000_000)), 7000, 100));
        assert_eq!(peer.shut_since(), None);
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
