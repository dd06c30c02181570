//! What is forwarded, and what is not.

use super::super::relay::{RelayConfig, RelayTable};
use super::*;
use crate::wire::{
    ConnId, Delay, ExtensionsBuf, Header, Kind, Mark, MarkFlags, Own, Packet, SeqNr, Tag, Timestamp, Txn,
};

/// A probe for the one with that token.
fn probe(token: Token) -> Vec<u8> {
    let header = Header {
        kind: Kind::State,
        conn_id: ConnId::new(7),
        sent_at: Timestamp::new(0),
        delay: Delay::NONE,
        window: 0,
        seq: SeqNr::new(65_535),
        ack: SeqNr::new(1),
    };
    let mark = Mark { flags: MarkFlags::MORE | MarkFlags::SIMULTANEOUS, tag: Tag::default() };
    let own = Own { token: Some(token), txn: Some(Txn::new(5)), ..Own::default() };
    let mut block = Vec::new();
    own.encode(44, &mut block).unwrap();
    let mut chain = ExtensionsBuf::new();
    chain.push(2, &mark.encode()).unwrap();
    chain.push(0xB5, &block).unwrap();
    let mut out = Vec::new();
    Packet { header, extensions: chain.as_extensions(), payload: &[] }.encode(&mut out);
    out
}

/// A table in which two may come.
struct Exchange {
    table: RelayTable,
    stats: ServerStats,
    now: Instant,
}

const TOKENS: [Token; 2] = [Token::new(100), Token::new(200)];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Exchange {
    fn new(config: RelayConfig) -> Self {
        let mut table = RelayTable::new(config, at("[::]:7173"));
        let now = Instant::from_micros(1_000_000);
        let told = table.offer(now, TOKENS, [&[at("192.0.2.1:4000")], &[at("203.0.113.1:5000")]]).unwrap();
        assert_eq!((told.addr, told.bytes, told.rate), (at("[::]:7173"), config.bytes, config.rate));
        Self { table, stats: ServerStats::default(), now }
    }

    fn send(&mut self, from: &str, datagram: &[u8]) -> Option<SocketAddr> {
        self.table.forward(self.now, at(from), datagram, &mut self.stats)
    }

    /// Both have come.
    fn open(config: RelayConfig) -> Self {
        let mut exchange = Self::new(config);
        assert_eq!(exchange.send("192.0.2.1:41000", &probe(TOKENS[1])), None, "the other one is not there");
        let to = exchange.send("203.0.113.1:51000", &probe(TOKENS[0]));
        assert_eq!(to, Some(at("192.0.2.1:41000")));
        assert_eq!(exchange.table.running(), 1);
        exchange
    }
}

#[test]
fn two_who_have_shown_their_tokens_have_everything_forwarded() {
    let mut exchange = Exchange::open(RelayConfig::default());
    assert_eq!(exchange.send("192.0.2.1:41000", b"anything"), Some(at("203.0.113.1:51000")));
    assert_eq!(exchange.send("203.0.113.1:51000", b"at all"), Some(at("192.0.2.1:41000")));
    assert_eq!(exchange.send("[::ffff:203.0.113.1]:51000", b"x"), Some(at("192.0.2.1:41000")));
    assert_eq!((exchange.stats.relayed_datagrams, exchange.stats.relay_dropped), (4, 1));
}

#[test]
fn who_has_another_port_than_before_keeps_his_place() {
    let mut exchange = Exchange::open(RelayConfig::default());
    assert_eq!(exchange.send("192.0.2.1:42000", b"unknown"), None);
    assert_eq!(exchange.send("192.0.2.1:42000", &probe(TOKENS[1])), Some(at("203.0.113.1:51000")));
    assert_eq!(exchange.send("203.0.113.1:51000", b"answer"), Some(at("192.0.2.1:42000")));
    assert_eq!(exchange.send("192.0.2.1:41000", b"old"), None);
    assert_eq!(exchange.table.running(), 1);
}

#[test]
fn n13_nothing_is_forwarded_for_strangers_or_to_where_nobody_was_seen() {
    let mut exchange = Exchange::new(RelayConfig::default());
    let mut forwarded = 0;
    let mut send = |exchange: &mut Exchange, from: &str, datagram: &[u8]| {
        forwarded += u32::from(exchange.send(from, datagram).is_some());
    };
    send(&mut exchange, "198.51.100.9:9000", &probe(TOKENS[1]));
    send(&mut exchange, "203.0.113.1:51000", &probe(TOKENS[0]));
    for guess in 0..10_000 {
        send(&mut exchange, "192.0.2.1:41000", &probe(Token::new(1000 + guess)));
    }
    send(&mut exchange, "192.0.2.1:41000", b"no probe at all");
    eprintln!("n13 bound=0 datagrams for strangers measured={forwarded}");
    assert_eq!((forwarded, exchange.table.running()), (0, 0));
}

#[test]
fn n13_bytes_rate_and_time_are_limited() {
    let second = Duration::from_secs(1);
    let config = RelayConfig { sessions: 4, bytes: 1 << 20, duration: 600 * second, rate: 64 << 10 };
    let mut exchange = Exchange::open(config);
    let (mut passed, datagram) = (0, [7; 1000]);
    let mut fastest = 0;
    for _ in 0..60 {
        let before = passed;
        for _ in 0..1000 {
            exchange.now = exchange.now + Duration::from_millis(1);
            passed += u64::from(exchange.send("192.0.2.1:41000", &datagram).is_some()) * 1000;
        }
        fastest = fastest.max(passed - before);
    }
    eprintln!("n13 bound=1048576 bytes, 81920 in a second measured={passed}, {fastest}");
    assert!((1_047_000..=1 << 20).contains(&passed) && fastest <= 65_536 + 16_384, "{passed} {fastest}");
    assert!(exchange.send("203.0.113.1:51000", &datagram).is_some(), "the other direction has its own");
    exchange.now = exchange.now + 600 * second;
    assert!(exchange.send("203.0.113.1:51000", &datagram).is_none());
    exchange.table.expire(exchange.now);
    assert_eq!((exchange.table.running(), exchange.table.next_expiry()), (0, None));
}

#[test]
fn n13_no_more_pairs_than_there_may_be_and_offers_expire() {
    let mut exchange = Exchange::open(RelayConfig { sessions: 1, ..RelayConfig::default() });
    let tokens = [Token::new(300), Token::new(400)];
    let seen = [at("192.0.2.7:4000"), at("192.0.2.8:4000")];
    assert!(exchange.table.offer(exchange.now, tokens, [&seen[..1], &seen[1..]]).is_some());
    assert!(exchange.table.offer(exchange.now, tokens, [&seen[..1], &seen[1..]]).is_none(), "once is enough");
    exchange.send("192.0.2.7:4000", &probe(tokens[1]));
    assert_eq!(exchange.send("192.0.2.8:4000", &probe(tokens[0])), None);
    eprintln!("n13 bound=1 pair measured={}", exchange.table.running());
    assert_eq!(exchange.table.running(), 1);
    exchange.now = exchange.now + Duration::from_secs(60);
    exchange.table.expire(exchange.now);
    assert_eq!(exchange.table.running(), 1, "the one that runs has longer");
    assert_eq!(exchange.send("192.0.2.7:4000", &probe(tokens[1])), None);
    assert!(exchange.table.next_expiry().is_some());
}

#[test]
fn only_servers_that_forward_say_so_and_only_to_those_who_want_it() {
    let relay_told = |config: ServerConfig, flags: JoinFlags| {
        let mut hall = Hall::with(config);
        hall.server.set_relay(at("[::]:7173"));
        let [one, other] = ["192.0.2.1:4000", "203.0.113.1:5000"].map(|addr| hall.guest(addr));
        hall.join(one, &join("harbour", one));
        let handle =
            hall.join(other, &Join { flags: JoinFlags::WELCOMES_ALL | flags, ..join("harbour", other) });
        hall.hear(one);
        hall.say(one, &rendezvous(handle));
        let told = [one, other].map(|who| match &hall.hear(who)[..] {
            [Message::Connect(connect)] => connect.relay.is_some(),
            heard => panic!("{heard:?}"),
        });
        assert_eq!(told[0], told[1]);
        told[0]
    };
    let on = ServerConfig { relay: Some(RelayConfig::default()), ..ServerConfig::default() };
    assert!(!relay_told(ServerConfig::default(), JoinFlags::NONE), "off by default");
    assert!(relay_told(on.clone(), JoinFlags::NONE));
    assert!(!relay_told(on, JoinFlags::NO_RELAY));
}
