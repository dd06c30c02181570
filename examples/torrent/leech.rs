//! The taking side: keeps enough requests on their way to fill the line, and believes nothing without its SHA-1.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, SeekFrom};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::message::{self, BLOCK, Block, Message};
use super::metainfo::{Metainfo, invalid};

/// So many blocks are asked for before the first has come: 2 MiB, enough for 100 Mbit/s at 160 ms.
const PIPELINE: usize = 128;

/// How long the peer may take to leave once everything is here.
const FAREWELL: Duration = Duration::from_secs(10);

/// Takes the whole torrent from the peer at the other end of `stream`, into `content`. Returns the number of bytes.
pub async fn leech<S>(stream: S, torrent: &Metainfo, content: &mut File) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    message::handshake(&mut stream, torrent.info_hash).await?;

    let mut download = Download::new(torrent);
    let mut out = Vec::new();
    message::write(&Message::Interested, &mut out);
    while download.verified < torrent.piece_count() {
        download.request(&mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        let limit = (torrent.piece_count() / 8 + 16).max(BLOCK + 9);
        let Some(message) = message::read(&mut stream, limit).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if let Some((piece, data)) = download.take(message)? {
            content.seek(SeekFrom::Start(torrent.piece(piece).0)).await?;
            content.write_all(&data).await?;
            message::write(&Message::Have(piece), &mut out);
        }
    }
    content.flush().await?;
    // Everything is here: say so by ending our direction, and let the other side leave.
    stream.shutdown().await?;
    let left = async {
        while message::read(&mut stream, u32::from(u16::MAX)).await.is_ok_and(|message| message.is_some()) {}
    };
    tokio::time::timeout(FAREWELL, left).await.unwrap_or_default();
    Ok(torrent.length)
}

struct Download<'a> {
    torrent: &'a Metainfo,
    verified: u32,
    choked: bool,
    peer_has: Vec<bool>,
    wanted: VecDeque<Block>,
    /// On their way; at most `PIPELINE`.
    asked: Vec<Block>,
    /// Pieces of which some blocks are here, with the number of bytes; at most `PIPELINE` of them.
    partial: BTreeMap<u32, (Vec<u8>, u32)>,
}

impl<'a> Download<'a> {
    fn new(torrent: &'a Metainfo) -> Self {
        let blocks = |piece: u32| {
            let length = torrent.piece(piece).1;
            (0..length.div_ceil(BLOCK)).map(move |number| {
                let begin = number * BLOCK;
                Block { piece, begin, length: BLOCK.min(length - begin) }
            })
        };
        Self {
            torrent,
            verified: 0,
            choked: true,
            peer_has: vec![false; torrent.piece_count() as usize],
            wanted: (0..torrent.piece_count()).flat_map(blocks).collect(),
            asked: Vec::new(),
            partial: BTreeMap::new(),
        }
    }

    /// Asks for what the peer has, as far as the pipeline has room.
    fn request(&mut self, out: &mut Vec<u8>) {
        while !self.choked && self.asked.len() < PIPELINE {
            let has = |block: &Block| self.peer_has[block.piece as usize];
            let Some(block) = self.wanted.iter().position(has).and_then(|at| self.wanted.remove(at)) else {
                break;
            };
            message::write(&Message::Request(block), out);
            self.asked.push(block);
        }
    }

    /// Takes a message in; returns a piece when it is complete and right.
    fn take(&mut self, message: Message) -> io::Result<Option<(u32, Vec<u8>)>> {
        match message {
            Message::Choke => {
                // What was asked for will not come.
                self.choked = true;
                self.wanted.extend(self.asked.drain(..));
            }
            Message::Unchoke => self.choked = false,
            Message::Have(piece) => {
                *self
                    .peer_has
                    .get_mut(piece as usize)
                    .ok_or_else(|| invalid("a piece that does not exist"))? = true;
            }
            Message::Bitfield(bits) => {
                for (piece, has) in self.peer_has.iter_mut().enumerate() {
                    *has = bits.get(piece / 8).is_some_and(|byte| byte << (piece % 8) & 0x80 != 0);
                }
            }
            Message::Piece { piece, begin, data } => return self.take_block(piece, begin, &data),
            Message::Interested | Message::Request(_) | Message::Other => {}
        }
        Ok(None)
    }

    fn take_block(&mut self, piece: u32, begin: u32, data: &[u8]) -> io::Result<Option<(u32, Vec<u8>)>> {
        let block = Block { piece, begin, length: data.len() as u32 };
        let Some(at) = self.asked.iter().position(|asked| *asked == block) else {
            return Ok(None); // came after a choke, or nobody asked for it
        };
        self.asked.swap_remove(at);
        let length = self.torrent.piece(piece).1;
        let (bytes, filled) = self.partial.entry(piece).or_insert_with(|| (vec![0; length as usize], 0));
        bytes[begin as usize..begin as usize + data.len()].copy_from_slice(data);
        *filled += block.length;
        if *filled < length {
            return Ok(None);
        }
        let complete = self.partial.remove(&piece).map(|(bytes, _)| bytes).unwrap_or_default();
        if !self.torrent.verify(piece, &complete) {
            return Err(invalid(format!("piece {piece} is not what the torrent promises")));
        }
        self.verified += 1;
        Ok(Some((piece, complete)))
    }
}
