//! Datagrams that are not uTP: a DHT, a tracker or a game shares the port.
//!
//! Nobody here looks into them.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use super::sockets::canonical;
use crate::proto::batch::Path;

/// A datagram that is not uTP, on its way in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Our socket, and the peer's address as the socket takes it.
    pub path: Path,
    /// What it says.
    pub bytes: Bytes,
}

impl Foreign {
    /// The peer's address; IPv4 as IPv4, whatever socket it came through.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        canonical(self.path.peer)
    }
}

/// Ours: what a batch holds, and a little less than UDP carries over IPv4 (65,507 bytes).
pub(super) const FOREIGN_BYTES_MAX: usize = 65_000;

/// Why a foreign datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignError {
    /// [`Config::foreign_queue`](crate::Config::foreign_queue) datagrams wait already.
    Full,
    /// It has more than 65,000 bytes.
    TooLong,
    /// No socket of ours reaches that address.
    Unreachable,
    /// The endpoint is closed.
    Closed,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many datagrams wait to be sent",
            Self::TooLong => "the datagram is longer than 65,000 bytes",
            Self::Unreachable => "no local socket can reach this address",
            Self::Closed => "the socket was closed",
        })
    }
}

impl std::error::Error for ForeignError {}

impl From<ForeignError> for io::Error {
    fn from(error: ForeignError) -> Self {
        let kind = match error {
            ForeignError::Full => io::ErrorKind::WouldBlock,
            ForeignError::TooLong => io::ErrorKind::InvalidInput,
            ForeignError::Unreachable => io::ErrorKind::AddrNotAvailable,
            ForeignError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}
