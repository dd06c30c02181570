//! Typed messages over a byte stream: a kind and a payload, framed for any [`AsyncRead`] and [`AsyncWrite`].
//!
//! ```text
//!   ┌──────┬────────────────────┬──────────┐
//!   │ kind │ length, big endian │ payload …│
//!   │  u8  │        u32         │          │
//!   └──────┴────────────────────┴──────────┘
//! ```
//!
//! The transport below is anything that moves bytes in order: a [`UtpStream`](crate::UtpStream), TCP, TLS, a pipe. A
//! packet goes down as one write, and its length is checked before memory is set aside for it.
//!
//! ```
//! use ebbtide::packet::{Packet, PacketCodec};
//! use futures_util::{SinkExt, StreamExt};
//! use tokio_util::codec::Framed;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = tokio::io::duplex(4096);
//! let mut here = Framed::new(here, PacketCodec::new());
//! let mut there = Framed::new(there, PacketCodec::new());
//! here.send(Packet::new(7, "ping")).await?;
//! let packet = there.next().await.ok_or("the end")??;
//! assert_eq!((packet.kind, &packet.payload[..]), (7, &b"ping"[..]));
//! # Ok(()) }
//! ```
//!
//! [`AsyncRead`]: tokio::io::AsyncRead
//! [`AsyncWrite`]: tokio::io::AsyncWrite

use std::fmt;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// A message with a kind that the application gives a meaning to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Packet {
    /// What it is about.
    pub kind: u8,
    /// What it says; may be empty.
    pub payload: Bytes,
}

impl Packet {
    /// A packet of that kind.
    #[must_use]
    pub fn new(kind: u8, payload: impl Into<Bytes>) -> Self {
        Self { kind, payload: payload.into() }
    }
}

/// Bytes before the payload.
pub(crate) const HEAD: usize = 5;

/// Turns packets into bytes and back, for [`Framed`](tokio_util::codec::Framed).
///
/// A packet over the limit is refused on both sides: by the sender before anything is written, by the receiver as
/// soon as its length is known. A stream that has failed once cannot be trusted any more and says so again.
#[derive(Clone, Debug)]
pub struct PacketCodec {
    max_payload: usize,
    /// The length that was refused: what follows has no beginning.
    failed: Option<usize>,
}

impl Default for PacketCodec {
    fn default() -> Self {
        Self::new()
    }
}

impl PacketCodec {
    /// Bytes of payload that a packet may have by default: 1 MiB.
    pub const MAX_PAYLOAD: usize = 1 << 20;

    /// A codec that takes payloads of up to [`MAX_PAYLOAD`](Self::MAX_PAYLOAD).
    #[must_use]
    pub const fn new() -> Self {
        Self::with_max_payload(Self::MAX_PAYLOAD)
    }

    /// A codec that takes payloads of up to so many bytes; at most 4,294,967,295, which is what the length can say.
    #[must_use]
    pub const fn with_max_payload(bytes: usize) -> Self {
        let most = u32::MAX as usize;
        Self { max_payload: if bytes < most { bytes } else { most }, failed: None }
    }

    /// The limit, bytes.
    #[must_use]
    pub const fn max_payload(&self) -> usize {
        self.max_payload
    }
}

/// Why packets cannot be had from a stream, or put into it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// The payload is longer than the codec takes.
    TooLong {
        /// Bytes of the payload.
        len: usize,
        /// What the codec takes.
        max: usize,
    },
    /// The stream ended within a packet.
    Truncated,
    /// The stream below failed.
    Io(io::Error),
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => write!(f, "a packet of {len} bytes where {max} are allowed"),
            Self::Truncated => f.write_str("the stream ended within a packet"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PacketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for PacketError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PacketError> for io::Error {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Io(error) => error,
            PacketError::TooLong { .. } => Self::new(io::ErrorKind::InvalidData, error),
            PacketError::Truncated => Self::new(io::ErrorKind::UnexpectedEof, error),
        }
    }
}

impl Encoder<Packet> for PacketCodec {
    type Error = PacketError;

    fn encode(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), PacketError> {
        let len = packet.payload.len();
        let head = u32::try_from(len).ok().filter(|_| len <= self.max_payload);
        let Some(head) = head else { return Err(PacketError::TooLong { len, max: self.max_payload }) };
        out.reserve(HEAD + len);
        out.put_u8(packet.kind);
        out.put_u32(head);
        out.put_slice(&packet.payload);
        Ok(())
    }
}

impl Decoder for PacketCodec {
    type Item = Packet;
    type Error = PacketError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, PacketError> {
        let max = self.max_payload;
        if let Some(len) = self.failed {
            return Err(PacketError::TooLong { len, max });
        }
        let Some(&[kind, a, b, c, d]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        // A length that no usize holds is too long as well.
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if len > max {
            self.failed = Some(len);
            return Err(PacketError::TooLong { len, max });
        }
        if bytes.len() < HEAD + len {
            bytes.reserve(HEAD + len - bytes.len());
            return Ok(None);
        }
        bytes.advance(HEAD);
        Ok(Some(Packet { kind, payload: bytes.split_to(len).freeze() }))
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, PacketError> {
        match self.decode(bytes)? {
            None if !bytes.is_empty() => Err(PacketError::Truncated),
            packet => Ok(packet),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn encoded(packets: &[Packet]) -> BytesMut {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| PacketCodec::new().encode(packet.clone(), &mut bytes).unwrap());
        bytes
    }

    #[test]
    fn packets_come_out_as_they_went_in_whatever_the_pieces() {
        let packets = [Packet::new(0, ""), Packet::new(255, vec![1; 300]), Packet::new(7, "abc")];
        let bytes = encoded(&packets);
        assert_eq!(bytes[..5], [0, 0, 0, 0, 0]);
        assert_eq!(bytes[5..10], [255, 0, 0, 1, 44]);
        for size in 1..40 {
            let (mut codec, mut buffer, mut seen) = (PacketCodec::new(), BytesMut::new(), Vec::new());
            for piece in bytes.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some(packet) = codec.decode(&mut buffer).unwrap() {
                    seen.push(packet);
                }
            }
            assert_eq!(seen, packets);
            assert!(codec.decode_eof(&mut buffer).unwrap().is_none());
        }
    }

    /// A2: nine bytes made a reader set aside what they said, two gigabytes or a negative number of bytes.
    #[test]
    fn a2_a_length_is_checked_before_memory_is_set_aside() {
        let mut codec = PacketCodec::with_max_payload(1000);
        let mut bytes = BytesMut::from(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0][..]);
        let before = bytes.capacity();
        assert!(matches!(codec.decode(&mut bytes), Err(PacketError::TooLong { max: 1000, .. })));
        assert_eq!(bytes.capacity(), before);
        assert!(matches!(codec.decode(&mut BytesMut::new()), Err(PacketError::TooLong { .. })), "for ever");
        let mut exact = BytesMut::from(&[1, 0, 0, 0x03, 0xE8][..]);
        assert!(PacketCodec::with_max_payload(1000).decode(&mut exact).unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_is_not_sent_at_all() {
        let (mut codec, mut out) = (PacketCodec::with_max_payload(3), BytesMut::new());
        assert!(matches!(
            codec.encode(Packet::new(1, "four"), &mut out),
            Err(PacketError::TooLong { len: 4, max: 3 })
        ));
        assert!(out.is_empty());
        codec.encode(Packet::new(1, "334"), &mut out).unwrap();
        assert_eq!(out.len(), 8);
    }

    #[test]
    fn an_end_within_a_packet_is_an_error_and_no_end() {
        let mut bytes = encoded(&[Packet::new(1, "whole"), Packet::new(2, "half")]);
        bytes.truncate(bytes.len() - 1);
        let mut codec = PacketCodec::new();
        assert_eq!(codec.decode_eof(&mut bytes).unwrap(), Some(Packet::new(1, "whole")));
        let error = codec.decode_eof(&mut bytes).unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
    }
}
