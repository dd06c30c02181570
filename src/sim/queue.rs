//! What is going to happen: events in a total order, first by time, then by the order in which they were added.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Events of kind `E`, each with its time in nanoseconds.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    added: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(super) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }

    pub(super) fn push(&mut self, at: u64, event: E) {
        self.heap.push(Entry { at, number: self.added, event });
        self.added += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    pub(super) fn peek(&self) -> Option<(u64, &E)> {
        self.heap.peek().map(|entry| (entry.at, &entry.event))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest first, and we want the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_the_same_time_keep_the_order_in_which_they_were_added() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "c"), (3, "a"), (5, "d"), (3, "b"), (9, "e")] {
            queue.push(at, name);
        }
        assert_eq!(queue.peek(), Some((3, &"a")));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, name)| name).collect();
        assert_eq!(order, "abcde");
    }
}
