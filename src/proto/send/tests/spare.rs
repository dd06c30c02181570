//! What is left over: memory of what was sent again, a probe that is no probe any more.

use super::*;

#[test]
fn sending_again_and_again_takes_little_memory_and_all_of_it_comes_back() {
    let mut rig = Rig::with_flight(4);
    rig.wait(500);
    rig.time_out();
    assert_eq!(rig.resend(), [0, 1, 2, 3]);
    let probe = |rig: &mut Rig, times| {
        for _ in 0..times {
            rig.wait(500);
            assert!(rig.send.queue_tail_probe());
            assert_eq!(rig.resend(), [3]);
        }
        rig.send.memory_bytes()
    };
    let (before, after) = (rig.send.memory_bytes(), probe(&mut rig, 10));
    assert!(after >= before + 64, "what was sent again is remembered: {before}, {after}");
    assert_eq!(probe(&mut rig, 100), after, "and forgotten when it was sent once more");
    rig.send.release();
    assert_eq!((rig.send.memory_bytes(), rig.send.holds_idle_memory()), (after, false), "it is in use");
    rig.ack(4, &[]);
    assert!(rig.send.holds_idle_memory());
    rig.send.release();
    assert_eq!((rig.send.memory_bytes(), rig.send.holds_idle_memory()), (0, false));
}

#[test]
fn giving_up_gives_all_memory_back() {
    let mut rig = Rig::with_flight(4);
    rig.wait(500);
    rig.time_out();
    rig.resend();
    rig.send.abandon();
    assert_eq!(rig.send.memory_bytes(), 0);
}

#[test]
fn a_probe_that_is_found_lost_before_it_leaves_is_a_retransmission_and_counted_once() {
    let mut rig = Rig::with_flight(1);
    rig.wait(100);
    assert!(rig.send.queue_tail_probe());
    let lost: u32 = (0..3).map(|_| packets(rig.duplicate(0, None))).sum();
    assert_eq!((lost, rig.resend()), (1, vec![0]));
    rig.wait(40);
    assert_eq!(rig.ack(1, &[]).packets, 1);
    assert_eq!(rig.detect(), None);
}
