//! The server that introduces peers to each other.
//!
//! A pure machine: clients are byte streams and the address at which the handshake of the stream has proved them to
//! be; time is an argument. Whoever runs it moves bytes ([`Server::receive`], [`Server::next_outgoing`]), ends the
//! streams it is done with ([`Server::next_farewell`]), and calls when time has come ([`Server::poll_timeout`]).
//!
//! Everything it knows is soft: after a restart, clients come in again. It passes on no address at which it has not
//! seen a client, apart from those that can hurt nobody else, and it has bounds for everything ([`ServerConfig`]).

mod agenda;
mod desk;
mod guest;
mod households;
mod limits;
mod meetings;
mod relay;
mod rooms;
mod scope;
mod stats;
mod talk;
mod visits;

#[cfg(test)]
mod tests;

pub use desk::Desk;
pub use limits::ServerConfig;
pub use relay::RelayConfig;
pub use stats::ServerStats;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::agenda::{Agenda, Due};
use self::guest::Guest;
use self::households::Households;
use self::meetings::Meetings;
use self::relay::RelayTable;
use self::rooms::Rooms;
use crate::storage::{Key, Slab};
use crate::time::Instant;
use crate::wire::rendezvous::{ErrorCode, Message, Secret};

/// A client of a [`Server`]. Never means another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Key);

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// There are as many clients as there may be, or the server is about to go.
    Full,
    /// There are as many from that address as there may be.
    TooManyFromAddress,
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the server is full",
            Self::TooManyFromAddress => "too many clients from one address",
        })
    }
}

impl std::error::Error for Turned {}

/// The end of a client's visit: its stream is to be ended once it has taken the last words.
#[derive(Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Who. The server knows nothing of it any more.
    pub client: ClientId,
    /// What it is still to be told, after all that was taken from [`Server::outgoing`].
    pub last_words: Vec<u8>,
}

/// The machine.
pub struct Server {
    config: ServerConfig,
    rng: StdRng,
    guests: Slab<Guest>,
    by_secret: BTreeMap<Secret, Key>,
    households: Households,
    rooms: Rooms,
    meetings: Meetings,
    agenda: Agenda,
    /// Those who have bytes waiting, once each.
    speaking: VecDeque<Key>,
    /// Those who are to be sent away before anything else happens.
    doomed: Vec<(Key, Doom)>,
    farewells: VecDeque<Farewell>,
    stats: ServerStats,
    stun: Vec<SocketAddr>,
    /// Once there is a socket for it.
    relay: Option<RelayTable>,
    draining: bool,
}

/// Why somebody is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doom {
    Silent,
    Flooding,
    Nonsense,
    /// The client whose further stream it is has gone, or the server goes.
    Over,
}

impl Doom {
    const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Silent => Some(ErrorCode::Expired),
            Self::Flooding => Some(ErrorCode::RateLimited),
            Self::Nonsense => Some(ErrorCode::BadMessage),
            Self::Over => None,
        }
    }
}

/// The whole.
impl Server {
    /// A server without clients. All that looks like chance follows from the seed, which nobody else may know.
    #[must_use]
    pub fn new(config: ServerConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: StdRng::from_seed(seed),
            guests: Slab::new(),
            by_secret: BTreeMap::new(),
            households: Households::default(),
            rooms: Rooms::new(),
            meetings: Meetings::new(),
            agenda: Agenda::default(),
            speaking: VecDeque::new(),
            doomed: Vec::new(),
            farewells: VecDeque::new(),
            stats: ServerStats::default(),
            stun: Vec::new(),
            relay: None,
            draining: false,
        }
    }

    /// Further addresses that answer Binding requests, at most [`STUN_MAX`](crate::wire::rendezvous::STUN_MAX): clients
    /// that come from now on are told.
    pub fn set_stun(&mut self, addrs: &[SocketAddr]) {
        self.stun = addrs.iter().copied().take(crate::wire::rendezvous::STUN_MAX).collect();
    }

    /// There is a socket for what is to be forwarded, at that address as clients see it; an unspecified one stands for
    /// the server's own. False: nothing is forwarded, see [`ServerConfig::relay`].
    pub fn set_relay(&mut self, addr: SocketAddr) -> bool {
        self.relay = self.config.relay.map(|config| RelayTable::new(config, addr));
        self.relay.is_some()
    }

    /// A datagram has come to that socket: to whom it is to be forwarded from there, if to anybody.
    pub fn relay(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<SocketAddr> {
        self.relay.as_mut()?.forward(now, from, datagram, &mut self.stats)
    }

    /// What it grants.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// What it has seen and done.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let mut stats = self.stats;
        stats.clients = self.guests.len() as u64;
        stats.rooms = self.rooms.len() as u64;
        stats.meetings = self.meetings.len() as u64;
        stats.relaying = self.relay.as_ref().map_or(0, |relay| relay.running() as u64);
        stats
    }

    /// It is about to go: everybody is told to look for another server, and nobody is let in. Meetings under way go
    /// on.
    pub fn drain(&mut self, now: Instant) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let all: Vec<Key> = self.guests.iter().map(|(key, _)| key).collect();
        let goodbye = Message::Leave(crate::wire::rendezvous::Leave { room: None });
        all.into_iter().for_each(|key| self.say(key, &goodbye));
        self.see_off(now);
    }

    /// It goes: all visits end.
    pub fn close(&mut self, now: Instant) {
        self.drain(now);
        self.doomed.extend(self.guests.iter().map(|(key, _)| (key, Doom::Over)));
        self.see_off(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.agenda.pop(now) {
            match due {
                Due::Guest(key) => self.look_after(now, key),
                Due::Knock(key) => self.listen_after_knock(key),
                Due::Meeting(key) => self.attend(now, key),
            }
        }
        self.households.expire(now);
        if let Some(relay) = &mut self.relay {
            relay.expire(now);
        }
        while let Some(room) = self.rooms.expire(now, self.config.room_empty, self.config.room_age) {
            self.stats.rooms_aged += 1;
            self.close_room(now, room);
        }
        self.see_off(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. Perhaps for nothing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let rooms = self.rooms.next_expiry(self.config.room_empty, self.config.room_age);
        let relay = self.relay.as_ref().and_then(RelayTable::next_expiry);
        [self.agenda.next(), self.households.next_expiry(), rooms, relay].into_iter().flatten().min()
    }
}

/// Bytes out.
impl Server {
    /// A client for whom bytes wait; each once, until more come to wait.
    pub fn next_outgoing(&mut self) -> Option<ClientId> {
        loop {
            let key = self.speaking.pop_front()?;
            if let Some(guest) = self.guests.get_mut(key) {
                guest.queued = false;
                return Some(ClientId(key));
            }
        }
    }

    /// What waits for a client.
    #[must_use]
    pub fn outgoing(&self, client: ClientId) -> &[u8] {
        self.guests.get(client.0).map_or(&[], |guest| &guest.outgoing)
    }

    /// Its stream has taken so many bytes of what waits.
    pub fn sent(&mut self, client: ClientId, count: usize) {
        let Some(guest) = self.guests.get_mut(client.0) else { return };
        if count >= guest.outgoing.len() {
            // The memory goes with it: most clients are silent most of the time.
            guest.outgoing = Vec::new();
        } else {
            guest.outgoing.drain(..count);
        }
    }

    /// A client whose visit is over.
    pub fn next_farewell(&mut self) -> Option<Farewell> {
        self.farewells.pop_front()
    }

    /// Puts a message where the client's stream will take it. One that does not take them is sent away.
    fn say(&mut self, client: Key, message: &Message) {
        let Some(guest) = self.guests.get_mut(client) else { return };
        if !guest.say(message, self.config.backlog) {
            self.doomed.push((client, Doom::Flooding));
        }
        if !std::mem::replace(&mut guest.queued, true) {
            self.speaking.push_back(client);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
