//! Datagrams that are for nobody, or for several.

use bytes::Bytes;

use super::super::ForeignError;
use super::*;

#[test]
fn t02_three_resets_per_packet_regression_a_packet_for_nobody_is_answered_by_one_of_twenty_bytes() {
    let mut side = Side::new(1, Config::default());
    for kind in [Kind::Data, Kind::Fin, Kind::State] {
        side.receive(Instant::ZERO, stranger(1), &bytes(header(kind, 0xFFFF, 65_535, 3), b""));
        let answers = side.turn(Instant::ZERO);
        assert_eq!(answers.len(), 1, "others answer on the id, the one before and the one after");
        assert_eq!((answers[0].0, answers[0].1.len()), (stranger(1), 20));
        let reset = Packet::decode(&answers[0].1).unwrap().header;
        assert_eq!((reset.kind, reset.conn_id.get(), reset.ack.get()), (Kind::Reset, 0xFFFF, 65_535));
    }
    assert_eq!((side.dropped().unknown_connection, side.endpoint.stats().resets_sent), (3, 3));
    eprintln!("t02 bound=1 RESET of 20 bytes per stray measured=1 of 20");
}

#[test]
fn t02_a_reset_is_never_answered() {
    let mut side = Side::listening(1, Config::default());
    side.hears(Instant::ZERO, stranger(1), syn(7, 1));
    let _accepted = side.incoming().unwrap().accept();
    side.turn(Instant::ZERO);
    for id in [6, 7, 8, 9, 0xFFFF] {
        assert!(side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, id, 1, 1)).is_empty());
    }
    assert_eq!(side.dropped().bad_reset, 5);
}

#[test]
fn t02_a_million_strays_are_answered_at_the_configured_rate_in_constant_memory() {
    let mut side = Side::new(1, Config::default());
    let stray = bytes(header(Kind::Data, 7, 1, 1), &[0; 1000]).repeat(50);
    let mut sent = 0;
    for round in 0..20_000u64 {
        let now = Instant::from_micros(round * 500);
        let path = side.path(anybody(u32::try_from(round).unwrap()));
        side.endpoint.handle_datagrams(now, path, &stray, 1020);
        sent += side.turn(now).len();
    }
    eprintln!("t02 bound=2200 RESETs for 10^6 strays in 10 s measured={sent}");
    assert!((1_900..=2_200).contains(&sent), "{sent} in ten seconds");
    let stats = side.endpoint.stats();
    assert_eq!(stats.resets_sent + stats.resets_withheld, 1_000_000);
    side.assert_empty();
}

#[test]
fn t02_one_source_gets_ten_a_second() {
    let mut side = Side::new(1, Config::default());
    let stray = bytes(header(Kind::Data, 7, 1, 1), b"");
    let mut sent = 0;
    for round in 0..100_000u64 {
        let now = Instant::from_micros(round * 100);
        side.receive(now, stranger(1), &stray);
        sent += side.turn(now).len();
    }
    eprintln!("t02 bound=110 RESETs to one source in 10 s measured={sent}");
    assert!((100..=110).contains(&sent), "{sent}");
}

#[test]
fn b12_connecting_to_somebody_who_does_not_listen_is_refused() {
    let mut pair = Pair::new(Config::default());
    pair.b.lease.set_listening(false);
    let handle = pair.a.lease.connect(pair.b.addr, None);
    pair.settle();
    assert_eq!(handle.poll_connected(&mut cx()), Poll::Ready(Err(CloseReason::Refused)));
    assert_eq!(pair.b.dropped().not_listening, 1);
    drop(handle);
    pair.settle();
    pair.a.assert_empty();
    pair.b.assert_empty();
}

#[test]
fn b12_a_reset_is_honoured_on_either_id_and_not_with_other_numbers() {
    for (id, honoured) in [(100, true), (101, true), (99, false), (102, false)] {
        let mut side = Side::new(1, Config::default());
        let handle = side.lease.connect(stranger(1), Some(ConnId::new(100)));
        let syn = side.turn(Instant::ZERO);
        let seq = Packet::decode(&syn[0].1).unwrap().header.seq;
        side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, id, 9, seq.next().get()));
        assert_eq!((handle.close_reason(), side.dropped().bad_reset), (None, 1));
        side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, id, 9, seq.get()));
        assert_eq!(handle.close_reason(), honoured.then_some(CloseReason::Refused), "{id}");
        assert_eq!(side.dropped().bad_reset, 2 - u64::from(honoured));
    }
}

#[test]
fn t02_a_reset_that_names_two_connections_makes_one_ask() {
    let mut side = Side::new(1, Config::default());
    let mut handles = Vec::new();
    for id in [100, 101] {
        handles.push(side.lease.connect(stranger(1), Some(ConnId::new(id))));
        let syn = Packet::decode(&side.turn(Instant::ZERO)[0].1).unwrap().header;
        side.hears(Instant::ZERO, stranger(1), header(Kind::State, id, 65_535, syn.seq.get()));
        assert!(handles[handles.len() - 1].poll_connected(&mut cx()).is_ready());
    }
    // What the one receives on, and the other sends on.
    let answers = side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 101, 9, 9));
    assert_eq!((answers.len(), side.dropped().bad_reset), (1, 1));
    assert!(handles.iter().all(|handle| handle.close_reason().is_none()));
}

#[test]
fn a_reset_that_repeats_an_acceptors_id_finds_it() {
    let mut side = Side::listening(2, Config::default());
    side.hears(Instant::ZERO, stranger(1), syn(0xFFFF, 65_535));
    let handle = side.incoming().unwrap().accept();
    let syn_ack = side.turn(Instant::ZERO);
    let seq = Packet::decode(&syn_ack[0].1).unwrap().header.seq;
    side.hears(Instant::ZERO, stranger(1), header(Kind::Reset, 0xFFFF, 9, seq.get()));
    assert_eq!(handle.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn a_run_of_datagrams_reaches_each_of_its_connections_in_order() {
    let mut side = Side::listening(2, Config::default());
    let now = Instant::ZERO;
    let mut handles = Vec::new();
    let mut acks = Vec::new();
    for id in [10, 20] {
        side.hears(now, stranger(1), syn(id, 65_533));
        handles.push(side.incoming().unwrap().accept());
        acks.push(Packet::decode(&side.turn(now)[0].1).unwrap().header.seq.prev().get());
    }
    let data = |id: u16, which: usize, seq: u16, text: &[u8; 4]| {
        bytes(header(Kind::Data, id, seq, acks[which]), text)
    };
    let mut run = Vec::new();
    run.extend(data(11, 0, 65_534, b"aaaa"));
    run.extend(data(11, 0, 65_535, b"bbbb"));
    run.extend(data(21, 1, 65_534, b"AAAA"));
    run.extend(data(77, 1, 0, b"????"));
    run.extend(bytes(syn(30, 1), b"....")); // one that is not ordinary
    run.extend(data(11, 0, 0, b"cccc"));
    run.extend(b"d1:ad2:id20:notutp!!!!!!"); // a foreigner of the same length
    run.extend(data(21, 1, 65_535, b"BBBB"));
    run.extend(&data(11, 0, 1, b"dddd")[..22]); // the last one is shorter
    let path = side.path(stranger(1));
    side.endpoint.handle_datagrams(now, path, &run, 24);
    side.turn(now);
    assert_eq!(read_some(&handles[0]).unwrap(), b"aaaabbbbccccdd");
    assert_eq!(read_some(&handles[1]).unwrap(), b"AAAABBBB");
    assert!(side.incoming().is_some());
    assert_eq!((side.dropped().unknown_connection, side.dropped().foreign), (1, 1));
}

#[test]
fn what_is_not_utp_goes_to_whoever_takes_it_and_the_oldest_is_dropped() {
    let mut side = Side::new(1, Config::default().foreign_queue(2));
    let now = Instant::ZERO;
    side.receive(now, stranger(1), b"d1:q4:ping");
    assert_eq!(side.dropped().foreign, 1, "nobody takes it");
    side.lease.set_foreign(true);
    for text in [&b"one"[..], b"two", b"", b"four"] {
        side.receive(now, stranger(1), text);
    }
    let mut taken = Vec::new();
    while let Poll::Ready(Some(foreign)) = side.lease.poll_foreign(&mut cx()) {
        assert_eq!(foreign.peer_addr(), stranger(1));
        taken.push(foreign.bytes);
    }
    assert_eq!(taken, [&b""[..], b"four"]);
    assert_eq!((side.dropped().foreign, side.endpoint.stats().foreign_received), (3, 4));
    side.receive(
        now,
        stranger(1),
        &[0x01, 0x01, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99],
    );
    assert_eq!(side.dropped().malformed, 1);
}

#[test]
fn foreign_datagrams_leave_through_the_same_socket_and_take_turns() {
    let mut side = Side::new(1, Config::default().foreign_queue(2));
    let shared = side.endpoint.shared();
    let ping = Bytes::from_static(b"d1:q4:ping");
    assert_eq!(shared.send_foreign(stranger(1), ping.clone()), Ok(()));
    assert_eq!(shared.send_foreign(stranger(2), ping.clone()), Ok(()));
    assert_eq!(shared.send_foreign(stranger(3), ping.clone()), Err(ForeignError::Full));
    assert!(shared.poll_send_foreign(&mut cx(), stranger(3), &ping).is_pending());
    let sent = side.turn(Instant::ZERO);
    assert_eq!(sent, [(stranger(1), ping.to_vec()), (stranger(2), ping.to_vec())]);
    assert_eq!(shared.poll_send_foreign(&mut cx(), stranger(3), &ping), Poll::Ready(Ok(())));
    let long = Bytes::from(vec![0; 65_001]);
    assert_eq!(shared.send_foreign(stranger(1), long), Err(ForeignError::TooLong));
    let nobody = "[2001:db8::1]:9".parse().unwrap();
    assert_eq!(shared.send_foreign(nobody, ping.clone()), Err(ForeignError::Unreachable));
    shared.close();
    assert_eq!(shared.send_foreign(stranger(1), ping), Err(ForeignError::Closed));
}

#[test]
fn foreign_datagrams_that_a_full_network_holds_back_are_bounded_and_not_forgotten() {
    let mut side = Side::new(1, Config::default().foreign_queue(1));
    let now = Instant::ZERO;
    let ping = Bytes::from_static(b"d1:q4:ping");
    for host in [1, 2] {
        assert_eq!(side.lease.send_foreign(stranger(host), ping.clone()), Ok(()));
        side.endpoint.handle_mail(now);
    }
    assert_eq!(side.lease.send_foreign(stranger(3), ping), Err(ForeignError::Full));
    assert!(side.endpoint.has_work() && side.lease.has_mail());
    assert_eq!(side.turn(now)[0].0, stranger(1));
    assert!(side.lease.has_mail(), "the second one still lies there");
    assert_eq!(side.turn(now)[0].0, stranger(2));
    assert!(!side.lease.has_mail());
}

#[test]
fn sources_that_cannot_be_answered_are_dropped() {
    let mut side = Side::listening(1, Config::default());
    for source in ["192.0.2.9:0", "0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9"] {
        assert!(side.hears(Instant::ZERO, source.parse().unwrap(), syn(7, 1)).is_empty());
    }
    assert_eq!((side.dropped().bad_source, side.endpoint.routes_len()), (4, 0));
}

#[test]
fn t16_an_undeliverable_syn_fails_its_connection_at_once_and_nothing_else_believes_such_news() {
    let mut pair = Pair::new(Config::default());
    let path = pair.a.path(pair.b.addr);
    let (open, _theirs) = pair.connect();
    let trying = pair.a.lease.connect(stranger(1), Some(ConnId::new(100)));
    let sent = pair.a.turn(pair.now);
    let syn = sent[0].1.clone();
    let header = Packet::decode(&syn).unwrap().header;
    let to = pair.a.path(stranger(1));
    let forged = [
        bytes(Header { seq: header.seq.next(), ..header }, b""),
        bytes(Header { conn_id: header.conn_id.next(), ..header }, b""),
        bytes(Header { kind: Kind::Data, ..header }, b""),
        syn[..19].to_vec(),
    ];
    for datagram in forged {
        assert!(!pair.a.endpoint.handle_undeliverable(to, &datagram, CloseReason::Refused));
    }
    assert!(!pair.a.endpoint.handle_undeliverable(path, &syn, CloseReason::Refused), "from elsewhere");
    assert_eq!(trying.close_reason(), None);
    assert!(pair.a.endpoint.handle_undeliverable(to, &syn, CloseReason::Refused));
    assert_eq!(trying.poll_connected(&mut cx()), Poll::Ready(Err(CloseReason::Refused)));
    assert!(!pair.a.endpoint.handle_undeliverable(to, &syn, CloseReason::Refused), "once");

    let ids = open.conn_ids();
    for id in [ids.recv, ids.send] {
        for seq in (0..=u16::MAX).step_by(3) {
            let guess = Header { conn_id: id, seq: SeqNr::new(seq), ..header };
            pair.a.endpoint.handle_undeliverable(path, &bytes(guess, b""), CloseReason::Refused);
        }
    }
    assert_eq!(open.close_reason(), None);
    assert!(pair.a.turn(pair.now).is_empty());
    assert_eq!(pair.a.endpoint.connections(), 1);
}
