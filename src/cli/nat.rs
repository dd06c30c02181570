//! `ebbtide nat`: what is in front of this machine, as STUN servers see it.
//!
//! Asks and shows; what the answers mean is for the crate.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use ebbtide::{Mapping, NatReport, UtpSocket};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;
use crate::quantity::parse_address;
use crate::transport::{close, resolve};

/// Find out under which public addresses the world sees this machine, and through what kind of NAT
///
/// Asks STUN servers from one UDP port, each on the port given and on the one above it, and compares what they see. One
/// server with both ports will do, two servers are surer. Every `ebbtide rendezvous` is such a server, and so is every
/// other STUN server. The exit code is 1 if nobody answers.
#[derive(Args)]
pub(crate) struct Options {
    /// A server to ask; up to four, of both IPv4 and IPv6 to know both
    #[arg(long = "server", short, value_name = "HOST:PORT", value_parser = parse_address, required = true, num_args = 1..=4)]
    servers: Vec<String>,
    /// The local address to ask from, instead of any
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    bind: Option<String>,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    /// Whether nobody answered.
    blocked: bool,
    ipv4: Family,
    ipv6: Family,
    /// Ports under which the one socket was seen.
    ports_seen: Vec<u16>,
    /// Where peers in the same network would find the socket.
    local: Vec<SocketAddr>,
}

#[derive(Serialize)]
struct Family {
    /// `none`, `endpoint-independent`, `endpoint-dependent`; absent if nobody can tell.
    nat: Option<&'static str>,
    public: Option<SocketAddr>,
    /// From one port to the next, if they are counted.
    step: Option<i16>,
    /// All ports lie within so many.
    block: Option<u16>,
}

impl Family {
    fn new(mapping: Mapping, public: Option<SocketAddr>) -> Self {
        let nat = match mapping {
            Mapping::Unknown => None,
            Mapping::None => Some("none"),
            Mapping::EndpointIndependent => Some("endpoint-independent"),
            Mapping::EndpointDependent { .. } => Some("endpoint-dependent"),
        };
        let (step, block) = match mapping {
            Mapping::EndpointDependent { step, block } => {
                (Some(step).filter(|&step| step != 0), Some(block).filter(|&block| block != 0))
            }
            _ => (None, None),
        };
        Self { nat, public, step, block }
    }
}

impl Outcome {
    fn new(report: &NatReport, local: Vec<SocketAddr>) -> Self {
        let mapping_v4 = report.public_v4.map_or(Mapping::Unknown, |_| report.mapping);
        Self {
            blocked: report.blocked,
            ipv4: Family::new(mapping_v4, report.public_v4.map(Into::into)),
            ipv6: Family::new(report.mapping_v6, report.public_v6.map(Into::into)),
            ports_seen: report.ports_seen.clone(),
            local,
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let mut servers = Vec::new();
    for server in &options.servers {
        servers.push(resolve(server).await?);
    }
    let socket = bind(options.bind.as_deref(), &servers).await?;
    let asked = socket.nat_report(&servers).await;
    let report = asked.map_err(|error| Failure::io(options.servers.join(", "), &error))?;
    let local = socket.host_candidates().iter().map(|candidate| candidate.addr).collect();
    let outcome = Outcome::new(&report, local);
    close(socket).await;
    if options.json {
        output::json(&outcome)?;
    } else if !report.blocked {
        output::table(&rows(&report, &outcome))?;
    }
    if report.blocked {
        let servers = options.servers.join(", ");
        return Err(Failure::new(format_args!(
            "no answer from {servers} within 3 s: is UDP blocked here, or is no STUN server there?"
        )));
    }
    Ok(())
}

/// A socket that reaches all servers, if the system has such.
async fn bind(local: Option<&str>, servers: &[SocketAddr]) -> Result<UtpSocket, Failure> {
    let failed = |error: io::Error| Failure::io("UDP socket", &error);
    if let Some(local) = local {
        let addr = resolve(local).await?;
        return UtpSocket::bind(addr)
            .await
            .map_err(|error| Failure::io(format_args!("bind {local}"), &error));
    }
    if servers.iter().any(SocketAddr::is_ipv6) {
        return UtpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into()).await.map_err(failed);
    }
    UtpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into()).await.map_err(failed)
}

fn rows(report: &NatReport, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    for (name, family, mapping) in
        [("IPv4", &outcome.ipv4, report.mapping), ("IPv6", &outcome.ipv6, report.mapping_v6)]
    {
        if let Some(public) = family.public {
            rows.push((name, format!("{public}, {}", in_words(mapping))));
        }
    }
    if report.ports_seen.len() > 1 {
        let ports: Vec<String> = report.ports_seen.iter().map(u16::to_string).collect();
        rows.push(("ports seen", ports.join(", ")));
    }
    let local: Vec<String> = outcome.local.iter().map(SocketAddr::to_string).collect();
    if !local.is_empty() {
        rows.push(("local", local.join(", ")));
    }
    rows.push(("so", verdict(report).to_owned()));
    rows
}

fn in_words(mapping: Mapping) -> String {
    match mapping {
        Mapping::Unknown => "an unknown kind of NAT: only one answer, name a second server".to_owned(),
        Mapping::EndpointDependent { step: 0, block: 0 } => format!("{mapping}, no pattern in its ports"),
        Mapping::EndpointDependent { step: 0, block } => {
            format!("{mapping}, ports within a block of {block}")
        }
        Mapping::EndpointDependent { step, .. } => format!("{mapping}, ports counted by {step}"),
        _ => mapping.to_string(),
    }
}

/// What it means for connections.
const fn verdict(report: &NatReport) -> &'static str {
    match report.mapping {
        Mapping::None => "peers reach this machine, unless a firewall is in the way; then punching opens it",
        Mapping::EndpointIndependent => "punching works with every peer",
        Mapping::EndpointDependent { .. } => {
            "punching works with peers that are not behind such a NAT too; it may take some seconds"
        }
        Mapping::Unknown => "punching works unless both sides are behind symmetric NATs",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_pattern_is_told_and_its_absence_left_out() {
        let hard = Family::new(Mapping::EndpointDependent { step: 2, block: 0 }, None);
        assert_eq!((hard.nat, hard.step, hard.block), (Some("endpoint-dependent"), Some(2), None));
        let mut report = NatReport::default();
        report.public_v6 = Some("[2001:db8::1]:9".parse().unwrap());
        (report.mapping, report.mapping_v6) = (Mapping::None, Mapping::None);
        let outcome = Outcome::new(&report, Vec::new());
        assert_eq!((outcome.ipv4.nat, outcome.ipv6.nat), (None, Some("none")));
        assert_eq!(rows(&report, &outcome)[0], ("IPv6", "[2001:db8::1]:9, no NAT".to_owned()));
    }
}
