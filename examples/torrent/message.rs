//! What BitTorrent peers say to each other (BEP 3): a handshake, then messages with a length in front.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::metainfo::invalid;

/// Pieces travel in blocks of that many bytes; larger requests are refused everywhere.
pub const BLOCK: u32 = 16 * 1024;

/// Every peer says something every two minutes, be it a keepalive. One that does not is gone: libtorrent ends a
/// connection with a single FIN, which may be lost.
const QUIET: Duration = Duration::from_secs(150);

/// Part of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub piece: u32,
    pub begin: u32,
    pub length: u32,
}

/// A message; what this example does not use is `Other`.
#[derive(Debug)]
pub enum Message {
    Choke,
    Unchoke,
    Interested,
    Have(u32),
    Bitfield(Vec<u8>),
    Request(Block),
    Piece { piece: u32, begin: u32, data: Vec<u8> },
    Other,
}

/// Both sides say which torrent they mean.
pub async fn handshake<S>(stream: &mut S, info_hash: [u8; 20]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
    let mut ours = Vec::with_capacity(68);
    ours.extend_from_slice(PROTOCOL);
    ours.extend_from_slice(&[0; 8]);
    ours.extend_from_slice(&info_hash);
    ours.extend_from_slice(b"-EB0001-");
    ours.extend_from_slice(format!("{:012}", std::process::id()).as_bytes());
    stream.write_all(&ours).await?;
    stream.flush().await?;

    let mut theirs = [0; 68];
    stream.read_exact(&mut theirs).await?;
    match (&theirs[..20] == PROTOCOL, theirs[28..48] == info_hash) {
        (true, true) => Ok(()),
        (true, false) => Err(invalid("the peer has another torrent")),
        (false, _) => Err(invalid("the peer does not speak BitTorrent")),
    }
}

/// Reads the next message, at most `limit` bytes; `None` where the peer has ended its direction. Silence is an error.
pub async fn read<S>(stream: &mut S, limit: u32) -> io::Result<Option<Message>>
where
    S: AsyncRead + Unpin,
{
    loop {
        let length = match timeout(QUIET, stream.read_u32()).await? {
            Ok(0) => continue, // a keepalive
            Ok(length) if length > limit => return Err(invalid(format!("a message of {length} bytes"))),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut body = vec![0; length as usize];
        timeout(QUIET, stream.read_exact(&mut body)).await??;
        return parse(body).ok_or_else(|| invalid("a message that is too short")).map(Some);
    }
}

fn parse(mut body: Vec<u8>) -> Option<Message> {
    let number = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    Some(match body.first()? {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        4 => Message::Have(number(1)?),
        5 => Message::Bitfield(body.split_off(1)),
        6 => Message::Request(Block { piece: number(1)?, begin: number(5)?, length: number(9)? }),
        7 => Message::Piece { piece: number(1)?, begin: number(5)?, data: body.split_off(9) },
        _ => Message::Other,
    })
}

/// Appends the message to `out`, so that several go into one write.
pub fn write(message: &Message, out: &mut Vec<u8>) {
    let (id, numbers, data): (u8, &[u32], &[u8]) = match message {
        Message::Choke => (0, &[], &[]),
        Message::Unchoke => (1, &[], &[]),
        Message::Interested => (2, &[], &[]),
        Message::Have(piece) => (4, &[*piece], &[]),
        Message::Bitfield(bits) => (5, &[], bits),
        Message::Request(block) => (6, &[block.piece, block.begin, block.length], &[]),
        Message::Piece { piece, begin, data } => (7, &[*piece, *begin], data),
        Message::Other => return,
    };
    let length = 1 + 4 * numbers.len() + data.len();
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.push(id);
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(data);
}
