//! Messages over one connection: many channels, five promises, nobody waits for another channel's loss.
//!
//! uTP numbers *packets*. In message mode a packet carries frames instead of stream bytes, and the receiver hands
//! every frame up the moment its packet arrives, in order or not. Acknowledgement, loss detection, round trips,
//! congestion window and pacing are exactly those of streams: there is no second protocol.
//!
//! ```text
//!   send ─▶ Outbox: a queue per channel ─▶ compose: frames for one packet ─▶ Slots: what each number carries
//!                                                                               │ lost: what is still wanted
//!   recv ◀─ Inbox: by the channel's promise ◀─ frames ◀─ a packet               ▼ acknowledged: receipts
//! ```
//!
//! A number that is lost has to be filled again, or the peer's acknowledgement would wait for it for ever. The second
//! version of a packet carries the frames of the first that are still wanted and nothing else, so a receiver that has
//! the first already loses nothing by ignoring the second.
//!
//! Pure: no socket, no clock; time is an argument. Knows frames and channels, and nothing of windows or timers.

mod budget;
mod composition;
mod config;
mod frame;
mod framed;
mod inbox;
mod lately;
mod messages;
mod order;
mod outbox;
mod partial;
mod slots;
mod stats;
#[cfg(feature = "serde")]
mod typed;

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub(in crate::proto) use lately::Rate;

pub use config::{ChannelConfig, MessageConfig, MessageConfigError, Mode};
pub use framed::{Framed, Taken};
pub use messages::Messages;
pub use stats::{ChannelStats, MessageStats};
#[cfg(feature = "serde")]
pub use typed::{Typed, TypedError};

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub channel: u8,
    /// What it says. Small ones are views of the packet that brought them, and keep all of it (about 1,400 bytes).
    pub bytes: Bytes,
}

/// Names a message that was sent, among all of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What has become of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The channel.
    pub channel: u8,
    /// Which message.
    pub id: MessageId,
    /// What became of it.
    pub fate: Fate,
}

/// The end of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The whole of it is with the peer's library.
    Delivered,
    /// A packet with some of it was lost, and it is not of those that are sent again; or the peer could not keep it.
    /// It may have arrived all the same.
    Lost,
    /// It was not sent before its time to live was over.
    Expired,
    /// A newer one of its channel was sent.
    Superseded,
}

/// Why a message was not taken; it is handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The channel's queue is full.
    Full(Bytes),
    /// It is longer than [`MessageConfig::max_message`].
    TooLong(Bytes),
    /// There is no such channel.
    NoSuchChannel(Bytes),
}

impl SendError {
    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Full(bytes) | Self::TooLong(bytes) | Self::NoSuchChannel(bytes) => bytes,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel's queue is full",
            Self::TooLong(_) => "the message is too long",
            Self::NoSuchChannel(_) => "there is no such channel",
        })
    }
}

impl std::error::Error for SendError {}
