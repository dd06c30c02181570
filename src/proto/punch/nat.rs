//! What is known about the NAT in front of somebody, in words.
//!
//! How it is found out is not known here, nor what follows from it.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::wire::{Candidate, CandidateKind, Filtering, Mapping, NatClass};

/// Ours: ports that a report keeps; three reflections tell a pattern.
const PORTS_SEEN_MAX: usize = 4;

/// What is known about the NAT in front of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatReport {
    /// How ports are chosen; for IPv6 if there is no IPv4.
    pub mapping: Mapping,
    /// How ports are chosen for IPv6.
    pub mapping_v6: Mapping,
    /// Who is let in.
    pub filtering: Filtering,
    /// The address by which the world sees it, in IPv4.
    pub public_v4: Option<SocketAddrV4>,
    /// The address by which the world sees it, in IPv6.
    pub public_v6: Option<SocketAddrV6>,
    /// A port that a router forwards.
    pub mapped: Option<SocketAddr>,
    /// Under which ports the same socket was seen, at most four.
    pub ports_seen: Vec<u16>,
    /// Nobody who was asked for the address answered.
    pub blocked: bool,
}

impl NatReport {
    /// What a peer tells about itself, and what its candidates tell.
    #[must_use]
    pub fn of_peer(class: NatClass, candidates: &[Candidate]) -> Self {
        let mut report = Self::from(class);
        for candidate in candidates {
            match (candidate.kind, candidate.addr) {
                (CandidateKind::Reflexive, SocketAddr::V4(addr)) => {
                    report.public_v4.get_or_insert(addr);
                    report.saw_port(addr.port());
                }
                (CandidateKind::Reflexive, SocketAddr::V6(addr)) => {
                    report.public_v6.get_or_insert(addr);
                }
                (CandidateKind::Mapped, addr) => {
                    report.mapped.get_or_insert(addr);
                }
                _ => {}
            }
        }
        report
    }

    /// Notes a port under which the socket was seen, if there is room for it.
    pub fn saw_port(&mut self, port: u16) {
        if self.ports_seen.len() < PORTS_SEEN_MAX && !self.ports_seen.contains(&port) {
            self.ports_seen.push(port);
        }
    }

    /// What a peer is to be told of it.
    #[must_use]
    pub const fn class(&self) -> NatClass {
        NatClass { mapping: self.mapping, filtering: self.filtering, blocked: self.blocked }
    }
}

impl From<NatClass> for NatReport {
    fn from(class: NatClass) -> Self {
        let NatClass { mapping, filtering, blocked } = class;
        Self { mapping, filtering, blocked, ..Self::default() }
    }
}

/// One phrase: "a symmetric NAT (3 ports seen: 1201, 1202, 1203)".
impl fmt::Display for NatReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blocked {
            return f.write_str("no UDP at all");
        }
        self.mapping.fmt(f)?;
        if let (Mapping::EndpointDependent { .. }, [_, _, ..]) = (self.mapping, &self.ports_seen[..]) {
            let ports: Vec<String> = self.ports_seen.iter().map(u16::to_string).collect();
            write!(f, " ({} ports seen: {})", ports.len(), ports.join(", "))?;
        }
        if let Some(mapped) = self.mapped {
            write!(f, " that forwards {mapped}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_report_says_in_words_what_is_in_the_way() {
        let hard = NatClass::new(Mapping::EndpointDependent { step: 0, block: 0 });
        let seen = |text: &str| Candidate::new(CandidateKind::Reflexive, text.parse().unwrap());
        let report = NatReport::of_peer(hard, &[seen("192.0.2.1:1201"), seen("192.0.2.1:1300")]);
        assert_eq!(report.to_string(), "a symmetric NAT (2 ports seen: 1201, 1300)");
        assert_eq!(NatReport::from(NatClass::new(Mapping::None)).to_string(), "no NAT");
        let blocked = NatReport { blocked: true, ..NatReport::default() };
        assert_eq!((blocked.to_string(), blocked.class().blocked), ("no UDP at all".into(), true));
    }

    #[test]
    fn a_report_keeps_four_ports() {
        let mut report = NatReport::default();
        (1..9).for_each(|port| report.saw_port(port));
        report.saw_port(1);
        assert_eq!(report.ports_seen, [1, 2, 3, 4]);
    }
}
