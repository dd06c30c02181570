//! How a punch went, and why it failed, in words.
//!
//! Knows no packet: numbers come in, sentences go out.

use std::fmt;
use std::io;
use std::time::Duration;

use super::NatReport;
use crate::wire::Candidate;

/// What kind of way was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PathKind {
    /// Within one network.
    Lan,
    /// IPv6, from end to end.
    Ipv6,
    /// IPv4, at an address that the peer had named.
    Ipv4,
    /// IPv4, at an address that only its packets told.
    PeerReflexive,
    /// IPv4, at a port that was searched for.
    Birthday,
    /// Through somebody who forwards.
    Relayed,
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lan => "local network",
            Self::Ipv6 => "IPv6",
            Self::Ipv4 => "IPv4",
            Self::PeerReflexive => "IPv4, at an unannounced port",
            Self::Birthday => "IPv4, at a port that was searched for",
            Self::Relayed => "through a relay",
        })
    }
}

/// How a punch went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PunchReport {
    /// What we are behind.
    pub local: NatReport,
    /// What the peer is behind.
    pub remote: NatReport,
    /// Where the peer was looked for: what it had named, and what its packets told.
    pub candidates: Vec<Candidate>,
    /// Probes sent, those included that were to open our NAT only.
    pub probes_sent: u32,
    /// The peer's probes that arrived.
    pub probes_seen: u32,
    /// Answers to our probes that arrived.
    pub acks_seen: u32,
    /// How often it was begun: 1, or 2 with a fresh socket.
    pub attempts: u32,
    /// From the beginning until now, or until the end.
    pub elapsed: Duration,
    /// The kind of way that was found.
    pub path: Option<PathKind>,
    /// The shortest round trip of a probe on that way.
    pub rtt: Option<Duration>,
}

/// Several lines, for a person.
impl fmt::Display for PunchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path {
            Some(path) => write!(f, "found a way in {} ms: {path}", self.elapsed.as_millis())?,
            None => write!(f, "no way found in {} ms", self.elapsed.as_millis())?,
        }
        if let Some(rtt) = self.rtt {
            write!(f, ", round trip {:.1} ms", rtt.as_secs_f64() * 1000.0)?;
        }
        write!(f, "\nyou: {}, peer: {}", self.local, self.remote)?;
        write!(
            f,
            "\nprobes: {} sent, {} answered, {} of the peer's seen",
            self.probes_sent, self.acks_seen, self.probes_seen
        )?;
        if self.attempts > 1 {
            write!(f, ", in {} attempts", self.attempts)?;
        }
        for candidate in &self.candidates {
            write!(f, "\n  peer at {candidate}")?;
        }
        Ok(())
    }
}

/// Why two peers did not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PunchError {
    /// Whoever was to bring the two together did not.
    Rendezvous {
        /// What went wrong there.
        why: String,
        /// How far it came.
        report: Box<PunchReport>,
    },
    /// The peer is not where it was to be met.
    PeerNotFound(Box<PunchReport>),
    /// The peer does not want to.
    PeerRefused(Box<PunchReport>),
    /// UDP does not get through: on one side to nobody, or between the two not at all, although both were there.
    UdpBlocked(Box<PunchReport>),
    /// Both NATs choose ports that nobody can know.
    BothSymmetric(Box<PunchReport>),
    /// No packet there and back in time.
    Timeout(Box<PunchReport>),
    /// At that address is a uTP peer that cannot do this.
    Vanilla(Box<PunchReport>),
    /// None of the peer's addresses may be probed, or can be from here.
    NoCandidates(Box<PunchReport>),
    /// The endpoint has as many attempts under way as it takes.
    TooMany(Box<PunchReport>),
    /// That attempt has been made: a session is good for one.
    SessionUsed(Box<PunchReport>),
    /// This endpoint does without extensions ([`Config::extensions`](crate::Config::extensions)), and so without this.
    SwitchedOff(Box<PunchReport>),
    /// This endpoint speaks another dialect than the one that is needed for this
    /// ([`Config::dialect`](crate::Config::dialect)).
    OtherDialect(Box<PunchReport>),
    /// It was given up, or the socket was closed.
    Cancelled(Box<PunchReport>),
}

impl PunchError {
    /// How it went.
    #[must_use]
    pub fn report(&self) -> &PunchReport {
        match self {
            Self::Rendezvous { report, .. }
            | Self::PeerNotFound(report)
            | Self::PeerRefused(report)
            | Self::UdpBlocked(report)
            | Self::BothSymmetric(report)
            | Self::Timeout(report)
            | Self::Vanilla(report)
            | Self::NoCandidates(report)
            | Self::TooMany(report)
            | Self::SessionUsed(report)
            | Self::SwitchedOff(report)
            | Self::OtherDialect(report)
            | Self::Cancelled(report) => report,
        }
    }

    /// The kind that a socket would report for it.
    #[must_use]
    pub const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Rendezvous { .. } => io::ErrorKind::Other,
            Self::PeerNotFound(_) | Self::NoCandidates(_) => io::ErrorKind::AddrNotAvailable,
            Self::PeerRefused(_) => io::ErrorKind::ConnectionRefused,
            Self::UdpBlocked(_) | Self::BothSymmetric(_) => io::ErrorKind::HostUnreachable,
            Self::Timeout(_) => io::ErrorKind::TimedOut,
            Self::Vanilla(_) | Self::SwitchedOff(_) | Self::OtherDialect(_) => io::ErrorKind::Unsupported,
            Self::TooMany(_) => io::ErrorKind::QuotaExceeded,
            Self::SessionUsed(_) => io::ErrorKind::AlreadyExists,
            Self::Cancelled(_) => io::ErrorKind::ConnectionAborted,
        }
    }
}

/// One sentence, with both kinds of NAT in it.
impl fmt::Display for PunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report();
        match self {
            Self::Rendezvous { why, .. } => return write!(f, "the peers were not brought together: {why}"),
            Self::PeerNotFound(_) => return f.write_str("the peer is not there"),
            Self::PeerRefused(_) => return f.write_str("the peer refused to connect"),
            Self::NoCandidates(_) => {
                return f.write_str("the peer named no address that may be probed from here");
            }
            Self::TooMany(_) => return f.write_str("too many attempts to meet peers are under way"),
            Self::SessionUsed(_) => return f.write_str("this attempt has been made already"),
            Self::SwitchedOff(_) => return f.write_str("this socket was told to do without extensions"),
            Self::OtherDialect(_) => return f.write_str("this socket speaks another dialect of uTP"),
            Self::Cancelled(_) => return f.write_str("the attempt was given up"),
            Self::UdpBlocked(_) => f.write_str("no direct path: UDP is blocked")?,
            Self::BothSymmetric(_) => f.write_str("no direct path")?,
            Self::Vanilla(_) => f.write_str("no direct path: the peer's uTP knows no hole punching")?,
            Self::Timeout(_) => f.write_str(match (report.probes_seen, report.acks_seen) {
                (0, 0) => "no direct path: nothing came from the peer",
                (_, 0) => "no direct path: packets arrive one way only",
                _ => "no direct path: packets arrive, but the connection did not open in time",
            })?,
        }
        write!(f, ": you: {}, peer: {}", report.local, report.remote)?;
        if matches!(self, Self::Vanilla(_)) {
            return Ok(());
        }
        f.write_str("; enable port mapping on either side, use IPv6, or configure a relay")
    }
}

impl std::error::Error for PunchError {}

impl From<PunchError> for io::Error {
    fn from(error: PunchError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Mapping, NatClass};

    fn hard() -> NatReport {
        NatReport::from(NatClass::new(Mapping::EndpointDependent { step: 0, block: 0 }))
    }

    #[test]
    fn an_error_names_both_kinds_of_nat_and_what_helps() {
        let mut report = PunchReport { local: hard(), remote: hard(), ..PunchReport::default() };
        report.local.ports_seen = vec![1201, 1202, 1203];
        let text = PunchError::BothSymmetric(Box::new(report)).to_string();
        let expected = "no direct path: you: a symmetric NAT (3 ports seen: 1201, 1202, 1203), peer: a symmetric NAT; \
                        enable port mapping on either side, use IPv6, or configure a relay";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_timeout_tells_blocked_from_one_way() {
        let blocked = PunchReport::default();
        let one_way = PunchReport { probes_seen: 3, ..PunchReport::default() };
        assert!(PunchError::Timeout(Box::new(blocked)).to_string().contains("nothing came"));
        assert!(PunchError::Timeout(Box::new(one_way)).to_string().contains("one way only"));
    }

    #[test]
    fn a_report_is_readable() {
        let report = PunchReport {
            path: Some(PathKind::Birthday),
            rtt: Some(Duration::from_micros(20_500)),
            elapsed: Duration::from_millis(2100),
            probes_sent: 400,
            attempts: 1,
            ..PunchReport::default()
        };
        let text = report.to_string();
        assert!(text.starts_with(
            "found a way in 2100 ms: IPv4, at a port that was searched for, round trip 20.5 ms"
        ));
    }
}
