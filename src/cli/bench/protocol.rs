//! The header at the start of each stream of a measurement.
//!
//! Knows its bytes and bounds. Who sends it when is for client and server.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Holds the measurement together: ready, end, figures.
    Control,
    /// The client sends.
    Upload,
    /// The server sends.
    Download,
}

/// How much one stream carries: whichever ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// The header of a stream.
///
/// ```text
///   "EBBT" │ version │ role │ streams │ session │ bytes │ milliseconds
///      4        1       1        2         8        8          8         big endian
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) role: Role,
    /// Streams with data that belong to the session.
    pub(super) streams: u16,
    /// Chosen by the client; ties the streams together.
    pub(super) session: u64,
    pub(super) budget: Budget,
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; HELLO_LEN] {
        let mut out = [0; HELLO_LEN];
        out[..4].copy_from_slice(MAGIC);
        out[4] = VERSION;
        out[5] = match self.role {
            Role::Control => 0,
            Role::Upload => 1,
            Role::Download => 2,
        };
        out[6..8].copy_from_slice(&self.streams.to_be_bytes());
        out[8..16].copy_from_slice(&self.session.to_be_bytes());
        out[16..24].copy_from_slice(&self.budget.bytes.to_be_bytes());
        let millis = u64::try_from(self.budget.time.as_millis()).unwrap_or(u64::MAX);
        out[24..].copy_from_slice(&millis.to_be_bytes());
        out
    }

    /// # Errors
    /// `InvalidData` for whatever is not a header with sensible numbers.
    fn decode(bytes: &[u8; HELLO_LEN]) -> io::Result<Self> {
        let bad = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if !bytes.starts_with(MAGIC) {
            return bad("not a client of this program");
        }
        if bytes[4] != VERSION {
            return bad("a client of another version");
        }
        let role = match bytes[5] {
            0 => Role::Control,
            1 => Role::Upload,
            2 => Role::Download,
            _ => return bad("an unknown role"),
        };
        let streams = u16::from_be_bytes([bytes[6], bytes[7]]);
        if !(1..=STREAMS_MAX).contains(&streams) {
            return bad("an odd number of streams");
        }
        let time = Duration::from_millis(number(24));
        if time > TIME_MAX {
            return bad("an odd duration");
        }
        Ok(Self { role, streams, session: number(8), budget: Budget { bytes: number(16), time } })
    }

    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = [0; HELLO_LEN];
        stream.read_exact(&mut bytes).await?;
        Self::decode(&bytes)
    }
}

pub(super) const STREAMS_MAX: u16 = 128;
/// As long as anything may run: what the command line takes as a duration.
pub(super) const TIME_MAX: Duration = Duration::from_secs(1_000_000);
/// What the server says once it has taken its first readings.
pub(super) const READY: u8 = b'R';
const HELLO_LEN: usize = 32;
const MAGIC: &[u8; 4] = b"EBBT";
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let budget = Budget { bytes: u64::MAX, time: Duration::from_millis(1500) };
        Hello { role: Role::Download, streams: 3, session: 0x0102_0304_0506_0708, budget }
    }

    #[test]
    fn a_header_survives_the_way() {
        assert_eq!(Hello::decode(&hello().encode()).ok(), Some(hello()));
    }

    #[test]
    fn headers_out_of_bounds_are_refused() {
        for (at, value) in [(0, b'X'), (4, 9), (5, 3), (6, 1), (24, 1)] {
            let mut bytes = hello().encode();
            bytes[at] = value;
            assert!(Hello::decode(&bytes).is_err(), "byte {at}");
        }
        assert!(Hello::decode(&Hello { streams: 0, ..hello() }.encode()).is_err());
    }
}
