//! A whole packet: header, extensions, payload.
//!
//! Checks once that the bytes are a packet, so that nobody above has to look again. Refuses to know whether the
//! packet belongs to anybody.

use std::fmt;

use bytes::BufMut;

use super::header::NotUtp;
use super::{Extensions, HEADER_LEN, Header};

/// A packet, borrowed from the datagram it came in or from the buffers it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The first twenty bytes.
    pub header: Header,
    /// What lies between header and payload.
    pub extensions: Extensions<'a>,
    /// The rest.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a datagram apart: copies only the header, allocates nothing, looks at each extension once and at the
    /// payload not at all.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotUtp`] if this cannot be meant for us, [`DecodeError::Truncated`] if it can but the
    /// extensions run past the end.
    #[inline]
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((header, rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::NotUtp(NotUtp::Short(datagram.len() as u8)));
        };
        let (header, first_extension) = Header::read(header).map_err(DecodeError::NotUtp)?;
        if first_extension == 0 {
            return Ok(Self { header, extensions: Extensions::EMPTY, payload: rest });
        }
        let (extensions, payload) = Extensions::split(first_extension, rest)?;
        Ok(Self { header, extensions, payload })
    }

    /// How many bytes [`encode`](Self::encode) writes.
    #[inline]
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN + self.extensions.encoded_len() + self.payload.len()
    }

    /// Writes the packet; a decoded one comes out byte for byte as it went in.
    ///
    /// # Panics
    ///
    /// If `out` has no room for [`encoded_len`](Self::encoded_len) bytes.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) {
        let mut header = [0; HEADER_LEN];
        self.header.write(self.extensions.first_id(), &mut header);
        out.put_slice(&header);
        if !self.extensions.is_empty() {
            out.put_slice(self.extensions.as_bytes());
        }
        out.put_slice(self.payload);
    }
}

/// Why a datagram is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Not uTP at all: it belongs to whoever else uses the port.
    NotUtp(NotUtp),
    /// Looks like uTP, but its extensions run past the end of the datagram.
    Truncated,
}

impl DecodeError {
    /// Whether the datagram is uTP, only malformed; otherwise it belongs to somebody else.
    #[must_use]
    pub const fn is_utp(self) -> bool {
        matches!(self, Self::Truncated)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtp(why) => write!(f, "not uTP: {why}"),
            Self::Truncated => f.write_str("malformed uTP: the extensions run past the end of the datagram"),
        }
    }
}

impl std::error::Error for DecodeError {}
