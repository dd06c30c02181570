//! Conversations with the server: given, said, heard.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod abuse;
mod meetings;
mod memory;
mod relay;
mod rooms;
mod visits;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::wire::rendezvous::{
    Connect, Decoder, Hello, Join, JoinFlags, PeerHandle, Peers, RoomId, Round, WantedRole,
};
use crate::wire::{Mapping, NatClass, Session, Token};

/// The server, and what its clients have heard and not yet looked at.
struct Hall {
    server: Server,
    now: Instant,
    heard: BTreeMap<u32, Vec<Message>>,
    ids: Vec<ClientId>,
    decoders: Vec<Decoder>,
    gone: Vec<bool>,
}

/// A client of the hall.
type Who = usize;

impl Hall {
    fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    fn with(config: ServerConfig) -> Self {
        config.validate().unwrap();
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::from_micros(1_000_000),
            heard: BTreeMap::new(),
            ids: Vec::new(),
            decoders: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn try_arrive(&mut self, addr: &str) -> Result<Who, Turned> {
        let id = self.server.arrive(self.now, addr.parse().unwrap())?;
        self.ids.push(id);
        self.decoders.push(Decoder::new());
        self.gone.push(false);
        Ok(self.ids.len() - 1)
    }

    /// Somebody comes and says hello.
    fn guest(&mut self, addr: &str) -> Who {
        let who = self.try_arrive(addr).unwrap();
        self.say(who, &Message::Hello(Hello { version: 1, claim: None }));
        assert!(matches!(self.hear(who)[..], [Message::Welcome(_)]));
        who
    }

    /// Somebody comes, says hello, and is in the room; also, as whom.
    fn member(&mut self, addr: &str, room: &str) -> (Who, PeerHandle) {
        let who = self.guest(addr);
        let handle = self.join(who, &join(room, who));
        (who, handle)
    }

    fn join(&mut self, who: Who, join: &Join) -> PeerHandle {
        self.say(who, &Message::Join(join.clone()));
        let heard = self.hear(who);
        match &heard[..] {
            [Message::Peers(Peers { yourself: Some(handle), .. }), ..] => *handle,
            other => panic!("no place in the room: {other:?}"),
        }
    }

    fn say(&mut self, who: Who, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        self.send(who, &bytes);
    }

    fn send(&mut self, who: Who, bytes: &[u8]) {
        self.server.receive(self.now, self.ids[who], bytes);
    }

    /// What somebody has heard since the last time.
    fn hear(&mut self, who: Who) -> Vec<Message> {
        self.deliver();
        self.heard.remove(&(u32::try_from(who).unwrap())).unwrap_or_default()
    }

    fn deliver(&mut self) {
        while let Some(id) = self.server.next_outgoing() {
            let bytes = self.server.outgoing(id).to_vec();
            self.server.sent(id, bytes.len());
            self.take(id, &bytes);
        }
        while let Some(farewell) = self.server.next_farewell() {
            self.take(farewell.client, &farewell.last_words);
            let who = self.ids.iter().position(|id| *id == farewell.client).unwrap();
            self.gone[who] = true;
        }
    }

    fn take(&mut self, id: ClientId, mut bytes: &[u8]) {
        let who = self.ids.iter().position(|known| *known == id).unwrap();
        let heard = self.heard.entry(u32::try_from(who).unwrap()).or_default();
        while let Some(message) = self.decoders[who].next(&mut bytes).unwrap() {
            heard.push(message);
        }
    }

    /// Time passes; everybody who is listed says something often enough.
    fn pass(&mut self, time: Duration, lively: &[Who]) {
        let end = self.now + time;
        let mut ping_at = self.now;
        while self.now < end {
            if ping_at <= self.now {
                lively.iter().for_each(|who| self.say(*who, &PING));
                lively.iter().for_each(|who| self.ignore_pong(*who));
                ping_at = self.now + Duration::from_secs(20);
            }
            let due = self.server.poll_timeout().unwrap_or(end);
            let next = due.max(self.now + Duration::from_micros(1)).min(ping_at).min(end);
            self.now = next;
            self.server.handle_timeout(next);
        }
        self.deliver();
    }

    fn ignore_pong(&mut self, who: Who) {
        self.deliver();
        let heard = self.heard.entry(u32::try_from(who).unwrap()).or_default();
        heard.retain(|message| !matches!(message, Message::Ping(_)));
    }

    /// Both are in a room and the first one asks; what both hear.
    fn connected(&mut self, one: &str, other: &str) -> ([Who; 2], [Box<Connect>; 2]) {
        let (first, _) = self.member(one, "harbour");
        let (second, handle) = self.member(other, "harbour");
        self.hear(first);
        self.say(first, &rendezvous(handle));
        let connects = [first, second].map(|who| match &self.hear(who)[..] {
            [Message::Connect(connect)] => connect.clone(),
            other => panic!("no CONNECT: {other:?}"),
        });
        ([first, second], connects)
    }
}

const PING: Message = Message::Ping(crate::wire::rendezvous::Ping { nonce: 1, answer: false });

fn join(room: &str, who: Who) -> Join {
    Join {
        room: RoomId::from_name(room),
        token: Token::new(1000 + who as u64),
        class: NatClass::new(Mapping::EndpointIndependent),
        candidates: Vec::new(),
        role: WantedRole::Any,
        capacity: 2,
        flags: JoinFlags::WELCOMES_ALL,
    }
}

fn rendezvous(peer: PeerHandle) -> Message {
    Message::Rendezvous(crate::wire::rendezvous::Rendezvous { peer })
}

fn ready(session: Session, round: u8) -> Message {
    Message::Ready(Round { session, round })
}

fn codes(messages: &[Message]) -> Vec<ErrorCode> {
    let code = |message: &Message| match message {
        Message::Error(refusal) => Some(refusal.code),
        _ => None,
    };
    messages.iter().filter_map(code).collect()
}
