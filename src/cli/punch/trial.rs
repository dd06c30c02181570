//! Bytes both ways over a stream, each followed by its hash, so that the other side can tell whether they arrived.
//!
//! Each side says how many it sends: 8 bytes, then so many, then 32 bytes of BLAKE3. Refuses to know where the stream
//! comes from.

use std::io;
use std::time::{Duration, Instant};

use ebbtide::UtpStream;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::failure::Failure;
use crate::quantity;

/// Bytes at once.
const PIECE: usize = 64 << 10;

/// The longest that a peer may announce.
const BYTES_MAX: u64 = 1 << 40;

/// How it went.
#[derive(Debug, Serialize)]
pub(crate) struct Trial {
    sent_bytes: u64,
    sent_secs: f64,
    received_bytes: u64,
    received_secs: f64,
    /// The longest time in which nothing came.
    longest_pause_secs: f64,
    /// How often the peer was followed to another address.
    migrations: u64,
    /// What came was what was sent.
    intact: bool,
}

impl Trial {
    /// One line for each direction in which something went.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let line = |verb: &str, bytes: u64, secs: f64| {
            let rate = quantity::bit_rate(quantity::goodput(bytes, secs));
            (bytes > 0).then(|| format!("{verb} {} in {secs:.2} s, {rate}", quantity::bytes(bytes)))
        };
        let sent = line("sent", self.sent_bytes, self.sent_secs);
        let received = line("received", self.received_bytes, self.received_secs);
        sent.into_iter().chain(received.map(|line| format!("{line}, and all of it was right")))
    }
}

/// Sends so many bytes, and takes what the other side sends.
pub(crate) async fn run(stream: &mut UtpStream, count: u64) -> Result<Trial, Failure> {
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let (sent, received) = tokio::join!(send(&mut writer, count), receive(&mut reader));
    let failed = |error: io::Error| Failure::io("transfer", &error);
    sent.map_err(failed)?;
    let received_secs = begun.elapsed().as_secs_f64();
    let Received { bytes: received_bytes, longest_pause, intact } = received.map_err(failed)?;
    stream.closed().await.map_err(failed)?;
    let sent_secs = begun.elapsed().as_secs_f64();
    if !intact {
        return Err(Failure::new("what arrived is not what was sent"));
    }
    let received_secs = received_secs.max(Duration::from_micros(1).as_secs_f64());
    Ok(Trial {
        sent_bytes: count,
        sent_secs,
        received_bytes,
        received_secs,
        longest_pause_secs: longest_pause.as_secs_f64(),
        migrations: stream.stats().migrations,
        intact,
    })
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), count: u64) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    stream.write_all(&count.to_be_bytes()).await?;
    let mut piece = vec![0; PIECE];
    let mut content = blake3::Hasher::new().update(b"ebbtide").finalize_xof();
    let mut left = count;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        content.fill(&mut piece[..len]);
        hasher.update(&piece[..len]);
        stream.write_all(&piece[..len]).await?;
        left -= len as u64;
    }
    stream.write_all(hasher.finalize().as_bytes()).await?;
    stream.shutdown().await
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    bytes: u64,
    longest_pause: Duration,
    /// It was right.
    intact: bool,
}

/// Takes what comes, and looks whether it is right.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let count = stream.read_u64().await?;
    if count > BYTES_MAX {
        return Err(io::Error::other("the other machine announces too much"));
    }
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut left = count;
    let (mut last, mut longest_pause) = (Instant::now(), Duration::ZERO);
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let read = stream.read(&mut piece[..len]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        longest_pause = longest_pause.max(last.elapsed());
        last = Instant::now();
        hasher.update(&piece[..read]);
        left -= read as u64;
    }
    let mut told = [0; 32];
    stream.read_exact(&mut told).await?;
    let intact = hasher.finalize() == blake3::Hash::from_bytes(told);
    Ok(Received { bytes: count, longest_pause, intact })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_what_is_received() {
        for count in [0, 1, 200_000] {
            let (mut near, mut far) = tokio::io::duplex(1000);
            let (sent, received) = tokio::join!(send(&mut near, count), receive(&mut far));
            sent.unwrap();
            let Received { bytes, intact, .. } = received.unwrap();
            assert_eq!((bytes, intact), (count, true));
        }
    }

    #[tokio::test]
    async fn a_wrong_byte_is_noticed() {
        let mut bytes = Vec::new();
        send(&mut bytes, 1000).await.unwrap();
        bytes[500] ^= 1;
        let Received { bytes: came, intact, .. } = receive(&mut &bytes[..]).await.unwrap();
        assert_eq!((came, intact), (1000, false));
        assert!(receive(&mut &bytes[..900]).await.is_err());
    }
}
