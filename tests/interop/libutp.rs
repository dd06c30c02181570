//! Our streams and libutp's: both roles, both kinds of close, over clean loopback and through a bad relay.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ebbtide::{Config, Incoming, UtpListener, UtpSocket, UtpStream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pattern;
use crate::peer::{Need, Peer, is_installed};
use crate::relay::{Link, Relay};
use crate::table::{Row, conclude};

const MIB: u64 = 1 << 20;
/// How long one transfer may take.
const LIMIT: Duration = Duration::from_secs(100);

/// Who ends its direction first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// Both send at once; the peer ends first, we when we have seen that.
    Peer,
    /// We send and end our direction; only then the peer sends, on a stream that is closed on our side.
    Us,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Connects,
    /// Connects while as many connections are half-open as may be, so that its SYN is answered by a cookie.
    ConnectsInARush,
    Listens,
}

#[tokio::test(flavor = "multi_thread")]
async fn libutp_and_we_exchange_files() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut rows = Vec::new();
    for (link, name) in [(None, "clean"), (Some(Link::LOSSY), "lossy")] {
        for role in [Role::Connects, Role::Listens] {
            for first in [First::Peer, First::Us] {
                let began = Instant::now();
                let result = tokio::time::timeout(LIMIT, transfer(role, link, first, 64 * MIB)).await;
                let result = result.unwrap_or_else(|_| Err(format!("not done in {LIMIT:?}")));
                rows.push(Row {
                    peer: "libutp",
                    role: format!("{role:?}").to_lowercase(),
                    link: name,
                    close: if first == First::Peer { "peer first" } else { "we first" },
                    bytes: 128 * MIB,
                    elapsed: began.elapsed(),
                    resent: *result.as_ref().unwrap_or(&0),
                    result: result.map(|_| ()),
                });
            }
        }
    }
    conclude(&rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_libutp_gets_in_by_a_cookie() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    for link in [None, Some(Link::LOSSY)] {
        let result =
            tokio::time::timeout(LIMIT, transfer(Role::ConnectsInARush, link, First::Us, 2 * MIB)).await;
        assert!(matches!(result, Ok(Ok(_))), "{result:?}");
    }
}

/// A connection with libutp, ready to use. The relay, if there is one, goes with it.
struct Meeting {
    peer: Peer,
    socket: UtpSocket,
    stream: UtpStream,
    relay: Option<Relay>,
}

async fn meet(role: Role, link: Option<Link>, options: &[&str]) -> Result<Meeting, String> {
    let text = |error: io::Error| error.to_string();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = match role {
        Role::ConnectsInARush => Config::default().half_open(1),
        _ => Config::default(),
    };
    let socket = UtpSocket::bind_with(local, config).await.map_err(text)?;
    let relay = |far| link.map(|link| Relay::start(far, link, 11, 0)).transpose().map_err(text);
    match role {
        Role::Listens => {
            let mut peer = Peer::libutp(&[&["listen"], options].concat()).map_err(text)?;
            let port = peer.wait_for("listening", Duration::from_secs(10)).await?.port;
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let relay = relay(addr)?;
            let stream = socket.connect(relay.as_ref().map_or(addr, Relay::addr)).await.map_err(text)?;
            Ok(Meeting { peer, socket, stream, relay })
        }
        Role::Connects | Role::ConnectsInARush => {
            let addr = socket.local_addr();
            let relay = relay(addr)?;
            let port = relay.as_ref().map_or(addr, Relay::addr).port().to_string();
            let listener = socket.listen();
            let rush = match role {
                Role::ConnectsInARush => Some(half_open(&listener).await.map_err(text)?),
                _ => None,
            };
            let peer = Peer::libutp(&[&["connect", &port], options].concat()).map_err(text)?;
            let incoming = listener.incoming().await.map_err(text)?;
            assert_eq!(incoming.is_proved(), rush.is_some());
            let stream = incoming.accept();
            Ok(Meeting { peer, socket, stream, relay })
        }
    }
}

/// Somebody who sends a SYN and nothing more, undecided.
async fn half_open(listener: &UtpListener) -> io::Result<Incoming> {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut syn = [0; 20];
    (syn[0], syn[17]) = (0x41, 1);
    stranger.send_to(&syn, listener.local_addr())?;
    listener.incoming().await
}

/// Sends and receives `bytes`, checks both sides' hashes, and returns how many packets we sent again.
async fn transfer(role: Role, link: Option<Link>, first: First, bytes: u64) -> Result<u64, String> {
    let close = if first == First::Peer { "first" } else { "last" };
    let options = ["--send", &bytes.to_string(), "--close", close];
    let Meeting { mut peer, socket, mut stream, relay } = meet(role, link, &options).await?;

    let (received, hash) = exchange(&mut stream, bytes, first).await.map_err(|error| error.to_string())?;
    let theirs = peer.wait_for("done", LIMIT).await?;
    stream.closed().await.map_err(|error| format!("closed: {error}"))?;
    let resent = stream.stats().packets_retransmitted;
    drop(stream);
    socket.close().await;
    if let Some(relay) = relay {
        eprintln!("libutp {role:?} {first:?}: {:?}", relay.counts());
    }

    let expected = (bytes, pattern::sha256(bytes));
    if (received, hash) != expected {
        return Err(format!("we received {received} bytes, or the wrong ones"));
    }
    if (theirs.received, theirs.sha256) != expected {
        return Err(format!("libutp received {} bytes, or the wrong ones", theirs.received));
    }
    Ok(resent)
}

async fn exchange(stream: &mut UtpStream, bytes: u64, first: First) -> io::Result<(u64, String)> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let receive = async {
        let (mut hash, mut received, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match reading.read(&mut chunk).await? {
                0 => return Ok::<_, io::Error>((received, pattern::hex(&hash.finalize()))),
                len => {
                    hash.update(&chunk[..len]);
                    received += len as u64;
                }
            }
        }
    };
    let send = async {
        let mut chunk = vec![0; 1 << 16];
        for from in (0..bytes).step_by(chunk.len()) {
            let len = chunk.len().min((bytes - from) as usize);
            pattern::fill(from, &mut chunk[..len]);
            writing.write_all(&chunk[..len]).await?;
        }
        if first == First::Us {
            writing.shutdown().await?;
        }
        Ok(())
    };
    let (received, ()) = tokio::try_join!(receive, send)?;
    writing.shutdown().await?;
    Ok(received)
}

#[tokio::test(flavor = "multi_thread")]
async fn libutp_takes_our_reset() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    for role in [Role::Connects, Role::Listens] {
        // A peer in the midst of sending gets a RESET for each packet, and libutp never lets go of a connection that was
        // reset twice within half a second. So this waits until nothing is on its way.
        let mut meeting = meet(role, None, &["--send", "1", "--close", "last"]).await.unwrap();
        meeting.stream.write_all(b"proof that we are here").await.unwrap();
        meeting.stream.read_exact(&mut [0]).await.unwrap();
        while meeting.stream.stats().bytes_in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        meeting.stream.abort();
        let error = meeting.peer.wait_for("done", LIMIT).await.unwrap_err();
        assert!(error.contains("ECONNRESET"), "{role:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_libutp_peers_share_our_port() {
    if !is_installed(Need::Libutp) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let socket = UtpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let listener = socket.listen();
    let port = socket.local_addr().port().to_string();
    let options = ["connect", &port, "--send", "1000000", "--close", "first"];
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::libutp(&options).unwrap()).collect();
    let mut served = tokio::task::JoinSet::new();
    for _ in &peers {
        let (mut stream, _) = tokio::time::timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
        served.spawn(async move { exchange(&mut stream, 1_000_000, First::Peer).await.unwrap() });
    }
    let expected = (1_000_000, pattern::sha256(1_000_000));
    for received in tokio::time::timeout(LIMIT, served.join_all()).await.unwrap() {
        assert_eq!(received, expected);
    }
    for peer in &mut peers {
        let theirs = peer.wait_for("done", LIMIT).await.unwrap();
        assert_eq!((theirs.received, theirs.sha256), expected);
    }
}
