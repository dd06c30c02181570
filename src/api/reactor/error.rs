//! What a reactor refuses, and what it hands back.

use std::fmt;
use std::io;

use bytes::Bytes;

use super::event::PeerId;
use crate::error::CloseReason;

/// That connection is gone, or was never of this reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchPeer(pub PeerId);

impl fmt::Display for NoSuchPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such connection any more")
    }
}

impl std::error::Error for NoSuchPeer {}

impl From<NoSuchPeer> for io::Error {
    fn from(error: NoSuchPeer) -> Self {
        Self::new(io::ErrorKind::NotFound, error)
    }
}

/// Why a message was not taken; it is handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The channel's queue is full. [`Event::Room`](super::Event::Room) follows when it is not.
    Full(Bytes),
    /// It is longer than [`MessageConfig::max_message`](crate::message::MessageConfig::max_message).
    TooLong(Bytes),
    /// The connection has no such channel, or is a stream and has none.
    NoSuchChannel(Bytes),
    /// The connection is over; [`Event::Disconnected`](super::Event::Disconnected) is on its way.
    Closed(CloseReason, Bytes),
    /// See [`NoSuchPeer`].
    NoSuchPeer(Bytes),
}

impl SendError {
    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Full(bytes)
            | Self::TooLong(bytes)
            | Self::NoSuchChannel(bytes)
            | Self::Closed(_, bytes)
            | Self::NoSuchPeer(bytes) => bytes,
        }
    }

    /// The kind that a socket would report for it.
    #[must_use]
    pub const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Full(_) => io::ErrorKind::WouldBlock,
            Self::TooLong(_) | Self::NoSuchChannel(_) => io::ErrorKind::InvalidInput,
            Self::Closed(reason, _) => reason.kind(),
            Self::NoSuchPeer(_) => io::ErrorKind::NotFound,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the channel's queue is full"),
            Self::TooLong(_) => f.write_str("the message is too long"),
            Self::NoSuchChannel(_) => f.write_str("there is no such channel"),
            Self::Closed(reason, _) => reason.fmt(f),
            Self::NoSuchPeer(_) => f.write_str("there is no such connection any more"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        Self::new(error.kind(), error)
    }
}
