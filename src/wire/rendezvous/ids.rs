//! Names and small numbers of the rendezvous: rooms, peers, why something was refused.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// A room, where those meet who know its id: 16 to 32 bytes.
///
/// Whoever knows the id can come in, as long as there is a place. So it should be chosen by chance; one made
/// [from a name](Self::from_name) can be guessed as easily as the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId {
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

/// A room id needs 16 to 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomIdError {
    len: usize,
}

impl RoomId {
    /// The fewest bytes that cannot be found by trying.
    pub const LEN_MIN: usize = 16;
    /// The most bytes.
    pub const LEN_MAX: usize = 32;

    /// The id with these bytes.
    ///
    /// # Errors
    /// There are fewer than 16 or more than 32.
    pub fn new(id: &[u8]) -> Result<Self, RoomIdError> {
        if !(Self::LEN_MIN..=Self::LEN_MAX).contains(&id.len()) {
            return Err(RoomIdError { len: id.len() });
        }
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..id.len()].copy_from_slice(id);
        #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
        Ok(Self { bytes, len: id.len() as u8 })
    }

    /// The room that people mean who agreed on a name: 32 bytes that follow from the name alone.
    ///
    /// A name that somebody can guess is a room that somebody can enter, and first, too: the one who is met there may
    /// be anybody. Use names such as `otter-vivid-lantern-4711`, or prove afterwards on the stream who is who.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        for (half, number) in bytes.chunks_exact_mut(16).zip(1u64..) {
            let mut hasher = SipHasher24::new_with_keys(u64::from_be_bytes(*b"ebb room"), number);
            hasher.write(name.as_bytes());
            half.copy_from_slice(&hasher.finish128().as_bytes());
        }
        Self { bytes, len: Self::LEN_MAX as u8 }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for RoomId {
    /// Whoever reads a log must not be able to enter: two bytes of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomId({:02x}{:02x}..)", self.bytes[0], self.bytes[1])
    }
}

impl fmt::Display for RoomIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a room id of {} bytes, not of 16 to 32", self.len)
    }
}

impl std::error::Error for RoomIdError {}

/// Somebody in a room, as the server names him to the others there. Means nothing elsewhere, and nothing about who or
/// where he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerHandle(u64);

impl PeerHandle {
    /// The peer with this number.
    #[must_use]
    pub const fn new(handle: u64) -> Self {
        Self(handle)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What proves that a second stream to the server belongs to the same client as a first one: 16 bytes that only
/// those two know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret([u8; 16]);

impl Secret {
    /// The secret with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn get(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An enum of one byte, in which other values than the known ones are kept.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// Something that a later version may mean.
            Other(u8),
        }

        impl $name {
            /// What goes on the wire.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// What a number on the wire means.
            #[must_use]
            pub const fn from_number(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($text),)*
                    Self::Other(number) => write!(f, "number {number}"),
                }
            }
        }
    };
}

numbers! {
    /// Which message it is.
    MessageKind {
        /// A client introduces itself.
        Hello = 1 "HELLO",
        /// The server has taken it.
        Welcome = 2 "WELCOME",
        /// Into a room, or what has changed about somebody there.
        Join = 3 "JOIN",
        /// Who is in a room, who came and who went.
        Peers = 4 "PEERS",
        /// Somebody wants to meet somebody, or agrees.
        Rendezvous = 5 "RENDEZVOUS",
        /// Two are to meet: begin.
        Connect = 6 "CONNECT",
        /// The first packets are out.
        Ready = 7 "READY",
        /// Both have sent their first packets.
        Go = 8 "GO",
        /// How it went.
        Result = 9 "RESULT",
        /// Something was not done.
        Error = 10 "ERROR",
        /// Out of a room.
        Leave = 11 "LEAVE",
        /// Are you there?
        Ping = 12 "PING",
    }
}

numbers! {
    /// Why something was refused. The first four are those of BEP 55.
    ErrorCode {
        /// There is nobody of that name in a room of yours.
        NoSuchPeer = 1 "no such peer",
        /// That peer is not connected any more.
        NotConnected = 2 "the peer is not connected",
        /// Something that one of the two cannot do.
        NoSupport = 3 "not supported",
        /// That peer is you.
        NoSelf = 4 "the peer is oneself",
        /// No place is left in the room, on the server, or for this client.
        RoomFull = 5 "no place is left",
        /// Too often.
        RateLimited = 6 "too often",
        /// It took too long, or has been there for too long.
        Expired = 7 "expired",
        /// A message that makes no sense, or not now.
        BadMessage = 8 "a message that makes no sense",
        /// The peer does not want to.
        Refused = 9 "the peer refused",
    }
}

numbers! {
    /// How an attempt to connect went, for the statistics of the server.
    Outcome {
        /// There is a stream.
        Connected = 0 "connected",
        /// Nothing came through in time.
        TimedOut = 1 "timed out",
        /// Both are behind routers that choose another port for each destination.
        BothSymmetric = 2 "both symmetric",
        /// UDP does not come through.
        UdpBlocked = 3 "UDP blocked",
        /// Given up by the one who reports.
        Cancelled = 4 "cancelled",
        /// Anything else.
        Failed = 5 "failed",
    }
}

numbers! {
    /// What kind of way two have found to each other.
    PathKind {
        /// Within one local network.
        Local = 0 "local network",
        /// IPv6.
        V6 = 1 "IPv6",
        /// IPv4, by addresses that were known before.
        V4 = 2 "IPv4",
        /// By an address that was seen only when a packet came from there.
        PeerReflexive = 3 "seen on arrival",
        /// By many sockets on one side and many ports on the other.
        Birthday = 4 "guessed port",
        /// Through the server.
        Relayed = 5 "relayed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_needs_an_id_that_cannot_be_found_by_trying() {
        assert_eq!(RoomId::new(&[7; 15]), Err(RoomIdError { len: 15 }));
        assert_eq!(RoomId::new(&[7; 33]), Err(RoomIdError { len: 33 }));
        assert_ne!(RoomId::new(&[0; 16]), RoomId::new(&[0; 17]), "length counts");
    }

    #[test]
    fn the_same_name_is_the_same_room_and_another_one_another() {
        let [cat, again, dog] = ["cat", "cat", "dog"].map(RoomId::from_name);
        assert_eq!(cat, again);
        assert_ne!(cat, dog);
        assert_ne!(cat.as_bytes()[..16], cat.as_bytes()[16..]);
        assert_eq!(cat.as_bytes()[..4], [199, 82, 77, 53], "for ever: two versions must meet");
    }

    #[test]
    fn logs_do_not_open_rooms() {
        let shown = format!("{:?} {:?}", RoomId::from_name("cat"), Secret::new([9; 16]));
        assert!(shown.len() < 40, "{shown}");
    }
}
