//! Which uTP is spoken: BEP 29, or what utp-punch for Node makes of it.
//!
//! ```text
//!                   BEP 29                utp-punch
//!   SYN             R                     E, always even
//!   initiator then  R + 1                 E
//!   acceptor        R                     E + 1
//! ```
//!
//! With R = E, which is even, every packet but a SYN has its lowest bit turned, in both directions; that is all there is
//! to translate, and to do it twice is to do nothing. The rest of the dialect is what its speakers cannot do, and is
//! looked after by those who send. Knows no connection.

use super::{ConnId, DecodeError, HEADER_LEN, Header, Kind, Packet};

/// Which uTP an endpoint speaks. It cannot be told from a packet, so both sides have to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// BEP 29, as libutp and libtorrent speak it.
    #[default]
    Bep29,
    /// That of utp-punch 1.0.1 for Node: even ids for those who call, odd ones for those who answer, no extensions, 64
    /// packets ahead and no more, no half-close, and two words for punching holes into NATs.
    UtpPunch,
}

impl Dialect {
    /// The id of a packet of that kind in the other way of writing it: from the wire to BEP 29, or back.
    #[inline]
    #[must_use]
    pub const fn translate(self, kind: Kind, id: ConnId) -> ConnId {
        match (self, kind) {
            (Self::Bep29, _) | (_, Kind::Syn) => id,
            (Self::UtpPunch, _) => ConnId::new(id.get() ^ 1),
        }
    }

    /// Whether a SYN may carry this id.
    #[inline]
    #[must_use]
    pub const fn admits_syn(self, id: ConnId) -> bool {
        match self {
            Self::Bep29 => true,
            Self::UtpPunch => id.get().is_multiple_of(2),
        }
    }

    /// Takes a datagram apart, with the id as BEP 29 has it.
    ///
    /// # Errors
    ///
    /// As [`Packet::decode`].
    #[inline]
    pub fn decode(self, datagram: &[u8]) -> Result<Packet<'_>, DecodeError> {
        let mut packet = Packet::decode(datagram)?;
        packet.header.conn_id = self.translate(packet.header.kind, packet.header.conn_id);
        Ok(packet)
    }

    /// Translates a datagram where it lies. What is not uTP is left alone.
    pub fn rewrite(self, datagram: &mut [u8]) {
        let Some(head) = datagram.first_chunk_mut::<HEADER_LEN>() else { return };
        let Ok((header, _)) = Header::read(head) else { return };
        let id = self.translate(header.kind, header.conn_id);
        head[CONN_ID].copy_from_slice(&id.get().to_be_bytes());
    }
}

/// Where the id lies.
const CONN_ID: std::ops::Range<usize> = 2..4;

/// A datagram by which utp-punch opens NATs. Both are too short for uTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PunchWord {
    /// Said twice a second until it is answered.
    Punch,
    /// The answer.
    Punched,
}

impl PunchWord {
    /// The word in this datagram, if it is nothing else.
    #[must_use]
    pub const fn read(datagram: &[u8]) -> Option<Self> {
        match datagram {
            b"PUNCH" => Some(Self::Punch),
            b"PUNCHED" => Some(Self::Punched),
            _ => None,
        }
    }

    /// The datagram.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Punch => b"PUNCH",
            Self::Punched => b"PUNCHED",
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where its packet does not decode")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The header of a packet, in hexadecimal.
    fn packet(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// The first packets of a session of utp-punch 1.0.1 with itself, as they were on the wire.
    const SESSION: [(&str, u16); 5] = [
        ("4100 2c50 2ad9ef2c 00000000 00040000 069b 0000", 0x2c50),
        ("2100 2c51 2ad9f5ad 00000000 00040000 2594 069b", 0x2c50),
        ("0100 2c50 2ad9f7ee 00000000 00040000 069c 2593 68656c6c6f", 0x2c51),
        ("0100 2c51 2ad9f95b 00000000 00040000 2594 069c 776f726c64", 0x2c50),
        ("1100 2c50 2afd17be 00000000 00040000 069d 2594", 0x2c51),
    ];

    #[test]
    fn a_session_of_utp_punch_becomes_one_of_bep_29() {
        for (text, id) in SESSION {
            let original = packet(text);
            let mut translated = original.clone();
            Dialect::UtpPunch.rewrite(&mut translated);
            assert_eq!(Packet::decode(&translated).unwrap().header.conn_id, ConnId::new(id), "{text}");
            assert_eq!((&translated[..2], &translated[4..]), (&original[..2], &original[4..]));
        }
    }

    #[test]
    fn only_utp_punch_wants_even_ids() {
        for id in [0, 1, 0xFFFE, 0xFFFF].map(ConnId::new) {
            assert!(Dialect::Bep29.admits_syn(id));
            assert_eq!(Dialect::UtpPunch.admits_syn(id), id.get() % 2 == 0);
        }
    }

    #[test]
    fn words_are_read_as_they_are_written_and_nothing_else_is_one() {
        for word in [PunchWord::Punch, PunchWord::Punched] {
            assert_eq!(PunchWord::read(word.as_bytes()), Some(word));
            assert!(Packet::decode(word.as_bytes()).is_err_and(|error| !error.is_utp()));
        }
        for other in [&b"PUNC"[..], b"PUNCHE", b"punch", b"PUNCHED!", b""] {
            assert_eq!(PunchWord::read(other), None);
        }
    }

    proptest! {
        #[test]
        fn to_translate_twice_is_to_do_nothing(datagram in proptest::collection::vec(any::<u8>(), 0..60)) {
            for dialect in [Dialect::Bep29, Dialect::UtpPunch] {
                let mut other = datagram.clone();
                dialect.rewrite(&mut other);
                prop_assert!(dialect == Dialect::UtpPunch || other == datagram);
                dialect.rewrite(&mut other);
                prop_assert_eq!(&other, &datagram);
            }
        }

        #[test]
        fn a_translated_datagram_is_the_packet_with_the_translated_id(
            first in 0u8..5, rest in proptest::collection::vec(any::<u8>(), 19..60)
        ) {
            let mut datagram = vec![first << 4 | 1];
            datagram.extend(rest);
            datagram[1] = 0;
            let before = Packet::decode(&datagram).unwrap().header;
            let mut other = datagram.clone();
            Dialect::UtpPunch.rewrite(&mut other);
            let after = Packet::decode(&other).unwrap().header;
            let conn_id = Dialect::UtpPunch.translate(before.kind, before.conn_id);
            prop_assert_eq!(after, Header { conn_id, ..before });
            prop_assert_eq!(Dialect::UtpPunch.decode(&datagram).unwrap().header, after);
            prop_assert_eq!(conn_id == before.conn_id, before.kind == Kind::Syn);
        }
    }
}
