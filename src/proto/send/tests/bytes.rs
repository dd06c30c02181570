//! Writing, cutting, numbering and ending the stream.

use super::*;

#[test]
fn a_segment_keeps_its_number_its_length_and_its_bytes_for_life() {
    let mut send = SendBuffer::new(1000);
    send.start(SeqNr::new(65_535));
    assert_eq!(send.write(b"one two three"), 13);
    let first = send.peek_new(7, false).unwrap();
    assert_eq!((first.seq, first.len, first.kind), (SeqNr::new(65_535), 7, SegmentKind::Data));
    send.sent(&first, Instant::ZERO);
    let second = send.peek_new(1400, false).unwrap();
    assert_eq!((second.seq, second.len), (SeqNr::new(0), 6));
    send.sent(&second, Instant::ZERO);
    send.write(b" four");
    assert!(send.queue_tail_probe());
    let again = send.peek_lost().unwrap();
    assert_eq!((again.seq, again.len, again.is_retransmission()), (SeqNr::new(0), 6, true));
    let mut payload = [0; 6];
    send.fill(&again, &mut payload);
    assert_eq!(&payload, b" three");
}

#[test]
fn what_is_acknowledged_makes_room_and_what_is_reported_does_not() {
    let mut rig = Rig::new();
    rig.send = SendBuffer::new(300);
    rig.send.start(SeqNr::new(FIRST));
    rig.send_new(3);
    assert_eq!((rig.send.free_bytes(), rig.send.write(b"x")), (0, 0));
    rig.ack(0, &[1, 2]);
    assert_eq!((rig.send.free_bytes(), rig.send.bytes_in_flight(), rig.send.outstanding()), (0, 100, 3));
    let outcome = rig.ack(3, &[]);
    assert_eq!((outcome.bytes, outcome.packets, outcome.advanced), (100, 1, true));
    assert_eq!((rig.send.free_bytes(), rig.send.bytes_in_flight(), rig.send.outstanding()), (300, 0, 0));
}

#[test]
fn a_fin_comes_alone_after_the_last_byte() {
    let mut rig = Rig::new();
    rig.send.write(b"end");
    rig.send.finish();
    rig.send.finish();
    assert_eq!((rig.send.write(b"more"), rig.send.free_bytes()), (0, 0));
    let data = rig.send.peek_new(1400, true).unwrap();
    assert_eq!((data.kind, data.len), (SegmentKind::Data, 3));
    rig.send.sent(&data, rig.now);
    assert_eq!(rig.send.fin_seq(), None);
    let fin = rig.send.peek_new(1400, true).unwrap();
    assert_eq!((fin.kind, fin.len, fin.seq), (SegmentKind::Fin, 0, SeqNr::new(FIRST) + 1));
    rig.send.sent(&fin, rig.now);
    assert_eq!((rig.send.peek_new(1400, false), rig.send.fin_seq()), (None, Some(fin.seq)));
    assert!(!rig.ack(1, &[]).fin_acked);
    assert!(rig.send.only_fin_outstanding() && !rig.send.is_all_acked());
    assert!(rig.ack(2, &[]).fin_acked);
    assert!(rig.send.is_all_acked() && !rig.send.only_fin_outstanding());
}

#[test]
fn a_stream_without_bytes_still_ends_with_a_fin() {
    let mut rig = Rig::new();
    assert!(rig.send.is_all_acked());
    rig.send.finish();
    assert!(!rig.send.is_all_acked(), "the FIN is owed");
    let fin = rig.send.peek_new(1400, false).unwrap();
    rig.send.sent(&fin, rig.now);
    assert_eq!((rig.send.packets_in_flight(), rig.send.bytes_in_flight()), (1, 0));
    assert!(rig.ack(1, &[]).fin_acked);
    assert!(rig.send.is_all_acked());
}

#[test]
fn a_second_small_segment_waits_for_the_first() {
    let mut rig = Rig::new();
    rig.send.write(b"small");
    let first = rig.send.peek_new(LEN, true).unwrap();
    rig.send.sent(&first, rig.now);
    rig.send.write(b"also small");
    assert_eq!(rig.send.peek_new(LEN, true), None);
    assert!(rig.send.peek_new(LEN, false).is_some(), "unless told not to wait");
    rig.send.write(&[0; LEN as usize]);
    let full = rig.send.peek_new(LEN, true).unwrap();
    assert_eq!(full.len, LEN, "a full one does not wait");
    rig.send.sent(&full, rig.now);
    assert_eq!(rig.send.peek_new(LEN, true), None);
    rig.ack(1, &[]);
    assert!(rig.send.peek_new(LEN, true).is_some(), "full ones outstanding do not hold a small one back");
}

#[test]
fn a_small_last_segment_does_not_wait_when_the_stream_ends() {
    let mut rig = Rig::new();
    rig.send.write(b"small");
    let first = rig.send.peek_new(LEN, true).unwrap();
    rig.send.sent(&first, rig.now);
    rig.send.write(b"last");
    rig.send.finish();
    assert_eq!(rig.send.peek_new(LEN, true).unwrap().len, 4);
}

#[test]
fn no_more_is_outstanding_than_numbers_can_tell_apart() {
    let mut rig = Rig::with_flight(32_000);
    rig.send.write(b"one more");
    assert_eq!(rig.send.peek_new(LEN, false), None);
    assert_eq!(rig.send.packets_in_flight(), 32_000);
    rig.wait(40);
    rig.ack(31_999, &[]);
    assert_eq!(rig.send.bytes_in_flight(), 100);
    assert_eq!(rig.send.peek_new(LEN, false).unwrap().seq, SeqNr::new(FIRST) + 32_000);
}

#[test]
fn a_discarded_stream_holds_nothing_and_sends_nothing() {
    let mut rig = Rig::with_flight(5);
    rig.send.write(b"unsent");
    rig.ack(0, &[3, 4]);
    rig.detect();
    let next = rig.send.next_seq();
    rig.send.clear();
    assert_eq!((rig.send.queued_bytes(), rig.send.outstanding(), rig.send.bytes_in_flight()), (0, 0, 0));
    assert!(!rig.send.has_lost() && rig.send.peek_lost().is_none() && rig.send.is_all_acked());
    assert_eq!((rig.send.peek_new(LEN, false), rig.send.write(b"x")), (None, 0));
    assert_eq!(rig.send.next_seq(), next, "a RESET still carries the right number");
}

#[test]
fn an_idle_buffer_gives_its_memory_back_and_goes_on() {
    let mut rig = Rig::with_flight(3);
    rig.send.release();
    rig.wait(40);
    rig.ack(3, &[]);
    rig.send.release();
    rig.send_new(1);
    assert_eq!(rig.send.peek_new(LEN, false), None);
    assert_eq!(rig.ack(4, &[]).packets, 1);
}
