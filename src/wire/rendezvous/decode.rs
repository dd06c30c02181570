//! Bytes to messages.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::address;
use super::field::{Field, fields};
use super::ids::{ErrorCode, MessageKind, Outcome, PathKind, PeerHandle, RoomId, Secret};
use super::message::{
    Claim, Connect, Hello, Join, JoinFlags, Leave, Limits, Message, PEERS_MAX, Peers, Ping, Punched, Refusal,
    Relay, Rendezvous, Role, Round, STUN_MAX, WantedRole, Welcome,
};
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateError, NatClass, Session, Token};

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Its length: zero, or more than a message may have.
    BadLength,
    /// A message that this version does not know.
    Unknown(u8),
    /// A field ends after the message does.
    Truncated,
    /// A field that must be understood, and is not.
    NotUnderstood(u8),
    /// A field has a value that it cannot have: the number of the field.
    BadField(u8),
    /// A field is not there that has to be: the number of the field.
    Missing(u8),
    /// A list has too many entries: the number of the field.
    TooMany(u8),
}

impl MessageError {
    /// Whether nobody knows where the next message begins.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::BadLength)
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLength => f.write_str("a message of an impossible length"),
            Self::Unknown(kind) => write!(f, "unknown message {kind}"),
            Self::Truncated => f.write_str("a field ends after its message"),
            Self::NotUnderstood(field) => write!(f, "field {field}, which is not understood and must be"),
            Self::BadField(field) => write!(f, "field {field} has no proper value"),
            Self::Missing(field) => write!(f, "field {field} is missing"),
            Self::TooMany(field) => write!(f, "too many fields {field}"),
        }
    }
}

impl std::error::Error for MessageError {}

/// Whatever may be in a message. Half of a kibibyte at most, and lists with bounds.
#[derive(Default)]
struct Fields<'a> {
    single: [Option<&'a [u8]>; Field::Relay as usize + 1],
    candidates: Vec<Candidate>,
    stun: Vec<SocketAddr>,
    peers: Vec<PeerHandle>,
    left: Vec<PeerHandle>,
}

/// A message without its length.
pub(super) fn message(bytes: &[u8]) -> Result<Message, MessageError> {
    let Some((&kind, rest)) = bytes.split_first() else { return Err(MessageError::BadLength) };
    let kind = MessageKind::from_number(kind);
    let fields = Fields::collect(rest, kind)?;
    Ok(match kind {
        MessageKind::Hello => Message::Hello(fields.hello()?),
        MessageKind::Welcome => Message::Welcome(fields.welcome()?),
        MessageKind::Join => Message::Join(fields.join()?),
        MessageKind::Peers => Message::Peers(fields.into_peers()?),
        MessageKind::Rendezvous => Message::Rendezvous(Rendezvous { peer: fields.peer()? }),
        MessageKind::Connect => Message::Connect(Box::new(fields.connect()?)),
        MessageKind::Ready => Message::Ready(fields.round()?),
        MessageKind::Go => Message::Go(fields.round()?),
        MessageKind::Result => Message::Result(fields.punched()?),
        MessageKind::Error => Message::Error(fields.refusal()?),
        MessageKind::Leave => Message::Leave(Leave { room: fields.maybe(Field::Room, room)? }),
        MessageKind::Ping => Message::Ping(Ping {
            nonce: fields.need(Field::Nonce, number)?,
            answer: fields.flags()? & 1 != 0,
        }),
        MessageKind::Other(kind) => return Err(MessageError::Unknown(kind)),
    })
}

impl<'a> Fields<'a> {
    fn collect(rest: &'a [u8], kind: MessageKind) -> Result<Self, MessageError> {
        let mut found = Self::default();
        for field in fields(rest) {
            let (field, value) = field?;
            match field {
                Field::Candidate => {
                    if let Some(candidate) = candidate(value)? {
                        add(&mut found.candidates, candidate, CANDIDATES_MAX, field)?;
                    }
                }
                Field::Stun => add(&mut found.stun, parse(field, value, address::read)?, STUN_MAX, field)?,
                Field::Peer if kind == MessageKind::Peers => {
                    let most = PEERS_MAX - found.left.len();
                    add(&mut found.peers, parse(field, value, peer)?, most, field)?;
                }
                Field::Left => {
                    let most = PEERS_MAX - found.peers.len().min(PEERS_MAX);
                    add(&mut found.left, parse(field, value, peer)?, most, field)?;
                }
                _ => {
                    found.single[field as usize].get_or_insert(value);
                }
            }
        }
        Ok(found)
    }

    fn maybe<T>(
        &self,
        field: Field,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, MessageError> {
        self.single[field as usize].map(|value| parse(field, value, read)).transpose()
    }

    fn need<T>(&self, field: Field, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, MessageError> {
        self.maybe(field, read)?.ok_or(MessageError::Missing(field as u8))
    }

    fn flags(&self) -> Result<u8, MessageError> {
        Ok(self.maybe(Field::Flags, byte)?.unwrap_or_default())
    }

    fn peer(&self) -> Result<PeerHandle, MessageError> {
        self.need(Field::Peer, peer)
    }

    fn session(&self) -> Result<Session, MessageError> {
        self.need(Field::Session, session)
    }

    fn hello(&self) -> Result<Hello, MessageError> {
        let returns = self.flags()? & 1 != 0;
        let claim = self.maybe(Field::Secret, secret)?;
        Ok(Hello {
            version: self.need(Field::Version, byte)?,
            claim: claim.map(|secret| if returns { Claim::Return(secret) } else { Claim::Annex(secret) }),
        })
    }

    fn welcome(self) -> Result<Welcome, MessageError> {
        Ok(Welcome {
            version: self.need(Field::Version, byte)?,
            observed: self.need(Field::Observed, address::read)?,
            idle: self.need(Field::Idle, millis)?,
            limits: self.need(Field::Limits, limits)?,
            secret: self.maybe(Field::Secret, secret)?,
            stun: self.stun,
        })
    }

    fn join(self) -> Result<Join, MessageError> {
        Ok(Join {
            room: self.need(Field::Room, room)?,
            token: self.need(Field::Token, number).map(Token::new)?,
            class: self.need(Field::Class, class)?,
            role: self.maybe(Field::Role, wanted_role)?.unwrap_or_default(),
            capacity: self.maybe(Field::Capacity, short)?.unwrap_or(2),
            flags: JoinFlags(self.flags()?),
            candidates: self.candidates,
        })
    }

    fn into_peers(self) -> Result<Peers, MessageError> {
        Ok(Peers {
            room: self.need(Field::Room, room)?,
            yourself: self.maybe(Field::Yourself, peer)?,
            joined: self.peers,
            left: self.left,
        })
    }

    fn connect(self) -> Result<Connect, MessageError> {
        Ok(Connect {
            session: self.session()?,
            room: self.need(Field::Room, room)?,
            peer: self.peer()?,
            role: self.need(Field::Role, role)?,
            token: self.need(Field::Token, number).map(Token::new)?,
            class: self.need(Field::Class, class)?,
            deadline: self.need(Field::Deadline, millis)?,
            relay: self.maybe(Field::Relay, relay)?,
            candidates: self.candidates,
        })
    }

    fn round(&self) -> Result<Round, MessageError> {
        let round = self.maybe(Field::Round, byte)?.unwrap_or_default();
        Ok(Round { session: self.session()?, round })
    }

    fn punched(&self) -> Result<Punched, MessageError> {
        Ok(Punched {
            session: self.session()?,
            outcome: self.need(Field::Outcome, byte).map(Outcome::from_number)?,
            path: self.maybe(Field::Path, byte)?.map(PathKind::from_number),
            took: self.need(Field::Took, millis)?,
        })
    }

    fn refusal(&self) -> Result<Refusal, MessageError> {
        Ok(Refusal {
            code: self.need(Field::Code, byte).map(ErrorCode::from_number)?,
            room: self.maybe(Field::Room, room)?,
            peer: self.maybe(Field::Peer, peer)?,
            session: self.maybe(Field::Session, session)?,
            retry_after: self.maybe(Field::RetryAfter, word)?.map(|secs| Duration::from_secs(secs.into())),
        })
    }
}

fn add<T>(list: &mut Vec<T>, item: T, most: usize, field: Field) -> Result<(), MessageError> {
    if list.len() >= most {
        return Err(MessageError::TooMany(field as u8));
    }
    list.push(item);
    Ok(())
}

fn parse<T>(field: Field, value: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, MessageError> {
    read(value).ok_or(MessageError::BadField(field as u8))
}

/// `None` for a kind of candidate that only later versions know.
fn candidate(value: &[u8]) -> Result<Option<Candidate>, MessageError> {
    let mut plain = [0; address::LEN_MAX];
    let plain = plain.get_mut(..value.len()).ok_or(MessageError::BadField(Field::Candidate as u8))?;
    plain.copy_from_slice(value);
    address::mask(plain.get_mut(1..).unwrap_or_default());
    match Candidate::decode(plain) {
        Ok((candidate, [])) => Ok(Some(candidate)),
        Err(CandidateError::Kind(_)) => Ok(None),
        Ok(_) | Err(_) => Err(MessageError::BadField(Field::Candidate as u8)),
    }
}

fn class(value: &[u8]) -> Option<NatClass> {
    NatClass::decode(value).ok().map(|(class, _)| class)
}

fn array<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

fn byte(value: &[u8]) -> Option<u8> {
    array(value).map(|[byte]| byte)
}

fn short(value: &[u8]) -> Option<u16> {
    array(value).map(u16::from_be_bytes)
}

fn word(value: &[u8]) -> Option<u32> {
    array(value).map(u32::from_be_bytes)
}

fn number(value: &[u8]) -> Option<u64> {
    array(value).map(u64::from_be_bytes)
}

fn millis(value: &[u8]) -> Option<Duration> {
    word(value).map(|millis| Duration::from_millis(millis.into()))
}

fn peer(value: &[u8]) -> Option<PeerHandle> {
    number(value).map(PeerHandle::new)
}

fn session(value: &[u8]) -> Option<Session> {
    array(value).map(Session::new)
}

fn secret(value: &[u8]) -> Option<Secret> {
    array(value).map(Secret::new)
}

fn room(value: &[u8]) -> Option<RoomId> {
    RoomId::new(value).ok()
}

fn role(value: &[u8]) -> Option<Role> {
    match byte(value)? {
        1 => Some(Role::Initiator),
        2 => Some(Role::Acceptor),
        _ => None,
    }
}

fn wanted_role(value: &[u8]) -> Option<WantedRole> {
    Some(match byte(value)? {
        1 => WantedRole::Initiator,
        2 => WantedRole::Acceptor,
        // What later versions may want is no reason to send somebody away.
        _ => WantedRole::Any,
    })
}

fn limits(value: &[u8]) -> Option<Limits> {
    let [a, b, c, d, e, f] = array(value)?;
    let [rooms, members, rendezvous] = [[a, b], [c, d], [e, f]].map(u16::from_be_bytes);
    Some(Limits { rooms, members, rendezvous })
}

fn relay(value: &[u8]) -> Option<Relay> {
    let (bytes, rest) = value.split_first_chunk::<8>()?;
    let (secs, rest) = rest.split_first_chunk::<4>()?;
    let (rate, addr) = rest.split_first_chunk::<4>()?;
    Some(Relay {
        addr: address::read(addr)?,
        bytes: u64::from_be_bytes(*bytes),
        duration: Duration::from_secs(u32::from_be_bytes(*secs).into()),
        rate: u32::from_be_bytes(*rate),
    })
}
