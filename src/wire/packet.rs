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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where its packet does not decode")]
mod tests {
    use super::*;
    use crate::wire::{ConnId, Delay, ExtensionsBuf, Kind, Sack, SeqNr, Timestamp};

    fn header(kind: Kind) -> Header {
        Header {
            kind,
            conn_id: ConnId::new(65_535),
            sent_at: Timestamp::new(0xFFFF_FFF0),
            delay: Delay::new(0x7FFF_FFFF),
            window: 1_048_576,
            seq: SeqNr::new(65_535),
            ack: SeqNr::new(0),
        }
    }

    fn encoded(packet: &Packet<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(out.len(), packet.encoded_len());
        out
    }

    #[test]
    fn a01_all_kinds_survive_with_and_without_payload_and_extensions() {
        let mut chain = ExtensionsBuf::new();
        chain.push(1, &[0x0F, 0, 0, 0x80]).unwrap();
        chain.push(3, &[0, 0, 0, 8]).unwrap();
        for kind in Kind::ALL {
            for payload in [&b""[..], b"x", &[0xAB; 1_452]] {
                for extensions in [Extensions::EMPTY, chain.as_extensions()] {
                    let packet = Packet { header: header(kind), extensions, payload };
                    assert_eq!(Packet::decode(&encoded(&packet)), Ok(packet));
                }
            }
        }
    }

    #[test]
    fn a01_a_syn_reads_as_it_should() {
        let datagram = [
            0x41, 0x00, 0x45, 0x67, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0x00, 0x10, 0x00, 0x00, 0x23, 0xC6,
            0, 0,
        ];
        let packet = Packet::decode(&datagram).unwrap();
        assert_eq!(packet.header.kind, Kind::Syn);
        assert_eq!(packet.header.conn_id, ConnId::new(0x4567));
        assert_eq!(packet.header.delay, Delay::NONE);
        assert_eq!(packet.header.window, 1_048_576);
        assert_eq!(packet.header.seq, SeqNr::new(9_158));
        assert!(packet.extensions.is_empty() && packet.payload.is_empty());
        assert_eq!(encoded(&packet), datagram);
    }

    #[test]
    fn a01_less_than_a_header_is_not_utp() {
        let datagram =
            encoded(&Packet { header: header(Kind::Data), extensions: Extensions::EMPTY, payload: &[] });
        for len in 0..HEADER_LEN {
            let refused = Packet::decode(&datagram[..len]);
            assert_eq!(refused, Err(DecodeError::NotUtp(NotUtp::Short(len as u8))));
        }
        assert!(Packet::decode(&datagram).is_ok());
    }

    #[test]
    fn a01_neighbours_on_the_port_are_told_from_malformed_packets() {
        let dht = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let tracker = [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        assert_eq!(Packet::decode(dht), Err(DecodeError::NotUtp(NotUtp::Version(4))));
        assert_eq!(Packet::decode(&tracker), Err(DecodeError::NotUtp(NotUtp::Version(0))));
        assert!(Packet::decode(dht).is_err_and(|error| !error.is_utp()));

        let mut cut =
            encoded(&Packet { header: header(Kind::State), extensions: Extensions::EMPTY, payload: &[] });
        cut[1] = 1;
        assert_eq!(Packet::decode(&cut), Err(DecodeError::Truncated));
        assert!(DecodeError::Truncated.is_utp());
    }

    #[test]
    fn a01_refusals_say_why() {
        assert_eq!(DecodeError::NotUtp(NotUtp::Version(4)).to_string(), "not uTP: version 4 instead of 1");
        assert!(DecodeError::Truncated.to_string().starts_with("malformed uTP"));
    }

    #[test]
    fn a02_the_payload_begins_after_the_chain() {
        let mut datagram = [0; HEADER_LEN].to_vec();
        datagram[..2].copy_from_slice(&[0x01, 1]);
        datagram.extend([99, 4, 1, 0, 0, 0, 0, 0]);
        datagram.extend(b"payload");
        let packet = Packet::decode(&datagram).unwrap();
        assert_eq!(packet.extensions.sack(), Some(Sack::new(&[1, 0, 0, 0])));
        assert_eq!(packet.payload, b"payload");
        assert_eq!(encoded(&packet), datagram);
    }
}
