//! The chain of extensions between header and payload.
//!
//! Reading takes any number of them, in any order, of any kind and length: old and new peers put there what they
//! like, and padding for MTU probes is made of them. Only a chain that runs past the end of the datagram is an
//! error. Writing refuses what libutp would drop together with the whole packet.
//!
//! ```text
//!   header byte 1                            the last one names 0
//!   ┌──────────┐   ┌──────┬─────┬──────────┐   ┌──────┬─────┬──────────┐
//!   │ first id │──▶│ next │ len │ len bytes│──▶│  0   │ len │ len bytes│  payload …
//!   └──────────┘   └──────┴─────┴──────────┘   └──────┴─────┴──────────┘
//! ```

use std::fmt;

use super::{DecodeError, Mark, Own, OwnError, Sack};

/// One extension: its id and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Which extension this is; never 0, which ends the chain.
    pub id: u8,
    /// What it carries, 0 to 255 bytes.
    pub data: &'a [u8],
}

impl Extension<'_> {
    /// Selective acknowledgement: which packets after a gap have arrived (BEP 29).
    pub const SACK: u8 = 1;
    /// Eight bytes of feature bits, taken out of BEP 29 in 2012 and still understood by libutp.
    pub const BITS: u8 = 2;
    /// Why libtorrent closed: two reserved bytes and a two-byte code.
    pub const CLOSE_REASON: u8 = 3;
    /// Ours. Peers that do not know it skip it, as long as it is not the first in the chain.
    pub const EBBTIDE: u8 = 0xB5;
}

/// The extensions of one packet: borrowed, and already known to be a complete chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    first: u8,
    bytes: &'a [u8],
    sack: Option<Sack<'a>>,
}

impl<'a> Extensions<'a> {
    /// No extensions.
    pub const EMPTY: Self = Self { first: 0, bytes: &[], sack: None };

    /// Walks the chain at the front of `bytes` and returns it with what follows. Each step takes at least two
    /// bytes, so the datagram's length bounds the walk.
    pub(super) fn split(first: u8, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut sack = None;
        let (mut id, mut rest) = (first, bytes);
        while id != 0 {
            let (next, data, after) = split_one(rest).ok_or(DecodeError::Truncated)?;
            if id == Extension::SACK && sack.is_none() {
                sack = Some(Sack::new(data));
            }
            (id, rest) = (next, after);
        }
        let (bytes, payload) = bytes.split_at(bytes.len() - rest.len());
        Ok((Self { first, bytes, sack }, payload))
    }

    /// A chain of one SACK, given the bytes as they go on the wire: 0, length, mask.
    pub(super) fn only_sack(bytes: &'a [u8]) -> Self {
        debug_assert!(bytes.len() > 2 && bytes[0] == 0 && bytes.len() == 2 + usize::from(bytes[1]));
        Self { first: Extension::SACK, bytes, sack: Some(Sack::new(&bytes[2..])) }
    }

    /// All of them, in the order of the chain.
    pub fn iter(self) -> impl Iterator<Item = Extension<'a>> {
        Iter { id: self.first, rest: self.bytes }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.first == 0
    }

    /// How many bytes they take on the wire.
    #[must_use]
    pub const fn encoded_len(self) -> usize {
        self.bytes.len()
    }

    /// The id of the first one, as byte 1 of the header names it; 0 if there is none.
    #[must_use]
    pub const fn first_id(self) -> u8 {
        self.first
    }

    /// The chain as it goes on the wire, after the header.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The first selective acknowledgement.
    #[inline]
    #[must_use]
    pub const fn sack(self) -> Option<Sack<'a>> {
        self.sack
    }

    /// The feature bits. Those that are not eight bytes long are skipped like an unknown extension.
    #[must_use]
    pub fn bits(self) -> Option<[u8; 8]> {
        self.all(Extension::BITS).find_map(|data| data.try_into().ok())
    }

    /// The code of libtorrent's close reason; [`CloseCode`](super::CloseCode) knows its name. Those that are not
    /// four bytes long are skipped like an unknown extension.
    #[must_use]
    pub fn close_reason(self) -> Option<u16> {
        self.all(Extension::CLOSE_REASON).find_map(|data| {
            let [_, _, high, low] = *data else { return None };
            Some(u16::from_be_bytes([high, low]))
        })
    }

    /// What our own extension carries.
    #[must_use]
    pub fn own(self) -> Option<&'a [u8]> {
        self.all(Extension::EBBTIDE).next()
    }

    /// Whether there is anything but one selective acknowledgement: cheap, and `false` for nearly every packet.
    #[inline]
    #[must_use]
    pub const fn has_more_than_sack(self) -> bool {
        match self.sack {
            Some(sack) => self.bytes.len() > 2 + sack.as_bytes().len(),
            None => self.first != 0,
        }
    }

    /// The mark of this crate's endpoints; of several feature bits the first count.
    #[must_use]
    pub fn mark(self) -> Option<Mark> {
        self.bits().and_then(Mark::decode)
    }

    /// What an endpoint of this crate says beyond its mark.
    ///
    /// # Errors
    ///
    /// A block that cannot be read, or must not be acted on by those who do not understand all of it.
    pub fn own_block(self) -> Result<Option<Own<'a>>, OwnError> {
        self.own().map(Own::decode).transpose()
    }

    fn all(self, id: u8) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |extension| extension.id == id).map(|extension| extension.data)
    }
}

struct Iter<'a> {
    id: u8,
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.id == 0 {
            return None;
        }
        let (next, data, rest) = split_one(self.rest)?;
        let extension = Extension { id: self.id, data };
        (self.id, self.rest) = (next, rest);
        Some(extension)
    }
}

/// The next id, the data, and what follows; nothing if it is not all there.
#[inline]
fn split_one(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[next, len], rest) = bytes.split_first_chunk()?;
    let (data, rest) = rest.split_at_checked(usize::from(len))?;
    Some((next, data, rest))
}

/// A chain being built for sending.
///
/// Keeps its memory when cleared, so that one that is used again and again allocates only in the beginning.
#[derive(Clone, Debug, Default)]
pub struct ExtensionsBuf {
    first: u8,
    /// Never longer than `CHAIN_MAX`.
    bytes: Vec<u8>,
    /// Where the last extension begins, whose first byte names the next; meaningless while there is none.
    last: usize,
    /// Where the data of the first SACK begins and ends.
    sack: Option<(usize, usize)>,
}

impl ExtensionsBuf {
    /// An empty chain; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: 0, bytes: Vec::new(), last: 0, sack: None }
    }

    /// Adds one at the end.
    ///
    /// # Errors
    ///
    /// Refuses what libutp would answer by dropping the whole packet, what BEP 29 forbids, and what does not fit;
    /// the chain is then as before.
    pub fn push(&mut self, id: u8, data: &[u8]) -> Result<(), EncodeError> {
        let len = u8::try_from(data.len()).map_err(|_| EncodeError::TooLong)?;
        match id {
            0 => return Err(EncodeError::EndOfChain),
            Extension::SACK if len == 0 || len % 4 != 0 => return Err(EncodeError::SackLength),
            Extension::BITS if len != 8 => return Err(EncodeError::BitsLength),
            3.. if self.first == 0 => return Err(EncodeError::FirstId),
            _ => {}
        }
        if self.bytes.len() + 2 + data.len() > CHAIN_MAX {
            return Err(EncodeError::TooLong);
        }
        match self.first {
            0 => self.first = id,
            _ => self.bytes[self.last] = id,
        }
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0, len]);
        self.bytes.extend_from_slice(data);
        if id == Extension::SACK && self.sack.is_none() {
            self.sack = Some((self.last + 2, self.bytes.len()));
        }
        Ok(())
    }

    /// Empties the chain and keeps its memory.
    pub fn clear(&mut self) {
        self.first = 0;
        self.bytes.clear();
        self.sack = None;
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == 0
    }

    /// How many bytes the chain takes on the wire.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The chain as a packet carries it.
    #[must_use]
    pub fn as_extensions(&self) -> Extensions<'_> {
        let sack = self.sack.map(|(from, to)| Sack::new(&self.bytes[from..to]));
        Extensions { first: self.first, bytes: &self.bytes, sack }
    }
}

/// The largest UDP payload less a header: what can be sent at all.
const CHAIN_MAX: usize = 65_507 - super::HEADER_LEN;

/// An extension that is better not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodeError {
    /// Id 0 does not name an extension but the end of the chain.
    EndOfChain,
    /// libutp takes a packet whose first extension has an id of 3 or more for something else, and drops it.
    FirstId,
    /// BEP 29 demands a SACK of 4, 8, 12 … bytes.
    SackLength,
    /// libutp drops packets with feature bits that are not eight bytes long.
    BitsLength,
    /// More than 255 bytes, or more than a datagram holds.
    TooLong,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfChain => "extension id 0 means the end of the chain",
            Self::FirstId => "the first extension must have id 1 or 2, or libutp drops the packet",
            Self::SackLength => "a SACK must be a positive multiple of 4 bytes long",
            Self::BitsLength => "extension bits must be 8 bytes long",
            Self::TooLong => "the extension does not fit",
        })
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests;
