//! Values of an application's types as messages: a version and the value, in postcard's format.
//!
//! ```text
//!   ┌────────────────────────┬───────────────────┐
//!   │ version, little endian │ value (postcard) …│
//!   │          u16           │                   │
//!   └────────────────────────┴───────────────────┘
//! ```
//!
//! Pure, and the same for every face: bytes in and out, no connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use postcard::ser_flavors::Size;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Message;

/// Ours: bytes of the version.
const VERSION: usize = 2;

/// A channel whose messages are values of type `T`, in a version of your counting.
///
/// What is sent takes one allocation, of exactly its size. What arrives may be anything: it becomes a value or an
/// error. Two kinds of types need care with peers that are not trusted, because their length says nothing about what
/// they cost: those that contain themselves nest as deep as their bytes allow (a small [`max_len`](Self::max_len) keeps
/// the stack safe), and sequences of values without bytes, such as `Vec<()>`, count to whatever number is claimed.
///
/// ```
/// use ebbtide::message::Typed;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Position { x: f32, y: f32 }
///
/// const POSITIONS: Typed<Position> = Typed::new(0, 1);
/// let bytes = POSITIONS.encode(&Position { x: 1.0, y: -2.5 })?;
/// assert_eq!(POSITIONS.decode(&bytes)?, Position { x: 1.0, y: -2.5 });
/// // Others have moved on:
/// assert!(Typed::<Position>::new(0, 2).decode(&bytes).is_err());
/// # Ok::<(), ebbtide::message::TypedError>(())
/// ```
pub struct Typed<T> {
    channel: u8,
    version: u16,
    max_len: usize,
    values: PhantomData<fn(T) -> T>,
}

impl<T> Typed<T> {
    /// Values on that channel, in that version: a number to be changed with the type, so that ends with different types
    /// notice. It proves nothing about who is at the other end.
    #[must_use]
    pub const fn new(channel: u8, version: u16) -> Self {
        Self { channel, version, max_len: 1 << 20, values: PhantomData }
    }

    /// Bytes that a message may have, with its version (default 1 MiB). What is longer is neither sent nor looked into.
    #[must_use]
    pub const fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> u8 {
        self.channel
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }
}

impl<T: Serialize> Typed<T> {
    /// The message that says `value`.
    ///
    /// # Errors
    /// [`TooLong`](TypedError::TooLong); [`Malformed`](TypedError::Malformed) if the type cannot be written in this
    /// format: sequences have to know their length.
    pub fn encode(&self, value: &T) -> Result<Bytes, TypedError> {
        let size = postcard::serialize_with_flavor(value, Size::default()).map_err(TypedError::of)?;
        let len = size.saturating_add(VERSION);
        self.check(len)?;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        postcard::to_extend(value, bytes).map(Bytes::from).map_err(TypedError::of)
    }
}

impl<T: DeserializeOwned> Typed<T> {
    /// The value that a message says.
    ///
    /// # Errors
    /// All of [`TypedError`].
    pub fn decode(&self, message: &[u8]) -> Result<T, TypedError> {
        self.check(message.len())?;
        let (version, value) = message.split_first_chunk().ok_or(TypedError::Truncated)?;
        let theirs = u16::from_le_bytes(*version);
        if theirs != self.version {
            return Err(TypedError::WrongVersion { ours: self.version, theirs });
        }
        match postcard::take_from_bytes(value).map_err(TypedError::of)? {
            (value, []) => Ok(value),
            (_, rest) => Err(TypedError::Trailing { bytes: rest.len() }),
        }
    }

    /// As [`decode`](Self::decode); `None` if the message came on another channel.
    #[must_use]
    pub fn open(&self, message: &Message) -> Option<Result<T, TypedError>> {
        (message.channel == self.channel).then(|| self.decode(&message.bytes))
    }
}

impl<T> Typed<T> {
    const fn check(&self, len: usize) -> Result<(), TypedError> {
        if len > self.max_len {
            return Err(TypedError::TooLong { len, max: self.max_len });
        }
        Ok(())
    }
}

/// Not derived: what `T` can does not matter.
impl<T> Clone for Typed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<T> {}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channel, version) = (self.channel, self.version);
        write!(f, "Typed<{}> {{ channel: {channel}, version: {version} }}", std::any::type_name::<T>())
    }
}

/// Why a value is no message, or a message no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum TypedError {
    /// The other end has another version of the type.
    WrongVersion {
        /// Ours.
        ours: u16,
        /// What the message says.
        theirs: u16,
    },
    /// The message is longer than [`Typed::max_len`].
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The message ends within the value.
    Truncated,
    /// The value ends before the message.
    Trailing {
        /// Bytes that are left.
        bytes: usize,
    },
    /// The bytes are no such value, or the value cannot be written.
    Malformed(Box<dyn Error + Send + Sync>),
}

impl TypedError {
    fn of(error: postcard::Error) -> Self {
        match error {
            postcard::Error::DeserializeUnexpectedEnd => Self::Truncated,
            other => Self::Malformed(other.into()),
        }
    }
}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongVersion { ours, theirs } => {
                write!(f, "the message has version {theirs}, and {ours} was expected")
            }
            Self::TooLong { len, max } => write!(f, "a message of {len} bytes where {max} are allowed"),
            Self::Truncated => f.write_str("the message ends within its value"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes after the value"),
            Self::Malformed(_) => f.write_str("the message is no such value"),
        }
    }
}

impl Error for TypedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed(source) => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl From<TypedError> for io::Error {
    fn from(error: TypedError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum Event {
        Silence,
        Said { who: String, words: Vec<String> },
        Moved(i64, Option<u32>, [u8; 3]),
        Scores(BTreeMap<u16, bool>),
    }

    const EVENTS: Typed<Event> = Typed::new(7, 0xFFFE);

    fn event() -> impl Strategy<Value = Event> {
        let words = || proptest::collection::vec(".{0,8}", 0..4);
        prop_oneof![
            Just(Event::Silence),
            (".{0,8}", words()).prop_map(|(who, words)| Event::Said { who, words }),
            any::<(i64, Option<u32>, [u8; 3])>().prop_map(|(at, of, rgb)| Event::Moved(at, of, rgb)),
            proptest::collection::btree_map(any::<u16>(), any::<bool>(), 0..9).prop_map(Event::Scores),
        ]
    }

    proptest! {
        #[test]
        fn a_value_comes_back_and_every_prefix_and_extension_is_an_error(event in event()) {
            let bytes = EVENTS.encode(&event).expect("short");
            prop_assert_eq!(EVENTS.decode(&bytes).expect("ours"), event);
            for len in 0..bytes.len() {
                prop_assert!(matches!(EVENTS.decode(&bytes[..len]), Err(TypedError::Truncated)), "{}", len);
            }
            let longer = [&bytes[..], b"x"].concat();
            let is_trailing = matches!(EVENTS.decode(&longer), Err(TypedError::Trailing { bytes: 1 }));
            prop_assert!(is_trailing);
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), known: bool) {
            let mut bytes = bytes;
            if known && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&EVENTS.version().to_le_bytes());
            }
            if let Ok(event) = EVENTS.decode(&bytes) {
                // Not always the same bytes: numbers can be written longer than they need to be.
                prop_assert_eq!(EVENTS.decode(&EVENTS.encode(&event).expect("short")).expect("ours"), event);
            }
        }
    }

    #[test]
    fn a_length_that_is_claimed_sets_no_memory_aside() {
        let texts = Typed::<Vec<String>>::new(0, 1);
        let claim = [&[1, 0][..], &[0xFF; 9], &[0x01]].concat();
        assert!(matches!(texts.decode(&claim), Err(TypedError::Truncated)));
    }

    #[test]
    fn versions_lengths_and_channels_are_checked_before_anything_else() {
        let bytes = EVENTS.encode(&Event::Silence).expect("short");
        assert_eq!(&bytes[..], [0xFE, 0xFF, 0]);
        let error = Typed::<Event>::new(7, 1).decode(&bytes).expect_err("another version");
        assert!(matches!(error, TypedError::WrongVersion { ours: 1, theirs: 0xFFFE }), "{error}");
        let strict = EVENTS.max_len(2);
        assert!(matches!(strict.decode(&bytes), Err(TypedError::TooLong { len: 3, max: 2 })));
        assert!(matches!(strict.encode(&Event::Silence), Err(TypedError::TooLong { len: 3, max: 2 })));
        let message = |channel| Message { channel, bytes: bytes.clone() };
        assert!(EVENTS.open(&message(6)).is_none());
        assert_eq!(EVENTS.open(&message(7)).expect("that channel").expect("ours"), Event::Silence);
        let error = EVENTS.decode(&[0xFE, 0xFF, 9]).expect_err("no such variant");
        assert!(error.source().is_some());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
    }
}
