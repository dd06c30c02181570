//! What a sender of messages gives back: everything when it is over, the memory of its queues when it is quiet.

use std::collections::VecDeque;

use super::Outbox;

impl Outbox {
    /// Throws everything away.
    pub(in crate::proto::message) fn clear(&mut self) {
        for channel in &mut self.channels {
            channel.queue = VecDeque::new();
            channel.queued_bytes = 0;
            channel.stamped = 0;
            channel.progress = 0;
            channel.split.clear();
        }
        self.groups.iter_mut().for_each(|group| group.busy = 0);
        self.queued_bytes = 0;
        self.assembling = 0;
        self.waiting_since = None;
    }

    /// Whether queues stand empty that hold memory.
    pub(in crate::proto::message) const fn holds_idle_memory(&self) -> bool {
        self.used && self.queued_bytes == 0
    }

    /// Gives the memory of empty queues back. With a thousand connections most channels are quiet most of the time.
    pub(in crate::proto::message) fn release(&mut self) {
        for channel in self.channels.iter_mut().filter(|channel| channel.queue.is_empty()) {
            channel.queue = VecDeque::new();
        }
        self.used &= self.queued_bytes > 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::proto::message::composition::Composition;
    use crate::proto::message::outbox::Outbox;
    use crate::proto::message::{ChannelConfig, MessageConfig, Mode};
    use crate::time::Instant;

    fn capacities(outbox: &Outbox) -> Vec<usize> {
        outbox.channels.iter().map(|channel| channel.queue.capacity()).collect()
    }

    #[test]
    fn queues_that_are_empty_give_their_memory_back_and_what_is_queued_stays() {
        let channels = [Mode::ReliableOrdered, Mode::Unreliable].map(ChannelConfig::new);
        let mut outbox = Outbox::new(&MessageConfig::new(channels));
        assert!(!outbox.holds_idle_memory());
        for channel in [0, 1] {
            assert!(outbox.push(channel, Bytes::from_static(b"text")).is_ok());
        }
        assert!(!outbox.holds_idle_memory(), "it is in use");
        outbox.compose(Instant::ZERO, 1000, &mut Composition::default());
        assert!(outbox.holds_idle_memory());
        assert!(outbox.push(1, Bytes::from_static(b"more")).is_ok());
        outbox.release();
        let [0, kept] = *capacities(&outbox) else { panic!("the first queue is empty") };
        assert!(kept > 0 && outbox.queued_bytes() > 0);
        outbox.compose(Instant::ZERO, 1000, &mut Composition::default());
        outbox.release();
        assert_eq!(capacities(&outbox), [0, 0]);
        assert!(!outbox.holds_idle_memory());
    }
}
