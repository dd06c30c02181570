//! Why a question for our address got no answer.

use std::fmt;
use std::io;

/// Why nobody could tell us our address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StunError {
    /// Five questions in three seconds, and no answer: the server is not there, or UDP does not get through.
    Timeout,
    /// The server refused, with this number (300 to 699).
    Refused(u16),
    /// The server answered with something that says nothing.
    Unusable,
    /// No socket of ours reaches that address.
    Unreachable,
    /// As many questions as may be under way are.
    Busy,
    /// The endpoint is closed.
    Closed,
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer from the STUN server"),
            Self::Refused(code) => write!(f, "the STUN server refused ({code})"),
            Self::Unusable => f.write_str("the STUN server answered nothing that makes sense"),
            Self::Unreachable => f.write_str("no local socket can reach this address"),
            Self::Busy => f.write_str("too many questions to STUN servers at once"),
            Self::Closed => f.write_str("the socket was closed"),
        }
    }
}

impl std::error::Error for StunError {}

impl From<StunError> for io::Error {
    fn from(error: StunError) -> Self {
        let kind = match error {
            StunError::Timeout => io::ErrorKind::TimedOut,
            StunError::Refused(_) => io::ErrorKind::ConnectionRefused,
            StunError::Unusable => io::ErrorKind::InvalidData,
            StunError::Unreachable => io::ErrorKind::AddrNotAvailable,
            StunError::Busy => io::ErrorKind::QuotaExceeded,
            StunError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}
