//! Writing Binding messages: into a buffer of their own, since they are short.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{COOKIE, HEADER_LEN, StunClass, StunId, StunMessage, attribute, crc, mask, message_type};

/// Ours: the longest message written here, a refusal that names sixteen attributes.
const BYTES_MAX: usize = 72;

/// What fills up a question to the size of the longest answer, so that asking in somebody's name brings them no more
/// than was sent. Every server skips a SOFTWARE attribute; PADDING (RFC 5780) has to be understood, and mostly is not.
const SOFTWARE: &[u8] = b"ebbtide: uTP, BEP 29";

/// A message that has been written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StunBuf {
    bytes: [u8; BYTES_MAX],
    len: u8,
}

impl StunBuf {
    /// A question, of the length of the longest [answer](Self::success): 44 bytes.
    #[must_use]
    pub fn request(id: StunId) -> Self {
        let mut message = Self::new(StunClass::Request, id);
        message.push(attribute::SOFTWARE, SOFTWARE);
        message
    }

    /// The answer that the question came from `addr`: 32 bytes, and 44 for an IPv6 address.
    #[must_use]
    pub fn success(id: StunId, addr: SocketAddr) -> Self {
        let mut message = Self::new(StunClass::Success, id);
        let masked = mask(addr, id);
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&masked.port().to_be_bytes());
        let len = match masked.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&ip.octets());
                20
            }
        };
        message.push(attribute::XOR_MAPPED_ADDRESS, &value[..len]);
        message
    }

    /// The refusal of a question with attributes that are not understood; names sixteen of them at most. 36 bytes and
    /// more, so mostly longer than the question.
    #[must_use]
    pub fn unknown_attributes(id: StunId, unknown: impl Iterator<Item = u16>) -> Self {
        let mut message = Self::new(StunClass::Error, id);
        message.push(attribute::ERROR_CODE, &[0, 0, 4, 20]);
        let mut value = [0; 32];
        let mut len = 0;
        for (two, kind) in value.chunks_exact_mut(2).zip(unknown) {
            two.copy_from_slice(&kind.to_be_bytes());
            len += 2;
        }
        message.push(attribute::UNKNOWN_ATTRIBUTES, &value[..len]);
        message
    }

    /// The same with a fingerprint: eight bytes more.
    #[must_use]
    pub fn with_fingerprint(mut self) -> Self {
        // The length in the header counts it already.
        self.push(attribute::FINGERPRINT, &[0; 4]);
        let at = usize::from(self.len) - 8;
        let fingerprint = crc::fingerprint(&self.bytes[..at]);
        self.bytes[at + 4..at + 8].copy_from_slice(&fingerprint);
        self
    }

    fn new(class: StunClass, id: StunId) -> Self {
        let mut bytes = [0; BYTES_MAX];
        bytes[..2].copy_from_slice(&message_type(class, StunMessage::BINDING).to_be_bytes());
        bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
        bytes[8..HEADER_LEN].copy_from_slice(&id.0);
        Self { bytes, len: HEADER_LEN as u8 }
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let at = usize::from(self.len);
        let end = at + 4 + value.len().next_multiple_of(4);
        debug_assert!(end <= BYTES_MAX, "an attribute too many");
        self.bytes[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        self.bytes[at + 2..at + 4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes[at + 4..at + 4 + value.len()].copy_from_slice(value);
        self.bytes[2..4].copy_from_slice(&((end - HEADER_LEN) as u16).to_be_bytes());
        self.len = end as u8;
    }

    /// What goes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for StunBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match StunMessage::decode(self.bytes()) {
            Ok(message) => message.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// The beginning of a text up to where it stops being plain: what strangers say may end up on a terminal.
pub(super) fn ascii(text: &[u8]) -> &str {
    let plain = text.iter().take_while(|byte| (0x20..0x7F).contains(*byte)).count();
    std::str::from_utf8(&text[..plain]).unwrap_or_default()
}
