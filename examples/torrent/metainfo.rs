//! What a .torrent file says (BEP 3): how long the content is, and the SHA-1 of each piece.

use std::io;

use serde::Deserialize;
use sha1::{Digest, Sha1};

/// A torrent of one file.
#[derive(Debug)]
pub struct Metainfo {
    /// The SHA-1 of the `info` dictionary: the name under which peers know the torrent.
    pub info_hash: [u8; 20],
    /// Bytes of the content.
    pub length: u64,
    piece_length: u32,
    pieces: Vec<u8>,
}

#[derive(Deserialize)]
struct Info {
    length: Option<u64>,
    #[serde(rename = "piece length")]
    piece_length: u32,
    #[serde(with = "serde_bytes")]
    pieces: Vec<u8>,
}

impl Metainfo {
    /// Reads a .torrent file.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let torrent: bt_bencode::Value = bt_bencode::from_slice(bytes).map_err(invalid)?;
        let info = torrent.get("info").ok_or_else(|| invalid("a torrent without an info dictionary"))?;
        let raw = bt_bencode::to_vec(info).map_err(invalid)?;
        // The hash is over the bytes as they stand in the file; keys in the wrong order would change on the way.
        if !bytes.windows(raw.len()).any(|window| window == raw) {
            return Err(invalid("the info dictionary is not in canonical order"));
        }
        let info: Info = bt_bencode::from_value(info.clone()).map_err(invalid)?;
        let length =
            info.length.ok_or_else(|| invalid("torrents of several files are beyond this example"))?;
        let torrent = Self {
            info_hash: Sha1::digest(&raw).into(),
            length,
            piece_length: info.piece_length,
            pieces: info.pieces,
        };
        let expected = length.div_ceil(u64::from(torrent.piece_length.max(1))) * 20;
        if torrent.piece_length == 0 || torrent.pieces.len() as u64 != expected {
            return Err(invalid("the number of pieces does not fit the length"));
        }
        Ok(torrent)
    }

    /// How many pieces there are.
    pub fn piece_count(&self) -> u32 {
        (self.pieces.len() / 20) as u32
    }

    /// Where a piece begins in the content, and how long it is (the last one may be shorter).
    pub fn piece(&self, index: u32) -> (u64, u32) {
        let from = u64::from(index) * u64::from(self.piece_length);
        (from, u64::from(self.piece_length).min(self.length - from) as u32)
    }

    /// Whether these are the bytes of that piece.
    pub fn verify(&self, index: u32, data: &[u8]) -> bool {
        let at = index as usize * 20;
        Sha1::digest(data)[..] == self.pieces[at..at + 20]
    }
}

/// An error about what somebody sent or wrote.
pub fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
