//! A [`Link`] at work: its queue, its chances, and what it has done so far.
//!
//! Decides a packet's whole fate at the moment it is handed over, or at the moment it leaves a queue that drops at
//! its head. Knows nothing of who sends to whom, and keeps no packet: those that wait are kept by the network, and
//! are numbers here.

use std::collections::VecDeque;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::burst;
use super::discipline::{Bucket, CoDelQueue, Waiting};
use super::fault::{Fault, FaultCounts, FaultKind, LinkFault, Overtaken};
use super::line::{Link, OVERHEAD, period};
use super::quantity::Rate;
use super::seed::Rng;
use super::target::Sighting;
use crate::wire::{HEADER_LEN, Kind, Packet};

/// What a link has done. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets handed over.
    pub packets: u64,
    /// Bytes handed over, headers included.
    pub bytes: u64,
    /// Most bytes that ever waited in the queue.
    pub queue_bytes_max: u64,
    faults: [u64; Fault::ALL.len()],
    counts: FaultCounts,
}

impl LinkStats {
    /// How many packets that fault has struck.
    #[must_use]
    pub const fn struck(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// How often each kind of fault has happened here. Of jitter that is packets that took longer by it, of bandwidth
    /// steps the changes that packets have met, of congestion of acknowledgements those that waited or were dropped.
    #[must_use]
    pub const fn fault_counts(&self) -> FaultCounts {
        self.counts
    }

    pub(crate) const fn count(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
        if let Some(kind) = fault.kind() {
            self.counts.add(kind, 1);
        }
    }
}

/// The sum of both, but the larger of the two largest queues.
impl AddAssign for LinkStats {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.queue_bytes_max = self.queue_bytes_max.max(other.queue_bytes_max);
        for (count, more) in self.faults.iter_mut().zip(other.faults) {
            *count += more;
        }
        self.counts += other.counts;
    }
}

/// Decides about one datagram: `true` drops it.
pub type Filter = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// When it arrives, if it does.
    pub(crate) arrives: Option<u64>,
    /// When it arrives once more.
    pub(crate) again: Option<u64>,
    /// When it will be sent once more out of the store of old packets.
    pub(crate) replay: Option<u64>,
    /// It waits until so many packets have arrived before it.
    pub(crate) behind: Option<u32>,
    /// It is not decided yet: it waits in a queue that drops at its head.
    pub(crate) waits: Option<Waiting>,
    /// The bit that flips.
    pub(crate) flip: Option<u64>,
    /// How many bytes are left of it.
    pub(crate) cut: Option<usize>,
    faults: u32,
}

impl Fate {
    const fn strike(&mut self, fault: Fault, stats: &mut LinkStats) {
        self.faults |= 1 << fault as u32;
        stats.count(fault);
    }

    /// What has struck it.
    pub(crate) fn faults(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.faults & (1 << *fault as u32) != 0)
    }

    pub(crate) const fn is_plain(self) -> bool {
        self.faults == 0
    }
}

/// A packet that others are to overtake.
#[derive(Clone, Copy, Debug)]
struct Held {
    parcel: u32,
    left: u32,
    until: u64,
}

/// How many packets wait to be overtaken at most.
const HELD_MAX: usize = 64;

/// How long a packet waits to be overtaken at most, nanoseconds.
const HELD_FOR: u64 = 1_000_000_000;

/// How many old packets are kept at most.
const REPLAYS_MAX: usize = 16;

pub(crate) struct Pipe {
    link: Link,
    rng: Rng,
    filter: Option<Filter>,
    /// When the last packet has left the queue, nanoseconds.
    busy_until: u64,
    /// What waits: when each packet has left, and its bytes.
    backlog: VecDeque<(u64, u64)>,
    backlog_bytes: u64,
    /// What waits, where the head of the queue decides.
    queue: CoDelQueue,
    /// When the network was last asked to call for the queue.
    asked: u64,
    /// Nothing that is not delayed on purpose arrives before this.
    latest: u64,
    bursts: burst::State,
    bucket: Bucket,
    /// When the bottleneck of acknowledgements is free, and when the last of them arrived.
    acks_busy_until: u64,
    latest_ack: u64,
    /// The last period of bandwidth steps that a packet has met.
    step: u64,
    held: Vec<Held>,
    /// Old packets, and when they are sent again.
    replays: Vec<(u64, u32)>,
    stats: LinkStats,
}

impl Pipe {
    pub(crate) fn new(link: Link, rng: Rng) -> Self {
        Self {
            link,
            rng,
            filter: None,
            busy_until: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            queue: CoDelQueue::default(),
            asked: u64::MAX,
            latest: 0,
            bursts: burst::State::default(),
            bucket: Bucket::default(),
            acks_busy_until: 0,
            latest_ack: 0,
            step: 0,
            held: Vec::new(),
            replays: Vec::new(),
            stats: LinkStats::default(),
        }
    }

    pub(crate) const fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) const fn stats(&self) -> &LinkStats {
        &self.stats
    }

    pub(crate) const fn count(&mut self, fault: Fault) {
        self.stats.count(fault);
    }

    pub(crate) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    /// Whether it wants to know what packets are.
    pub(crate) const fn aims(&self) -> bool {
        self.link.faults.has(FaultKind::TargetedLoss)
    }

    /// Hands a datagram over at `now`, nanoseconds. If its fate is to [wait](Fate::waits), it is to be
    /// [queued](Self::enqueue).
    pub(crate) fn offer(&mut self, now: u64, datagram: &[u8], seen: Option<Sighting>) -> Fate {
        let bytes = datagram.len() as u64 + OVERHEAD.as_bytes();
        self.stats.packets += 1;
        self.stats.bytes += bytes;
        let number = self.stats.packets;
        let mut fate = Fate::default();
        let extra = match self.admit(now, datagram, bytes, seen) {
            Ok(extra) => extra,
            Err(fault) => {
                fate.strike(fault, &mut self.stats);
                return fate;
            }
        };
        let rate = self.link.rate_at(now);
        if !self.queue.is_empty() || (rate.is_some() && self.link.codel().is_some()) {
            let waiting = Waiting { parcel: 0, number, bytes, since: now, extra };
            match self.queue.bytes() + bytes > self.link.queue_limit() {
                true => fate.strike(Fault::QueueFull, &mut self.stats),
                false => fate.waits = Some(waiting),
            }
            return fate;
        }
        match self.queue_up(now, rate, bytes) {
            Some(departs) => self.carry(departs, (number, extra), datagram, &mut fate),
            None => fate.strike(Fault::QueueFull, &mut self.stats),
        }
        fate
    }
}

/// The near end.
impl Pipe {
    /// Whether the packet gets as far as the queue, and what it waits for before that.
    fn admit(&mut self, now: u64, datagram: &[u8], bytes: u64, seen: Option<Sighting>) -> Result<u64, Fault> {
        if self.filter.as_mut().is_some_and(|filter| filter(datagram)) {
            return Err(Fault::Filtered);
        }
        if !self.link.faults.is_empty() {
            self.pass(now, bytes, seen)?;
        }
        if bytes > self.link.mtu.as_bytes() {
            return Err(Fault::Oversize);
        }
        if let Some((rate, burst)) = self.link.policer()
            && !self.bucket.take(now, bytes, rate, burst)
        {
            return Err(Fault::Policed);
        }
        match self.link.faults.get(FaultKind::AckCongestion) {
            Some(&LinkFault::AckCongestion { rate, queue }) if is_ack(datagram) => {
                self.congest(now, bytes, rate, queue.as_bytes())
            }
            _ => Ok(0),
        }
    }

    /// What lets packets through or not, at that moment and of that size.
    fn pass(&mut self, now: u64, bytes: u64, seen: Option<Sighting>) -> Result<(), Fault> {
        let faults = &self.link.faults;
        if faults.has(FaultKind::Partition) {
            return Err(Fault::Down);
        }
        if let Some(LinkFault::Blackhole { up, down }) = faults.get(FaultKind::Blackhole)
            && now % nanos(up.saturating_add(*down)).max(1) >= nanos(*up)
        {
            return Err(Fault::Blackholed);
        }
        if let Some(LinkFault::MtuBlackhole(mtu)) = faults.get(FaultKind::MtuBlackhole)
            && bytes > mtu.as_bytes()
        {
            return Err(Fault::Oversize);
        }
        if let Some(LinkFault::MtuShrink { after, mtu }) = faults.get(FaultKind::MtuShrink)
            && self.stats.packets > *after
            && bytes > mtu.as_bytes()
        {
            return Err(Fault::Shrunk);
        }
        if let (Some(LinkFault::Target(target)), Some(seen)) = (faults.get(FaultKind::TargetedLoss), seen)
            && target.hits(seen)
        {
            return Err(Fault::Targeted);
        }
        if let Some(LinkFault::Steps { every, .. }) = faults.get(FaultKind::BandwidthStep) {
            let step = period(now, *every);
            if std::mem::replace(&mut self.step, step) != step && self.link.rate.is_some() {
                self.stats.counts.add(FaultKind::BandwidthStep, 1);
            }
        }
        Ok(())
    }

    /// The bottleneck of acknowledgements: how long this one waits there.
    fn congest(&mut self, now: u64, bytes: u64, rate: Rate, queue: u64) -> Result<u64, Fault> {
        let waits = Duration::from_nanos(self.acks_busy_until.saturating_sub(now));
        if rate.in_time(waits).as_bytes().saturating_add(bytes) > queue {
            return Err(Fault::AckDropped);
        }
        if !waits.is_zero() {
            self.stats.counts.add(FaultKind::AckCongestion, 1);
        }
        self.acks_busy_until = self.acks_busy_until.max(now).saturating_add(rate.nanos_for(bytes));
        Ok(self.acks_busy_until - now)
    }

    /// Queues where the tail decides: when the last bit is on the wire, if there is room.
    fn queue_up(&mut self, now: u64, rate: Option<Rate>, bytes: u64) -> Option<u64> {
        let Some(rate) = rate else { return Some(now) };
        while let Some(&(left, gone)) = self.backlog.front()
            && left <= now
        {
            self.backlog.pop_front();
            self.backlog_bytes -= gone;
        }
        if self.backlog_bytes + bytes > self.link.queue_limit() {
            return None;
        }
        self.busy_until = self.busy_until.max(now).saturating_add(rate.nanos_for(bytes));
        self.backlog.push_back((self.busy_until, bytes));
        self.backlog_bytes += bytes;
        self.stats.queue_bytes_max = self.stats.queue_bytes_max.max(self.backlog_bytes);
        Some(self.busy_until)
    }
}

/// The queue whose head decides.
impl Pipe {
    /// Puts a packet that [waits](Fate::waits) into the queue.
    pub(crate) fn enqueue(&mut self, waiting: Waiting) {
        self.queue.push(waiting);
        self.stats.queue_bytes_max = self.stats.queue_bytes_max.max(self.queue.bytes());
    }

    /// The next packet that leaves the queue at `now`, and when its last bit is on the wire. Those that are dropped
    /// before it go to `dropped`.
    pub(crate) fn dequeue(&mut self, now: u64, dropped: &mut Vec<u32>) -> Option<(Waiting, u64)> {
        if self.busy_until > now {
            return None;
        }
        let next = self.queue.pop(now, self.link.codel());
        for packet in self.queue.dropped.drain(..) {
            self.stats.count(Fault::WaitedLong);
            dropped.push(packet.parcel);
        }
        let next = next?;
        self.busy_until =
            now.saturating_add(self.link.rate_at(now).map_or(0, |rate| rate.nanos_for(next.bytes)));
        Some((next, self.busy_until))
    }

    /// When it wants to be called for its queue, unless that has been asked for already.
    pub(crate) fn call_at(&mut self) -> Option<u64> {
        if self.queue.is_empty() || self.asked == self.busy_until {
            return None;
        }
        self.asked = self.busy_until;
        Some(self.asked)
    }
}

/// The way, and the far end.
impl Pipe {
    /// A packet that left the queue at its head goes on its way.
    pub(crate) fn release(&mut self, departs: u64, packet: &Waiting, datagram: &[u8]) -> Fate {
        let mut fate = Fate::default();
        self.carry(departs, (packet.number, packet.extra), datagram, &mut fate);
        fate
    }

    fn carry(&mut self, departs: u64, (number, extra): (u64, u64), datagram: &[u8], fate: &mut Fate) {
        let faulty = !self.link.faults.is_empty();
        if faulty && let Err(fault) = self.spoil(departs, number, datagram, fate) {
            return fate.strike(fault, &mut self.stats);
        }
        let mut jitter = nanos(self.link.jitter);
        if let Some(LinkFault::Jitter(most)) = self.link.faults.get(FaultKind::Jitter) {
            jitter = jitter.saturating_add(nanos(*most));
        }
        if jitter > 0 {
            jitter = self.rng.below(jitter + 1);
            self.stats.counts.add(FaultKind::Jitter, 1);
        }
        let arrives = departs.saturating_add(nanos(self.link.delay)).saturating_add(jitter);
        if extra == 0 {
            self.latest = self.latest.max(arrives);
        } else {
            self.latest_ack = self.latest_ack.max(self.latest).max(arrives.saturating_add(extra));
        }
        let arrives = if extra == 0 { self.latest } else { self.latest_ack };
        fate.arrives = Some(arrives);
        if faulty {
            self.mislead(number, arrives, fate);
        }
    }

    /// What the packet does not survive, or not unharmed.
    fn spoil(&mut self, now: u64, number: u64, datagram: &[u8], fate: &mut Fate) -> Result<(), Fault> {
        let Self { link: Link { faults, deliver_corrupt, .. }, rng, stats, bursts, .. } = self;
        if let Some(LinkFault::Loss(which)) = faults.get(FaultKind::UniformLoss)
            && which.hits(number, rng)
        {
            return Err(Fault::Lost);
        }
        if let Some(LinkFault::Burst(burst)) = faults.get(FaultKind::BurstLoss)
            && burst.hits(bursts, now, rng)
        {
            return Err(Fault::BurstLost);
        }
        if let Some(LinkFault::Flip { which, deliver }) = faults.get(FaultKind::BitFlip)
            && which.hits(number, rng)
        {
            if !deliver && !*deliver_corrupt {
                return Err(Fault::Corrupt);
            }
            fate.strike(Fault::Flipped, stats);
            fate.flip = Some(rng.below(8 * datagram.len().min(HEADER_LEN) as u64));
        }
        if let Some(LinkFault::Truncate(which)) = faults.get(FaultKind::Truncation)
            && which.hits(number, rng)
        {
            fate.strike(Fault::Truncated, stats);
            let payload = Packet::decode(datagram).map_or(0, |packet| packet.payload.len());
            let most = (datagram.len() - payload).saturating_sub(1) as u64;
            fate.cut = Some(1 + rng.below(most) as usize);
        }
        Ok(())
    }

    /// When else the packet arrives, and how often.
    fn mislead(&mut self, number: u64, mut arrives: u64, fate: &mut Fate) {
        let Self { link: Link { faults, .. }, rng, stats, held, replays, latest, .. } = self;
        if let Some(LinkFault::Spike { which, lasts }) = faults.get(FaultKind::DelaySpike)
            && which.hits(number, rng)
        {
            fate.strike(Fault::Stalled, stats);
            arrives = arrives.saturating_add(nanos(lasts.draw(rng)));
            *latest = (*latest).max(arrives);
        }
        if let Some(LinkFault::Reorder { which, until }) = faults.get(FaultKind::Reorder)
            && which.hits(number, rng)
        {
            match until {
                Overtaken::For(time) => arrives = arrives.saturating_add(nanos(*time)),
                Overtaken::By(count) if held.len() < HELD_MAX => fate.behind = Some((*count).max(1)),
                Overtaken::By(_) => {}
            }
            if fate.behind.is_some() || matches!(until, Overtaken::For(_)) {
                fate.strike(Fault::Delayed, stats);
            }
        }
        fate.arrives = Some(arrives);
        if let Some(LinkFault::Duplicate { which, after }) = faults.get(FaultKind::Duplication)
            && which.hits(number, rng)
        {
            fate.strike(Fault::Doubled, stats);
            fate.again = Some(arrives.saturating_add(nanos(*after)));
        }
        if let Some(LinkFault::Replay { which, after }) = faults.get(FaultKind::Replay)
            && which.hits(number, rng)
            && replays.len() < REPLAYS_MAX
        {
            fate.replay = Some(arrives.saturating_add(nanos(after.draw(rng))));
        }
    }
}

/// Packets that are kept: to be overtaken, or to come once more.
impl Pipe {
    /// Keeps a packet [behind](Fate::behind) so many others that are yet to come; returns until when at most.
    pub(crate) fn hold(&mut self, parcel: u32, left: u32, arrives: u64) -> u64 {
        let until = arrives.saturating_add(HELD_FOR);
        self.held.push(Held { parcel, left, until });
        until
    }

    /// A packet arrives; those that have waited for it follow it.
    pub(crate) fn overtake(&mut self, mut follow: impl FnMut(u32)) {
        self.held.retain_mut(|held| {
            held.left -= 1;
            if held.left == 0 {
                follow(held.parcel);
            }
            held.left > 0
        });
    }

    /// Keeps a copy of an old packet.
    pub(crate) fn keep(&mut self, parcel: u32, until: u64) {
        self.replays.push((until, parcel));
    }

    /// A packet that has waited to be overtaken for too long.
    pub(crate) fn pop_held(&mut self, now: u64) -> Option<u32> {
        let place = self.held.iter().position(|held| held.until <= now)?;
        Some(self.held.remove(place).parcel)
    }

    /// An old packet whose time has come, and whether that is still wanted.
    pub(crate) fn pop_replay(&mut self, now: u64) -> Option<(u32, bool)> {
        let place = self.replays.iter().position(|(at, _)| *at <= now)?;
        Some((self.replays.remove(place).1, self.link.faults.has(FaultKind::Replay)))
    }

    /// When it wants to be called next: for its queue, or for packets that are kept.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        let queue = (!self.queue.is_empty()).then_some(self.busy_until);
        let held = self.held.iter().map(|held| held.until).min();
        let replays = self.replays.iter().map(|&(at, _)| at).min();
        [queue, held, replays].into_iter().flatten().min()
    }

    /// Forgets all that is under way, as if nothing had been sent for long. What it has counted stays.
    pub(crate) fn restart(&mut self) {
        self.backlog.clear();
        self.backlog_bytes = 0;
        self.queue = CoDelQueue::default();
        self.asked = u64::MAX;
        self.held.clear();
        self.replays.clear();
        (self.busy_until, self.latest) = (0, 0);
        (self.acks_busy_until, self.latest_ack) = (0, 0);
    }

    /// Gives back the old packets.
    pub(crate) fn forget(&mut self) -> impl Iterator<Item = u32> {
        self.replays.drain(..).map(|(_, parcel)| parcel)
    }
}

/// Whether it is an acknowledgement and nothing else.
fn is_ack(datagram: &[u8]) -> bool {
    Packet::decode(datagram).is_ok_and(|packet| packet.header.kind == Kind::State)
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("link", &self.link).field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// Whole nanoseconds; a duration that does not fit is for ever.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 2)
}

#[cfg(test)]
mod tests;
