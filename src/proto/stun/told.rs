//! What a peer may be told about where we are.
//!
//! A private address means somebody else in another network: telling it gives away what the network looks like inside,
//! and makes the peer knock at strangers' doors.

use std::net::IpAddr;

use crate::proto::punch::NatReport;
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind};

impl NatReport {
    /// Where we may be found, as far as that is known: at our public addresses, at a port that a router forwards, and
    /// at these addresses within our network. Eight at most.
    #[must_use]
    pub fn candidates(&self, hosts: &[Candidate]) -> Vec<Candidate> {
        let seen = [self.public_v4.map(Into::into), self.public_v6.map(Into::into)];
        let seen = seen.into_iter().flatten().map(|addr| Candidate::new(CandidateKind::Reflexive, addr));
        let mapped = self.mapped.map(|addr| Candidate::new(CandidateKind::Mapped, addr));
        let mut candidates: Vec<Candidate> = Vec::new();
        for candidate in seen.chain(mapped).chain(hosts.iter().copied()) {
            let known = candidates.iter().any(|known| known.addr == candidate.addr);
            if !known && candidates.len() < CANDIDATES_MAX {
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// Those of the candidates that a peer with this public address may be told: all that are public, and those of our
    /// network if the peer is in it, which shows in the same public address (IPv6: the same /64).
    #[must_use]
    pub fn for_peer(&self, candidates: &[Candidate], peer: IpAddr) -> Vec<Candidate> {
        let ours = [
            self.public_v4.map(|addr| addr.ip().to_owned().into()),
            self.public_v6.map(|addr| (*addr.ip()).into()),
        ];
        let neighbours = ours.into_iter().flatten().any(|ours| is_same_network(ours, peer.to_canonical()));
        let told = |candidate: &&Candidate| neighbours || candidate.kind != CandidateKind::Host;
        candidates.iter().filter(told).copied().collect()
    }
}

fn is_same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn n05_an_address_of_our_network_is_told_to_those_in_it_only() {
        let report = NatReport {
            public_v4: Some("203.0.113.7:4000".parse().unwrap()),
            public_v6: Some("[2001:db8:1:2::7]:4000".parse().unwrap()),
            ..NatReport::default()
        };
        let host = Candidate::new(CandidateKind::Host, "10.0.0.2:4000".parse().unwrap());
        let all = report.candidates(&[host, host]);
        assert_eq!(all.len(), 3);
        for (peer, told) in [
            ("203.0.113.7", 3),
            ("::ffff:203.0.113.7", 3),
            ("203.0.113.8", 2),
            ("2001:db8:1:2:ffff::1", 3),
            ("2001:db8:1:3::7", 2),
        ] {
            let candidates = report.for_peer(&all, peer.parse().unwrap());
            assert_eq!(candidates.len(), told, "{peer}");
            assert_eq!(candidates.contains(&host), told == 3);
        }
    }

    #[test]
    fn a_public_address_that_we_have_ourselves_is_told_once() {
        let report =
            NatReport { public_v4: Some("203.0.113.7:4000".parse().unwrap()), ..NatReport::default() };
        let host = Candidate::new(CandidateKind::Host, "203.0.113.7:4000".parse().unwrap());
        let seen = Candidate { kind: CandidateKind::Reflexive, ..host };
        assert_eq!(report.candidates(&[host]), [seen]);
        let many: Vec<_> =
            (1..20).map(|port| Candidate::new(CandidateKind::Host, ([10, 0, 0, 1], port).into())).collect();
        assert_eq!(report.candidates(&many).len(), CANDIDATES_MAX);
    }
}
