//! What servers and clients say to each other.

use std::net::SocketAddr;
use std::ops::BitOr;
use std::time::Duration;

use super::ids::{ErrorCode, MessageKind, Outcome, PathKind, PeerHandle, RoomId, Secret};
use crate::wire::{Candidate, NatClass, Session, Token};

/// The most peers in a message; who has more to tell sends several.
pub const PEERS_MAX: usize = 64;

/// The most further addresses for reflection in a message.
pub const STUN_MAX: usize = 4;

/// A message of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Client to server, first of all.
    Hello(Hello),
    /// Server to client, the answer.
    Welcome(Welcome),
    /// Client to server: into a room, or the same again with what has changed.
    Join(Join),
    /// Server to client: who is in a room.
    Peers(Peers),
    /// Client to server: I want to meet that one, or agree to. Server to client: that one wants to meet you.
    Rendezvous(Rendezvous),
    /// Server to both: begin.
    Connect(Box<Connect>),
    /// Client to server: the first packets are out.
    Ready(Round),
    /// Server to both: now.
    Go(Round),
    /// Client to server: how it went.
    Result(Punched),
    /// Something was not done. Client to server: that one is refused.
    Error(Refusal),
    /// Client to server: out of a room. Server to client: that room is closed; without a room: the server goes away.
    Leave(Leave),
    /// Either way: are you there, or I am.
    Ping(Ping),
}

/// HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The newest version that the client speaks.
    pub version: u8,
    /// Who the client says it is, if the server knows it already.
    pub claim: Option<Claim>,
}

/// Who a client says it is: it shows what the server has told it in a [`Welcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This stream only shows another address of that client.
    Annex(Secret),
    /// That client has come back, and has the places that it had.
    Return(Secret),
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rooms at once.
    pub rooms: u16,
    /// Members of a room.
    pub members: u16,
    /// Requests to meet somebody, per minute.
    pub rendezvous: u16,
}

/// WELCOME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak.
    pub version: u8,
    /// Where the server sees the client.
    pub observed: SocketAddr,
    /// How long the client may be silent.
    pub idle: Duration,
    /// What the client may do.
    pub limits: Limits,
    /// Further addresses of the server that answer Binding requests of STUN, at most [`STUN_MAX`].
    pub stun: Vec<SocketAddr>,
    /// Shows that a further stream, or a later one, belongs to this client.
    pub secret: Option<Secret>,
}

/// Which part somebody would like to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedRole {
    /// Any.
    #[default]
    Any,
    /// The one who connects.
    Initiator,
    /// The one who accepts.
    Acceptor,
}

/// Which part somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one who connects.
    Initiator,
    /// The one who accepts.
    Acceptor,
}

/// Switches of a [`Join`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinFlags(pub(super) u8);

impl JoinFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Whoever is in the room may meet me, without asking.
    pub const WELCOMES_ALL: Self = Self(0x01);
    /// My addresses go to nobody: I can be met through the server only.
    pub const RELAY_ONLY: Self = Self(0x02);
    /// Nothing is to be forwarded to me.
    pub const NO_RELAY: Self = Self(0x04);

    /// Whether all of those are set here.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for JoinFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// JOIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Which room.
    pub room: RoomId,
    /// Who knows it may send us packets that say they belong to a meeting; see [`Connect::token`].
    pub token: Token,
    /// What our router is like.
    pub class: NatClass,
    /// Where we may be reached besides where the server sees us, at most [`CANDIDATES_MAX`](crate::wire::CANDIDATES_MAX).
    pub candidates: Vec<Candidate>,
    /// Which part we would like to have.
    pub role: WantedRole,
    /// How many the room is for, if we are the first. Rooms of two are the usual ones.
    pub capacity: u16,
    /// Switches.
    pub flags: JoinFlags,
}

/// PEERS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Which room.
    pub room: RoomId,
    /// In an answer to [`Join`]: who we are there, and what is in `joined` are all the others; if there are more than
    /// fit, further messages follow.
    pub yourself: Option<PeerHandle>,
    /// They came, at most [`PEERS_MAX`] with those who went.
    pub joined: Vec<PeerHandle>,
    /// They went.
    pub left: Vec<PeerHandle>,
}

/// RENDEZVOUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// With whom.
    pub peer: PeerHandle,
}

/// What the server forwards for two who cannot reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where to send what is meant for the peer. An unspecified address is that of the server itself.
    pub addr: SocketAddr,
    /// How many bytes in each direction.
    pub bytes: u64,
    /// How long.
    pub duration: Duration,
    /// How many bytes per second in each direction.
    pub rate: u32,
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The name of the meeting.
    pub session: Session,
    /// In which room.
    pub room: RoomId,
    /// With whom.
    pub peer: PeerHandle,
    /// Our part.
    pub role: Role,
    /// Where the peer may be, at most [`CANDIDATES_MAX`](crate::wire::CANDIDATES_MAX).
    pub candidates: Vec<Candidate>,
    /// What the peer knows our packets by: its token for this session, see [`session_token`](Self::session_token).
    pub token: Token,
    /// What the peer's router is like.
    pub class: NatClass,
    /// How long the two may take.
    pub deadline: Duration,
    /// The server forwards for the two, if all else fails.
    pub relay: Option<Relay>,
}

impl Connect {
    /// The token that stands for `token`, which its owner gave in a JOIN, in one session only: so that nobody whom he
    /// has met can pass for somebody whom he is to meet.
    #[must_use]
    pub const fn session_token(token: Token, session: Session) -> Token {
        let [a, b, c, d, e, f, g, h, ..] = session.to_bytes();
        Token::new(token.get() ^ u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// READY and GO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Of which meeting.
    pub session: Session,
    /// Counts attempts, from 0.
    pub round: u8,
}

/// RESULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punched {
    /// Of which meeting.
    pub session: Session,
    /// How it went.
    pub outcome: Outcome,
    /// By which kind of way, if there is one.
    pub path: Option<PathKind>,
    /// How long it took, in milliseconds on the wire.
    pub took: Duration,
}

/// ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// Which room it is about.
    pub room: Option<RoomId>,
    /// Whom it is about.
    pub peer: Option<PeerHandle>,
    /// Which meeting it is about.
    pub session: Option<Session>,
    /// When to try again, in seconds on the wire.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// About nothing in particular.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self { code, room: None, peer: None, session: None, retry_after: None }
    }
}

/// LEAVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Which room; none: the server itself is about to go.
    pub room: Option<RoomId>,
}

/// PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
    /// Whether it is the answer.
    pub answer: bool,
}

impl Message {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Hello(_) => MessageKind::Hello,
            Self::Welcome(_) => MessageKind::Welcome,
            Self::Join(_) => MessageKind::Join,
            Self::Peers(_) => MessageKind::Peers,
            Self::Rendezvous(_) => MessageKind::Rendezvous,
            Self::Connect(_) => MessageKind::Connect,
            Self::Ready(_) => MessageKind::Ready,
            Self::Go(_) => MessageKind::Go,
            Self::Result(_) => MessageKind::Result,
            Self::Error(_) => MessageKind::Error,
            Self::Leave(_) => MessageKind::Leave,
            Self::Ping(_) => MessageKind::Ping,
        }
    }
}
