//! The giving side: answers requests until the peer leaves.

use std::io::{self, SeekFrom};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::message::{self, BLOCK, Block, Message};
use super::metainfo::{Metainfo, invalid};

/// Offers the whole of `content` to the peer at the other end of `stream`. Returns how many bytes it took.
pub async fn seed<S>(stream: S, torrent: &Metainfo, content: &mut File) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    message::handshake(&mut stream, torrent.info_hash).await?;

    let count = torrent.piece_count();
    let mut bits = vec![0; count.div_ceil(8) as usize];
    (0..count).for_each(|piece| bits[piece as usize / 8] |= 0x80 >> (piece % 8));
    let mut out = Vec::new();
    message::write(&Message::Bitfield(bits), &mut out);

    let mut given = 0;
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        match message::read(&mut stream, count.max(BLOCK)).await? {
            Some(Message::Interested) => message::write(&Message::Unchoke, &mut out),
            Some(Message::Request(block)) => {
                let data = read_block(torrent, content, block).await?;
                given += data.len() as u64;
                message::write(&Message::Piece { piece: block.piece, begin: block.begin, data }, &mut out);
            }
            Some(_) => {}
            None => break,
        }
    }
    stream.shutdown().await?;
    Ok(given)
}

async fn read_block(torrent: &Metainfo, content: &mut File, block: Block) -> io::Result<Vec<u8>> {
    let inside = block.piece < torrent.piece_count() && block.length <= BLOCK && {
        let (_, length) = torrent.piece(block.piece);
        block.begin.checked_add(block.length).is_some_and(|end| end <= length)
    };
    if !inside {
        return Err(invalid("the peer asks for something that does not exist"));
    }
    let mut data = vec![0; block.length as usize];
    content.seek(SeekFrom::Start(torrent.piece(block.piece).0 + u64::from(block.begin))).await?;
    content.read_exact(&mut data).await?;
    Ok(data)
}
