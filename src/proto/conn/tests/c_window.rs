//! Row C: receive windows, ours and the peer's.

use super::*;

#[test]
fn c20_a_loss_that_a_probe_repaired_opens_no_window() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 2 * FULL]);
    assert_eq!(raw.hear().len(), 2);
    raw.pass(millis(20));
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    assert_eq!(raw.pass_hearing(millis(200)).len(), 1, "a tail probe");
    raw.window = 2 * FULL as u32;
    raw.ack = raw.ack.next();
    raw.pass(millis(20));
    raw.say(Kind::State, b"");
    raw.write(&[0; 4 * FULL]);
    assert_eq!(raw.hear().len(), 2);
    raw.pass(millis(20));
    raw.window = FULL as u32;
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    assert_eq!(raw.conn.stats().congestion_events, 1);
    assert_eq!(raw.hear().len(), 0, "one full packet is in flight and the window is no larger");
}

#[test]
fn c20_a_keepalive_opens_the_window() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(b"sent");
    raw.hear();
    raw.window = 0;
    raw.acknowledge_all();
    raw.write(b"waits");
    assert_eq!(raw.hear().len(), 0);
    raw.pass(millis(20));
    raw.window = 1 << 20;
    raw.ack = raw.ack.prev();
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear()[0].packet().payload, b"waits");
}

#[test]
fn c20_an_overtaken_window_changes_nothing() {
    let mut raw = Raw::dialled(unlimited());
    let overtaken = Header { window: 0, ..raw.header(Kind::State) };
    raw.pass(millis(1));
    raw.say(Kind::State, b"");
    raw.say_with(overtaken, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.stats().window_peer, raw.window);
}

#[test]
fn c20_a_window_that_opens_costs_no_retransmission_unless_it_was_probed() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 4 * FULL]);
    assert_eq!(raw.hear().len(), 4);
    raw.pass(millis(20));
    raw.window = 100;
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    raw.window = 1 << 20;
    raw.ack = raw.ack.next();
    raw.pass(millis(1));
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear().len(), 0);
}

#[test]
fn c20_a_window_that_stays_shut_counts_as_a_stall_only_while_something_waits() {
    let mut raw = Raw::dialled(unlimited().stall_timeout(secs(60)).keepalive(None));
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.pass_hearing(secs(600));
    assert_eq!(raw.conn.close_reason(), None);
    raw.write(b"waits");
    let start = raw.now;
    while raw.now.since(start) < secs(59) {
        // The peer refuses every probe, and says so.
        for _ in raw.pass_hearing(secs(1)) {
            raw.say(Kind::State, b"");
        }
    }
    assert_eq!(raw.conn.close_reason(), None);
    let last = raw.pass_hearing(secs(2));
    assert_eq!(last.last().unwrap().kind(), Kind::Reset);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Stalled));
}

#[test]
fn c20_a_receive_buffer_smaller_than_a_packet_is_filled_without_probing() {
    let mut raw = Raw::dialling(unlimited());
    raw.hear();
    raw.window = 1000;
    raw.say(Kind::State, b"");
    raw.hear();
    raw.write(&pattern(5000));
    let mut got = Vec::new();
    for _ in 0..5 {
        let heard = raw.hear();
        assert_eq!(only(Kind::Data, &heard).len(), 1);
        got.extend_from_slice(heard[0].packet().payload);
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    assert_eq!(got, pattern(5000));
}

#[test]
fn c20_what_little_room_is_left_is_not_filled_with_small_packets() {
    let mut raw = Raw::dialled(unlimited());
    raw.window = 3 * FULL as u32 + 500;
    raw.say(Kind::State, b"");
    raw.write(&[0; 9 * FULL]);
    let heard = raw.hear();
    assert_eq!(heard.iter().map(|heard| heard.packet().payload.len()).collect::<Vec<_>>(), [FULL; 3]);
}

#[test]
fn c20_a_shut_window_is_probed_with_little_and_at_least_every_fifteen_seconds() {
    for window in [0, 300] {
        let mut raw = Raw::dialled(unlimited());
        raw.window = window;
        raw.say(Kind::State, b"");
        raw.write(&[0; 5000]);
        let start = raw.now;
        let mut probes = raw.pass_hearing(secs(290));
        probes.retain(|heard| heard.kind() == Kind::Data);
        let mut before = start;
        for probe in &probes {
            assert_eq!(probe.packet().payload.len(), (window as usize).max(1));
            assert!(probe.at.since(before) <= secs(15), "{} after {before}", probe.at);
            before = probe.at;
        }
        assert!((20..40).contains(&probes.len()), "{}", probes.len());
        // Not the update, but the answer to a probe tells.
        raw.window = 1 << 20;
        raw.acknowledge_all();
        assert_eq!(only(Kind::Data, &raw.hear()).len(), 4);
    }
}
