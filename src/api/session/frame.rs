//! What two sessions say to each other, as packets: one framing for everything.
//!
//! | kind | name | payload |
//! | --- | --- | --- |
//! | 1 | HELLO | version (1 byte), own id (16), the id that it believes to talk to (16, or zeros), number of the last packet received (8) |
//! | 2 | PACKET | number (8), kind (1), payload |
//! | 3 | ACK | number of the last packet received (8) |
//! | 4 | BYE | nothing: no more packets will come |
//!
//! Numbers are big endian and begin with 1.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::ProtocolError;
use crate::api::packet::Packet;

/// Names one end of a session: 128 bits of chance, drawn when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The only version there is.
const VERSION: u8 = 1;

const HELLO: u8 = 1;
const PACKET: u8 = 2;
const ACK: u8 = 3;
const BYE: u8 = 4;

/// Bytes of a PACKET before the payload of the packet that it carries.
pub(super) const PACKET_HEAD: usize = 9;
/// Bytes of a HELLO.
const HELLO_LEN: usize = 1 + 16 + 16 + 8;

/// Who speaks, to whom, and what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) own: SessionId,
    pub(super) peer: Option<SessionId>,
    pub(super) received: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Hello(Hello),
    Packet { number: u64, packet: Packet },
    Ack(u64),
    Bye,
}

impl Frame {
    pub(super) fn into_packet(self) -> Packet {
        match self {
            Self::Hello(Hello { own, peer, received }) => {
                let mut out = BytesMut::with_capacity(HELLO_LEN);
                out.put_u8(VERSION);
                out.put_slice(&own.0);
                out.put_slice(&peer.map_or([0; 16], SessionId::to_bytes));
                out.put_u64(received);
                Packet::new(HELLO, out)
            }
            Self::Packet { number, packet } => {
                let mut out = BytesMut::with_capacity(PACKET_HEAD + packet.payload.len());
                out.put_u64(number);
                out.put_u8(packet.kind);
                out.put_slice(&packet.payload);
                Packet::new(PACKET, out)
            }
            Self::Ack(received) => Packet::new(ACK, Bytes::copy_from_slice(&received.to_be_bytes())),
            Self::Bye => Packet::new(BYE, Bytes::new()),
        }
    }

    pub(super) fn from_packet(packet: Packet) -> Result<Self, ProtocolError> {
        let Packet { kind, payload: mut bytes } = packet;
        match (kind, bytes.len()) {
            (HELLO, HELLO_LEN) => {
                if bytes.get_u8() != VERSION {
                    return Err(ProtocolError::Version);
                }
                let mut id = || {
                    let mut id = [0; 16];
                    bytes.copy_to_slice(&mut id);
                    SessionId(id)
                };
                let (own, peer) = (id(), id());
                let peer = (peer.0 != [0; 16]).then_some(peer);
                Ok(Self::Hello(Hello { own, peer, received: bytes.get_u64() }))
            }
            // Another version may have a longer one.
            (HELLO, 1..) if bytes[0] != VERSION => Err(ProtocolError::Version),
            (PACKET, PACKET_HEAD..) => {
                let number = bytes.get_u64();
                let kind = bytes.get_u8();
                Ok(Self::Packet { number, packet: Packet { kind, payload: bytes } })
            }
            (ACK, 8) => Ok(Self::Ack(bytes.get_u64())),
            (BYE, 0) => Ok(Self::Bye),
            _ => Err(ProtocolError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let own = SessionId([7; 16]);
        let frames = [
            Frame::Hello(Hello { own, peer: None, received: 0 }),
            Frame::Hello(Hello { own, peer: Some(SessionId([8; 16])), received: u64::MAX }),
            Frame::Packet { number: 1, packet: Packet::new(9, "x") },
            Frame::Packet { number: u64::MAX, packet: Packet::new(0, "") },
            Frame::Ack(3),
            Frame::Bye,
        ];
        for frame in frames {
            assert_eq!(Frame::from_packet(frame.clone().into_packet()).unwrap(), frame);
        }
    }

    #[test]
    fn another_version_is_told_from_rubbish() {
        let version = |kind, bytes: &'static [u8]| Frame::from_packet(Packet::new(kind, bytes)).unwrap_err();
        assert!(matches!(version(HELLO, &[2, 1, 1]), ProtocolError::Version));
        assert!(matches!(version(HELLO, &[1, 1, 1]), ProtocolError::Malformed));
        assert!(matches!(version(HELLO, &[]), ProtocolError::Malformed));
        assert!(matches!(version(9, &[]), ProtocolError::Malformed));
        assert!(matches!(version(ACK, &[0; 9]), ProtocolError::Malformed));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_frame_or_an_error(kind in 0u8..6, bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let packet = Packet::new(kind, bytes);
            if let Ok(frame) = Frame::from_packet(packet.clone()) {
                prop_assert_eq!(frame.into_packet(), packet);
            }
        }
    }
}
