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
