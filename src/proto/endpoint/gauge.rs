//! How much memory all connections of an endpoint hold, and how much more each may take.
//!
//! Every connection reports what its buffers take, whenever that changes, from whichever thread changed it. Below
//! half of [`Config::max_memory`](crate::Config::max_memory) nobody is told anything. Above, a connection gets more
//! only while it holds less than its share; the others go on with what they have: what would make their buffers grow
//! is not taken, and the peer sends it again. Above four fifths, with a little kept for each of those who are in, no
//! new connection is let in. A share is so small that all of them together do not reach the limit from there
//! ([`SHARE`]).
//!
//! Knows no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Ours: shares per connection and limit. A buffer doubles when it grows, so a connection may come to hold two shares:
/// together an eighth of the limit, on top of the four fifths at which the number of connections stops to grow.
const SHARE: usize = 16;

/// Ours: what a connection may always take: the first step of both of its buffers. As much is kept free for every one
/// that is let in.
const RESERVE: usize = 8192;

/// The gauge.
#[derive(Debug)]
pub(super) struct Gauge {
    max: usize,
    total: AtomicUsize,
    connections: AtomicUsize,
}

impl Gauge {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, total: AtomicUsize::new(0), connections: AtomicUsize::new(0) })
    }

    /// Bytes that all connections hold.
    pub(super) fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Whether no further connection should be let in.
    pub(super) fn refuses(&self) -> bool {
        self.total() + RESERVE * self.connections.load(Relaxed) > self.max / 5 * 4
    }

    /// Bytes up to which a connection may grow; `None` if there is enough for all.
    pub(super) fn share(&self) -> Option<usize> {
        let tight = self.total() > self.max / 2;
        tight.then(|| (self.max / SHARE / self.connections.load(Relaxed).max(1)).max(RESERVE))
    }
}

/// What one connection has on the gauge. It is taken off when this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    gauge: Arc<Gauge>,
    /// Besides its buffers.
    own: usize,
    buffers: usize,
}

impl Charge {
    /// A connection without buffers, which takes `own` bytes.
    pub(super) fn new(gauge: &Arc<Gauge>, own: usize) -> Self {
        gauge.connections.fetch_add(1, Relaxed);
        gauge.total.fetch_add(own, Relaxed);
        Self { gauge: Arc::clone(gauge), own, buffers: 0 }
    }

    /// The buffers take so many bytes now.
    pub(super) fn update(&mut self, buffers: usize) {
        if buffers > self.buffers {
            self.gauge.total.fetch_add(buffers - self.buffers, Relaxed);
        } else if buffers < self.buffers {
            self.gauge.total.fetch_sub(self.buffers - buffers, Relaxed);
        }
        self.buffers = buffers;
    }

    /// Bytes by which the buffers may still grow; `None` if there is enough for all.
    pub(super) fn room(&self) -> Option<usize> {
        self.gauge.share().map(|share| share.saturating_sub(self.buffers))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.connections.fetch_sub(1, Relaxed);
        self.gauge.total.fetch_sub(self.own + self.buffers, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t08_connections_that_take_all_they_may_stay_below_the_limit() {
        let max = 10 << 20;
        let gauge = Gauge::new(max);
        let mut charges: Vec<Charge> = Vec::new();
        // They come one by one, and each doubles its buffers whenever it may.
        for round in 0..100_000 {
            if round % 7 == 0 && !gauge.refuses() {
                charges.push(Charge::new(&gauge, 3072));
            }
            let count = charges.len();
            let charge = &mut charges[round * 31 % count];
            let doubled = (2 * charge.buffers).clamp(4096, 1 << 20);
            if charge.room().is_none_or(|room| room > 0) {
                charge.update(doubled);
            }
        }
        eprintln!("t08 bound={max} measured={}, {} connections", gauge.total(), charges.len());
        assert!(gauge.refuses() && gauge.total() <= max, "{}", gauge.total());
        let share = gauge.share();
        assert!(share.is_some_and(|share| share >= RESERVE), "{share:?}");
        charges.clear();
        assert_eq!((gauge.total(), gauge.refuses(), gauge.share()), (0, false, None));
    }

    #[test]
    fn what_shrinks_makes_room_for_others() {
        let gauge = Gauge::new(1 << 20);
        let mut charges = [Charge::new(&gauge, 0), Charge::new(&gauge, 0)];
        charges[0].update(600 << 10);
        assert_eq!(charges.each_ref().map(Charge::room), [Some(0), Some(32 << 10)]);
        charges[0].update(500 << 10);
        assert_eq!(charges.each_ref().map(Charge::room), [None, None]);
    }
}
