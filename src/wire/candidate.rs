//! Addresses at which a peer may be found, as peers tell each other.
//!
//! ```text
//!   ├──────────────┼───────────────────┼────────┤
//!   │ kind, family │ address, 4 or 16  │ port   │      7 or 19 bytes
//!   ├──────────────┼───────────────────┼────────┤
//! ```
//!
//! What is told may be wrong, or a stranger's address: what may be sent there, and how much, is not decided here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ours: how many candidates one peer may name. With more, somebody could make another one's peers send to many
/// places.
pub const CANDIDATES_MAX: usize = 8;

/// How an address became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CandidateKind {
    /// The address of an interface: good within one network, and everywhere if nothing translates it.
    Host,
    /// What somebody on the other side of the NAT saw.
    Reflexive,
    /// Where a peer's probe came from, although nobody had named it.
    PeerReflexive,
    /// A port that a router forwards (by UPnP, NAT-PMP, PCP, or by hand).
    Mapped,
}

impl CandidateKind {
    const ALL: [Self; 4] = [Self::Host, Self::Reflexive, Self::PeerReflexive, Self::Mapped];

    const fn value(self) -> u8 {
        match self {
            Self::Host => 0,
            Self::Reflexive => 1,
            Self::PeerReflexive => 2,
            Self::Mapped => 3,
        }
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::Reflexive => "reflexive",
            Self::PeerReflexive => "peer-reflexive",
            Self::Mapped => "mapped",
        })
    }
}

/// One address at which a peer may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// How it became known.
    pub kind: CandidateKind,
    /// Where it is. IPv4 as IPv4, never as `::ffff:a.b.c.d`.
    pub addr: SocketAddr,
}

/// The family in the first byte: set for IPv6.
const IPV6: u8 = 0x10;

/// The bits of the first byte that mean something.
const KNOWN: u8 = IPV6 | 0x03;

impl Candidate {
    /// A candidate; an IPv4 address in IPv6 form becomes IPv4, zones and flow labels are left out.
    #[must_use]
    pub fn new(kind: CandidateKind, addr: SocketAddr) -> Self {
        Self { kind, addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()) }
    }

    /// How many bytes [`encode`](Self::encode) appends.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self.addr {
            SocketAddr::V4(_) => 7,
            SocketAddr::V6(_) => 19,
        }
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self.addr.ip() {
            IpAddr::V4(ip) => {
                out.push(self.kind.value());
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(self.kind.value() | IPV6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&self.addr.port().to_be_bytes());
    }

    /// Reads one from the front of `bytes`, and returns it with what follows.
    ///
    /// # Errors
    /// It is not all there, or nobody can be at that address.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), CandidateError> {
        let (&first, rest) = bytes.split_first().ok_or(CandidateError::Truncated)?;
        if first & !KNOWN != 0 {
            return Err(CandidateError::Kind(first));
        }
        let kind = CandidateKind::ALL[usize::from(first & 0x03)];
        let (ip, rest) = if first & IPV6 == 0 {
            let (octets, rest) = rest.split_first_chunk::<4>().ok_or(CandidateError::Truncated)?;
            (IpAddr::from(Ipv4Addr::from(*octets)), rest)
        } else {
            let (octets, rest) = rest.split_first_chunk::<16>().ok_or(CandidateError::Truncated)?;
            (IpAddr::from(Ipv6Addr::from(*octets)), rest)
        };
        let (port, rest) = rest.split_first_chunk::<2>().ok_or(CandidateError::Truncated)?;
        let addr = SocketAddr::new(ip, u16::from_be_bytes(*port));
        if !is_somebody(addr) {
            return Err(CandidateError::Address(addr));
        }
        Ok((Self { kind, addr }, rest))
    }
}

/// `kind address`.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.addr)
    }
}

/// Whether a peer can be at that address at all, and it is written in the one form that it has.
fn is_somebody(addr: SocketAddr) -> bool {
    let somebody = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    };
    somebody && addr.port() != 0
}

/// What is not a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateError {
    /// It ends in the middle.
    Truncated,
    /// The first byte names no kind and family that we know.
    Kind(u8),
    /// Nobody can be there: port 0, multicast, broadcast, the unspecified address, IPv4 in IPv6 form.
    Address(SocketAddr),
}

impl fmt::Display for CandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a candidate that ends in the middle"),
            Self::Kind(value) => write!(f, "a candidate of unknown kind {value:#04x}"),
            Self::Address(addr) => write!(f, "a candidate where nobody can be: {addr}"),
        }
    }
}

impl std::error::Error for CandidateError {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    fn bytes_of(candidate: &Candidate) -> Vec<u8> {
        let mut out = Vec::new();
        candidate.encode(&mut out);
        out
    }

    #[test]
    fn a_candidate_is_seven_bytes_in_ipv4_and_nineteen_in_ipv6() {
        let four = Candidate::new(CandidateKind::Reflexive, "192.0.2.1:258".parse().unwrap());
        assert_eq!(bytes_of(&four), [1, 192, 0, 2, 1, 1, 2]);
        let six = Candidate::new(CandidateKind::Host, "[2001:db8::1]:9".parse().unwrap());
        assert_eq!((bytes_of(&six).len(), bytes_of(&six)[0]), (19, 0x10));
    }

    #[test]
    fn nobody_is_probed_where_nobody_can_be() {
        for nobody in
            ["192.0.2.1:0", "0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "[::]:9", "[ff02::1]:9"]
        {
            let addr = nobody.parse().unwrap();
            let bytes = bytes_of(&Candidate { kind: CandidateKind::Host, addr });
            assert_eq!(Candidate::decode(&bytes), Err(CandidateError::Address(addr)));
        }
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_told_as_ipv4_and_not_taken_otherwise() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:9".parse().unwrap();
        let candidate = Candidate::new(CandidateKind::Host, mapped);
        assert_eq!(candidate.addr, "192.0.2.1:9".parse().unwrap());
        let raw = bytes_of(&Candidate { kind: CandidateKind::Host, addr: mapped });
        assert_eq!(Candidate::decode(&raw), Err(CandidateError::Address(mapped)));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok((candidate, rest)) = Candidate::decode(&bytes) {
                let written = bytes_of(&candidate);
                prop_assert_eq!(written.len(), candidate.encoded_len());
                prop_assert_eq!([&written, rest].concat(), bytes);
            }
        }
    }
}
