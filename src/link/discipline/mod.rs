//! What a bottleneck does with more than it can carry: drop at the tail, drop at the head, or never let it wait.
//!
//! Tail drop needs no state but the queue itself, which is the pipe's. Here are the other two: `CoDelQueue` after
//! RFC 8289 and the token bucket of a policer. Neither knows what a packet is, besides its size.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::quantity::{Rate, Size};

/// How a link with a [rate](super::Link::rate) treats packets that come faster than it carries them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// What does not fit into the queue is dropped.
    #[default]
    TailDrop,
    /// Controlled delay (RFC 8289): once packets have waited longer than `target` for a whole `interval`, packets are
    /// dropped at the head of the queue, more and more often until the wait is short again. What does not fit into
    /// the queue is dropped as well.
    CoDel {
        /// How long packets may wait. The RFC says 5 ms.
        target: Duration,
        /// How long they may wait longer than that. A round trip, and the RFC says 100 ms.
        interval: Duration,
    },
    /// A token bucket: what exceeds `rate` by more than `burst` bytes is dropped at once, and nothing waits because
    /// of it. Works on links without a rate too.
    Policer {
        /// What passes in the long run, headers included.
        rate: Rate,
        /// What passes at once after a pause.
        burst: Size,
    },
}

impl Discipline {
    /// CoDel with the constants of the RFC: 5 ms and 100 ms.
    #[must_use]
    pub const fn codel() -> Self {
        Self::CoDel { target: Duration::from_millis(5), interval: Duration::from_millis(100) }
    }
}

impl fmt::Display for Discipline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TailDrop => f.write_str("tail drop"),
            Self::CoDel { target, interval } => write!(f, "CoDel {target:?} in {interval:?}"),
            Self::Policer { rate, burst } => write!(f, "policer {rate} burst {burst}"),
        }
    }
}

/// Times of CoDel, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) target: u64,
    pub(super) interval: u64,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Which: the caller's business.
    pub(crate) parcel: u32,
    /// Its number on the link.
    pub(crate) number: u64,
    /// Its size on the wire.
    pub(crate) bytes: u64,
    /// Since when, nanoseconds.
    pub(crate) since: u64,
    /// What it has to wait elsewhere, which is the caller's business too.
    pub(crate) extra: u64,
}

/// A queue that decides at its head. Without [`Limits`] it drops nothing.
///
/// Names follow RFC 8289, section 5.
#[derive(Debug, Default)]
pub(super) struct CoDelQueue {
    waiting: VecDeque<Waiting>,
    /// What was dropped at the head since somebody last looked, for whoever takes packets out.
    pub(super) dropped: Vec<Waiting>,
    bytes: u64,
    /// The largest packet so far: a queue that holds no more than that is no standing queue.
    packet_max: u64,
    /// When dropping may begin, if the wait stays long until then.
    first_above: Option<u64>,
    drop_next: u64,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl CoDelQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, packet: Waiting) {
        self.bytes += packet.bytes;
        self.packet_max = self.packet_max.max(packet.bytes);
        self.waiting.push_back(packet);
    }

    /// The next packet to be sent. Those that are dropped on the way to it are in `dropped`.
    pub(super) fn pop(&mut self, now: u64, limits: Option<Limits>) -> Option<Waiting> {
        let Some(limits) = limits else {
            self.dropping = false;
            self.first_above = None;
            return self.take(now, None).map(|(packet, _)| packet);
        };
        let mut head = self.take(now, Some(limits));
        let may_drop = |head: &Option<(Waiting, bool)>| head.is_some_and(|(_, may_drop)| may_drop);
        if self.dropping {
            self.dropping = may_drop(&head);
            while self.dropping && now >= self.drop_next {
                self.dropped.extend(head.map(|(packet, _)| packet));
                self.count += 1;
                head = self.take(now, Some(limits));
                self.dropping = may_drop(&head);
                if self.dropping {
                    self.drop_next = control_law(self.drop_next, self.count, limits);
                }
            }
        } else if may_drop(&head) {
            self.dropped.extend(head.map(|(packet, _)| packet));
            head = self.take(now, Some(limits));
            self.begin(now, limits);
        }
        head.map(|(packet, _)| packet)
    }

    /// The packet at the head, and whether the wait has been long for a whole interval.
    fn take(&mut self, now: u64, limits: Option<Limits>) -> Option<(Waiting, bool)> {
        let Some(packet) = self.waiting.pop_front() else {
            self.first_above = None;
            return None;
        };
        self.bytes -= packet.bytes;
        let limits =
            limits.filter(|limits| now - packet.since >= limits.target && self.bytes > self.packet_max);
        let Some(limits) = limits else {
            self.first_above = None;
            return Some((packet, false));
        };
        let since = *self.first_above.get_or_insert_with(|| now.saturating_add(limits.interval));
        Some((packet, now >= since))
    }

    /// The first drop of a series. One that follows soon after another begins where that has ended.
    fn begin(&mut self, now: u64, limits: Limits) {
        self.dropping = true;
        let delta = self.count.saturating_sub(self.last_count);
        let soon = now.saturating_sub(self.drop_next) < limits.interval.saturating_mul(16);
        self.count = if delta > 1 && soon { delta } else { 1 };
        self.drop_next = control_law(now, self.count, limits);
        self.last_count = self.count;
    }
}

/// The more have been dropped, the sooner the next.
fn control_law(at: u64, count: u32, limits: Limits) -> u64 {
    at.saturating_add((limits.interval as f64 / f64::from(count.max(1)).sqrt()) as u64)
}

/// Tokens of a policer, exact: a byte is as many units as a second has nanoseconds, times 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// What is missing to a full bucket.
    missing: u128,
    at: u64,
}

impl Bucket {
    const BYTE: u128 = 8_000_000_000;

    /// Whether so many bytes pass at `now`, nanoseconds. If they do, their tokens are gone.
    pub(super) fn take(&mut self, now: u64, bytes: u64, rate: Rate, burst: Size) -> bool {
        let earned = u128::from(now - self.at) * u128::from(rate.bits_per_second());
        self.at = now;
        self.missing = self.missing.saturating_sub(earned);
        let wanted = self.missing + u128::from(bytes) * Self::BYTE;
        let passes = wanted <= u128::from(burst.as_bytes()) * Self::BYTE;
        if passes {
            self.missing = wanted;
        }
        passes
    }
}

#[cfg(test)]
mod tests;
