//! Numbers of fields, and the walk over those of a message.

use super::decode::MessageError;

/// From here on a field must be understood.
const MANDATORY: u8 = 0x80;

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Version = 1,
    Observed = 2,
    Idle = 3,
    Limits = 4,
    Stun = 5,
    Secret = 6,
    Room = 7,
    Token = 8,
    Class = 9,
    Candidate = 10,
    Role = 11,
    Capacity = 12,
    Flags = 13,
    Yourself = 14,
    Peer = 15,
    Left = 16,
    Session = 17,
    Deadline = 18,
    Round = 19,
    Outcome = 20,
    Path = 21,
    Took = 22,
    Code = 23,
    RetryAfter = 24,
    Nonce = 25,
    Relay = 26,
}

impl Field {
    const ALL: [Self; 26] = [
        Self::Version,
        Self::Observed,
        Self::Idle,
        Self::Limits,
        Self::Stun,
        Self::Secret,
        Self::Room,
        Self::Token,
        Self::Class,
        Self::Candidate,
        Self::Role,
        Self::Capacity,
        Self::Flags,
        Self::Yourself,
        Self::Peer,
        Self::Left,
        Self::Session,
        Self::Deadline,
        Self::Round,
        Self::Outcome,
        Self::Path,
        Self::Took,
        Self::Code,
        Self::RetryAfter,
        Self::Nonce,
        Self::Relay,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }
}

/// The fields of a message that are known, in the order in which they came.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(Field, &[u8]), MessageError>> {
    std::iter::from_fn(move || {
        loop {
            let (&number, after) = rest.split_first()?;
            if number == 0 {
                rest = after;
                continue;
            }
            let value = after.split_first().and_then(|(&len, data)| data.split_at_checked(len.into()));
            let Some((value, next)) = value else {
                rest = &[];
                return Some(Err(MessageError::Truncated));
            };
            rest = next;
            match Field::from_number(number) {
                Some(field) => return Some(Ok((field, value))),
                None if number >= MANDATORY => return Some(Err(MessageError::NotUnderstood(number))),
                None => {}
            }
        }
    })
}
