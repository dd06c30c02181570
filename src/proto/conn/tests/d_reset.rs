//! Row D: RESETs, received and sent, and connections cut short.

use super::*;

#[test]
fn d29_a_peer_that_finished_and_answers_our_fin_with_a_reset_has_everything() {
    for acked in [true, false] {
        let mut raw = Raw::dialled(config());
        raw.write(b"all of it");
        raw.hear();
        if acked {
            raw.acknowledge_all();
        }
        raw.say(Kind::Fin, b"");
        raw.conn.finish();
        let fin = only(Kind::Fin, &raw.hear())[0];
        let echo =
            Header { conn_id: fin.conn_id, ack: fin.seq, seq: SeqNr::new(7), ..raw.header(Kind::Reset) };
        raw.say_with(echo, Extensions::EMPTY, b"");
        let reason = if acked { CloseReason::Finished } else { CloseReason::Reset };
        assert_eq!((raw.conn.close_reason(), raw.conn.is_acked()), (Some(reason), acked));
        assert!(raw.conn.is_drained());
    }
}

#[test]
fn d30_an_aborted_connection_keeps_nothing_but_what_can_be_read() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 100_000]);
    raw.say(Kind::Data, b"unread");
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, &[0; 1000]);
    raw.hear();
    raw.conn.abort();
    let reset = raw.hear();
    assert_eq!(reset.len(), 1);
    assert_eq!((reset[0].kind(), reset[0].header().seq), (Kind::Reset, raw.conn.send.next_seq()));
    assert_eq!(reset[0].header().ack, THEIR_FIRST);
    assert_eq!(raw.conn.send.queued_bytes() + raw.conn.stats().bytes_in_flight as usize, 0);
    assert!(!raw.conn.is_acked() && !raw.conn.is_flushed() && !raw.conn.recv.has_gap());
    assert_eq!(raw.conn.write(b"late"), WriteOutcome::Closed(CloseReason::Aborted));
    assert_eq!(raw.read(), b"unread");
    assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Closed(CloseReason::Aborted));
}

/// A RESET as the peer would send it: with our receive id and both its numbers.
fn reset(raw: &Raw) -> Header {
    raw.header(Kind::Reset)
}

/// As libutp answers a packet for a connection that it does not have: the id it received, the packet's number.
fn echo(raw: &Raw, answered: SeqNr) -> Header {
    let zero = Timestamp::new(0);
    let conn_id = raw.conn.ids().send;
    Header {
        conn_id,
        seq: SeqNr::new(4711),
        ack: answered,
        window: 0,
        sent_at: zero,
        ..raw.header(Kind::Reset)
    }
}

/// Connected, with three packets of ours and one of theirs exchanged and three in flight.
fn busy() -> Raw {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 3 * FULL]);
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Data, b"readable");
    raw.write(&[0; 3 * FULL]);
    raw.hear();
    raw
}

#[test]
fn d29_a_reset_with_both_numbers_ends_the_connection_at_once() {
    let mut raw = busy();
    raw.conn.take_events();
    raw.say_with(reset(&raw), Extensions::EMPTY, b"");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Reset));
    assert!(raw.conn.take_events().intersects(Events::READABLE) && raw.conn.is_drained());
    assert_eq!((raw.hear(), raw.conn.poll_timeout()), (vec![], None), "a RESET is never answered");
    assert_eq!(raw.read(), b"readable");
    assert_eq!(raw.conn.read(&mut [0; 9]), ReadOutcome::Closed(CloseReason::Reset));
    assert_eq!(raw.conn.write(b"late"), WriteOutcome::Closed(CloseReason::Reset));
}

#[test]
fn d29_a_reset_that_echoes_any_packet_that_may_be_out_there_is_honoured() {
    // From just before the oldest in flight to the number of a bare acknowledgement.
    for answered in 3..=7 {
        let mut raw = busy();
        raw.say_with(echo(&raw, OUR_SYN + answered), Extensions::EMPTY, b"");
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Reset), "{answered}");
    }
}

#[test]
fn d29_a_reset_with_a_wrong_number_changes_nothing() {
    let mut raw = busy();
    let right = reset(&raw);
    let echoed = echo(&raw, OUR_SYN);
    let forged = [
        Header { ack: OUR_SYN + 2, ..right },
        Header { ack: OUR_SYN + 8, ..right },
        Header { seq: right.seq + 32_100, ..right },
        Header { seq: right.seq - 1026, ..right },
        Header { conn_id: OUR_ID.prev(), ..right },
        Header { ack: OUR_SYN + 2, ..echoed },
        Header { ack: OUR_SYN + 8, ..echoed },
        Header { ack: SeqNr::new(4711), ..echoed },
    ];
    // It asks back once, and has done so.
    raw.say_with(forged[0], Extensions::EMPTY, b"");
    assert_eq!(raw.hear().len(), 1);
    for header in forged {
        raw.unmoved_by(header, Extensions::EMPTY);
        assert_eq!(raw.hear(), [], "{header:?}");
    }
    raw.acknowledge_all();
    assert_eq!(raw.conn.stats().bytes_in_flight, 0);
}

#[test]
fn d29_a_reset_ends_every_state() {
    let mut answered = Raw::dialled_by(config(), syn());
    answered.hear();
    let mut finished = Raw::accepted(config());
    finished.conn.finish();
    finished.hear();
    let mut half = Raw::accepted(config());
    half.say(Kind::Fin, b"");
    half.hear();
    let mut over = Raw::accepted(config());
    over.conn.finish();
    over.hear();
    over.acknowledge_all();
    over.say(Kind::Fin, b"");
    let states = [
        (answered, CloseReason::Reset),
        (finished, CloseReason::Reset),
        (half, CloseReason::Reset),
        (over, CloseReason::Finished),
    ];
    for (mut raw, reason) in states {
        raw.say_with(reset(&raw), Extensions::EMPTY, b"");
        assert_eq!(raw.conn.close_reason(), Some(reason));
        assert_eq!((raw.hear(), raw.conn.is_drained(), raw.conn.poll_timeout()), (vec![], true, None));
    }
}

#[test]
fn d29_our_reset_carries_both_real_numbers() {
    let mut raw = busy();
    raw.conn.abort();
    assert!(raw.conn.wants_service() && !raw.conn.is_drained());
    let sent = raw.hear();
    assert_eq!(sent.len(), 1);
    let header = sent[0].header();
    assert_eq!((header.kind, header.conn_id), (Kind::Reset, OUR_ID.next()));
    assert_eq!((header.seq, header.ack), (OUR_SYN + 7, THEIR_FIRST));
    assert!(raw.conn.is_drained());
    raw.say(Kind::Data, b"late");
    raw.say(Kind::Fin, b"");
    assert_eq!(raw.hear(), []);
}

#[test]
fn d30_aborting_in_every_state() {
    let states: [(fn() -> Raw, usize); 6] = [
        (|| Raw::dialling(config()), 0),
        (
            || {
                let mut raw = Raw::dialling(config());
                raw.hear();
                raw
            },
            1,
        ),
        (|| Raw::dialled_by(config(), syn()), 1),
        (|| Raw::accepted(config()), 1),
        (
            || {
                let mut raw = Raw::accepted(config());
                raw.conn.detach();
                raw.hear();
                raw
            },
            1,
        ),
        (
            || {
                let mut raw = Raw::accepted(config());
                raw.conn.detach();
                raw.hear();
                raw.acknowledge_all();
                raw
            },
            0,
        ),
    ];
    for (index, (state, resets)) in states.into_iter().enumerate() {
        let mut raw = state();
        raw.conn.abort();
        raw.conn.abort();
        let heard = raw.pass_hearing(secs(60));
        assert_eq!(only(Kind::Reset, &heard).len(), resets, "{index}: {heard:?}");
        assert_eq!(heard.len(), resets, "{index}");
        assert!(raw.conn.is_drained() && raw.conn.close_reason().is_some());
    }
}

#[test]
fn d30_a_connection_whose_endpoint_is_gone_says_nothing_more() {
    let mut raw = busy();
    raw.conn.fail(CloseReason::EndpointClosed);
    assert_eq!((raw.hear(), raw.conn.poll_timeout(), raw.conn.is_drained()), (vec![], None, true));
    assert!(raw.conn.take_events().intersects(Events::CLOSED));
    assert_eq!(raw.read(), b"readable");
}
