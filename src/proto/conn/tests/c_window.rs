//! Row C: receive windows, ours and the peer's.

use super::*;

#[test]
fn c20_a_loss_that_a_probe_repaired_opens_no_window() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 2 * FULL]);
    assert_eq!(raw.hear().len(), 2);
    raw.pass(millis(20));
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    assert_eq!(raw.pass_hearing(millis(200)).len(), 1, "a tail probe");
    raw.window = 2 * FULL as u32;
    raw.ack = raw.ack.next();
    raw.pass(millis(20));
    raw.say(Kind::State, b"");
    raw.write(&[0; 4 * FULL]);
    assert_eq!(raw.hear().len(), 2);
    raw.pass(millis(20));
    raw.window = FULL as u32;
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    assert_eq!(raw.conn.stats().congestion_events, 1);
    assert_eq!(raw.hear().len(), 0, "one full packet is in flight and the window is no larger");
}

#[test]
fn c20_a_keepalive_opens_the_window() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(b"sent");
    raw.hear();
    raw.window = 0;
    raw.acknowledge_all();
    raw.write(b"waits");
    assert_eq!(raw.hear().len(), 0);
    raw.pass(millis(20));
    raw.window = 1 << 20;
    raw.ack = raw.ack.prev();
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear()[0].packet().payload, b"waits");
}

#[test]
fn c20_an_overtaken_window_changes_nothing() {
    let mut raw = Raw::dialled(unlimited());
    let overtaken = Header { window: 0, ..raw.header(Kind::State) };
    raw.pass(millis(1));
    raw.say(Kind::State, b"");
    raw.say_with(overtaken, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.stats().window_peer, raw.window);
}

#[test]
fn c20_a_window_that_opens_costs_no_retransmission_unless_it_was_probed() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 4 * FULL]);
    assert_eq!(raw.hear().len(), 4);
    raw.pass(millis(20));
    raw.window = 100;
    raw.ack = raw.ack.next();
    raw.say(Kind::State, b"");
    raw.window = 1 << 20;
    raw.ack = raw.ack.next();
    raw.pass(millis(1));
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear().len(), 0);
}

#[test]
fn c20_a_window_that_stays_shut_counts_as_a_stall_only_while_something_waits() {
    let mut raw = Raw::dialled(unlimited().stall_timeout(secs(60)).keepalive(None));
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.pass_hearing(secs(600));
    assert_eq!(raw.conn.close_reason(), None);
    raw.write(b"waits");
    let start = raw.now;
    while raw.now.since(start) < secs(59) {
        // The peer refuses every probe, and says so.
        for _ in raw.pass_hearing(secs(1)) {
            raw.say(Kind::State, b"");
        }
    }
    assert_eq!(raw.conn.close_reason(), None);
    let last = raw.pass_hearing(secs(2));
    assert_eq!(last.last().unwrap().kind(), Kind::Reset);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Stalled));
}

#[test]
fn c20_a_receive_buffer_smaller_than_a_packet_is_filled_without_probing() {
    let mut raw = Raw::dialling(unlimited());
    raw.hear();
    raw.window = 1000;
    raw.say(Kind::State, b"");
    raw.hear();
    raw.write(&pattern(5000));
    let mut got = Vec::new();
    for _ in 0..5 {
        let heard = raw.hear();
        assert_eq!(only(Kind::Data, &heard).len(), 1);
        got.extend_from_slice(heard[0].packet().payload);
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    assert_eq!(got, pattern(5000));
}

#[test]
fn c20_what_little_room_is_left_is_not_filled_with_small_packets() {
    let mut raw = Raw::dialled(unlimited());
    raw.window = 3 * FULL as u32 + 500;
    raw.say(Kind::State, b"");
    raw.write(&[0; 9 * FULL]);
    let heard = raw.hear();
    assert_eq!(heard.iter().map(|heard| heard.packet().payload.len()).collect::<Vec<_>>(), [FULL; 3]);
}

#[test]
fn c20_a_shut_window_is_probed_with_little_and_at_least_every_fifteen_seconds() {
    for window in [0, 300] {
        let mut raw = Raw::dialled(unlimited());
        raw.window = window;
        raw.say(Kind::State, b"");
        raw.write(&[0; 5000]);
        let start = raw.now;
        let mut probes = raw.pass_hearing(secs(290));
        probes.retain(|heard| heard.kind() == Kind::Data);
        let mut before = start;
        for probe in &probes {
            assert_eq!(probe.packet().payload.len(), (window as usize).max(1));
            assert!(probe.at.since(before) <= secs(15), "{} after {before}", probe.at);
            before = probe.at;
        }
        assert!((20..40).contains(&probes.len()), "{}", probes.len());
        // Not the update, but the answer to a probe tells.
        raw.window = 1 << 20;
        raw.acknowledge_all();
        assert_eq!(only(Kind::Data, &raw.hear()).len(), 4);
    }
}

#[test]
fn c20_what_is_written_while_the_window_is_shut_asks_for_a_driver_that_probes_it() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(b"sent");
    raw.hear();
    raw.window = 0;
    raw.acknowledge_all();
    assert!(raw.hear().is_empty() && !raw.conn.wants_service());
    raw.write(b"waits");
    assert!(raw.conn.wants_service(), "or nothing would ever ask again");
    assert_eq!(raw.hear().len(), 0);
    assert!(!raw.conn.wants_service(), "a timer is armed");
    assert_eq!(only(Kind::Data, &raw.pass_hearing(millis(510))).len(), 1);
}

#[test]
fn c20_no_more_is_in_flight_than_the_peer_has_room_for() {
    let mut raw = Raw::dialled(unlimited());
    raw.window = 5 * FULL as u32;
    raw.say(Kind::State, b"");
    raw.write(&[0; 40 * FULL]);
    assert_eq!(raw.hear().len(), 5);
    raw.pass(millis(10));
    // It shrinks while packets are in flight: nothing leaves until those fit again.
    raw.window = 2 * FULL as u32;
    let sent = [0, 0, 0, 1, 1].map(|expected| {
        raw.ack = raw.ack.next();
        raw.pass(millis(1));
        raw.say(Kind::State, b"");
        assert_eq!(raw.hear().len(), expected);
    });
    assert_eq!((sent.len(), raw.conn.stats().packets_in_flight), (5, 2));
}

#[test]
fn c20_our_window_tells_what_is_unread_and_held() {
    let mut raw = Raw::dialled(config().receive_buffer(10_000).receive_buffer_max(10_000));
    raw.say(Kind::Data, &[1; 1000]);
    assert_eq!(raw.hear()[0].header().window, 9000);
    let missing = raw.header(Kind::Data);
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, &[1; 1000]);
    assert_eq!(raw.hear()[0].header().window, 8000);
    raw.say_with(missing, Extensions::EMPTY, &[1; 1000]);
    assert_eq!(raw.hear()[0].header().window, 7000);
    assert_eq!(raw.read().len(), 3000);
    raw.say(Kind::Data, &[1; 1000]);
    raw.read();
    assert_eq!(raw.hear()[0].header().window, 10_000);
}

#[test]
fn c20_a_peer_that_ignores_our_window_gets_no_more_into_memory() {
    let mut raw = Raw::dialled(config().receive_buffer(4096).receive_buffer_max(4096));
    let (mut sent, mut resend) = (Vec::new(), raw.seq);
    for n in 0..20 {
        raw.say(Kind::Data, &[n; 1000]);
        sent.extend([n; 1000]);
        let acks = raw.hear();
        assert_eq!(acks.len(), 1);
        assert!(raw.conn.recv.memory_bytes() <= 2 * 4096);
        resend = acks[0].header().ack.next();
    }
    assert_eq!(raw.conn.stats().packets_refused, 16);
    let mut got = raw.read();
    for n in 4..20 {
        let header = Header { seq: resend, ..raw.header(Kind::Data) };
        raw.say_with(header, Extensions::EMPTY, &[n; 1000]);
        got.extend(raw.read());
        resend = resend.next();
    }
    assert_eq!(got, sent);
}

#[test]
fn c20_a_reopened_window_is_announced_at_once_and_until_data_arrives() {
    let mut raw = Raw::dialled(config().receive_buffer(4096).receive_buffer_max(4096));
    for _ in 0..4 {
        raw.say(Kind::Data, &[1; 1000]);
    }
    assert_eq!(raw.hear().last().unwrap().header().window, 96);
    assert_eq!(raw.pass_hearing(secs(14)), []);
    assert_eq!(raw.read().len(), 4000);
    assert!(raw.conn.wants_service());
    let start = raw.now;
    let told = raw.pass_hearing(secs(9));
    let times: Vec<_> = told.iter().map(|heard| heard.at.since(start).as_millis()).collect();
    assert_eq!(times, [0, 250, 750, 1750, 3750, 7750]);
    assert!(told.iter().all(|heard| heard.header().window == 4096));
    raw.say(Kind::Data, &[1; 1000]);
    assert_eq!(raw.hear().len(), 1);
    assert_eq!(raw.pass_hearing(secs(9)), []);
}

#[test]
fn c21_a_window_that_grows_much_is_announced_once() {
    let mut raw = Raw::dialled(config().receive_buffer(100_000).receive_buffer_max(100_000));
    for _ in 0..60 {
        raw.say(Kind::Data, &[1; 1000]);
    }
    raw.hear();
    assert_eq!(raw.conn.read(&mut [0; 49_000]), ReadOutcome::Data(49_000));
    assert_eq!(raw.hear(), [], "less than half");
    assert_eq!(raw.conn.read(&mut [0; 1000]), ReadOutcome::Data(1000));
    assert_eq!(raw.hear()[0].header().window, 90_000);
    assert_eq!(raw.pass_hearing(secs(9)), []);
}

/// A peer that stops reading and whose first window updates are lost.
#[test]
fn c20_lost_window_updates_only_cost_time() {
    for lost in [1, 3, 5] {
        let configs = [config(), config().receive_buffer(20_000).receive_buffer_max(20_000)];
        let mut pair = Pair::with(configs);
        pair.outgoing[0] = pattern(200_000);
        pair.read[1] = false;
        pair.run(secs(10), |_| false);
        let mut updates = 0;
        pair.link = Box::new(move |side, _, packet| {
            updates += usize::from(side == 1 && packet.header.window > 3000);
            if side == 1 && updates <= lost && packet.header.window > 3000 { vec![] } else { vec![ONE_WAY] }
        });
        pair.read[1] = true;
        assert!(pair.run(secs(20), |pair| pair.incoming[1].len() == 200_000), "{lost} lost");
    }
}

#[test]
fn c19_no_more_packets_are_outstanding_than_peers_can_hold() {
    for limit in [4, 950] {
        let config = unlimited().congestion(Congestion::Fixed(1 << 30)).send_buffer(8 << 20);
        let mut raw = Raw::dialled(config.packets_in_flight(limit));
        raw.window = u32::MAX;
        raw.say(Kind::State, b"");
        raw.write(&vec![0; 2000 * FULL]);
        let limit = usize::from(limit);
        assert_eq!(raw.hear().len(), limit);
        // Reported ones still count: libtorrent refuses by the distance from its acknowledgement.
        raw.pass(millis(10));
        raw.say_sack(&[0b1]);
        assert_eq!(raw.hear().len(), 0);
        raw.ack = raw.ack.next().next().next();
        raw.say(Kind::State, b"");
        assert_eq!(raw.hear().len(), 3);
    }
}

#[test]
fn c19_packets_are_held_as_far_ahead_as_peers_send_them() {
    for (ahead, held) in [(2, true), (953, true), (954, true), (1023, true), (1024, true), (1025, false)] {
        let mut raw = Raw::dialled(config().receive_buffer(1 << 19).receive_buffer_max(1 << 19));
        let header = Header { seq: raw.seq + (ahead - 1), ..raw.header(Kind::Data) };
        raw.say_with(header, Extensions::EMPTY, b"early");
        let ack = raw.hear();
        assert_eq!(ack.len(), 1, "{ahead} ahead");
        let stats = raw.conn.stats();
        assert_eq!((stats.packets_reordered, stats.packets_refused), (u64::from(held), u64::from(!held)));
        let reported = ack[0].packet().extensions.sack().and_then(|sack| sack.highest(ack[0].header().ack));
        assert_eq!(reported, held.then_some(header.seq), "{ahead} ahead");
    }
}

#[test]
fn c19_a_packet_from_nowhere_changes_nothing() {
    let mut raw = Raw::dialled(config());
    for ahead in [-1026_i16, 32_002, i16::MIN, i16::MAX] {
        let header = Header { seq: raw.seq + ahead as u16, ..raw.header(Kind::Data) };
        raw.unmoved_by(header, Extensions::EMPTY);
        assert_eq!(raw.hear(), [], "{ahead}");
    }
}

#[test]
fn who_only_receives_any_more_gives_back_what_it_sent_from() {
    let mut raw = Raw::accepted(unlimited());
    raw.write(&vec![1; 512 << 10]);
    while raw.conn.has_unacked() {
        raw.hear();
        raw.acknowledge_all();
    }
    for _ in 0..40 {
        raw.say(Kind::Data, b"goes on");
        raw.pass_hearing(millis(100));
        raw.read();
    }
    assert!(raw.conn.memory() < 64 << 10, "{} bytes", raw.conn.memory());
}

#[test]
fn c20_who_stops_reading_holds_nobody_up_and_finds_the_end() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.say(Kind::Data, &[1; 1380]);
    raw.conn.stop_reading();
    assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Eof, "what had arrived is gone");
    for _ in 0..20 {
        raw.say(Kind::Data, &[2; 1380]);
        raw.hear();
        raw.pass(millis(5));
    }
    assert_eq!((raw.conn.stats().window_local, raw.conn.stats().packets_refused), (4096, 0));
    assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Eof);
    raw.write(b"writing goes on");
    assert_eq!(raw.hear()[0].packet().payload, b"writing goes on");
}
