//! Row D: how a connection ends in order.

use super::*;

/// Both directions end; what is left is time-wait.
fn end(raw: &mut Raw) {
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
}

#[test]
fn d28_time_wait_ends_with_memory_to_give_back() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, b"once");
    assert_eq!(raw.read(), b"once");
    raw.hear();
    raw.pass(millis(500));
    end(&mut raw);
    raw.pass_hearing(secs(5));
    assert!(raw.conn.is_drained());
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_time_wait_ends_with_a_window_update_to_repeat() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.say(Kind::Data, &[1; 1380]);
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.read();
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.pass_hearing(secs(5));
    assert!(raw.conn.is_drained());
}

/// Says nothing until the connection is over, and returns what was sent after how long.
fn until_drained(raw: &mut Raw) -> (Vec<Heard>, Duration) {
    let start = raw.now;
    let mut heard = Vec::new();
    while !raw.conn.is_drained() {
        heard.extend(raw.pass_hearing(millis(100)));
        assert!(raw.now.since(start) < secs(600), "{:#?}", raw.conn);
    }
    (heard, raw.now.since(start))
}

#[test]
fn d28_a_peer_that_finished_and_forgot_us_keeps_nothing_open() {
    let mut raw = Raw::accepted(config());
    raw.write(b"all of it");
    raw.hear();
    raw.pass(millis(20));
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.conn.finish();
    let mut heard = raw.pass_hearing(secs(9));
    assert_eq!(only(Kind::Fin, &heard).len(), 8);
    // The application need not wait for the rest.
    assert!(raw.conn.is_acked() && raw.conn.take_events().intersects(Events::ACKED | Events::CLOSED));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    raw.conn.detach();
    let (rest, time) = until_drained(&mut raw);
    assert!((4..=6).contains(&only(Kind::Fin, &rest).len()) && time < secs(30), "{time:?}");
    heard.extend(rest);
    assert!(only(Kind::Reset, &heard).is_empty());
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_a_closing_endpoint_does_not_wait_for_a_peer_that_forgot_us() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Fin, b"");
    raw.conn.finish();
    raw.conn.hurry();
    let (heard, time) = until_drained(&mut raw);
    assert!(only(Kind::Reset, &heard).is_empty() && time <= secs(15), "{time:?}");
}

/// Six seconds without a way, and the last thing that the peer waits for is our FIN.
#[test]
fn d28_an_outage_at_the_end_leaves_nobody_waiting() {
    for silence in [8, 15, 25] {
        let mut raw = Raw::accepted(config());
        raw.say(Kind::Fin, b"");
        raw.conn.finish();
        raw.hear();
        raw.pass_hearing(secs(silence));
        // The way is back, and the peer may have waited for an acknowledgement too.
        let fin = Header { seq: raw.seq.prev(), ..raw.header(Kind::Fin) };
        raw.say_with(fin, Extensions::EMPTY, b"");
        let heard = raw.pass_hearing(secs(6));
        assert!(!only(Kind::Fin, &heard).is_empty(), "after {silence} s");
        raw.acknowledge_all();
        raw.pass_hearing(millis(1));
        assert!(raw.conn.is_acked() && raw.conn.close_reason() == Some(CloseReason::Finished));
        raw.pass_hearing(secs(20));
        assert!(raw.conn.is_drained());
    }
}

/// The peer waits for nothing but our FIN, so giving it up too soon leaves the peer waiting for ever.
#[test]
fn d28_a_short_path_does_not_make_a_fin_impatient() {
    let mut raw = Raw::accepted(config().rto_min(millis(10)));
    raw.write(b"all of it");
    raw.hear();
    raw.pass(millis(5));
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.conn.finish();
    raw.hear();
    let heard = raw.pass_hearing(secs(5));
    assert_eq!(raw.conn.close_reason(), None);
    let fins = only(Kind::Fin, &heard).len();
    assert!((5..20).contains(&fins), "{fins} in five seconds");
    raw.pass_hearing(secs(10));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    let (_, time) = until_drained(&mut raw);
    assert!(time < secs(35), "{time:?}");
}

#[test]
fn d28_a_short_silence_after_our_fin_does_not_cost_the_rest_of_the_stream() {
    for detached in [false, true] {
        let mut raw = Raw::accepted(config());
        raw.say(Kind::Data, b"warms up");
        raw.hear();
        if detached {
            raw.conn.detach()
        } else {
            raw.conn.finish()
        }
        raw.pass_hearing(secs(8));
        assert_eq!(raw.conn.close_reason(), None, "detached: {detached}");
        raw.say(Kind::Data, b" and goes on");
        assert_eq!(raw.read().len(), if detached { 0 } else { 20 });
        raw.acknowledge_all();
        raw.say(Kind::Fin, b"");
        until_drained(&mut raw);
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    }
}

#[test]
fn d28_a_peer_that_dies_after_our_fin_ends_by_itself() {
    for (detached, reason) in [(false, CloseReason::TimedOut), (true, CloseReason::Aborted)] {
        let mut raw = Raw::accepted(config());
        if detached {
            raw.conn.detach()
        } else {
            raw.conn.finish()
        }
        let (heard, _) = until_drained(&mut raw);
        assert_eq!(only(Kind::Reset, &heard).len(), 1);
        assert_eq!(raw.conn.close_reason(), Some(reason));
    }
}

#[test]
fn d29_in_time_wait_repeats_are_acknowledged_new_data_is_reset_and_forgeries_are_ignored() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, b"before");
    end(&mut raw);
    raw.hear();
    let fin = Header { seq: raw.seq.prev(), ..raw.header(Kind::Fin) };
    let data = raw.header(Kind::Data);
    let forged = [
        Header { ack: raw.ack.next(), ..fin },
        Header { ack: raw.ack.next(), ..data },
        Header { conn_id: raw.conn.ids().send, ..fin },
        Header { seq: raw.seq + 32_100, ..data },
    ];
    for header in forged {
        raw.say_with(header, Extensions::EMPTY, b"");
        assert_eq!(raw.hear(), [], "{header:?}");
    }
    raw.pass(millis(200));
    raw.say_with(fin, Extensions::EMPTY, b"");
    let acks = raw.hear();
    assert_eq!(only(Kind::State, &acks).len(), 2, "{acks:?}");
    assert!(acks.iter().all(|heard| heard.header().ack == fin.seq));
    raw.say_with(data, Extensions::EMPTY, b"more");
    let reset = raw.hear();
    assert_eq!((reset.len(), reset[0].kind()), (1, Kind::Reset));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d30_closing_with_unread_data_opens_the_window_and_throws_the_rest_away() {
    let mut raw = Raw::accepted(config().receive_buffer(4096).receive_buffer_max(4096));
    raw.say(Kind::Data, &[1; 4000]);
    raw.conn.finish();
    assert_eq!(raw.hear().last().unwrap().header().window, 96);
    raw.conn.detach();
    let update = raw.hear();
    assert_eq!(only(Kind::State, &update).first().map(|header| header.window), Some(4096));
    raw.say(Kind::Data, &[2; 4000]);
    raw.say(Kind::Data, &[3; 4000]);
    assert_eq!(raw.hear().last().unwrap().header().window, 4096);
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    until_drained(&mut raw);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d28_a_peer_that_still_speaks_has_not_forgotten_us() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Fin, b"");
    raw.conn.finish();
    raw.hear();
    for _ in 0..30 {
        raw.pass_hearing(secs(1));
        // It has not got our acknowledgement either.
        let fin = Header { seq: raw.seq.prev(), ..raw.header(Kind::Fin) };
        raw.say_with(fin, Extensions::EMPTY, b"");
    }
    assert_eq!(raw.conn.close_reason(), None);
    raw.acknowledge_all();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d25_a_fin_in_order_ends_the_stream_after_everything_before_it() {
    let mut raw = Raw::dialled(config());
    raw.say(Kind::Data, b"last words");
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.hear().last().unwrap().header().ack, raw.seq.prev());
    assert_eq!(raw.seq.get(), 0, "the FIN had the last number of the circle");
    assert!(raw.conn.take_events().intersects(Events::READABLE));
    assert_eq!(raw.conn.read(&mut [0; 4]), ReadOutcome::Data(4));
    assert_eq!(raw.read(), b" words");
    assert_eq!(raw.conn.read(&mut [0; 4]), ReadOutcome::Eof);
    assert_eq!(raw.conn.read(&mut [0; 4]), ReadOutcome::Eof, "and stays at the end");
}

/// The FIN gets number `fin`, and data before and after the wrap comes in every order.
#[test]
fn d25_a_fin_out_of_order_waits_for_what_comes_before_it() {
    for order in [[3, 2, 1, 0], [2, 3, 0, 1], [0, 3, 1, 2], [3, 0, 2, 1], [1, 3, 2, 0]] {
        let mut raw = Raw::dialled(config());
        let first = raw.header(Kind::Data);
        for index in order {
            assert_ne!(raw.conn.read_outcome(9), ReadOutcome::Eof, "{order:?}");
            let kind = if index == 3 { Kind::Fin } else { Kind::Data };
            let payload =
                if index == 3 { &b""[..] } else { &b"xyz"[usize::from(index)..=usize::from(index)] };
            let header = Header { kind, seq: first.seq + index, ..first };
            raw.say_with(header, Extensions::EMPTY, payload);
            assert_eq!(raw.hear().len(), 1, "each of them is acknowledged at once");
        }
        assert_eq!(raw.read(), b"xyz", "{order:?}");
        assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Eof);
    }
}

#[test]
fn d25_a_repeated_fin_is_acknowledged_again_and_another_one_ignored() {
    let mut raw = Raw::dialled(config());
    let fin = raw.header(Kind::Fin);
    for _ in 0..3 {
        raw.say_with(fin, Extensions::EMPTY, b"");
        assert_eq!(raw.hear()[0].header().ack, fin.seq);
    }
    for kind in [Kind::Fin, Kind::Data] {
        raw.say_with(Header { kind, seq: fin.seq + 1, ..fin }, Extensions::EMPTY, b"after the end");
        assert_eq!(raw.hear()[0].header().ack, fin.seq);
    }
    assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Eof);
    assert_eq!(raw.conn.close_reason(), None, "our direction is open");
}

#[test]
fn d25_a_lost_fin_is_sent_again_under_its_number() {
    let mut raw = Raw::dialled(config());
    raw.write(b"data");
    raw.conn.finish();
    let sent = raw.hear();
    assert_eq!(sent.iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Data, Kind::Fin]);
    assert_eq!(sent[1].header().seq, OUR_SYN + 2);
    raw.ack = OUR_SYN.next();
    raw.say(Kind::State, b"");
    assert!(!raw.conn.is_acked());
    let again = raw.pass_hearing(secs(2));
    assert!(again.len() >= 2 && again.iter().all(|heard| heard.header().seq == OUR_SYN + 2));
    assert!(again.iter().all(|heard| (heard.kind(), heard.bytes.len()) == (Kind::Fin, HEADER_LEN)));
    raw.conn.take_events();
    raw.acknowledge_all();
    assert!(raw.conn.is_acked() && raw.conn.take_events().intersects(Events::ACKED));
    assert_eq!(raw.pass_hearing(secs(9)), []);
}

#[test]
fn d25_the_last_data_lost_together_with_the_fin_is_sent_again_first() {
    let mut raw = Raw::dialled(config());
    raw.write(b"last");
    raw.conn.finish();
    raw.hear();
    let again = raw.pass_hearing(secs(1));
    let probe = again[0].header();
    assert_eq!(probe.kind, Kind::Fin, "the probe is the last one");
    raw.say_sack(&[1, 0, 0, 0]);
    let data = raw.pass_hearing(millis(100));
    assert_eq!(data[0].packet().payload, b"last");
    raw.acknowledge_all();
    assert!(raw.conn.is_acked());
}

#[test]
fn d26_a_payload_in_a_fin_is_delivered_before_the_end() {
    for out_of_order in [false, true] {
        let mut raw = Raw::dialled(config());
        let data = raw.header(Kind::Data);
        let fin = Header { kind: Kind::Fin, seq: data.seq.next(), ..data };
        if out_of_order {
            raw.say_with(fin, Extensions::EMPTY, b" and this");
            raw.say_with(data, Extensions::EMPTY, b"that");
        } else {
            raw.say_with(data, Extensions::EMPTY, b"that");
            raw.say_with(fin, Extensions::EMPTY, b" and this");
        }
        assert_eq!(raw.hear().last().unwrap().header().ack, fin.seq);
        assert_eq!(raw.read(), b"that and this");
        assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Eof);
    }
}

#[test]
fn d26_our_fin_carries_nothing_whatever_is_left_to_send() {
    for len in [0, 1, FULL, FULL + 1] {
        let mut raw = Raw::dialled(unlimited().nodelay(false));
        raw.write(&pattern(len));
        raw.conn.finish();
        let sent = raw.hear();
        let (fin, data) = sent.split_last().unwrap();
        assert_eq!((fin.kind(), fin.bytes.len()), (Kind::Fin, HEADER_LEN));
        assert_eq!(data.iter().map(|heard| heard.packet().payload.len()).sum::<usize>(), len);
        assert!(data.iter().all(|heard| heard.kind() == Kind::Data));
        assert_eq!(fin.header().seq, OUR_SYN + 1 + data.len() as u16);
    }
}

#[test]
fn d27_after_our_fin_every_ack_goes_out_under_both_numbers() {
    let mut raw = Raw::dialled(config());
    raw.say(Kind::Data, b"before");
    assert_eq!(raw.hear().len(), 1, "before it one is enough");
    raw.conn.finish();
    let fin = raw.hear()[0].header();
    raw.acknowledge_all();
    for kind in [Kind::Data, Kind::Data, Kind::Fin] {
        raw.say(kind, b"");
        let acks = raw.hear();
        let seqs: Vec<_> = only(Kind::State, &acks).iter().map(|header| header.seq).collect();
        assert_eq!(seqs, [fin.seq, fin.seq.next()], "libtorrent's and libutp's");
        assert!(acks.iter().all(|ack| ack.header().ack == raw.seq.prev()));
    }
}

#[test]
fn d27_both_acks_tell_of_a_gap() {
    let mut raw = Raw::dialled(config());
    raw.conn.finish();
    raw.hear();
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, b"early");
    let acks = raw.hear();
    assert_eq!(acks.len(), 2);
    assert!(acks.iter().all(|ack| ack.packet().extensions.sack().is_some_and(|sack| sack.count() == 1)));
}

/// A peer that believes only acknowledgements under one of the two numbers gets its data through after our FIN.
#[test]
fn d27_peers_of_either_make_can_go_on_sending_after_our_fin() {
    for believes_fin_number in [false, true] {
        let mut pair = Pair::new(config());
        let mut fin = None;
        pair.link = Box::new(move |side, n, packet| {
            let header = packet.header;
            if side == 0 && header.kind == Kind::Fin {
                fin = Some(header.seq);
            }
            let number = fin.map(|fin| if believes_fin_number { fin } else { fin.next() });
            let ignored =
                side == 0 && header.kind == Kind::State && number.is_some_and(|seq| header.seq != seq);
            if ignored || n % 20 == 19 { vec![] } else { vec![ONE_WAY] }
        });
        pair.transfer([1000, 300_000], secs(60));
    }
}

#[test]
fn d28_half_closed_either_way_the_other_direction_goes_on() {
    for closer in [0, 1] {
        let mut pair = Pair::new(config());
        pair.outgoing[closer] = pattern(1000);
        pair.finish_when_written[closer] = true;
        assert!(pair.run(secs(5), |pair| pair.eof[1 - closer] && pair.ends[closer].is_acked()));
        assert!(pair.ends.iter().all(|end| end.close_reason().is_none()));
        assert_eq!(pair.ends[closer].write(b"late"), WriteOutcome::Finished);
        pair.run(secs(40), |_| false);
        pair.outgoing[1 - closer] = pattern(500_000);
        assert!(pair.run(secs(20), |pair| pair.incoming[closer].len() == 500_000));
        pair.finish_when_written[1 - closer] = true;
        assert!(pair.run(secs(5), |pair| pair.ends.iter().all(Connection::is_drained)));
        assert_eq!(pair.ends.each_ref().map(Connection::close_reason), [Some(CloseReason::Finished); 2]);
    }
}

#[test]
fn d28_both_ends_at_once() {
    let mut pair = Pair::new(config());
    pair.run(secs(1), |_| false);
    pair.transfer([0, 0], secs(1));
    assert!(pair.run(secs(5), |pair| pair.ends.iter().all(Connection::is_drained)));
}

/// Transmission: acknowledges our FIN, never sends its own, is gone soon after.
#[test]
fn d28_a_peer_that_never_sends_a_fin_does_not_hold_a_dropped_stream() {
    let mut raw = Raw::accepted(config());
    raw.write(b"everything");
    raw.conn.detach();
    raw.hear();
    raw.acknowledge_all();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    let (heard, time) = until_drained(&mut raw);
    assert!(heard.is_empty() && time <= secs(4), "{time:?}");
}

/// libtorrent: finishes, and forgets us when we acknowledge it.
#[test]
fn d28_a_peer_that_forgets_after_its_fin_still_got_our_data() {
    let mut raw = Raw::accepted(config());
    raw.say(Kind::Data, b"all of mine");
    raw.say(Kind::Fin, b"");
    raw.hear();
    assert_eq!(raw.read(), b"all of mine");
    raw.conn.detach();
    let (heard, time) = until_drained(&mut raw);
    // Without a single round trip to go by.
    assert!(only(Kind::Reset, &heard).is_empty() && time <= secs(45), "{time:?}");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d30_what_was_written_leaves_before_the_end_although_the_application_is_gone() {
    let mut pair = Pair::new(config().send_buffer(1 << 20));
    pair.link = Box::new(|side, n, _| if n % [7, 13][side] == 0 { vec![] } else { vec![ONE_WAY] });
    pair.outgoing[0] = pattern(400_000);
    pair.run(millis(1), |_| false);
    pair.ends[0].detach();
    pair.gone[0] = true;
    assert!(pair.run(secs(30), |pair| pair.eof[1]), "{:?}", pair.ends[0].stats());
    assert!(pair.incoming[1] == pair.outgoing[0]);
}

#[test]
fn d30_what_cannot_be_delivered_is_dropped_after_the_linger() {
    let mut raw = Raw::accepted(unlimited().linger(secs(5)));
    raw.write(&[0; 100_000]);
    raw.conn.detach();
    let start = raw.now;
    let heard = raw.pass_hearing(millis(4_999));
    assert!(only(Kind::Reset, &heard).is_empty());
    let last = raw.pass_hearing(millis(2));
    assert_eq!(only(Kind::Reset, &last).len(), 1);
    assert_eq!(last.last().unwrap().at, start + secs(5));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Aborted));
    assert!(raw.conn.is_drained());
}

#[test]
fn d30_dropping_an_attempt_to_connect_ends_it_unless_something_was_written() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.conn.detach();
    assert_eq!((raw.conn.close_reason(), raw.hear()), (Some(CloseReason::Aborted), vec![]));
    assert!(raw.conn.is_drained());
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.write(b"fire and forget");
    raw.conn.detach();
    raw.hear();
    raw.say(Kind::State, b"");
    let sent = raw.hear();
    assert_eq!(sent.iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Data, Kind::Fin, Kind::State][..2]);
    raw.acknowledge_all();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d30_dropping_a_stream_that_nobody_answers_ends_in_every_state() {
    let states: [fn() -> Raw; 5] = [
        || Raw::dialling(config()),
        || Raw::dialled_by(config(), syn()),
        || Raw::dialled(config()),
        || Raw::accepted(config()),
        || {
            let mut raw = Raw::accepted(config());
            raw.say(Kind::Data, b"unread");
            raw.say(Kind::Fin, b"");
            raw
        },
    ];
    for (index, state) in states.into_iter().enumerate() {
        for written in [0, 10, 200_000] {
            let mut raw = state();
            raw.write(&vec![0; written]);
            raw.conn.detach();
            assert!(raw.conn.is_drained() || raw.conn.wants_service(), "{index}");
            let (_, time) = until_drained(&mut raw);
            assert!(time <= secs(35), "{index}, {written} bytes: {time:?}");
            assert_eq!(raw.conn.poll_timeout(), None);
        }
    }
}
