//! What endpoints of this crate tell each other beyond the [`Mark`](super::Mark): small typed fields in an extension of
//! their own.
//!
//! ```text
//!   ┌──────┬─────┬───────┐┌──────┬─────┬───────┐┌───┐
//!   │ type │ len │ value ││ type │ len │ value ││ 0 │ …      padded to a multiple of four bytes (rust-utp wants that)
//!   └──────┴─────┴───────┘└──────┴─────┴───────┘└───┘
//! ```
//!
//! A field of an unknown type below 0x80 is skipped, one above refuses the block: its sender did not want the packet
//! to be understood without it. Of two fields of one type the first counts. A known field of a length that it cannot
//! have is skipped. This file knows the bytes, and nothing of who may say what when.

mod observed;
mod values;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;

use bytes::BufMut;

pub use self::values::{InvalidService, OwnReason, PathToken, Service, Session, Token, Txn};
use super::EncodeError;

/// The fields of one own block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Own<'a> {
    /// Proves that the sender was told by the receiver, or by somebody whom it asked, to call.
    pub token: Option<Token>,
    /// Names this question.
    pub txn: Option<Txn>,
    /// The question that this answers.
    pub txn_echo: Option<Txn>,
    /// From which address the receiver's packets come.
    pub observed: Option<SocketAddr>,
    /// Who of two that call each other at once is the caller: the larger one.
    pub tie_break: Option<u64>,
    /// How the receiver shall name the stream should its address change.
    pub path_token: Option<PathToken>,
    /// To be repeated by whoever receives at the address that this is sent to.
    pub path_challenge: Option<u64>,
    /// The challenge, repeated.
    pub path_response: Option<u64>,
    /// Why the sender ends the stream.
    pub close_reason: Option<OwnReason<'a>>,
    /// Which of several listeners on the port is meant.
    pub service: Option<Service>,
    /// Which of several attempts to meet this belongs to.
    pub session: Option<Session>,
    /// Packets carry messages: of which version, on how many channels, with a digest of what those promise.
    pub messages: Option<[u8; 4]>,
}

/// The types of fields. New ones are added here, and in `take`, `len` and `put`.
mod kind {
    pub(super) const PADDING: u8 = 0;
    pub(super) const TOKEN: u8 = 1;
    pub(super) const TXN: u8 = 2;
    pub(super) const TXN_ECHO: u8 = 3;
    pub(super) const OBSERVED: u8 = 4;
    pub(super) const TIE_BREAK: u8 = 5;
    pub(super) const PATH_TOKEN: u8 = 6;
    pub(super) const PATH_CHALLENGE: u8 = 7;
    pub(super) const PATH_RESPONSE: u8 = 8;
    pub(super) const CLOSE_REASON: u8 = 9;
    pub(super) const SERVICE: u8 = 10;
    pub(super) const SESSION: u8 = 11;
    pub(super) const MESSAGES: u8 = 12;
    /// From here on a field must be understood.
    pub(super) const CRITICAL: u8 = 0x80;
}

impl<'a> Own<'a> {
    /// The longest block: a multiple of four that an extension can have.
    pub const LEN_MAX: usize = 252;

    /// Reads the data of an own extension.
    ///
    /// # Errors
    ///
    /// A field that runs past the end, or one that must be understood and is not: the packet is not to be acted on.
    pub fn decode(data: &'a [u8]) -> Result<Self, OwnError> {
        let mut own = Self::default();
        let mut observed = None;
        let mut rest = data;
        while let Some((&kind, after)) = rest.split_first() {
            if kind == kind::PADDING {
                rest = after;
                continue;
            }
            let (&len, after) = after.split_first().ok_or(OwnError::Truncated)?;
            let (value, after) = after.split_at_checked(usize::from(len)).ok_or(OwnError::Truncated)?;
            rest = after;
            match kind {
                kind::OBSERVED => observed = observed.or(Some(value)),
                kind::CRITICAL.. => return Err(OwnError::Unknown(kind)),
                _ => own.take(kind, value),
            }
        }
        // Its mask depends on a field that may come after it.
        own.observed = observed.and_then(|value| observed::decode(value, own.txn_echo));
        Ok(own)
    }

    /// Notes a field, if it is known, has a possible length and is the first of its type.
    fn take(&mut self, kind: u8, value: &'a [u8]) {
        match kind {
            kind::TOKEN => first(&mut self.token, number(value).map(Token::new)),
            kind::TXN => first(&mut self.txn, number(value).map(Txn::new)),
            kind::TXN_ECHO => first(&mut self.txn_echo, number(value).map(Txn::new)),
            kind::TIE_BREAK => first(&mut self.tie_break, number(value)),
            kind::PATH_TOKEN => first(&mut self.path_token, number(value).map(PathToken::new)),
            kind::PATH_CHALLENGE => first(&mut self.path_challenge, number(value)),
            kind::PATH_RESPONSE => first(&mut self.path_response, number(value)),
            kind::CLOSE_REASON => first(&mut self.close_reason, OwnReason::decode(value)),
            kind::SERVICE => first(&mut self.service, Service::new(value).ok()),
            kind::SESSION => first(&mut self.session, value.try_into().ok().map(Session::new)),
            kind::MESSAGES => first(&mut self.messages, value.try_into().ok()),
            _ => {}
        }
    }

    /// Bytes that its fields take, without padding.
    #[must_use]
    pub fn fields_len(&self) -> usize {
        let numbers = [
            self.token.is_some(),
            self.txn.is_some(),
            self.txn_echo.is_some(),
            self.tie_break.is_some(),
            self.path_token.is_some(),
            self.path_challenge.is_some(),
            self.path_response.is_some(),
        ];
        let numbers = 10 * numbers.iter().filter(|is_there| **is_there).count();
        let observed = self.observed.map_or(0, |addr| 2 + observed::len(addr));
        let reason = self.close_reason.map_or(0, |reason| 4 + reason.text().len());
        let service = self.service.map_or(0, |service| 2 + service.as_bytes().len());
        numbers
            + observed
            + reason
            + service
            + self.session.map_or(0, |_| 18)
            + self.messages.map_or(0, |_| 6)
    }

    /// Bytes that [`encode`](Self::encode) writes: at least four, at least `pad_to`, a multiple of four.
    #[must_use]
    pub fn encoded_len(&self, pad_to: usize) -> usize {
        self.fields_len().max(pad_to).max(4).next_multiple_of(4)
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the data of the extension, padded to `pad_to` bytes at least.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLong`] if it takes more than [`LEN_MAX`](Self::LEN_MAX); nothing is written then.
    ///
    /// # Panics
    ///
    /// If `out` has no room for [`encoded_len`](Self::encoded_len) bytes.
    pub fn encode(&self, pad_to: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let len = self.encoded_len(pad_to);
        if len > Self::LEN_MAX {
            return Err(EncodeError::TooLong);
        }
        self.put(out);
        out.put_bytes(kind::PADDING, len - self.fields_len());
        Ok(())
    }

    fn put(&self, out: &mut impl BufMut) {
        let numbers = [
            (kind::TOKEN, self.token.map(Token::get)),
            (kind::TXN, self.txn.map(Txn::get)),
            (kind::TXN_ECHO, self.txn_echo.map(Txn::get)),
            (kind::TIE_BREAK, self.tie_break),
            (kind::PATH_TOKEN, self.path_token.map(PathToken::get)),
            (kind::PATH_CHALLENGE, self.path_challenge),
            (kind::PATH_RESPONSE, self.path_response),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                put_field(out, kind, &number.to_be_bytes());
            }
        }
        if let Some(addr) = self.observed {
            let (bytes, len) = observed::encode(addr, self.txn_echo);
            put_field(out, kind::OBSERVED, &bytes[..len]);
        }
        if let Some(reason) = self.close_reason {
            let text = reason.text().as_bytes();
            out.put_slice(&[kind::CLOSE_REASON, 2 + text.len() as u8]);
            out.put_u16(reason.code());
            out.put_slice(text);
        }
        if let Some(service) = &self.service {
            put_field(out, kind::SERVICE, service.as_bytes());
        }
        if let Some(session) = self.session {
            put_field(out, kind::SESSION, &session.to_bytes());
        }
        if let Some(messages) = &self.messages {
            put_field(out, kind::MESSAGES, messages);
        }
    }
}

/// Values are at most 64 bytes long.
fn put_field(out: &mut impl BufMut, kind: u8, value: &[u8]) {
    out.put_slice(&[kind, value.len() as u8]);
    out.put_slice(value);
}

fn first<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Why an own block cannot be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnError {
    /// A field runs past the end of the block.
    Truncated,
    /// The sender demands that this field be understood.
    Unknown(u8),
}

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a field runs past the end of the block"),
            Self::Unknown(kind) => write!(f, "field {kind:#04x} must be understood, and is not"),
        }
    }
}

impl std::error::Error for OwnError {}
