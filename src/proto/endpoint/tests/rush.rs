//! More SYNs than can be kept: half-open limits, cookies, limits per source, and who has to go.

use super::*;

/// The answer to one SYN, which must be the only thing that leaves.
fn answer_to(side: &mut Side, now: Instant, from: SocketAddr, id: u16, seq: u16) -> Header {
    let answers = side.hears(now, from, syn(id, seq));
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].kind, answers[0].conn_id.get(), answers[0].ack.get()), (Kind::State, id, seq));
    answers[0]
}

fn proof(answer: Header, seq: u16) -> Header {
    header(Kind::Data, answer.conn_id.next().get(), seq, answer.seq.prev().get())
}

/// An endpoint that keeps one SYN, and has it.
fn pressed(config: Config) -> Side {
    let mut side = Side::listening(1, config.half_open(1));
    assert!(side.hears(Instant::ZERO, stranger(99), syn(1, 1)).is_empty());
    side
}

#[test]
fn t03_beyond_the_half_open_limit_a_syn_is_answered_and_forgotten_and_its_proof_is_offered() {
    let mut side = pressed(Config::default());
    let now = Instant::ZERO;
    let answer = answer_to(&mut side, now, stranger(1), 0xFFFF, 65_535);
    assert_eq!((side.endpoint.routes_len(), side.endpoint.half_open()), (1, 1), "nothing is kept");
    assert_eq!(answer.window, 1 << 20);
    let again = answer_to(&mut side, now, stranger(1), 0xFFFF, 65_535);
    assert_eq!(again.seq, answer.seq, "the same SYN gets the same answer");

    side.receive(now, stranger(1), &bytes(proof(answer, 0), b"hello"));
    side.turn(now);
    assert_eq!((side.endpoint.connections(), side.endpoint.half_open()), (1, 1));
    let incoming = side.incoming().unwrap();
    assert_eq!((incoming.peer_addr(), incoming.is_proved()), (stranger(1), true), "before the older SYN");
    assert_eq!((incoming.syn().id.get(), incoming.syn().seq.get()), (0xFFFF, 65_535));
    // What comes before the decision is kept.
    side.receive(now, stranger(1), &bytes(proof(answer, 1), b", world"));
    side.turn(now);
    let handle = incoming.accept();
    assert_eq!(read_some(&handle).unwrap(), b"hello, world");
    assert_eq!(handle.try_write(b"welcome"), Poll::Ready(Ok(7)));
    let sent = side.turn(now);
    let data = Packet::decode(&sent.last().unwrap().1).unwrap();
    assert_eq!((data.header.seq, data.header.ack.get(), data.payload), (answer.seq, 1, &b"welcome"[..]));
    let stats = side.endpoint.stats();
    assert_eq!((stats.cookies_sent, stats.cookies_proved, stats.accepted), (2, 1, 1));
    // A repeated SYN is still answered the same.
    let late = side.hears(now, stranger(1), syn(0xFFFF, 65_535));
    assert!(late.iter().any(|header| header.seq == answer.seq && header.ack.get() == 65_535));
}

#[test]
fn t03_two_of_our_endpoints_connect_through_a_cookie_whoever_speaks_first() {
    for server_first in [false, true] {
        let mut pair = Pair::new(Config::default().half_open(1));
        let from = stranger(99);
        pair.b.receive(pair.now, from, &bytes(syn(1, 1), b""));
        let ours = pair.a.lease.connect(pair.b.addr, None);
        pair.settle();
        assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())));
        let incoming = pair.b.incoming().unwrap();
        assert!(incoming.is_proved(), "the third leg was enough");
        let theirs = incoming.accept();
        let (first, second) = if server_first { (&theirs, &ours) } else { (&ours, &theirs) };
        assert_eq!(first.try_write(&[7; 3000]), Poll::Ready(Ok(3000)));
        pair.settle();
        assert_eq!(read_some(second).unwrap(), [7; 3000]);
        assert_eq!(second.try_write(&[8; 3000]), Poll::Ready(Ok(3000)));
        pair.settle();
        assert_eq!(read_some(first).unwrap(), [8; 3000]);
        drop((ours, theirs));
        pair.pass(secs(100));
        assert_eq!((pair.a.endpoint.connections(), pair.b.endpoint.connections()), (0, 0));
    }
}

#[test]
fn t03_a_proof_may_be_refused_ignored_or_come_when_nobody_listens_any_more() {
    let now = Instant::ZERO;
    let offered = |side: &mut Side| {
        let answer = answer_to(side, now, stranger(1), 7, 65_535);
        side.receive(now, stranger(1), &bytes(proof(answer, 0), b"hello"));
        side.turn(now);
        (answer, side.incoming().unwrap())
    };
    let resets = |sent: &[Datagram]| {
        sent.iter()
            .filter(|(_, datagram)| Packet::decode(datagram).unwrap().header.kind == Kind::Reset)
            .count()
    };

    let mut side = pressed(Config::default());
    let (answer, incoming) = offered(&mut side);
    incoming.refuse();
    assert_eq!((resets(&side.turn(now)), side.endpoint.connections()), (1, 0));
    side.receive(now, stranger(1), &bytes(proof(answer, 0), b"hello"));
    assert_eq!(resets(&side.turn(now)), 1, "an old packet does not raise the dead");
    assert!(!side.incoming().unwrap().is_proved(), "only the SYN that was there before");

    let mut side = pressed(Config::default());
    let (answer, incoming) = offered(&mut side);
    incoming.ignore();
    assert_eq!((resets(&side.turn(now)), side.endpoint.connections()), (0, 0));
    side.receive(now, stranger(1), &bytes(proof(answer, 0), b"hello"));
    side.turn(now);
    assert!(side.incoming().unwrap().is_proved(), "what comes again is offered again");

    let mut side = pressed(Config::default());
    let answer = answer_to(&mut side, now, stranger(1), 7, 65_535);
    let _offered = offered(&mut side);
    let other = answer_to(&mut side, now, stranger(2), 7, 65_535);
    side.receive(now, stranger(2), &bytes(proof(other, 0), b"hello"));
    side.lease.set_listening(false);
    let sent = side.turn(now);
    assert_eq!(resets(&sent), 2, "one undecided SYN, one connection that was on offer: {sent:?}");
    assert_eq!(side.endpoint.connections(), 1, "what the application holds, it decides");
    let third = Header { seq: answer.seq, ..proof(answer, 3) };
    side.receive(now, stranger(3), &bytes(third, b"hello"));
    side.turn(now);
    assert!(side.incoming().is_none());
}

#[test]
fn t03_one_source_has_eight_half_open_and_gets_cookies_for_more() {
    let mut side = Side::listening(1, Config::default());
    let now = Instant::ZERO;
    for id in 0..8 {
        assert!(side.hears(now, stranger(1), syn(4 * id, 65_535)).is_empty());
    }
    let answer = answer_to(&mut side, now, stranger(1), 100, 65_535);
    assert!(side.hears(now, stranger(2), syn(7, 65_535)).is_empty(), "somebody else is kept");
    side.receive(now, stranger(1), &bytes(proof(answer, 0), b"x"));
    side.turn(now);
    assert_eq!((side.endpoint.half_open(), side.endpoint.connections()), (9, 1));
    // Accepted ones count as long as they have not proved anything.
    let handles: Vec<Handle> = std::iter::from_fn(|| side.incoming()).map(Incoming::accept).collect();
    let answers = side.turn(now);
    answer_to(&mut side, now, stranger(1), 200, 65_535);
    let syn_ack = Packet::decode(&answers[0].1).unwrap().header;
    side.receive(now, stranger(1), &bytes(proof(syn_ack, 0), b"x"));
    side.turn(now);
    assert!(side.hears(now, stranger(1), syn(300, 65_535)).is_empty(), "one of eight has become free");
    // Neighbours in one house are not counted one by one.
    let house = SocketAddr::from(([192, 168, 0, 7], 5000));
    for id in 0..20 {
        assert!(side.hears(now, house, syn(4 * id, 65_535)).is_empty());
    }
    drop(handles);
    eprintln!("t03 bound=8 half-open per source measured=8");
}

#[test]
fn t03_a_million_forged_syns_leave_room_for_who_is_real() {
    const FORGED: u32 = if cfg!(miri) { 500 } else { 1_000_000 };
    let mut side = Side::listening(1, Config::default());
    let (mut most, mut handles) = (0, Vec::new());
    for round in 0..FORGED {
        let now = Instant::from_micros(9 * u64::from(round));
        side.receive(now, anybody(round), &bytes(syn(7, 65_535), b""));
        if round % 100 == 0 {
            side.turn(now);
            handles.extend(std::iter::from_fn(|| side.incoming()).map(Incoming::accept));
            handles.retain(|handle: &Handle| handle.close_reason().is_none());
            most = most.max(side.endpoint.half_open());
        }
    }
    let now = Instant::from_micros(9 * u64::from(FORGED));
    side.turn(now);
    handles.clear();
    let answer = answer_to(&mut side, now, stranger(1), 7, 65_535);
    side.receive(now, stranger(1), &bytes(proof(answer, 0), b"hello"));
    side.turn(now);
    assert_eq!(read_some(&side.incoming().unwrap().accept()).unwrap(), b"hello");
    eprintln!("t03 bound=32 half-open measured={most} under {FORGED} forged SYNs");
    assert!(most <= 32 && side.endpoint.connections() <= 33);
    assert_eq!(side.endpoint.stats().cookies_proved, 1);
}

#[test]
fn t03_forged_syns_take_half_of_the_accept_queue_and_half_of_the_places() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().accept_queue(8).half_open(100));
    let kept = |side: &mut Side, hosts: std::ops::Range<u32>| {
        hosts.filter(|&host| side.hears(now, anybody(host), syn(7, 65_535)).is_empty()).count()
    };
    assert_eq!(kept(&mut side, 0..20), 4);
    for host in 20..24 {
        let answer = answer_to(&mut side, now, anybody(host), 7, 65_535);
        side.receive(now, anybody(host), &bytes(proof(answer, 0), b"x"));
        side.turn(now);
    }
    let answer = Header { seq: SeqNr::new(1), ..header(Kind::State, 7, 0, 0) };
    assert!(side.hears(now, anybody(24), syn(7, 65_535)).is_empty(), "the queue is full");
    assert_eq!((side.dropped().backlog_full, side.endpoint.connections()), (1, 4));
    side.hears(now, anybody(24), proof(answer, 0));
    assert_eq!(side.endpoint.connections(), 4);

    let mut side = Side::listening(1, Config::default().max_connections(10));
    assert_eq!(kept(&mut side, 0..20), 5);
}

#[test]
fn t03_a_proof_that_finds_the_queue_full_comes_again() {
    let mut side = pressed(Config::default().accept_queue(2));
    let now = Instant::ZERO;
    let answers = [1, 2].map(|host| answer_to(&mut side, now, stranger(host), 7, 65_535));
    for (host, answer) in [1, 2].into_iter().zip(answers) {
        side.receive(now, stranger(host), &bytes(proof(answer, 0), b"x"));
    }
    assert!(side.turn(now).iter().all(|(to, _)| *to == stranger(1)), "no RESET for the other");
    assert_eq!((side.endpoint.connections(), side.dropped().backlog_full), (1, 1));
    let first = side.incoming().unwrap().accept();
    side.receive(now, stranger(2), &bytes(proof(answers[1], 0), b"x"));
    side.turn(now);
    let second = side.incoming().unwrap();
    assert!(second.is_proved() && second.peer_addr() == stranger(2));
    drop(first);
}

#[test]
fn t04_connections_per_address_and_per_network_are_limited_and_the_house_is_not() {
    let config = Config::default().connections_per_address(Some(3)).connections_per_network(Some(5));
    let mut side = Side::listening(1, config);
    let now = Instant::ZERO;
    let mut handles = Vec::new();
    let mut connect = |side: &mut Side, from: SocketAddr, id: u16| {
        side.receive(now, from, &bytes(syn(id, 65_535), b""));
        let Some(incoming) = side.incoming() else { return false };
        handles.push(incoming.accept());
        let sent = side.turn(now);
        let answer = Packet::decode(&sent[0].1).unwrap().header;
        side.receive(now, from, &bytes(proof(answer, 0), b"x"));
        side.turn(now);
        true
    };
    let made = (0..10).filter(|id| connect(&mut side, stranger(1), 4 * id)).count();
    assert_eq!((made, side.dropped().too_many_of_source), (3, 7));
    let made = (0..10).filter(|id| connect(&mut side, stranger(2), 4 * id)).count();
    assert_eq!((made, side.dropped().too_many_of_source), (2, 15), "the network of both is full");
    for house in ["127.0.0.1:9", "10.0.0.1:9"] {
        let made = (0..200).filter(|id| connect(&mut side, house.parse().unwrap(), 4 * id)).count();
        assert_eq!(made, 200);
    }
    handles.clear();
    side.turn(now);
    side.turn(now + secs(100));
    side.assert_empty();
    eprintln!("t04 bound=3 per address, 5 per network (configured) measured=3 and 5");
}

#[test]
fn t04_a_hundred_thousand_peers_do_not_turn_out_who_is_here() {
    const PEERS: u32 = if cfg!(miri) { 300 } else { 100_000 };
    let mut side = Side::listening(1, Config::default().half_open(1));
    side.receive(Instant::ZERO, stranger(99), &bytes(syn(1, 1), b""));
    let victim_answer = answer_to(&mut side, Instant::ZERO, stranger(1), 7, 65_535);
    side.receive(Instant::ZERO, stranger(1), &bytes(proof(victim_answer, 0), b"hello"));
    side.turn(Instant::ZERO);
    let victim = side.incoming().unwrap().accept();
    let (mut most, mut refused) = (0, 0);
    for round in 0..PEERS {
        let now = Instant::from_micros(100 * u64::from(round));
        let answers = side.hears(now, anybody(round), syn(7, 65_535));
        if let Some(answer) = answers.iter().find(|header| header.kind == Kind::State) {
            let answers = side.hears(now, anybody(round), proof(*answer, 0));
            refused += answers.iter().filter(|header| header.kind == Kind::Reset).count();
        }
        most = most.max(side.endpoint.connections());
    }
    // Nobody accepts, so the queue is as far as they get.
    let now = Instant::from_micros(10_000_000);
    side.receive(now, stranger(1), &bytes(proof(victim_answer, 1), b", world"));
    side.turn(now);
    assert_eq!(read_some(&victim).unwrap(), b"hello, world");
    eprintln!(
        "t04 bound=129 connections measured={most}, {PEERS} peers with real addresses, {refused} told so"
    );
    assert!(most <= 129, "{most}");
}

#[test]
fn t04_the_oldest_that_nobody_accepts_makes_room_and_an_accepted_one_never() {
    let config = Config::default().max_connections(3).half_open(1);
    let mut side = Side::listening(1, config);
    let at = |millis: u64| Instant::from_micros(millis * 1000);
    let arrive = |side: &mut Side, now: Instant, host: u8| {
        let Some(answer) = side.hears(now, stranger(host), syn(7, 65_535)).first().copied() else {
            return false;
        };
        let before = side.endpoint.stats().cookies_proved;
        side.hears(now, stranger(host), proof(answer, 0));
        side.turn(now);
        side.hears(now, stranger(host), proof(answer, 0));
        side.endpoint.stats().cookies_proved > before
    };
    side.receive(at(0), stranger(99), &bytes(syn(1, 1), b""));
    assert!(arrive(&mut side, at(0), 1) && arrive(&mut side, at(10), 2) && arrive(&mut side, at(20), 3));
    let first = side.incoming().unwrap().accept();
    assert!(!arrive(&mut side, at(30), 4), "nobody has waited for long");
    assert_eq!(side.dropped().too_many_connections, 1);
    assert!(arrive(&mut side, at(1500), 5));
    assert_eq!((side.endpoint.connections(), side.endpoint.stats().evicted), (3, 1));
    let left = [side.incoming().unwrap(), side.incoming().unwrap()].map(|incoming| incoming.peer_addr());
    assert_eq!(left, [stranger(3), stranger(5)]);
    assert_eq!(first.close_reason(), None);
    eprintln!("t04 bound=oldest unaccepted one measured=so");
}

#[test]
fn t04_what_nobody_accepts_does_not_stay_for_ever() {
    let mut side = pressed(Config::default().stall_timeout(secs(5)).keepalive(None));
    let answer = answer_to(&mut side, Instant::ZERO, stranger(1), 7, 65_535);
    side.receive(Instant::ZERO, stranger(1), &bytes(proof(answer, 0), b"x"));
    side.turn(Instant::ZERO);
    let mut now = Instant::ZERO;
    while let Some(next) = side.endpoint.poll_timeout() {
        assert!(next > now || side.endpoint.has_work());
        now = next;
        side.turn(now);
    }
    assert!(now <= Instant::ZERO + secs(10), "{now}");
    side.assert_empty();
    assert!(side.incoming().is_none());
}

#[test]
fn t08_above_four_fifths_of_the_memory_nobody_new_comes_in() {
    let mut side = Side::listening(1, Config::default().max_memory(1 << 20));
    let now = Instant::ZERO;
    // Each writes to somebody who does not read.
    let mut handles = Vec::new();
    for host in 0..200 {
        side.receive(now, anybody(host), &bytes(syn(7, 65_535), b""));
        side.turn(now);
        let Some(incoming) = side.incoming() else { break };
        let handle = incoming.accept();
        let answer = Packet::decode(&side.turn(now)[0].1).unwrap().header;
        side.receive(now, anybody(host), &bytes(Header { window: 0, ..proof(answer, 0) }, b"x"));
        side.turn(now);
        while let Poll::Ready(Ok(_)) = handle.try_write(&[7; 3000]) {}
        handles.push(handle);
        assert!(side.endpoint.stats().memory <= 1 << 20);
    }
    let memory = side.endpoint.stats().memory;
    eprintln!("t08 bound={} measured={memory}, {} connections", 1 << 20, handles.len());
    assert!(memory > 1 << 19 && side.dropped().out_of_memory > 0, "{memory}");
    handles.iter().for_each(Handle::abort);
    handles.clear();
    side.turn(now);
    assert_eq!(side.endpoint.stats().memory, 0);
}
