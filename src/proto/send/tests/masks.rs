//! Acknowledgements: what they settle, what they prove, and what of them is ignored.

use super::*;

#[test]
fn each_segment_is_counted_once_however_often_it_is_reported() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    let outcome = rig.ack(2, &[4, 6]);
    assert_eq!((outcome.packets, outcome.bytes, outcome.advanced), (4, 400, true));
    let outcome = rig.ack(2, &[4, 6, 7]);
    assert_eq!((outcome.packets, outcome.bytes, outcome.advanced), (1, 100, false));
    let outcome = rig.ack(8, &[]);
    assert_eq!((outcome.packets, outcome.bytes), (3, 300));
    assert_eq!((rig.send.packets_in_flight(), rig.send.bytes_in_flight()), (2, 200));
}

#[test]
fn bits_for_numbers_never_sent_are_ignored() {
    let mut rig = Rig::with_flight(4);
    let outcome = rig.ack_with(1, Some(&[0xFF; 252]));
    assert_eq!((outcome.packets, rig.send.packets_in_flight()), (3, 1));
    rig.send_new(4);
    assert_eq!(rig.send.packets_in_flight(), 5, "what was sent later is not reported by an earlier mask");
}

#[test]
fn an_acknowledgement_overtaken_by_a_newer_one_still_contributes_its_mask() {
    let mut rig = Rig::with_flight(10);
    rig.ack(5, &[]);
    let outcome = rig.ack(2, &[3, 4, 7]);
    assert_eq!((outcome.packets, outcome.advanced), (1, false));
    assert_eq!(rig.send.last_acked(), SeqNr::new(FIRST) + 4);
    assert_eq!(rig.send.packets_in_flight(), 4);
}

#[test]
fn a_round_trip_is_measured_on_the_newest_segment() {
    let mut rig = Rig::with_flight(1);
    rig.wait(10);
    rig.send_new(2);
    rig.wait(40);
    let outcome = rig.ack(1, &[2]);
    assert_eq!(outcome.rtt, Some(ROUND_TRIP));
    assert_eq!(outcome.newest_sent_at, Some(Instant::from_micros(1_010_000)));
    assert_eq!(rig.ack(1, &[2]).rtt, None, "nothing new, nothing measured");
}

#[test]
fn no_round_trip_is_measured_when_a_retransmission_is_among_the_answers() {
    let mut rig = Rig::with_flight(5);
    rig.wait(40);
    rig.ack(0, &[1, 2, 3]);
    assert_eq!(packets(rig.detect()), 1);
    assert_eq!(rig.resend(), [0]);
    rig.wait(40);
    let outcome = rig.ack(5, &[]);
    assert_eq!((outcome.rtt, outcome.retransmitted_acked, outcome.packets), (None, true, 2));
}

#[test]
fn a_segment_reported_after_a_later_one_proves_reordering() {
    let mut rig = Rig::with_flight(5);
    rig.wait(40);
    assert_eq!(rig.ack(0, &[2]).reordered, 0);
    assert_eq!(rig.ack(2, &[]).reordered, 2);
    assert_eq!(rig.ack(5, &[]).reordered, 0, "in order again");
}

#[test]
fn an_answer_sooner_than_a_round_trip_shows_a_needless_retransmission() {
    let mut rig = Rig::with_flight(5);
    rig.wait(40);
    rig.ack(0, &[1, 2, 3]);
    rig.detect();
    rig.resend();
    rig.wait(5);
    let outcome = rig.ack(4, &[]);
    assert_eq!((outcome.spurious, outcome.reordered), (1, 0));
    rig.send_new(10);
    rig.wait(40);
    rig.ack(5, &[6, 7, 8, 9, 10]);
    assert_eq!(packets(rig.detect()), 0, "counting is no proof on a path that reorders");
    assert_eq!(
        rig.deadline(),
        Some(rig.now + Duration::from_millis(20)),
        "which needs half a round trip more"
    );
}
