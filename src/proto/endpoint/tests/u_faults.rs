//! The faults of utp-punch 1.0.1, by the numbers under which they were found, and that ours has none of them: in its own
//! dialect, and in BEP 29 beside it. Those that take a network are in `tests/sim_dialect.rs`.

use super::dialect::{called, dialect, raw};
use super::*;
use crate::wire::{ExtensionsBuf, StunBuf, StunId};

/// A node of utp-punch that has no connections: whatever has the length of a header, a RESET included, is answered by a
/// RESET to the other id of the pair, with the numbers 0 and 0.
fn storm(datagram: &[u8]) -> Vec<u8> {
    let id = u16::from_be_bytes([datagram[2], datagram[3]]) ^ 1;
    bytes(header(Kind::Reset, id, 0, 0), b"")
}

/// Lets a side and such a node talk until both are silent, or for an hour; returns how many datagrams the side sent.
fn beside_a_storm(side: &mut Side, mut now: Instant) -> usize {
    let (mut sent, end) = (0, now + secs(3600));
    while now < end {
        let datagrams = side.turn(now);
        sent += datagrams.len();
        for (to, datagram) in &datagrams {
            side.receive(now, *to, &storm(datagram));
        }
        if datagrams.is_empty() {
            match side.endpoint.poll_timeout() {
                Some(at) => now = at.max(now + millis(1)),
                None => return sent,
            }
        }
    }
    sent
}

#[test]
fn u01_after_hello_and_close_there_is_silence() {
    for config in [Config::default(), dialect()] {
        let mut pair = Pair::new(config);
        let (ours, theirs) = pair.connect();
        assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
        pair.settle();
        assert_eq!(read_some(&theirs).unwrap(), b"hello");
        for handle in [&ours, &theirs] {
            assert_eq!(handle.poll_finish(&mut cx()), Poll::Ready(Ok(())));
        }
        pair.settle();
        drop((ours, theirs));
        let mut after = 0;
        let end = pair.now + secs(600);
        while pair.now < end {
            pair.pass(secs(1));
            after += pair.under_way.iter().map(Vec::len).sum::<usize>();
        }
        assert!(after <= 4, "{after} packets after the end");
        pair.a.assert_empty();
        pair.b.assert_empty();
    }
}

#[test]
fn u01_a_peer_that_answers_everything_by_a_reset_does_not_keep_us_busy() {
    for config in [Config::default(), dialect()] {
        let in_dialect = config.dialect == crate::wire::Dialect::UtpPunch;
        // A call to it, which gives up in the end.
        let mut side = Side::new(1, config.clone());
        let _handle = side.lease.connect(stranger(1), None);
        let calls = beside_a_storm(&mut side, Instant::ZERO);
        assert!(calls <= 5, "{calls}");
        // A stream of which it has forgotten its end.
        let mut side = Side::new(1, config);
        let id = if in_dialect { 101 } else { 100 };
        let handle = side.lease.connect(stranger(1), Some(ConnId::new(100)));
        let syn = raw(&side.turn(Instant::ZERO)[0].1);
        side.hears(Instant::ZERO, stranger(1), header(Kind::State, id, 1, syn.seq.get()));
        assert_eq!(handle.try_write(&[7; 20_000]), Poll::Ready(Ok(20_000)));
        drop(handle);
        let sent = beside_a_storm(&mut side, Instant::ZERO);
        assert!(sent <= 150, "{sent}");
        side.assert_empty();
    }
}

#[test]
fn u02_one_stray_between_two_idle_endpoints_costs_one_answer() {
    for config in [Config::default(), dialect()] {
        for kind in [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn] {
            let mut pair = Pair::new(config.clone());
            pair.b.lease.set_listening(false);
            let stray = bytes(header(kind, 0x04d2, 65_535, 7), b"");
            pair.under_way[0].push((pair.a.addr, stray));
            let mut packets = 0;
            while pair.step() {
                packets += pair.under_way.iter().map(Vec::len).sum::<usize>();
                assert!(packets <= 1, "{kind}");
            }
            assert_eq!(packets, usize::from(kind != Kind::Reset), "{kind}");
        }
        // And beside a node that has the fault.
        let mut side = Side::new(1, config);
        side.receive(Instant::ZERO, stranger(1), &bytes(header(Kind::State, 0x04d2, 1, 1), b""));
        assert_eq!(beside_a_storm(&mut side, Instant::ZERO), 1);
    }
}

#[test]
fn u04_what_is_for_others_on_the_port_is_not_answered_by_a_reset() {
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let question = StunBuf::request(StunId([9; 12]));
    for config in [Config::default(), dialect()] {
        let mut side = Side::listening(1, config);
        for other in [&ping[..], question.bytes(), &[0xFF; 1200]] {
            side.receive(Instant::ZERO, stranger(1), other);
            assert!(side.turn(Instant::ZERO).is_empty(), "{other:?}");
        }
        assert_eq!(side.endpoint.stats().resets_sent, 0);
    }
}

#[test]
fn u05_a_syn_with_the_id_after_ours_while_we_call_changes_nothing() {
    for config in [Config::default(), dialect()] {
        let mut pair = Pair::new(config);
        let ours = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(100)));
        pair.a.turn(pair.now);
        for id in [99, 100, 101, 102, 0xFFFF] {
            pair.a.receive(pair.now, pair.b.addr, &bytes(syn(id, 1), b""));
        }
        pair.pass(secs(2));
        let theirs = pair.b.incoming().unwrap().accept();
        pair.settle();
        assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())));
        drop(theirs);
    }
}

#[test]
fn u06_there_is_no_id_behind_the_last_one() {
    for config in [Config::default(), dialect()] {
        let mut pair = Pair::new(config);
        for id in [0xFFFE, 0] {
            let ours = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(id)));
            pair.settle();
            let theirs = pair.b.incoming().unwrap().accept();
            pair.settle();
            assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())), "{id}");
            assert_eq!(theirs.conn_ids().send, ConnId::new(id));
        }
    }
    // More calls than there are ids: each gets one of its own, or an error.
    let mut side = Side::new(1, dialect().max_connections(40_000));
    let handles: Vec<_> = (0..17_000).map(|_| side.lease.connect(stranger(1), None)).collect();
    side.turn(Instant::ZERO);
    let refused = handles.iter().filter(|handle| handle.close_reason().is_some()).count();
    let mut ids: Vec<_> = handles.iter().filter(|handle| handle.close_reason().is_none()).collect::<Vec<_>>();
    ids.sort_by_key(|handle| handle.conn_ids().recv.get());
    ids.dedup_by_key(|handle| handle.conn_ids().recv.get());
    assert_eq!((ids.len() + refused, refused < 4_000), (17_000, true), "{refused}");
    assert!(ids.iter().all(|handle| handle.conn_ids().recv.get() % 2 == 0));
}

#[test]
fn u07_a_peer_that_ignores_the_window_does_not_fill_our_memory() {
    const WINDOW: usize = 64 << 10;
    let config = dialect().receive_buffer(WINDOW).receive_buffer_max(WINDOW);
    let mut side = Side::new(1, config);
    let (handle, syn) = called(&mut side, 100, 1);
    let mut most = 0;
    for round in 0..2_000u16 {
        // It goes on behind what was acknowledged last, as the package does, and nobody reads.
        let next = 1 + handle.stats().bytes_received / 1000;
        for ahead in 0..63 {
            let seq = u16::try_from(next).unwrap() + ahead;
            let data = header(Kind::Data, 101, seq, syn.seq.get());
            side.receive(
                Instant::from_micros(u64::from(round) * 1000),
                stranger(1),
                &bytes(data, &[7; 1000]),
            );
        }
        side.turn(Instant::from_micros(u64::from(round) * 1000));
        most = most.max(side.endpoint.memory());
    }
    eprintln!("u07 126 MB were sent, {most} bytes held at most, window {WINDOW}");
    assert!(most <= 4 * WINDOW, "{most}");
    assert!(handle.stats().packets_refused > 100_000 && handle.close_reason().is_none());
}

#[test]
fn u08_a_stream_that_lost_its_end_says_so() {
    for (reset, reason) in [(false, CloseReason::Idle), (true, CloseReason::Reset)] {
        let mut side = Side::new(1, dialect().idle_timeout(Some(secs(30))));
        let (handle, syn) = called(&mut side, 100, 1);
        side.receive(Instant::ZERO, stranger(1), &bytes(header(Kind::Data, 101, 1, syn.seq.get()), b"half"));
        // The end is there, and what comes before it is not.
        side.hears(Instant::ZERO, stranger(1), header(Kind::Fin, 101, 3, syn.seq.get()));
        assert_eq!(read_some(&handle).unwrap(), b"half");
        assert_eq!(read_some(&handle), None, "no end yet");
        if reset {
            side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 101, 4, syn.seq.get()));
        }
        let mut now = Instant::ZERO;
        while let Some(at) = side.endpoint.poll_timeout() {
            now = at.max(now);
            side.turn(now);
        }
        let mut out = [0; 10];
        assert_eq!(handle.try_read(&mut out), Poll::Ready(Err(reason)));
    }
}

#[test]
fn u09_a_dead_peer_is_left_alone_after_a_while() {
    let mut side = Side::new(1, dialect());
    let (handle, _syn) = called(&mut side, 100, 1);
    assert_eq!(handle.try_write(&[7; 200_000]), Poll::Ready(Ok(200_000)));
    let (mut now, mut sent) = (Instant::ZERO, 0);
    sent += side.turn(now).len();
    while let Some(at) = side.endpoint.poll_timeout() {
        now = at.max(now);
        sent += side.turn(now).len();
    }
    eprintln!("u09 {sent} packets to a dead peer in {now:?}, then {:?}", handle.close_reason());
    assert!(sent <= 100 && now <= Instant::ZERO + secs(300), "{sent} until {now:?}");
    assert_eq!(handle.close_reason(), Some(CloseReason::TimedOut));
}

#[test]
fn u11_a_reset_of_somebody_who_has_only_guessed_the_id_ends_nothing() {
    let mut side = Side::new(1, dialect());
    let (handle, syn) = called(&mut side, 100, 1);
    let mut answers = 0;
    for guess in (0..=u16::MAX).step_by(7) {
        let numbers = [(0, 0), (guess, guess ^ 0x5555), (1, guess)];
        for (seq, ack) in numbers.into_iter().filter(|&(_, ack)| ack.wrapping_sub(syn.seq.get()) > 1) {
            answers += side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 101, seq, ack)).len();
        }
    }
    assert_eq!((handle.close_reason(), answers <= 1), (None, true), "{answers} answers");
    side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 101, 1, syn.seq.get()));
    assert_eq!(handle.close_reason(), Some(CloseReason::Reset), "who knows the numbers is believed");
}

#[test]
fn u12_extensions_are_no_data() {
    let mut side = Side::new(1, dialect());
    let (handle, syn) = called(&mut side, 100, 1);
    let mut chain = ExtensionsBuf::new();
    chain.push(1, &[0; 4]).unwrap();
    let header = header(Kind::Data, 101, 1, syn.seq.get());
    let mut datagram = Vec::new();
    Packet { header, extensions: chain.as_extensions(), payload: b"hello" }.encode(&mut datagram);
    assert_eq!(datagram.len(), 31);
    side.receive(Instant::ZERO, stranger(1), &datagram);
    side.turn(Instant::ZERO);
    assert_eq!(read_some(&handle).unwrap(), b"hello");
}
