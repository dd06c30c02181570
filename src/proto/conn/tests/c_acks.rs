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

/// Connected, past the first packets, which are acknowledged one by one.
fn settled(config: Config) -> Raw {
    let mut raw = Raw::dialled(config);
    for _ in 0..16 {
        raw.say(Kind::Data, b"eager");
        assert_eq!(raw.hear().len(), 1);
    }
    raw
}

#[test]
fn c21_every_second_packet_is_acknowledged() {
    let mut raw = settled(config());
    let mut acks = Vec::new();
    for _ in 0..10 {
        raw.say(Kind::Data, b"steady");
        acks.extend(raw.hear());
    }
    assert_eq!(acks.len(), 5);
    assert!(acks.iter().all(|ack| ack.kind() == Kind::State && ack.bytes.len() == HEADER_LEN));
    assert_eq!(acks[4].header().ack, raw.seq.prev());
}

#[test]
fn c21_a_batch_of_packets_costs_one_ack() {
    let mut raw = settled(config());
    for _ in 0..100 {
        raw.say(Kind::Data, b"batch");
    }
    let acks = raw.hear();
    assert_eq!((acks.len(), acks[0].header().ack), (1, raw.seq.prev()));
    assert_eq!(raw.pass_hearing(secs(1)), []);
}

#[test]
fn c21_a_lone_packet_is_acknowledged_within_the_delay() {
    let mut raw = settled(config().ack_delay(millis(7)));
    raw.say(Kind::Data, b"lone");
    assert_eq!(raw.hear(), []);
    let sent = raw.now;
    let acks = raw.pass_hearing(millis(900));
    assert_eq!((acks.len(), acks[0].at), (1, sent + millis(7)));
    raw.say(Kind::Data, b"lone");
    raw.write(b"an answer carries the acknowledgement");
    assert_eq!(raw.hear()[0].header().ack, raw.seq.prev());
    raw.acknowledge_all();
    assert_eq!(raw.pass_hearing(millis(900)), []);
}

#[test]
fn c21_gaps_and_what_fills_them_are_acknowledged_at_once_with_a_mask() {
    let mut raw = settled(config());
    let missing = raw.header(Kind::Data);
    raw.seq = raw.seq.next();
    for n in 0..3_u8 {
        raw.say(Kind::Data, b"early");
        let acks = raw.hear();
        assert_eq!((acks.len(), acks[0].header().ack), (1, missing.seq.prev()));
        let sack = acks[0].packet().extensions.sack().unwrap();
        assert_eq!(sack.as_bytes(), [(1 << (n + 1)) - 1, 0, 0, 0]);
    }
    raw.say_with(missing, Extensions::EMPTY, b"late");
    let acks = raw.hear();
    assert_eq!((acks.len(), acks[0].header().ack), (1, raw.seq.prev()));
    assert_eq!(acks[0].packet().extensions.sack(), None);
    raw.say_with(missing, Extensions::EMPTY, b"late");
    assert_eq!(raw.hear().len(), 1, "so is a duplicate");
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.hear().len(), 1, "and the end");
}

#[test]
fn c21_data_both_ways_does_not_swallow_the_mask() {
    let mut raw = settled(unlimited());
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, b"early");
    raw.write(b"unrelated");
    let heard = raw.hear();
    assert_eq!(only(Kind::Data, &heard).len(), 1);
    let state = heard.iter().find(|heard| heard.kind() == Kind::State).unwrap();
    assert_eq!(state.packet().extensions.sack().unwrap().count(), 1);
    assert_eq!(state.header().seq, raw.conn.send.next_seq());
}

#[test]
fn c21_a_state_is_never_acknowledged() {
    let mut raw = settled(config());
    raw.write(b"in flight");
    raw.hear();
    for ack in [raw.ack, raw.ack.prev(), raw.conn.send.next_seq().prev()] {
        raw.ack = ack;
        raw.say(Kind::State, b"");
        raw.say_sack(&[0; 4]);
        assert_eq!(raw.hear(), []);
    }
}

#[test]
fn c22_a_small_packet_waits_for_the_one_before_it_and_no_longer() {
    let mut raw = Raw::dialled(unlimited().nodelay(false));
    raw.write(b"first");
    assert_eq!(raw.hear().len(), 1, "an idle connection sends at once");
    raw.write(b" second");
    raw.write(b" third");
    assert_eq!(raw.hear(), []);
    raw.pass(millis(20));
    raw.acknowledge_all();
    assert_eq!(raw.hear()[0].packet().payload, b" second third");
}

#[test]
fn c22_full_packets_never_wait_and_hold_back_no_small_one() {
    let mut raw = Raw::dialled(unlimited().nodelay(false));
    raw.write(&[0; 3 * FULL + 1]);
    let sizes = |heard: &[Heard]| heard.iter().map(|heard| heard.packet().payload.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&raw.hear()), [FULL, FULL, FULL, 1]);
    raw.write(&[0; FULL + 2]);
    assert_eq!(sizes(&raw.hear()), [FULL]);
}

#[test]
fn c22_flush_close_and_nodelay_send_what_is_held() {
    let release: [fn(&mut Connection); 4] =
        [Connection::push, Connection::finish, Connection::detach, |conn| conn.set_nodelay(true)];
    for release in release {
        let mut raw = Raw::dialled(unlimited().nodelay(false));
        raw.write(b"first");
        raw.hear();
        raw.write(b"held");
        assert_eq!((raw.hear(), raw.conn.wants_service()), (vec![], false));
        release(&mut raw.conn);
        assert!(raw.conn.wants_service());
        assert_eq!(raw.hear()[0].packet().payload, b"held");
    }
}

#[test]
fn c22_a_flush_does_not_last() {
    let mut raw = Raw::dialled(unlimited().nodelay(false));
    raw.write(b"first");
    raw.conn.push();
    assert_eq!(raw.hear().len(), 1);
    raw.write(b"held again");
    assert_eq!(raw.hear(), []);
}

#[test]
fn c23_an_idle_connection_sends_an_old_ack_at_the_interval() {
    let mut raw = settled(config().keepalive(Some(secs(29))));
    let start = raw.now;
    let alive = raw.pass_hearing(secs(100));
    let times: Vec<_> = alive.iter().map(|heard| heard.at.since(start).as_secs()).collect();
    assert_eq!(times, [29, 58, 87]);
    for heard in &alive {
        let header = heard.header();
        assert_eq!((header.kind, header.seq, header.ack), (Kind::State, OUR_SYN.next(), raw.seq - 2));
    }
}

#[test]
fn c23_what_is_sent_puts_the_keepalive_off() {
    let mut raw = settled(config().keepalive(Some(secs(29))));
    raw.pass_hearing(secs(20));
    raw.write(b"busy");
    raw.hear();
    raw.acknowledge_all();
    let sent = raw.now;
    let alive = raw.pass_hearing(secs(40));
    assert_eq!((alive.len(), alive[0].at), (1, sent + secs(29)));
}

#[test]
fn c23_no_keepalive_after_our_fin_or_without_an_interval() {
    let mut raw = settled(config().keepalive(Some(secs(1))));
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    assert_eq!(raw.pass_hearing(secs(100)), []);
    let mut raw = settled(config().keepalive(None));
    assert_eq!(raw.pass_hearing(secs(100)), []);
    assert_eq!(raw.conn.poll_timeout(), None);
}

#[test]
fn c23_the_idle_limit_counts_from_the_last_packet_heard() {
    let mut raw = settled(config().idle_timeout(Some(secs(60))));
    raw.pass_hearing(secs(50));
    raw.say(Kind::State, b"");
    raw.pass_hearing(secs(59));
    assert_eq!(raw.conn.close_reason(), None);
    let last = raw.pass_hearing(secs(2));
    assert_eq!(only(Kind::Reset, &last).len(), 1);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Idle));
    assert!(raw.conn.is_drained());
}
