//! Datagrams under way: a bounded number of blocks, each allocated once and used again.
//!
//! A datagram takes as many blocks as it needs, and one at least; most need one. Knows no time and no fate.

/// Bytes of a block: an ordinary datagram fits into one.
const BLOCK: usize = 2048;

/// The end of a chain of blocks.
const END: u32 = u32::MAX;

struct Block {
    bytes: [u8; BLOCK],
    /// The next of the same datagram, or the next free one.
    next: u32,
}

/// A datagram that is kept.
#[derive(Clone, Copy)]
struct Parcel<T> {
    tag: T,
    len: usize,
    first: u32,
}

/// What is kept, each datagram with a tag of the caller's.
pub(super) struct Store<T> {
    parcels: Vec<Parcel<T>>,
    free_parcels: Vec<u32>,
    #[expect(clippy::vec_box, reason = "a table that grows must not copy the blocks")]
    blocks: Vec<Box<Block>>,
    free_block: u32,
    blocks_free: usize,
    blocks_max: usize,
    /// A datagram of several blocks in one piece.
    whole: Vec<u8>,
}

impl<T: Copy> Store<T> {
    /// Holds so many bytes at most, counted in whole blocks.
    pub(super) const fn new(bytes: u64) -> Self {
        let blocks = bytes / BLOCK as u64;
        let blocks_max = if blocks < END as u64 { blocks as usize } else { END as usize };
        Self {
            parcels: Vec::new(),
            free_parcels: Vec::new(),
            blocks: Vec::new(),
            free_block: END,
            blocks_free: 0,
            blocks_max,
            whole: Vec::new(),
        }
    }

    /// Keeps a copy, if there is room.
    pub(super) fn put(&mut self, tag: T, datagram: &[u8]) -> Option<u32> {
        let needs = datagram.len().div_ceil(BLOCK).max(1);
        if needs > self.blocks_free + (self.blocks_max - self.blocks.len()) {
            return None;
        }
        let mut first = END;
        // From the end, so that each block is made with its follower known.
        for at in (0..needs).rev() {
            let part = &datagram[at * BLOCK..datagram.len().min((at + 1) * BLOCK)];
            first = self.block(part, first);
        }
        let parcel = Parcel { tag, len: datagram.len(), first };
        match self.free_parcels.pop() {
            Some(index) => {
                self.parcels[index as usize] = parcel;
                Some(index)
            }
            None => {
                self.parcels.push(parcel);
                u32::try_from(self.parcels.len() - 1).ok()
            }
        }
    }

    fn block(&mut self, part: &[u8], next: u32) -> u32 {
        let index = self.free_block;
        let Some(block) = self.blocks.get_mut(index as usize) else {
            let mut block = Box::new(Block { bytes: [0; BLOCK], next });
            block.bytes[..part.len()].copy_from_slice(part);
            self.blocks.push(block);
            return u32::try_from(self.blocks.len() - 1).unwrap_or(END);
        };
        self.free_block = block.next;
        self.blocks_free -= 1;
        block.bytes[..part.len()].copy_from_slice(part);
        block.next = next;
        index
    }

    /// Keeps another copy of a datagram that is kept, if there is room.
    pub(super) fn copy(&mut self, index: u32) -> Option<u32> {
        let tag = self.parcels[index as usize].tag;
        let mut whole = std::mem::take(&mut self.whole);
        self.gather(index, &mut whole);
        let copy = self.put(tag, &whole);
        self.whole = whole;
        copy
    }

    /// The datagram, in one piece.
    pub(super) fn get(&mut self, index: u32) -> (T, &[u8]) {
        let Parcel { tag, len, first } = self.parcels[index as usize];
        if len <= BLOCK {
            return (tag, &self.blocks[first as usize].bytes[..len]);
        }
        let mut whole = std::mem::take(&mut self.whole);
        self.gather(index, &mut whole);
        self.whole = whole;
        (tag, &self.whole)
    }

    fn gather(&self, index: u32, whole: &mut Vec<u8>) {
        whole.clear();
        let Parcel { len, first: mut at, .. } = self.parcels[index as usize];
        while whole.len() < len {
            let block = &self.blocks[at as usize];
            whole.extend_from_slice(&block.bytes[..BLOCK.min(len - whole.len())]);
            at = block.next;
        }
    }

    /// Flips a bit of the first block, if the datagram has it.
    pub(super) fn flip(&mut self, index: u32, bit: u64) {
        let Parcel { len, first, .. } = self.parcels[index as usize];
        let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if place < len.min(BLOCK) {
            self.blocks[first as usize].bytes[place] ^= 1 << (bit % 8);
        }
    }

    /// Leaves so many bytes of it, if it has more.
    pub(super) fn truncate(&mut self, index: u32, len: usize) {
        let parcel = &mut self.parcels[index as usize];
        parcel.len = parcel.len.min(len);
    }

    /// Its place may be used again.
    pub(super) fn release(&mut self, index: u32) {
        let mut at = self.parcels[index as usize].first;
        while at != END {
            let block = &mut self.blocks[at as usize];
            let next = std::mem::replace(&mut block.next, self.free_block);
            self.free_block = at;
            self.blocks_free += 1;
            at = next;
        }
        self.free_parcels.push(index);
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        self.parcels.clear();
        self.free_parcels.clear();
        self.free_block = END;
        for (index, block) in (0..).zip(&mut self.blocks) {
            block.next = std::mem::replace(&mut self.free_block, index);
        }
        self.blocks_free = self.blocks.len();
    }

    /// How many datagrams are kept.
    pub(super) const fn len(&self) -> usize {
        self.parcels.len() - self.free_parcels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_every_length_come_out_as_they_went_in() {
        let mut store = Store::new(1 << 20);
        let lengths = [0, 1, 1400, 2047, 2048, 2049, 4096, 9000, 65_507];
        let content: Vec<u8> = (0..65_507_u32).map(|at| ((at * 7) >> 3) as u8).collect();
        for _ in 0..3 {
            let kept = lengths.map(|len| store.put(len, &content[..len]).expect("room"));
            let copies = kept.map(|index| store.copy(index).expect("room"));
            for (index, len) in kept.into_iter().chain(copies).zip(lengths.into_iter().cycle()) {
                assert_eq!(store.get(index), (len, &content[..len]));
                store.release(index);
            }
            assert_eq!(store.len(), 0);
        }
        assert!(store.blocks.len() < 150, "places are used again");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
        let mut store = Store::new(10 * BLOCK as u64);
        let nine = store.put((), &[1; 9 * BLOCK]).expect("room for ten");
        assert_eq!(store.put((), &[2; BLOCK + 1]), None);
        assert_eq!(store.copy(nine), None);
        let last = store.put((), &[]).expect("room for one");
        assert_eq!(store.put((), &[]), None, "an empty datagram takes a block too");
        store.release(nine);
        store.release(last);
        assert!(store.put((), &[3; 10 * BLOCK]).is_some());
        store.clear();
        assert_eq!(store.len(), 0);
        assert!(store.put((), &[4; 10 * BLOCK]).is_some());
        assert_eq!(Store::<()>::new(0).put((), &[]), None);
    }

    #[test]
    fn spoiling_keeps_within_the_datagram() {
        let mut store = Store::new(1 << 16);
        let empty = store.put((), &[]).expect("room");
        store.flip(empty, 0);
        store.truncate(empty, 1);
        assert_eq!(store.get(empty).1, &[] as &[u8]);
        let one = store.put((), &[0; 3]).expect("room");
        store.flip(one, 9);
        store.flip(one, u64::MAX);
        store.truncate(one, 2);
        assert_eq!(store.get(one).1, &[0, 2]);
    }
}
