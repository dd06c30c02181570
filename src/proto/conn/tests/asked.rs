//! What an application asks, and what it is told.

use super::*;

#[test]
fn a_full_buffer_is_told_from_a_write_of_nothing() {
    let mut raw = Raw::dialled(config().send_buffer(4096));
    assert_eq!((raw.conn.write(b""), raw.conn.write_refusal()), (WriteOutcome::Written(0), None));
    raw.write(&[0; 4096]);
    assert_eq!(raw.conn.write_refusal(), Some(WriteOutcome::Full));
    assert_eq!(raw.conn.write(b"more"), WriteOutcome::Full);
}

#[test]
fn what_was_read_last_asks_for_a_driver_that_gives_the_memory_back_later() {
    let mut raw = Raw::dialled(config());
    raw.say(Kind::Data, &[0; 100]);
    raw.hear();
    let mut half = [0; 50];
    raw.conn.read(&mut half);
    assert!(!raw.conn.wants_service(), "half of it is there");
    raw.conn.read(&mut half);
    assert!(raw.conn.wants_service());
    raw.hear();
    assert!(raw.conn.timers.trim.is_some());
    raw.say(Kind::Data, &[0; 100]);
    raw.hear();
    raw.read();
    assert!(!raw.conn.wants_service(), "once per period");
}

#[test]
fn a_read_that_opens_the_window_asks_for_a_driver_that_tells_the_peer() {
    let mut raw = Raw::dialled(config().receive_buffer(8192).receive_buffer_max(8192));
    for _ in 0..5 {
        raw.say(Kind::Data, &[0; 1380]);
    }
    raw.hear();
    raw.conn.read(&mut [0; 1380]);
    assert!(!raw.conn.wants_service());
    raw.conn.read(&mut [0; 1380]);
    assert!(raw.conn.wants_service());
    assert_eq!(only(Kind::State, &raw.hear())[0].window, 8192 - 3 * 1380);
}

#[test]
fn an_end_is_asked_for_once() {
    let mut raw = Raw::dialled(config());
    raw.conn.finish();
    assert!(raw.conn.wants_service());
    assert_eq!(only(Kind::Fin, &raw.hear()).len(), 1);
    raw.conn.finish();
    assert!(!raw.conn.wants_service());

    let mut raw = Raw::dialled(config());
    raw.conn.abort();
    raw.hear();
    raw.conn.finish();
    assert!(!raw.conn.wants_service(), "it is over");
}

#[test]
fn a_push_of_nothing_asks_for_nothing() {
    let mut raw = Raw::dialled(config());
    raw.conn.push();
    assert!(!raw.conn.wants_service());
}

#[test]
fn what_is_written_before_the_handshake_is_over_asks_for_nothing() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.write(b"early");
    assert!(!raw.conn.wants_service());
}

#[test]
fn flushed_is_when_everything_has_left_the_end_included() {
    let mut raw = Raw::dialled(config());
    assert!(raw.conn.is_flushed());
    raw.write(b"text");
    raw.conn.take_events();
    assert!(!raw.conn.is_flushed());
    raw.hear();
    assert!(raw.conn.is_flushed() && raw.conn.take_events().intersects(Events::FLUSHED));
    raw.conn.finish();
    assert!(!raw.conn.is_flushed());
    raw.hear();
    assert!(raw.conn.is_flushed() && raw.conn.take_events().intersects(Events::FLUSHED));
    raw.acknowledge_all();
    assert!(raw.conn.is_flushed());
}

#[test]
fn a_peer_that_forgot_us_has_had_everything_that_was_to_be_flushed() {
    let mut raw = Raw::dialled(config());
    raw.conn.finish();
    raw.conn.send.clear();
    assert!(raw.conn.is_flushed());
}

/// Delivers packets for 200 ms over a path of 5 ms, read at once; the window that is advertised in the end.
fn window_after_a_fast_stream(may_grow: bool) -> u32 {
    let mut raw = Raw::dialled(config().receive_buffer(65_536).receive_buffer_max(1 << 20));
    raw.conn.let_window_grow(may_grow);
    for _ in 0..200 {
        for _ in 0..20 {
            raw.say(Kind::Data, &[0; FULL]);
        }
        raw.read();
        raw.hear();
        raw.pass(millis(1));
    }
    raw.conn.stats().window_local
}

#[test]
fn the_window_grows_as_the_path_deserves_unless_memory_is_short() {
    assert!((200_000..400_000).contains(&window_after_a_fast_stream(true)));
    assert_eq!(window_after_a_fast_stream(false), 65_536);
}

#[test]
fn a_packet_is_known_to_need_memory_by_what_it_carries() {
    let raw = Raw::dialled(config());
    let ahead = |kind| Header { seq: THEIR_FIRST + 5, ..raw.header(kind) };
    let growth = |kind, payload| {
        raw.conn.growth_for(&Packet { header: ahead(kind), extensions: Extensions::EMPTY, payload })
    };
    assert!(growth(Kind::Data, &[0; 1000]) >= 1000);
    assert!(growth(Kind::Fin, &[0; 1000]) >= 1000);
    assert_eq!(growth(Kind::State, b""), 0);
}

#[test]
fn a_packet_without_memory_for_its_payload_acknowledges_all_the_same() {
    for kind in [Kind::Data, Kind::Fin] {
        let mut raw = Raw::dialled(config());
        raw.write(b"text");
        raw.hear();
        raw.ack = raw.conn.send.next_seq().prev();
        let header = raw.header(kind);
        let packet = Packet { header, extensions: Extensions::EMPTY, payload: b"more" };
        raw.conn.handle_without_payload(raw.now, &packet);
        let stats = raw.conn.stats();
        assert_eq!((stats.bytes_acked, stats.bytes_received, stats.packets_refused), (4, 0, 1));
        assert_eq!(only(Kind::State, &raw.hear())[0].ack, header.seq.prev(), "it has to come again");
        raw.conn.handle_packet(raw.now, &packet);
        assert_eq!(raw.read(), b"more");
    }
}

#[test]
fn a_syn_that_names_no_window_promises_one_packet() {
    for (named, promised) in [(0, u32::from(MTU_IPV4)), (5000, 5000)] {
        let raw = Raw::dialled_by(config(), Syn { window: named, ..syn() });
        assert_eq!(raw.conn.stats().window_peer, promised);
    }
}

#[test]
fn the_first_bytes_find_the_first_window_however_late_they_are_written() {
    for mut raw in [Raw::dialled(config()), Raw::accepted(config())] {
        let first = raw.conn.stats().cwnd;
        raw.pass_hearing(secs(120));
        raw.write(&[0; 4 * FULL]);
        raw.hear();
        assert_eq!(raw.conn.stats().cwnd, first);
    }
}
