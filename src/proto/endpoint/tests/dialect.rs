//! The dialect of utp-punch: two endpoints that speak it, and hand-made packets as the package writes them.

use super::*;
use crate::proto::endpoint::{Dial, HoleHandle};
use crate::proto::message::{ChannelConfig, MessageConfig, Mode};
use crate::proto::punch::{PunchError, PunchReport};
use crate::wire::Dialect;

pub(super) fn dialect() -> Config {
    Config::default().dialect(Dialect::UtpPunch)
}

/// What is on the wire, without translation.
pub(super) fn raw(datagram: &[u8]) -> Header {
    Packet::decode(datagram).unwrap().header
}

/// A side of our own that called somebody, who answers with `seq` as the number of his first packet.
pub(super) fn called(side: &mut Side, id: u16, seq: u16) -> (Handle, Header) {
    let handle = side.lease.connect(stranger(1), Some(ConnId::new(id)));
    let syn = raw(&side.turn(Instant::ZERO)[0].1);
    side.hears(Instant::ZERO, stranger(1), header(Kind::State, id + 1, seq, syn.seq.get()));
    (handle, syn)
}

#[test]
fn who_calls_sends_even_ids_and_who_is_called_odd_ones() {
    let mut pair = Pair::new(dialect());
    let ours = pair.a.lease.connect(pair.b.addr, None);
    let mut ids = [Vec::new(), Vec::new()];
    let mut theirs = None;
    for round in 0..60 {
        pair.step();
        for (way, seen) in ids.iter_mut().enumerate() {
            let datagrams = pair.under_way[way].iter().map(|(_, datagram)| datagram);
            seen.extend(datagrams.map(|datagram| (raw(datagram).conn_id.get(), datagram[1])));
        }
        theirs = theirs.or_else(|| pair.b.incoming().map(Incoming::accept));
        if round == 20 {
            assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
            assert_eq!(theirs.as_ref().unwrap().try_write(b"world"), Poll::Ready(Ok(5)));
        }
    }
    let [from_b, from_a] = ids;
    let even = from_a[0].0;
    assert!(even % 2 == 0 && from_a.len() >= 3 && from_b.len() >= 2, "{from_a:?} {from_b:?}");
    assert!(from_a.iter().all(|&seen| seen == (even, 0)), "one id, no extension: {from_a:?}");
    assert!(from_b.iter().all(|&seen| seen == (even + 1, 0)), "{from_b:?}");
    assert_eq!(read_some(&ours).unwrap(), b"world");
    assert_eq!(read_some(&theirs.unwrap()).unwrap(), b"hello");
}

#[test]
fn two_that_call_each_other_with_the_same_id_have_two_connections() {
    let mut pair = Pair::new(dialect());
    pair.a.lease.set_listening(true);
    let id = Some(ConnId::new(0xFFFE));
    let (from_a, from_b) = (pair.a.lease.connect(pair.b.addr, id), pair.b.lease.connect(pair.a.addr, id));
    pair.settle();
    let (at_b, at_a) = (pair.b.incoming().unwrap().accept(), pair.a.incoming().unwrap().accept());
    pair.settle();
    for (text, from, to) in [(b"one", &from_a, &at_b), (b"two", &from_b, &at_a)] {
        assert_eq!(from.try_write(text), Poll::Ready(Ok(3)));
        pair.settle();
        assert_eq!(read_some(to).unwrap(), text);
        assert_eq!(to.try_write(text), Poll::Ready(Ok(3)));
        pair.settle();
        assert_eq!(read_some(from).unwrap(), text);
    }
}

#[test]
fn a_packet_for_nobody_is_answered_on_the_id_that_its_sender_receives_on() {
    let mut side = Side::new(1, dialect());
    for (id, answer) in [(100, 101), (101, 100), (0xFFFE, 0xFFFF), (0xFFFF, 0xFFFE), (0, 1)] {
        let answers = side.hears(Instant::ZERO, stranger(1), header(Kind::Data, id, 65_535, 3));
        assert_eq!((answers[0].kind, answers[0].conn_id.get()), (Kind::Reset, answer), "{id}");
        assert!(side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, id, 1, 1)).is_empty());
    }
    let refused = side.hears(Instant::ZERO, stranger(1), syn(100, 65_535));
    assert_eq!((refused[0].kind, refused[0].conn_id.get()), (Kind::Reset, 101), "nobody listens");
}

#[test]
fn calling_somebody_who_does_not_listen_is_refused_at_once() {
    let mut pair = Pair::new(dialect());
    pair.b.lease.set_listening(false);
    let handle = pair.a.lease.connect(pair.b.addr, None);
    pair.settle();
    assert_eq!(handle.poll_connected(&mut cx()), Poll::Ready(Err(CloseReason::Refused)));
    // As the package says it: with no numbers at all.
    let mut side = Side::new(1, dialect());
    let handle = side.lease.connect(stranger(1), Some(ConnId::new(100)));
    side.turn(Instant::ZERO);
    side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 101, 0, 0));
    assert_eq!(handle.close_reason(), Some(CloseReason::Refused));
}

#[test]
fn what_it_cannot_say_in_this_dialect_it_does_not_promise() {
    let mut pair = Pair::new(dialect());
    let (ours, theirs) = pair.connect();
    assert!(!ours.peer_is_ebbtide() && !theirs.peer_is_ebbtide());
    let dial = Dial { service: Some("files".parse().unwrap()), ..Dial::default() };
    let service = pair.a.lease.dial(pair.b.addr, dial);
    let channels = MessageConfig::new([ChannelConfig::new(Mode::Unreliable)]);
    let messages = pair.a.lease.dial_messages(pair.b.addr, Dial::default(), &channels);
    pair.settle();
    assert_eq!(service.close_reason(), Some(CloseReason::NoService));
    assert_eq!(messages.close_reason(), Some(CloseReason::NoMessages));
    assert!(pair.b.incoming().is_none(), "nobody was called");
    let odd = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(7)));
    pair.settle();
    assert_eq!(odd.close_reason(), Some(CloseReason::IdInUse));
}

#[test]
fn a_stream_begins_where_the_first_data_did_if_the_answer_to_the_syn_was_lost() {
    let mut side = Side::new(1, dialect());
    let handle = side.lease.connect(stranger(1), Some(ConnId::new(100)));
    let syn = raw(&side.turn(Instant::ZERO)[0].1).seq.get();
    let says = |kind, seq, text: &[u8]| bytes(header(kind, 101, seq, syn), text);
    // The second overtook the first; then the repeated SYN is answered by the number after both.
    for (seq, text) in [(0, b"DE"), (65_535, b"BC")] {
        side.receive(Instant::ZERO, stranger(1), &says(Kind::Data, seq, text));
    }
    side.receive(Instant::ZERO, stranger(1), &says(Kind::State, 1, b""));
    for (seq, text) in [(0, b"DE"), (1, b"FG"), (65_535, b"BC")] {
        side.receive(Instant::ZERO, stranger(1), &says(Kind::Data, seq, text));
    }
    side.turn(Instant::ZERO);
    assert_eq!(read_some(&handle).unwrap(), b"BCDEFG");
}

#[test]
fn data_from_before_the_beginning_moves_the_beginning_or_ends_the_connection_and_is_never_left_out() {
    for (after, expected) in [(false, Some(&b"ABCD"[..])), (true, None)] {
        let mut side = Side::new(1, dialect());
        let (handle, syn) = called(&mut side, 100, 1);
        let says = |seq, text: &[u8]| bytes(header(Kind::Data, 101, seq, syn.seq.get()), text);
        let order = if after { [(1, b"CD"), (0, b"AB")] } else { [(0, b"AB"), (1, b"CD")] };
        for (seq, text) in order {
            side.receive(Instant::ZERO, stranger(1), &says(seq, text));
        }
        side.turn(Instant::ZERO);
        match expected {
            Some(text) => assert_eq!(read_some(&handle).unwrap(), text),
            None => assert_eq!(handle.close_reason(), Some(CloseReason::Misbehaved)),
        }
    }
}

#[test]
fn what_is_sent_again_with_an_acknowledgement_of_long_ago_is_taken() {
    let mut side = Side::new(1, dialect());
    let (handle, syn) = called(&mut side, 100, 65_535);
    let mut ack = syn.seq;
    for _ in 0..3_000 {
        assert_eq!(handle.try_write(b"x"), Poll::Ready(Ok(1)));
        side.turn(Instant::ZERO);
        ack = ack.next();
        side.hears(Instant::ZERO, stranger(1), header(Kind::State, 101, 65_535, ack.get()));
    }
    assert_eq!(handle.stats().bytes_acked, 3_000);
    let old = bytes(header(Kind::Data, 101, 65_535, syn.seq.get()), b"late");
    side.receive(Instant::ZERO, stranger(1), &old);
    side.turn(Instant::ZERO);
    assert_eq!(read_some(&handle).unwrap(), b"late");
}

#[test]
fn the_end_is_acknowledged_in_two_steps_of_which_none_is_64() {
    let mut side = Side::new(1, dialect());
    let (_handle, syn) = called(&mut side, 100, 65_500);
    // 63 packets and the end come at once, as they may.
    for seq in 0..63 {
        let data = header(Kind::Data, 101, 65_500_u16.wrapping_add(seq), syn.seq.get());
        side.receive(Instant::ZERO, stranger(1), &bytes(data, b"x"));
    }
    let fin = 65_500_u16.wrapping_add(63);
    let answers = side.hears(Instant::ZERO, stranger(1), header(Kind::Fin, 101, fin, syn.seq.get()));
    let acks: Vec<_> = answers.iter().map(|answer| (answer.kind, answer.ack.get())).collect();
    assert_eq!(acks, [(Kind::State, fin - 1), (Kind::State, fin)]);
}

#[test]
fn no_more_is_in_flight_than_the_peer_holds_and_no_number_is_64_ahead() {
    let mut side = Side::new(1, dialect().packets_in_flight(950).pacing(false).verify_acks(false));
    let (handle, syn) = called(&mut side, 100, 1);
    assert_eq!(handle.try_write(&[7; 500_000]), Poll::Ready(Ok(500_000)));
    let (mut now, mut acked, mut sent, mut most) = (Instant::ZERO, 0u16, 0u16, 0);
    for _ in 0..300 {
        for (_, datagram) in side.turn(now) {
            let packet = Packet::decode(&datagram).unwrap();
            let number = u16::try_from(packet.header.seq.distance_from(syn.seq)).unwrap();
            assert!(packet.payload.len() <= 1000);
            most = most.max(number - acked);
            if packet.header.kind == Kind::Data {
                sent = sent.max(number);
            }
        }
        now = now + millis(20);
        // Half of what is out arrives, so that the window grows.
        acked += (sent - acked).div_ceil(2);
        let ack = (syn.seq + acked).get();
        side.receive(now, stranger(1), &bytes(header(Kind::State, 101, 1, ack), b""));
    }
    assert_eq!((acked, (60..64).contains(&most)), (500, true), "{most}");
}

#[test]
fn a_client_that_only_listens_is_believed_when_its_keepalive_comes() {
    let mut side = Side::listening(1, dialect());
    side.hears(Instant::ZERO, stranger(1), syn(100, 9));
    let handle = side.incoming().unwrap().accept();
    let answer = raw(&side.turn(Instant::ZERO)[0].1);
    assert_eq!(handle.try_write(b"welcome"), Poll::Ready(Ok(7)));
    assert!(side.turn(Instant::ZERO).is_empty(), "the address may be forged");
    let keepalive = header(Kind::State, 100, 10, answer.seq.prev().get());
    let heard = side.hears(Instant::ZERO + secs(2), stranger(1), keepalive);
    assert_eq!((heard[0].kind, heard[0].conn_id.get()), (Kind::Data, 101));
}

#[test]
fn nothing_is_silent_for_five_seconds() {
    let mut pair = Pair::new(dialect().keepalive(Some(secs(3600))));
    let _streams = pair.connect();
    let (mut last, mut longest) = (pair.now, Duration::ZERO);
    let end = pair.now + secs(30);
    while pair.now < end {
        pair.pass(millis(100));
        if pair.a.endpoint.stats().dropped.unknown_connection == 0 && !pair.under_way[1].is_empty() {
            longest = longest.max(pair.now.since(last));
            last = pair.now;
        }
    }
    assert!(longest <= millis(2_500), "{longest:?}");
}

#[test]
fn gaps_are_not_reported() {
    let mut side = Side::new(1, dialect());
    let (_handle, syn) = called(&mut side, 100, 1);
    let early = bytes(header(Kind::Data, 101, 3, syn.seq.get()), b"early");
    side.receive(Instant::ZERO, stranger(1), &early);
    for (_, datagram) in side.turn(Instant::ZERO) {
        assert_eq!((datagram[1], datagram.len()), (0, 20));
    }
}

/// The words that leave.
fn words(sent: &[Datagram]) -> Vec<&[u8]> {
    sent.iter().map(|(_, datagram)| datagram.as_slice()).collect()
}

fn outcome(handle: &mut HoleHandle) -> Option<Result<PunchReport, PunchError>> {
    match handle.poll(&mut cx()) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[test]
fn two_that_punch_come_to_the_same_result_in_a_round_trip() {
    let mut pair = Pair::new(dialect());
    let mut ours = pair.a.lease.punch_hole(pair.b.addr, 10);
    let mut theirs = pair.b.lease.punch_hole(pair.a.addr, 10);
    pair.settle();
    for handle in [&mut ours, &mut theirs] {
        let report = outcome(handle).unwrap().unwrap();
        assert!(report.elapsed <= millis(2) && report.probes_sent == 1, "{report:?}");
    }
    pair.pass(secs(60));
    assert_eq!(pair.a.endpoint.poll_timeout(), None, "nothing is left of it");
}

#[test]
fn words_of_others_and_in_another_dialect_are_foreign_datagrams() {
    let mut side = Side::new(1, dialect());
    let mut handle = side.lease.punch_hole(stranger(1), 2);
    assert_eq!(words(&side.turn(Instant::ZERO)), [b"PUNCH"]);
    for word in [&b"PUNCH"[..], b"PUNCHED"] {
        side.receive(Instant::ZERO, stranger(2), word);
        side.receive(Instant::ZERO, SocketAddr::new(stranger(1).ip(), 9), word);
    }
    assert!(side.turn(Instant::ZERO).is_empty());
    assert_eq!(side.dropped().foreign, 4);
    let end = Instant::ZERO + secs(1);
    side.turn(Instant::ZERO + millis(500));
    side.turn(end);
    assert!(matches!(outcome(&mut handle), Some(Err(PunchError::Timeout(_)))));

    let mut other = Side::new(1, Config::default());
    let mut handle = other.lease.punch_hole(stranger(1), 2);
    assert!(matches!(outcome(&mut handle), Some(Err(PunchError::OtherDialect(_)))));
    assert!(other.turn(Instant::ZERO).is_empty());
}

#[test]
fn a_punch_that_nobody_waits_for_is_silent_and_an_endpoint_that_closes_says_so() {
    let mut side = Side::new(1, dialect());
    drop(side.lease.punch_hole(stranger(1), 5));
    side.turn(Instant::ZERO);
    assert!(side.turn(Instant::ZERO + secs(1)).is_empty());
    let mut handle = side.lease.punch_hole(stranger(1), 5);
    side.turn(Instant::ZERO + secs(1));
    side.lease.close();
    side.turn(Instant::ZERO + secs(1));
    assert!(matches!(outcome(&mut handle), Some(Err(PunchError::Cancelled(_)))));
    let mut late = side.lease.punch_hole(stranger(1), 5);
    assert!(matches!(outcome(&mut late), Some(Err(PunchError::Cancelled(_)))));
}

#[test]
fn holes_are_counted() {
    let mut side = Side::new(1, dialect());
    let mut handles: Vec<_> = (0..65).map(|host| side.lease.punch_hole(stranger(host), 5)).collect();
    side.turn(Instant::ZERO);
    let last = handles.last_mut().unwrap();
    assert!(matches!(outcome(last), Some(Err(PunchError::TooMany(_)))));
    assert!(outcome(&mut handles[0]).is_none());
}
