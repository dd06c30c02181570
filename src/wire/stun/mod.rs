//! STUN Binding messages (RFC 8489): "where do my datagrams seem to come from?", and the answer.
//!
//! ```text
//!   0       4       8               16                              32
//!   ├───────┴───────┴───────────────┼───────────────────────────────┤
//!   │ 0 0, method and class         │ bytes after the header        │
//!   ├───────────────────────────────┴───────────────────────────────┤
//!   │ the magic cookie, 0x2112A442                                  │
//!   ├───────────────────────────────────────────────────────────────┤
//!   │ transaction id, 12 bytes …                                    │
//!   └───────────────────────────────────────────────────────────────┘
//!     attributes …: type, length, value, filled up to four bytes
//! ```
//!
//! Decoding promises what that of uTP packets does: no panic, no allocation, each attribute read once. No
//! authentication: whoever can read the transaction id can lie, and what the answer says is checked where it is used.
//! Knows no timer and no socket. A Binding success begins with the bytes of a uTP packet (DATA with a selective
//! acknowledgement), so [`is_shaped`](StunMessage::is_shaped) alone does not tell the two apart: the transaction id
//! does.

mod crc;
mod encode;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use self::encode::StunBuf;

use self::encode::ascii;

/// RFC 8489 §5: what tells STUN from everything else.
const COOKIE: u32 = 0x2112_A442;

/// RFC 8489 §5: bytes before the attributes.
const HEADER_LEN: usize = 20;

/// RFC 8489 §18.2, and RFC 5780 §9.1 for the padding.
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const SOURCE_ADDRESS: u16 = 0x0004;
    pub(super) const CHANGED_ADDRESS: u16 = 0x0005;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PADDING: u16 = 0x0026;
    pub(super) const SOFTWARE: u16 = 0x8022;
    pub(super) const FINGERPRINT: u16 = 0x8028;

    /// Those that must be understood and are: some because they do not matter to whoever authenticates nobody, some
    /// because servers of the first version of STUN (RFC 3489) add them to every answer.
    pub(super) const UNDERSTOOD: [u16; 12] = [
        MAPPED_ADDRESS,
        SOURCE_ADDRESS,
        CHANGED_ADDRESS,
        USERNAME,
        MESSAGE_INTEGRITY,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        REALM,
        NONCE,
        MESSAGE_INTEGRITY_SHA256,
        XOR_MAPPED_ADDRESS,
        PADDING,
    ];

    /// From here on an attribute may be skipped by whoever does not understand it.
    pub(super) const OPTIONAL: u16 = 0x8000;
}

/// What tells one question from another: twelve bytes by chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StunId(pub [u8; 12]);

impl fmt::Debug for StunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StunId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunClass {
    /// A question.
    Request,
    /// A word that wants no answer; keeps the way through NATs open.
    Indication,
    /// The answer.
    Success,
    /// A refusal, see [`StunMessage::error`].
    Error,
}

/// Why bytes are no STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StunDecodeError {
    /// They are something else.
    NotStun,
    /// An attribute is longer than the message.
    Truncated,
    /// The checksum that it carries is not its own.
    Fingerprint,
}

impl fmt::Display for StunDecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStun => "not a STUN message",
            Self::Truncated => "an attribute is longer than the STUN message",
            Self::Fingerprint => "the fingerprint of the STUN message is wrong",
        })
    }
}

impl std::error::Error for StunDecodeError {}

/// A STUN message that refers to the datagram it came in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StunMessage<'a> {
    /// What it is.
    pub class: StunClass,
    /// What it is about; 1 is Binding.
    pub method: u16,
    /// Which question it asks or answers.
    pub id: StunId,
    /// Well-formed.
    attributes: &'a [u8],
}

impl<'a> StunMessage<'a> {
    /// The only method known here.
    pub const BINDING: u16 = 1;

    /// Whether a datagram has the shape of a STUN message: the two bits, the cookie and the length. About one uTP
    /// packet in 2^45 has it too.
    #[must_use]
    pub fn is_shaped(datagram: &[u8]) -> bool {
        let Some(&[type_0, _, len_0, len_1, c_0, c_1, c_2, c_3]) = datagram.first_chunk() else {
            return false;
        };
        // Above three the first byte belongs to protocols that share ports with STUN (RFC 7983).
        type_0 < 4
            && u32::from_be_bytes([c_0, c_1, c_2, c_3]) == COOKIE
            && datagram.len() >= HEADER_LEN
            && usize::from(u16::from_be_bytes([len_0, len_1])) == datagram.len() - HEADER_LEN
            && datagram.len().is_multiple_of(4)
    }

    /// The transaction id of a datagram that [`is_shaped`](Self::is_shaped).
    #[must_use]
    pub fn id_of(datagram: &[u8]) -> Option<StunId> {
        datagram.get(8..HEADER_LEN)?.try_into().ok().map(StunId)
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// It is something else, an attribute does not fit, or it carries a wrong fingerprint.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, StunDecodeError> {
        if !Self::is_shaped(datagram) {
            return Err(StunDecodeError::NotStun);
        }
        let id = Self::id_of(datagram).ok_or(StunDecodeError::NotStun)?;
        let (class, method) = class_and_method(u16::from_be_bytes([datagram[0], datagram[1]]));
        let message = Self { class, method, id, attributes: &datagram[HEADER_LEN..] };
        let mut walk = message.attributes();
        let mut fingerprint = None;
        for (at, kind, value) in walk.by_ref() {
            if kind == attribute::FINGERPRINT {
                fingerprint = Some((HEADER_LEN + at, value));
            }
        }
        if !walk.rest.is_empty() {
            return Err(StunDecodeError::Truncated);
        }
        match fingerprint {
            // It has to be the last one.
            Some((at, value)) if at + 8 != datagram.len() || value != crc::fingerprint(&datagram[..at]) => {
                Err(StunDecodeError::Fingerprint)
            }
            _ => Ok(message),
        }
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { at: 0, rest: self.attributes }
    }

    fn find(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes().find(|&(_, kind, _)| kind == wanted).map(|(.., value)| value)
    }

    /// Whether it is about Binding.
    #[must_use]
    pub const fn is_binding(&self) -> bool {
        self.method == Self::BINDING
    }

    /// Whether it carries a fingerprint; if so, it is right.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.find(attribute::FINGERPRINT).is_some()
    }

    /// The address that the answer is about: XOR-MAPPED-ADDRESS, or else MAPPED-ADDRESS, which NATs that meddle with
    /// what they carry may have falsified. `None` if there is neither, or of a family that nobody knows.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        let masked = self.find(attribute::XOR_MAPPED_ADDRESS).and_then(address);
        match masked {
            Some(masked) => Some(mask(masked, self.id)),
            None => self.find(attribute::MAPPED_ADDRESS).and_then(address),
        }
    }

    /// The number of a refusal, 300 to 699, and what it says about it. `None` if there is none, or one that is not
    /// one.
    #[must_use]
    pub fn error(&self) -> Option<(u16, &'a str)> {
        let (&[_, _, class, number], reason) = self.find(attribute::ERROR_CODE)?.split_first_chunk()?;
        let class = class & 7;
        ((3..7).contains(&class) && number < 100)
            .then(|| (u16::from(class) * 100 + u16::from(number), ascii(reason)))
    }

    /// The attributes that would have to be understood and are not. With any, a question is refused and an answer is
    /// void.
    pub fn unknown(&self) -> impl Iterator<Item = u16> {
        let kinds = self.attributes().map(|(_, kind, _)| kind);
        kinds.filter(|kind| *kind < attribute::OPTIONAL && !attribute::UNDERSTOOD.contains(kind))
    }
}

impl fmt::Debug for StunMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StunMessage")
            .field("class", &self.class)
            .field("method", &self.method)
            .field("id", &self.id)
            .field("mapped", &self.mapped_address())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}

/// Where each attribute begins, its type and its value. What is left in `rest` in the end does not fit.
#[derive(Clone)]
struct Attributes<'a> {
    at: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind_0, kind_1, len_0, len_1], rest) = self.rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([len_0, len_1]));
        let value = rest.get(..len)?;
        // The message ends on a multiple of four, so where the value fits, what fills it up does too.
        let filled = len.next_multiple_of(4);
        let at = self.at;
        self.rest = rest.get(filled..)?;
        self.at += 4 + filled;
        Some((at, u16::from_be_bytes([kind_0, kind_1]), value))
    }
}

/// RFC 8489 §5: the class is in bits 4 and 8, the method in the others.
const fn class_and_method(kind: u16) -> (StunClass, u16) {
    let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
        (false, false) => StunClass::Request,
        (false, true) => StunClass::Indication,
        (true, false) => StunClass::Success,
        (true, true) => StunClass::Error,
    };
    (class, kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2)
}

const fn message_type(class: StunClass, method: u16) -> u16 {
    let class = match class {
        StunClass::Request => 0,
        StunClass::Indication => 0x0010,
        StunClass::Success => 0x0100,
        StunClass::Error => 0x0110,
    };
    class | method & 0x000F | (method & 0x0070) << 1 | (method & 0x0F80) << 2
}

/// The value of an attribute that is an address.
fn address(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family, port_0, port_1], ip) = value.split_first_chunk()?;
    let ip: IpAddr = match family {
        1 => <[u8; 4]>::try_from(ip).ok()?.into(),
        2 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([port_0, port_1])))
}

/// What makes an address that a meddling NAT does not recognise of one, and of that the address again.
fn mask(addr: SocketAddr, id: StunId) -> SocketAddr {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&COOKIE.to_be_bytes());
    key[4..].copy_from_slice(&id.0);
    let port = addr.port() ^ u16::from_be_bytes([key[0], key[1]]);
    let ip = match addr.ip() {
        IpAddr::V4(ip) => (ip.to_bits() ^ COOKIE).to_be_bytes().into(),
        IpAddr::V6(ip) => (ip.to_bits() ^ u128::from_be_bytes(key)).to_be_bytes().into(),
    };
    SocketAddr::new(ip, port)
}
