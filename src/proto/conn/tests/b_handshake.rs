//! Row B: how a connection comes to be.

use super::*;

#[test]
fn b06_numbers_of_a_handshake_that_we_start() {
    let mut raw = Raw::dialling(config());
    let syn = raw.hear();
    assert_eq!(syn.len(), 1);
    let header = syn[0].header();
    assert_eq!((header.kind, header.conn_id, header.seq), (Kind::Syn, OUR_ID, OUR_SYN));
    assert_eq!((header.ack, header.delay), (SeqNr::new(0), Delay::NONE));
    raw.pass(Duration::from_millis(20));
    raw.say(Kind::State, b"");
    assert!(raw.conn.is_connected());
    assert_eq!(raw.conn.write(b"hello"), WriteOutcome::Written(5));
    let data = raw.hear().into_iter().find(|heard| heard.kind() == Kind::Data).unwrap();
    assert_eq!(data.header().seq, OUR_SYN.next());
    assert_eq!(data.header().ack, THEIR_FIRST.prev(), "a SYN-ACK does not use up its number");
    assert_eq!(data.header().conn_id, OUR_ID.next());
    raw.ack = OUR_SYN.next();
    raw.say(Kind::Data, b"first");
    assert_eq!(raw.read(), b"first");
}

#[test]
fn b06_numbers_of_a_handshake_that_we_answer() {
    let mut raw = Raw::dialled_by(config(), syn());
    let answer = raw.hear();
    assert_eq!(answer.len(), 1);
    let header = answer[0].header();
    assert_eq!((header.kind, header.conn_id, header.seq), (Kind::State, syn().id, OUR_SYN));
    assert_eq!(header.ack, syn().seq);
    assert!(header.delay.is_sample());
    raw.say(Kind::Data, b"first");
    assert!(raw.conn.is_connected());
    raw.write(b"reply");
    let data = only(Kind::Data, &raw.hear())[0];
    assert_eq!((data.conn_id, data.seq), (syn().id, OUR_SYN), "a SYN-ACK does not use up its number");
    assert_eq!(data.ack, syn().seq.next());
    assert_eq!(raw.read(), b"first");
}

#[test]
fn b07_ids_go_round_the_circle() {
    for (id, recv) in [(0xFFFF, 0), (0, 1), (0xFFFE, 0xFFFF)] {
        let syn = Syn { id: ConnId::new(id), ..syn() };
        let mut raw = Raw::dialled_by(config(), syn);
        assert_eq!(raw.conn.ids(), ConnIds { recv: ConnId::new(recv), send: ConnId::new(id) });
        raw.say(Kind::Data, b"in");
        raw.conn.write(b"out");
        let data = *only(Kind::Data, &raw.hear()).first().unwrap();
        assert_eq!(data.conn_id, ConnId::new(id));
        assert_eq!(raw.read(), b"in");
    }
}

impl Raw {
    fn say_syn(&mut self, syn: Syn) {
        let zero = SeqNr::new(0);
        let header = Header { conn_id: syn.id, seq: syn.seq, ack: zero, ..self.header(Kind::Syn) };
        self.say_with(header, Extensions::EMPTY, b"");
    }
}

#[test]
fn b08_a_duplicate_syn_gets_the_same_answer_at_any_time() {
    let mut raw = Raw::dialled_by(config(), syn());
    let answers = |heard: &[Heard]| only(Kind::State, heard).iter().map(numbers).collect::<Vec<_>>();
    let first = answers(&raw.hear());
    assert_eq!(first.len(), 1);
    raw.say_syn(syn());
    raw.say_syn(syn());
    assert_eq!(answers(&raw.hear()), first, "one for a batch of them");
    raw.say(Kind::Data, b"exchanged");
    raw.write(b"exchanged");
    raw.hear();
    raw.acknowledge_all();
    raw.say_syn(syn());
    assert_eq!(answers(&raw.hear()), first);
    assert_eq!(raw.read(), b"exchanged");
    raw.write(b"goes on");
    assert_eq!(raw.hear()[0].header().seq, OUR_SYN.next());
}

#[test]
fn b08_a_syn_with_another_number_or_after_the_end_changes_nothing() {
    let mut raw = Raw::accepted(config());
    let other = Syn { seq: syn().seq.next(), ..syn() };
    raw.say_syn(other);
    assert_eq!(raw.hear(), []);
    assert!(raw.conn.is_answer_to(&syn()) && !raw.conn.is_answer_to(&other));
    raw.conn.finish();
    raw.hear();
    raw.acknowledge_all();
    raw.say(Kind::Fin, b"");
    raw.hear();
    raw.say_syn(syn());
    assert_eq!(raw.hear(), []);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn b08_a_duplicate_syn_ack_means_nothing_once_connected() {
    let mut raw = Raw::dialled(config());
    let again = raw.header(Kind::State);
    raw.write(b"data");
    raw.hear();
    for _ in 0..5 {
        raw.say_with(again, Extensions::EMPTY, b"");
    }
    raw.acknowledge_all();
    raw.say_with(again, Extensions::EMPTY, b"");
    assert_eq!(raw.hear(), []);
    assert_eq!(raw.conn.stats().packets_retransmitted, 0);
    assert!(raw.conn.is_connected());
}

#[test]
fn b09_a_lost_syn_is_repeated_and_gives_no_round_trip() {
    let mut raw = Raw::dialling(config());
    assert_eq!(only(Kind::Syn, &raw.pass_hearing(millis(1500))).len(), 2);
    raw.say(Kind::State, b"");
    assert!(raw.conn.is_connected());
    assert_eq!(raw.conn.stats().rtt, None, "which of the two was answered?");
    assert_eq!(raw.conn.poll_timeout().map(|at| at.since(raw.now)), Some(secs(1)), "no more SYNs");
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.pass(millis(20));
    raw.say(Kind::State, b"");
    assert_eq!(raw.conn.stats().rtt, Some(millis(20)));
}

#[test]
fn b09_lost_answers_to_the_syn_only_cost_time() {
    let mut pair = Pair::new(config());
    pair.link = Box::new(|side, n, _| if side == 1 && n < 2 { vec![] } else { vec![ONE_WAY] });
    pair.transfer([5000, 5000], secs(10));
}

#[test]
fn b09_data_that_overtakes_the_answer_is_not_lost() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    let syn_ack = raw.header(Kind::State);
    raw.pass(millis(20));
    let first = raw.header(Kind::Data);
    raw.say(Kind::Data, b"first ");
    let second = raw.header(Kind::Data);
    raw.say(Kind::Data, b"second");
    assert_eq!((raw.conn.is_connected(), raw.hear()), (false, vec![]));
    raw.say_with(syn_ack, Extensions::EMPTY, b"");
    assert_eq!(raw.hear()[0].header().ack, first.seq.prev());
    raw.say_with(second, Extensions::EMPTY, b"second");
    raw.say_with(first, Extensions::EMPTY, b"first ");
    assert_eq!(raw.read(), b"first second");
}

#[test]
fn b09_a_lost_third_leg_is_repeated_until_there_is_data() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.say(Kind::State, b"");
    let start = raw.now;
    let legs: Vec<_> = raw.pass_hearing(secs(14)).iter().map(|leg| leg.at.since(start).as_secs()).collect();
    assert_eq!(legs, [0, 1, 3, 7]);
    let mut raw = Raw::dialled(config().connect_timeout(secs(60)).keepalive(None));
    assert_eq!(raw.pass_hearing(secs(100)).len(), 5, "after 1, 3, 7, 15 and 31 seconds");
    for heard in [true, false] {
        let mut raw = Raw::dialled(config());
        if heard {
            raw.say(Kind::Data, b"I know you");
        } else {
            raw.write(b"my first packet is proof");
        }
        raw.hear();
        raw.acknowledge_all();
        assert_eq!(raw.pass_hearing(secs(14)).len(), 0);
    }
}

/// All repeats lost, nothing to say: what keeps the way open must prove the address too, or the acceptor gives up.
#[test]
fn b09_a_keepalive_is_proof_as_long_as_there_is_no_other() {
    let mut raw = Raw::dialled(config());
    raw.pass_hearing(secs(10));
    let keepalives: Vec<_> = raw.pass_hearing(secs(50)).iter().map(|heard| heard.header().ack).collect();
    assert_eq!(keepalives, [THEIR_FIRST.prev(); 3]);
    raw.say(Kind::Data, b"I know you");
    raw.pass_hearing(secs(1));
    let after: Vec<_> = raw.pass_hearing(secs(20)).iter().map(|heard| heard.header().ack).collect();
    assert_eq!(after, [THEIR_FIRST.prev()], "one less than what was received");
}

#[test]
fn b09_a_server_that_speaks_first_outlives_a_lost_third_leg() {
    let mut pair = Pair::new(config());
    pair.link = Box::new(|side, n, _| if side == 0 && n == 1 { vec![] } else { vec![ONE_WAY] });
    pair.outgoing[1] = b"welcome".to_vec();
    assert!(pair.run(secs(5), |pair| pair.incoming[0] == b"welcome"));
}

#[test]
fn b11_an_unproved_address_receives_no_more_than_was_sent_from_it() {
    for abort_first in [true, false] {
        let mut raw = Raw::dialled_by(config(), syn());
        raw.write(&[0; 5000]);
        raw.conn.finish();
        let mut heard = vec![];
        if !abort_first {
            heard.extend(raw.hear());
        }
        raw.conn.abort();
        heard.extend(raw.pass_hearing(secs(20)));
        assert_eq!(heard.iter().map(|heard| heard.bytes.len()).sum::<usize>(), HEADER_LEN);
        assert_eq!(heard[0].kind() == Kind::Reset, abort_first);
        assert!(raw.conn.is_drained());
    }
}

#[test]
fn b10_a_window_of_nothing_in_a_syn_means_nothing() {
    let mut raw = Raw::dialled_by(unlimited(), Syn { window: 0, ..syn() });
    raw.hear();
    raw.write(&[0; 10 * FULL]);
    let proof = Header { window: 1 << 20, ..raw.header(Kind::State) };
    raw.say_with(proof, Extensions::EMPTY, b"");
    assert_eq!(raw.hear().len(), 10);
}

#[test]
fn b10_the_window_of_a_syn_is_kept_to() {
    let mut raw = Raw::dialled_by(unlimited(), Syn { window: 3000, ..syn() });
    raw.hear();
    raw.window = 3000;
    raw.write(&[0; 10 * FULL]);
    raw.say(Kind::Data, b"proof");
    assert_eq!(only(Kind::Data, &raw.hear()).len(), 2);
}

#[test]
fn b10_a_syn_with_the_last_number_is_followed_by_number_zero() {
    let mut raw = Raw::dialled_by(config(), Syn { seq: SeqNr::new(0xFFFF), ..syn() });
    assert_eq!(raw.hear()[0].header().ack, SeqNr::new(0xFFFF));
    assert_eq!(raw.seq, SeqNr::new(0));
    raw.say(Kind::Data, b"zero");
    assert_eq!(raw.read(), b"zero");
    assert_eq!(raw.hear()[0].header().ack, SeqNr::new(0));
}

#[test]
fn b11_data_waits_until_the_initiator_has_proved_its_address() {
    let mut raw = Raw::dialled_by(config(), syn());
    raw.write(b"secret");
    raw.hear();
    let right = raw.header(Kind::State);
    let forged = [
        Header { ack: OUR_SYN, ..right },
        Header { ack: OUR_SYN - 2, ..right },
        Header { ack: SeqNr::new(0), ..right },
        Header { conn_id: syn().id, ..right },
        Header { seq: right.seq + 32_100, ..right },
        Header { kind: Kind::Data, ack: OUR_SYN, ..right },
        Header { kind: Kind::Fin, ack: OUR_SYN, ..right },
        Header { kind: Kind::Reset, ack: OUR_SYN + 1, ..right },
    ];
    for header in forged {
        raw.unmoved_by(header, Extensions::EMPTY);
        assert_eq!((raw.hear(), raw.conn.is_confirmed()), (vec![], false));
    }
    raw.say_with(right, Extensions::EMPTY, b"");
    assert_eq!(raw.hear()[0].packet().payload, b"secret");
}

#[test]
fn b11_an_initiator_that_never_proves_its_address_is_forgotten_in_silence() {
    let mut raw = Raw::dialled_by(config(), syn());
    raw.write(b"secret");
    assert_eq!(raw.pass_hearing(millis(9_999)).len(), 1);
    assert_eq!(raw.conn.close_reason(), None);
    assert_eq!(raw.pass_hearing(millis(2)), []);
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Unconfirmed));
    assert!(raw.conn.is_drained());
}

#[test]
fn b12_syns_without_an_answer_back_off_and_end() {
    let mut raw = Raw::dialling(config());
    let start = raw.now;
    let syns = raw.pass_hearing(secs(60));
    let times: Vec<_> = syns.iter().map(|heard| heard.at.since(start).as_secs()).collect();
    assert_eq!(times, [0, 1, 3, 7]);
    assert!(syns.iter().all(|heard| numbers(&heard.header()) == numbers(&syns[0].header())));
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::TimedOut));
    assert!(raw.conn.is_drained() && raw.conn.take_events().intersects(Events::CONNECTED));
}

#[test]
fn b12_a_syn_is_refused_by_a_reset_that_names_it_on_either_id() {
    for id in [OUR_ID, OUR_ID.next()] {
        let mut raw = Raw::dialling(config());
        raw.hear();
        let reset = Header { conn_id: id, seq: SeqNr::new(4711), ack: OUR_SYN, ..raw.header(Kind::Reset) };
        for header in [
            Header { ack: OUR_SYN.next(), ..reset },
            Header { ack: OUR_SYN.prev(), ..reset },
            Header { conn_id: OUR_ID.prev(), ..reset },
        ] {
            raw.unmoved_by(header, Extensions::EMPTY);
        }
        raw.say_with(reset, Extensions::EMPTY, b"");
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Refused));
        assert_eq!((raw.hear(), raw.conn.is_drained()), (vec![], true));
    }
}

#[test]
fn b12_only_a_state_that_names_the_syn_completes_the_handshake() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    let right = raw.header(Kind::State);
    for header in [
        Header { ack: OUR_SYN.next(), ..right },
        Header { ack: OUR_SYN.prev(), ..right },
        Header { conn_id: OUR_ID.next(), ..right },
        Header { kind: Kind::Data, ..right },
        Header { kind: Kind::Fin, ..right },
    ] {
        raw.unmoved_by(header, Extensions::EMPTY);
    }
    raw.say_with(right, Extensions::EMPTY, b"");
    assert!(raw.conn.is_connected());
}

#[test]
fn b12_an_unreachable_peer_ends_the_attempt_at_once() {
    let mut raw = Raw::dialling(config());
    raw.hear();
    raw.conn.fail(CloseReason::Unreachable);
    assert_eq!((raw.hear(), raw.conn.poll_timeout()), (vec![], None));
    assert_eq!(raw.conn.write(b"late"), WriteOutcome::Closed(CloseReason::Unreachable));
}

#[test]
fn b13_only_the_answered_syn_is_recognised() {
    let raw = Raw::accepted(config());
    assert!(raw.conn.is_answer_to(&syn()));
    assert!(!raw.conn.is_answer_to(&Syn { id: syn().id.next(), ..syn() }));
    assert!(!raw.conn.is_answer_to(&Syn { seq: syn().seq.prev(), ..syn() }));
    let ours = Raw::dialled(config());
    assert!(!ours.conn.is_answer_to(&Syn { id: OUR_ID.next(), seq: OUR_SYN, ..syn() }));
}

#[test]
fn b14_first_data_must_acknowledge_what_came_before_the_syn_ack() {
    let mut raw = Raw::dialled_by(config(), syn());
    raw.hear();
    let right = raw.header(Kind::Data);
    raw.say_with(Header { ack: OUR_SYN, ..right }, Extensions::EMPTY, b"wrong");
    assert_eq!((raw.read(), raw.conn.is_confirmed()), (vec![], false));
    raw.say_with(right, Extensions::EMPTY, b"right");
    assert_eq!((raw.read(), raw.conn.is_confirmed()), (b"right".to_vec(), true));
}

#[test]
fn b11_the_proof_tells_the_acceptor_the_round_trip() {
    let mut raw = Raw::dialled_by(config(), syn());
    raw.hear();
    raw.pass(millis(200));
    // The peer's clock is an hour ahead of ours.
    let ahead = 3_600_000_000;
    let sent_at = Timestamp::new(raw.now.stamp().get().wrapping_add(ahead).wrapping_sub(30_000));
    let proof = Header { sent_at, delay: Delay::new(ahead + 50_000), ..raw.header(Kind::State) };
    raw.say_with(proof, Extensions::EMPTY, b"");
    assert_eq!(raw.conn.stats().rtt, Some(millis(80)), "and not what the initiator waited");
    for nonsense in [Delay::NONE, Delay::new(ahead + 500_000)] {
        let mut raw = Raw::dialled_by(config(), syn());
        raw.hear();
        raw.pass(millis(200));
        raw.say_with(Header { delay: nonsense, ..proof }, Extensions::EMPTY, b"");
        assert_eq!((raw.conn.stats().rtt, raw.conn.is_confirmed()), (None, true));
    }
}
