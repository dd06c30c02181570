//! Losses found by masks, by time and by duplicate acknowledgements.

use super::*;

/// A mask of libtorrent's that misses what it is about.
const ZERO_MASK: &[u8] = &[0];

#[test]
fn three_later_reports_give_a_segment_up_and_two_do_not() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(2, &[3, 4]);
    assert_eq!(rig.detect(), None);
    rig.ack(2, &[3, 4, 5]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.bytes, lost.new_epoch), (1, 100, true));
    assert_eq!(rig.send.bytes_in_flight(), 400, "2 is lost; 6 to 9 are under way");
    assert_eq!(rig.resend(), [2]);
    assert_eq!(rig.send.bytes_in_flight(), 500);
}

#[test]
fn what_lies_above_the_highest_report_is_unknown() {
    let mut rig = Rig::with_flight(200);
    rig.wait(40);
    rig.ack_with(1, Some(&[0xFF, 0xFF, 0xFF, 0x3F]));
    assert_eq!(packets(rig.detect()), 1);
    assert_eq!(rig.resend(), [1]);
    rig.wait(40);
    rig.ack(100, &[]);
    assert_eq!(packets(rig.detect()), 1, "of 100 the peer says that it lacks it");
    assert_eq!(rig.deadline(), None, "of 101 to 199 it says nothing");
}

#[test]
fn a_burst_costs_one_epoch_and_a_loss_in_recovery_another() {
    let mut rig = Rig::with_flight(20);
    rig.wait(40);
    rig.ack(0, &[4, 5, 6]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (4, true));
    rig.resend();
    rig.send_new(4);
    rig.ack(0, &[4, 5, 6, 8, 9, 10]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (1, false), "7 was sent before the window was cut");
    rig.resend();
    rig.wait(40);
    rig.ack(20, &[21, 22, 23]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (1, true), "20 was sent after");
}

#[test]
fn a_retransmission_that_is_lost_again_is_found_without_a_timeout() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(0, &[1, 2, 3]);
    rig.detect();
    assert_eq!(rig.resend(), [0]);
    rig.send_new(2);
    rig.wait(39);
    rig.ack(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(rig.detect(), None, "those were sent before it");
    rig.wait(1);
    rig.ack(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (1, true));
    assert_eq!(rig.resend(), [0]);
}

#[test]
fn time_finds_what_counting_does_not() {
    let mut rig = Rig::with_flight(2);
    rig.wait(40);
    rig.ack(0, &[1]);
    assert_eq!(rig.detect(), None);
    let deadline = rig.deadline().unwrap();
    assert_eq!(deadline, rig.now + Duration::from_millis(10), "a quarter of the round trip");
    rig.now = deadline;
    assert_eq!(packets(rig.detect()), 1);
    assert_eq!(rig.deadline(), None);
}

#[test]
fn a_path_that_reorders_is_given_time() {
    let mut rig = Rig::with_flight(3);
    rig.wait(40);
    rig.ack(0, &[1]);
    assert_eq!(rig.ack(2, &[]).reordered, 1);
    rig.ack(3, &[]);
    rig.send_new(10);
    rig.wait(40);
    rig.ack(3, &[4, 5, 6, 7]);
    assert_eq!(rig.detect(), None, "counting proves nothing here");
    rig.wait(9);
    assert_eq!(rig.detect(), None);
    rig.wait(1);
    assert_eq!(packets(rig.detect()), 1);
}

#[test]
fn a_segment_reported_before_it_was_sent_again_is_not_sent_again() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(0, &[3, 4, 5]);
    assert_eq!(packets(rig.detect()), 3);
    assert_eq!(rig.ack(0, &[1, 3, 4, 5]).reordered, 1);
    assert_eq!(rig.resend(), [0, 2]);
    assert!(!rig.send.has_lost());
}

#[test]
fn the_third_duplicate_counts_when_the_peer_never_sends_masks() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(1, &[]);
    assert_eq!(rig.duplicate(1, None), None);
    assert_eq!(rig.duplicate(1, None), None);
    assert_eq!(packets(rig.duplicate(1, None)), 1);
    assert_eq!(rig.resend(), [1]);
    for _ in 0..5 {
        assert_eq!(rig.duplicate(1, None), None, "once per recovery");
    }
}

#[test]
fn duplicates_that_came_before_a_probe_are_not_held_against_it() {
    let mut rig = Rig::with_flight(1);
    rig.wait(40);
    assert_eq!((rig.duplicate(0, None), rig.duplicate(0, None)), (None, None));
    assert!(rig.send.queue_tail_probe());
    assert_eq!(rig.resend(), [0]);
    assert_eq!((rig.duplicate(0, None), rig.duplicate(0, None)), (None, None));
    assert_eq!(packets(rig.duplicate(0, None)), 1);
}

#[test]
fn the_third_duplicate_counts_when_the_masks_are_empty() {
    let mut rig = Rig::with_flight(100);
    rig.wait(40);
    for _ in 0..2 {
        assert_eq!(rig.duplicate(0, Some(ZERO_MASK)), None);
    }
    assert_eq!(packets(rig.duplicate(0, Some(ZERO_MASK))), 1);
}

#[test]
fn duplicates_while_nothing_is_outstanding_are_not_held_against_what_follows() {
    let mut rig = Rig::with_flight(1);
    rig.ack(1, &[]);
    for _ in 0..5 {
        rig.duplicate(1, None);
    }
    rig.send_new(1);
    assert_eq!(rig.detect(), None);
}

#[test]
fn a_peer_that_sends_masks_and_sent_none_received_something_twice() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(0, &[1]);
    rig.ack(2, &[]);
    for _ in 0..5 {
        assert_eq!(rig.duplicate(2, None), None);
    }
}

#[test]
fn each_partial_acknowledgement_without_a_mask_gives_up_the_next_head() {
    let mut rig = Rig::with_flight(30);
    rig.wait(40);
    for _ in 0..3 {
        rig.duplicate(0, None);
    }
    for (hole, next) in [(0, 7), (7, 9), (9, 30)] {
        assert_eq!(rig.resend(), [hole]);
        rig.wait(40);
        let outcome = rig.ack(next, &[]);
        assert!(outcome.advanced && outcome.retransmitted_acked);
        assert_eq!(packets(rig.detect()), u32::from(next < 30));
    }
    assert!(!rig.send.has_lost());
}

#[test]
fn a_mask_that_shows_what_is_missing_repairs_more_than_one_hole_per_round_trip() {
    let mut rig = Rig::with_flight(400);
    rig.wait(40);
    for _ in 0..3 {
        rig.duplicate(0, Some(&[0; 4]));
    }
    assert_eq!(rig.resend(), [0]);
    rig.wait(40);
    rig.ack_with(1, Some(&[0; 4]));
    assert_eq!(packets(rig.detect()), 31, "the head and the 30 that libutp's mask shows");
    assert_eq!(rig.resend(), (1..32).collect::<Vec<_>>());
}

#[test]
fn an_answer_long_after_a_retransmission_tells_that_it_is_lost_too() {
    let mut rig = Rig::with_flight(100);
    let full = Some(&[0xFF, 0xFF, 0xFF, 0x3F][..]);
    rig.wait(40);
    rig.ack_with(0, full);
    assert_eq!(packets(rig.detect()), 1);
    rig.resend();
    rig.send_new(1);
    rig.wait(20);
    assert_eq!(rig.duplicate(0, full), None, "caused by what was sent before");
    rig.wait(40);
    assert_eq!(packets(rig.duplicate(0, full)), 1);
    assert_eq!(rig.resend(), [0]);
    assert_eq!(rig.duplicate(0, full), None, "and the next has its own round trip");
}

#[test]
fn a_retransmission_beyond_the_masks_is_given_up_when_a_mask_reaches_it() {
    let mut rig = Rig::with_flight(100);
    rig.wait(250);
    assert_eq!(packets(rig.time_out()), 100);
    rig.resend();
    rig.send_new(1);
    rig.wait(60);
    assert_eq!(packets(rig.duplicate(0, None)), 1, "the head once more");
    rig.resend();
    rig.wait(40);
    rig.ack(1, &[]);
    assert_eq!(packets(rig.detect()), 1, "all were sent before the head's last time, but only 1 is visible");
    rig.ack(1, &[5]);
    assert_eq!(packets(rig.detect()), 29, "four bytes of mask show 2 to 31, and 5 arrived");
}

/// A path that doubles packets makes the peer acknowledge twice, and a peer that never had a gap has never shown
/// whether it sends masks.
#[test]
fn duplicate_acknowledgements_are_counted_until_that_proves_wrong() {
    let mut rig = Rig::with_flight(10);
    for (first, right) in [(0, true), (10, false)] {
        rig.wait(40);
        rig.ack(first + 1, &[]);
        let found: Vec<_> = (0..3).map(|_| packets(rig.duplicate(first + 1, None))).collect();
        assert_eq!((found, rig.resend()), (vec![0, 0, 1], vec![first + 1]));
        // Right: a round trip brings the answer to the retransmission. Wrong: the original had arrived.
        rig.wait(if right { 40 } else { 5 });
        rig.ack(first + 10, &[]);
        rig.send_new(10);
    }
    rig.wait(40);
    rig.ack(21, &[]);
    assert!((0..10).all(|_| rig.duplicate(21, None).is_none()));
}

#[test]
fn a_probe_that_waits_behind_the_head_still_goes() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    assert!(rig.send.queue_tail_probe());
    rig.ack(0, &[6, 7, 8]);
    assert_eq!(packets(rig.detect()), 6);
    rig.ack(5, &[6, 7, 8]);
    assert_eq!(rig.resend(), [5, 9], "the head first, though the probe was queued before");
}

#[test]
fn what_was_reported_and_is_acknowledged_is_not_held_against_the_peer() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(0, &[1]);
    rig.ack_with(2, Some(ZERO_MASK));
    let found: Vec<_> = (0..3).map(|_| packets(rig.duplicate(2, Some(ZERO_MASK)))).collect();
    assert_eq!(found, [0, 0, 1], "there is no hole, so duplicates count");
}

#[test]
fn while_a_mask_tells_of_a_hole_duplicates_do_not_count() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(0, &[1]);
    assert!((0..5).all(|_| rig.duplicate(0, Some(&[1, 0, 0, 0])).is_none()));
}

#[test]
fn a_whole_flight_that_was_lost_is_not_repaired_one_by_one() {
    let mut rig = Rig::with_flight(1000);
    rig.wait(40);
    for _ in 0..3 {
        rig.duplicate(0, None);
    }
    let mut rounds = 0;
    let mut next = 0;
    while next < 1000 {
        let again = rig.resend();
        assert!(!again.is_empty(), "stuck at {next}");
        assert_eq!(again, (next..next + u16::try_from(again.len()).unwrap()).collect::<Vec<_>>());
        rig.wait(40);
        for index in again {
            next = index + 1;
            rig.ack(next, &[]);
            rig.detect();
        }
        rounds += 1;
    }
    assert!((8..=14).contains(&rounds), "{rounds} rounds");
}
