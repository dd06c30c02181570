//! The client against the real server, without a network between.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::proto::rendezvous::server::{ClientId, Server, ServerConfig};
use crate::wire::rendezvous::{JoinFlags, Outcome, PathKind, Role, RoomId, WantedRole};
use crate::wire::{Mapping, NatClass, Token};

/// Two clients and a server, a step apart.
struct Trio {
    server: Server,
    now: Instant,
    clients: [Client; 2],
    ids: [Option<ClientId>; 2],
}

fn join(who: u64) -> Join {
    Join {
        room: RoomId::from_name("harbour"),
        token: Token::new(who),
        class: NatClass::new(Mapping::EndpointIndependent),
        candidates: Vec::new(),
        role: WantedRole::Any,
        capacity: 2,
        flags: JoinFlags::WELCOMES_ALL,
    }
}

impl Trio {
    fn new() -> Self {
        Self {
            server: Server::new(ServerConfig::default(), [1; 32]),
            now: Instant::from_micros(5_000_000),
            clients: [Client::new(), Client::new()],
            ids: [None; 2],
        }
    }

    fn connect(&mut self, who: usize, again: bool) {
        let addr = format!("192.0.2.{}:4000", who + 1).parse().unwrap();
        self.ids[who] = Some(self.server.arrive(self.now, addr).unwrap());
        self.clients[who].connected(self.now, again);
    }

    /// Until nobody says anything any more; each way takes 10 ms.
    fn talk(&mut self) {
        for _ in 0..20 {
            self.now = self.now + Duration::from_millis(10);
            for (client, id) in self.clients.iter_mut().zip(self.ids) {
                let Some(id) = id else { continue };
                let bytes = client.outgoing().to_vec();
                client.sent(bytes.len());
                self.server.receive(self.now, id, &bytes);
            }
            self.now = self.now + Duration::from_millis(10);
            while let Some(id) = self.server.next_outgoing() {
                let bytes = self.server.outgoing(id).to_vec();
                self.server.sent(id, bytes.len());
                let who = self.ids.iter().position(|known| *known == Some(id)).unwrap();
                self.clients[who].receive(self.now, &bytes);
            }
            while let Some(farewell) = self.server.next_farewell() {
                if let Some(who) = self.ids.iter().position(|known| *known == Some(farewell.client)) {
                    self.clients[who].receive(self.now, &farewell.last_words);
                    self.clients[who].disconnected();
                    self.ids[who] = None;
                }
            }
        }
    }

    fn events(&mut self, who: usize) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.clients[who].poll_event()).collect()
    }

    /// Both are in the room.
    fn together() -> Self {
        let mut trio = Self::new();
        for who in 0..2 {
            trio.connect(who, false);
            let now = trio.now;
            trio.clients[who].join(now, join(who as u64));
            trio.talk();
        }
        trio
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let due = self.clients.iter().filter_map(Client::poll_timeout).chain(self.server.poll_timeout());
            self.now = due.min().unwrap_or(end).max(self.now + Duration::from_micros(1)).min(end);
            self.server.handle_timeout(self.now);
            let now = self.now;
            self.clients.iter_mut().for_each(|client| client.handle_timeout(now));
            self.talk();
        }
    }
}

#[test]
fn two_come_into_a_room_meet_and_report() {
    let mut trio = Trio::together();
    let first = trio.events(0);
    let [ClientEvent::Welcome(_), ClientEvent::Joined(_), ClientEvent::Came(late)] = first[..] else {
        panic!("{first:?}")
    };
    let second = trio.events(1);
    let [ClientEvent::Welcome(_), ClientEvent::Joined(own), ClientEvent::Came(early)] = second[..] else {
        panic!("{second:?}")
    };
    assert_eq!(own, late);
    assert_eq!(trio.clients[1].peers(), [early]);
    assert_eq!(trio.clients[1].rtt(), Some(Duration::from_millis(20)));
    let now = trio.now;
    trio.clients[1].meet(now, early);
    trio.talk();
    let connects = [0, 1].map(|who| match &trio.events(who)[..] {
        [ClientEvent::Connect(connect)] => connect.clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!(connects.each_ref().map(|connect| connect.role), [Role::Acceptor, Role::Initiator]);
    let session = connects[0].session;
    for who in 0..2 {
        trio.clients[who].ready(now, session, 0);
    }
    trio.talk();
    for who in 0..2 {
        assert_eq!(trio.events(who), [ClientEvent::Go(Round { session, round: 0 })]);
        let took = Duration::from_millis(70);
        let result = Punched { session, outcome: Outcome::Connected, path: Some(PathKind::V4), took };
        trio.clients[who].report(now, result);
    }
    trio.talk();
    assert_eq!(trio.server.stats().outcomes[0], 2);
}

#[test]
fn pings_keep_a_quiet_conversation_alive() {
    let mut trio = Trio::together();
    trio.pass(Duration::from_secs(3600));
    assert_eq!(trio.server.stats().clients, 2);
    assert!((0..2).all(|who| !trio.events(who).iter().any(|event| matches!(event, ClientEvent::Lost(_)))));
    let messages = trio.server.stats().messages;
    assert!((360..=400).contains(&messages), "{messages} in an hour: three a minute each");
}

#[test]
fn a_server_that_has_gone_is_noticed() {
    let mut trio = Trio::together();
    trio.events(0);
    trio.ids = [None; 2];
    let mut waited = Duration::ZERO;
    while trio.events(0).is_empty() {
        trio.pass(Duration::from_secs(1));
        waited += Duration::from_secs(1);
        assert!(waited < Duration::from_secs(60));
    }
    assert!(waited >= Duration::from_secs(20), "{waited:?}");
    assert_eq!(trio.clients[0].poll_timeout(), None);
}

#[test]
fn a_server_that_does_not_answer_the_first_word_is_given_up() {
    let mut client = Client::new();
    client.connected(Instant::ZERO, false);
    client.handle_timeout(Instant::from_micros(4_999_999));
    assert_eq!(client.poll_event(), None);
    client.handle_timeout(Instant::from_micros(5_000_000));
    assert_eq!(client.poll_event(), Some(ClientEvent::Lost(Loss::Silent)));
}

#[test]
fn who_comes_back_finds_the_others_and_is_found_again() {
    let mut trio = Trio::together();
    trio.events(0);
    trio.events(1);
    trio.clients[0].disconnected();
    trio.connect(0, true);
    trio.talk();
    let back = trio.events(0);
    assert!(matches!(back[..], [ClientEvent::Welcome(_), ClientEvent::Joined(_)]), "{back:?}");
    assert_eq!(trio.events(1), [], "the server knew us");
}

#[test]
fn after_a_restart_of_the_server_everybody_has_a_new_name() {
    let mut trio = Trio::together();
    trio.events(0);
    trio.events(1);
    trio.server = Server::new(ServerConfig::default(), [2; 32]);
    for who in 0..2 {
        trio.clients[who].disconnected();
        trio.connect(who, true);
        trio.talk();
    }
    let first = trio.events(0);
    assert!(
        matches!(
            first[..],
            [ClientEvent::Welcome(_), ClientEvent::Joined(_), ClientEvent::Went(_), ClientEvent::Came(_)]
        ),
        "{first:?}"
    );
    let second = trio.events(1);
    assert!(
        matches!(
            second[..],
            [ClientEvent::Welcome(_), ClientEvent::Joined(_), ClientEvent::Came(_), ClientEvent::Went(_)]
        ),
        "{second:?}"
    );
}

#[test]
fn servers_that_talk_nonsense_are_given_up() {
    let mut other = Vec::new();
    Message::Join(join(1)).encode(&mut other).unwrap();
    let refusal = Message::Error(Refusal::new(ErrorCode::NoSupport));
    let mut version = Vec::new();
    refusal.encode(&mut version).unwrap();
    for (bytes, loss) in
        [(&[0xFF, 0xFF, 1][..], Loss::Nonsense), (&other, Loss::Nonsense), (&version, Loss::Version)]
    {
        let mut client = Client::new();
        client.connected(Instant::ZERO, false);
        client.receive(Instant::ZERO, bytes);
        assert_eq!(client.poll_event(), Some(ClientEvent::Lost(loss)));
    }
}

#[test]
fn a_list_in_pieces_is_one_list() {
    let mut client = Client::new();
    client.connected(Instant::ZERO, false);
    client.join(Instant::ZERO, join(1));
    let peers = |yourself, range: std::ops::Range<u64>| {
        let room = RoomId::from_name("harbour");
        let joined = range.map(PeerHandle::new).collect();
        Peers { room, yourself: Some(PeerHandle::new(999)).filter(|_| yourself), joined, left: Vec::new() }
    };
    client.peers_changed(&peers(true, 0..64));
    client.peers_changed(&peers(false, 64..100));
    assert_eq!(client.peers().len(), 100);
    while client.poll_event().is_some() {}
    client.peers_changed(&peers(true, 0..64));
    client.peers_changed(&peers(false, 64..99));
    assert_eq!(client.poll_event(), Some(ClientEvent::Went(PeerHandle::new(99))));
    assert_eq!(client.poll_event(), None);
}
