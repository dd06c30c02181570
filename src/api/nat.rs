//! Where a socket is, as others see it: its public addresses, and what is in front of it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use super::socket::UtpSocket;
use super::whereabouts;
use crate::proto::endpoint::Surveying;
use crate::proto::punch::NatReport;
use crate::time::Instant;
use crate::wire::Candidate;

/// Where the socket is, as others see it.
impl UtpSocket {
    /// Asks a STUN server (RFC 8489) from this very port, and returns the address by which it sees us; IPv4 as IPv4.
    ///
    /// Every server that answers Binding requests will do, and so does every socket of this crate that
    /// [serves STUN](Self::serve_stun). It is believed.
    ///
    /// # Errors
    /// With a [`StunError`](crate::StunError) as source: [`TimedOut`](io::ErrorKind::TimedOut) after three seconds,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), [`InvalidData`](io::ErrorKind::InvalidData),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for an address that this socket does not reach,
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) with more than 32 questions at once,
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: dropping it takes the question back.
    pub async fn reflect(&self, server: SocketAddr) -> io::Result<SocketAddr> {
        let mut asked = self.shared().reflect(None, server);
        Ok(poll_fn(|cx| asked.poll(cx)).await?)
    }

    /// Finds out what is in front of this socket: asks up to four servers, each on the port given and on the one above
    /// it, and compares what they see.
    ///
    /// One server with two ports will do, two servers are surer; name servers of both families to know both. If nobody
    /// answers within three seconds, the report says that UDP is [blocked](NatReport::blocked).
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) without a server; what [`reflect`](Self::reflect) reports if
    /// nobody answers for another reason than silence.
    ///
    /// # Cancel safety
    /// Safe: dropping it takes the questions back.
    pub async fn nat_report(&self, servers: &[SocketAddr]) -> io::Result<NatReport> {
        if servers.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no server to ask"));
        }
        let locals = whereabouts::sources(self.local_addrs(), servers);
        let begun = tokio::time::Instant::now();
        let mut surveying = self.shared().survey(Instant::ZERO, servers);
        let report = loop {
            let patience = surveying.deadline();
            let news = poll_fn(|cx| poll_survey(&mut surveying, cx, begun.elapsed(), &locals, patience));
            // Without patience, every question has an end of its own.
            let heard = match patience {
                Some(at) => {
                    tokio::time::timeout_at(begun + at.since(Instant::ZERO), news).await.ok().flatten()
                }
                None => news.await,
            };
            if let Some(report) = heard {
                break report;
            }
        };
        match surveying.failure() {
            Some(failure) if !report.blocked => Err(failure.into()),
            _ => Ok(report),
        }
    }

    /// Whether this socket answers STUN Binding requests (at first it does not): so others can ask it where they are.
    ///
    /// Requests of 44 bytes, such as this crate sends, get no more bytes than they brought; shorter ones get an answer
    /// at most ten times a second per network (IPv4 /24, IPv6 /56).
    pub fn serve_stun(&self, serve: bool) {
        self.shared().serve_stun(serve);
    }

    /// The addresses at which peers in the same network may find this socket: the one it is bound to, or else for each
    /// family the one that the system would use. Not those that mean something on this machine or cable only.
    ///
    /// For peers behind the same public address; see [`NatReport::for_peer`].
    #[must_use]
    pub fn host_candidates(&self) -> Vec<Candidate> {
        whereabouts::host_candidates(self.local_addrs())
    }
}

/// Ready with the report, or without one if there is another time now until which to wait.
fn poll_survey(
    surveying: &mut Surveying,
    cx: &mut Context<'_>,
    elapsed: Duration,
    locals: &[SocketAddr],
    patience: Option<Instant>,
) -> Poll<Option<NatReport>> {
    match surveying.poll(cx, Instant::ZERO + elapsed, locals) {
        Poll::Ready(report) => Poll::Ready(Some(report)),
        Poll::Pending if surveying.deadline() != patience => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::wire::{CandidateKind, Mapping};
    use crate::{Config, MemoryHub, StunError};

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A socket in memory, driven.
    fn socket(hub: &MemoryHub, local: &[&str]) -> UtpSocket {
        let transports: Vec<_> = local.iter().map(|local| hub.attach(addr(local)).unwrap()).collect();
        let (socket, driver) = UtpSocket::over_all(transports, Config::default()).unwrap();
        tokio::spawn(driver.run());
        socket
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_learns_where_it_is_from_another_one() {
        let hub = MemoryHub::new();
        let (server, client) = (socket(&hub, &["10.0.0.1:1"]), socket(&hub, &["10.0.0.2:7"]));
        let silent = client.reflect(addr("10.0.0.1:1")).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        let reason = silent.get_ref().and_then(|error| error.downcast_ref::<StunError>());
        assert_eq!(reason, Some(&StunError::Timeout));
        server.serve_stun(true);
        assert_eq!(client.reflect(addr("10.0.0.1:1")).await.unwrap(), addr("10.0.0.2:7"));
        let six = client.reflect(addr("[2001:db8::1]:1")).await.unwrap_err();
        assert_eq!(six.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test(start_paused = true)]
    async fn two_ports_of_one_server_tell_that_there_is_no_nat() {
        let hub = MemoryHub::new();
        let client = socket(&hub, &["10.0.0.2:7"]);
        let server = socket(&hub, &["10.0.0.1:1", "10.0.0.1:2"]);
        server.serve_stun(true);
        // Until its driver has read that.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        let report = client.nat_report(&[addr("10.0.0.1:1")]).await.unwrap();
        assert_eq!((report.mapping, report.blocked), (Mapping::None, false));
        assert_eq!(report.public_v4, Some("10.0.0.2:7".parse().unwrap()));
        assert!(begun.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn ports_that_nobody_serves_do_not_keep_the_report_for_long_and_silence_means_blocked() {
        let hub = MemoryHub::new();
        let client = socket(&hub, &["10.0.0.2:7"]);
        let servers = [socket(&hub, &["10.0.0.1:1"]), socket(&hub, &["10.0.0.3:1"])];
        let addrs = [addr("10.0.0.1:1"), addr("10.0.0.3:1")];
        let begun = tokio::time::Instant::now();
        assert!(client.nat_report(&addrs).await.unwrap().blocked);
        assert!(begun.elapsed() >= Duration::from_secs(3));
        servers.iter().for_each(|server| server.serve_stun(true));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(client.nat_report(&addrs).await.unwrap().mapping, Mapping::None);
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
        let none = client.nat_report(&[]).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
        let six = client.nat_report(&[addr("[2001:db8::1]:1")]).await.unwrap_err();
        assert_eq!(six.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn what_means_something_on_this_machine_only_is_told_to_nobody() {
        let hub = MemoryHub::new();
        let socket =
            socket(&hub, &["127.0.0.1:1", "10.0.0.9:1", "169.254.0.1:1", "[fe80::1]:1", "[2001:db8::9]:1"]);
        let told: Vec<_> = socket.host_candidates().iter().map(|candidate| candidate.addr).collect();
        assert_eq!(told, [addr("10.0.0.9:1"), addr("[2001:db8::9]:1")]);
        assert!(socket.host_candidates().iter().all(|candidate| candidate.kind == CandidateKind::Host));
    }
}
