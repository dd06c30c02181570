//! A peer that wants memory: whatever it sends out of order, twice the window is the end.

use super::*;

/// Inserts packets of `len` bytes with gaps of `step` numbers between them, and returns the most memory taken.
fn gaps(recv: &mut ReceiveBuffer, first: u16, len: usize, step: u16) -> usize {
    let payload = vec![7; len];
    let mut most = 0;
    for ahead in (1..if cfg!(miri) { 300 } else { 32_700 }).step_by(usize::from(step)) {
        let inserted = recv.insert(seq(first) + ahead, &payload);
        assert!(matches!(inserted, Inserted::Held | Inserted::Refused), "{inserted:?}");
        most = most.max(recv.memory_bytes());
    }
    most
}

#[test]
fn t06_packets_out_of_order_take_no_more_than_two_windows() {
    let windows = [4096, 64 << 10, 256 << 10, 1 << 20, 16 << 20];
    for &window in &windows[..if cfg!(miri) { 1 } else { 5 }] {
        let mut worst = 0;
        for len in [0, 1, 2, 63, 64, 65, 100, 1380, 9000] {
            for step in [1, 2, 3, 64] {
                let mut recv = receiver(window, 65_000);
                // The ring of unread bytes is as large as it gets, and empty.
                recv.insert(seq(65_000), &vec![1; window]);
                recv.discard();
                let bound = recv.memory_max();
                let most = gaps(&mut recv, 65_001, len, step);
                assert!(most <= bound, "{len} bytes every {step} numbers take {most} of {bound} bytes");
                worst = worst.max(most);
                // It is not dead: what everything waits for is taken.
                assert!(matches!(recv.insert(seq(65_001), b"x"), Inserted::InOrder { .. }));
            }
        }
        eprintln!("t06 window={window} bound={} measured={worst}", receiver(window, 0).memory_max());
    }
}

#[test]
fn t06_a_full_window_of_full_packets_behind_a_gap_is_never_refused() {
    let windows = [64 << 10, 1 << 20, 8 << 20];
    for &window in &windows[..if cfg!(miri) { 1 } else { 3 }] {
        let mut recv = receiver(window, 65_000);
        recv.insert(seq(65_000), &vec![1; window]);
        recv.discard();
        let packets = u16::try_from(window / 1380).unwrap();
        for ahead in 1..packets {
            assert_eq!(recv.insert(seq(65_001) + ahead, &[2; 1380]), Inserted::Held, "{ahead} of {packets}");
        }
        assert!(recv.memory_bytes() <= recv.memory_max());
        assert_eq!(recv.insert(seq(65_001), &[2; 1380]), filled(usize::from(packets) * 1380));
    }
}
