//! A byte queue in one piece of memory that goes round.
//!
//! Knows nothing of packets: whoever writes and whoever reads may cut the bytes differently. It is on the path of
//! every byte in both directions, so a write or a read is at most two copies, whatever its size, and a queue that
//! drains starts again at the front of its memory, which is the part still in the cache.
//!
//! ```text
//!             head           head + len
//!   ┌──────────┬─────────────────┬───────────┐        ┌─────────┬───────────┬──────────┐
//!   │   free   │ bytes in order  │   free    │   or   │ … order │   free    │ bytes in │
//!   └──────────┴─────────────────┴───────────┘        └─────────┴───────────┴──────────┘
//! ```

use std::fmt;

/// A queue of bytes that takes memory as it needs it, up to a limit.
///
/// ```
/// use ebbtide::storage::ByteRing;
///
/// let mut ring = ByteRing::new(6);
/// assert_eq!(ring.write(b"tidewater"), 6);
/// let mut out = [0; 4];
/// assert_eq!(ring.read(&mut out), 4);
/// assert_eq!((&out, ring.len(), ring.free()), (b"tide", 2, 4));
/// ```
pub struct ByteRing {
    /// All of it is in use as ring memory: its length is the capacity.
    memory: Vec<u8>,
    /// Where the first byte is; 0 when there is none, and always below the capacity when there is.
    head: usize,
    len: usize,
    limit: usize,
}

/// The least memory taken at once, in bytes: one page.
const FIRST_CAPACITY: usize = 4096;

impl ByteRing {
    /// An empty ring that will hold up to `limit` bytes. Takes no memory yet.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { memory: Vec::new(), head: 0, len: 0, limit }
    }

    /// Appends as much of `data` as the limit leaves room for, and returns how much that was.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let data = &data[..data.len().min(self.free())];
        if data.is_empty() {
            return 0;
        }
        if self.memory.len() - self.len < data.len() {
            self.grow(self.len + data.len());
        }
        let start = self.position(self.len);
        let straight = data.len().min(self.memory.len() - start);
        let (front, back) = data.split_at(straight);
        self.memory[start..start + straight].copy_from_slice(front);
        self.memory[..back.len()].copy_from_slice(back);
        self.len += data.len();
        data.len()
    }

    /// Takes bytes off the front into `out`, as many as there are and fit, and returns how many.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.len);
        self.copy_out(0, &mut out[..count]);
        self.consume(count);
        count
    }

    /// Drops `count` bytes off the front. It is the caller's mistake if there are fewer.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len, "{count} bytes consumed of {}", self.len);
        let count = count.min(self.len);
        let head = self.position(count);
        self.len -= count;
        self.head = if self.len == 0 { 0 } else { head };
    }

    /// Gives the memory back if there is nothing in it; the next write takes some again.
    pub fn release(&mut self) {
        if self.len == 0 {
            self.memory = Vec::new();
        }
    }

    /// Gives back memory that what is held could do without, if that is at least half of it.
    pub fn shrink(&mut self) {
        if self.len == 0 {
            return self.release();
        }
        let enough = self.len.next_power_of_two().max(FIRST_CAPACITY).min(self.limit.max(self.len));
        if enough <= self.memory.len() / 2 {
            self.resize(enough);
        }
    }

    /// Changes how many bytes may be held. A limit below what is held loses nothing: it only stops writes until
    /// enough has been read.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Copies bytes without taking them: those from `offset` on, as many as `out` holds.
    ///
    /// # Panics
    ///
    /// If there are fewer: showing what the memory held before would be worse.
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) {
        let (front, back) = self.slices(offset, out.len());
        out[..front.len()].copy_from_slice(front);
        out[front.len()..].copy_from_slice(back);
    }

    /// The `len` bytes from `offset` on, in order, in the one or two pieces they lie in.
    ///
    /// # Panics
    ///
    /// If there are fewer: showing what the memory held before would be worse.
    #[must_use]
    pub fn slices(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        assert!(offset <= self.len && len <= self.len - offset, "{len} bytes at {offset} of {}", self.len);
        if len == 0 {
            return (&[], &[]);
        }
        let start = self.position(offset);
        let straight = len.min(self.memory.len() - start);
        (&self.memory[start..start + straight], &self.memory[..len - straight])
    }

    /// Bytes held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes it may hold.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that can be written now.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// Bytes of memory taken.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Bytes of memory that writing so many more would take.
    #[must_use]
    pub fn growth_for(&self, bytes: usize) -> usize {
        let needed = self.len + bytes;
        if needed <= self.memory.len() {
            return 0;
        }
        self.capacity_for(needed).saturating_sub(self.memory.len())
    }

    /// Where in the memory the byte `offset` after the first one is.
    const fn position(&self, offset: usize) -> usize {
        let straight = self.head + offset;
        if straight < self.memory.len() { straight } else { straight - self.memory.len() }
    }

    /// Moves into memory for at least `needed` bytes. Doubling keeps the bytes moved per byte written constant.
    #[cold]
    fn grow(&mut self, needed: usize) {
        debug_assert!(needed <= self.limit, "growing to {needed} beyond {}", self.limit);
        self.resize(self.capacity_for(needed));
    }

    /// The capacity that growing for `needed` bytes leads to.
    fn capacity_for(&self, needed: usize) -> usize {
        let doubled = needed.max(self.memory.len().saturating_mul(2)).max(FIRST_CAPACITY);
        doubled.next_power_of_two().min(self.limit)
    }

    /// Moves into memory for `capacity` bytes, which are enough for what is held.
    #[cold]
    fn resize(&mut self, capacity: usize) {
        let mut memory = vec![0; capacity];
        let (front, back) = self.slices(0, self.len);
        memory[..front.len()].copy_from_slice(front);
        memory[front.len()..front.len() + back.len()].copy_from_slice(back);
        self.memory = memory;
        self.head = 0;
    }
}

impl fmt::Debug for ByteRing {
    /// Sizes only: what is inside belongs to the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteRing")
            .field("len", &self.len)
            .field("limit", &self.limit)
            .field("capacity", &self.capacity())
            .finish()
    }
}

#[cfg(test)]
mod tests;
