//! Our streams in the dialect of utp-punch, and the package itself: both roles, who ends first, through a bad relay.
//!
//! What is not asked of it, because it cannot do it: to go on after our end (it ends its own side at once), and to repeat
//! its own end once both sides have ended (on Node 14 and later it forgets the connection then; whoever has not got its end
//! by that time gets a RESET). So over the bad relay it is always the one that ends first.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ebbtide::{Config, Dialect, UtpSocket, UtpStream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pattern;
use crate::peer::{Need, Peer, is_installed};
use crate::relay::{Link, Relay};
use crate::table::{Row, conclude};

const BYTES: u64 = 50_000_000;
/// Over the bad relay, where it sends everything again every 100 ms.
const BYTES_LOSSY: u64 = 2_000_000;
/// How long one transfer may take.
const LIMIT: Duration = Duration::from_secs(100);

/// What the peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Connects,
    Listens,
}

fn config() -> Config {
    Config::default().dialect(Dialect::UtpPunch)
}

fn text(error: io::Error) -> String {
    error.to_string()
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn utp_punch_and_we_exchange_files() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut rows = Vec::new();
    let cases = [
        ("clean", None, BYTES, "first"),
        ("clean", None, BYTES, "last"),
        ("lossy", Some(Link { spared: 0, ..Link::LOSSY }), BYTES_LOSSY, "first"),
    ];
    for (name, link, bytes, close) in cases {
        for role in [Role::Connects, Role::Listens] {
            for (there, back) in [(bytes, 0), (0, bytes), (bytes / 2, bytes / 2)] {
                let began = Instant::now();
                let result = tokio::time::timeout(LIMIT, transfer(role, link, close, there, back)).await;
                let result = result.unwrap_or_else(|_| Err(format!("not done in {LIMIT:?}")));
                let way = match (there, back) {
                    (_, 0) => "receives",
                    (0, _) => "sends",
                    _ => "both",
                };
                rows.push(Row {
                    peer: "utp-punch",
                    role: format!("{role:?}, {way}").to_lowercase(),
                    link: name,
                    close: if close == "first" { "peer first" } else { "we first" },
                    bytes: there + back,
                    elapsed: began.elapsed(),
                    resent: *result.as_ref().unwrap_or(&0),
                    result: result.map(|_| ()),
                });
            }
        }
    }
    conclude(&rows);
}

/// A connection with utp-punch. The relay, if there is one, goes with it.
struct Meeting {
    peer: Peer,
    socket: UtpSocket,
    stream: UtpStream,
    _relay: Option<Relay>,
}

async fn meet(role: Role, link: Option<Link>, options: &[&str]) -> Result<Meeting, String> {
    let socket = UtpSocket::bind_with(local(0), config()).await.map_err(text)?;
    let relay = |far| link.map(|link| Relay::start(far, link, 17, 0)).transpose().map_err(text);
    match role {
        Role::Listens => {
            let mut peer = Peer::utp_punch(&[&["listen"], options].concat()).map_err(text)?;
            let addr = local(peer.wait_for("listening", Duration::from_secs(10)).await?.port);
            let relay = relay(addr)?;
            let stream = socket.connect(relay.as_ref().map_or(addr, Relay::addr)).await.map_err(text)?;
            Ok(Meeting { peer, socket, stream, _relay: relay })
        }
        Role::Connects => {
            let relay = relay(socket.local_addr())?;
            let addr = relay.as_ref().map_or_else(|| socket.local_addr(), Relay::addr);
            let listener = socket.listen();
            let port = addr.port().to_string();
            let peer = Peer::utp_punch(&[&["connect", &port], options].concat()).map_err(text)?;
            let (stream, _) = listener.accept().await.map_err(text)?;
            Ok(Meeting { peer, socket, stream, _relay: relay })
        }
    }
}

/// Sends and receives so many bytes, checks both sides' hashes, and returns how many packets we sent again.
async fn transfer(role: Role, link: Option<Link>, close: &str, there: u64, back: u64) -> Result<u64, String> {
    let [send, receive] = [back, there].map(|bytes| bytes.to_string());
    let options = ["--send", &send, "--receive", &receive, "--close", close];
    let Meeting { mut peer, socket, mut stream, _relay } = meet(role, link, &options).await?;
    let hash = exchange(&mut stream, there, back, close == "first").await.map_err(text)?;
    let theirs = peer.wait_for("done", LIMIT).await?;
    stream.closed().await.map_err(|error| format!("closed: {error}"))?;
    let resent = stream.stats().packets_retransmitted;
    drop(stream);
    socket.close().await;
    if hash != pattern::sha256(back) {
        return Err("we received the wrong bytes".into());
    }
    if (theirs.received, &theirs.sha256) != (there, &pattern::sha256(there)) {
        return Err(format!("utp-punch received {} bytes, or the wrong ones", theirs.received));
    }
    Ok(resent)
}

/// Both ways at once. Ends our direction when the peer has ended its own, or as soon as we have everything.
async fn exchange(stream: &mut UtpStream, there: u64, back: u64, peer_first: bool) -> io::Result<String> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut hash = Sha256::new();
    let receive = async {
        let (mut left, mut chunk) = (back, vec![0; 1 << 16]);
        while left > 0 {
            match reading.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => {
                    hash.update(&chunk[..len]);
                    left = left.checked_sub(len as u64).ok_or(io::ErrorKind::InvalidData)?;
                }
            }
        }
        Ok::<_, io::Error>(())
    };
    let send = async {
        let mut chunk = vec![0; 1 << 16];
        for from in (0..there).step_by(chunk.len()) {
            let len = chunk.len().min((there - from) as usize);
            pattern::fill(from, &mut chunk[..len]);
            writing.write_all(&chunk[..len]).await?;
        }
        writing.flush().await
    };
    tokio::try_join!(receive, send)?;
    if peer_first {
        at_end(&mut reading).await?;
    }
    writing.shutdown().await?;
    at_end(&mut reading).await?;
    Ok(pattern::hex(&hash.finalize()))
}

async fn at_end(reading: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    match reading.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more than was to come")),
    }
}
