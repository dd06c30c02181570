//! Messages there and back, whole and in pieces, and what is refused.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind, Mapping, NatClass, Session, Token};

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out).unwrap();
    out
}

fn decoded(mut bytes: &[u8]) -> Result<Option<Message>, MessageError> {
    Decoder::new().next(&mut bytes)
}

/// A message of these bytes, without the length.
fn framed(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|[_, b, c, d]| IpAddr::from([9, b, c, d])),
        any::<[u16; 7]>().prop_map(|[b, c, d, e, f, g, h]| IpAddr::from([0x2001, b, c, d, e, f, g, h])),
    ];
    (ip, 1u16..).prop_map(SocketAddr::from)
}

fn room() -> impl Strategy<Value = RoomId> {
    vec(any::<u8>(), 16..=32).prop_map(|bytes| RoomId::new(&bytes).unwrap())
}

fn peers(most: usize) -> impl Strategy<Value = Vec<PeerHandle>> {
    vec(any::<u64>().prop_map(PeerHandle::new), 0..=most)
}

fn session() -> impl Strategy<Value = Session> {
    any::<[u8; 16]>().prop_map(Session::new)
}

fn token() -> impl Strategy<Value = Token> {
    any::<u64>().prop_map(Token::new)
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let kind =
        prop_oneof![Just(CandidateKind::Host), Just(CandidateKind::Reflexive), Just(CandidateKind::Mapped),];
    vec((kind, addr()).prop_map(|(kind, addr)| Candidate::new(kind, addr)), 0..=CANDIDATES_MAX)
}

fn class() -> impl Strategy<Value = NatClass> {
    let mapping = prop_oneof![
        Just(Mapping::None),
        Just(Mapping::EndpointIndependent),
        any::<(i16, u16)>().prop_map(|(step, block)| Mapping::EndpointDependent { step, block }),
    ];
    mapping.prop_map(NatClass::new)
}

fn millis() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|millis| Duration::from_millis(millis.into()))
}

fn secs() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|secs| Duration::from_secs(secs.into()))
}

fn secret() -> impl Strategy<Value = Secret> {
    any::<[u8; 16]>().prop_map(Secret::new)
}

fn greeting() -> impl Strategy<Value = Message> {
    let claim = prop_oneof![secret().prop_map(Claim::Annex), secret().prop_map(Claim::Return)];
    let hello = (any::<u8>(), option::of(claim))
        .prop_map(|(version, claim)| Message::Hello(Hello { version, claim }));
    let limits =
        any::<[u16; 3]>().prop_map(|[rooms, members, rendezvous]| Limits { rooms, members, rendezvous });
    let welcome = (any::<u8>(), addr(), millis(), limits, vec(addr(), 0..=STUN_MAX), option::of(secret()))
        .prop_map(|(version, observed, idle, limits, stun, secret)| {
            Message::Welcome(Welcome { version, observed, idle, limits, stun, secret })
        });
    prop_oneof![hello, welcome]
}

fn joining() -> impl Strategy<Value = Message> {
    let role = prop_oneof![Just(WantedRole::Any), Just(WantedRole::Initiator), Just(WantedRole::Acceptor)];
    let join = (room(), token(), class(), candidates(), role, any::<u16>(), any::<u8>()).prop_map(
        |(room, token, class, candidates, role, capacity, flags)| {
            let flags = JoinFlags(flags);
            Message::Join(Join { room, token, class, candidates, role, capacity, flags })
        },
    );
    let told = (room(), option::of(any::<u64>()), peers(PEERS_MAX / 2), peers(PEERS_MAX / 2)).prop_map(
        |(room, yourself, joined, left)| {
            Message::Peers(Peers { room, yourself: yourself.map(PeerHandle::new), joined, left })
        },
    );
    let leave = option::of(room()).prop_map(|room| Message::Leave(Leave { room }));
    prop_oneof![join, told, leave]
}

fn meeting() -> impl Strategy<Value = Message> {
    let relay = (addr(), any::<u64>(), secs(), any::<u32>())
        .prop_map(|(addr, bytes, duration, rate)| Relay { addr, bytes, duration, rate });
    let role = prop_oneof![Just(Role::Initiator), Just(Role::Acceptor)];
    let who = (session(), room(), any::<u64>(), role);
    let connect = (who, candidates(), token(), class(), millis(), option::of(relay)).prop_map(
        |((session, room, peer, role), candidates, token, class, deadline, relay)| {
            let peer = PeerHandle::new(peer);
            Message::Connect(Box::new(Connect {
                session,
                room,
                peer,
                role,
                candidates,
                token,
                class,
                deadline,
                relay,
            }))
        },
    );
    let rendezvous =
        any::<u64>().prop_map(|peer| Message::Rendezvous(Rendezvous { peer: PeerHandle::new(peer) }));
    let round = (session(), any::<u8>(), any::<bool>()).prop_map(|(session, round, go)| {
        let round = Round { session, round };
        if go { Message::Go(round) } else { Message::Ready(round) }
    });
    prop_oneof![connect, rendezvous, round]
}

fn outcome() -> impl Strategy<Value = Message> {
    let result =
        (session(), any::<u8>(), option::of(any::<u8>()), millis()).prop_map(|(session, how, path, took)| {
            let (outcome, path) = (Outcome::from_number(how), path.map(PathKind::from_number));
            Message::Result(Punched { session, outcome, path, took })
        });
    let about = (option::of(room()), option::of(any::<u64>()), option::of(session()));
    let error =
        (any::<u8>(), about, option::of(secs())).prop_map(|(code, (room, peer, session), retry_after)| {
            let (code, peer) = (ErrorCode::from_number(code), peer.map(PeerHandle::new));
            Message::Error(Refusal { code, room, peer, session, retry_after })
        });
    let ping = any::<(u64, bool)>().prop_map(|(nonce, answer)| Message::Ping(Ping { nonce, answer }));
    prop_oneof![result, error, ping]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![greeting(), joining(), meeting(), outcome()]
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message()) {
        let bytes = encoded(&message);
        prop_assert!(bytes.len() <= FRAME_MAX);
        prop_assert_eq!(decoded(&bytes), Ok(Some(message)));
    }

    #[test]
    fn messages_come_back_however_the_stream_was_cut(
        messages in vec(message(), 1..6),
        cuts in vec(1usize..700, 1..40),
    ) {
        let mut stream = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut stream).unwrap());
        let (mut decoder, mut found, mut rest) = (Decoder::new(), Vec::new(), &stream[..]);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            while let Some(message) = decoder.next(&mut piece).unwrap() {
                found.push(message);
            }
            prop_assert!(piece.is_empty());
            prop_assert!(decoder.memory() <= 2 * FRAME_MAX);
        }
        prop_assert_eq!(found, messages);
        prop_assert_eq!(decoder.memory(), 0);
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_can_be_written(bytes in vec(any::<u8>(), 0..1500)) {
        let (mut decoder, mut rest) = (Decoder::new(), &bytes[..]);
        while !rest.is_empty() {
            match decoder.next(&mut rest) {
                Ok(Some(message)) => prop_assert_eq!(decoded(&encoded(&message)), Ok(Some(message))),
                Ok(None) => prop_assert!(rest.is_empty()),
                Err(error) if error.is_fatal() => break,
                Err(_) => {}
            }
            prop_assert!(decoder.pending() <= FRAME_MAX);
        }
    }

    #[test]
    fn a_damaged_message_does_not_take_the_next_one_with_it(message in message(), at in 3usize.., to: u8) {
        let mut stream = encoded(&message);
        let at = 2 + at % (stream.len() - 2);
        stream[at] = to;
        let ping = Message::Ping(Ping { nonce: 7, answer: false });
        ping.encode(&mut stream).unwrap();
        let (mut decoder, mut rest) = (Decoder::new(), &stream[..]);
        let _first = decoder.next(&mut rest);
        prop_assert_eq!(decoder.next(&mut rest), Ok(Some(ping)));
    }
}

#[test]
fn a_hello_is_six_bytes() {
    let hello = Message::Hello(Hello { version: 1, claim: None });
    assert_eq!(encoded(&hello), [0, 4, 1, 1, 1, 1]);
}

#[test]
fn what_is_not_known_is_skipped_unless_it_must_be_understood() {
    let hello = Message::Hello(Hello { version: 1, claim: None });
    assert_eq!(decoded(&framed(&[1, 0x7F, 2, 9, 9, 1, 1, 1])), Ok(Some(hello.clone())));
    assert_eq!(decoded(&framed(&[1, 0, 0, 1, 1, 1, 0])), Ok(Some(hello.clone())), "padding");
    assert_eq!(decoded(&framed(&[1, 1, 1, 1, 1, 1, 2])), Ok(Some(hello)), "the first one counts");
    assert_eq!(decoded(&framed(&[1, 0x80, 0, 1, 1, 1])), Err(MessageError::NotUnderstood(0x80)));
    assert_eq!(decoded(&framed(&[77])), Err(MessageError::Unknown(77)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert_eq!(decoded(&framed(&[1])), Err(MessageError::Missing(1)));
    assert_eq!(decoded(&framed(&[1, 1])), Err(MessageError::Truncated));
    assert_eq!(decoded(&framed(&[1, 1, 2, 1])), Err(MessageError::Truncated));
    assert_eq!(decoded(&framed(&[1, 1, 2, 1, 1])), Err(MessageError::BadField(1)));
    let short_room = [&[11, 7, 15][..], &[0; 15]].concat();
    assert_eq!(decoded(&framed(&short_room)), Err(MessageError::BadField(7)));
    let nobody = Candidate { kind: CandidateKind::Host, addr: "0.0.0.0:9".parse().unwrap() };
    let join = join_with(vec![nobody]);
    assert_eq!(decoded(&encoded(&join)), Err(MessageError::BadField(10)));
}

fn join_with(candidates: Vec<Candidate>) -> Message {
    Message::Join(Join {
        room: RoomId::from_name("harbour"),
        token: Token::new(1),
        class: NatClass::new(Mapping::Unknown),
        candidates,
        role: WantedRole::Any,
        capacity: 2,
        flags: JoinFlags::NONE,
    })
}

#[test]
fn lengths_are_looked_at_before_anything_is_kept() {
    for len in [0, FRAME_MAX - 1, 65535] {
        let head = u16::try_from(len).unwrap().to_be_bytes();
        assert_eq!(decoded(&head), Err(MessageError::BadLength), "{len}");
        let mut decoder = Decoder::new();
        assert_eq!(decoder.next(&mut &head[..1]), Ok(None));
        assert_eq!(decoder.next(&mut &head[1..]), Err(MessageError::BadLength));
        assert_eq!(decoder.pending(), 1);
    }
    assert_eq!(decoded(&u16::try_from(FRAME_MAX - 2).unwrap().to_be_bytes()), Ok(None));
}

#[test]
fn lists_have_an_end() {
    let candidate = Candidate::new(CandidateKind::Host, "192.0.2.1:9".parse().unwrap());
    let nine = join_with(vec![candidate; CANDIDATES_MAX + 1]);
    let mut out = vec![7];
    assert_eq!(nine.encode(&mut out), Err(EncodeMessageError));
    assert_eq!(out, [7], "nothing was appended");
    let mut bytes = encoded(&join_with(vec![candidate; CANDIDATES_MAX]));
    let one = bytes[bytes.len() - 9..].to_vec();
    bytes.extend(one);
    let len = u16::try_from(bytes.len() - 2).unwrap();
    bytes[..2].copy_from_slice(&len.to_be_bytes());
    assert_eq!(decoded(&bytes), Err(MessageError::TooMany(10)));

    let peers = |joined, left| {
        let room = RoomId::from_name("harbour");
        let [joined, left] = [joined, left].map(|count| vec![PeerHandle::new(1); count]);
        Message::Peers(Peers { room, yourself: None, joined, left })
    };
    assert!(encoded(&peers(PEERS_MAX, 0)).len() <= FRAME_MAX);
    assert_eq!(peers(PEERS_MAX, 1).encode(&mut out), Err(EncodeMessageError));
}

#[test]
fn a_token_holds_in_one_session_only() {
    let (token, session) = (Token::new(0x0102_0304_0506_0708), Session::new([0xF0; 16]));
    let mixed = Connect::session_token(token, session);
    assert_eq!(mixed, Token::new(0xF1F2_F3F4_F5F6_F7F8));
    assert_eq!(Connect::session_token(mixed, session), token);
}
