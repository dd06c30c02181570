//! Clients come, are silent for too long, and go.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;

use super::agenda::Due;
use super::guest::{Guest, Household, Standing};
use super::{ClientId, Doom, Farewell, Server, Turned};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::rendezvous::{ErrorCode, Leave, Message, PeerHandle, Peers, Ping, Refusal, Secret};

/// Ours: how long somebody may have been silent before his place is in doubt, when another one wants it. Longer than
/// [`ANSWER`], so that whoever has answered has it for certain when the other one tries again.
const QUIET: Duration = Duration::from_secs(10);

/// Ours: how long he may take to answer: two retransmissions of a stream.
const ANSWER: Duration = Duration::from_secs(5);

/// Coming and going.
impl Server {
    /// Whether a client from there would be let in: to be asked before a stream is accepted.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, addr: SocketAddr) -> Result<(), Turned> {
        let household = Household::of(addr.ip());
        if self.draining || self.guests.len() >= self.config.clients {
            Err(Turned::Full)
        } else if self.households.streams(household) >= self.config.clients_per_address {
            Err(Turned::TooManyFromAddress)
        } else {
            Ok(())
        }
    }

    /// A client has come, on a stream from that address, which is known to be its own.
    ///
    /// # Errors
    /// It is not let in; nothing is remembered about it.
    pub fn arrive(&mut self, now: Instant, addr: SocketAddr) -> Result<ClientId, Turned> {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if let Err(turned) = self.admits(addr) {
            match turned {
                Turned::Full => self.stats.refused_full += 1,
                Turned::TooManyFromAddress => self.stats.refused_address += 1,
            }
            return Err(turned);
        }
        self.stats.arrived += 1;
        let guest = Guest::new(now, addr, Secret::new(self.rng.random()));
        self.households.arrive(guest.household);
        let key = self.guests.insert(guest);
        self.agenda.note(now + self.config.hello, Due::Guest(key));
        Ok(ClientId(key))
    }

    /// The client's stream has ended.
    pub fn depart(&mut self, now: Instant, client: ClientId) {
        if self.remove(now, client.0).is_some() {
            self.stats.departed += 1;
        }
        self.see_off(now);
    }

    /// It is time to see whether a client is still there.
    pub(super) fn look_after(&mut self, now: Instant, key: Key) {
        let Some(guest) = self.guests.get(key) else { return };
        let patience = if guest.standing == Standing::New { self.config.hello } else { self.config.idle };
        let at = guest.heard_at + patience;
        if at <= now {
            self.doomed.push((key, Doom::Silent));
        } else {
            self.agenda.note(at, Due::Guest(key));
        }
    }

    /// Somebody wants into a full room: those in it who have not been heard for a while are asked whether they are still
    /// there. How long to wait for their answers, if there are such.
    pub(super) fn knock(&mut self, now: Instant, room: Key) -> Option<Duration> {
        let members = &self.rooms.get(room)?.members;
        let clients: Vec<Key> = members.iter().map(|member| member.client).collect();
        let mut waits = None;
        for client in clients {
            let Some(guest) = self.guests.get_mut(client) else { continue };
            if now.since(guest.heard_at) < QUIET {
                continue;
            }
            waits = Some(ANSWER);
            if guest.knocked_at.is_none_or(|at| at <= guest.heard_at) {
                guest.knocked_at = Some(now);
                self.agenda.note(now + ANSWER, Due::Knock(client));
                self.say(client, &Message::Ping(Ping { nonce: now.as_micros(), answer: false }));
            }
        }
        waits
    }

    /// Who has not answered is not there.
    pub(super) fn listen_after_knock(&mut self, key: Key) {
        let Some(guest) = self.guests.get(key) else { return };
        if guest.knocked_at.is_some_and(|at| at > guest.heard_at) {
            self.doomed.push((key, Doom::Silent));
        }
    }

    /// Sends away who is to be sent away, and whoever cannot take the news of it.
    pub(super) fn see_off(&mut self, now: Instant) {
        while let Some((key, doom)) = self.doomed.pop() {
            if let (Some(code), Some(guest)) = (doom.code(), self.guests.get_mut(key)) {
                // The last words have a right to be too many.
                guest.say(&Message::Error(Refusal::new(code)), usize::MAX);
            }
            let Some(guest) = self.remove(now, key) else { continue };
            match doom {
                Doom::Silent => self.stats.silent += 1,
                Doom::Flooding => self.stats.flooding += 1,
                Doom::Nonsense => self.stats.nonsense += 1,
                Doom::Over => {}
            }
            self.farewells.push_back(Farewell { client: ClientId(key), last_words: guest.outgoing });
        }
    }

    fn remove(&mut self, now: Instant, key: Key) -> Option<Guest> {
        let guest = self.guests.remove(key)?;
        self.households.depart(now, guest.household);
        self.by_secret.remove(&guest.secret);
        for seat in &guest.seats {
            self.leave_room(now, seat.room, seat.handle);
        }
        self.doomed.extend(guest.annexes.iter().map(|annex| (*annex, Doom::Over)));
        if let Standing::Annex(owner) = guest.standing {
            self.forget_annex(owner, key);
        }
        Some(guest)
    }

    fn forget_annex(&mut self, owner: Key, annex: Key) {
        let Some(guest) = self.guests.get_mut(owner) else { return };
        guest.annexes.retain(|known| *known != annex);
        let annexes = guest.annexes.clone();
        let others = annexes.iter().filter_map(|annex| Some(self.guests.get(*annex)?.seen[0]));
        let others: Vec<SocketAddr> = others.collect();
        if let Some(guest) = self.guests.get_mut(owner) {
            guest.seen.truncate(1);
            guest.seen.extend(others);
        }
    }

    /// The client with that secret has come back, on another stream: it gets its seats, and the old stream ends.
    pub(super) fn succeed(&mut self, key: Key, secret: Secret) {
        let Some(&old) = self.by_secret.get(&secret) else { return };
        let Some(seats) = self.guests.get_mut(old).map(|guest| std::mem::take(&mut guest.seats)) else {
            return;
        };
        for seat in &seats {
            let member = self.rooms.get_mut(seat.room).and_then(|room| room.member_mut(seat.handle));
            if let Some(member) = member {
                member.client = key;
            }
        }
        if let Some(guest) = self.guests.get_mut(key) {
            guest.seats = seats;
        }
        self.meetings.replace(old, key);
        self.doomed.push((old, Doom::Over));
    }

    /// A further stream of the client with that secret. False: there is none, or it has enough of them.
    pub(super) fn attach(&mut self, key: Key, secret: Secret) -> bool {
        let Some(&owner) = self.by_secret.get(&secret) else { return false };
        let Some(addr) = self.guests.get(key).map(|guest| guest.seen[0]) else { return false };
        let most = usize::from(self.config.addresses_per_client);
        let Some(guest) = self.guests.get_mut(owner).filter(|guest| guest.annexes.len() < most) else {
            return false;
        };
        guest.annexes.push(key);
        guest.seen.push(addr);
        if let Some(annex) = self.guests.get_mut(key) {
            annex.standing = Standing::Annex(owner);
        }
        true
    }
}

/// Rooms.
impl Server {
    /// Somebody is out of a room, and the others hear of it.
    pub(super) fn leave_room(&mut self, now: Instant, room: Key, handle: PeerHandle) {
        self.rooms.leave(now, room, handle);
        self.announce(room, handle, false);
    }

    /// Tells all others in a room about somebody who came or went.
    pub(super) fn announce(&mut self, room: Key, who: PeerHandle, came: bool) {
        let Some(found) = self.rooms.get(room) else { return };
        let others: Vec<Key> =
            found.members.iter().filter(|member| member.handle != who).map(|member| member.client).collect();
        let mut peers = Peers { room: found.id, yourself: None, joined: Vec::new(), left: Vec::new() };
        if came { &mut peers.joined } else { &mut peers.left }.push(who);
        let news = Message::Peers(peers);
        others.into_iter().for_each(|client| self.say(client, &news));
    }

    /// A room is closed, whoever is in it.
    pub(super) fn close_room(&mut self, now: Instant, room: Key) {
        let Some(found) = self.rooms.get_mut(room) else { return };
        let (id, members) = (found.id, std::mem::take(&mut found.members));
        self.rooms.remove(room);
        for member in members {
            if let Some(guest) = self.guests.get_mut(member.client) {
                guest.seats.retain(|seat| seat.room != room);
            }
            let why = Refusal { room: Some(id), ..Refusal::new(ErrorCode::Expired) };
            self.say(member.client, &Message::Error(why));
            self.say(member.client, &Message::Leave(Leave { room: Some(id) }));
        }
        self.see_off(now);
    }
}
