//! Where one message ends and the next one begins.

use super::decode::{self, MessageError};
use super::message::Message;

/// The most bytes that a message has, its length included: it fits into one datagram.
pub const FRAME_MAX: usize = 1200;

/// Bytes before the fields: length and kind.
pub(super) const HEAD: usize = 3;

/// Makes messages of the bytes of a stream, however they were cut.
///
/// Keeps at most one message that is not complete, and no memory otherwise.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a message.
    partial: Vec<u8>,
}

impl Decoder {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: Vec::new() }
    }

    /// The next message, if the bytes complete one; those it took are gone from `bytes`. Without one all of them are
    /// kept here, and it is `None`.
    ///
    /// # Errors
    /// A message that breaks the rules. It has been skipped, and the next one can be read; unless its
    /// [length](MessageError::is_fatal) made no sense, for then nobody knows where the next one begins.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message>, MessageError> {
        if self.partial.is_empty() && bytes.len() >= 2 {
            let len = frame_len([bytes[0], bytes[1]])?;
            if let Some((frame, rest)) = bytes.split_at_checked(len) {
                *bytes = rest;
                return decode::message(&frame[2..]).map(Some);
            }
        }
        while !bytes.is_empty() {
            let wanted = match self.partial[..] {
                [] => 2,
                [high] => frame_len([high, bytes[0]])?,
                [high, low, ..] => frame_len([high, low])?,
            };
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(taken);
            *bytes = rest;
            if self.partial.len() == wanted && wanted > 2 {
                // The memory goes with it: most streams are silent most of the time.
                let frame = std::mem::take(&mut self.partial);
                return decode::message(&frame[2..]).map(Some);
            }
        }
        Ok(None)
    }

    /// Bytes of a message that is not complete.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.partial.len()
    }

    /// Bytes of memory that it holds, without itself.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.partial.capacity()
    }
}

/// Bytes of a whole frame.
fn frame_len(length: [u8; 2]) -> Result<usize, MessageError> {
    let len = 2 + usize::from(u16::from_be_bytes(length));
    if (HEAD..=FRAME_MAX).contains(&len) { Ok(len) } else { Err(MessageError::BadLength) }
}
