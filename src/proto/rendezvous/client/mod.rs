//! A client's side of the conversation with one server, about one room.
//!
//! A pure machine: the stream's bytes go in and out, time is an argument, and what has happened comes out as
//! [`ClientEvent`]s. It knows no server's address, opens no stream and no way to a peer: [`Agent`](super::Agent)
//! joins it to those.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::VERSION;
use crate::time::Instant;
use crate::wire::Session;
use crate::wire::rendezvous::{
    Claim, Connect, Decoder, ErrorCode, Hello, Join, Leave, Message, PeerHandle, Peers, Ping, Punched,
    Refusal, Rendezvous, Round, Secret, Welcome,
};

/// Ours: how long a server may take to answer the first message.
const GREETING: Duration = Duration::from_secs(5);

/// Ours: how long a server may take to answer a ping. Longer than the retransmissions of the stream need.
const PONG: Duration = Duration::from_secs(10);

/// Ours: pings per the time that we may be silent.
const PINGS: u32 = 3;

/// Ours: members whom we keep in mind; as many as a server admits at most. Of the rest we hear when they leave.
const PEERS_MAX: usize = 1024;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server has taken us.
    Welcome(Box<Welcome>),
    /// We are in the room, under this name.
    Joined(PeerHandle),
    /// Somebody else is in the room.
    Came(PeerHandle),
    /// Somebody else is not in the room any more.
    Went(PeerHandle),
    /// Somebody wants to meet us: [`Client::meet`] agrees, [`Client::decline`] does not.
    Asked(PeerHandle),
    /// We are to meet somebody.
    Connect(Box<Connect>),
    /// Both have sent their first packets.
    Go(Round),
    /// Something was not done.
    Refused(Refusal),
    /// We are out of the room, and that was not our wish.
    Expelled,
    /// The server is about to go.
    Leaving,
    /// Nothing more is to be had from this server: the stream is to be ended.
    Lost(Loss),
}

/// Why nothing more is to be had from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It does not answer.
    Silent,
    /// What it says makes no sense.
    Nonsense,
    /// It speaks another version.
    Version,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "the server does not answer",
            Self::Nonsense => "what the server says makes no sense",
            Self::Version => "the server speaks another version",
        })
    }
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no stream.
    Apart,
    /// We have said hello, at that time.
    Greeting(Instant),
    /// The server has answered.
    Talking,
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    join: Option<Join>,
    /// The server has answered our JOIN: under which name.
    yourself: Option<PeerHandle>,
    /// The answer is still coming in.
    peers: Vec<PeerHandle>,
    /// Those of before the stream broke, of whom we have not heard again.
    missing: Vec<PeerHandle>,
    secret: Option<Secret>,
    idle: Duration,
    decoder: Decoder,
    outgoing: Vec<u8>,
    said_at: Instant,
    /// When we asked whether the server is there, and it has not answered.
    pinged_at: Option<Instant>,
    rtt: Option<Duration>,
    events: VecDeque<ClientEvent>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// The conversation as a whole.
impl Client {
    /// One that has no stream yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Apart,
            join: None,
            yourself: None,
            peers: Vec::new(),
            missing: Vec::new(),
            secret: None,
            idle: Duration::from_secs(60),
            decoder: Decoder::new(),
            outgoing: Vec::new(),
            said_at: Instant::ZERO,
            pinged_at: None,
            rtt: None,
            events: VecDeque::new(),
        }
    }

    /// There is a stream to a server; `again`: to the same one as the last time, so that it may know us.
    pub fn connected(&mut self, now: Instant, again: bool) {
        self.disconnected();
        let claim = self.secret.take().filter(|_| again).map(Claim::Return);
        self.phase = Phase::Greeting(now);
        self.say(now, &Message::Hello(Hello { version: VERSION, claim }));
        // The answer need not be waited for: whoever takes us takes this too.
        self.enter(now);
    }

    /// There is no stream any more. The room is entered again on the next one.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Apart;
        self.yourself = None;
        self.missing.append(&mut self.peers);
        self.decoder = Decoder::new();
        self.outgoing.clear();
        self.pinged_at = None;
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// The round trip to the server, once known.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Who is in the room besides us.
    #[must_use]
    pub fn peers(&self) -> &[PeerHandle] {
        &self.peers
    }

    /// Under which name we are in the room.
    #[must_use]
    pub const fn yourself(&self) -> Option<PeerHandle> {
        self.yourself
    }

    /// Bytes for the stream.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The stream has taken so many of them.
    pub fn sent(&mut self, count: usize) {
        self.outgoing.drain(..count.min(self.outgoing.len()));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match (self.phase, self.pinged_at) {
            (Phase::Apart, _) => {}
            (Phase::Greeting(_), _) => self.lose(Loss::Silent),
            (Phase::Talking, Some(at)) if at + PONG <= now => self.lose(Loss::Silent),
            (Phase::Talking, Some(_)) => {}
            (Phase::Talking, None) => {
                self.pinged_at = Some(now);
                self.say(now, &Message::Ping(Ping { nonce: now.as_micros(), answer: false }));
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.phase, self.pinged_at) {
            (Phase::Apart, _) => None,
            (Phase::Greeting(at), _) => Some(at + GREETING),
            (Phase::Talking, Some(at)) => Some(at + PONG),
            (Phase::Talking, None) => Some(self.said_at + self.idle / PINGS),
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.disconnected();
        self.events.push_back(ClientEvent::Lost(loss));
    }

    fn say(&mut self, now: Instant, message: &Message) {
        let written = message.encode(&mut self.outgoing);
        debug_assert!(written.is_ok(), "our own messages have bounds: {message:?}");
        self.said_at = now;
    }
}

/// What the one we work for wants.
impl Client {
    /// Wants to be in this room, now and after every new beginning; again: with what has changed.
    ///
    /// At most [`CANDIDATES_MAX`](crate::wire::CANDIDATES_MAX) candidates are told.
    pub fn join(&mut self, now: Instant, mut join: Join) {
        join.candidates.truncate(crate::wire::CANDIDATES_MAX);
        self.join = Some(join);
        self.enter(now);
    }

    fn enter(&mut self, now: Instant) {
        if let (Phase::Greeting(_) | Phase::Talking, Some(join)) = (self.phase, &self.join) {
            let join = Message::Join(join.clone());
            self.say(now, &join);
        }
    }

    /// Wants to be out of the room.
    pub fn leave(&mut self, now: Instant) {
        let Some(join) = self.join.take() else { return };
        self.yourself = None;
        self.peers.clear();
        self.missing.clear();
        if self.phase == Phase::Talking {
            self.say(now, &Message::Leave(Leave { room: Some(join.room) }));
        }
    }

    /// Wants to meet somebody, or agrees to meet somebody who asked.
    pub fn meet(&mut self, now: Instant, peer: PeerHandle) {
        if self.phase == Phase::Talking {
            self.say(now, &Message::Rendezvous(Rendezvous { peer }));
        }
    }

    /// Does not want to meet somebody who asked.
    pub fn decline(&mut self, now: Instant, peer: PeerHandle) {
        if self.phase == Phase::Talking {
            let refusal = Refusal { peer: Some(peer), ..Refusal::new(ErrorCode::Refused) };
            self.say(now, &Message::Error(refusal));
        }
    }

    /// Our first packets are out.
    pub fn ready(&mut self, now: Instant, session: Session, round: u8) {
        if self.phase == Phase::Talking {
            self.say(now, &Message::Ready(Round { session, round }));
        }
    }

    /// How it went.
    pub fn report(&mut self, now: Instant, result: Punched) {
        if self.phase == Phase::Talking {
            self.say(now, &Message::Result(result));
        }
    }
}

/// What the server says.
impl Client {
    /// Bytes have come, cut anyhow.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8]) {
        while self.phase != Phase::Apart {
            match self.decoder.next(&mut bytes) {
                Ok(Some(message)) => self.heard(now, message),
                Ok(None) => return,
                Err(error) if error.is_fatal() => return self.lose(Loss::Nonsense),
                // Something that a newer server may say.
                Err(_) => {}
            }
        }
    }

    fn heard(&mut self, now: Instant, message: Message) {
        // Whatever it is, the server is there.
        if self.pinged_at.is_some() && !matches!(message, Message::Ping(_)) {
            self.pinged_at = None;
        }
        match message {
            Message::Welcome(welcome) => self.welcomed(now, welcome),
            Message::Error(refusal) if matches!(self.phase, Phase::Greeting(_)) => {
                let version = refusal.code == ErrorCode::NoSupport;
                self.lose(if version { Loss::Version } else { Loss::Nonsense });
            }
            _ if !matches!((&message, self.phase), (Message::Welcome(_), _) | (_, Phase::Talking)) => {
                self.lose(Loss::Nonsense);
            }
            Message::Ping(ping) => self.pinged(now, ping),
            Message::Peers(peers) => self.peers_changed(&peers),
            Message::Rendezvous(meeting) => self.events.push_back(ClientEvent::Asked(meeting.peer)),
            Message::Connect(connect) => self.events.push_back(ClientEvent::Connect(connect)),
            Message::Go(round) => self.events.push_back(ClientEvent::Go(round)),
            Message::Error(refusal) => self.events.push_back(ClientEvent::Refused(refusal)),
            Message::Leave(leave) => self.told_to_leave(leave),
            // What clients say makes no sense from a server.
            Message::Hello(_) | Message::Join(_) | Message::Ready(_) | Message::Result(_) => {
                self.lose(Loss::Nonsense);
            }
        }
    }

    fn welcomed(&mut self, now: Instant, welcome: Welcome) {
        let Phase::Greeting(since) = self.phase else { return self.lose(Loss::Nonsense) };
        if welcome.version != VERSION {
            return self.lose(Loss::Version);
        }
        self.phase = Phase::Talking;
        self.rtt = Some(now.since(since));
        self.secret = welcome.secret;
        self.idle = welcome.idle.clamp(Duration::from_secs(3), Duration::from_secs(600));
        self.events.push_back(ClientEvent::Welcome(Box::new(welcome)));
    }

    fn pinged(&mut self, now: Instant, ping: Ping) {
        if !ping.answer {
            return self.say(now, &Message::Ping(Ping { answer: true, ..ping }));
        }
        if let Some(at) = self.pinged_at.take() {
            self.rtt = Some(now.since(at));
        }
    }

    fn peers_changed(&mut self, peers: &Peers) {
        if self.join.as_ref().is_none_or(|join| join.room != peers.room) {
            return;
        }
        if let Some(yourself) = peers.yourself {
            // The whole list: whoever is not in it has gone.
            let known = std::mem::take(&mut self.peers);
            self.missing.extend(known);
            if self.yourself.replace(yourself) != Some(yourself) {
                self.events.push_back(ClientEvent::Joined(yourself));
            }
        }
        for peer in &peers.joined {
            if self.peers.contains(peer) || self.peers.len() >= PEERS_MAX {
                continue;
            }
            self.peers.push(*peer);
            let known = self.missing.iter().position(|missing| missing == peer);
            match known {
                Some(place) => drop(self.missing.swap_remove(place)),
                None => self.events.push_back(ClientEvent::Came(*peer)),
            }
        }
        for peer in &peers.left {
            self.peers.retain(|known| known != peer);
            self.events.push_back(ClientEvent::Went(*peer));
        }
        // A full message is not the last one.
        if peers.joined.len() < crate::wire::rendezvous::PEERS_MAX {
            for peer in std::mem::take(&mut self.missing) {
                self.events.push_back(ClientEvent::Went(peer));
            }
        }
    }

    fn told_to_leave(&mut self, leave: Leave) {
        match (leave.room, &self.join) {
            (None, _) => self.events.push_back(ClientEvent::Leaving),
            (Some(room), Some(join)) if join.room == room => {
                self.yourself = None;
                for peer in std::mem::take(&mut self.peers) {
                    self.events.push_back(ClientEvent::Went(peer));
                }
                self.events.push_back(ClientEvent::Expelled);
            }
            _ => {}
        }
    }
}
