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
