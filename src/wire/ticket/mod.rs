//! What two peers have to tell each other before they can meet, in one word that fits any way of telling it.
//!
//! ```text
//!   ├─────────┼─────────┼───────┼────────────┼────────────────┼────────────┤
//!   │ version │ session │ token │ NAT class  │ candidates …   │ check sum  │     at most 128 bytes
//!   │    1    │   16    │   8   │  1 or 5    │  7 or 19 each  │     2      │
//!   ├─────────┼─────────┼───────┼────────────┼────────────────┼────────────┤
//! ```
//!
//! As text it is base32 (RFC 4648 §6) in small letters without padding: no character of it breaks a word, a
//! shell line or a URL, and no large letter gets lost on the telephone. The check sum finds what was mistyped or
//! cut off; it protects against nobody. How the ticket gets to the peer is not known here.

use std::fmt;
use std::str::FromStr;

use super::{CANDIDATES_MAX, Candidate, CandidateError, NatClass, Session, Token};

/// The only version so far.
const VERSION: u8 = 1;

/// Everything but class and candidates.
const FRAME_LEN: usize = 1 + 16 + 8 + 2;

/// RFC 4648 §6, in small letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What one peer hands to another so that the two can meet.
///
/// Whoever has it can send packets that the peer will answer, and be answered at the addresses in it: hand it to the
/// peer only. Good for one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    session: Session,
    token: Token,
    class: NatClass,
    candidates: Vec<Candidate>,
}

impl Ticket {
    /// The longest, in bytes.
    pub const LEN_MAX: usize = 128;

    /// The longest as text, in characters.
    pub const TEXT_LEN_MAX: usize = (Self::LEN_MAX * 8).div_ceil(5);

    /// A ticket. `session` is this side's half of the attempt's name, and `token` what packets to this side have to
    /// carry: both should be random and new.
    ///
    /// # Errors
    /// More than [`CANDIDATES_MAX`] candidates, more than fit (up to five of IPv6 always do), or one where nobody
    /// can be.
    pub fn new(
        session: Session,
        token: Token,
        class: NatClass,
        candidates: &[Candidate],
    ) -> Result<Self, TicketError> {
        if candidates.len() > CANDIDATES_MAX {
            return Err(TicketError::TooManyCandidates);
        }
        let this = Self { session, token, class, candidates: candidates.to_vec() };
        // Whatever would not be read is not written.
        Self::from_bytes(&this.to_bytes())
    }

    /// Its sender's half of the name of the attempt.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.session
    }

    /// What packets to its sender have to carry.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// What its sender is behind.
    #[must_use]
    pub const fn class(&self) -> NatClass {
        self.class
    }

    /// Where its sender may be found.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN_MAX);
        out.push(VERSION);
        out.extend_from_slice(&self.session.to_bytes());
        out.extend_from_slice(&self.token.get().to_be_bytes());
        self.class.encode(&mut out);
        self.candidates.iter().for_each(|candidate| candidate.encode(&mut out));
        let sum = check_sum(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Why these are no ticket.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        if bytes.len() > Self::LEN_MAX {
            return Err(TicketError::TooLong);
        }
        if bytes.len() <= FRAME_LEN {
            return Err(TicketError::Truncated);
        }
        let (body, sum) = bytes.split_last_chunk::<2>().ok_or(TicketError::Truncated)?;
        if check_sum(body) != u16::from_be_bytes(*sum) {
            return Err(TicketError::CheckSum);
        }
        let (&[version], rest) = body.split_first_chunk().ok_or(TicketError::Truncated)?;
        if version != VERSION {
            return Err(TicketError::Version(version));
        }
        let (session, rest) = rest.split_first_chunk::<16>().ok_or(TicketError::Truncated)?;
        let (token, rest) = rest.split_first_chunk::<8>().ok_or(TicketError::Truncated)?;
        let (class, mut rest) = NatClass::decode(rest).map_err(|_| TicketError::Truncated)?;
        let mut candidates = Vec::new();
        while !rest.is_empty() {
            let (candidate, after) = Candidate::decode(rest).map_err(TicketError::Candidate)?;
            if candidates.len() == CANDIDATES_MAX {
                return Err(TicketError::TooManyCandidates);
            }
            candidates.push(candidate);
            rest = after;
        }
        let (session, token) = (Session::new(*session), Token::new(u64::from_be_bytes(*token)));
        Ok(Self { session, token, class, candidates })
    }
}

/// One word of small letters and digits.
impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut bits, mut held) = (0u32, 0);
        let mut word = String::with_capacity(Self::TEXT_LEN_MAX);
        for byte in self.to_bytes() {
            bits = bits << 8 | u32::from(byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                word.push(letter(bits >> held));
            }
        }
        if held > 0 {
            word.push(letter(bits << (5 - held)));
        }
        f.pad(&word)
    }
}

/// Takes large letters too, and space around the word.
impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > Self::TEXT_LEN_MAX {
            return Err(TicketError::TooLong);
        }
        let (mut bits, mut held) = (0u32, 0);
        let mut bytes = Vec::with_capacity(Self::LEN_MAX);
        for c in text.chars() {
            bits = bits << 5 | value(c).ok_or(TicketError::Character(c))?;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        // What is left over was not written: it is less than a letter, and zero.
        if held >= 5 || bits & ((1 << held) - 1) != 0 {
            return Err(TicketError::Truncated);
        }
        Self::from_bytes(&bytes)
    }
}

/// The letter of the lowest five bits.
const fn letter(bits: u32) -> char {
    ALPHABET[(bits & 31) as usize] as char
}

fn value(c: char) -> Option<u32> {
    match c {
        'a'..='z' => Some(c as u32 - 'a' as u32),
        'A'..='Z' => Some(c as u32 - 'A' as u32),
        '2'..='7' => Some(c as u32 - '2' as u32 + 26),
        _ => None,
    }
}

/// CRC-16/GENIBUS: finds every mistake of up to sixteen bits in a row, and zeros at the end.
fn check_sum(bytes: &[u8]) -> u16 {
    let step = |sum: u16, _| sum << 1 ^ if sum >> 15 == 1 { 0x1021 } else { 0 };
    !bytes.iter().fold(0xFFFF, |sum, &byte| (0..8).fold(sum ^ u16::from(byte) << 8, step))
}

/// Why something is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketError {
    /// No ticket is that long.
    TooLong,
    /// It ends in the middle.
    Truncated,
    /// A character that is in no ticket.
    Character(char),
    /// It was mistyped, or is something else.
    CheckSum,
    /// A version that we do not know.
    Version(u8),
    /// More than [`CANDIDATES_MAX`].
    TooManyCandidates,
    /// One of the candidates is none.
    Candidate(CandidateError),
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a ticket has at most {} bytes", Ticket::LEN_MAX),
            Self::Truncated => f.write_str("the ticket is not complete"),
            Self::Character(c) => write!(f, "{c:?} is in no ticket"),
            Self::CheckSum => f.write_str("this is no ticket, or one that was mistyped"),
            Self::Version(version) => write!(f, "a ticket of version {version}, which is unknown here"),
            Self::TooManyCandidates => write!(f, "a ticket has at most {CANDIDATES_MAX} candidates"),
            Self::Candidate(error) => write!(f, "the ticket names {error}"),
        }
    }
}

impl std::error::Error for TicketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Candidate(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
