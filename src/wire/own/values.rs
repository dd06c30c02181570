//! What the fields of an own block hold.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(u64);

        impl $name {
            /// The one with this value.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The value on the wire.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

number! {
    /// A random number that one side chose for packets *to* it, and that only those know whom it wants to hear from.
    Token
}

number! {
    /// The random number of a question, repeated in the answer.
    Txn
}

number! {
    /// A random number by which a stream can be named from another address.
    PathToken
}

/// A random number for one attempt of two peers to meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Session([u8; 16]);

impl Session {
    /// The one with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The name of one of several listeners on a port, in the manner of ALPN (RFC 7301): 1 to 32 bytes, mostly text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// What comes after `len` is 0.
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

impl Service {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 32;

    /// The service with this name.
    ///
    /// # Errors
    ///
    /// An empty name, or one of more than 32 bytes.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, InvalidService> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > Self::LEN_MAX {
            return Err(InvalidService { len: name.len() });
        }
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { bytes, len: name.len() as u8 })
    }

    /// The name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({self})")
    }
}

impl TryFrom<&str> for Service {
    type Error = InvalidService;

    fn try_from(name: &str) -> Result<Self, InvalidService> {
        Self::new(name)
    }
}

impl std::str::FromStr for Service {
    type Err = InvalidService;

    fn from_str(name: &str) -> Result<Self, InvalidService> {
        Self::new(name)
    }
}

/// A name that no [`Service`] can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidService {
    /// Its length in bytes.
    pub len: usize,
}

impl fmt::Display for InvalidService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a service has a name of 1 to {} bytes, not {}", Service::LEN_MAX, self.len)
    }
}

impl std::error::Error for InvalidService {}

/// Why the sender ends a stream: a code of the application's choice and, for people, a text of up to 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct OwnReason<'a> {
    code: u16,
    text: &'a str,
}

impl<'a> OwnReason<'a> {
    /// The longest text, in bytes.
    pub const TEXT_MAX: usize = 64;

    /// Nobody listens for the service that the SYN named. Codes from 0xFF00 on are this crate's.
    pub const NO_SERVICE: u16 = 0xFF01;

    /// The reason with this code. The text is cut where a character ends within 64 bytes.
    #[must_use]
    pub fn new(code: u16, text: &'a str) -> Self {
        let max = Self::TEXT_MAX.min(text.len());
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self { code, text: &text[..end] }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }

    /// The text, possibly empty.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.text
    }

    /// A text that is none, or too long, is left out.
    pub(super) fn decode(value: &'a [u8]) -> Option<Self> {
        let (code, text) = value.split_first_chunk()?;
        let text = if text.len() <= Self::TEXT_MAX { std::str::from_utf8(text).ok() } else { None };
        Some(Self { code: u16::from_be_bytes(*code), text: text.unwrap_or_default() })
    }
}
