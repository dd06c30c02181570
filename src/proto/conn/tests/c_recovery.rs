//! Row C: losses, masks and numbers that do not fit, and the retransmission timer.

use super::*;

/// Connected, with `packets` full packets in flight; the first carries the number after our SYN's.
fn flying(packets: usize) -> Raw {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&pattern(packets * FULL));
    assert_eq!(raw.hear().len(), packets);
    raw.pass(millis(20));
    raw
}

#[test]
fn c17_duplicate_acks_count_while_the_window_shrinks() {
    for shrinks in [0, 1380] {
        let mut raw = flying(6);
        for _ in 0..3 {
            raw.say(Kind::State, b"");
            raw.window -= shrinks;
        }
        let again = raw.hear();
        assert_eq!((again.len(), again[0].header().seq), (1, OUR_SYN.next()), "shrinks by {shrinks}");
    }
}

#[test]
fn c17_window_updates_are_no_duplicate_acks() {
    let mut raw = flying(6);
    for _ in 0..9 {
        raw.window += 1380;
        raw.say(Kind::State, b"");
    }
    assert_eq!(raw.hear().len(), 0);
}

#[test]
fn c18_an_ack_of_what_a_mask_reported_before_frees_room_and_wakes_the_writer() {
    let mut raw = Raw::dialled(unlimited().send_buffer(4096));
    raw.write(&[0; 4096]);
    assert_eq!(raw.hear().len(), 3);
    raw.pass(millis(20));
    raw.say_sack(&[0b11, 0, 0, 0]);
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    raw.conn.take_events();
    raw.acknowledge_all();
    assert!(raw.conn.take_events().intersects(Events::WRITABLE));
    assert_eq!(raw.conn.stats().bytes_acked, 4096);
}

#[test]
fn c18_the_first_of_many_packets_is_acknowledged_again_when_all_acks_were_lost() {
    const FLIGHT: u16 = 5000;
    let mut raw = Raw::dialled(unlimited().packets_in_flight(FLIGHT));
    let first = raw.header(Kind::Data);
    for _ in 0..FLIGHT {
        raw.say(Kind::Data, b"lost acknowledgements");
        raw.hear();
    }
    raw.say_with(first, Extensions::EMPTY, b"lost acknowledgements");
    assert_eq!(only(Kind::State, &raw.hear())[0].ack, raw.seq.prev());
}
