//! Messages for a peer that knows none, packet by packet.

use super::*;
use crate::proto::message::{Fate, MessageConfig, SendError};

fn messages() -> MessageConfig {
    MessageConfig::default().fallback(true)
}

fn greeting() -> Vec<u8> {
    [&[0, 0, 0, 0, 4][..], &messages().agreement()].concat()
}

/// All payloads, one after the other.
fn payloads(heard: &[Heard]) -> Vec<u8> {
    heard.iter().flat_map(|heard| heard.packet().payload.to_vec()).collect()
}

#[test]
fn frames_are_a_stream_to_the_peer_and_messages_here() {
    let mut raw = Raw::accepted(config());
    raw.conn.frame_messages(&messages());
    assert_eq!(payloads(&raw.hear()), greeting(), "the greeting waits for nothing");
    let id = raw.conn.send_message(3, "ebb".into()).expect("room");
    assert_eq!(payloads(&raw.hear()), b"\x03\0\0\0\x03ebb");
    assert_eq!(raw.conn.next_receipt(), None);
    raw.acknowledge_all();
    let receipt = raw.conn.next_receipt().expect("it is acknowledged");
    assert_eq!((receipt.id, receipt.fate), (id, Fate::Delivered));

    raw.say(Kind::Data, &greeting());
    raw.say(Kind::Data, b"\x01\0\0\0\x04fl");
    assert_eq!(raw.conn.receive_message(), None);
    raw.say(Kind::Data, b"ow");
    assert_eq!(raw.conn.receive_message().expect("all of it").bytes, "flow");
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.conn.receive_message(), None);
    assert!(raw.conn.is_out_of_messages());
    assert_eq!(raw.conn.message_stats().map(|stats| stats.unassembled), Some(0));
}

#[test]
fn the_end_follows_a_message_that_is_larger_than_the_buffer() {
    let mut raw = Raw::accepted(unlimited().send_buffer(4096));
    raw.conn.frame_messages(&messages());
    raw.hear();
    raw.acknowledge_all();
    let large = pattern(50_000);
    raw.conn.send_message(0, large.clone().into()).expect("room for one");
    let refused = raw.conn.send_message(0, "next".into());
    assert_eq!(refused, Err(MessageRefusal::NotTaken(SendError::Full("next".into()))));
    raw.conn.finish();
    assert_eq!(raw.conn.send_message(0, "late".into()), Err(MessageRefusal::Finished("late".into())));
    let mut heard = Vec::new();
    for _ in 0..100 {
        heard.extend(raw.hear());
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    assert_eq!(payloads(&heard), [&b"\0\0\0\xC3\x50"[..], &large].concat());
    assert_eq!(heard.last().map(Heard::kind), Some(Kind::Fin));
    assert!(raw.conn.is_acked());
    assert_eq!(raw.conn.next_receipt().map(|receipt| receipt.fate), Some(Fate::Delivered));
}

#[test]
fn a_call_that_gives_way_learns_from_the_peers_own_what_becomes_of_messages() {
    let crossed_by = |hello: Option<Hello>| {
        let mut conn = Connection::connect(Arc::new(config()), path());
        conn.use_messages(&messages());
        assert!(!conn.can_send_message(3), "nobody knows yet");
        conn.give_way(Instant::from_micros(1_000_000), path(), &Syn { hello, ..syn() }, SeqNr::new(65_534));
        conn
    };
    let conn = crossed_by(None);
    assert!(conn.is_framed() && conn.can_send_message(3));
    let agreed = Hello { messages: Some(messages().agreement()), ..Hello::default() };
    let conn = crossed_by(Some(agreed));
    assert!(!conn.is_framed() && conn.can_send_message(3));
    let conn = crossed_by(Some(Hello::default()));
    assert_eq!(conn.close_reason(), Some(CloseReason::NoMessages), "one of ours that wants a stream");
}
