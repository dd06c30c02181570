//! Long silences: handshakes repeated, windows and memory that do not outlast what they were for, probes.

use super::*;

fn seconds(heard: &[Heard], start: Instant) -> Vec<u64> {
    heard.iter().map(|heard| heard.at.since(start).as_secs()).collect()
}

#[test]
fn the_third_leg_is_repeated_in_growing_pauses_for_as_long_as_an_acceptor_waits() {
    let mut raw = Raw::dialled(config().connect_timeout(secs(7)).keepalive(None));
    let start = raw.now;
    let legs = raw.pass_hearing(secs(60));
    assert_eq!(seconds(&legs, start), [1, 3, 7]);
    assert!(legs.iter().all(|leg| leg.kind() == Kind::State && leg.header().ack == THEIR_FIRST.prev()));
}

#[test]
fn data_of_ours_takes_the_place_of_the_third_leg() {
    let mut raw = Raw::dialled(config().keepalive(None));
    raw.write(b"text");
    let heard = raw.pass_hearing(secs(9));
    assert!(only(Kind::Data, &heard).len() > 1);
    assert_eq!(only(Kind::State, &heard), []);
}

#[test]
fn a_window_that_nothing_tested_for_long_is_not_believed_when_sending_begins_again() {
    let mut raw = Raw::dialled(config().pacing(false).keepalive(None));
    let grow = |raw: &mut Raw| {
        for _ in 0..6 {
            raw.write(&[0; 64 * FULL]);
            raw.hear();
            raw.pass(millis(20));
            raw.acknowledge_all();
            raw.hear();
            raw.acknowledge_all();
        }
        raw.conn.stats().cwnd
    };
    let grown = grow(&mut raw);
    raw.pass_hearing(secs(60));
    assert_eq!(raw.conn.stats().cwnd, grown, "nothing has to be sent");
    raw.write(b"text");
    raw.hear();
    let tested = raw.conn.stats().cwnd;
    assert!(tested < grown / 2, "{tested} of {grown}");
    raw.write(b"more");
    raw.hear();
    assert_eq!(raw.conn.stats().cwnd, tested, "one pause is held against it once");
    raw.acknowledge_all();

    let grown = grow(&mut raw);
    raw.write(b"sent, and unanswered for long");
    raw.hear();
    let sent = raw.now;
    raw.now = sent + secs(60);
    raw.write(b"more");
    raw.hear();
    assert_eq!(raw.conn.stats().cwnd, grown, "a timeout is about to say more than a pause would");
}

#[test]
fn a_short_pause_costs_no_window() {
    let mut raw = Raw::dialled(config().pacing(false).rto_min(secs(10)));
    raw.write(&[0; 20 * FULL]);
    raw.hear();
    raw.pass(millis(20));
    raw.acknowledge_all();
    raw.hear();
    raw.acknowledge_all();
    let grown = raw.conn.stats().cwnd;
    raw.pass_hearing(secs(9));
    raw.write(b"text");
    raw.hear();
    assert_eq!(raw.conn.stats().cwnd, grown);
}

#[test]
fn memory_that_nobody_needs_comes_back_whichever_direction_needed_it() {
    let mut reader = Raw::dialled(config());
    reader.say(Kind::Data, &[0; FULL]);
    assert!(reader.conn.memory() > 0);
    reader.hear();
    reader.read();
    reader.hear();
    let mut writer = Raw::dialled(config());
    writer.write(&[0; FULL]);
    writer.hear();
    writer.acknowledge_all();
    for mut raw in [reader, writer] {
        raw.hear();
        raw.pass_hearing(millis(900));
        assert!(raw.conn.memory() > 0, "not yet");
        raw.pass_hearing(millis(2000));
        assert_eq!(raw.conn.memory(), 0);
    }
}

#[test]
fn memory_stays_while_bytes_flow() {
    let mut raw = Raw::dialled(config());
    for round in 0..20 {
        raw.say(Kind::Data, &[0; FULL]);
        raw.hear();
        raw.read();
        raw.hear();
        raw.pass_hearing(millis(400));
        assert!(raw.conn.memory() > 0, "{round}");
    }
}

#[test]
fn a_window_that_stays_shut_is_probed_ever_more_rarely() {
    let mut raw = Raw::dialled(unlimited().keepalive(None));
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.write(&[0; 100]);
    raw.hear();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let before = raw.now;
        let probe = loop {
            let heard = raw.pass_hearing(millis(10));
            if let Some(probe) = heard.into_iter().find(|heard| heard.kind() == Kind::Data) {
                break probe;
            }
        };
        assert_eq!(probe.packet().payload.len(), 1);
        pauses.push(probe.at.since(before).as_millis());
        // It takes the byte and opens no further.
        raw.now = probe.at;
        raw.acknowledge_all();
        raw.hear();
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
}

#[test]
fn a_shut_window_whose_last_byte_arrived_is_not_probed() {
    let mut raw = Raw::dialled(unlimited().keepalive(None));
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.write(b"x");
    let heard = raw.pass_hearing(millis(510));
    assert_eq!(only(Kind::Data, &heard).len(), 1);
    raw.acknowledge_all();
    assert_eq!(raw.pass_hearing(secs(60)), []);
    assert_eq!(raw.conn.persist_tries, 1);
}

#[test]
fn a_window_too_small_for_a_packet_waits_for_its_probe() {
    let mut raw = Raw::dialled(unlimited());
    raw.window = 300;
    raw.say(Kind::State, b"");
    raw.write(&[0; 5000]);
    assert_eq!(raw.hear(), []);
    raw.window = 1 << 20;
    raw.pass(millis(1));
    raw.say(Kind::State, b"");
    assert_eq!(raw.hear().len(), 4);
}

#[test]
fn a_window_of_half_the_largest_is_used() {
    let mut raw = Raw::dialling(unlimited());
    raw.hear();
    raw.pass(millis(20));
    raw.window = 1000;
    raw.say(Kind::State, b"");
    raw.hear();
    raw.write(&[0; 5000]);
    assert_eq!(raw.hear()[0].packet().payload.len(), 1000);
    raw.pass(millis(20));
    raw.window = 499;
    raw.acknowledge_all();
    assert_eq!(raw.hear(), []);
    raw.pass(millis(20));
    raw.window = 500;
    raw.acknowledge_all();
    assert_eq!(raw.hear()[0].packet().payload.len(), 500);
}

#[test]
fn a_window_that_opens_has_the_refused_probe_sent_again_at_once() {
    let mut raw = Raw::dialled(unlimited().keepalive(None));
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.write(&[0; 100]);
    let probes = raw.pass_hearing(secs(60));
    let first = OUR_SYN.next();
    assert!(only(Kind::Data, &probes).iter().all(|probe| probe.seq == first));
    raw.window = 1 << 20;
    raw.say(Kind::State, b"");
    let heard = only(Kind::Data, &raw.hear());
    assert_eq!(heard.iter().map(|header| header.seq).collect::<Vec<_>>(), [first, first.next()]);
    let next = raw.conn.timers.retransmit.unwrap().since(raw.now);
    assert!(next <= secs(1), "the back-off is over: {next:?}");
}

#[test]
fn an_open_window_is_no_stall_however_long_an_answer_takes() {
    let mut raw = Raw::dialled(unlimited());
    raw.write(b"text");
    raw.hear();
    assert_eq!(raw.conn.stalled_since, None);
    raw.window = 0;
    raw.acknowledge_all();
    raw.write(b"text");
    raw.hear();
    assert_eq!(raw.conn.stalled_since, Some(raw.now));
}

#[test]
fn a_lone_packet_is_probed_for_only_after_its_answer_may_be_delayed() {
    let probe_after = |packets: usize| {
        let mut raw = Raw::dialled(unlimited().ack_delay(millis(70)));
        raw.write(&vec![0; packets * FULL]);
        assert_eq!(raw.hear().len(), packets);
        raw.conn.timers.probe.unwrap().since(raw.now)
    };
    assert_eq!(probe_after(1), probe_after(2) + millis(70));
    assert_eq!(probe_after(3), probe_after(2));
}
