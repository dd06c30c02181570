//! The holepunch extension of BitTorrent (BEP 55): a peer that is connected to two others tells each of them to call the
//! other now.
//!
//! ```text
//!   ┌──────┬───────────┬──────────┬──────┬───────┐
//!   │ type │ addr type │ addr     │ port │ error │   a payload of the extension protocol (BEP 10)
//!   │  u8  │    u8     │ 4 or 16  │ u16  │  u32  │
//!   └──────┴───────────┴──────────┴──────┴───────┘
//! ```
//!
//! BEP 55 has the error field in every message; libtorrent leaves it out unless it says something. Both are read here,
//! and what is written has it. Both sides of a `connect` then call each other at once: see
//! [`VanillaCross`](crate::VanillaCross) for what becomes of the two connections.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holepunch {
    /// To whoever is connected to both: let us meet the peer at this address.
    Rendezvous(SocketAddr),
    /// From there: call this address now, it calls you.
    Connect(SocketAddr),
    /// From there: that cannot be done for this address.
    Error(SocketAddr, HolepunchError),
}

/// Why two peers were not told to call each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HolepunchError {
    /// The address is none of a peer.
    NoSuchPeer,
    /// The one who was asked is not connected to it.
    NotConnected,
    /// The peer does not know this extension.
    NoSupport,
    /// The address is that of the one who was asked.
    NoSelf,
    /// A number that BEP 55 does not have.
    Other(u32),
}

/// BEP 55.
const RENDEZVOUS: u8 = 0;
/// BEP 55.
const CONNECT: u8 = 1;
/// BEP 55.
const ERROR: u8 = 2;

impl HolepunchError {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for HolepunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPeer => f.write_str("there is no such peer"),
            Self::NotConnected => f.write_str("the peer is not connected to the one who was asked"),
            Self::NoSupport => f.write_str("the peer does not support the holepunch extension"),
            Self::NoSelf => f.write_str("the peer is the one who was asked"),
            Self::Other(code) => write!(f, "holepunch error {code}"),
        }
    }
}

impl std::error::Error for HolepunchError {}

impl Holepunch {
    /// The longest message.
    pub const LEN_MAX: usize = 24;

    /// Reads the payload of an extension message.
    ///
    /// # Errors
    /// It is none of this extension.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidHolepunch> {
        let (&[kind, family], rest) = bytes.split_first_chunk().ok_or(InvalidHolepunch)?;
        let (ip, rest): (IpAddr, _) = match family {
            0 => rest.split_first_chunk::<4>().map(|(ip, rest)| ((*ip).into(), rest)),
            1 => rest.split_first_chunk::<16>().map(|(ip, rest)| ((*ip).into(), rest)),
            _ => None,
        }
        .ok_or(InvalidHolepunch)?;
        let (port, rest) = rest.split_first_chunk().ok_or(InvalidHolepunch)?;
        let addr = SocketAddr::new(ip, u16::from_be_bytes(*port));
        let code = match *rest {
            [] => 0,
            [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => return Err(InvalidHolepunch),
        };
        match kind {
            RENDEZVOUS => Ok(Self::Rendezvous(addr)),
            CONNECT => Ok(Self::Connect(addr)),
            ERROR => Ok(Self::Error(addr, HolepunchError::from_code(code))),
            _ => Err(InvalidHolepunch),
        }
    }

    /// Writes it at the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, addr, code) = match *self {
            Self::Rendezvous(addr) => (RENDEZVOUS, addr, 0),
            Self::Connect(addr) => (CONNECT, addr, 0),
            Self::Error(addr, error) => (ERROR, addr, error.code()),
        };
        out.extend_from_slice(&[kind, u8::from(addr.is_ipv6())]);
        match addr.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        out.extend_from_slice(&addr.port().to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
    }
}

/// Bytes that are no holepunch message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidHolepunch;

impl fmt::Display for InvalidHolepunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message of the holepunch extension")
    }
}

impl std::error::Error for InvalidHolepunch {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn encoded(message: Holepunch) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn messages_have_the_twelve_or_twenty_four_bytes_of_bep_55() {
        assert_eq!(
            encoded(Holepunch::Connect(addr("192.0.2.1:6881"))),
            [1, 0, 192, 0, 2, 1, 0x1A, 0xE1, 0, 0, 0, 0]
        );
        let six = Holepunch::Error(addr("[2001:db8::1]:2"), HolepunchError::NoSelf);
        let mut golden = vec![2, 1, 0x20, 1, 0x0D, 0xB8];
        golden.extend([0; 11]);
        golden.extend([1, 0, 2, 0, 0, 0, 4]);
        assert_eq!(encoded(six), golden);
        assert_eq!((golden.len(), Holepunch::decode(&golden)), (Holepunch::LEN_MAX, Ok(six)));
    }

    #[test]
    fn libtorrent_leaves_the_error_out_where_there_is_none() {
        let short = [0, 0, 192, 0, 2, 1, 0x1A, 0xE1];
        assert_eq!(Holepunch::decode(&short), Ok(Holepunch::Rendezvous(addr("192.0.2.1:6881"))));
        for len in 0..24 {
            let message = Holepunch::decode(&encoded(Holepunch::Connect(addr("[::1]:9")))[..len]);
            assert_eq!(message.is_ok(), len == 20, "{len}");
        }
        assert!(Holepunch::decode(&[3, 0, 1, 1, 1, 1, 0, 1]).is_err(), "no such type");
        assert!(Holepunch::decode(&[0, 2, 1, 1, 1, 1, 0, 1]).is_err(), "no such family");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_as_bep_55_has_it(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(message) = Holepunch::decode(&bytes) {
                let written = encoded(message);
                prop_assert_eq!(Holepunch::decode(&written), Ok(message));
                prop_assert_eq!(&written[..bytes.len().min(8)], &bytes[..bytes.len().min(8)]);
            }
        }
    }
}
