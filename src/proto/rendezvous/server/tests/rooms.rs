//! In and out of rooms.

use super::*;
use crate::wire::rendezvous::Leave;

#[test]
fn those_in_a_room_hear_of_each_other() {
    let mut hall = Hall::new();
    let (first, one) = hall.member("192.0.2.1:4000", "harbour");
    let second = hall.guest("192.0.2.2:4000");
    hall.say(second, &Message::Join(join("harbour", second)));
    let heard = hall.hear(second);
    let [Message::Peers(peers)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(peers.joined, [one]);
    let other = peers.yourself.unwrap();
    assert!(matches!(&hall.hear(first)[..], [Message::Peers(peers)] if peers.joined == [other]));
    hall.say(second, &Message::Leave(Leave { room: Some(RoomId::from_name("harbour")) }));
    assert!(matches!(&hall.hear(first)[..], [Message::Peers(peers)] if peers.left == [other]));
}

#[test]
fn a_room_of_two_is_closed_when_two_are_in_it() {
    let mut hall = Hall::new();
    let (first, _) = hall.member("192.0.2.1:4000", "harbour");
    hall.member("192.0.2.2:4000", "harbour");
    let third = hall.guest("192.0.2.3:4000");
    hall.say(third, &Message::Join(join("harbour", third)));
    assert_eq!(codes(&hall.hear(third)), [ErrorCode::RoomFull]);
    hall.server.depart(hall.now, hall.ids[first]);
    hall.join(third, &join("harbour", third));
}

#[test]
fn whoever_has_gone_without_a_word_does_not_keep_others_out() {
    let mut hall = Hall::new();
    let (dead, _) = hall.member("192.0.2.1:4000", "harbour");
    let (lively, _) = hall.member("192.0.2.2:4000", "harbour");
    let late = hall.guest("192.0.2.1:4001");
    hall.pass(Duration::from_secs(11), &[lively, late]);
    hall.hear(lively);
    hall.hear(dead);
    hall.say(lively, &PING);
    hall.say(late, &Message::Join(join("harbour", late)));
    let heard = hall.hear(late);
    let [Message::Error(refusal)] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
    assert!(matches!(hall.hear(dead)[..], [Message::Ping(_)]), "asked whether he is there");
    hall.say(late, &Message::Join(join("harbour", late)));
    assert_eq!(hall.hear(dead), [], "once is enough");
    hall.pass(Duration::from_secs(6), &[lively]);
    assert!(hall.gone[dead]);
    hall.hear(late);
    hall.join(late, &join("harbour", late));
}

#[test]
fn whoever_answers_keeps_his_place() {
    let mut hall = Hall::new();
    let members = [hall.member("192.0.2.1:4000", "harbour").0, hall.member("192.0.2.2:4000", "harbour").0];
    let late = hall.guest("192.0.2.3:4000");
    hall.pass(Duration::from_secs(19), &[]);
    hall.say(late, &Message::Join(join("harbour", late)));
    assert_eq!(codes(&hall.hear(late)), [ErrorCode::RateLimited]);
    members.into_iter().for_each(|member| hall.say(member, &PING));
    hall.pass(Duration::from_secs(6), &[]);
    hall.say(late, &Message::Join(join("harbour", late)));
    assert_eq!(codes(&hall.hear(late)), [ErrorCode::RoomFull]);
    assert!(members.iter().all(|member| !hall.gone[*member]));
}

#[test]
fn a_room_for_many_tells_all_of_them_in_pieces() {
    let mut hall = Hall::with(ServerConfig { clients_per_address: 300, ..ServerConfig::default() });
    let big = |who| Join { capacity: 1000, ..join("harbour", who) };
    for number in 0..256 {
        let who = hall.guest(&format!("192.0.2.{number}:4000"));
        hall.join(who, &big(who));
    }
    let late = hall.guest("192.0.3.1:4000");
    hall.say(late, &Message::Join(big(late)));
    assert_eq!(codes(&hall.hear(late)), [ErrorCode::RoomFull], "no more than the server grants");
    hall.server.depart(hall.now, hall.ids[0]);
    hall.say(late, &Message::Join(big(late)));
    let pieces = hall.hear(late);
    let counts = |message: &Message| match message {
        Message::Peers(peers) => (peers.yourself.is_some(), peers.joined.len()),
        other => panic!("{other:?}"),
    };
    let counts: Vec<_> = pieces.iter().map(counts).collect();
    assert_eq!(counts, [(true, 64), (false, 64), (false, 64), (false, 63)]);
}

#[test]
fn a_second_join_changes_what_is_told_and_nobody_notices() {
    let mut hall = Hall::new();
    let (first, handle) = hall.member("192.0.2.1:4000", "harbour");
    let (second, _) = hall.member("192.0.2.2:4000", "harbour");
    hall.hear(first);
    let changed = Join { class: NatClass::new(Mapping::None), ..join("harbour", first) };
    assert_eq!(hall.join(first, &changed), handle);
    assert_eq!(hall.hear(second), []);
    hall.say(second, &rendezvous(handle));
    let heard = hall.hear(second);
    assert!(matches!(&heard[..], [Message::Connect(connect)] if connect.class.mapping == Mapping::None));
}

#[test]
fn nobody_is_in_more_rooms_than_he_may_be() {
    let mut hall = Hall::new();
    let who = hall.guest("192.0.2.1:4000");
    for number in 0..16 {
        hall.join(who, &join(&format!("room {number}"), who));
    }
    hall.now = hall.now + Duration::from_secs(10);
    hall.say(who, &Message::Join(join("one too many", who)));
    assert_eq!(codes(&hall.hear(who)), [ErrorCode::RoomFull]);
    assert_eq!(hall.server.stats().rooms, 17);
    hall.join(who, &join("room 3", who));
    hall.say(who, &Message::Leave(Leave { room: None }));
    hall.pass(Duration::from_secs(620), &[who]);
    assert_eq!(hall.server.stats().rooms, 0, "rooms that nobody is in are forgotten after ten minutes");
}

#[test]
fn an_empty_room_makes_room_for_a_new_one_and_one_with_people_in_it_does_not() {
    let mut hall = Hall::with(ServerConfig { rooms: 2, ..ServerConfig::default() });
    let who = hall.guest("192.0.2.1:4000");
    for name in ["a", "b"] {
        hall.join(who, &join(name, who));
    }
    hall.say(who, &Message::Join(join("c", who)));
    assert_eq!(codes(&hall.hear(who)), [ErrorCode::RoomFull]);
    hall.say(who, &Message::Leave(Leave { room: Some(RoomId::from_name("a")) }));
    hall.join(who, &join("c", who));
    assert_eq!(hall.server.stats().rooms, 2);
    hall.say(who, &Message::Join(join("a", who)));
    assert_eq!(codes(&hall.hear(who)), [ErrorCode::RoomFull]);
}

#[test]
fn a_room_is_closed_after_a_day() {
    let mut hall = Hall::new();
    let (who, handle) = hall.member("192.0.2.1:4000", "harbour");
    hall.pass(Duration::from_secs(86_399), &[who]);
    assert_eq!(hall.hear(who), []);
    hall.pass(Duration::from_secs(2), &[who]);
    let heard = hall.hear(who);
    assert_eq!(codes(&heard), [ErrorCode::Expired]);
    assert!(matches!(heard[1], Message::Leave(Leave { room: Some(_) })));
    assert_eq!(hall.server.stats().rooms, 0);
    assert_ne!(hall.join(who, &join("harbour", who)), handle);
}
