//! What the counters count, packet by packet, and what they are used for.

use super::*;

#[test]
fn only_the_syn_that_was_answered_is_answered_again() {
    let mut raw = Raw::dialled_by(config(), syn());
    raw.hear();
    let same = Header { conn_id: syn().id, seq: syn().seq, ack: SeqNr::new(0), ..raw.header(Kind::Syn) };
    raw.unmoved_by(Header { conn_id: syn().id.next(), ..same }, Extensions::EMPTY);
    raw.unmoved_by(Header { seq: syn().seq.next(), ..same }, Extensions::EMPTY);
    for times in 1..=3 {
        raw.say_with(same, Extensions::EMPTY, b"");
        assert_eq!(only(Kind::State, &raw.hear())[0].ack, syn().seq);
        assert_eq!(raw.conn.stats().packets_received, times);
    }
}

#[test]
fn the_side_that_dialled_answers_no_syn() {
    let mut raw = Raw::dialled(config());
    let mirrored = Header { conn_id: raw.conn.ids().send, seq: OUR_SYN, ..raw.header(Kind::Syn) };
    raw.unmoved_by(mirrored, Extensions::EMPTY);
    assert!(raw.conn.is_initiator());
    assert!(!Raw::accepted(config()).conn.is_initiator());
}

#[test]
fn every_packet_that_fits_counts_once() {
    let mut raw = Raw::accepted(config());
    let before = raw.conn.stats().packets_received;
    raw.say(Kind::Data, b"new");
    raw.seq = raw.seq.prev();
    raw.say(Kind::Data, b"new");
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, b"early");
    raw.say(Kind::State, b"");
    let stats = raw.conn.stats();
    assert_eq!(stats.packets_received - before, 4);
    assert_eq!((stats.packets_duplicate, stats.packets_reordered, stats.packets_invalid), (1, 1, 0));
    raw.say(Kind::Reset, b"");
    assert_eq!(raw.conn.stats().packets_received - before, 5);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn what_does_not_fit_is_counted_after_the_end_too() {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    let wrong = raw.header(Kind::Data);
    raw.unmoved_by(Header { conn_id: wrong.conn_id.next(), ..wrong }, Extensions::EMPTY);
    raw.unmoved_by(Header { ack: wrong.ack + 2, ..wrong }, Extensions::EMPTY);
    raw.unmoved_by(Header { seq: wrong.seq + 20_000, ..wrong }, Extensions::EMPTY);
}

#[test]
fn a_timeout_counts_what_it_gives_up() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 3 * FULL]);
    assert_eq!(raw.hear().len(), 3);
    while raw.conn.stats().timeouts == 0 {
        raw.pass_hearing(millis(100));
    }
    let stats = raw.conn.stats();
    assert_eq!((stats.timeouts, stats.packets_lost, stats.congestion_events), (1, 3, 0));
}

/// How long a finished connection is remembered, after something happened to it.
fn remembered(happened: fn(&mut StreamStats)) -> Duration {
    let mut raw = Raw::accepted(config());
    happened(&mut raw.conn.counters);
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.conn.poll_timeout().unwrap().since(raw.now)
}

#[test]
fn a_path_that_loses_packets_has_its_connections_remembered_longer() {
    assert_eq!(remembered(|_| {}), secs(1));
    assert_eq!(remembered(|seen| seen.packets_reordered = 1), secs(1));
    assert_eq!(remembered(|seen| seen.packets_lost = 1), secs(4));
    assert_eq!(remembered(|seen| seen.packets_duplicate = 1), secs(4));
    assert_eq!(remembered(|seen| seen.timeouts = 1), secs(4));
}

#[test]
fn what_is_unacknowledged_is_known_until_it_is_acknowledged() {
    let mut raw = Raw::dialled(config());
    assert!(!raw.conn.has_unacked());
    raw.write(b"text");
    assert!(raw.conn.has_unacked(), "though it was not even sent");
    raw.hear();
    assert!(raw.conn.has_unacked());
    raw.acknowledge_all();
    assert!(!raw.conn.has_unacked());
}

#[cfg(feature = "sim")]
#[test]
fn a_connection_that_forgets_a_timer_is_told_from_one_that_is_done() {
    let forgetful = |raw: &mut Raw| {
        assert_eq!(raw.conn.waits_in_vain(), None);
        raw.conn.timers = Timers::default();
        raw.conn.waits_in_vain()
    };
    let mut raw = Raw::dialling(config());
    raw.hear();
    assert_eq!(forgetful(&mut raw), Some("a SYN without a timer"));

    let mut raw = Raw::dialled(config());
    assert_eq!((raw.conn.has_nothing_to_send(), forgetful(&mut raw)), (true, None));
    raw.write(b"text");
    assert_eq!(
        (raw.conn.has_nothing_to_send(), raw.conn.waits_in_vain()),
        (false, Some("unsent bytes without a timer"))
    );
    raw.hear();
    assert_eq!(
        (raw.conn.has_nothing_to_send(), forgetful(&mut raw)),
        (false, Some("packets without a timer"))
    );
    raw.acknowledge_all();
    assert_eq!((raw.conn.has_nothing_to_send(), forgetful(&mut raw)), (true, None));
    raw.conn.finish();
    assert_eq!(raw.conn.waits_in_vain(), Some("an end without a timer"));
    raw.hear();
    assert_eq!(forgetful(&mut raw), Some("packets without a timer"));
    raw.acknowledge_all();
    assert_eq!(forgetful(&mut raw), None);
}
