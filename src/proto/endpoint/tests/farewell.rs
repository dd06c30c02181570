//! What peers of this crate's making tell each other in the end, and what they ask when one is silent.

use super::*;
use crate::proto::conn::Reason;

fn kinds(sent: &[Datagram]) -> Vec<Kind> {
    sent.iter().map(|(_, bytes)| Packet::decode(bytes).unwrap().header.kind).collect()
}

#[test]
fn n34_a_reason_goes_with_the_fin_and_with_the_reset() {
    for abort in [false, true] {
        let mut pair = Pair::new(Config::default());
        let (ours, theirs) = pair.connect();
        ours.set_close_reason(42, "enough");
        if abort {
            ours.abort();
        } else {
            assert!(ours.poll_finish(&mut cx()).is_ready());
        }
        pair.settle();
        assert_eq!(theirs.peer_reason(), Some(Reason { code: 42, text: "enough".into() }));
        assert_eq!(theirs.close_reason(), abort.then_some(CloseReason::Reset));
        assert_eq!(ours.peer_reason(), None);
    }
}

#[test]
fn n34_others_are_told_nothing() {
    let mut pair = Pair::new(Config::default());
    pair.b = Side::listening(2, Config::default().extensions(false));
    let (ours, theirs) = pair.connect();
    ours.set_close_reason(42, "enough");
    assert!(ours.poll_finish(&mut cx()).is_ready());
    let sent = pair.a.turn(pair.now);
    assert!(sent.iter().all(|(_, bytes)| Packet::decode(bytes).unwrap().extensions.is_empty()));
    pair.under_way[1] = sent;
    pair.settle();
    assert_eq!(theirs.peer_reason(), None);
}

#[test]
fn n35_a_silent_peer_is_asked_before_it_is_sent_more() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    // Nothing gets through for a minute.
    let silent = pair.now + secs(60);
    let (mut payload, mut questions) = (0, 0);
    assert_eq!(ours.try_write(&[1; 5000]), Poll::Ready(Ok(5000)));
    let began = pair.now;
    while pair.now < silent {
        let sent = pair.a.turn(pair.now);
        if pair.now >= began + secs(31) {
            payload += kinds(&sent).iter().filter(|kind| **kind == Kind::Data).count();
            questions += kinds(&sent).iter().filter(|kind| **kind == Kind::State).count();
        }
        let _lost = pair.b.turn(pair.now);
        pair.now = pair.a.endpoint.poll_timeout().unwrap_or(silent).max(pair.now + millis(1)).min(silent);
    }
    assert_eq!(payload, 0, "no payload to somebody who may not be there");
    assert!((3..=12).contains(&questions), "{questions}");
    pair.under_way = Default::default();
    pair.pass(secs(40));
    assert_eq!(read_some(&theirs).map(|read| read.len()), Some(5000), "it was there after all");
}

#[test]
fn n35_a_peer_that_never_answers_is_given_up() {
    let mut pair = Pair::new(Config::default());
    let (ours, _theirs) = pair.connect();
    for second in 0..60 {
        pair.a.turn(pair.now + secs(second));
    }
    // Written after the silence had begun.
    assert_eq!(ours.try_write(b"is anybody there?"), Poll::Ready(Ok(17)));
    let (mut now, mut sent) = (pair.now + secs(60), Vec::new());
    while ours.close_reason().is_none() {
        sent.extend(kinds(&pair.a.turn(now)));
        now = pair.a.endpoint.poll_timeout().unwrap_or(now).max(now + millis(1));
        assert!(now < pair.now + secs(600));
    }
    assert_eq!(ours.close_reason(), Some(CloseReason::TimedOut));
    assert!(!sent.contains(&Kind::Data), "{sent:?}");
}
