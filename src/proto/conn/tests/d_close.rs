//! Row D: how a connection ends in order.

use super::*;

/// Both directions end; what is left is time-wait.
fn end(raw: &mut Raw) {
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
}

#[test]
fn d28_time_wait_ends_with_memory_to_give_back() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, b"once");
    assert_eq!(raw.read(), b"once");
    raw.hear();
    raw.pass(millis(500));
    end(&mut raw);
    raw.pass_hearing(secs(5));
    assert!(raw.conn.is_drained());
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_time_wait_ends_with_a_window_update_to_repeat() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.say(Kind::Data, &[1; 1380]);
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.read();
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.pass_hearing(secs(5));
    assert!(raw.conn.is_drained());
}

/// Says nothing until the connection is over, and returns what was sent after how long.
fn until_drained(raw: &mut Raw) -> (Vec<Heard>, Duration) {
    let start = raw.now;
    let mut heard = Vec::new();
    while !raw.conn.is_drained() {
        heard.extend(raw.pass_hearing(millis(100)));
        assert!(raw.now.since(start) < secs(600), "{:#?}", raw.conn);
    }
    (heard, raw.now.since(start))
}

#[test]
fn d28_a_peer_that_finished_and_forgot_us_keeps_nothing_open() {
    let mut raw = Raw::accepted(config());
    raw.write(b"all of it");
    raw.hear();
    raw.pass(millis(20));
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.conn.finish();
    let (heard, time) = until_drained(&mut raw);
    assert!(only(Kind::Fin, &heard).len() == 7 && time < secs(10), "{time:?}");
    assert!(only(Kind::Reset, &heard).is_empty());
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_a_short_silence_after_our_fin_does_not_cost_the_rest_of_the_stream() {
    for detached in [false, true] {
        let mut raw = Raw::accepted(config());
        raw.say(Kind::Data, b"warms up");
        raw.hear();
        if detached {
            raw.conn.detach()
        } else {
            raw.conn.finish()
        }
        raw.pass_hearing(secs(8));
        assert_eq!(raw.conn.close_reason(), None, "detached: {detached}");
        raw.say(Kind::Data, b" and goes on");
        assert_eq!(raw.read().len(), if detached { 0 } else { 20 });
        raw.acknowledge_all();
        raw.say(Kind::Fin, b"");
        until_drained(&mut raw);
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    }
}

#[test]
fn d28_a_peer_that_dies_after_our_fin_ends_by_itself() {
    for (detached, reason) in [(false, CloseReason::TimedOut), (true, CloseReason::Aborted)] {
        let mut raw = Raw::accepted(config());
        if detached {
            raw.conn.detach()
        } else {
            raw.conn.finish()
        }
        let (heard, _) = until_drained(&mut raw);
        assert_eq!(only(Kind::Reset, &heard).len(), 1);
        assert_eq!(raw.conn.close_reason(), Some(reason));
    }
}

#[test]
fn d29_in_time_wait_repeats_are_acknowledged_new_data_is_reset_and_forgeries_are_ignored() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, b"before");
    end(&mut raw);
    raw.hear();
    let fin = Header { seq: raw.seq.prev(), ..raw.header(Kind::Fin) };
    let data = raw.header(Kind::Data);
    let forged = [
        Header { ack: raw.ack.next(), ..fin },
        Header { ack: raw.ack.next(), ..data },
        Header { conn_id: raw.conn.ids().send, ..fin },
        Header { seq: raw.seq + 32_100, ..data },
    ];
    for header in forged {
        raw.say_with(header, Extensions::EMPTY, b"");
        assert_eq!(raw.hear(), [], "{header:?}");
    }
    raw.say_with(fin, Extensions::EMPTY, b"");
    let acks = raw.hear();
    assert_eq!(only(Kind::State, &acks).len(), 2, "{acks:?}");
    assert!(acks.iter().all(|heard| heard.header().ack == fin.seq));
    raw.say_with(data, Extensions::EMPTY, b"more");
    let reset = raw.hear();
    assert_eq!((reset.len(), reset[0].kind()), (1, Kind::Reset));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d30_closing_with_unread_data_opens_the_window_and_throws_the_rest_away() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.say(Kind::Data, &[1; 4000]);
    raw.conn.finish();
    assert_eq!(raw.hear().last().unwrap().header().window, 96);
    raw.conn.detach();
    let update = raw.hear();
    assert_eq!(only(Kind::State, &update).first().map(|header| header.window), Some(4096));
    raw.say(Kind::Data, &[2; 4000]);
    raw.say(Kind::Data, &[3; 4000]);
    assert_eq!(raw.hear().last().unwrap().header().window, 4096);
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    until_drained(&mut raw);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_a_peer_that_still_speaks_has_not_forgotten_us() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Fin, b"");
    raw.conn.finish();
    raw.hear();
    for _ in 0..30 {
        raw.pass_hearing(secs(1));
        // It has not got our acknowledgement either.
        let fin = Header { seq: raw.seq.prev(), ..raw.header(Kind::Fin) };
        raw.say_with(fin, Extensions::EMPTY, b"");
    }
    assert_eq!(raw.conn.close_reason(), None);
    raw.acknowledge_all();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}
