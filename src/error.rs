//! What can go wrong, told apart by whose fault it was, and its `io::Error` face in one place.
//!
//! There is no error for a mistake of our own: those are assertions.

use std::fmt;
use std::io;

/// Why a connection ended, or never came to be.
///
/// As the source of an [`io::Error`] it can be had back with
/// `error.get_ref().and_then(|source| source.downcast_ref::<CloseReason>())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides finished and everything was acknowledged.
    Finished,
    /// The peer answered our SYN with a RESET: nobody listens there.
    Refused,
    /// Nobody listens there for the service that was asked for, or the peer knows of no services.
    NoService,
    /// The peer sent a RESET.
    Reset,
    /// The peer did not answer: SYNs, or retransmissions of the same packet, were exhausted.
    TimedOut,
    /// Nothing was heard for longer than [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// The peer kept its receive window shut for longer than [`Config::stall_timeout`](crate::Config::stall_timeout).
    Stalled,
    /// The peer acknowledged what it cannot have received: it was not sent yet, as only a peer does that lies about what
    /// arrives, to be sent more than its share; or the peer takes back what it acknowledged, so that the stream has come
    /// to its end: a wrong bit got past the checksums.
    Misbehaved,
    /// Messages were asked for, and the peer does not know of them, or of other channels than ours.
    NoMessages,
    /// An incoming connection whose initiator never proved that it can hear us.
    Unconfirmed,
    /// We aborted it.
    Aborted,
    /// The endpoint was closed, or its driver stopped.
    EndpointClosed,
    /// The connection id that was asked for is in use towards that peer.
    IdInUse,
    /// The endpoint already has [`Config::max_connections`](crate::Config::max_connections).
    TooManyConnections,
    /// The endpoint has no socket that can reach an address of that kind (family, or port 0), or the system knows no
    /// way to the peer.
    Unreachable,
}

impl CloseReason {
    /// The kind that TCP would report for the same thing.
    #[must_use]
    pub const fn kind(self) -> io::ErrorKind {
        match self {
            Self::Finished | Self::EndpointClosed => io::ErrorKind::NotConnected,
            Self::Refused | Self::NoService => io::ErrorKind::ConnectionRefused,
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::TimedOut | Self::Idle | Self::Stalled | Self::Unconfirmed => io::ErrorKind::TimedOut,
            Self::Misbehaved => io::ErrorKind::InvalidData,
            Self::Aborted => io::ErrorKind::ConnectionAborted,
            Self::IdInUse => io::ErrorKind::AddrInUse,
            Self::TooManyConnections => io::ErrorKind::QuotaExceeded,
            Self::NoMessages => io::ErrorKind::Unsupported,
            Self::Unreachable => io::ErrorKind::AddrNotAvailable,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "connection finished",
            Self::Refused => "connection refused by the peer",
            Self::NoService => "the peer does not offer this service",
            Self::Reset => "connection reset by the peer",
            Self::TimedOut => "the peer did not answer in time",
            Self::Idle => "nothing was heard from the peer for too long",
            Self::Stalled => "the peer kept its receive window shut for too long",
            Self::NoMessages => "the peer has no message channels, or others",
            Self::Misbehaved => "the peer acknowledged what it cannot have received",
            Self::Unconfirmed => "the initiator never proved its address",
            Self::Aborted => "connection aborted",
            Self::EndpointClosed => "the socket was closed",
            Self::IdInUse => "the connection id is in use towards this peer",
            Self::TooManyConnections => "too many connections",
            Self::Unreachable => "no way leads to this address",
        })
    }
}

impl std::error::Error for CloseReason {}

impl From<CloseReason> for io::Error {
    fn from(reason: CloseReason) -> Self {
        Self::new(reason.kind(), reason)
    }
}

/// A [`Config`](crate::Config) field outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The setter's name.
    pub field: &'static str,
    /// What would have been right, in words.
    pub range: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config: {} must be {}", self.field, self.range)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
