//! The time after the end: a finished connection answers late packets, and is otherwise quiet.

use super::*;

/// A driver that is told of a deadline calls at that time; if the deadline stays, it spins.
fn quiet_until_drained(raw: &mut Raw) {
    for _ in 0..10 {
        let Some(at) = raw.conn.poll_timeout() else { break };
        raw.now = raw.now.max(at);
        raw.conn.handle_timeout(raw.now);
        raw.hear();
        assert!(raw.conn.poll_timeout().is_none_or(|next| next > at), "overdue since {at}");
    }
    assert!(raw.conn.is_drained());
}

#[test]
fn d25_giving_memory_back_does_not_stay_due_after_the_end() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, &[7; 1000]);
    assert_eq!(raw.read().len(), 1000);
    raw.hear();
    raw.pass(Duration::from_millis(300));
    raw.conn.finish();
    raw.hear();
    raw.say(Kind::Fin, b"");
    raw.ack = OUR_SYN;
    raw.say(Kind::State, b"");
    raw.hear();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    quiet_until_drained(&mut raw);
}

#[test]
fn d25_a_window_that_opens_after_the_end_is_not_announced_for_ever() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.conn.finish();
    raw.hear();
    raw.ack = OUR_SYN;
    for _ in 0..4 {
        raw.say(Kind::Data, &[7; 1000]);
    }
    raw.hear();
    let fin = raw.header(Kind::Fin);
    raw.say(Kind::Fin, b"");
    raw.hear();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    // Read after the end; then the peer, which has not heard our last packet, repeats its own.
    assert_eq!(raw.read().len(), 4000);
    raw.say_with(fin, Extensions::EMPTY, b"");
    assert!(!raw.hear().is_empty(), "a repeated FIN is acknowledged");
    quiet_until_drained(&mut raw);
}

#[test]
fn d25_a_reset_is_not_followed_by_an_acknowledgement() {
    let mut raw = Raw::accepted(config().ack_delay(millis(50)));
    for _ in 0..40 {
        raw.say(Kind::Data, b"eager");
        raw.hear();
    }
    raw.conn.finish();
    raw.hear();
    raw.ack = OUR_SYN;
    raw.say(Kind::Data, b"unread and owed an acknowledgement");
    raw.conn.detach();
    raw.hear();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    raw.pass(millis(100));
    raw.say(Kind::Data, b"too late");
    let heard = raw.hear();
    assert_eq!(heard.iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Reset]);
}

#[test]
fn d25_a_second_end_after_the_end_takes_nothing_from_a_slow_reader() {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    raw.ack = OUR_SYN;
    raw.say(Kind::Data, b"the last words");
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.read(), b"the last words");
    assert_eq!(raw.conn.read_outcome(1), ReadOutcome::Eof);
}

#[test]
fn d25_time_wait_lasts_while_a_peer_that_backs_off_repeats_itself_and_not_for_ever() {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    raw.ack = OUR_SYN;
    let fin = raw.header(Kind::Fin);
    raw.say(Kind::Fin, b"");
    let start = raw.now;
    for pause in [500, 1000, 2000, 4000, 8000, 16_000] {
        raw.pass_hearing(millis(pause));
        raw.say_with(fin, Extensions::EMPTY, b"");
        assert!(only(Kind::State, &raw.hear()).len() == 2, "after {pause} ms");
    }
    for _ in 0..1000 {
        raw.pass_hearing(millis(100));
        raw.say_with(fin, Extensions::EMPTY, b"");
    }
    assert!(raw.conn.is_drained());
    assert!(raw.now.since(start) > secs(31));
}
