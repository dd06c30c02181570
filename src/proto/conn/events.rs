//! What an application may want to be woken for: levels, not a log.
//!
//! Each kind is a bit, so events need no queue, cannot overflow, and coalesce by nature.

use std::ops::{BitOr, BitOrAssign};

/// A set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    /// The handshake is over: data may be sent.
    pub const CONNECTED: Self = Self(1);
    /// There is something to read, or the end of the stream.
    pub const READABLE: Self = Self(2);
    /// There is room to write.
    pub const WRITABLE: Self = Self(4);
    /// Everything written has been handed to the network.
    pub const FLUSHED: Self = Self(8);
    /// Everything written is acknowledged, the end of the stream included.
    pub const ACKED: Self = Self(16);
    /// The connection is over, for whatever reason.
    pub const CLOSED: Self = Self(32);
    /// Something became known about messages that were sent.
    pub const RECEIPTS: Self = Self(64);

    /// No event.
    pub const NONE: Self = Self(0);

    /// Whether it holds any of `other`.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_however_often() {
        let mut events = Events::NONE;
        assert!(events.is_empty() && !events.intersects(Events::READABLE));
        events |= Events::READABLE | Events::CLOSED;
        events |= Events::READABLE | Events::READABLE;
        assert!(!events.is_empty() && events.intersects(Events::READABLE | Events::ACKED));
        assert_eq!(events, Events::CLOSED | Events::READABLE | Events::CLOSED);
        assert!(!events.intersects(Events::WRITABLE | Events::CONNECTED));
    }
}
