//! Retransmission timeouts, premature ones, and tail probes.

use super::*;

#[test]
fn a_timeout_gives_up_the_head_and_what_is_old() {
    let mut rig = Rig::with_flight(5);
    rig.wait(240);
    rig.send_new(2);
    rig.wait(10);
    let lost = rig.time_out().unwrap();
    assert_eq!((lost.packets, lost.bytes, lost.new_epoch), (5, 500, true));
    assert_eq!((rig.send.packets_in_flight(), rig.send.bytes_in_flight()), (2, 200));
    assert_eq!(rig.resend(), [0, 1, 2, 3, 4]);
    assert_eq!(rig.send.head_transmissions(), 2);
    assert_eq!(rig.send.oldest_sent_at(), Some(Instant::from_micros(1_000_000)));
    assert_eq!(rig.send.newest_sent_at(), Some(rig.now));
}

#[test]
fn a_second_timeout_finds_the_head_again() {
    let mut rig = Rig::with_flight(3);
    rig.wait(250);
    assert_eq!(packets(rig.time_out()), 3);
    assert_eq!(rig.resend_one(), 0);
    rig.wait(500);
    let lost = rig.time_out().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (1, true));
    assert_eq!(rig.resend(), [0, 1, 2]);
}

#[test]
fn a_timeout_with_nothing_outstanding_finds_nothing() {
    let mut rig = Rig::with_flight(1);
    rig.ack(1, &[]);
    rig.wait(250);
    assert_eq!(rig.time_out(), None);
}

#[test]
fn a_premature_timeout_causes_no_storm() {
    let mut rig = Rig::with_flight(100);
    rig.wait(250);
    assert_eq!(packets(rig.time_out()), 100);
    assert_eq!(rig.resend_one(), 0);
    rig.wait(5);
    let outcome = rig.ack(2, &[]);
    assert!(outcome.timeout_spurious);
    assert_eq!(outcome.spurious, 1);
    assert_eq!(rig.detect(), None);
    assert!(!rig.send.has_lost(), "98 are under way after all");
    assert_eq!(rig.send.packets_in_flight(), 98);
    rig.ack(2, &[90, 91, 92]);
    assert_eq!(packets(rig.detect()), 88, "but not if they are then found missing");
}

#[test]
fn an_answer_to_an_original_shows_the_timeout_to_be_premature() {
    let mut rig = Rig::with_flight(10);
    rig.wait(250);
    rig.time_out();
    let outcome = rig.ack(1, &[]);
    assert!(outcome.timeout_spurious);
    assert_eq!(rig.resend(), [], "not even the head went out twice");
    assert_eq!(rig.send.packets_in_flight(), 9);
}

#[test]
fn a_timeout_for_good_reason_stays_one() {
    let mut rig = Rig::with_flight(10);
    rig.wait(250);
    rig.time_out();
    assert_eq!(rig.resend_one(), 0);
    rig.wait(40);
    let outcome = rig.ack(1, &[]);
    assert!(!outcome.timeout_spurious);
    assert_eq!(rig.resend(), (1..10).collect::<Vec<_>>());
}

#[test]
fn a_tail_probe_makes_the_peer_report_its_gaps() {
    let mut rig = Rig::with_flight(10);
    rig.wait(40);
    rig.ack(5, &[]);
    rig.wait(80);
    assert!(rig.send.queue_tail_probe());
    assert_eq!(rig.send.packets_in_flight(), 5, "a probe gives nothing up");
    assert_eq!(rig.resend(), [9]);
    assert_eq!(rig.send.packets_in_flight(), 5, "and counts once");
    rig.wait(40);
    rig.ack(5, &[9]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.new_epoch), (4, true));
    assert_eq!(rig.resend(), [5, 6, 7, 8]);
}

#[test]
fn a_tail_probe_skips_what_is_reported_and_yields_to_retransmissions() {
    let mut rig = Rig::with_flight(6);
    rig.wait(40);
    rig.ack(0, &[4, 5]);
    assert!(rig.send.queue_tail_probe());
    assert_eq!(rig.resend(), [3]);
    rig.wait(40);
    rig.ack(0, &[3, 4, 5]);
    rig.detect();
    assert!(rig.send.has_lost());
    assert!(!rig.send.queue_tail_probe());
    let mut idle = Rig::new();
    assert!(!idle.send.queue_tail_probe());
}

#[test]
fn a_probe_that_repaired_a_loss_counts_as_one() {
    let mut rig = Rig::with_flight(1);
    rig.wait(80);
    assert!(rig.send.queue_tail_probe());
    assert_eq!(rig.resend(), [0]);
    rig.wait(40);
    rig.ack(1, &[]);
    assert_eq!(rig.detect(), None, "a second answer may still tell that both arrived");
    rig.send_new(1);
    rig.wait(40);
    rig.ack(2, &[]);
    let lost = rig.detect().unwrap();
    assert_eq!((lost.packets, lost.bytes, lost.new_epoch), (1, 100, true));
    assert!(!rig.send.has_lost());
    assert_eq!(rig.detect(), None);
}

#[test]
fn a_probe_that_arrived_besides_its_original_is_no_loss() {
    for answered_twice in [true, false] {
        let mut rig = Rig::with_flight(1);
        rig.wait(80);
        rig.send.queue_tail_probe();
        rig.resend();
        rig.wait(if answered_twice { 40 } else { 3 });
        rig.ack(1, &[]);
        if answered_twice {
            rig.duplicate(1, None);
        }
        rig.send_new(1);
        rig.wait(40);
        rig.ack(2, &[]);
        assert_eq!(rig.detect(), None);
    }
}
