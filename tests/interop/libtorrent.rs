//! The examples' BitTorrent peer over our streams, and libtorrent: seeding and leeching, calling and being called.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use ebbtide::wire::Kind;
use ebbtide::{UtpSocket, UtpStream};
use tokio::fs::File;

use crate::pattern;
use crate::peer::{Need, Peer, is_installed};
use crate::relay::{Link, Relay};
use crate::table::{Row, conclude};
use crate::torrent::metainfo::Metainfo;
use crate::torrent::{leech, seed};
use crate::torrents::{self, Torrent};

const BYTES: u64 = 64 << 20;
/// libtorrent sends its FIN once (measured): it keeps packets with payload only for another time. Who loses that one
/// can wait for ever.
const LOSSY: Link = Link { spares: is_fin, ..Link::LOSSY };

fn is_fin(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first == (Kind::Fin as u8) << 4 | 1)
}

/// How long one transfer may take.
const LIMIT: Duration = Duration::from_secs(100);

/// What libtorrent does; we do the other thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Seeds,
    Leeches,
}

#[tokio::test(flavor = "multi_thread")]
async fn libtorrent_and_we_exchange_torrents() {
    if !is_installed(Need::Libtorrent) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut rows = Vec::new();
    for (link, name) in [(None, "clean"), (Some(LOSSY), "lossy")] {
        for part in [Part::Seeds, Part::Leeches] {
            for connects in [true, false] {
                let torrent = torrents::make(BYTES).await;
                let began = Instant::now();
                let result = tokio::time::timeout(LIMIT, transfer(&torrent, part, connects, link)).await;
                let result = result.unwrap_or_else(|_| Err(format!("not done in {LIMIT:?}")));
                let verb = if connects { "connects" } else { "listens" };
                rows.push(Row {
                    peer: "libtorrent",
                    role: format!("{verb}, {part:?}").to_lowercase(),
                    link: name,
                    close: if part == Part::Seeds { "we first" } else { "peer first" },
                    bytes: BYTES,
                    elapsed: result.as_ref().map_or_else(|_| began.elapsed(), |(_, elapsed)| *elapsed),
                    resent: result.as_ref().map_or(0, |(resent, _)| *resent),
                    result: result.map(|_| ()),
                });
            }
        }
    }
    conclude(&rows);
}

async fn transfer(
    torrent: &Torrent,
    part: Part,
    connects: bool,
    link: Option<Link>,
) -> Result<(u64, Duration), String> {
    let text = |error: io::Error| error.to_string();
    let socket = UtpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(text)?;
    let (verb, folder, ours) = match part {
        Part::Seeds => ("seed", torrent.seed_dir(), torrent.leech_dir()),
        Part::Leeches => ("leech", torrent.leech_dir(), torrent.seed_dir()),
    };
    let relay = |far| link.map(|link| Relay::start(far, link, 5, 0)).transpose().map_err(text);
    let (mut peer, stream, relay) = if connects {
        let addr = socket.local_addr();
        let relay = relay(addr)?;
        let port = relay.as_ref().map_or(addr, Relay::addr).port().to_string();
        let listener = socket.listen();
        let peer = Peer::libtorrent(&[verb, folder, "--connect", &port]).map_err(text)?;
        let (stream, _) = listener.accept().await.map_err(text)?;
        (peer, stream, relay)
    } else {
        let mut peer = Peer::libtorrent(&[verb, folder]).map_err(text)?;
        let port = peer.wait_for("listening", Duration::from_secs(20)).await?.port;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let relay = relay(addr)?;
        let stream = socket.connect(relay.as_ref().map_or(addr, Relay::addr)).await.map_err(text)?;
        (peer, stream, relay)
    };

    let began = Instant::now();
    let resent = our_part(stream, part, Path::new(ours)).await.map_err(text)?;
    let elapsed = began.elapsed();
    let theirs = peer.wait_for("done", LIMIT).await?;
    socket.close().await;
    if let Some(relay) = relay {
        eprintln!("libtorrent {part:?} {connects}: {:?}", relay.counts());
    }
    let copy = std::fs::read(Path::new(torrent.leech_dir()).join("content.bin")).map_err(text)?;
    match theirs.sha256 == pattern::sha256(BYTES) && pattern::is_all(&copy, BYTES) {
        true => Ok((resent, elapsed)),
        false => Err("the copy differs".into()),
    }
}

/// Seeds if libtorrent leeches, and the other way round. Returns how many packets we sent again.
async fn our_part(mut stream: UtpStream, part: Part, folder: &Path) -> io::Result<u64> {
    let torrent = Metainfo::parse(&std::fs::read(folder.join("content.torrent"))?)?;
    let content = folder.join("content.bin");
    let moved = match part {
        Part::Leeches => seed::seed(&mut stream, &torrent, &mut File::open(content).await?).await?,
        Part::Seeds => leech::leech(&mut stream, &torrent, &mut File::create(content).await?).await?,
    };
    if moved < BYTES {
        return Err(io::Error::other(format!("only {moved} bytes")));
    }
    Ok(stream.stats().packets_retransmitted)
}
