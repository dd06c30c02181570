//! Row C: acknowledgements that we send, keepalives, and small writes.

use super::*;

#[test]
fn c22_a_held_small_packet_serves_as_tail_probe() {
    let mut raw = Raw::dialled(Config::default());
    raw.write(b"lost");
    assert_eq!(only(Kind::Data, &raw.hear()).len(), 1);
    raw.write(b"held");
    assert_eq!(raw.hear().len(), 0);
    let probe = raw.pass_hearing(millis(200));
    assert_eq!((probe.len(), probe[0].packet().payload), (1, &b"held"[..]));
}

#[test]
fn c21_a_retransmission_acknowledges_nothing() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(b"question");
    raw.hear();
    let lost = raw.now + secs(1);
    while raw.conn.poll_timeout().unwrap() < lost {
        raw.now = raw.conn.poll_timeout().unwrap();
        raw.say(Kind::Data, b"unrelated");
        raw.conn.handle_timeout(raw.now);
        let heard = raw.hear();
        assert_eq!(only(Kind::State, &heard).len(), 1, "{heard:?}");
        assert_eq!(only(Kind::State, &heard)[0].seq, raw.conn.send.next_seq());
    }
    assert!(raw.conn.stats().packets_retransmitted > 0);
}
