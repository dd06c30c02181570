//! The command line of both programs: `FILE.torrent CONTENT listen|connect ADDRESS`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::metainfo::Metainfo;

/// What to exchange, and with whom.
pub struct Args {
    pub torrent: Metainfo,
    pub content: PathBuf,
    pub side: Side,
}

/// Who calls whom.
pub enum Side {
    /// Wait for peers at this address.
    Listen(SocketAddr),
    /// Call the peer at this address.
    Connect(SocketAddr),
}

/// Reads the arguments and the .torrent file.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Args, String> {
    let args: Vec<String> = args.collect();
    let [torrent, content, side, addr] = args.as_slice() else {
        return Err("expected: FILE.torrent CONTENT listen|connect ADDRESS".into());
    };
    let addr =
        addr.parse().map_err(|error| format!("{addr}: {error}, expected something like 127.0.0.1:6881"))?;
    let side = match side.as_str() {
        "listen" => Side::Listen(addr),
        "connect" => Side::Connect(addr),
        other => return Err(format!("{other}: expected listen or connect")),
    };
    let bytes = std::fs::read(torrent).map_err(|error| format!("{torrent}: {error}"))?;
    let torrent = Metainfo::parse(&bytes).map_err(|error| format!("{torrent}: {error}"))?;
    Ok(Args { torrent, content: content.into(), side })
}
