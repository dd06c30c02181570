//! What a mask says again: bits that are known cost nothing, and are never taken for those of later segments.

use super::*;
use crate::proto::send::flight::looks;

const ALL: &[u8] = &[0xFF; 255];

/// Applies an acknowledgement; how many segments it settled, and how many were looked at for it.
fn settled(rig: &mut Rig, count: u16, mask: &[u8]) -> (u32, u64) {
    looks::take();
    let outcome = rig.ack_with(count, Some(mask));
    (outcome.packets, looks::take())
}

#[test]
fn t07_bits_that_are_known_cost_no_look() {
    let mut rig = Rig::with_flight(60);
    rig.wait(40);
    assert_eq!(settled(&mut rig, 0, ALL).0, 59);
    // More than the bits had room for until now.
    rig.send_new(940);
    let (packets, looks) = settled(&mut rig, 0, ALL);
    assert_eq!(packets, 940);
    assert!(looks <= 940 + 8, "{looks} looks, 59 were known");
    for base in (0..990).step_by(7) {
        let (packets, looks) = settled(&mut rig, base, ALL);
        assert_eq!(packets, u32::from(base == 7), "the first one was missing");
        assert!(looks <= 16, "{looks} looks at {base}");
    }
}

#[test]
fn bits_of_acknowledged_segments_are_not_taken_for_those_of_later_ones() {
    let mut rig = Rig::new();
    let mut acked = 0;
    for flight in [64, 64, 40, 100, 64, 300, 7, 64, 512, 64] {
        rig.send_new(flight.into());
        rig.wait(40);
        assert_eq!(settled(&mut rig, acked, ALL).0, u32::from(flight) - 1, "all but the first");
        acked += flight;
        assert_eq!(rig.ack(acked, &[]).packets, 1);
    }
}

#[test]
fn every_other_bit_and_then_the_rest() {
    let mut rig = Rig::with_flight(1000);
    rig.wait(40);
    for (base, mask, packets) in [(3, 0x55, 3 + 498), (3, 0x55, 0), (10, 0x55, 4 + 495), (10, 0xFF, 0)] {
        // At another offset the same pattern names the others.
        assert_eq!(settled(&mut rig, base, &[mask; 255]).0, packets, "{mask:#x} at {base}");
    }
}

#[test]
fn an_overtaken_mask_reports_what_is_still_outstanding_and_not_known() {
    let mut rig = Rig::with_flight(300);
    rig.wait(40);
    rig.ack(100, &[110, 111, 150]);
    // The first words of this mask are about what is acknowledged, one is half about it.
    let mut bits = SackBits::new();
    for index in [50, 98, 110, 111, 120, 147, 150, 170, 299] {
        bits.set(index - 20 - 1);
    }
    let (packets, looks) = settled(&mut rig, 20, bits.as_bytes());
    assert_eq!(packets, 4);
    assert!(looks <= 4 + 8, "{looks} looks");
    rig.send_new(1);
    assert_eq!(settled(&mut rig, 20, ALL).0, 301 - 100 - 3 - 4);
    assert_eq!(rig.send.last_acked(), SeqNr::new(FIRST) + 99);
}

#[test]
fn memory_is_counted_for_segments_retransmissions_and_bits() {
    let mut rig = Rig::with_flight(1000);
    let sent = rig.send.memory_bytes();
    assert!((131_072 + 40_000..131_072 + 100_000).contains(&sent), "{sent}");
    rig.wait(250);
    rig.time_out();
    let queued = rig.send.memory_bytes();
    assert!((8_000..20_000).contains(&(queued - sent)), "{sent}, {queued}");
    rig.resend();
    let resent = rig.send.memory_bytes();
    assert!((16_000..40_000).contains(&(resent - queued)), "{queued}, {resent}");
    rig.ack_with(0, Some(&[1]));
    assert_eq!(rig.send.memory_bytes() - resent, 128, "a bit for each of 1,024");
}
