//! Row t11: peers that acknowledge what they do not have.

use super::*;
use crate::wire::Extensions;

const STREAM: u16 = 1500;

/// A sender in the middle of a stream, which keeps packets back.
fn streaming() -> Raw {
    let mut raw = Raw::dialled(unlimited().send_buffer(4 << 20));
    raw.conn.seed(11);
    // More than the windows let go at once.
    raw.write(&[0; STREAM as usize * FULL]);
    raw
}

/// The numbers sent, counted from the first.
fn sent(heard: &[Heard]) -> Vec<u16> {
    only(Kind::Data, heard).iter().map(|header| (header.seq - OUR_SYN.get()).get()).collect()
}

/// Sends the stream's beginning; the number that was kept back.
fn kept_back(raw: &mut Raw) -> u16 {
    let sent = sent(&raw.hear());
    let last = sent[sent.len() - 1];
    let missing: Vec<u16> = (1..=last).filter(|seq| !sent.contains(seq)).collect();
    assert_eq!(missing.len(), 1, "{sent:?}");
    missing[0]
}

/// Acknowledges everything before `seq`, and reports the one after it.
fn report_gap(raw: &mut Raw, seq: u16) {
    raw.ack = OUR_SYN + seq - 1;
    raw.say_sack(&[1, 0, 0, 0]);
}

#[test]
fn t11_a_packet_is_kept_back_until_a_later_one_is_answered() {
    let mut raw = streaming();
    let missing = kept_back(&mut raw);
    assert!((17..=64).contains(&missing), "{missing}");
    let before = raw.conn.stats();
    raw.pass(millis(20));
    raw.ack = OUR_SYN + missing - 1;
    raw.say(Kind::State, b"");
    assert!(sent(&raw.hear()).iter().all(|seq| *seq > missing), "this says nothing about it");
    raw.pass(millis(1));
    report_gap(&mut raw, missing);
    assert_eq!(sent(&raw.hear())[0], missing);
    let stats = raw.conn.stats();
    assert_eq!((stats.packets_retransmitted, stats.packets_lost, stats.congestion_events), (0, 0, 0));
    assert!(stats.bytes_sent > before.bytes_sent);
    raw.pass(millis(20));
    raw.acknowledge_all();
    let stats = raw.conn.stats();
    assert_eq!((stats.bytes_acked, stats.bytes_in_flight), (stats.bytes_sent, 0));
    assert_eq!(raw.conn.close_reason(), None);
}

#[test]
fn t11_a_peer_that_acknowledges_what_was_kept_back_is_a_liar() {
    for how in 0..3 {
        let mut raw = streaming();
        let missing = kept_back(&mut raw);
        raw.pass(millis(20));
        match how {
            0 => raw.acknowledge_all(),
            1 => {
                raw.ack = OUR_SYN + missing;
                raw.say(Kind::Data, b"with bytes of its own");
            }
            _ => {
                raw.ack = OUR_SYN + missing - 2;
                raw.say_sack(&[1, 0, 0, 0]);
            }
        }
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Misbehaved), "{how}");
        let heard = raw.hear();
        assert_eq!(heard.iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Reset], "{how}");
        assert!(raw.conn.is_drained() && raw.conn.poll_timeout().is_none());
        assert_eq!(raw.conn.memory(), 0);
    }
}

#[test]
fn t11_a_packet_kept_back_goes_when_nobody_answers() {
    let mut raw = streaming();
    let missing = kept_back(&mut raw);
    let heard = raw.pass_hearing(millis(450));
    assert_eq!(sent(&heard)[0], missing);
    assert_eq!(raw.conn.stats().timeouts, 0);
    raw.pass(millis(1));
    raw.acknowledge_all();
    assert_eq!((raw.conn.close_reason(), raw.conn.stats().packets_lost), (None, 0));
}

#[test]
fn t11_a_peer_without_masks_gets_the_packet_at_its_first_duplicate() {
    let mut raw = streaming();
    let missing = kept_back(&mut raw);
    raw.pass(millis(20));
    raw.ack = OUR_SYN + missing - 1;
    raw.say(Kind::State, b"");
    raw.hear();
    raw.say(Kind::State, b"");
    assert_eq!(sent(&raw.hear())[0], missing);
    for _ in 0..100 {
        raw.say(Kind::State, b"");
    }
    assert_eq!((sent(&raw.hear()), raw.conn.stats().packets_lost), (vec![], 0), "they are no sign of loss");
}

#[test]
fn t11_a_packet_kept_back_and_then_lost_is_sent_again() {
    let mut raw = streaming();
    let missing = kept_back(&mut raw);
    raw.pass(millis(20));
    report_gap(&mut raw, missing);
    let after = sent(&raw.hear());
    assert!(after[0] == missing && after.len() > 1, "{after:?}");
    raw.pass(millis(60));
    // Everything else arrived, what was sent after it too.
    let bits = usize::from(after[after.len() - 1] - missing);
    let mut mask = vec![0xFF; bits / 8];
    mask.push(((1_u16 << (bits % 8)) - 1) as u8);
    raw.say_sack(&mask);
    let mut heard = raw.hear();
    heard.extend(raw.pass_hearing(millis(400)));
    assert!(sent(&heard).contains(&missing));
    let stats = raw.conn.stats();
    assert!(stats.packets_retransmitted >= 1 && stats.packets_lost == 1, "{stats:?}");
}

#[test]
fn t11_what_is_not_a_stream_is_never_kept_back() {
    let mut raw = Raw::dialled(config());
    raw.conn.seed(11);
    for round in 0..500 {
        raw.write(&[0; 2 * FULL]);
        assert_eq!(sent(&raw.hear()).len(), 2, "{round}");
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    raw.conn.finish();
    assert_eq!(only(Kind::Fin, &raw.hear()).len(), 1);
}

#[test]
fn t11_an_end_of_the_stream_lets_everything_go() {
    let mut raw = Raw::dialled(unlimited());
    raw.conn.seed(11);
    raw.write(&[0; 200 * FULL]);
    raw.conn.finish();
    let heard = raw.hear();
    let missing = (1..=200).find(|seq| sent(&heard).iter().filter(|sent| *sent == seq).count() != 1);
    assert_eq!((missing, only(Kind::Fin, &heard).len()), (None, 1));
}

#[test]
fn t11_acknowledgements_of_what_was_never_sent_are_ignored_whole() {
    let mut raw = streaming();
    raw.hear();
    let window = raw.conn.stats().window_peer;
    for beyond in [1, 2, 50, 1000, 30_000] {
        let header =
            Header { ack: raw.conn.send.next_seq() + beyond - 1, window: 7, ..raw.header(Kind::State) };
        raw.unmoved_by(header, Extensions::EMPTY);
    }
    assert_eq!((raw.conn.stats().window_peer, raw.conn.stats().bytes_acked), (window, 0));
}
