//! Questions to a peer of this crate's making, and what its answers are worth: that somebody is there does not mean that
//! the stream goes on.

use super::*;
use crate::wire::{Extension, ExtensionsBuf, Mark, MarkFlags, Own, Tag, Txn};

const TAG: Tag = Tag::new(0x7A67);

/// A peer of ours has called us.
fn kin(config: Config) -> Raw {
    let hello = Hello { tag: TAG, len: 60, ..Hello::default() };
    let mut raw = Raw::dialled_by(config, Syn { hello: Some(hello), ..syn() });
    raw.hear();
    raw.say(Kind::State, b"");
    assert!(raw.conn.is_confirmed() && raw.conn.peer_is_ebbtide());
    raw.hear();
    raw
}

/// The numbers of the questions among these packets.
fn questions(heard: &[Heard]) -> Vec<Txn> {
    let txn = |heard: &Heard| heard.packet().extensions.own_block().unwrap().and_then(|own| own.txn);
    heard.iter().filter_map(txn).collect()
}

/// The next question of ours.
fn question(raw: &mut Raw) -> Txn {
    for _ in 0..1000 {
        if let [first, ..] = *questions(&raw.pass_hearing(millis(100))) {
            return first;
        }
    }
    panic!("no question in a hundred seconds");
}

/// The peer asks, or answers, and lacks so many packets of those that it has acknowledged.
fn say_ping(raw: &mut Raw, own: Own<'_>, lacks: u16) {
    let (mut chain, mut block) = (ExtensionsBuf::new(), Vec::new());
    let mark = Mark { flags: MarkFlags::PING | MarkFlags::MORE, tag: TAG };
    chain.push(Extension::BITS, &mark.encode()).unwrap();
    own.encode(0, &mut block).unwrap();
    chain.push(Extension::EBBTIDE, &block).unwrap();
    let ack = SeqNr::new(raw.ack.get().wrapping_sub(lacks));
    let header = Header { ack, ..raw.header(Kind::State) };
    raw.say_with(header, chain.as_extensions(), b"");
}

fn say_answer(raw: &mut Raw, txn: Txn, lacks: u16) {
    say_ping(raw, Own { txn_echo: Some(txn), ..Own::default() }, lacks);
}

/// Three packets are written and acknowledged.
fn three_acknowledged(config: Config) -> Raw {
    let mut raw = kin(config);
    raw.write(&[0; 3 * FULL]);
    raw.hear();
    raw.acknowledge_all();
    raw.hear();
    raw
}

#[test]
fn an_answer_that_takes_back_what_was_acknowledged_ends_a_stream_that_could_never_go_on() {
    let mut raw = three_acknowledged(unlimited());
    let txn = question(&mut raw);
    say_answer(&mut raw, txn, 0);
    assert_eq!(raw.conn.close_reason(), None, "it is there, and has everything");
    let txn = question(&mut raw);
    say_answer(&mut raw, txn, 1);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Misbehaved));
    assert_eq!(only(Kind::Reset, &raw.hear()).len(), 1);
}

#[test]
fn an_answer_that_later_acknowledgements_have_overtaken_takes_nothing_back() {
    let mut raw = three_acknowledged(unlimited());
    let txn = question(&mut raw);
    raw.write(&[0; FULL]);
    raw.hear();
    raw.acknowledge_all();
    say_answer(&mut raw, txn, 1);
    say_answer(&mut raw, txn, 2);
    assert_eq!(raw.conn.close_reason(), None, "an answer counts once, and others are old packets");
}

#[test]
fn a_question_that_acknowledges_less_than_is_known_is_asked_back_once_and_later() {
    for config in [unlimited(), unlimited().keepalive(None)] {
        let mut raw = three_acknowledged(config);
        let own = Own { txn: Some(Txn::new(9)), ..Own::default() };
        say_ping(&mut raw, own, 0);
        assert_eq!(questions(&raw.hear()), [], "nothing is wrong");
        assert_eq!(questions(&raw.pass_hearing(secs(5))), []);
        say_ping(&mut raw, own, 1);
        assert_eq!(questions(&raw.hear()), [], "one answer to one packet");
        let [txn] = *questions(&raw.pass_hearing(secs(5))) else { panic!("one question") };
        say_answer(&mut raw, txn, 1);
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Misbehaved));
    }
}

/// Lets time pass while the peer answers every question at once, and acknowledges nothing new with it.
fn answer_for(raw: &mut Raw, time: Duration) {
    let end = raw.now + time;
    while raw.now < end && raw.conn.close_reason().is_none() {
        for txn in questions(&raw.pass_hearing(millis(200))) {
            say_answer(raw, txn, 0);
        }
    }
}

#[test]
fn a_peer_that_answers_and_never_acknowledges_counts_as_dead_after_all_tries_and_all_tries_again() {
    let mut raw = kin(unlimited());
    raw.write(b"text");
    raw.conn.finish();
    let start = raw.now;
    answer_for(&mut raw, secs(600));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::TimedOut));
    let took = raw.now.since(start);
    assert!((secs(60)..secs(300)).contains(&took), "{took:?}");
}

#[test]
fn each_outage_has_all_its_tries_if_something_arrives_between_them() {
    let mut raw = kin(unlimited());
    for outage in 0..5 {
        raw.write(b"text");
        let heard = raw.pass_hearing(secs(45));
        assert!(heard.len() > 5, "{outage}");
        answer_for(&mut raw, secs(10));
        assert_eq!(raw.conn.close_reason(), None, "{outage}");
        raw.acknowledge_all();
    }
}

#[test]
fn whoever_reads_or_writes_calls_no_driver_while_the_peer_is_asked_for_its_consent() {
    let mut raw = three_acknowledged(unlimited());
    for _ in 0..400 {
        raw.pass_hearing(millis(100));
    }
    raw.write(&[0; FULL]);
    assert!(raw.conn.wants_service(), "the driver has to find out that the peer has been silent");
    assert!(only(Kind::Data, &raw.hear()).is_empty());
    assert!(!raw.conn.wants_service(), "a timer asks again");
    let txn = *questions(&raw.pass_hearing(secs(3))).last().unwrap();
    say_answer(&mut raw, txn, 0);
    assert_eq!(only(Kind::Data, &raw.hear()).len(), 1);
}
