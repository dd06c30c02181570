//! Those who want too much. Each test measures its bound.

use rand::RngExt;

use super::*;
use crate::proto::rendezvous::Rate;
use crate::wire::rendezvous::Leave;
use crate::wire::{Candidate, CandidateKind};

#[test]
fn n05_what_a_client_claims_about_others_reaches_nobody() {
    let mut hall = Hall::new();
    let (one, _) = hall.member("203.0.113.1:5000", "harbour");
    let liar = hall.guest("192.0.2.2:4000");
    let victim = |port: u16| Candidate::new(CandidateKind::Mapped, ([198, 51, 100, 9], port).into());
    let candidates: Vec<Candidate> = (2000..2008).map(victim).collect();
    let handle = hall.join(liar, &Join { candidates, ..join("harbour", liar) });
    hall.hear(one);
    hall.say(one, &rendezvous(handle));
    let heard = hall.hear(one);
    let [Message::Connect(connect)] = &heard[..] else { panic!("{heard:?}") };
    let foreign = connect
        .candidates
        .iter()
        .filter(|known| known.addr.ip() != "192.0.2.2".parse::<std::net::IpAddr>().unwrap());
    let measured = foreign.count();
    eprintln!("n05 bound=0 foreign candidates measured={measured}");
    assert_eq!(measured, 0);
    assert_eq!(hall.server.stats().candidates_foreign, 8);
}

#[test]
fn n05_a_system_port_is_never_named_even_if_somebody_was_seen_there() {
    let mut hall = Hall::new();
    let (_, connects) = hall.connected("192.0.2.1:53", "203.0.113.1:5000");
    assert_eq!(connects[1].candidates, []);
    eprintln!("n05 bound=0 system ports named measured={}", connects[1].candidates.len());
}

/// A client that tries to find rooms by their names. How often it may look, in `secs`.
fn guesses(hall: &mut Hall, addrs: &[&str], secs: u64) -> u64 {
    let start = hall.server.stats().joins;
    let mut guessers: Vec<Who> = addrs.iter().map(|addr| hall.guest(addr)).collect();
    for second in 0..secs {
        for guesser in &mut guessers {
            for guess in 0..10 {
                if hall.gone[*guesser] {
                    let addr = addrs[*guesser % addrs.len()];
                    *guesser = hall.guest(addr);
                }
                let name = format!("{guesser} {second} {guess}");
                hall.say(*guesser, &Message::Join(join(&name, *guesser)));
                hall.say(*guesser, &Message::Leave(Leave { room: None }));
                hall.hear(*guesser);
            }
        }
        hall.pass(Duration::from_secs(1), &[]);
    }
    hall.server.stats().joins - start
}

#[test]
fn n09_guessing_rooms_is_slow_however_many_streams_one_has() {
    let mut hall = Hall::new();
    let alone = guesses(&mut hall, &["192.0.2.1:4000"], 600);
    let mut hall = Hall::new();
    let addrs: Vec<String> = (0..40).map(|port| format!("192.0.2.1:{}", 4000 + port)).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let together = guesses(&mut hall, &addrs, 600);
    eprintln!(
        "n09 bound=1264 guesses in 10 minutes from one address measured={alone} alone, {together} together"
    );
    assert!((250..=1264).contains(&alone), "{alone}");
    assert!((1200..=1264).contains(&together), "{together}");
}

#[test]
fn n09_leaving_and_coming_again_brings_no_more_guesses() {
    let mut hall = Hall::new();
    let mut measured = 0;
    for _ in 0..1000 {
        let before = hall.server.stats().joins;
        let who = hall.guest("192.0.2.1:4000");
        for _ in 0..20 {
            hall.say(who, &Message::Join(join("guess", who)));
        }
        hall.hear(who);
        hall.server.depart(hall.now, hall.ids[who]);
        measured += hall.server.stats().joins - before;
    }
    eprintln!("n09 bound=64 guesses at once measured={measured}");
    assert_eq!(measured, 64);
}

#[test]
fn n05_requests_are_limited_per_client_and_per_address() {
    let mut hall = Hall::new();
    let config = hall.server.config().clone();
    let mut begun = 0;
    let mut clients = Vec::new();
    for number in 0..20 {
        let room = format!("room {number}");
        let (asker, _) = hall.member(&format!("192.0.2.1:{}", 4000 + number), &room);
        let (asked, handle) = hall.member(&format!("198.51.100.{number}:4000"), &room);
        clients.push((asker, asked, handle));
    }
    for _ in 0..60 {
        for &(asker, asked, handle) in &clients {
            hall.say(asker, &rendezvous(handle));
            let heard = hall.hear(asked);
            for message in heard {
                let Message::Connect(connect) = message else { continue };
                begun += 1;
                for who in [asker, asked] {
                    let (outcome, took) = (crate::wire::rendezvous::Outcome::Failed, Duration::ZERO);
                    let session = connect.session;
                    let result = crate::wire::rendezvous::Punched { session, outcome, path: None, took };
                    hall.say(who, &Message::Result(result));
                }
            }
            hall.say(asked, &PING);
        }
        hall.pass(Duration::from_secs(1), &[]);
    }
    let bound = config.rendezvous_per_address.per_minute + config.rendezvous_per_address.burst;
    eprintln!("n05 bound={bound} meetings in a minute from one address measured={begun}");
    assert!((bound - 10..=bound).contains(&begun), "{begun} of {bound}");
}

#[test]
fn n05_one_pair_has_one_meeting_at_a_time() {
    let mut hall = Hall::new();
    let ([one, other], _) = hall.connected("192.0.2.1:4000", "203.0.113.1:5000");
    let handle = hall.server.guests.get(hall.ids[other].0).unwrap().seats[0].handle;
    hall.say(one, &rendezvous(handle));
    assert_eq!(codes(&hall.hear(one)), [ErrorCode::RateLimited]);
    assert_eq!(hall.hear(other), []);
    hall.pass(Duration::from_secs(21), &[one, other]);
    hall.say(one, &rendezvous(handle));
    assert!(matches!(hall.hear(other)[..], [Message::Connect(_)]), "forgotten after its time");
    eprintln!("n05 bound=1 meeting of a pair measured={}", hall.server.stats().meetings);
}

#[test]
fn n11_there_are_no_more_clients_than_there_may_be() {
    let mut hall = Hall::with(ServerConfig { clients: 100, ..ServerConfig::default() });
    let from = |hall: &mut Hall, net: u8| {
        (0..200).filter(|port| hall.try_arrive(&format!("192.0.{net}.1:{}", 4000 + port)).is_ok()).count()
    };
    let one = from(&mut hall, 1);
    let two = from(&mut hall, 2);
    eprintln!("n11 bound=64 clients per address, 100 in all measured={one}, {}", one + two);
    assert_eq!((one, two), (64, 36));
    assert_eq!(hall.try_arrive("[2001:db8::1]:1"), Err(Turned::Full));
    let mut hall = Hall::new();
    let house =
        (0..200u32).filter(|n| hall.try_arrive(&format!("[2001:db8:0:{:x}::{n:x}]:1", n % 256)).is_ok());
    assert_eq!(house.count(), 64, "one household is one");
}

#[test]
fn n11_who_talks_too_much_is_sent_away() {
    let mut hall = Hall::new();
    let (victim, _) = hall.member("192.0.2.2:4000", "harbour");
    let talker = hall.guest("192.0.2.1:4000");
    let mut flood = Vec::new();
    (0..1000).for_each(|_| PING.encode(&mut flood).unwrap());
    hall.send(talker, &flood);
    let answers = hall.hear(talker);
    let pongs = answers.iter().filter(|message| matches!(message, Message::Ping(_))).count();
    eprintln!("n11 bound=200 answers measured={pongs}");
    assert!(hall.gone[talker] && pongs <= 200);
    assert_eq!(codes(&answers), [ErrorCode::RateLimited]);
    assert!(!hall.gone[victim]);
}

#[test]
fn n11_who_does_not_listen_is_sent_away_and_takes_no_memory() {
    let mut hall = Hall::with(ServerConfig {
        joins_per_client: Rate::per_minute(1_000_000, 1_000_000),
        joins_per_address: Rate::per_minute(1_000_000, 1_000_000),
        messages_per_client: Rate::per_minute(1_000_000, 1_000_000),
        ..ServerConfig::default()
    });
    let deaf = hall.guest("192.0.2.1:4000");
    let id = hall.ids[deaf];
    let mut most = 0;
    for _ in 0..100_000 {
        hall.say(deaf, &Message::Join(join("harbour", deaf)));
        most = most.max(hall.server.outgoing(id).len());
        if hall.server.outgoing(id).is_empty() {
            break;
        }
    }
    eprintln!("n11 bound={} bytes wait for one client measured={most}", 16 << 10);
    assert!(most <= (16 << 10) + 1200, "{most}");
    hall.deliver();
    assert!(hall.gone[deaf]);
}

#[test]
fn n11_any_bytes_leave_the_server_sound() {
    let mut rng = StdRng::from_seed([3; 32]);
    let mut hall = Hall::new();
    let (witness, own) = hall.member("192.0.2.200:4000", "harbour");
    for round in 0..3000u32 {
        let addr = format!("192.0.2.{}:4000", rng.random_range(1..100));
        let Ok(who) = hall.try_arrive(&addr) else { continue };
        if round % 3 > 0 {
            hall.say(who, &Message::Hello(Hello { version: 1, claim: None }));
        }
        let mut bytes: Vec<u8> = (0..rng.random_range(0..300)).map(|_| rng.random()).collect();
        if rng.random_bool(0.7) && bytes.len() > 3 {
            let len = u16::try_from(bytes.len() - 2).unwrap();
            bytes[..2].copy_from_slice(&len.to_be_bytes());
            bytes[2] = rng.random_range(0..14);
        }
        hall.send(who, &bytes);
        if round % 10 == 0 {
            hall.say(witness, &PING);
            hall.pass(Duration::from_millis(rng.random_range(0..2000)), &[]);
        }
        if round % 7 == 0 {
            hall.server.depart(hall.now, hall.ids[who]);
        }
        hall.deliver();
    }
    hall.pass(Duration::from_secs(120), &[witness]);
    let stats = hall.server.stats();
    assert_eq!((stats.clients, stats.meetings), (1, 0), "all but one are gone");
    assert_eq!(hall.join(witness, &join("harbour", witness)), own);
    eprintln!("n11 bound=sound measured={} messages, {} bad", stats.messages, stats.bad_messages);
}
