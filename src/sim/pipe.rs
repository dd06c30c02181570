//! A [`Link`] at work: its queue, its chances, and what it has done so far.
//!
//! Decides a packet's whole fate at the moment it is handed over. Knows nothing of who sends to whom.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::fault::{Fault, FaultCounts};
use super::link::{Link, OVERHEAD};
use super::seed::Rng;
use crate::wire::HEADER_LEN;

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
}

impl LinkStats {
    /// How many packets that fault has struck.
    #[must_use]
    pub const fn struck(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// How often each kind of fault has happened here.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        let mut counts = FaultCounts::default();
        for fault in Fault::ALL {
            if let Some(kind) = fault.kind() {
                counts.add(kind, self.struck(fault));
            }
        }
        counts
    }
}

/// Decides about one datagram: `true` drops it.
pub type Filter = Box<dyn FnMut(&[u8]) -> bool>;

pub(super) struct Pipe {
    link: Link,
    rng: Rng,
    filter: Option<Filter>,
    /// When the last packet has left the queue, nanoseconds.
    busy_until: u64,
    /// What waits: when each packet has left, and its bytes.
    backlog: VecDeque<(u64, u64)>,
    backlog_bytes: u64,
    /// Nothing that is not delayed on purpose arrives before this.
    latest: u64,
    stats: LinkStats,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives, if it does.
    pub(super) arrives: Option<u64>,
    /// When it arrives once more.
    pub(super) again: Option<u64>,
    /// The bit that flips.
    pub(super) flip: Option<u64>,
    faults: u16,
}

impl Fate {
    const fn strike(&mut self, fault: Fault) {
        self.faults |= 1 << fault as u16;
    }

    /// What has struck it.
    pub(super) fn faults(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.faults & (1 << *fault as u16) != 0)
    }

    pub(super) const fn is_plain(self) -> bool {
        self.faults == 0
    }
}

impl Pipe {
    pub(super) fn new(link: Link, rng: Rng) -> Self {
        Self {
            link,
            rng,
            filter: None,
            busy_until: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            latest: 0,
            stats: LinkStats::default(),
        }
    }

    pub(super) const fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    pub(super) const fn stats(&self) -> &LinkStats {
        &self.stats
    }

    pub(super) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    /// Hands a datagram over at `now`, nanoseconds.
    pub(super) fn offer(&mut self, now: u64, datagram: &[u8]) -> Fate {
        let bytes = datagram.len() as u64 + OVERHEAD.as_bytes();
        self.stats.packets += 1;
        self.stats.bytes += bytes;
        let mut fate = Fate::default();
        match self.admit(now, datagram, bytes) {
            Ok(departs) => self.carry(departs, datagram, &mut fate),
            Err(fault) => fate.strike(fault),
        }
        for fault in fate.faults() {
            self.stats.faults[fault as usize] += 1;
        }
        fate
    }

    /// The near end: when the last bit is on the wire, if it gets there.
    fn admit(&mut self, now: u64, datagram: &[u8], bytes: u64) -> Result<u64, Fault> {
        if self.filter.as_mut().is_some_and(|filter| filter(datagram)) {
            return Err(Fault::Filtered);
        }
        if self.link.down {
            return Err(Fault::Down);
        }
        if bytes > self.link.mtu.as_bytes() {
            return Err(Fault::Oversize);
        }
        let Some(rate) = self.link.rate else { return Ok(now) };
        while let Some(&(left, gone)) = self.backlog.front()
            && left <= now
        {
            self.backlog.pop_front();
            self.backlog_bytes -= gone;
        }
        if self.backlog_bytes + bytes > self.link.queue.as_bytes() {
            return Err(Fault::QueueFull);
        }
        self.busy_until = self.busy_until.max(now).saturating_add(rate.nanos_for(bytes));
        self.backlog.push_back((self.busy_until, bytes));
        self.backlog_bytes += bytes;
        self.stats.queue_bytes_max = self.stats.queue_bytes_max.max(self.backlog_bytes);
        Ok(self.busy_until)
    }

    /// The way, and the far end.
    fn carry(&mut self, departs: u64, datagram: &[u8], fate: &mut Fate) {
        let number = self.stats.packets;
        let Link { delay, jitter, loss, corrupt, reorder, duplicate, .. } = self.link;
        if loss.hits(number, &mut self.rng) {
            return fate.strike(Fault::Lost);
        }
        if corrupt.hits(number, &mut self.rng) {
            if !self.link.deliver_corrupt {
                return fate.strike(Fault::Corrupt);
            }
            fate.strike(Fault::Flipped);
            fate.flip = Some(self.rng.below(8 * datagram.len().min(HEADER_LEN) as u64));
        }
        let jitter = if jitter.is_zero() { 0 } else { self.rng.below(nanos(jitter) + 1) };
        self.latest = self.latest.max(departs + nanos(delay) + jitter);
        let mut arrives = self.latest;
        if reorder.0.hits(number, &mut self.rng) {
            fate.strike(Fault::Delayed);
            arrives += nanos(reorder.1);
        }
        fate.arrives = Some(arrives);
        if duplicate.0.hits(number, &mut self.rng) {
            fate.strike(Fault::Doubled);
            fate.again = Some(arrives + nanos(duplicate.1));
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("link", &self.link).field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// Whole nanoseconds; a duration that does not fit is for ever.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 2)
}

#[cfg(test)]
mod tests {
    use super::super::quantity::{Rate, Size};
    use super::super::strike::Strike;
    use super::*;

    const MS: u64 = 1_000_000;

    fn pipe(link: Link) -> Pipe {
        Pipe::new(link, Rng::new(1))
    }

    /// 1,000 bytes on the wire, which 8 Mbit/s carry in a millisecond.
    fn kilobyte() -> Vec<u8> {
        vec![0; 1000 - OVERHEAD.as_bytes() as usize]
    }

    #[test]
    fn packets_queue_behind_each_other_and_overflow_at_the_tail() {
        let link =
            Link::perfect().rate(Rate::megabits(8)).delay(Duration::from_millis(10)).queue(Size::bytes(3000));
        let mut pipe = pipe(link);
        let arrivals: Vec<_> = (0..4).map(|_| pipe.offer(0, &kilobyte()).arrives).collect();
        assert_eq!(arrivals, [Some(11 * MS), Some(12 * MS), Some(13 * MS), None]);
        assert_eq!(pipe.stats().struck(Fault::QueueFull), 1);
        // After a millisecond there is room for one more.
        assert_eq!(pipe.offer(MS, &kilobyte()).arrives, Some(14 * MS));
        assert_eq!(pipe.stats().queue_bytes_max, 3000);
    }

    #[test]
    fn jitter_does_not_reorder_and_reordering_does() {
        let link = Link::perfect().delay(Duration::from_millis(1)).jitter(Duration::from_millis(50));
        let mut jittery = pipe(link);
        let arrivals: Vec<_> = (0..200).filter_map(|i| jittery.offer(i * MS, &[0; 20]).arrives).collect();
        assert!(arrivals.is_sorted() && arrivals.len() == 200);
        let mut reordering = pipe(Link::perfect().reorder(Strike::every(2), Duration::from_millis(5)));
        let arrivals: Vec<_> = (0..4).filter_map(|i| reordering.offer(i * MS, &[0; 20]).arrives).collect();
        assert_eq!(arrivals, [0, 6 * MS, 2 * MS, 8 * MS]);
    }

    #[test]
    fn a_packet_larger_than_the_mtu_vanishes() {
        let mut pipe = pipe(Link::perfect().mtu(Size::bytes(1000)));
        assert!(pipe.offer(0, &kilobyte()).arrives.is_some());
        let mut large = kilobyte();
        large.push(0);
        assert_eq!(pipe.offer(0, &large).faults().collect::<Vec<_>>(), [Fault::Oversize]);
    }

    #[test]
    fn corruption_is_noticed_unless_asked_otherwise_and_then_stays_in_the_header() {
        let corrupt = Link::perfect().corrupt(Strike::always());
        assert_eq!(pipe(corrupt).offer(0, &kilobyte()).arrives, None);
        let mut pipe = pipe(corrupt.deliver_corrupt(true));
        let flips: Vec<_> = (0..1000).filter_map(|_| pipe.offer(0, &kilobyte()).flip).collect();
        assert!(flips.len() == 1000 && flips.iter().all(|bit| (0..160).contains(bit)));
    }
}
