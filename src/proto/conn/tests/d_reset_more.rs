//! Row D: what a doubtful RESET leads to; and acknowledgements that say nothing new.

use super::*;

#[test]
fn d_a_challenge_is_repeated_after_a_second_and_not_before() {
    let mut raw = Raw::dialled(unlimited());
    let wrong = Header { ack: OUR_SYN - 100, ..raw.header(Kind::Reset) };
    for (pause, challenged) in [(0, true), (999, false), (1, true), (999, false)] {
        raw.pass(millis(pause));
        raw.say_with(wrong, Extensions::EMPTY, b"");
        assert_eq!(only(Kind::State, &raw.hear()).len(), usize::from(challenged));
    }
}

#[test]
fn d_hardened_a_reset_that_fits_counts_even_if_one_that_did_not_asked_first() {
    let mut raw = Raw::dialled(unlimited().hardened_reset(true));
    let exact = Header { ack: OUR_SYN, ..raw.header(Kind::Reset) };
    raw.say_with(Header { ack: OUR_SYN - 100, ..exact }, Extensions::EMPTY, b"");
    let challenge = only(Kind::State, &raw.hear());
    assert_eq!(challenge.len(), 1);
    let answer = Header { ack: challenge[0].seq, ..exact };
    raw.say_with(Header { ack: OUR_SYN - 100, ..exact }, Extensions::EMPTY, b"");
    raw.say_with(exact, Extensions::EMPTY, b"");
    raw.say_with(Header { ack: OUR_SYN - 100, ..exact }, Extensions::EMPTY, b"");
    assert_eq!((raw.hear(), raw.conn.close_reason()), (vec![], None));
    raw.say_with(answer, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn d_a_reset_after_the_end_changes_no_good_end() {
    let mut raw = Raw::accepted(config());
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.say(Kind::Reset, b"");
    assert!(raw.conn.is_drained());
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn d_an_end_that_comes_after_the_application_went_away_is_acknowledged() {
    let mut raw = Raw::accepted(config());
    raw.conn.detach();
    raw.hear();
    raw.acknowledge_all();
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
    let fin = raw.seq;
    raw.say(Kind::Fin, b"");
    let answers = only(Kind::State, &raw.hear());
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.ack == fin));
}

/// A tail probe went out, and one packet that acknowledges everything came. What a second one says decides whether the
/// probe has repaired a loss; returns how many losses were counted in the end.
fn losses_after(second: impl FnOnce(&mut Raw)) -> u64 {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; FULL]);
    raw.hear();
    assert_eq!(raw.pass_hearing(millis(200)).len(), 1, "a tail probe");
    raw.pass(millis(20));
    raw.acknowledge_all();
    raw.pass(millis(1));
    second(&mut raw);
    raw.write(&[0; FULL]);
    raw.hear();
    raw.pass(millis(20));
    raw.acknowledge_all();
    raw.conn.stats().congestion_events
}

#[test]
fn d_only_the_same_acknowledgement_again_shows_that_a_probe_was_not_needed() {
    assert_eq!(losses_after(|_| {}), 1);
    assert_eq!(losses_after(|raw| raw.say(Kind::State, b"")), 0);
    assert_eq!(losses_after(|raw| raw.say(Kind::Data, b"news")), 1);
    assert_eq!(losses_after(|raw| raw.say(Kind::Fin, b"")), 1);
    for window in [-1000, 1000] {
        let update = |raw: &mut Raw| {
            raw.window = raw.window.saturating_add_signed(window);
            raw.say(Kind::State, b"");
        };
        assert_eq!(losses_after(update), 1, "an update of the window, by {window}");
    }
    let overtaken = |raw: &mut Raw| {
        raw.say_with(Header { ack: raw.ack.prev(), ..raw.header(Kind::State) }, Extensions::EMPTY, b"")
    };
    assert_eq!(losses_after(overtaken), 1, "an old acknowledgement");
}

#[test]
fn d_an_overtaken_acknowledgement_reports_nothing() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(&[0; 10 * FULL]);
    raw.hear();
    raw.pass(millis(20));
    raw.ack = OUR_SYN + 4;
    raw.say(Kind::State, b"");
    let before = raw.conn.stats().bytes_acked;
    raw.ack = OUR_SYN + 1;
    raw.say_sack(&[0xFF, 0, 0, 0]);
    assert_eq!(raw.conn.stats().bytes_acked, before);
    assert_eq!(raw.hear(), []);
}
