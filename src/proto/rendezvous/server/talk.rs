//! What the server does with what a client says.

use rand::RngExt;

use super::agenda::Due;
use super::guest::{Guest, Seat, Standing};
use super::meetings::{Meeting, Readiness, Side, Stage};
use super::rooms::Member;
use super::scope::{self, Whereabouts};
use super::{ClientId, Doom, Server};
use crate::proto::rendezvous::VERSION;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::Session;
use crate::wire::rendezvous::{
    Claim, Connect, ErrorCode, Hello, Join, JoinFlags, Leave, Limits, Message, PEERS_MAX, PeerHandle, Peers,
    Ping, Punched, Refusal, Relay, Role, Round, WantedRole, Welcome,
};

impl Server {
    /// Bytes have come from a client, cut anyhow.
    pub fn receive(&mut self, now: Instant, client: ClientId, mut bytes: &[u8]) {
        let key = client.0;
        while let Some(guest) = self.guests.get_mut(key) {
            guest.heard_at = now;
            let message = match guest.decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(message)) => Some(message),
                Err(error) if error.is_fatal() => {
                    self.doomed.push((key, Doom::Nonsense));
                    break;
                }
                Err(_) => None,
            };
            self.stats.messages += 1;
            if guest.messages.take(now, self.config.messages_per_client).is_err() {
                self.doomed.push((key, Doom::Flooding));
                break;
            }
            match message {
                Some(message) => self.heard(now, key, message),
                None => self.refuse_nonsense(key),
            }
            // Perhaps the one who spoke.
            self.see_off(now);
        }
        self.see_off(now);
    }

    fn heard(&mut self, now: Instant, key: Key, message: Message) {
        let Some(standing) = self.guests.get(key).map(|guest| guest.standing) else { return };
        match (standing, message) {
            (Standing::New, Message::Hello(hello)) => self.hello(key, hello),
            (Standing::New, _) => self.doomed.push((key, Doom::Nonsense)),
            (_, Message::Ping(ping)) => {
                if !ping.answer {
                    self.say(key, &Message::Ping(Ping { answer: true, ..ping }));
                }
            }
            (Standing::Guest, Message::Join(join)) => self.join(now, key, join),
            (Standing::Guest, Message::Leave(leave)) => self.leave(now, key, leave),
            (Standing::Guest, Message::Rendezvous(meeting)) => self.rendezvous(now, key, meeting.peer),
            (Standing::Guest, Message::Ready(round)) => self.ready(now, key, round),
            (Standing::Guest, Message::Result(result)) => self.result(key, &result),
            (Standing::Guest, Message::Error(refusal)) => self.declined(key, &refusal),
            _ => self.refuse_nonsense(key),
        }
    }

    fn refuse(&mut self, key: Key, refusal: Refusal) {
        self.say(key, &Message::Error(refusal));
    }

    fn refuse_nonsense(&mut self, key: Key) {
        self.stats.bad_messages += 1;
        self.refuse(key, Refusal::new(ErrorCode::BadMessage));
    }

    fn hello(&mut self, key: Key, hello: Hello) {
        if hello.version < VERSION {
            self.refuse(key, Refusal::new(ErrorCode::NoSupport));
            self.doomed.push((key, Doom::Nonsense));
            return;
        }
        let taken = match hello.claim {
            Some(Claim::Annex(secret)) => self.attach(key, secret),
            // An old secret that nobody knows any more is that of a client from before a restart.
            Some(Claim::Return(secret)) => {
                self.succeed(key, secret);
                true
            }
            None => true,
        };
        if !taken {
            self.doomed.push((key, Doom::Nonsense));
            return;
        }
        if let Some(guest) = self.guests.get_mut(key).filter(|guest| guest.standing == Standing::New) {
            guest.standing = Standing::Guest;
            self.by_secret.insert(guest.secret, key);
        }
        let Some(guest) = self.guests.get(key) else { return };
        let limits = Limits {
            rooms: self.config.rooms_per_client,
            members: self.config.members,
            rendezvous: u16::try_from(self.config.rendezvous_per_client.per_minute).unwrap_or(u16::MAX),
        };
        let welcome = Welcome {
            version: VERSION,
            observed: guest.seen[0],
            idle: self.config.idle,
            limits,
            stun: self.stun.clone(),
            secret: (guest.standing == Standing::Guest).then_some(guest.secret),
        };
        self.say(key, &Message::Welcome(welcome));
    }
}

/// Rooms.
impl Server {
    fn join(&mut self, now: Instant, key: Key, join: Join) {
        let about = |code| Refusal { room: Some(join.room), ..Refusal::new(code) };
        let Some(guest) = self.guests.get_mut(key) else { return };
        let mut wait = guest.joins.take(now, self.config.joins_per_client);
        if let (Ok(()), Some(account)) = (wait, self.households.account(guest.household)) {
            wait = account.joins.take(now, self.config.joins_per_address);
        }
        if let Err(wait) = wait {
            self.stats.rate_limited += 1;
            let refusal = Refusal { retry_after: Some(wait), ..about(ErrorCode::RateLimited) };
            return self.refuse(key, refusal);
        }
        self.stats.joins += 1;
        let seats = guest.seats.len();
        let capacity = usize::from(join.capacity.clamp(2, self.config.members));
        let room = self.rooms.find_or_make(now, join.room, capacity, self.config.rooms);
        let Some(room) = room else { return self.no_place(key, about(ErrorCode::RoomFull)) };
        let id = join.room;
        let handle = match self.guests.get(key).and_then(|guest| guest.sits_in(room)) {
            Some(handle) => {
                self.update(room, handle, join);
                handle
            }
            None => {
                let full = self.rooms.get(room).is_none_or(super::rooms::Room::is_full);
                // Somebody whose machine has gone without a word must not keep others out for long: himself, mostly.
                if full && let Some(wait) = self.knock(now, room) {
                    self.stats.rate_limited += 1;
                    let refusal = Refusal { retry_after: Some(wait), ..about(ErrorCode::RateLimited) };
                    return self.refuse(key, refusal);
                }
                if full || seats >= usize::from(self.config.rooms_per_client) {
                    return self.no_place(key, about(ErrorCode::RoomFull));
                }
                self.enter(room, key, join)
            }
        };
        self.tell_peers(room, key, handle, id);
    }

    fn no_place(&mut self, key: Key, refusal: Refusal) {
        self.stats.no_place += 1;
        self.refuse(key, refusal);
    }

    fn update(&mut self, room: Key, handle: PeerHandle, join: Join) {
        let member = self.rooms.get_mut(room).and_then(|room| room.member_mut(handle));
        if let Some(member) = member {
            member.token = join.token;
            member.class = join.class;
            member.candidates = join.candidates.into();
            member.role = join.role;
            member.flags = join.flags;
        }
    }

    fn enter(&mut self, room: Key, key: Key, join: Join) -> PeerHandle {
        let handle = PeerHandle::new(self.rng.random());
        let member = Member {
            client: key,
            handle,
            token: join.token,
            class: join.class,
            candidates: join.candidates.into(),
            role: join.role,
            flags: join.flags,
        };
        self.rooms.enter(room, member);
        if let Some(guest) = self.guests.get_mut(key) {
            guest.seats.push(Seat { room, handle });
        }
        self.announce(room, handle, true);
        handle
    }

    /// The answer to JOIN: who else is there.
    fn tell_peers(&mut self, room: Key, key: Key, handle: PeerHandle, id: crate::wire::rendezvous::RoomId) {
        let Some(found) = self.rooms.get(room) else { return };
        let others: Vec<PeerHandle> =
            found.members.iter().map(|member| member.handle).filter(|other| *other != handle).collect();
        let mut pieces = others.chunks(PEERS_MAX);
        let first = pieces.next().unwrap_or_default();
        let piece = |joined: &[PeerHandle], yourself| {
            Message::Peers(Peers { room: id, yourself, joined: joined.to_vec(), left: Vec::new() })
        };
        self.say(key, &piece(first, Some(handle)));
        pieces.for_each(|joined| self.say(key, &piece(joined, None)));
    }

    fn leave(&mut self, now: Instant, key: Key, leave: Leave) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let wanted = |seat: &Seat| match leave.room {
            Some(id) => self.rooms.get(seat.room).is_some_and(|room| room.id == id),
            None => true,
        };
        let (gone, kept) = guest.seats.iter().copied().partition(wanted);
        guest.seats = kept;
        let gone: Vec<Seat> = gone;
        gone.into_iter().for_each(|seat| self.leave_room(now, seat.room, seat.handle));
    }
}

/// Meetings.
impl Server {
    /// The room in which somebody shares the company of a peer, both as sides of a meeting, himself first.
    fn locate(&self, guest: &Guest, key: Key, peer: PeerHandle) -> Option<(Key, [Side; 2])> {
        guest.seats.iter().find_map(|seat| {
            let member = self.rooms.get(seat.room)?.member(peer)?;
            Some((seat.room, [Side::new(key, seat.handle), Side::new(member.client, peer)]))
        })
    }

    fn rendezvous(&mut self, now: Instant, key: Key, peer: PeerHandle) {
        let about = |code| Refusal { peer: Some(peer), ..Refusal::new(code) };
        let Some(guest) = self.guests.get_mut(key) else { return };
        let mut wait = guest.rendezvous.take(now, self.config.rendezvous_per_client);
        if let (Ok(()), Some(account)) = (wait, self.households.account(guest.household)) {
            wait = account.rendezvous.take(now, self.config.rendezvous_per_address);
        }
        if let Err(wait) = wait {
            self.stats.rate_limited += 1;
            return self.refuse(key, Refusal { retry_after: Some(wait), ..about(ErrorCode::RateLimited) });
        }
        self.stats.requests += 1;
        let Some(guest) = self.guests.get(key) else { return };
        if guest.seats.iter().any(|seat| seat.handle == peer) {
            return self.refuse(key, about(ErrorCode::NoSelf));
        }
        let Some((room, sides)) = self.locate(guest, key, peer) else {
            return self.refuse(key, about(ErrorCode::NoSuchPeer));
        };
        if let Some(meeting) = self.meetings.between(sides[0].handle, peer) {
            return self.again(now, meeting, key, about(ErrorCode::RateLimited));
        }
        let session = Session::new(self.rng.random());
        let meeting = self.meetings.ask(now, session, room, sides, &self.config);
        self.agenda.note(now + self.config.invitation, Due::Meeting(meeting));
        if self.flags_of(room, peer).contains(JoinFlags::WELCOMES_ALL) {
            self.begin(now, meeting);
        } else {
            let invitation = crate::wire::rendezvous::Rendezvous { peer: sides[0].handle };
            self.say(sides[1].client, &Message::Rendezvous(invitation));
        }
    }

    /// There is a meeting of the two already: the other one's request is agreed to, one's own is repeated in vain.
    fn again(&mut self, now: Instant, key: Key, client: Key, busy: Refusal) {
        let Some(meeting) = self.meetings.get(key) else { return };
        match (meeting.stage, meeting.side_of(client)) {
            (Stage::Asked, Some(1)) => self.begin(now, key),
            (Stage::Asked, _) => {}
            _ => {
                let busy = Refusal { session: Some(meeting.session), ..busy };
                self.stats.rate_limited += 1;
                self.refuse(client, busy);
            }
        }
    }

    fn flags_of(&self, room: Key, handle: PeerHandle) -> JoinFlags {
        let member = self.rooms.get(room).and_then(|room| room.member(handle));
        member.map_or(JoinFlags::NONE, |member| member.flags)
    }

    /// Both are told of each other.
    fn begin(&mut self, now: Instant, key: Key) {
        let Some(meeting) = self.meetings.get_mut(key) else { return };
        meeting.begin(now, &self.config);
        let (ends_at, sides) = (meeting.ends_at, meeting.sides);
        let Some(mut letters) = self.letters(key) else {
            self.meetings.remove(key);
            let gone = Refusal { peer: Some(sides[1].handle), ..Refusal::new(ErrorCode::NotConnected) };
            return self.refuse(sides[0].client, gone);
        };
        self.stats.connects += 1;
        let relay = self.offer_relay(now, key);
        letters.iter_mut().for_each(|letter| letter.relay = relay);
        self.agenda.note(ends_at, Due::Meeting(key));
        for (side, letter) in sides.iter().zip(letters) {
            self.say(side.client, &Message::Connect(Box::new(letter)));
        }
    }

    /// What each of the two is told; `None` if one is not there any more.
    fn letters(&mut self, key: Key) -> Option<[Connect; 2]> {
        let meeting = self.meetings.get(key)?;
        let room = self.rooms.get(meeting.room)?;
        let [Some(asker), Some(asked)] = meeting.sides.map(|side| room.member(side.handle)) else {
            return None;
        };
        let members = [asker, asked];
        let [Some(guest_one), Some(guest_two)] = members.map(|member| self.guests.get(member.client)) else {
            return None;
        };
        let whereabouts = |guest, member| whereabouts(guest, member);
        let places = [whereabouts(guest_one, asker), whereabouts(guest_two, asked)];
        let roles = roles(asker.role, asked.role);
        let mut letter = |me: usize| {
            let (peer, mixed) = (members[1 - me], self.config.mixed_scopes);
            Connect {
                session: meeting.session,
                room: room.id,
                peer: peer.handle,
                role: roles[me],
                candidates: scope::candidates(&places[1 - me], &places[me], mixed, &mut self.stats),
                token: Connect::session_token(peer.token, meeting.session),
                class: peer.class,
                deadline: self.config.deadline,
                relay: None,
            }
        };
        Some([letter(0), letter(1)])
    }

    /// What is forwarded for the two, should it come to that.
    fn offer_relay(&mut self, now: Instant, key: Key) -> Option<Relay> {
        let table = self.relay.as_mut()?;
        let meeting = self.meetings.get(key)?;
        let room = self.rooms.get(meeting.room)?;
        let [Some(asker), Some(asked)] = meeting.sides.map(|side| room.member(side.handle)) else {
            return None;
        };
        let [Some(one), Some(two)] = [asker, asked].map(|member| self.guests.get(member.client)) else {
            return None;
        };
        if [asker, asked].iter().any(|member| member.flags.contains(JoinFlags::NO_RELAY)) {
            return None;
        }
        let tokens = [asker, asked].map(|member| Connect::session_token(member.token, meeting.session));
        table.offer(now, tokens, [&one.seen, &two.seen])
    }

    fn ready(&mut self, now: Instant, key: Key, round: Round) {
        // About a meeting that is over: nothing to complain about.
        let Some(found) = self.meetings.find(round.session) else { return };
        let Some(meeting) = self.meetings.get_mut(found) else { return };
        let Some(side) = meeting.side_of(key) else { return self.refuse_nonsense(key) };
        match meeting.ready(now, side, round.round, &self.config) {
            Readiness::Old => {}
            Readiness::Wait => {
                let due = meeting.due(&self.config);
                self.agenda.note(due, Due::Meeting(found));
            }
            Readiness::Go { both } => self.go(found, both),
        }
    }

    fn go(&mut self, key: Key, both: bool) {
        if both {
            self.stats.both_ready += 1;
        } else {
            self.stats.one_ready += 1;
        }
        let Some(Meeting { session, round, sides, .. }) = self.meetings.get(key) else { return };
        let (go, sides) = (Message::Go(Round { session: *session, round: *round }), *sides);
        sides.iter().for_each(|side| self.say(side.client, &go));
    }

    /// It is time to see what has become of a meeting.
    pub(super) fn attend(&mut self, now: Instant, key: Key) {
        let Some(meeting) = self.meetings.get_mut(key) else { return };
        if meeting.waited(now, &self.config) {
            self.go(key, false);
        }
        let Some(meeting) = self.meetings.get(key) else { return };
        if meeting.ends_at > now {
            // Another entry of the agenda will come for it.
            return;
        }
        let Some(meeting) = self.meetings.remove(key) else { return };
        if meeting.stage == Stage::Asked {
            self.stats.declined += 1;
            self.turn_down(&meeting, ErrorCode::Expired);
        }
    }

    fn turn_down(&mut self, meeting: &Meeting, code: ErrorCode) {
        let [asker, asked] = meeting.sides;
        self.refuse(asker.client, Refusal { peer: Some(asked.handle), ..Refusal::new(code) });
    }

    /// Somebody does not want to meet somebody.
    fn declined(&mut self, key: Key, refusal: &Refusal) {
        let Some(guest) = self.guests.get(key) else { return };
        let located = refusal.peer.and_then(|peer| self.locate(guest, key, peer));
        let Some((_, [me, peer])) = located else { return };
        let Some(found) = self.meetings.between(me.handle, peer.handle) else { return };
        let asked = |meeting: &Meeting| meeting.stage == Stage::Asked && meeting.side_of(key) == Some(1);
        if !self.meetings.get(found).is_some_and(asked) {
            return;
        }
        if let Some(meeting) = self.meetings.remove(found) {
            self.stats.declined += 1;
            self.turn_down(&meeting, ErrorCode::Refused);
        }
    }

    fn result(&mut self, key: Key, result: &Punched) {
        let Some(found) = self.meetings.find(result.session) else { return };
        let Some(meeting) = self.meetings.get_mut(found) else { return };
        let Some(side) = meeting.side_of(key) else { return self.refuse_nonsense(key) };
        if std::mem::replace(&mut meeting.sides[side].reported, true) {
            return;
        }
        self.stats.count_result(result);
        let over = |side: &Side| side.reported || !self.guests.contains(side.client);
        if meeting.sides.iter().all(over) {
            self.meetings.remove(found);
        }
    }
}

fn whereabouts<'a>(guest: &'a Guest, member: &'a Member) -> Whereabouts<'a> {
    let hidden = member.flags.contains(JoinFlags::RELAY_ONLY);
    Whereabouts { seen: &guest.seen, claimed: &member.candidates, hidden }
}

/// The one who asks connects, unless the wishes say the opposite and do not contradict each other.
fn roles(asker: WantedRole, asked: WantedRole) -> [Role; 2] {
    let swapped = matches!(
        (asker, asked),
        (WantedRole::Acceptor, WantedRole::Any | WantedRole::Initiator)
            | (WantedRole::Any, WantedRole::Initiator)
    );
    if swapped { [Role::Acceptor, Role::Initiator] } else { [Role::Initiator, Role::Acceptor] }
}
