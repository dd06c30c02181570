//! Where sockets are, as far as this machine knows: the addresses that their datagrams carry when they leave.

use std::net::{IpAddr, SocketAddr};

use crate::net::{FAR_AWAY, source_towards};
use crate::wire::{Candidate, CandidateKind};

/// The addresses at which peers in the same network may find sockets bound to `locals`. Not those that mean something on
/// this machine or cable only.
pub(super) fn host_candidates(locals: &[SocketAddr]) -> Vec<Candidate> {
    let sources = sources(locals, &FAR_AWAY).into_iter().filter(|addr| is_of_use(addr.ip()));
    sources.map(|addr| Candidate::new(CandidateKind::Host, addr)).collect()
}

/// The addresses that datagrams from sockets bound to `locals` to these servers carry when they leave.
pub(super) fn sources(locals: &[SocketAddr], servers: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut sources = Vec::new();
    for local in locals {
        if !local.ip().is_unspecified() {
            sources.push(SocketAddr::new(local.ip().to_canonical(), local.port()));
            continue;
        }
        // One that is bound to `[::]` mostly carries IPv4 too, and if not, nobody sees it in IPv4.
        let reached = servers.iter().filter(|server| local.is_ipv6() || server.is_ipv4());
        for ip in reached.filter_map(|server| source_towards(*server)) {
            sources.push(SocketAddr::new(ip, local.port()));
        }
    }
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// Whether an address means something beyond this machine and this cable.
fn is_of_use(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified() && !ip.is_multicast()
        }
        IpAddr::V6(ip) => {
            !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified() && !ip.is_multicast()
        }
    }
}
