//! What the channels of a connection promise, and what they may take.

use std::fmt;
use std::time::Duration;

/// What a channel promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At most once, as it comes. Voice, positions.
    Unreliable,
    /// At most once, and never one that is older than one that was delivered. State of a world.
    UnreliableSequenced,
    /// Exactly once, as it comes. Events.
    ReliableUnordered,
    /// Exactly once and in the order of sending. Chat, commands.
    ReliableOrdered,
    /// At most once, never an older one after a newer one, and the newest always arrives. Settings, last values.
    ReliableSequenced,
}

impl Mode {
    /// Whether what was lost is sent again.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::ReliableUnordered | Self::ReliableOrdered | Self::ReliableSequenced)
    }

    /// Whether a newer message makes the older ones worthless.
    #[must_use]
    pub const fn is_sequenced(self) -> bool {
        matches!(self, Self::UnreliableSequenced | Self::ReliableSequenced)
    }

    /// The number that stands for it on the wire.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Unreliable => 0,
            Self::UnreliableSequenced => 1,
            Self::ReliableUnordered => 2,
            Self::ReliableOrdered => 3,
            Self::ReliableSequenced => 4,
        }
    }
}

/// One channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    pub(super) mode: Mode,
    pub(super) priority: u8,
    pub(super) weight: u8,
    pub(super) queue_bytes: u32,
    pub(super) time_to_live: Option<Duration>,
    pub(super) budget: Option<u32>,
}

impl ChannelConfig {
    /// A channel with that promise and the default limits.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, priority: 100, weight: 1, queue_bytes: 1 << 20, time_to_live: None, budget: None }
    }

    /// Whatever has a higher priority goes first; others only get room that is left in a packet (default 100; any).
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Share of the bytes among channels of the same priority (default 1; 1 to 255).
    #[must_use]
    pub const fn weight(mut self, weight: u8) -> Self {
        self.weight = weight;
        self
    }

    /// Bytes that wait to be sent (default 1 MiB; 1 KiB to 256 MiB). The message that crosses the limit is still
    /// taken.
    #[must_use]
    pub const fn queue_bytes(mut self, bytes: u32) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Drop what could not be sent within this time (default `None`: never).
    #[must_use]
    pub const fn time_to_live(mut self, time: Option<Duration>) -> Self {
        self.time_to_live = time;
        self
    }

    /// Most bytes per second (default `None`: no limit; at least 100).
    #[must_use]
    pub const fn budget(mut self, bytes_per_second: Option<u32>) -> Self {
        self.budget = bytes_per_second;
        self
    }
}

/// The channels of a connection, and the limits of all together. Both ends need channels with the same modes in the
/// same order; the rest may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageConfig {
    pub(super) channels: Vec<ChannelConfig>,
    pub(super) max_message: u32,
    pub(super) budget: Option<u32>,
    pub(super) assembly_messages: u16,
    pub(super) assembly_age: Duration,
    pub(super) coalesce: Duration,
    pub(super) fallback: bool,
}

impl Default for MessageConfig {
    /// One channel of each mode, in the order of [`Mode`]: 0 is unreliable, 3 reliable and ordered.
    fn default() -> Self {
        use Mode::{ReliableOrdered, ReliableSequenced, ReliableUnordered, Unreliable, UnreliableSequenced};
        let modes = [Unreliable, UnreliableSequenced, ReliableUnordered, ReliableOrdered, ReliableSequenced];
        Self::new(modes.map(ChannelConfig::new))
    }
}

impl MessageConfig {
    /// With these channels, numbered in this order from 0.
    #[must_use]
    pub fn new(channels: impl Into<Vec<ChannelConfig>>) -> Self {
        Self {
            channels: channels.into(),
            max_message: 1 << 20,
            budget: None,
            assembly_messages: 512,
            assembly_age: Duration::from_secs(10),
            coalesce: Duration::ZERO,
            fallback: false,
        }
    }

    /// Bytes that a message may have, either way (default 1 MiB; 1 byte to 16 MiB). What arrives and is longer is
    /// dropped and counted.
    #[must_use]
    pub const fn max_message(mut self, bytes: u32) -> Self {
        self.max_message = bytes;
        self
    }

    /// Most bytes per second of all channels together (default `None`: what the network takes; at least 100).
    #[must_use]
    pub const fn budget(mut self, bytes_per_second: Option<u32>) -> Self {
        self.budget = bytes_per_second;
        self
    }

    /// Most messages that have arrived in part (default 512; 1 to 4,096). Beyond it the oldest unreliable one is
    /// dropped and counted; if there is none, packets with more wait at the sender, but for the next one in order.
    #[must_use]
    pub const fn assembly_messages(mut self, count: u16) -> Self {
        self.assembly_messages = count;
        self
    }

    /// How long the rest of an unreliable message is waited for (default 10 s; 10 ms to 10 min).
    #[must_use]
    pub const fn assembly_age(mut self, age: Duration) -> Self {
        self.assembly_age = age;
        self
    }

    /// Longest that a message waits for others to share its packet (default 0: not at all; up to 1 s).
    #[must_use]
    pub const fn coalesce(mut self, delay: Duration) -> Self {
        self.coalesce = delay;
        self
    }

    /// Whether a peer that knows no messages, be it of another make or with
    /// [`Config::extensions`](crate::Config::extensions) switched off, gets them framed in the byte stream (default no:
    /// there is no connection then).
    ///
    /// Whatever a channel promises, its messages are then reliable and ordered, and wait for each other across channels:
    /// the promises are kept, and what was to be gained by promising less is not. Priorities, weights, budgets, queue
    /// limits, times to live and the limits on assembly are without effect: a message is taken once the one before it is
    /// in the send buffer. A receipt means that the peer has acknowledged the bytes. Nothing can be sent before the
    /// handshake is over.
    #[must_use]
    pub const fn fallback(mut self, allowed: bool) -> Self {
        self.fallback = allowed;
        self
    }

    /// Whether messages may be [framed](Self::fallback).
    #[must_use]
    pub const fn falls_back(&self) -> bool {
        self.fallback
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is outside, with the range in words.
    pub fn validate(&self) -> Result<(), MessageConfigError> {
        let millis = Duration::from_millis;
        let every = |holds: fn(&ChannelConfig) -> bool| self.channels.iter().all(holds);
        let checks = [
            ("channels", "1 to 256", (1..=256).contains(&self.channels.len())),
            ("weight", "1 to 255", every(|channel| channel.weight >= 1)),
            (
                "queue_bytes",
                "1 KiB to 256 MiB",
                every(|channel| (1 << 10..=256 << 20).contains(&channel.queue_bytes)),
            ),
            (
                "budget",
                "at least 100, or none",
                every(|channel| channel.budget.is_none_or(|budget| budget >= 100))
                    && self.budget.is_none_or(|budget| budget >= 100),
            ),
            ("max_message", "1 byte to 16 MiB", (1..=16 << 20).contains(&self.max_message)),
            ("assembly_messages", "1 to 4,096", (1..=4096).contains(&self.assembly_messages)),
            ("assembly_age", "10 ms to 10 min", (millis(10)..=millis(600_000)).contains(&self.assembly_age)),
            ("coalesce", "0 to 1 s", self.coalesce <= millis(1000)),
        ];
        match checks.iter().find(|(_, _, fits)| !fits) {
            Some(&(field, range, _)) => Err(MessageConfigError { field, range }),
            None => Ok(()),
        }
    }

    /// Bytes of window that a peer needs, besides what is used anyway, for two of the longest messages in part.
    #[must_use]
    pub const fn window_needed(&self) -> usize {
        // An eighth more for what it costs to keep fragments.
        let longest = self.max_message as usize;
        2 * (longest + longest / 8)
    }

    /// What both ends have to agree on, for the handshake: how many channels, and a digest of their modes.
    #[must_use]
    pub fn agreement(&self) -> [u8; 4] {
        // Fletcher's sum: enough to notice a mistake; nobody is kept out by it.
        let (mut low, mut high) = (1u16, 0u16);
        for channel in &self.channels {
            low = (low + u16::from(channel.mode.code())) % 255;
            high = (high + low) % 255;
        }
        let count = self.channels.len().saturating_sub(1) as u8;
        [VERSION, count, low as u8, high as u8]
    }
}

/// Ours: the only version of frames that there is.
const VERSION: u8 = 1;

/// A setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageConfigError {
    /// The name of the setting.
    pub field: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl fmt::Display for MessageConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has to be {}", self.field, self.range)
    }
}

impl std::error::Error for MessageConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_out_of_range_is_named() {
        assert_eq!(MessageConfig::default().validate(), Ok(()));
        let field = |config: MessageConfig| config.validate().map_err(|error| error.field);
        assert_eq!(field(MessageConfig::new([])), Err("channels"));
        assert_eq!(
            field(MessageConfig::new(vec![ChannelConfig::new(Mode::Unreliable); 257])),
            Err("channels")
        );
        let millis = Duration::from_millis;
        let one = |change: fn(ChannelConfig) -> ChannelConfig| {
            field(MessageConfig::new([change(ChannelConfig::new(Mode::Unreliable))]))
        };
        let all = |change: fn(MessageConfig) -> MessageConfig| field(change(MessageConfig::default()));
        assert_eq!(field(MessageConfig::new(vec![ChannelConfig::new(Mode::Unreliable); 256])), Ok(()));
        assert_eq!((one(|c| c.weight(0)), one(|c| c.weight(1))), (Err("weight"), Ok(())));
        assert_eq!(
            (one(|c| c.queue_bytes(1023)), one(|c| c.queue_bytes(1024))),
            (Err("queue_bytes"), Ok(()))
        );
        let most = 256 << 20;
        assert_eq!(
            field(MessageConfig::new([ChannelConfig::new(Mode::Unreliable).queue_bytes(most)])),
            Ok(())
        );
        assert_eq!(one(|c| c.queue_bytes((256 << 20) + 1)), Err("queue_bytes"));
        assert_eq!((one(|c| c.budget(Some(99))), one(|c| c.budget(Some(100)))), (Err("budget"), Ok(())));
        assert_eq!((all(|c| c.budget(Some(99))), all(|c| c.budget(Some(100)))), (Err("budget"), Ok(())));
        assert_eq!((all(|c| c.max_message(0)), all(|c| c.max_message(1))), (Err("max_message"), Ok(())));
        assert_eq!(all(|c| c.max_message(16 << 20)), Ok(()));
        assert_eq!(all(|c| c.max_message((16 << 20) + 1)), Err("max_message"));
        assert_eq!(all(|c| c.assembly_messages(0)), Err("assembly_messages"));
        assert_eq!((all(|c| c.assembly_messages(1)), all(|c| c.assembly_messages(4096))), (Ok(()), Ok(())));
        assert_eq!(all(|c| c.assembly_messages(4097)), Err("assembly_messages"));
        let age = |age| field(MessageConfig::default().assembly_age(age));
        assert_eq!((age(millis(9)), age(millis(10))), (Err("assembly_age"), Ok(())));
        assert_eq!((age(millis(600_000)), age(millis(600_001))), (Ok(()), Err("assembly_age")));
        let coalesce = |delay| field(MessageConfig::default().coalesce(delay));
        assert_eq!((coalesce(millis(1000)), coalesce(millis(1001))), (Ok(()), Err("coalesce")));
        let words = MessageConfig::default().max_message(0).validate().map_err(|error| error.to_string());
        assert_eq!(words, Err("max_message has to be 1 byte to 16 MiB".to_owned()));
    }

    #[test]
    fn a_window_has_room_for_two_of_the_longest_messages_and_what_it_costs_to_keep_them() {
        assert_eq!(MessageConfig::default().max_message(8000).window_needed(), 18_000);
    }

    #[test]
    fn ends_with_other_modes_or_another_order_do_not_agree() {
        let of = |modes: &[Mode]| {
            let channels: Vec<_> = modes.iter().map(|&mode| ChannelConfig::new(mode)).collect();
            MessageConfig::new(channels).agreement()
        };
        let (a, b) = (Mode::Unreliable, Mode::ReliableOrdered);
        assert_eq!(of(&[a, b]), of(&[a, b]));
        for other in [&[b, a][..], &[a], &[a, b, a], &[a, Mode::ReliableUnordered]] {
            assert_ne!(of(&[a, b]), of(other));
        }
        let slow = MessageConfig::new([ChannelConfig::new(a).priority(1), ChannelConfig::new(b).weight(9)]);
        assert_eq!(slow.agreement(), of(&[a, b]), "what one end does by itself needs no agreement");
    }
}
