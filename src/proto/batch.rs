//! One system call's worth of datagrams.
//!
//! Segmentation offload wants datagrams of one size for one destination, laid end to end; only the last may be
//! shorter. The type makes it impossible to build anything else, so nobody else needs to know the rule.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::wire;

/// Which of an endpoint's sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(u16);

impl SocketId {
    /// The socket with this index, counted in the order in which sockets were added.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The index.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Where datagrams go and come from: one of our sockets, and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our side.
    pub socket: SocketId,
    /// The peer's side.
    pub peer: SocketAddr,
}

/// Ours: what one batch may hold. The kernel builds the batch as one IP packet before it cuts it, so 65,535 bytes
/// less the largest headers.
const BATCH_BYTES: usize = 65_000;

/// Datagrams for one destination: all as long as the first, the last possibly shorter.
pub struct Batch {
    buffer: Box<[u8]>,
    filled: usize,
    segment_size: usize,
    count: usize,
    count_max: usize,
    /// How far the sender's clock is ahead of the endpoint's, microseconds.
    clock: u32,
    /// Nobody but the sender may change a byte of it.
    sealed: bool,
    /// How many routers it may pass, if that is not left to the system.
    ttl: Option<u8>,
}

impl Batch {
    /// A batch of at most `max_segments` datagrams. Allocates its buffer once, for ever.
    #[must_use]
    pub fn new(max_segments: usize) -> Self {
        Self {
            buffer: vec![0; BATCH_BYTES].into_boxed_slice(),
            filled: 0,
            segment_size: 0,
            count: 0,
            count_max: max_segments.max(1),
            clock: 0,
            sealed: false,
            ttl: None,
        }
    }

    /// Changes how many datagrams a batch may hold, from the next [`clear`](Self::clear) on.
    pub fn set_max_segments(&mut self, max_segments: usize) {
        self.count_max = max_segments.max(1);
    }

    /// Whether a datagram of `len` bytes may be added.
    #[must_use]
    pub fn admits(&self, len: usize) -> bool {
        if self.count == 0 {
            return len <= self.buffer.len();
        }
        let still_full_size = self.filled == self.count * self.segment_size;
        still_full_size
            && len <= self.segment_size
            && self.count < self.count_max
            && self.filled + len <= self.buffer.len()
    }

    /// Adds a datagram of `len` bytes, written by `fill`.
    ///
    /// # Panics
    /// If it does not [admit](Self::admits) it.
    pub fn push(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        assert!(self.admits(len), "the batch does not admit {len} bytes");
        if self.count == 0 {
            self.segment_size = len;
        }
        fill(&mut self.buffer[self.filled..self.filled + len]);
        self.filled += len;
        self.count += 1;
    }

    /// Adds a datagram that is not uTP, or that shows no clock, to an empty batch. It is left alone when the batch is
    /// [stamped again](Self::restamp).
    ///
    /// # Panics
    /// If the batch is not empty, or does not [admit](Self::admits) it.
    pub fn push_sealed(&mut self, datagram: &[u8]) {
        assert!(self.is_empty(), "a sealed datagram travels alone");
        self.push(datagram.len(), |out| out.copy_from_slice(datagram));
        self.seal();
    }

    /// Nobody may change what it holds now, because it shows no clock.
    pub(in crate::proto) const fn seal(&mut self) {
        self.sealed = true;
    }

    /// Says that the send times in this batch are of a clock that is so many microseconds ahead of the endpoint's.
    pub fn set_clock(&mut self, ahead: u32) {
        self.clock = ahead;
    }

    /// How many routers the datagrams of this batch may pass (the IPv4 time to live, the IPv6 hop limit), instead of
    /// what the system gives them. For those that are to open a NAT and to arrive nowhere.
    pub const fn set_ttl(&mut self, hops: u8) {
        self.ttl = Some(hops);
    }

    /// How many routers its datagrams may pass; `None` if that is left to the system.
    #[must_use]
    pub const fn ttl(&self) -> Option<u8> {
        self.ttl
    }

    /// How many datagrams it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All datagrams end to end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Bytes of every datagram but the last, which may be shorter.
    #[must_use]
    pub const fn segment_size(&self) -> usize {
        self.segment_size
    }

    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes().chunks(self.segment_size.max(1))
    }

    /// Writes a fresh send time into every datagram from number `first` on: the wait for a full socket is not a
    /// delay of the path.
    pub fn restamp(&mut self, first: usize, now: Instant) {
        if self.sealed {
            return;
        }
        let (len, size) = (self.filled, self.segment_size.max(1));
        let shown = now + Duration::from_micros(self.clock.into());
        for datagram in self.buffer[..len].chunks_mut(size).skip(first) {
            wire::restamp(datagram, shown.stamp());
        }
    }

    /// Changes its datagrams where they lie.
    pub(in crate::proto) fn edit(&mut self, change: impl FnMut(&mut [u8])) {
        self.buffer[..self.filled].chunks_mut(self.segment_size.max(1)).for_each(change);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.count = 0;
        self.segment_size = 0;
        self.clock = 0;
        self.sealed = false;
        self.ttl = None;
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("count", &self.count)
            .field("segment_size", &self.segment_size)
            .field("bytes", &self.filled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_may_hold_fewer_does_so_and_knows_the_size_of_its_datagrams() {
        let mut batch = Batch::new(64);
        batch.set_max_segments(2);
        assert_eq!((batch.segment_size(), SocketId::new(65_535).get()), (0, 65_535));
        for (len, more) in [(100, true), (99, false)] {
            batch.push(len, |out| out.fill(1));
            assert_eq!((batch.segment_size(), batch.admits(1)), (100, more));
        }
        assert!(format!("{batch:?}").contains("bytes: 199"));
        batch.set_max_segments(0);
        batch.clear();
        batch.push(5, |out| out.fill(1));
        assert_eq!((batch.segment_size(), batch.admits(1)), (5, false), "one at least");
    }

    #[test]
    fn a_shorter_datagram_ends_a_batch() {
        let mut batch = Batch::new(64);
        batch.push(100, |out| out.fill(1));
        assert!(batch.admits(100) && batch.admits(1) && !batch.admits(101));
        batch.push(40, |out| out.fill(2));
        assert!(!batch.admits(40) && !batch.admits(1));
        let sizes: Vec<_> = batch.datagrams().map(<[u8]>::len).collect();
        assert_eq!(sizes, [100, 40]);
        batch.clear();
        assert!(batch.is_empty() && batch.admits(1400));
    }

    #[test]
    fn a_batch_is_bounded_in_count_and_bytes() {
        let mut few = Batch::new(2);
        few.push(10, |_| {});
        few.push(10, |_| {});
        assert!(!few.admits(10));
        let mut many = Batch::new(1000);
        while many.admits(1400) {
            many.push(1400, |_| {});
        }
        assert_eq!(many.len(), 46);
    }

    #[test]
    fn restamping_leaves_what_was_already_sent() {
        let mut batch = Batch::new(4);
        for _ in 0..3 {
            batch.push(20, |out| out.fill(0x21));
        }
        batch.restamp(1, Instant::from_micros(0x0102_0304));
        let stamps: Vec<_> = batch.datagrams().map(|datagram| datagram[4..8].to_vec()).collect();
        assert_eq!(stamps, [vec![0x21; 4], vec![1, 2, 3, 4], vec![1, 2, 3, 4]]);
    }

    #[test]
    fn t17_a_batch_is_stamped_again_by_the_clock_of_its_sender() {
        let mut batch = Batch::new(4);
        batch.set_clock(0xFFFF_FFF0);
        batch.push(20, |out| out.fill(0x21));
        batch.restamp(0, Instant::from_micros(0x20));
        assert_eq!(batch.bytes()[4..8], [0, 0, 0, 0x10]);
        batch.clear();
        batch.push(20, |out| out.fill(0x21));
        batch.restamp(0, Instant::from_micros(0x20));
        assert_eq!(batch.bytes()[4..8], [0, 0, 0, 0x20], "the next sender has a clock of its own");
    }

    #[test]
    fn a_hop_limit_lasts_for_one_batch() {
        let mut batch = Batch::new(4);
        batch.push_sealed(b"open");
        batch.set_ttl(5);
        assert_eq!(batch.ttl(), Some(5));
        batch.clear();
        assert_eq!(batch.ttl(), None);
    }

    #[test]
    fn a_sealed_datagram_is_never_stamped() {
        let mut batch = Batch::new(4);
        batch.push_sealed(b"d1:y1:qe");
        batch.restamp(0, Instant::from_micros(7));
        assert_eq!(batch.bytes(), b"d1:y1:qe");
        batch.clear();
        batch.push(20, |out| out.fill(0x21));
        batch.restamp(0, Instant::from_micros(7));
        assert_eq!(batch.bytes()[4..8], [0, 0, 0, 7]);
    }
}
