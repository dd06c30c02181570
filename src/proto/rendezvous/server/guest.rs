//! One client, as the server knows it.

use std::net::{IpAddr, SocketAddr};

use crate::proto::rendezvous::rate::Used;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::rendezvous::{Decoder, Message, PeerHandle, Secret};

/// Somebody who counts as one: an IPv4 address, or an IPv6 /56, which is what a household gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Household(u64);

impl Household {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // Above all that can be an IPv6 sender: ffff::/16 is multicast.
            IpAddr::V4(ip) => Self(0xFFFF_FFFF_0000_0000 | u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Self(((ip.to_bits() >> 64) as u64) & !0xFF),
        }
    }
}

/// What a client is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not said hello.
    New,
    /// It has.
    Guest,
    /// A further stream of another one, which shows an address.
    Annex(Key),
}

/// A place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) room: Key,
    pub(super) handle: PeerHandle,
}

/// One client. Its lists are empty, and take no memory, while it does nothing.
#[derive(Debug)]
pub(super) struct Guest {
    /// Where it is, on this stream first of all.
    pub(super) seen: Vec<SocketAddr>,
    pub(super) household: Household,
    pub(super) standing: Standing,
    pub(super) secret: Secret,
    pub(super) decoder: Decoder,
    /// Bytes that wait for the stream to take them.
    pub(super) outgoing: Vec<u8>,
    /// It is in the queue of those who have bytes waiting.
    pub(super) queued: bool,
    pub(super) heard_at: Instant,
    /// When somebody wanted his place, and he was asked whether he is there.
    pub(super) knocked_at: Option<Instant>,
    /// At most [`rooms_per_client`](super::ServerConfig::rooms_per_client).
    pub(super) seats: Vec<Seat>,
    /// Streams that show further addresses, at most
    /// [`addresses_per_client`](super::ServerConfig::addresses_per_client).
    pub(super) annexes: Vec<Key>,
    pub(super) messages: Used,
    pub(super) joins: Used,
    pub(super) rendezvous: Used,
}

impl Guest {
    pub(super) fn new(now: Instant, addr: SocketAddr, secret: Secret) -> Self {
        Self {
            seen: Vec::from([addr]),
            household: Household::of(addr.ip()),
            standing: Standing::New,
            secret,
            decoder: Decoder::new(),
            outgoing: Vec::new(),
            queued: false,
            heard_at: now,
            knocked_at: None,
            seats: Vec::new(),
            annexes: Vec::new(),
            messages: Used::default(),
            joins: Used::default(),
            rendezvous: Used::default(),
        }
    }

    /// Appends a message to what waits. False: too much waits already, or the message is not one.
    pub(super) fn say(&mut self, message: &Message, most: usize) -> bool {
        if self.outgoing.capacity() == 0 {
            self.outgoing.reserve(256);
        }
        message.encode(&mut self.outgoing).is_ok() && self.outgoing.len() <= most
    }

    pub(super) fn sits_in(&self, room: Key) -> Option<PeerHandle> {
        self.seats.iter().find(|seat| seat.room == room).map(|seat| seat.handle)
    }
}
