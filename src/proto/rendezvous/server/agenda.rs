//! What is due when. One entry for each client and each meeting; whoever is called looks whether it is really time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::storage::Key;
use crate::time::Instant;

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Guest(Key),
    /// Whether he has answered.
    Knock(Key),
    Meeting(Key),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    /// Of two that are due at the same time the one that was noted first comes first.
    number: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    noted: u64,
}

impl Agenda {
    pub(super) fn note(&mut self, at: Instant, due: Due) {
        self.noted += 1;
        self.entries.push(Reverse(Entry { at, number: self.noted, due }));
    }

    /// Somebody whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| entry.due)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }
}
