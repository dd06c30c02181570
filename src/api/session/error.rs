//! What goes wrong with a session, and what of it concerns the application.

use std::fmt;
use std::io;

use crate::api::packet::{Packet, PacketError};

/// Something that happened to a session, from [`Session::errors`](super::Session::errors).
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection below is gone. The session waits for the next one; nothing is lost.
    Disconnected(io::Error),
    /// Whoever is at the other end of the connection does not keep to the protocol of sessions. The connection was
    /// dropped; the session is as before.
    Protocol(ProtocolError),
    /// The other end has no memory of this session: its process was restarted. The session has begun anew with what
    /// is there now.
    PeerForgot {
        /// What the old one never confirmed, in order. It may or may not have seen some of it.
        undelivered: Vec<Packet>,
    },
    /// The other end has closed the session while packets were on their way to it.
    PeerClosed {
        /// What it never confirmed, in order.
        undelivered: Vec<Packet>,
    },
}

impl SessionError {
    /// The packets that this error hands back.
    #[must_use]
    pub fn undelivered(&self) -> &[Packet] {
        match self {
            Self::PeerForgot { undelivered } | Self::PeerClosed { undelivered } => undelivered,
            Self::Disconnected(_) | Self::Protocol(_) => &[],
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(error) => write!(f, "the connection was lost: {error}"),
            Self::Protocol(error) => write!(f, "the connection was dropped: {error}"),
            Self::PeerForgot { undelivered } => {
                write!(f, "the peer has forgotten the session, {} packets are unconfirmed", undelivered.len())
            }
            Self::PeerClosed { undelivered } => {
                write!(f, "the peer has closed the session, {} packets are unconfirmed", undelivered.len())
            }
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disconnected(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::PeerForgot { .. } | Self::PeerClosed { .. } => None,
        }
    }
}

/// How the other end broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It speaks another version of it.
    Version,
    /// It said something that means nothing.
    Malformed,
    /// It began with something else than a greeting, or greeted twice.
    Greeting,
    /// It is this very session.
    Ourselves,
    /// A packet is missing before the one that came.
    Gap,
    /// It confirms what was never sent to it.
    Confirmation,
    /// A packet is longer than [`SessionConfig::max_payload`](super::SessionConfig::max_payload).
    TooLong,
    /// It did not greet in time.
    Silent,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the peer speaks another version of sessions",
            Self::Malformed => "the peer does not speak the language of sessions",
            Self::Greeting => "the peer did not greet, or greeted twice",
            Self::Ourselves => "the connection leads to the session itself",
            Self::Gap => "a packet is missing before the one that came",
            Self::Confirmation => "the peer confirms what was not sent",
            Self::TooLong => "the peer sent a packet that is too long",
            Self::Silent => "the peer did not greet in time",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Break {
    Io(io::Error),
    Protocol(ProtocolError),
}

impl From<ProtocolError> for Break {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<PacketError> for Break {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::TooLong { .. } => Self::Protocol(ProtocolError::TooLong),
            other => Self::Io(other.into()),
        }
    }
}

impl From<Break> for SessionError {
    fn from(broken: Break) -> Self {
        match broken {
            Break::Io(error) => Self::Disconnected(error),
            Break::Protocol(error) => Self::Protocol(error),
        }
    }
}

/// Why a packet was not taken; it is handed back.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The queue is full; only [`try_send`](super::Session::try_send) says so.
    Full(Packet),
    /// The payload is longer than [`SessionConfig::max_payload`](super::SessionConfig::max_payload).
    TooLong(Packet),
    /// The session was closed, by us or by the peer.
    Closed(Packet),
}

impl SendError {
    /// The packet.
    #[must_use]
    pub fn into_packet(self) -> Packet {
        match self {
            Self::Full(packet) | Self::TooLong(packet) | Self::Closed(packet) => packet,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the session's queue is full",
            Self::TooLong(_) => "the packet is too long for the session",
            Self::Closed(_) => "the session is closed",
        })
    }
}

impl std::error::Error for SendError {}
