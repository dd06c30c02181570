//! From the request to the report.

use super::*;
use crate::wire::rendezvous::{Outcome, PathKind, Punched, Refusal, Role};
use crate::wire::{Candidate, CandidateKind};

#[test]
fn two_are_told_of_each_other_and_go_together() {
    let mut hall = Hall::new();
    let ([one, other], connects) = hall.connected("192.0.2.1:4000", "203.0.113.1:5000");
    let session = connects[0].session;
    assert_eq!(session, connects[1].session);
    assert_eq!(connects.each_ref().map(|connect| connect.role), [Role::Initiator, Role::Acceptor]);
    let reflexive = |text: &str| vec![Candidate::new(CandidateKind::Reflexive, text.parse().unwrap())];
    assert_eq!(connects[0].candidates, reflexive("203.0.113.1:5000"));
    assert_eq!(connects[1].candidates, reflexive("192.0.2.1:4000"));
    assert_eq!(connects[0].token, Connect::session_token(Token::new(1001), session));
    assert_eq!(connects[1].token, Connect::session_token(Token::new(1000), session));
    hall.say(other, &ready(session, 0));
    hall.say(other, &ready(session, 0));
    assert_eq!(hall.hear(other), []);
    hall.say(one, &ready(session, 0));
    for who in [one, other] {
        assert_eq!(hall.hear(who), [Message::Go(Round { session, round: 0 })]);
    }
    assert_eq!(hall.server.stats().both_ready, 1);
    for who in [one, other] {
        let took = Duration::from_millis(97);
        let (outcome, path) = (Outcome::Connected, Some(PathKind::V4));
        let result = Message::Result(Punched { session, outcome, path, took });
        hall.say(who, &result);
        hall.say(who, &result);
    }
    let stats = hall.server.stats();
    assert_eq!((stats.outcomes[0], stats.paths[2], stats.took[0], stats.meetings), (2, 2, 2, 0));
}

#[test]
fn who_waits_for_three_seconds_alone_goes_alone() {
    let mut hall = Hall::new();
    let ([one, other], connects) = hall.connected("192.0.2.1:4000", "203.0.113.1:5000");
    let session = connects[0].session;
    hall.pass(Duration::from_millis(3900), &[]);
    hall.say(one, &ready(session, 0));
    hall.pass(Duration::from_millis(2990), &[]);
    assert_eq!((hall.hear(one), hall.hear(other)), (vec![], vec![]));
    hall.pass(Duration::from_millis(20), &[]);
    for who in [one, other] {
        assert_eq!(hall.hear(who), [Message::Go(Round { session, round: 0 })]);
    }
    hall.say(other, &ready(session, 0));
    assert_eq!((hall.hear(one), hall.hear(other)), (vec![], vec![]), "once is enough");
    assert_eq!(hall.server.stats().one_ready, 1);
}

#[test]
fn who_is_ready_only_after_the_window_goes_at_once() {
    let mut hall = Hall::new();
    let ([one, other], connects) = hall.connected("192.0.2.1:4000", "203.0.113.1:5000");
    hall.pass(Duration::from_millis(4100), &[]);
    hall.say(one, &ready(connects[0].session, 0));
    assert!(matches!(hall.hear(one)[..], [Message::Go(_)]));
    assert!(matches!(hall.hear(other)[..], [Message::Go(_)]));
}

#[test]
fn another_round_is_another_go_and_there_are_not_many_of_them() {
    let mut hall = Hall::new();
    let ([one, other], connects) = hall.connected("192.0.2.1:4000", "203.0.113.1:5000");
    let session = connects[0].session;
    for round in 0..5 {
        hall.say(one, &ready(session, round));
        hall.say(other, &ready(session, round));
        let expected = if round < 4 { vec![Message::Go(Round { session, round })] } else { vec![] };
        assert_eq!(hall.hear(one), expected);
    }
    hall.say(one, &ready(session, 1));
    assert_eq!(hall.hear(other).len(), 4, "an old round is over");
}

#[test]
fn nobody_is_told_about_who_has_not_agreed() {
    let mut hall = Hall::new();
    let (one, _) = hall.member("192.0.2.1:4000", "harbour");
    let shy = hall.guest("203.0.113.1:5000");
    let handle = hall.join(shy, &Join { flags: JoinFlags::NONE, ..join("harbour", shy) });
    hall.hear(one);
    hall.say(one, &rendezvous(handle));
    assert_eq!(hall.hear(one), []);
    let heard = hall.hear(shy);
    let [Message::Rendezvous(invitation)] = heard[..] else { panic!("{heard:?}") };
    hall.say(one, &rendezvous(handle));
    assert_eq!((hall.hear(one), hall.hear(shy)), (vec![], vec![]), "asking again changes nothing");
    let no = Refusal { peer: Some(invitation.peer), ..Refusal::new(ErrorCode::Refused) };
    hall.say(one, &Message::Error(Refusal { peer: Some(handle), ..no }));
    assert_eq!(hall.server.stats().declined, 0, "who asked cannot decline");
    hall.say(shy, &Message::Error(no));
    assert_eq!(codes(&hall.hear(one)), [ErrorCode::Refused]);

    hall.say(one, &rendezvous(handle));
    assert_eq!(hall.hear(shy), [Message::Rendezvous(invitation)]);
    hall.say(shy, &rendezvous(invitation.peer));
    let [Message::Connect(first)] = &hall.hear(one)[..] else { panic!("no CONNECT") };
    let [Message::Connect(second)] = &hall.hear(shy)[..] else { panic!("no CONNECT") };
    assert_eq!((first.role, second.role), (Role::Initiator, Role::Acceptor), "who asked first connects");
}

#[test]
fn an_invitation_that_nobody_answers_expires() {
    let mut hall = Hall::new();
    let (one, _) = hall.member("192.0.2.1:4000", "harbour");
    let shy = hall.guest("203.0.113.1:5000");
    let handle = hall.join(shy, &Join { flags: JoinFlags::NONE, ..join("harbour", shy) });
    hall.hear(one);
    hall.say(one, &rendezvous(handle));
    hall.pass(Duration::from_secs(31), &[one, shy]);
    assert_eq!(codes(&hall.hear(one)), [ErrorCode::Expired]);
    assert_eq!((hall.server.stats().declined, hall.server.stats().meetings), (1, 0));
}

#[test]
fn requests_that_make_no_sense_say_why() {
    let mut hall = Hall::new();
    let (one, own) = hall.member("192.0.2.1:4000", "harbour");
    let (other, handle) = hall.member("192.0.2.2:4000", "elsewhere");
    hall.say(one, &rendezvous(own));
    hall.say(one, &rendezvous(handle));
    hall.say(one, &rendezvous(PeerHandle::new(77)));
    assert_eq!(codes(&hall.hear(one)), [ErrorCode::NoSelf, ErrorCode::NoSuchPeer, ErrorCode::NoSuchPeer]);
    assert_eq!(hall.hear(other), []);
}

#[test]
fn an_invitation_to_somebody_who_has_left_is_refused_when_he_would_agree() {
    let mut hall = Hall::new();
    let (one, own) = hall.member("192.0.2.1:4000", "harbour");
    let shy = hall.guest("203.0.113.1:5000");
    let handle = hall.join(shy, &Join { flags: JoinFlags::NONE, ..join("harbour", shy) });
    hall.say(one, &rendezvous(handle));
    hall.server.depart(hall.now, hall.ids[one]);
    hall.hear(shy);
    hall.say(shy, &rendezvous(own));
    assert_eq!(codes(&hall.hear(shy)), [ErrorCode::NoSuchPeer]);
}

#[test]
fn wishes_for_a_part_are_granted_unless_they_contradict_each_other() {
    use WantedRole::{Acceptor, Any, Initiator};
    let wishes = [
        (Any, Any, Role::Initiator),
        (Acceptor, Any, Role::Acceptor),
        (Any, Initiator, Role::Acceptor),
        (Acceptor, Acceptor, Role::Initiator),
        (Initiator, Initiator, Role::Initiator),
    ];
    for (asker, asked, expected) in wishes {
        let mut hall = Hall::new();
        let [one, other] = ["192.0.2.1:4000", "192.0.2.2:4000"].map(|addr| hall.guest(addr));
        hall.join(one, &Join { role: asker, ..join("harbour", one) });
        let handle = hall.join(other, &Join { role: asked, ..join("harbour", other) });
        hall.hear(one);
        hall.say(one, &rendezvous(handle));
        let heard = hall.hear(one);
        assert!(
            matches!(&heard[..], [Message::Connect(connect)] if connect.role == expected),
            "{asker:?} {asked:?} {heard:?}"
        );
    }
}

#[test]
fn who_hides_is_nowhere() {
    let mut hall = Hall::new();
    let (one, _) = hall.member("192.0.2.1:4000", "harbour");
    let hidden = hall.guest("192.0.2.2:4000");
    let flags = JoinFlags::WELCOMES_ALL | JoinFlags::RELAY_ONLY;
    let handle = hall.join(hidden, &Join { flags, ..join("harbour", hidden) });
    hall.hear(one);
    hall.say(one, &rendezvous(handle));
    assert!(matches!(&hall.hear(one)[..], [Message::Connect(connect)] if connect.candidates.is_empty()));
}
