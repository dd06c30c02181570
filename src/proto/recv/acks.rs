//! When to acknowledge: now, soon, or along with data.
//!
//! Knows no packets and sends none. It is told what became of each packet, asked once per batch of arrivals whether
//! an acknowledgement is due, and told when one left, whatever carried it. So a batch of any size costs one.

use std::time::Duration;

use super::Inserted;
use crate::time::Instant;

/// The acknowledgements owed to the peer.
#[derive(Debug)]
pub struct AckPolicy {
    /// The longest that a packet in order goes unacknowledged.
    delay: Duration,
    /// Packets still to be acknowledged at once, because the peer is just learning what the path can do.
    eager: u8,
    /// Packets in order that nobody acknowledged yet.
    owed: u8,
    at_once: bool,
    deadline: Option<Instant>,
    last_arrival: Instant,
}

/// RFC 5681 § 4.2: an acknowledgement for at least every second full packet.
const OWED_MAX: u8 = 2;

/// Ours: covers the first rounds of slow start, where each acknowledgement sets the next packets free.
const EAGER_PACKETS: u8 = 16;

/// Ours: after a second of silence the peer starts carefully again, so it is answered eagerly again.
const IDLE_AFTER: Duration = Duration::from_secs(1);

impl AckPolicy {
    /// Owes nothing. A lone packet in order will be acknowledged within `delay`.
    #[must_use]
    pub const fn new(delay: Duration) -> Self {
        Self {
            delay,
            eager: EAGER_PACKETS,
            owed: 0,
            at_once: false,
            deadline: None,
            last_arrival: Instant::ZERO,
        }
    }

    /// A packet that uses up a number arrived, and this became of it.
    pub fn on_segment(&mut self, now: Instant, inserted: &Inserted, fin: bool) {
        if now.since(self.last_arrival) >= IDLE_AFTER {
            self.eager = EAGER_PACKETS;
        }
        self.last_arrival = now;
        let expected = matches!(inserted, Inserted::InOrder { filled_gap: false, .. }) && !fin;
        if !expected || self.eager > 0 {
            self.eager = self.eager.saturating_sub(1);
            self.at_once = true;
            return;
        }
        self.owed = self.owed.saturating_add(1);
        self.at_once |= self.owed >= OWED_MAX;
        self.deadline.get_or_insert(now + self.delay);
    }

    /// An acknowledgement is to be sent at once, whatever arrived: the window opened, or a SYN came again.
    pub const fn demand(&mut self) {
        self.at_once = true;
    }

    /// A packet that carried the acknowledgement left.
    pub const fn sent(&mut self) {
        self.owed = 0;
        self.at_once = false;
        self.deadline = None;
    }

    /// Whether an acknowledgement should leave now, even without data.
    #[must_use]
    pub fn due(&self, now: Instant) -> bool {
        self.at_once || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// When the one owed becomes due by time alone.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(5);
    const IN_ORDER: Inserted = Inserted::InOrder { bytes: 9, filled_gap: false };

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// A policy past its eager start.
    fn settled() -> AckPolicy {
        let mut acks = AckPolicy::new(DELAY);
        for _ in 0..EAGER_PACKETS {
            acks.on_segment(at(0), &IN_ORDER, false);
        }
        acks.sent();
        acks
    }

    #[test]
    fn nothing_is_owed_before_anything_arrived() {
        let acks = AckPolicy::new(DELAY);
        assert_eq!((acks.due(at(999)), acks.deadline()), (false, None));
    }

    #[test]
    fn the_first_packets_are_acknowledged_at_once() {
        let mut acks = AckPolicy::new(DELAY);
        for _ in 0..EAGER_PACKETS {
            acks.on_segment(at(1), &IN_ORDER, false);
            assert!(acks.due(at(1)));
            acks.sent();
            assert!(!acks.due(at(1)));
        }
        acks.on_segment(at(1), &IN_ORDER, false);
        assert!(!acks.due(at(1)));
    }

    #[test]
    fn a_lone_packet_is_acknowledged_when_its_time_is_up() {
        let mut acks = settled();
        acks.on_segment(at(3), &IN_ORDER, false);
        assert_eq!((acks.due(at(7)), acks.deadline(), acks.due(at(8))), (false, Some(at(8)), true));
        acks.sent();
        assert_eq!((acks.due(at(8)), acks.deadline()), (false, None));
    }

    #[test]
    fn a_batch_of_packets_costs_one_acknowledgement() {
        let mut acks = settled();
        for _ in 0..1000 {
            acks.on_segment(at(3), &IN_ORDER, false);
        }
        assert!(acks.due(at(3)));
        acks.sent();
        assert!(!acks.due(at(100)));
        acks.on_segment(at(3), &IN_ORDER, false);
        assert!(!acks.due(at(3)), "counting starts again");
        acks.on_segment(at(4), &IN_ORDER, false);
        assert!(acks.due(at(4)), "every second packet");
    }

    #[test]
    fn whatever_is_not_plain_progress_is_answered_at_once() {
        let gap_filled = Inserted::InOrder { bytes: 9, filled_gap: true };
        for inserted in [Inserted::Held, Inserted::Duplicate, Inserted::Refused, gap_filled] {
            let mut acks = settled();
            acks.on_segment(at(3), &inserted, false);
            assert!(acks.due(at(3)), "{inserted:?}");
        }
        let mut acks = settled();
        acks.on_segment(at(3), &IN_ORDER, true);
        assert!(acks.due(at(3)), "the end");
    }

    #[test]
    fn a_demand_is_due_at_once_and_only_once() {
        let mut acks = settled();
        acks.demand();
        assert!(acks.due(at(3)));
        acks.sent();
        assert!(!acks.due(at(3)));
    }

    #[test]
    fn a_pause_makes_it_eager_again() {
        let mut acks = settled();
        acks.on_segment(at(999), &IN_ORDER, false);
        assert!(!acks.due(at(999)));
        acks.sent();
        acks.on_segment(at(1999), &IN_ORDER, false);
        assert!(acks.due(at(1999)));
    }
}
