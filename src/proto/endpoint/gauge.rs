//! How much memory all connections of an endpoint hold, and how much more each may take.
//!
//! Every connection reports what its buffers take, whenever that changes, from whichever thread changed it. Below
//! half of [`Config::max_memory`](crate::Config::max_memory) nobody is told anything, unless one step of growth would
//! lead beyond four fifths. Above, a connection gets more only while it holds less than its share; the others go on
//! with what they have: what would make their buffers grow is not taken, and the peer sends it again. Above four
//! fifths, with a little kept for each of those who are in, no new connection is let in. A share is so small that all
//! of them together do not reach the limit from there ([`SHARE`]).
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

    fn is_tight(&self) -> bool {
        self.total() > self.max / 2
    }

    /// Whether there is enough for all even after somebody has taken so much more. Buffers double, so one step may be
    /// half of everything.
    fn has_enough_for(&self, growth: usize) -> bool {
        !self.is_tight() && self.total() + growth <= self.max / 5 * 4
    }

    /// Bytes up to which a connection may always grow.
    fn share(&self) -> usize {
        (self.max / SHARE / self.connections.load(Relaxed).max(1)).max(RESERVE)
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
        if buffers != self.buffers {
            // The total wraps, and so does what is added when buffers shrink.
            self.gauge.total.fetch_add(buffers.wrapping_sub(self.buffers), Relaxed);
            self.buffers = buffers;
        }
    }

    /// Whether memory is so tight that nobody should be invited to send more.
    pub(super) fn is_tight(&self) -> bool {
        self.gauge.is_tight()
    }

    /// Whether the buffers may grow by so many bytes at once.
    pub(super) fn admits(&self, growth: usize) -> bool {
        growth == 0 || self.gauge.has_enough_for(growth) || growth <= self.room()
    }

    /// Bytes by which the buffers may grow however tight memory is.
    pub(super) fn room(&self) -> usize {
        self.gauge.share().saturating_sub(self.buffers)
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
            // With any room left a buffer may come to double.
            if charge.admits(doubled.saturating_sub(charge.buffers)) || charge.room() > 0 {
                charge.update(doubled);
            }
        }
        eprintln!("t08 bound={max} measured={}, {} connections", gauge.total(), charges.len());
        assert!(gauge.refuses() && gauge.total() <= max, "{}", gauge.total());
        assert!(gauge.is_tight() && gauge.share() >= RESERVE, "{}", gauge.share());
        charges.clear();
        assert_eq!((gauge.total(), gauge.refuses(), gauge.is_tight()), (0, false, false));
    }

    #[test]
    fn t08_nobody_comes_in_beyond_four_fifths_with_a_reserve_for_each_and_shares_begin_at_half() {
        let gauge = Gauge::new(1 << 20);
        let mut charges = [Charge::new(&gauge, 1000), Charge::new(&gauge, 1000)];
        let most = (1 << 20) / 5 * 4 - 2 * RESERVE - 2000;
        charges[0].update(most);
        assert!(!gauge.refuses());
        charges[0].update(most + 1);
        assert!(gauge.refuses());
        charges[0].update((1 << 19) - 2000);
        assert_eq!((gauge.total(), gauge.is_tight(), gauge.share()), (1 << 19, false, 32 << 10));
        let left = (1 << 20) / 5 * 4 - (1 << 19);
        assert_eq!([left, left + 1].map(|growth| gauge.has_enough_for(growth)), [true, false]);
        charges[1].update(1);
        assert_eq!((gauge.total(), gauge.is_tight()), ((1 << 19) + 1, true));
        assert!(!gauge.has_enough_for(0));
        charges[1].update(0);
        assert!(!gauge.is_tight());
    }

    #[test]
    fn what_shrinks_makes_room_for_others() {
        let gauge = Gauge::new(1 << 20);
        let mut charges = [Charge::new(&gauge, 0), Charge::new(&gauge, 0)];
        charges[0].update(600 << 10);
        assert_eq!(charges.each_ref().map(Charge::room), [0, 32 << 10]);
        assert_eq!(charges.each_ref().map(|charge| charge.admits(32 << 10)), [false, true]);
        charges[0].update(500 << 10);
        assert_eq!(charges.each_ref().map(|charge| charge.admits(300 << 10)), [true, true]);
    }

    #[test]
    fn t08_a_buffer_that_doubles_does_not_leap_over_the_limit() {
        let gauge = Gauge::new(1100 << 10);
        let mut charges = [Charge::new(&gauge, 0), Charge::new(&gauge, 0)];
        charges[1].update(40 << 10);
        charges[0].update(500 << 10);
        assert!(!gauge.is_tight());
        assert_eq!([500 << 10, 300 << 10].map(|growth| charges[0].admits(growth)), [false, true]);
    }
}
