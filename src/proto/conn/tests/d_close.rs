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
