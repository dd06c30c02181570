//! What leaves, in which packet, and which timers that sets.

use super::*;
use crate::proto::batch::Batch;

/// Drains a connection into batches of one datagram, as through a socket without segmentation.
fn one_by_one(raw: &mut Raw) -> Vec<Heard> {
    let mut batch = Batch::new(1);
    let mut heard = Vec::new();
    while raw.conn.poll_transmit(raw.now, &mut batch) {
        assert_eq!(batch.len(), 1);
        heard.push(Heard { at: raw.now, bytes: batch.bytes().to_vec() });
        batch.clear();
    }
    heard
}

/// Our FIN and everything before it is out and acknowledged; the peer's end is open.
fn half_ended() -> Raw {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw
}

#[test]
fn both_numbers_of_an_acknowledgement_after_our_end_leave_however_small_batches_are() {
    let mut raw = half_ended();
    let next = raw.conn.send.next_seq();
    raw.say(Kind::Data, b"news");
    let heard = only(Kind::State, &one_by_one(&mut raw));
    assert_eq!(heard.iter().map(|header| header.seq).collect::<Vec<_>>(), [next.prev(), next]);
}

#[test]
fn both_numbers_leave_after_a_retransmission_that_filled_the_batch() {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    let next = raw.conn.send.next_seq();
    while raw.conn.stats().timeouts == 0 {
        raw.now = raw.conn.poll_timeout().unwrap();
        raw.conn.handle_timeout(raw.now);
    }
    raw.say(Kind::Data, b"news");
    let kinds: Vec<_> = one_by_one(&mut raw).iter().map(|heard| (heard.kind(), heard.header().seq)).collect();
    assert_eq!(kinds, [(Kind::Fin, next.prev()), (Kind::State, next.prev()), (Kind::State, next)]);
}

#[test]
fn repetitions_after_our_end_are_answered_with_the_one_number_and_the_other_in_turn() {
    let mut raw = half_ended();
    let next = raw.conn.send.next_seq();
    let same = raw.header(Kind::Data);
    raw.say(Kind::Data, b"news");
    assert_eq!(raw.hear().len(), 2);
    let mut answers = Vec::new();
    for _ in 0..4 {
        raw.pass(millis(10));
        raw.say_with(same, Extensions::EMPTY, b"news");
        answers.extend(only(Kind::State, &raw.hear()).iter().map(|header| header.seq));
    }
    assert_eq!(answers, [next.prev(), next, next.prev(), next]);
    raw.pass(millis(100));
    raw.say_with(same, Extensions::EMPTY, b"news");
    assert_eq!(raw.hear().len(), 2, "and now and then with both");
}

#[test]
fn data_carries_no_mask_and_so_never_exceeds_the_path() {
    let mut raw = Raw::dialled(unlimited());
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, b"early");
    raw.write(&[0; 2 * FULL]);
    for heard in raw.hear() {
        let packet = heard.packet();
        match heard.kind() {
            Kind::Data => assert_eq!((packet.payload.len(), heard.bytes.len()), (FULL, MTU_IPV4.into())),
            _ => assert!(packet.extensions.sack().is_some()),
        }
    }
    raw.acknowledge_all();
    raw.seq = raw.seq - 2;
    raw.say(Kind::Data, b"late");
    assert_eq!(raw.hear()[0].bytes.len(), HEADER_LEN, "without a gap there is nothing to report");
}

#[test]
fn new_data_acknowledges_unless_a_gap_needs_a_mask() {
    for gap in [false, true] {
        let mut raw = Raw::dialled(unlimited());
        if gap {
            raw.seq = raw.seq.next();
        }
        raw.say(Kind::Data, b"a question");
        raw.write(b"an answer");
        let heard = raw.hear();
        assert_eq!((only(Kind::Data, &heard).len(), only(Kind::State, &heard).len()), (1, usize::from(gap)));
    }
}

#[test]
fn a_window_smaller_than_a_packet_lets_one_go_at_a_time() {
    let mut raw = Raw::dialled(config().pacing(false).congestion(Congestion::Fixed(1000)));
    raw.write(&[0; 2 * FULL]);
    assert!(raw.conn.wants_service());
    assert_eq!(raw.hear().len(), 1);
    assert!(!raw.conn.wants_service());
    raw.pass(millis(20));
    raw.acknowledge_all();
    assert_eq!(raw.hear().len(), 1);
}

#[test]
fn a_write_asks_for_the_driver_while_the_window_has_room_for_it() {
    let mut raw = Raw::dialled(config().pacing(false).congestion(Congestion::Fixed(2 * FULL as u32)));
    for room in [true, true, false] {
        raw.write(&[0; FULL]);
        assert_eq!(raw.conn.wants_service(), room);
        assert_eq!(raw.hear().len(), usize::from(room));
    }
}

#[test]
fn writers_are_woken_when_a_third_of_the_buffer_is_free() {
    let mut raw = Raw::dialled(unlimited().nodelay(false).send_buffer(30_000));
    raw.write(&[0; 30_000]);
    raw.hear();
    raw.pass(millis(20));
    for packets in 1..=21 {
        raw.conn.take_events();
        raw.ack = raw.ack.next();
        raw.say(Kind::State, b"");
        let woken = raw.conn.take_events().intersects(Events::WRITABLE);
        assert_eq!(woken, packets * FULL >= 10_000, "{packets} packets");
    }
}

/// In flight: ten full packets; and the time at which the timer goes off.
fn flying() -> (Raw, Instant) {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 10 * FULL]);
    assert_eq!(raw.hear().len(), 10);
    let due = raw.conn.timers.retransmit.unwrap();
    raw.pass(millis(20));
    (raw, due)
}

#[test]
fn the_timeout_starts_anew_when_the_first_packet_goes_again() {
    let (mut raw, due) = flying();
    raw.say_sack(&[0b111, 0, 0, 0]);
    raw.pass(millis(10));
    assert_eq!(only(Kind::Data, &raw.hear())[0].seq, OUR_SYN.next());
    assert!(raw.conn.timers.retransmit.unwrap() > due);
    assert_eq!(raw.conn.timers.retransmit.unwrap().since(raw.now), raw.conn.rtt.rto());
}

#[test]
fn the_timeout_starts_anew_with_a_tail_probe() {
    let (mut raw, due) = flying();
    let probe = raw.pass_hearing(millis(200));
    assert_eq!(only(Kind::Data, &probe)[0].seq, OUR_SYN + 10);
    assert!(raw.conn.timers.retransmit.unwrap() > due);
}

#[test]
fn what_else_is_sent_leaves_the_timeout_alone() {
    let (mut raw, due) = flying();
    raw.write(&[0; 2 * FULL]);
    assert_eq!(raw.hear().len(), 2, "new data");
    assert_eq!(raw.conn.timers.retransmit, Some(due));
    // The first two are missing, and leave in two batches.
    raw.say_sack(&[0b1110, 0, 0, 0]);
    let mut batch = Batch::new(1);
    for (seq, since) in [(OUR_SYN + 1, millis(0)), (OUR_SYN + 2, millis(5))] {
        batch.clear();
        assert!(raw.conn.poll_transmit(raw.now, &mut batch));
        assert_eq!(Packet::decode(batch.bytes()).unwrap().header.seq, seq);
        assert_eq!(raw.conn.timers.retransmit.map(|at| at.since(raw.now) + since), Some(raw.conn.rtt.rto()));
        raw.pass(millis(5));
    }
}
