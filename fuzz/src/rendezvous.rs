//! The rendezvous: messages of any kind, and a server whose clients say what they like.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::rendezvous::server::{ClientId, Server, ServerConfig};
use ebbtide::wire::rendezvous::{
    Claim, Decoder, ErrorCode, FRAME_MAX, Hello, Join, JoinFlags, Leave, Message, Outcome, PeerHandle, Ping,
    Punched, Refusal, Rendezvous, RoomId, Round, Secret, WantedRole,
};
use ebbtide::wire::{Candidate, CandidateKind, NatClass, Session, Token};

use super::script::Script;

/// A stream of bytes, in pieces: messages are read or refused, nothing is kept beyond one of them, and what is read can
/// be written and read again.
pub fn messages(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let (mut decoder, mut whole) = (Decoder::new(), Decoder::new());
    let mut rest = bytes;
    for piece in bytes.chunks(usize::from(cut) + 1) {
        let mut piece = piece;
        loop {
            let found = decoder.next(&mut piece);
            assert!(decoder.pending() <= FRAME_MAX);
            if found == Ok(None) {
                assert!(piece.is_empty());
                break;
            }
            assert_eq!(found, whole.next(&mut rest), "however the stream was cut");
            match found {
                Ok(Some(message)) => rewrite(&message),
                Err(error) if error.is_fatal() => return,
                _ => {}
            }
        }
    }
}

fn rewrite(message: &Message) {
    let mut bytes = Vec::new();
    assert_eq!(message.encode(&mut bytes), Ok(()), "{message:?}");
    assert!(bytes.len() <= FRAME_MAX);
    assert_eq!(Decoder::new().next(&mut &bytes[..]), Ok(Some(message.clone())));
}

/// Streams at once.
const STREAMS: usize = 8;

/// Clients that come, say anything, and go: the server keeps its bounds, and names no address to anybody at which it
/// has not seen somebody.
pub fn rendezvous(input: &[u8]) {
    let mut script = Script::new(input);
    let mut hall = Hall::new();
    while !script.is_over() {
        hall.step(&mut script);
        hall.listen();
        let stats = hall.server.stats();
        assert!(stats.clients <= 6 && stats.rooms <= 4 && stats.meetings <= 64, "{stats:?}");
    }
    hall.now = hall.now + Duration::from_secs(200_000);
    hall.server.handle_timeout(hall.now);
    hall.server.handle_timeout(hall.now);
    hall.listen();
    let stats = hall.server.stats();
    assert_eq!((stats.clients, stats.meetings), (0, 0), "silence ends everything");
}

struct Hall {
    server: Server,
    now: Instant,
    streams: [Option<(ClientId, SocketAddr)>; STREAMS],
    decoders: BTreeMap<ClientId, Decoder>,
    /// Everything that clients were told, to be said again.
    peers: Vec<PeerHandle>,
    sessions: Vec<Session>,
    secrets: Vec<Secret>,
    seen: Vec<IpAddr>,
}

impl Hall {
    fn new() -> Self {
        let config = ServerConfig {
            clients: 6,
            clients_per_address: 3,
            rooms: 4,
            rooms_per_client: 3,
            members: 4,
            ..ServerConfig::default()
        };
        Self {
            server: Server::new(config, [5; 32]),
            now: Instant::from_micros(1_000_000),
            streams: [None; STREAMS],
            decoders: BTreeMap::new(),
            peers: Vec::new(),
            sessions: Vec::new(),
            secrets: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => self.arrive(script),
            1 => self.depart(script),
            2 => self.now = self.now + Duration::from_millis(script.short().into()),
            3 => {
                self.now = self.server.poll_timeout().unwrap_or(self.now).max(self.now);
                self.server.handle_timeout(self.now);
            }
            4 => {
                let place = usize::from(script.byte()) % STREAMS;
                let bytes = script.counted();
                self.send(place, bytes);
            }
            7 if script.byte() == 255 => self.server.drain(self.now),
            _ => {
                let place = usize::from(script.byte()) % STREAMS;
                let mut bytes = Vec::new();
                if self.message(script).encode(&mut bytes).is_ok() {
                    self.send(place, &bytes);
                }
            }
        }
    }

    fn arrive(&mut self, script: &mut Script<'_>) {
        let place = usize::from(script.byte()) % STREAMS;
        let addr = SocketAddr::from(([192, 0, 2, 1 + script.byte() % 4], 4000 + u16::from(script.byte())));
        if self.streams[place].is_none()
            && let Ok(client) = self.server.arrive(self.now, addr)
        {
            self.streams[place] = Some((client, addr));
            self.seen.push(addr.ip());
        }
    }

    fn depart(&mut self, script: &mut Script<'_>) {
        let place = usize::from(script.byte()) % STREAMS;
        if let Some((client, _)) = self.streams[place].take() {
            self.server.depart(self.now, client);
        }
    }

    fn send(&mut self, place: usize, bytes: &[u8]) {
        if let Some((client, _)) = self.streams[place] {
            self.server.receive(self.now, client, bytes);
        }
    }

    fn message(&self, script: &mut Script<'_>) -> Message {
        let pick = |list: usize, script: &mut Script<'_>| usize::from(script.byte()) % list.max(1);
        let peer = self.peers.get(pick(self.peers.len(), script)).copied().unwrap_or(PeerHandle::new(1));
        let session = self.sessions.get(pick(self.sessions.len(), script)).copied().unwrap_or_default();
        let secret = self.secrets.get(pick(self.secrets.len(), script)).copied();
        let room = RoomId::from_name(["a", "b", "c", "d", "e", "f"][pick(6, script)]);
        match script.byte() % 9 {
            0 => {
                let claim = secret.map(if script.flag() { Claim::Annex } else { Claim::Return });
                Message::Hello(Hello { version: script.byte() % 3, claim })
            }
            1 | 2 => {
                let flags = if script.flag() { JoinFlags::WELCOMES_ALL } else { JoinFlags::NONE };
                Message::Join(Join {
                    room,
                    token: Token::new(script.word().into()),
                    class: NatClass::default(),
                    candidates: candidates(script),
                    role: script.pick(&[WantedRole::Any, WantedRole::Initiator, WantedRole::Acceptor]),
                    capacity: script.short() % 6,
                    flags,
                })
            }
            3 => Message::Leave(Leave { room: Some(room).filter(|_| script.flag()) }),
            4 => Message::Rendezvous(Rendezvous { peer }),
            5 => Message::Ready(Round { session, round: script.byte() % 6 }),
            6 => {
                let (outcome, took) = (Outcome::from_number(script.byte()), Duration::from_millis(7));
                Message::Result(Punched { session, outcome, path: None, took })
            }
            7 => Message::Error(Refusal {
                peer: Some(peer),
                ..Refusal::new(ErrorCode::from_number(script.byte()))
            }),
            _ => Message::Ping(Ping { nonce: 1, answer: script.flag() }),
        }
    }

    /// What the server says is proper, and names nobody but those whom it has seen.
    fn listen(&mut self) {
        while let Some(client) = self.server.next_outgoing() {
            let bytes = self.server.outgoing(client).to_vec();
            self.server.sent(client, bytes.len());
            self.hear(client, &bytes);
        }
        while let Some(farewell) = self.server.next_farewell() {
            self.hear(farewell.client, &farewell.last_words);
            for stream in &mut self.streams {
                *stream = stream.filter(|(client, _)| *client != farewell.client);
            }
        }
    }

    fn hear(&mut self, client: ClientId, mut bytes: &[u8]) {
        let decoder = self.decoders.entry(client).or_default();
        while let Some(message) = decoder.next(&mut bytes).expect("the server speaks properly") {
            match message {
                Message::Welcome(welcome) => self.secrets.extend(welcome.secret),
                Message::Peers(peers) => {
                    self.peers.extend(peers.joined);
                    self.peers.extend(peers.yourself);
                }
                Message::Connect(connect) => {
                    for candidate in &connect.candidates {
                        assert!(self.seen.contains(&candidate.addr.ip()), "{candidate} was never seen");
                        assert!(candidate.addr.port() >= 1024);
                    }
                    self.sessions.push(connect.session);
                }
                _ => {}
            }
        }
        assert_eq!(decoder.pending(), 0);
    }
}

fn candidates(script: &mut Script<'_>) -> Vec<Candidate> {
    let kinds =
        [CandidateKind::Host, CandidateKind::Reflexive, CandidateKind::PeerReflexive, CandidateKind::Mapped];
    (0..script.byte() % 9)
        .map(|_| {
            let kind = script.pick(&kinds);
            let ip = script.pick(&[[192, 0, 2, 1], [192, 0, 2, 3], [198, 51, 100, 9], [127, 0, 0, 1]]);
            Candidate::new(kind, SocketAddr::from((ip, script.short())))
        })
        .collect()
}
