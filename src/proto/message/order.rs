//! What a channel's promise makes of a whole message: hand it up, keep it, drop it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Mode;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is handed up, and those that waited for it.
    Deliver,
    /// It waits for those before it.
    Hold,
    /// A newer one was there before.
    Outdated,
    /// Its number cannot be.
    OutOfRange,
}

/// Numbers of one channel. They go on beyond what 32 bits can say.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The next number in order, or the one after the newest that was handed up.
    next: u64,
    /// Messages that wait for those before them.
    held: BTreeMap<u64, Bytes>,
}

/// Ours: how far ahead of its turn a message may be. More of them than this are never under way.
const AHEAD_MAX: u64 = 1 << 24;

impl Order {
    pub(super) fn judge(&self, mode: Mode, number: u32) -> Verdict {
        let Some(number) = self.unwrap(number) else { return Verdict::OutOfRange };
        match mode {
            Mode::Unreliable | Mode::ReliableUnordered => Verdict::Deliver,
            Mode::UnreliableSequenced | Mode::ReliableSequenced if number < self.next => Verdict::Outdated,
            Mode::UnreliableSequenced | Mode::ReliableSequenced => Verdict::Deliver,
            Mode::ReliableOrdered if number == self.next => Verdict::Deliver,
            Mode::ReliableOrdered if number < self.next || self.held.contains_key(&number) => {
                Verdict::OutOfRange
            }
            Mode::ReliableOrdered => Verdict::Hold,
        }
    }

    /// A message that may be [delivered](Verdict::Deliver) is.
    pub(super) fn on_delivered(&mut self, mode: Mode, number: u32) {
        let Some(number) = self.unwrap(number) else { return };
        match mode {
            Mode::Unreliable | Mode::ReliableUnordered => self.next = self.next.max(number + 1),
            _ => self.next = number + 1,
        }
    }

    /// Keeps a message until its turn.
    pub(super) fn hold(&mut self, number: u32, bytes: Bytes) {
        if let Some(number) = self.unwrap(number) {
            self.held.insert(number, bytes);
        }
    }

    /// The message whose turn it is now, if it is here.
    pub(super) fn next_held(&mut self) -> Option<Bytes> {
        let bytes = self.held.remove(&self.next)?;
        self.next += 1;
        Some(bytes)
    }

    /// The number that those 32 bits stand for: the one closest to what is expected. None if that is far away.
    fn unwrap(&self, number: u32) -> Option<u64> {
        let ahead = number.wrapping_sub(self.next as u32).cast_signed();
        let number = self.next.checked_add_signed(ahead.into())?;
        (number.abs_diff(self.next) <= AHEAD_MAX).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64) -> Order {
        Order { next, ..Order::default() }
    }

    #[test]
    fn ordered_messages_wait_for_those_before_them_also_across_the_wrap() {
        let mut order = at(0xFFFF_FFFE);
        let mode = Mode::ReliableOrdered;
        for number in [1, 0xFFFF_FFFF, 0] {
            assert_eq!(order.judge(mode, number), Verdict::Hold);
            order.hold(number, Bytes::from(number.to_string()));
        }
        assert_eq!(order.judge(mode, 0), Verdict::OutOfRange, "twice");
        assert_eq!(order.next_held(), None);
        assert_eq!(order.judge(mode, 0xFFFF_FFFE), Verdict::Deliver);
        order.on_delivered(mode, 0xFFFF_FFFE);
        let held: Vec<Bytes> = std::iter::from_fn(|| order.next_held()).collect();
        assert_eq!(held, ["4294967295", "0", "1"]);
        assert_eq!(order.judge(mode, 1), Verdict::OutOfRange);
        assert_eq!(order.judge(mode, 2), Verdict::Deliver);
    }

    #[test]
    fn after_a_newer_one_an_older_one_is_worthless_where_order_says_so() {
        for mode in [Mode::UnreliableSequenced, Mode::ReliableSequenced] {
            let mut order = at(0xFFFF_FFFF);
            assert_eq!(order.judge(mode, 5), Verdict::Deliver);
            order.on_delivered(mode, 5);
            assert_eq!(order.judge(mode, 0xFFFF_FFFF), Verdict::Outdated);
            assert_eq!(order.judge(mode, 5), Verdict::Outdated);
            assert_eq!(order.judge(mode, 6), Verdict::Deliver);
        }
        for mode in [Mode::Unreliable, Mode::ReliableUnordered] {
            let mut order = at(3);
            order.on_delivered(mode, 9);
            assert_eq!(order.judge(mode, 4), Verdict::Deliver);
        }
    }

    #[test]
    fn numbers_far_away_are_refused() {
        let order = at(7);
        for mode in [Mode::Unreliable, Mode::ReliableOrdered, Mode::ReliableSequenced] {
            assert_eq!(order.judge(mode, 1 << 25), Verdict::OutOfRange);
            assert_eq!(order.judge(mode, 0xFFFF_FFFF), Verdict::OutOfRange, "before the first one");
        }
    }
}
