//! Messages to bytes.

use std::fmt;
use std::net::SocketAddr;

use super::address;
use super::field::Field;
use super::frame::{FRAME_MAX, HEAD};
use super::message::{
    Claim, Connect, Hello, Join, Message, PEERS_MAX, Peers, Punched, Refusal, Relay, Role, Round, STUN_MAX,
    WantedRole, Welcome,
};
use crate::wire::{CANDIDATES_MAX, Candidate};

/// The message would break its own rules: a list in it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeMessageError;

impl fmt::Display for EncodeMessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list in the message is too long")
    }
}

impl std::error::Error for EncodeMessageError {}

impl Message {
    /// Appends the message, its length in front.
    ///
    /// # Errors
    /// It has more peers, candidates or addresses than a message may have; then nothing has been appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeMessageError> {
        let start = out.len();
        out.extend([0, 0, self.kind().number()]);
        let fits = self.write_fields(&mut Writer { out: &mut *out });
        let length = out.len() - start;
        debug_assert!(!fits || (HEAD..=FRAME_MAX).contains(&length), "lists that are short enough fit");
        match u16::try_from(length - 2) {
            Ok(length_field) if fits && length <= FRAME_MAX => {
                out[start..start + 2].copy_from_slice(&length_field.to_be_bytes());
                Ok(())
            }
            _ => {
                out.truncate(start);
                Err(EncodeMessageError)
            }
        }
    }

    fn write_fields(&self, out: &mut Writer<'_>) -> bool {
        match self {
            Self::Hello(hello) => out.hello(hello),
            Self::Welcome(welcome) => return out.welcome(welcome),
            Self::Join(join) => return out.join(join),
            Self::Peers(peers) => return out.peers(peers),
            Self::Rendezvous(meeting) => out.number(Field::Peer, meeting.peer.get()),
            Self::Connect(connect) => return out.connect(connect),
            Self::Ready(round) | Self::Go(round) => out.round(*round),
            Self::Result(punched) => out.punched(punched),
            Self::Error(refusal) => out.refusal(refusal),
            Self::Leave(leave) => {
                if let Some(room) = &leave.room {
                    out.field(Field::Room, room.as_bytes());
                }
            }
            Self::Ping(ping) => {
                out.number(Field::Nonce, ping.nonce);
                out.flags(ping.answer.into());
            }
        }
        true
    }
}

/// Writes fields.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn field(&mut self, field: Field, value: &[u8]) {
        self.with(field, |out| out.extend_from_slice(value));
    }

    /// A field whose value something else writes.
    fn with(&mut self, field: Field, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend([field as u8, 0]);
        let start = self.out.len();
        write(self.out);
        debug_assert!(self.out.len() - start <= 255, "{field:?} is short");
        self.out[start - 1] = u8::try_from(self.out.len() - start).unwrap_or(u8::MAX);
    }

    fn number(&mut self, field: Field, number: u64) {
        self.field(field, &number.to_be_bytes());
    }

    fn word(&mut self, field: Field, number: u128) {
        self.field(field, &u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn byte(&mut self, field: Field, byte: u8) {
        self.field(field, &[byte]);
    }

    fn flags(&mut self, flags: u8) {
        if flags != 0 {
            self.byte(Field::Flags, flags);
        }
    }

    fn address(&mut self, field: Field, addr: SocketAddr) {
        self.with(field, |out| address::write(addr, out));
    }

    fn candidates(&mut self, candidates: &[Candidate]) -> bool {
        for candidate in candidates {
            self.with(Field::Candidate, |out| {
                let from = out.len() + 1;
                candidate.encode(out);
                address::mask(&mut out[from..]);
            });
        }
        candidates.len() <= CANDIDATES_MAX
    }

    fn hello(&mut self, hello: &Hello) {
        self.byte(Field::Version, hello.version);
        if let Some(Claim::Annex(secret) | Claim::Return(secret)) = hello.claim {
            self.field(Field::Secret, &secret.get());
            self.flags(matches!(hello.claim, Some(Claim::Return(_))).into());
        }
    }

    fn welcome(&mut self, welcome: &Welcome) -> bool {
        self.byte(Field::Version, welcome.version);
        self.address(Field::Observed, welcome.observed);
        self.word(Field::Idle, welcome.idle.as_millis());
        self.with(Field::Limits, |out| {
            let limits = welcome.limits;
            out.extend([limits.rooms, limits.members, limits.rendezvous].map(u16::to_be_bytes).concat());
        });
        for addr in &welcome.stun {
            self.address(Field::Stun, *addr);
        }
        if let Some(secret) = welcome.secret {
            self.field(Field::Secret, &secret.get());
        }
        welcome.stun.len() <= STUN_MAX
    }

    fn join(&mut self, join: &Join) -> bool {
        self.field(Field::Room, join.room.as_bytes());
        self.number(Field::Token, join.token.get());
        self.with(Field::Class, |out| join.class.encode(out));
        let role = match join.role {
            WantedRole::Any => 0,
            WantedRole::Initiator => 1,
            WantedRole::Acceptor => 2,
        };
        self.byte(Field::Role, role);
        self.field(Field::Capacity, &join.capacity.to_be_bytes());
        self.flags(join.flags.0);
        self.candidates(&join.candidates)
    }

    fn peers(&mut self, peers: &Peers) -> bool {
        self.field(Field::Room, peers.room.as_bytes());
        if let Some(yourself) = peers.yourself {
            self.number(Field::Yourself, yourself.get());
        }
        let fits = peers.joined.len() + peers.left.len() <= PEERS_MAX;
        if fits {
            peers.joined.iter().for_each(|peer| self.number(Field::Peer, peer.get()));
            peers.left.iter().for_each(|peer| self.number(Field::Left, peer.get()));
        }
        fits
    }

    fn connect(&mut self, connect: &Connect) -> bool {
        self.field(Field::Session, &connect.session.to_bytes());
        self.field(Field::Room, connect.room.as_bytes());
        self.number(Field::Peer, connect.peer.get());
        let role = match connect.role {
            Role::Initiator => 1,
            Role::Acceptor => 2,
        };
        self.byte(Field::Role, role);
        self.number(Field::Token, connect.token.get());
        self.with(Field::Class, |out| connect.class.encode(out));
        self.word(Field::Deadline, connect.deadline.as_millis());
        if let Some(relay) = connect.relay {
            self.relay(relay);
        }
        self.candidates(&connect.candidates)
    }

    fn relay(&mut self, relay: Relay) {
        self.with(Field::Relay, |out| {
            out.extend(relay.bytes.to_be_bytes());
            out.extend(u32::try_from(relay.duration.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(relay.rate.to_be_bytes());
            address::write(relay.addr, out);
        });
    }

    fn round(&mut self, round: Round) {
        self.field(Field::Session, &round.session.to_bytes());
        self.byte(Field::Round, round.round);
    }

    fn punched(&mut self, punched: &Punched) {
        self.field(Field::Session, &punched.session.to_bytes());
        self.byte(Field::Outcome, punched.outcome.number());
        if let Some(path) = punched.path {
            self.byte(Field::Path, path.number());
        }
        self.word(Field::Took, punched.took.as_millis());
    }

    fn refusal(&mut self, refusal: &Refusal) {
        self.byte(Field::Code, refusal.code.number());
        if let Some(room) = &refusal.room {
            self.field(Field::Room, room.as_bytes());
        }
        if let Some(peer) = refusal.peer {
            self.number(Field::Peer, peer.get());
        }
        if let Some(session) = refusal.session {
            self.field(Field::Session, &session.to_bytes());
        }
        if let Some(after) = refusal.retry_after {
            self.word(Field::RetryAfter, after.as_secs().into());
        }
    }
}
