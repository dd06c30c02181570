//! Coming, being silent, coming back, going.

use super::*;
use crate::wire::rendezvous::{Claim, Leave};

fn welcome(hall: &mut Hall, who: Who) -> crate::wire::rendezvous::Welcome {
    match &hall.hear(who)[..] {
        [Message::Welcome(welcome)] => welcome.clone(),
        other => panic!("no WELCOME: {other:?}"),
    }
}

#[test]
fn a_client_is_told_where_it_is_seen_and_what_it_may_do() {
    let mut hall = Hall::new();
    hall.server.set_stun(&["192.0.2.250:3479".parse().unwrap()]);
    let who = hall.try_arrive("[::ffff:192.0.2.1]:4000").unwrap();
    hall.say(who, &Message::Hello(Hello { version: 9, claim: None }));
    let welcome = welcome(&mut hall, who);
    assert_eq!(welcome.observed, "192.0.2.1:4000".parse().unwrap(), "IPv4 as IPv4");
    assert_eq!((welcome.version, welcome.idle), (1, Duration::from_secs(60)));
    assert_eq!(welcome.stun.len(), 1);
}

#[test]
fn who_does_not_say_hello_is_sent_away() {
    let mut hall = Hall::new();
    let silent = hall.try_arrive("192.0.2.1:4000").unwrap();
    let odd = hall.try_arrive("192.0.2.2:4000").unwrap();
    hall.say(odd, &PING);
    assert_eq!(codes(&hall.hear(odd)), [ErrorCode::BadMessage]);
    hall.pass(Duration::from_secs(4), &[]);
    assert!(!hall.gone[silent] && hall.gone[odd]);
    hall.pass(Duration::from_secs(2), &[]);
    assert!(hall.gone[silent]);
    assert_eq!(hall.server.stats().clients, 0);
}

#[test]
fn who_says_nothing_for_a_minute_is_sent_away_and_the_others_hear_of_it() {
    let mut hall = Hall::new();
    let (silent, handle) = hall.member("192.0.2.1:4000", "harbour");
    let (lively, _) = hall.member("192.0.2.2:4000", "harbour");
    hall.hear(lively);
    hall.pass(Duration::from_secs(55), &[lively]);
    assert!(!hall.gone[silent]);
    hall.pass(Duration::from_secs(10), &[lively]);
    assert_eq!(hall.gone, [true, false]);
    assert_eq!(codes(&hall.hear(silent)), [ErrorCode::Expired]);
    assert!(matches!(&hall.hear(lively)[..], [Message::Peers(peers)] if peers.left == [handle]));
}

#[test]
fn who_comes_back_on_another_stream_has_its_places_and_the_others_notice_nothing() {
    let mut hall = Hall::new();
    let first = hall.try_arrive("192.0.2.1:4000").unwrap();
    hall.say(first, &Message::Hello(Hello { version: 1, claim: None }));
    let secret = welcome(&mut hall, first).secret.unwrap();
    let handle = hall.join(first, &join("harbour", first));
    let (peer, _) = hall.member("192.0.2.2:4000", "harbour");
    hall.hear(peer);
    let second = hall.try_arrive("203.0.113.9:777").unwrap();
    hall.say(second, &Message::Hello(Hello { version: 1, claim: Some(Claim::Return(secret)) }));
    let renewed = welcome(&mut hall, second).secret.unwrap();
    assert_ne!(renewed, secret);
    assert!(hall.gone[first]);
    assert_eq!(hall.join(second, &join("harbour", first)), handle);
    assert_eq!(hall.hear(peer), []);
    assert_eq!(hall.server.stats().clients, 2);
}

#[test]
fn a_further_stream_shows_a_further_address_for_as_long_as_it_lives() {
    let mut hall = Hall::new();
    let owner = hall.try_arrive("192.0.2.1:4000").unwrap();
    hall.say(owner, &Message::Hello(Hello { version: 1, claim: None }));
    let secret = welcome(&mut hall, owner).secret.unwrap();
    let mut annexes = Vec::new();
    for port in 1..=3 {
        let annex = hall.try_arrive(&format!("[2001:db8::1]:400{port}")).unwrap();
        hall.say(annex, &Message::Hello(Hello { version: 1, claim: Some(Claim::Annex(secret)) }));
        annexes.push(annex);
        hall.deliver();
    }
    assert_eq!(annexes.iter().map(|annex| hall.gone[*annex]).collect::<Vec<_>>(), [false, false, true]);
    let seen = |hall: &Hall| hall.server.guests.get(hall.ids[owner].0).unwrap().seen.len();
    assert_eq!(seen(&hall), 3);
    hall.server.depart(hall.now, hall.ids[annexes[0]]);
    assert_eq!(seen(&hall), 2);
    hall.say(annexes[1], &Message::Leave(Leave { room: None }));
    hall.hear(annexes[1]);
    hall.server.depart(hall.now, hall.ids[owner]);
    hall.deliver();
    assert!(hall.gone[annexes[1]]);
    assert_eq!(hall.server.stats().clients, 0);
}

#[test]
fn a_server_that_is_about_to_go_tells_everybody_and_lets_nobody_in() {
    let mut hall = Hall::new();
    let ([one, other], connects) = hall.connected("192.0.2.1:4000", "192.0.2.2:4000");
    hall.server.drain(hall.now);
    for who in [one, other] {
        assert_eq!(hall.hear(who), [Message::Leave(Leave { room: None })]);
    }
    assert_eq!(hall.try_arrive("192.0.2.3:4000"), Err(Turned::Full));
    hall.say(one, &ready(connects[0].session, 0));
    hall.say(other, &ready(connects[0].session, 0));
    assert!(matches!(hall.hear(one)[..], [Message::Go(_)]), "meetings under way go on");
    hall.server.close(hall.now);
    hall.deliver();
    assert_eq!(hall.gone, [true, true]);
}
