//! The twenty bytes at the front of every packet.
//!
//! Knows where each field lies and which values cannot be uTP. Whether the numbers make sense for a connection is
//! not decided here.

use std::fmt;

use super::{ConnId, Delay, SeqNr, Timestamp};

/// How long a header is, in bytes.
pub const HEADER_LEN: usize = 20;

/// The only version of the protocol there is (BEP 29).
const VERSION: u8 = 1;

/// What a packet is for. The value is the one in the header.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Carries payload and a packet number of its own.
    Data = 0,
    /// The sender has nothing more to say; takes a packet number, carries no payload.
    Fin = 1,
    /// Acknowledges only: repeats the number of the next packet to come without taking it.
    State = 2,
    /// The sender knows no such connection, or wants no more of it.
    Reset = 3,
    /// Asks for a connection; takes a packet number.
    Syn = 4,
}

impl Kind {
    /// All there are, in the order of their values.
    pub const ALL: [Self; 5] = [Self::Data, Self::Fin, Self::State, Self::Reset, Self::Syn];

    #[inline]
    const fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Data),
            1 => Some(Self::Fin),
            2 => Some(Self::State),
            3 => Some(Self::Reset),
            4 => Some(Self::Syn),
            _ => None,
        }
    }
}

/// The name in BEP 29: `ST_DATA` and so on.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Data => "ST_DATA",
            Self::Fin => "ST_FIN",
            Self::State => "ST_STATE",
            Self::Reset => "ST_RESET",
            Self::Syn => "ST_SYN",
        })
    }
}

/// Everything in the twenty bytes except the version, which is always 1, and the id of the first extension, which
/// belongs to [`Extensions`](super::Extensions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// The id on which the receiver receives; in a SYN, the one on which its sender does.
    pub conn_id: ConnId,
    /// The sender's clock when the packet left.
    pub sent_at: Timestamp,
    /// The delay that the sender measured on the last packet it received.
    pub delay: Delay,
    /// How many bytes the sender of this packet can still take in.
    pub window: u32,
    /// The packet's number, or for a [`Kind::State`] the number of the next one.
    pub seq: SeqNr,
    /// Everything up to and including this number has arrived at the sender of this packet.
    pub ack: SeqNr,
}

impl Header {
    /// Reads the twenty bytes; returns with them the id of the first extension.
    #[inline]
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Result<(Self, u8), NotUtp> {
        if bytes[0] & 0x0F != VERSION {
            return Err(NotUtp::Version(bytes[0] & 0x0F));
        }
        let Some(kind) = Kind::from_value(bytes[0] >> 4) else {
            return Err(NotUtp::Kind(bytes[0] >> 4));
        };
        let header = Self {
            kind,
            conn_id: ConnId::new(u16::from_be_bytes([bytes[2], bytes[3]])),
            sent_at: Timestamp::new(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
            delay: Delay::new(u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])),
            window: u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            seq: SeqNr::new(u16::from_be_bytes([bytes[16], bytes[17]])),
            ack: SeqNr::new(u16::from_be_bytes([bytes[18], bytes[19]])),
        };
        Ok((header, bytes[1]))
    }

    /// Writes the twenty bytes. `first_extension` is the id of the first extension that follows them, 0 for none.
    #[inline]
    pub fn write(&self, first_extension: u8, out: &mut [u8; HEADER_LEN]) {
        out[0] = (self.kind as u8) << 4 | VERSION;
        out[1] = first_extension;
        out[2..4].copy_from_slice(&self.conn_id.get().to_be_bytes());
        out[SENT_AT].copy_from_slice(&self.sent_at.get().to_be_bytes());
        out[8..12].copy_from_slice(&self.delay.get().to_be_bytes());
        out[12..16].copy_from_slice(&self.window.to_be_bytes());
        out[16..18].copy_from_slice(&self.seq.get().to_be_bytes());
        out[18..20].copy_from_slice(&self.ack.get().to_be_bytes());
    }
}

/// Gives an encoded packet a fresh send time, because it had to wait for the socket.
///
/// The delay that the packet reports stays: it was measured when the peer's packet arrived, and waiting does not
/// change it.
pub fn restamp(datagram: &mut [u8], sent_at: Timestamp) {
    debug_assert!(datagram.len() >= HEADER_LEN, "only encoded packets are stamped again");
    if let Some(field) = datagram.get_mut(SENT_AT) {
        field.copy_from_slice(&sent_at.get().to_be_bytes());
    }
}

/// Why a datagram is somebody else's: the port may be shared with a DHT, a tracker or a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotUtp {
    /// Shorter than a header; holds its length in bytes.
    Short(u8),
    /// The version is not 1; holds what stood there.
    Version(u8),
    /// A kind of packet that does not exist; holds its value, 5..=15.
    Kind(u8),
}

impl fmt::Display for NotUtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(len) => write!(f, "{len} bytes are less than a header of {HEADER_LEN}"),
            Self::Version(version) => write!(f, "version {version} instead of {VERSION}"),
            Self::Kind(kind) => write!(f, "type {kind} does not exist"),
        }
    }
}

/// Where the send time lies.
const SENT_AT: std::ops::Range<usize> = 4..8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field has bytes that no other has, so that a swap shows.
    const BYTES: [u8; HEADER_LEN] =
        [0x21, 0x01, 0xFF, 0xFE, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xFF, 0xFD, 0x00, 0x0E];

    const HEADER: Header = Header {
        kind: Kind::State,
        conn_id: ConnId::new(65_534),
        sent_at: Timestamp::new(0x0102_0304),
        delay: Delay::new(0x0506_0708),
        window: 0x090A_0B0C,
        seq: SeqNr::new(65_533),
        ack: SeqNr::new(14),
    };

    #[test]
    fn a01_each_field_lies_where_bep_29_says() {
        assert_eq!(Header::read(&BYTES), Ok((HEADER, 1)));
        let mut out = [0; HEADER_LEN];
        HEADER.write(1, &mut out);
        assert_eq!(out, BYTES);
    }

    #[test]
    fn a01_the_first_byte_is_read_for_all_values() {
        let mut bytes = BYTES;
        for first in 0..=u8::MAX {
            bytes[0] = first;
            let read = Header::read(&bytes).map(|(header, _)| header.kind);
            let expected = match first {
                0x01 => Ok(Kind::Data),
                0x11 => Ok(Kind::Fin),
                0x21 => Ok(Kind::State),
                0x31 => Ok(Kind::Reset),
                0x41 => Ok(Kind::Syn),
                _ if first & 0x0F != 1 => Err(NotUtp::Version(first & 0x0F)),
                _ => Err(NotUtp::Kind(first >> 4)),
            };
            assert_eq!(read, expected, "first byte {first:#04x}");
        }
    }

    #[test]
    fn a01_every_kind_survives_the_wire_and_has_its_name() {
        let names = Kind::ALL.map(|kind| kind.to_string());
        assert_eq!(names, ["ST_DATA", "ST_FIN", "ST_STATE", "ST_RESET", "ST_SYN"]);
        for kind in Kind::ALL {
            let mut out = [0; HEADER_LEN];
            Header { kind, ..HEADER }.write(0xB5, &mut out);
            assert_eq!(Header::read(&out), Ok((Header { kind, ..HEADER }, 0xB5)));
        }
    }

    #[test]
    fn a_fresh_send_time_changes_nothing_else() {
        let mut datagram = BYTES.to_vec();
        datagram.extend(b"payload");
        restamp(&mut datagram, Timestamp::new(0xFFFF_FFFE));
        assert_eq!(datagram[..4], BYTES[..4]);
        assert_eq!(datagram[4..8], [0xFF, 0xFF, 0xFF, 0xFE]);
        assert_eq!(datagram[8..20], BYTES[8..]);
        assert_eq!(&datagram[20..], b"payload");
    }

    #[test]
    fn a01_refusals_say_why() {
        let texts = [NotUtp::Short(7), NotUtp::Version(4), NotUtp::Kind(9)].map(|why| why.to_string());
        assert_eq!(
            texts,
            ["7 bytes are less than a header of 20", "version 4 instead of 1", "type 9 does not exist"]
        );
    }
}
