//! The link conditioner: holds datagrams back, loses, doubles and spoils them, as a [`Line`] says, in both directions.
//!
//! A machine without a clock, a socket and a source of chance: datagrams and the time go in, and come out when it is
//! their time. What carries them is the caller's business.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::ops::AddAssign;

use crate::link::discipline::Waiting;
use crate::link::fault::Fault;
use crate::link::line::{Direction, Line, Link};
use crate::link::pipe::{Fate, Filter, LinkStats, Pipe};
use crate::link::quantity::Size;
use crate::link::seed::Rng;
use crate::link::store::Store;
use crate::link::target::Tracker;
use crate::time::Instant;

/// What one direction of a [`Conditioner`] has done. All but [`under_way`](Self::under_way) are counters, which never go
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionerStats {
    /// What was handed over, and what the link did to it.
    pub link: LinkStats,
    /// Datagrams that came out at the other end, those that came twice counted twice.
    pub delivered: u64,
    /// Their bytes, without headers.
    pub delivered_bytes: u64,
    /// Datagrams lost because as many were under way as the conditioner has room for. Of doubled and replayed ones,
    /// only the copy.
    pub no_room: u64,
    /// Datagrams that are under way now.
    pub under_way: u64,
}

impl AddAssign for ConditionerStats {
    fn add_assign(&mut self, other: Self) {
        self.link += other.link;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.no_room += other.no_room;
        self.under_way += other.under_way;
    }
}

/// A bad line to put between two ends that move datagrams.
///
/// Both directions of a [`Line`], each with what is under way in it. Datagrams are [offered](Self::offer) together with
/// a tag (an address, say), and [come out](Self::peek) with it when the line has had its way with them. The same seed,
/// the same datagrams and the same times give the same results.
///
/// Under any socket of this crate it works as [`Conditioned`](crate::Conditioned) (feature `tokio`), between any two
/// programs as `ebbtide conditioner`.
///
/// Memory is bounded by [capacity](Self::with_capacity), and nothing is allocated in steady state. What finds no room
/// is lost and [counted](ConditionerStats::no_room).
///
/// A change of a link concerns datagrams offered after it; those under way come out as they would have, and none
/// overtakes them. If they would take too long, [discard](Self::discard) them.
///
/// ```
/// use std::time::Duration;
/// use ebbtide::Instant;
/// use ebbtide::link::{Conditioner, Direction, Link, Strike};
///
/// let link = Link::perfect().delay(Duration::from_millis(30)).loss(Strike::every(2));
/// let mut line = Conditioner::new(link, 1);
/// let start = Instant::ZERO;
/// for word in ["one", "two", "three"] {
///     line.offer(start, Direction::There, "bob", word.as_bytes());
/// }
/// assert_eq!(line.peek(start, Direction::There), None);
/// let then = line.next_at(Direction::There).expect("two are under way");
/// assert_eq!(then, start + Duration::from_millis(30));
/// let mut arrived = Vec::new();
/// while let Some((to, datagram)) = line.peek(then, Direction::There) {
///     arrived.push((to, datagram.to_vec()));
///     line.pop(Direction::There);
/// }
/// assert_eq!(arrived, [("bob", b"one".to_vec()), ("bob", b"three".to_vec())]);
/// ```
pub struct Conditioner<T> {
    ways: [Way<T>; 2],
    /// Once a link aims at certain packets of uTP.
    tracker: Option<Box<Tracker>>,
    /// The latest time that was told, nanoseconds.
    now: u64,
}

/// One direction.
struct Way<T> {
    pipe: Pipe,
    store: Store<T>,
    /// What comes out, by the time and then in the order in which that was decided.
    due: BinaryHeap<Reverse<(u64, u64, u32)>>,
    decided: u64,
    capacity: u64,
    delivered: u64,
    delivered_bytes: u64,
    no_room: u64,
    /// Kept for its memory.
    dropped: Vec<u32>,
}

/// What a direction has room for unless said otherwise: a second of 128 Mbit/s.
const CAPACITY: Size = Size::mib(16);

impl<T: Copy> Conditioner<T> {
    /// A line with room for 16 MiB in each direction.
    #[must_use]
    pub fn new(line: impl Into<Line>, seed: u64) -> Self {
        Self::with_capacity(line, seed, CAPACITY)
    }

    /// A line with room for so many bytes of datagrams in each direction, in blocks of 2 KiB of which every datagram
    /// takes one at least. Blocks are allocated when they are first needed. The [queue](Link::queue) of a link holds
    /// no more than that either.
    #[must_use]
    pub fn with_capacity(line: impl Into<Line>, seed: u64, capacity: Size) -> Self {
        let mut rng = Rng::new(seed);
        let Line { there, back } = line.into();
        let ways = [there, back].map(|link| Way::new(link, rng.fork(), capacity.as_bytes()));
        Self { ways, tracker: None, now: 0 }
    }

    /// Hands a datagram over, at a time that is not before any that was told earlier (otherwise that one is taken).
    ///
    /// What becomes of it is decided now, or when it leaves the queue of a link with [CoDel](crate::link::Discipline::CoDel).
    pub fn offer(&mut self, now: Instant, direction: Direction, tag: T, datagram: &[u8]) {
        self.advance(now);
        let aims = self.ways.iter().any(|way| way.pipe.aims());
        let seen = match aims {
            true => self.tracker.get_or_insert_default().sight(direction, datagram),
            false => None,
        };
        let way = &mut self.ways[direction as usize];
        let fate = way.pipe.offer(self.now, datagram, seen);
        if fate.arrives.is_none() && fate.waits.is_none() {
            return;
        }
        let Some(parcel) = way.store.put(tag, datagram) else {
            way.no_room += 1;
            return;
        };
        match fate.waits {
            Some(waiting) => {
                way.pipe.enqueue(Waiting { parcel, ..waiting });
                way.drain(self.now);
            }
            None => way.settle(parcel, fate),
        }
    }

    /// The next datagram that has come out by now, and its tag. It stays the next one until it is [taken](Self::pop).
    pub fn peek(&mut self, now: Instant, direction: Direction) -> Option<(T, &[u8])> {
        self.advance(now);
        let way = &mut self.ways[direction as usize];
        way.wake(self.now);
        let &Reverse((at, _, parcel)) = way.due.peek()?;
        (at <= self.now).then(|| way.store.get(parcel))
    }

    /// Takes away the datagram that was the next to come out when last [looked at](Self::peek); nothing if there was
    /// none.
    pub fn pop(&mut self, direction: Direction) {
        let way = &mut self.ways[direction as usize];
        let Some(&Reverse((at, _, parcel))) = way.due.peek() else { return };
        if at <= self.now {
            way.due.pop();
            way.delivered += 1;
            way.delivered_bytes += way.store.get(parcel).1.len() as u64;
            way.store.release(parcel);
        }
    }

    /// When to look again in that direction, because a datagram may come out then. In the past if one waits to be
    /// taken; `None` if nothing will come out unless more is offered.
    #[must_use]
    pub fn next_at(&self, direction: Direction) -> Option<Instant> {
        let next = self.ways[direction as usize].next_at()?;
        Some(Instant::from_micros(next.div_ceil(1_000)))
    }

    /// How that direction is set up.
    #[must_use]
    pub const fn link(&self, direction: Direction) -> Link {
        *self.ways[direction as usize].pipe.link()
    }

    /// Sets that direction up differently, for datagrams to come.
    pub fn set_link(&mut self, direction: Direction, link: Link) {
        self.ways[direction as usize].set_link(link);
    }

    /// Asked about every datagram in that direction before anything else; `true` drops it. `None` takes the filter away.
    pub fn set_filter(&mut self, direction: Direction, filter: Option<Filter>) {
        self.ways[direction as usize].pipe.set_filter(filter);
    }

    /// Loses all that is under way in that direction, and begins with an empty queue.
    pub fn discard(&mut self, direction: Direction) {
        self.ways[direction as usize].discard();
    }

    /// What that direction has done.
    #[must_use]
    pub fn stats(&self, direction: Direction) -> ConditionerStats {
        let way = &self.ways[direction as usize];
        ConditionerStats {
            link: *way.pipe.stats(),
            delivered: way.delivered,
            delivered_bytes: way.delivered_bytes,
            no_room: way.no_room,
            under_way: way.store.len() as u64,
        }
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now.as_micros().saturating_mul(1_000));
    }
}

impl<T: Copy> Way<T> {
    fn new(link: Link, rng: Rng, capacity: u64) -> Self {
        let mut way = Self {
            pipe: Pipe::new(Link::perfect(), rng),
            store: Store::new(capacity),
            due: BinaryHeap::new(),
            decided: 0,
            capacity,
            delivered: 0,
            delivered_bytes: 0,
            no_room: 0,
            dropped: Vec::new(),
        };
        way.set_link(link);
        way
    }

    fn set_link(&mut self, link: Link) {
        *self.pipe.link_mut() = link.queue(link.queue.min(Size::bytes(self.capacity)));
    }

    fn discard(&mut self) {
        self.pipe.restart();
        self.due.clear();
        self.store.clear();
    }

    fn next_at(&self) -> Option<u64> {
        let due = self.due.peek().map(|&Reverse((at, ..))| at);
        [due, self.pipe.wakes_at()].into_iter().flatten().min()
    }

    /// Whatever the link wants to be called for.
    fn wake(&mut self, now: u64) {
        if self.pipe.wakes_at().is_none_or(|at| at > now) {
            return;
        }
        self.drain(now);
        while let Some(parcel) = self.pipe.pop_held(now) {
            self.schedule(now, parcel);
        }
        while let Some((parcel, wanted)) = self.pipe.pop_replay(now) {
            match wanted {
                true => {
                    self.pipe.count(Fault::Replayed);
                    self.schedule(now, parcel);
                }
                false => self.store.release(parcel),
            }
        }
    }

    /// Lets go on their way, or drops, the packets that leave the queue at its head.
    fn drain(&mut self, now: u64) {
        loop {
            let next = self.pipe.dequeue(now, &mut self.dropped);
            for parcel in self.dropped.drain(..) {
                self.store.release(parcel);
            }
            let Some((waiting, departs)) = next else { break };
            let (_, datagram) = self.store.get(waiting.parcel);
            let fate = self.pipe.release(departs, &waiting, datagram);
            self.settle(waiting.parcel, fate);
        }
    }

    /// Lets come true what has been decided about a datagram.
    fn settle(&mut self, parcel: u32, fate: Fate) {
        let Some(at) = fate.arrives else { return self.store.release(parcel) };
        if let Some(bit) = fate.flip {
            self.store.flip(parcel, bit);
        }
        if let Some(left) = fate.cut {
            self.store.truncate(parcel, left);
        }
        if let Some(left) = fate.behind {
            self.pipe.hold(parcel, left, at);
        } else {
            self.schedule(at, parcel);
            let Self { pipe, due, decided, .. } = self;
            pipe.overtake(|held| {
                *decided += 1;
                due.push(Reverse((at, *decided, held)));
            });
        }
        if let Some(at) = fate.again
            && let Some(copy) = self.copy(parcel)
        {
            self.schedule(at, copy);
        }
        if let Some(at) = fate.replay
            && let Some(copy) = self.copy(parcel)
        {
            self.pipe.keep(copy, at);
        }
    }

    fn copy(&mut self, parcel: u32) -> Option<u32> {
        let copy = self.store.copy(parcel);
        self.no_room += u64::from(copy.is_none());
        copy
    }

    fn schedule(&mut self, at: u64, parcel: u32) {
        self.decided += 1;
        self.due.push(Reverse((at, self.decided, parcel)));
    }
}

impl<T> fmt::Debug for Conditioner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [there, back] = self.ways.each_ref().map(|way| &way.pipe);
        f.debug_struct("Conditioner").field("there", there).field("back", back).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
