//! Which addresses may be told to whom.
//!
//! A server that named any address that a client claims could be used to make others scan or flood a stranger. So it
//! names those at which it has seen the client, and others only where they can hurt nobody but the two themselves.

use std::net::{IpAddr, SocketAddr};

use super::stats::ServerStats;
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind};

/// RFC 6335: below are the system ports, where services listen that react badly to strange packets, and no NAT that
/// behaves puts anybody.
const PORT_MIN: u16 = 1024;

/// Where an address means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// On one machine.
    Loopback,
    /// On one cable.
    Link,
    /// In one private network.
    Private,
    /// Everywhere.
    Global,
}

impl Scope {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            // RFC 6598: what carriers use behind their NATs.
            IpAddr::V4(ip) if ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]) => Self::Private,
            IpAddr::V6(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Private,
            _ => Self::Global,
        }
    }
}

/// What is known about where somebody is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whereabouts<'a> {
    /// Where the server has seen him, first of all the stream on which he talks. Never empty.
    pub(super) seen: &'a [SocketAddr],
    /// What he claims.
    pub(super) claimed: &'a [Candidate],
    /// He does not want to be known.
    pub(super) hidden: bool,
}

/// What `to` is told about where `who` is.
pub(super) fn candidates(
    who: &Whereabouts<'_>,
    to: &Whereabouts<'_>,
    mixed_scopes: bool,
    stats: &mut ServerStats,
) -> Vec<Candidate> {
    let mut told: Vec<Candidate> = Vec::new();
    if who.hidden {
        return told;
    }
    let seen = who.seen.iter().map(|addr| Candidate::new(CandidateKind::Reflexive, *addr));
    let reachable = |ip: IpAddr| mixed_scopes || is_reachable(ip, to.seen);
    for candidate in seen.clone().filter(|seen| reachable(seen.addr.ip())) {
        add(&mut told, candidate, stats);
    }
    let neighbours = are_neighbours(who.seen, to.seen);
    for candidate in who.claimed {
        let ip = candidate.addr.ip();
        let is_here = who.seen.iter().any(|seen| seen.ip() == ip);
        let is_local = candidate.kind == CandidateKind::Host
            && match Scope::of(ip) {
                Scope::Private => neighbours,
                // Within their own network nobody else is hurt.
                Scope::Global => neighbours && who.seen.iter().any(|seen| same_network(seen.ip(), ip)),
                Scope::Loopback | Scope::Link => false,
            };
        if is_local || (is_here && reachable(ip)) {
            add(&mut told, *candidate, stats);
        } else if candidate.kind != CandidateKind::Host && !is_here {
            stats.candidates_foreign += 1;
        }
    }
    told
}

fn add(told: &mut Vec<Candidate>, candidate: Candidate, stats: &mut ServerStats) {
    if candidate.addr.port() < PORT_MIN {
        stats.candidates_low_port += 1;
    } else if told.len() < CANDIDATES_MAX && told.iter().all(|known| known.addr != candidate.addr) {
        told.push(candidate);
    }
}

/// Whether somebody whom we have seen there can have a way to that address: an address that means something only
/// within a network would mean somebody else in another one.
fn is_reachable(ip: IpAddr, from: &[SocketAddr]) -> bool {
    let scope = Scope::of(ip);
    scope == Scope::Global || from.iter().any(|seen| Scope::of(seen.ip()) == scope)
}

/// Whether they look as if they were in the same network: behind the same IPv4 address, or in the same IPv6 /64.
fn are_neighbours(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    one.iter().any(|one| other.iter().any(|other| same_network(one.ip(), other.ip())))
}

fn same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn claimed(texts: &[(CandidateKind, &str)]) -> Vec<Candidate> {
        texts.iter().map(|(kind, text)| Candidate::new(*kind, text.parse().unwrap())).collect()
    }

    /// What the one at `to` is told of somebody who was seen, and claims.
    fn told(seen: &[&str], claims: &[(CandidateKind, &str)], to: &[&str]) -> (Vec<String>, ServerStats) {
        let (seen, claims, to) = (addrs(seen), claimed(claims), addrs(to));
        let mut stats = ServerStats::default();
        let who = Whereabouts { seen: &seen, claimed: &claims, hidden: false };
        let to = Whereabouts { seen: &to, claimed: &[], hidden: false };
        let told = candidates(&who, &to, false, &mut stats);
        (told.iter().map(ToString::to_string).collect(), stats)
    }

    use CandidateKind::{Host, Mapped, PeerReflexive, Reflexive};

    #[test]
    fn n05_an_address_at_which_nobody_was_seen_is_not_passed_on() {
        let claims = [
            (Reflexive, "198.51.100.9:6881"),
            (Mapped, "198.51.100.9:6882"),
            (PeerReflexive, "198.51.100.9:6883"),
            (Host, "198.51.100.9:6884"),
            (Host, "127.0.0.1:6885"),
            (Host, "169.254.1.1:6886"),
            (Host, "[fe80::1]:6887"),
            (Host, "10.0.0.1:6888"),
        ];
        let (list, stats) = told(&["192.0.2.1:4000"], &claims, &["203.0.113.1:5000"]);
        assert_eq!(list, ["reflexive 192.0.2.1:4000"]);
        assert_eq!(stats.candidates_foreign, 3);
        eprintln!("n05 bound=0 foreign addresses passed on measured={}", list.len() - 1);
    }

    #[test]
    fn other_ports_of_an_address_at_which_he_was_seen_are() {
        let claims = [(Mapped, "192.0.2.1:6881"), (Reflexive, "192.0.2.1:4001"), (Mapped, "192.0.2.1:80")];
        let (list, stats) = told(&["192.0.2.1:4000"], &claims, &["203.0.113.1:5000"]);
        assert_eq!(list, ["reflexive 192.0.2.1:4000", "mapped 192.0.2.1:6881", "reflexive 192.0.2.1:4001"]);
        assert_eq!(stats.candidates_low_port, 1);
    }

    #[test]
    fn n12_addresses_of_a_local_network_stay_in_it() {
        let claims = [(Host, "192.168.1.7:6881"), (Host, "[2001:db8:0:1::7]:6881")];
        let seen = ["192.0.2.1:4000", "[2001:db8:0:1::1]:4000"];
        assert_eq!(told(&seen, &claims, &["192.0.2.1:4100"]).0.len(), 4, "behind the same address");
        let apart = told(&seen, &claims, &["192.0.2.2:4100"]).0;
        assert_eq!(apart, ["reflexive 192.0.2.1:4000", "reflexive [2001:db8:0:1::1]:4000"]);
        assert_eq!(told(&seen, &claims, &["[2001:db8:0:1::9]:4100"]).0.len(), 4, "in the same /64");
        assert_eq!(told(&seen, &claims, &["[2001:db8:0:2::9]:4100"]).0.len(), 2);
        eprintln!("n12 bound=0 private addresses passed on measured=0");
    }

    #[test]
    fn an_address_that_means_somebody_else_elsewhere_stays_where_it_means_something() {
        assert_eq!(told(&["10.0.0.5:4000"], &[], &["203.0.113.1:5000"]).0.len(), 0);
        assert_eq!(told(&["10.0.0.5:4000"], &[], &["10.9.9.9:5000"]).0.len(), 1);
        assert_eq!(told(&["127.0.0.1:4000"], &[], &["10.9.9.9:5000"]).0.len(), 0);
        assert_eq!(told(&["127.0.0.1:4000"], &[], &["127.0.0.1:5000"]).0.len(), 1);
        assert_eq!(told(&["203.0.113.1:4000"], &[], &["10.9.9.9:5000"]).0.len(), 1);
    }

    #[test]
    fn nobody_gets_more_than_eight_and_none_twice() {
        let texts: Vec<String> = (0..20).map(|n| format!("192.0.2.1:{}", 5000 + n / 2)).collect();
        let claims: Vec<_> = texts.iter().map(|text| (Mapped, &text[..])).collect();
        let (list, _) = told(&["192.0.2.1:5000"], &claims, &["203.0.113.1:5000"]);
        assert_eq!(list.len(), CANDIDATES_MAX);
        assert_eq!(list.iter().filter(|text| text.ends_with(":5001")).count(), 1);
    }
}
