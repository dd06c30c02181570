//! Frames: what a packet in message mode is made of, end to end.
//!
//! ```text
//!   ┌──────┬─────────┬────────┬───────────────────────────────────────────────────────┐
//!   │ head │ channel │ number │ WHOLE     length, payload                             │
//!   │  u8  │   u8    │  u32   │ FRAGMENT  offset, length of the message, length, payload │
//!   │      │         │        │ RECEIPT   verdict (u8)                                │
//!   └──────┴─────────┴────────┴───────────────────────────────────────────────────────┘
//!   head: bits 0 to 2 the channel's mode, bits 3 and 4 the kind of frame, the rest 0
//! ```
//!
//! Numbers are big endian and count the messages of a channel. Lengths are groups of seven bits, the lowest first, as
//! in LEB128, four at most. A small message costs seven bytes besides its own.

use std::fmt;
use std::ops::Range;

use super::Mode;

/// One frame. Payloads are places in the packet that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) mode: Mode,
    pub(super) channel: u8,
    pub(super) number: u32,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Whole(Range<usize>),
    Fragment { offset: u32, total: u32, payload: Range<usize> },
    Receipt(Verdict),
}

/// What a receiver says about a message that came in several fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// It could not be kept.
    Dropped,
}

/// Ours: bytes of head, channel and number.
const HEAD: usize = 6;
/// Ours: seven bits each; 256 MiB is more than any message has.
const LENGTH_BYTES: usize = 4;
/// Ours: bytes of a frame with a receipt.
pub(super) const RECEIPT: usize = HEAD + 1;
/// Ours: most bytes of a fragment besides its payload.
pub(super) const FRAGMENT_HEAD: usize = HEAD + 3 * LENGTH_BYTES;

/// Ours.
const WHOLE_KIND: u8 = 0;
/// Ours.
const FRAGMENT_KIND: u8 = 1;
/// Ours.
const RECEIPT_KIND: u8 = 2;

/// Bytes that a whole message of that length takes.
pub(super) const fn whole_len(payload: usize) -> usize {
    HEAD + length_len(payload) + payload
}

/// Bytes of the message in such a frame.
pub(super) const fn whole_payload(frame: usize) -> usize {
    let rest = frame.saturating_sub(HEAD);
    rest.saturating_sub(length_len(rest.saturating_sub(length_len(rest))))
}

const fn length_len(length: usize) -> usize {
    match length {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Writes frames at the end of a packet.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    pub(super) fn whole(&mut self, mode: Mode, channel: u8, number: u32, payload: &[u8]) {
        self.head(mode, WHOLE_KIND, channel, number);
        self.length(payload.len());
        self.out.extend_from_slice(payload);
    }

    pub(super) fn fragment(&mut self, to: (Mode, u8, u32), offset: u32, total: u32, payload: &[u8]) {
        let (mode, channel, number) = to;
        self.head(mode, FRAGMENT_KIND, channel, number);
        self.length(offset as usize);
        self.length(total as usize);
        self.length(payload.len());
        self.out.extend_from_slice(payload);
    }

    pub(super) fn receipt(&mut self, mode: Mode, channel: u8, number: u32, verdict: Verdict) {
        self.head(mode, RECEIPT_KIND, channel, number);
        self.out.push(verdict as u8);
    }

    fn head(&mut self, mode: Mode, kind: u8, channel: u8, number: u32) {
        self.out.extend_from_slice(&[mode.code() | kind << 3, channel]);
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn length(&mut self, mut length: usize) {
        debug_assert!(length < 1 << (7 * LENGTH_BYTES), "limited by the configuration");
        while length >= 0x80 {
            self.out.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.out.push(length as u8);
    }
}

/// Why a packet is not made of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// It ends within a frame.
    Truncated,
    /// A kind or a mode that there is not, or a verdict.
    Unknown,
    /// A fragment beyond the end of its message, an empty one, or a length that is too long.
    Absurd,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the packet ends within a frame",
            Self::Unknown => "a frame of an unknown kind",
            Self::Absurd => "a frame with impossible lengths",
        })
    }
}

/// Takes a packet apart, frame by frame. Ends with the first one that is none.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn parse(&mut self) -> Result<Frame, FrameError> {
        let &[head, channel] = self.take()?;
        let number = u32::from_be_bytes(*self.take()?);
        let mode = match head & 7 {
            0 => Mode::Unreliable,
            1 => Mode::UnreliableSequenced,
            2 => Mode::ReliableUnordered,
            3 => Mode::ReliableOrdered,
            4 => Mode::ReliableSequenced,
            _ => return Err(FrameError::Unknown),
        };
        let body = match head >> 3 {
            WHOLE_KIND => Body::Whole(self.payload()?),
            FRAGMENT_KIND => self.fragment()?,
            RECEIPT_KIND => Body::Receipt(match *self.take()? {
                [0] => Verdict::Delivered,
                [1] => Verdict::Dropped,
                _ => return Err(FrameError::Unknown),
            }),
            _ => return Err(FrameError::Unknown),
        };
        Ok(Frame { mode, channel, number, body })
    }

    fn fragment(&mut self) -> Result<Body, FrameError> {
        let (offset, total) = (self.length()?, self.length()?);
        let payload = self.payload()?;
        let end = offset as usize + payload.len();
        if payload.is_empty() || end > total as usize {
            return Err(FrameError::Absurd);
        }
        Ok(Body::Fragment { offset, total, payload })
    }

    fn payload(&mut self) -> Result<Range<usize>, FrameError> {
        let len = self.length()? as usize;
        let end = self.at + len;
        if end > self.bytes.len() {
            return Err(FrameError::Truncated);
        }
        let payload = self.at..end;
        self.at = end;
        Ok(payload)
    }

    fn length(&mut self) -> Result<u32, FrameError> {
        let mut length = 0;
        for place in 0..LENGTH_BYTES {
            let [byte] = *self.take()?;
            length |= u32::from(byte & 0x7F) << (7 * place);
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err(FrameError::Absurd)
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], FrameError> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or(FrameError::Truncated)?;
        self.at += N;
        Ok(bytes)
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let frame = self.parse();
        if frame.is_err() {
            self.at = self.bytes.len();
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODE: Mode = Mode::ReliableOrdered;

    fn parsed(bytes: &[u8]) -> Vec<Result<Frame, FrameError>> {
        Frames::new(bytes).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in_and_a_small_message_costs_seven_bytes() {
        let mut bytes = Vec::new();
        let mut writer = Writer { out: &mut bytes };
        writer.whole(MODE, 3, 0xFFFF_FFFF, &[7; 64]);
        writer.receipt(Mode::Unreliable, 255, 1, Verdict::Dropped);
        writer.fragment((MODE, 0, 2), 300, 100_000, &[8; 200]);
        let frames: Vec<Frame> = parsed(&bytes).into_iter().flatten().collect();
        assert_eq!(frames[0], Frame { mode: MODE, channel: 3, number: u32::MAX, body: Body::Whole(7..71) });
        assert_eq!(frames[1].body, Body::Receipt(Verdict::Dropped));
        let payload = bytes.len() - 200..bytes.len();
        assert_eq!(frames[2].body, Body::Fragment { offset: 300, total: 100_000, payload });
        assert_eq!(whole_len(64), 71);
        assert!((0..0x5000).all(|payload| whole_payload(whole_len(payload)) == payload));
        assert_eq!((whole_len(0x7F), whole_len(0x80), whole_len(0x4000)), (134, 136, 0x4009));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_ends_the_packet() {
        let whole = [3, 0, 0, 0, 0, 0, 1, 9];
        let then = |rest: &[u8]| parsed(&[&whole[..], rest].concat()).pop();
        assert_eq!(parsed(&whole).len(), 1);
        assert_eq!(then(&[3, 0, 0]), Some(Err(FrameError::Truncated)));
        assert_eq!(then(&[3, 0, 0, 0, 0, 0, 2, 9]), Some(Err(FrameError::Truncated)));
        assert_eq!(then(&[5, 0, 0, 0, 0, 0, 0]), Some(Err(FrameError::Unknown)));
        assert_eq!(then(&[3 << 3, 0, 0, 0, 0, 0, 0]), Some(Err(FrameError::Unknown)));
        assert_eq!(then(&[1 << 5, 0, 0, 0, 0, 0, 0]), Some(Err(FrameError::Unknown)));
        assert_eq!(then(&[2 << 3, 0, 0, 0, 0, 0, 2]), Some(Err(FrameError::Unknown)));
        assert_eq!(then(&[3, 0, 0, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0]), Some(Err(FrameError::Absurd)));
        // Beyond its message, and an empty fragment (P4: crafted counts made a receiver panic).
        assert_eq!(then(&[1 << 3, 0, 0, 0, 0, 0, 1, 1, 1, 9]), Some(Err(FrameError::Absurd)));
        assert_eq!(then(&[1 << 3, 0, 0, 0, 0, 0, 0, 1, 0]), Some(Err(FrameError::Absurd)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_apart_within_its_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut errors = 0;
            for frame in Frames::new(&bytes) {
                prop_assert_eq!(errors, 0, "an error is the end");
                match frame {
                    Ok(Frame { body: Body::Whole(payload), .. }) => prop_assert!(payload.end <= bytes.len()),
                    Ok(Frame { body: Body::Fragment { offset, total, payload }, .. }) => {
                        prop_assert!(payload.end <= bytes.len());
                        prop_assert!(offset as usize + payload.len() <= total as usize);
                    }
                    Ok(_) => {}
                    Err(_) => errors += 1,
                }
            }
        }
    }
}
