//! Row t11: when a packet is kept back, and that nothing else waits for it.

use super::*;

/// A sender whose next packet is to be kept back, if what follows it allows. Nothing is in flight.
fn due(config: Config) -> Raw {
    let mut raw = Raw::dialled(config);
    raw.conn.seed(65_530);
    for _ in 0..64 {
        raw.write(&[0; FULL]);
        assert_eq!(raw.hear().len(), 1);
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    raw
}

/// Which of the packets written now go out, counted from 1, and whether the first of them was kept back.
fn first_batch(raw: &mut Raw, bytes: usize) -> (Vec<u16>, bool) {
    let before = raw.conn.send.next_seq();
    raw.write(&vec![0; bytes]);
    let sent =
        only(Kind::Data, &raw.hear()).iter().map(|header| (header.seq - before.get()).get() + 1).collect();
    (sent, raw.conn.send.peek_kept_back().is_some())
}

#[test]
fn t11_a_packet_is_kept_back_only_if_three_more_are_ready_to_follow() {
    assert_eq!(first_batch(&mut due(unlimited()), 3 * FULL), (vec![1, 2, 3], false));
    // With nothing left to send it goes last.
    assert_eq!(first_batch(&mut due(unlimited()), 3 * FULL + 1), (vec![2, 3, 4, 1], false));
}

#[test]
fn t11_a_packet_is_kept_back_only_if_the_windows_have_room_for_the_next_one_too() {
    let full = FULL as u32;
    let many = 10 * FULL;
    for (window, expected) in [(full, (vec![1], false)), (2 * full, (vec![2], true))] {
        let mut raw = due(unlimited());
        raw.window = window;
        raw.pass(millis(1));
        raw.say(Kind::State, b"");
        assert_eq!(first_batch(&mut raw, many), expected, "the peer's {window}");

        let mut raw = due(config().pacing(false).congestion(Congestion::Fixed(window + 100)));
        assert_eq!(first_batch(&mut raw, many), expected, "ours {window}");

        let packets = u16::try_from(window / full).unwrap();
        let mut raw = due(unlimited().packets_in_flight(packets));
        assert_eq!(first_batch(&mut raw, many), expected, "{packets} packets");
    }
}

#[test]
fn t11_a_packet_is_kept_back_once_in_at_least_sixty_four_windows() {
    const WINDOW: usize = 40;
    let config = config().pacing(false).congestion(Congestion::Fixed((WINDOW * FULL) as u32));
    let mut raw = due(config.send_buffer(4 << 20));
    let (mut sent, mut places) = (0, Vec::new());
    while places.len() < 6 {
        while raw.conn.write(&[0; FULL]) == WriteOutcome::Written(FULL) {}
        sent += raw.hear().len();
        raw.pass(millis(20));
        if let Some(kept) = raw.conn.send.peek_kept_back() {
            places.push(sent);
            raw.ack = kept.seq.prev();
            raw.say_sack(&[1, 0, 0, 0]);
            sent += raw.hear().len();
            raw.pass(millis(20));
        }
        raw.acknowledge_all();
    }
    assert_eq!(raw.conn.close_reason(), None);
    for pair in places.windows(2) {
        let pause = pair[1] - pair[0];
        assert!((63 * WINDOW..=130 * WINDOW).contains(&pause), "{places:?}");
    }
}
