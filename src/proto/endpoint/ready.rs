//! Who is to be visited next: a ring in which each connection stands at most once.
//!
//! The bit that says whether it does lies with the connection, so the ring is never searched and never longer than
//! there are connections.

use std::collections::VecDeque;

use crate::storage::Key;

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Ready {
    ring: VecDeque<Key>,
}

/// Whether a connection stands in the ring.
#[derive(Debug, Default)]
pub(super) struct Queued(bool);

impl Ready {
    /// Goes to the back, unless it already waits.
    pub(super) fn push(&mut self, key: Key, queued: &mut Queued) {
        if !queued.0 {
            queued.0 = true;
            self.ring.push_back(key);
        }
    }

    /// The one at the front. The caller clears its bit with [`Queued::leave`].
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.ring.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
    }
}

impl Queued {
    /// It has been taken out of the ring.
    pub(super) fn leave(&mut self) {
        self.0 = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Slab;

    #[test]
    fn a_connection_stands_in_the_ring_once_and_those_that_come_back_queue_at_the_end() {
        let mut slab = Slab::new();
        let [a, b] = [slab.insert(Queued::default()), slab.insert(Queued::default())];
        let mut ready = Ready::default();
        let mut push = |ready: &mut Ready, key| {
            if let Some(queued) = slab.get_mut(key) {
                ready.push(key, queued);
            }
        };
        push(&mut ready, a);
        push(&mut ready, b);
        push(&mut ready, a);
        assert_eq!((ready.len(), ready.pop()), (2, Some(a)));
        if let Some(queued) = slab.get_mut(a) {
            queued.leave();
            ready.push(a, queued);
        }
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(b), Some(a), None]);
        assert!(ready.is_empty());
    }
}
