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

#[test]
fn c16_three_later_packets_reported_give_the_missing_one_up() {
    let mut raw = flying(10);
    for mask in [0b1, 0b11] {
        raw.say_sack(&[mask, 0, 0, 0]);
        assert_eq!(raw.hear(), []);
    }
    raw.say_sack(&[0b111, 0, 0, 0]);
    let again = raw.hear();
    assert_eq!((again.len(), again[0].header().seq), (1, OUR_SYN.next()));
    assert_eq!(raw.conn.stats().congestion_events, 1);
}

#[test]
fn c17_masks_of_any_length_are_understood() {
    for mask in [&[][..], &[0b111], &[0b111, 0], &[0b111, 0, 0], &[0b111, 0, 0, 0, 0], &[0; 255]] {
        let mut raw = flying(10);
        raw.say_sack(mask);
        let reported: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        let again = usize::from(reported >= 3);
        assert_eq!(raw.hear().len(), again, "{} bytes", mask.len());
        assert_eq!(raw.conn.stats().packets_in_flight, 10 - reported);
        raw.acknowledge_all();
        assert_eq!(raw.conn.stats().bytes_acked, 10 * FULL as u64);
    }
}

#[test]
fn c18_a_mask_beyond_what_was_sent_is_ignored() {
    let mut raw = flying(3);
    raw.say_sack(&[0xFC; 252]);
    assert_eq!((raw.hear(), raw.conn.stats().packets_in_flight), (vec![], 3));
    assert_eq!((raw.conn.stats().bytes_acked, raw.conn.stats().packets_lost), (0, 0));
    raw.acknowledge_all();
    assert_eq!(raw.conn.stats().packets_in_flight, 0);
}

#[test]
fn c18_an_ack_of_what_was_never_sent_or_long_ago_changes_nothing() {
    let mut raw = flying(6);
    raw.ack = OUR_SYN + 3;
    raw.say(Kind::State, b"");
    let right = raw.header(Kind::State);
    for kind in [Kind::State, Kind::Data, Kind::Fin] {
        for ack in [OUR_SYN + 7, OUR_SYN + 8, OUR_SYN + 3 - 1025, OUR_SYN + 0x8000] {
            raw.unmoved_by(Header { kind, ack, ..right }, Extensions::EMPTY);
            assert_eq!(raw.hear(), [], "{kind:?} {ack}");
        }
        raw.unmoved_by(Header { kind, conn_id: raw.conn.ids().send, ..right }, Extensions::EMPTY);
    }
    raw.ack = OUR_SYN + 6;
    raw.say(Kind::State, b"");
    assert_eq!(raw.conn.stats().bytes_in_flight, 0);
}

#[test]
fn c18_an_overtaken_ack_takes_nothing_back() {
    let mut raw = flying(6);
    let old = raw.header(Kind::State);
    raw.ack = OUR_SYN + 4;
    raw.say(Kind::State, b"");
    let acked = raw.conn.stats().bytes_acked;
    for _ in 0..5 {
        raw.say_with(old, Extensions::EMPTY, b"");
    }
    assert_eq!((raw.hear(), raw.conn.stats().bytes_acked), (vec![], acked));
    assert_eq!(raw.conn.stats().packets_in_flight, 2);
}

#[test]
fn c18_an_old_packet_with_a_new_ack_counts() {
    let mut raw = flying(4);
    let old = raw.header(Kind::Data);
    raw.say(Kind::Data, b"once");
    raw.hear();
    raw.say_with(Header { ack: OUR_SYN + 4, ..old }, Extensions::EMPTY, b"once");
    assert_eq!(raw.conn.stats().bytes_in_flight, 0);
    assert_eq!((raw.read(), raw.conn.stats().packets_duplicate), (b"once".to_vec(), 1));
}

/// By a peer without masks everything is found lost by timeouts, a second time too, and what is not first then has to
/// wait for the whole flight: not once it has become the first.
#[test]
fn c16_the_first_missing_packet_is_sent_before_all_others() {
    let mut raw = Raw::dialled(config().pacing(false));
    raw.write(&[0; 100 * FULL]);
    while raw.hear().len() < 10 {
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    let first = raw.ack.next();
    raw.pass_hearing(millis(400));
    let seqs = |heard: &[Heard]| heard.iter().map(|heard| heard.header().seq).collect::<Vec<_>>();
    assert_eq!(seqs(&raw.pass_hearing(millis(200))), [first, first + 1]);
    assert_eq!(seqs(&raw.pass_hearing(millis(1000)))[0], first);
    raw.ack = first;
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear()[0].header().seq, first + 1);
}

#[test]
fn c16_new_data_asks_for_no_service_while_retransmissions_wait() {
    let mut raw = Raw::dialled(config().pacing(false));
    raw.write(&[0; 31 * FULL]);
    while raw.conn.send.unsent_bytes() > 0 {
        raw.hear();
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    for len in [FULL, 100, FULL, FULL] {
        raw.write(&vec![0; len]);
        assert_eq!(raw.hear().len(), 1);
    }
    raw.pass_hearing(millis(400));
    assert_eq!(raw.pass_hearing(millis(200)).len(), 2, "two packets are the window after a timeout");
    assert!(raw.conn.send.has_lost());
    raw.write(b"small enough for what is left of the window");
    assert!(!raw.conn.wants_service());
    assert_eq!(raw.hear(), []);
}

/// When each transmission of the only packet left, counted from the first.
fn transmissions(config: Config) -> (Vec<u128>, Raw) {
    let mut raw = Raw::dialled(config);
    raw.write(b"unanswered");
    let start = raw.now;
    let heard = raw.pass_hearing(secs(1000));
    let data = heard.iter().filter(|heard| heard.kind() == Kind::Data);
    let times = data.map(|heard| heard.at.since(start).as_millis()).collect();
    assert_eq!(only(Kind::Reset, &heard).len(), 1);
    (times, raw)
}

#[test]
fn c24_timeouts_back_off_and_end() {
    let (times, raw) = transmissions(unlimited().timeouts(4));
    let (first, probe) = (times[0], times[1]);
    // The answer to the probe is given a whole timeout.
    assert_eq!((first, &times[2..]), (0, &[500, 1500, 3500, 7500].map(|after| probe + after)[..]));
    assert!((40..200).contains(&probe), "{probe}");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::TimedOut));
    assert!(raw.conn.is_drained());
    assert_eq!((raw.conn.stats().timeouts, raw.conn.stats().tail_probes), (5, 1));
}

#[test]
fn c24_the_smallest_timeout_is_the_configured_one() {
    let (times, _) = transmissions(unlimited().rto_min(millis(2000)).timeouts(2));
    assert_eq!(times[2..], [2000, 6000].map(|after| times[1] + after));
}

#[test]
fn c24_a_timeout_does_not_follow_a_tail_probe_or_a_repair_within_the_round_trip() {
    // Here the probe is due 85 ms after the packet, and a timeout takes 100; a round trip takes 20.
    let (times, _) = transmissions(unlimited().rto_min(millis(100)));
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((80..100).contains(&pauses[0]) && pauses[1..].is_sorted() && pauses[1] == 100, "{pauses:?}");
    // The first of four is lost and found missing just before its timeout.
    let mut raw = Raw::dialled(unlimited().rto_min(millis(100)));
    raw.write(&[0; 4 * FULL]);
    raw.hear();
    raw.pass_hearing(millis(80));
    raw.say_sack(&[0b111, 0, 0, 0]);
    assert_eq!(only(Kind::Data, &raw.hear()).len(), 1, "the repair");
    assert_eq!(only(Kind::Data, &raw.pass_hearing(millis(50))).len(), 0);
}

#[test]
fn c24_what_was_sent_twice_gives_no_round_trip() {
    // Without clocks, that is.
    let mut raw = flying(1);
    raw.delay = Delay::NONE;
    let before = raw.conn.stats().rtt;
    assert_eq!(only(Kind::Data, &raw.pass_hearing(secs(2))).len(), 3);
    raw.acknowledge_all();
    assert_eq!((raw.conn.stats().rtt, raw.conn.stats().rto), (before, millis(500)), "and the back-off ends");
    raw.write(b"new");
    raw.hear();
    raw.pass(millis(100));
    raw.acknowledge_all();
    assert_ne!(raw.conn.stats().rtt, before);
}

#[test]
fn c24_progress_puts_the_timeout_off() {
    let mut raw = flying(20);
    for _ in 0..20 {
        raw.pass_hearing(millis(450));
        raw.ack = raw.ack.next();
        raw.say(Kind::State, b"");
    }
    assert_eq!(raw.conn.stats().timeouts, 0);
}

/// The link becomes two seconds longer: what a timeout gave up arrives after all.
#[test]
fn c24_a_premature_timeout_costs_a_few_packets() {
    let mut pair = Pair::new(config());
    pair.outgoing[0] = pattern(3_000_000);
    pair.run(millis(200), |_| false);
    pair.link = Box::new(|_, _, _| vec![ONE_WAY + secs(1)]);
    pair.transfer([3_000_000, 0], secs(60));
    let stats = pair.ends[0].stats();
    assert!((1..3).contains(&stats.timeouts), "{stats:?}");
    assert!(stats.packets_retransmitted <= 10, "{stats:?}");
}

#[test]
fn c24_a_path_that_becomes_slower_than_the_timeout_is_measured_all_the_same() {
    let mut pair = Pair::new(config());
    let exchange =
        |pair: &mut Pair, times: usize| {
            let before = pair.ends[0].stats().packets_retransmitted;
            for _ in 0..times {
                let len = pair.outgoing[0].len() + 100;
                pair.outgoing[0] = pattern(len);
                assert!(pair.run(secs(10), |pair| pair.incoming[1].len() == len
                    && pair.ends[0].send.outstanding() == 0));
            }
            pair.ends[0].stats().packets_retransmitted - before
        };
    assert_eq!(exchange(&mut pair, 10), 0);
    pair.link = Box::new(|_, _, _| vec![ONE_WAY + millis(500)]);
    assert!(exchange(&mut pair, 10) > 0);
    assert_eq!(exchange(&mut pair, 10), 0, "{:?}", pair.ends[0].stats());
}

/// The peer stamps its packets by another clock than the one by which it measures ours. Every answer to a packet that was
/// sent again then looks like one to the first transmission.
#[test]
fn c24_clocks_that_disagree_about_the_round_trip_do_not_slow_recovery_down() {
    let mut raw = flying(20);
    raw.pass_hearing(secs(8));
    let begin = raw.now;
    while raw.conn.send.outstanding() > 0 {
        let again = only(Kind::Data, &raw.pass_hearing(millis(20)));
        for Header { seq, .. } in again {
            if seq != raw.ack.next() {
                continue;
            }
            raw.ack = seq;
            let behind = Instant::from_micros(raw.now.as_micros() - 6_000_000 + (1 << 32));
            let header = Header { sent_at: behind.stamp(), ..raw.header(Kind::State) };
            raw.say_with(header, Extensions::EMPTY, b"");
        }
        assert!(raw.now.since(begin) < secs(8), "{:#?}", raw.conn.stats());
    }
}

/// The first flight of a connection, on a path that has become slower since the handshake.
#[test]
fn c24_the_first_acknowledgement_of_all_tells_an_original_from_a_repetition_too() {
    let mut raw = Raw::dialled(unlimited().rto_min(millis(10)));
    raw.write(&pattern(2 * FULL));
    assert_eq!(raw.hear().len(), 2);
    assert_eq!(raw.pass_hearing(millis(65)).len(), 2);
    // Sooner than any round trip: the second packet has overtaken the first, and both are on their way.
    raw.say_sack(&[1, 0, 0, 0]);
    assert_eq!(only(Kind::Data, &raw.pass_hearing(millis(10))).len(), 0);
}
