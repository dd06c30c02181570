//! Row t07: the work that an acknowledgement can cause, counted in looks at segments.

use super::*;
use crate::proto::send::flight::looks;

const FLIGHT: usize = 1024;

/// Applies an acknowledgement as a connection does; how many looks that took.
fn work(rig: &mut Rig, mask: &[u8]) -> u64 {
    looks::take();
    let outcome = rig.ack_with(0, Some(mask));
    if outcome.packets == 0 {
        rig.send.duplicate_ack();
    }
    rig.detect();
    rig.deadline();
    looks::take()
}

#[test]
fn t07_an_acknowledgement_looks_at_what_its_mask_covers_a_few_times_at_most() {
    // What a mask of 255 bytes can say about 1,024 packets: each of its bits, and each hole between them.
    let bound = 4 * FLIGHT as u64;
    let masks: [fn(usize) -> u8; 6] = [
        |_| 0x55,
        |_| 0xAA,
        |_| 0xFF,
        |_| 0,
        // One packet more each time, from the far end on.
        |round| if round.is_multiple_of(3) { 0x80 } else { 0x01 },
        |round| (round * 37) as u8,
    ];
    let (mut worst, mut total, mut packets) = (0, 0, 0);
    for (index, mask) in masks.iter().enumerate() {
        let mut rig = Rig::with_flight(FLIGHT);
        rig.wait(40);
        for round in 0..2000 {
            let mut bytes = [mask(round); 255];
            if index == 4 {
                bytes = [0; 255];
                bytes[127 - round % 128..].fill(mask(round));
            }
            let looks = work(&mut rig, &bytes);
            (worst, total, packets) = (looks.max(worst), total + looks, packets + 1);
            rig.now = rig.now + Duration::from_micros(10);
            if round % 50 == 0 {
                rig.resend();
            }
        }
    }
    eprintln!(
        "t07 bound={bound} measured={worst} looks at segments for one packet, {} on average",
        total / packets
    );
    assert!(worst <= bound, "{worst} looks");
}

#[test]
fn t07_a_packet_that_acknowledges_one_segment_costs_the_same_in_any_flight() {
    let mut worst = Vec::new();
    for flight in [100, 1000, 30_000] {
        let mut rig = Rig::with_flight(flight);
        rig.wait(40);
        let mut most = 0;
        for count in 1..100 {
            looks::take();
            rig.ack_with(count, None);
            rig.detect();
            rig.deadline();
            most = most.max(looks::take());
        }
        worst.push(most);
    }
    eprintln!("t07 bound=16 measured={worst:?} looks for one more segment of 100, 1,000 and 30,000");
    assert!(worst.iter().all(|looks| *looks <= 16), "{worst:?}");
}
