//! Who gets which ids, and what a SYN may cost.

use super::*;

#[test]
fn b07_the_acceptor_receives_on_the_id_after_the_syns_and_sends_on_the_syns_own() {
    for id in [1, 0, 0xFFFE, 0xFFFF] {
        let mut side = Side::listening(2, Config::default());
        let now = Instant::ZERO;
        assert!(side.hears(now, stranger(1), syn(id, 65_535)).is_empty(), "nobody has decided");
        let handle = side.incoming().unwrap().accept();
        let syn_ack = side.turn(now);
        let syn_ack = Packet::decode(&syn_ack[0].1).unwrap().header;
        assert_eq!((syn_ack.kind, syn_ack.conn_id.get(), syn_ack.ack.get()), (Kind::State, id, 65_535));
        let data = header(Kind::Data, id.wrapping_add(1), 0, syn_ack.seq.prev().get());
        side.receive(now, stranger(1), &bytes(data, b"hello"));
        side.turn(now);
        assert_eq!(read_some(&handle).unwrap(), b"hello");
        assert_eq!(side.endpoint.half_open(), 0);
    }
}

#[test]
fn b07_an_id_of_65535_cannot_be_asked_for() {
    let mut pair = Pair::new(Config::default());
    let handle = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(0xFFFF)));
    pair.settle();
    assert_eq!(handle.poll_connected(&mut cx()), Poll::Ready(Err(CloseReason::IdInUse)));
    let handle = pair.a.lease.connect(pair.b.addr, Some(ConnId::new(0xFFFE)));
    pair.settle();
    assert_eq!(pair.b.incoming().unwrap().syn().id, ConnId::new(0xFFFE));
    assert_eq!(handle.conn_ids().recv, ConnId::new(0xFFFE));
    assert_eq!(handle.conn_ids().send, ConnId::new(0xFFFF));
}

#[test]
fn b08_a_duplicate_syn_gets_the_identical_answer_and_is_accepted_once() {
    let mut side = Side::listening(2, Config::default());
    let mut now = Instant::ZERO;
    side.hears(now, stranger(1), syn(7, 65_535));
    assert!(side.hears(now, stranger(1), syn(7, 65_535)).is_empty(), "undecided: absorbed");
    let handle = side.incoming().unwrap().accept();
    assert!(side.incoming().is_none());
    let first = side.turn(now);
    let first = Packet::decode(&first[0].1).unwrap().header;
    now = now + secs(1);
    let again = side.hears(now, stranger(1), syn(7, 65_535));
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].kind, again[0].conn_id), (first.kind, first.conn_id));
    assert_eq!((again[0].seq, again[0].ack), (first.seq, first.ack));

    // And after data was exchanged.
    let data = header(Kind::Data, 8, 0, first.seq.prev().get());
    side.receive(now, stranger(1), &bytes(data, b"x"));
    side.turn(now);
    let late = side.hears(now, stranger(1), syn(7, 65_535));
    assert!(late.iter().any(|header| header.seq == first.seq && header.kind == Kind::State));
    assert!(side.incoming().is_none());
    assert_eq!((side.endpoint.connections(), side.endpoint.stats().accepted), (1, 1));
    assert_eq!(read_some(&handle).unwrap(), b"x");
}

#[test]
fn b13_the_same_id_with_another_number_is_ignored_and_counted() {
    let mut side = Side::listening(2, Config::default());
    let now = Instant::ZERO;
    side.hears(now, stranger(1), syn(7, 65_535));
    assert!(side.hears(now, stranger(1), syn(7, 3)).is_empty());
    assert_eq!(side.dropped().id_collision, 1);
    let _handle = side.incoming().unwrap().accept();
    side.turn(now);
    assert!(side.hears(now, stranger(1), syn(7, 3)).is_empty());
    assert_eq!((side.dropped().id_collision, side.endpoint.connections()), (2, 1));
    side.hears(now, stranger(2), syn(7, 3));
    assert!(side.incoming().is_some(), "another peer may have the same id");
}

#[test]
fn b13_a_syn_on_an_id_of_ours_is_refused() {
    let mut side = Side::listening(1, Config::default());
    let _handle = side.lease.connect(stranger(1), Some(ConnId::new(100)));
    side.turn(Instant::ZERO);
    let answers = side.hears(Instant::ZERO, stranger(1), syn(99, 65_535));
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].kind, answers[0].conn_id), (Kind::Reset, ConnId::new(99)));
    assert_eq!((side.dropped().id_collision, side.endpoint.connections()), (1, 1));
}

#[test]
fn b13_an_id_that_is_in_use_cannot_be_asked_for_again() {
    let mut side = Side::listening(1, Config::default());
    let now = Instant::ZERO;
    let ask = |side: &mut Side, peer, id| {
        let handle = side.lease.connect(peer, Some(ConnId::new(id)));
        side.turn(now);
        (handle.close_reason(), handle)
    };
    let (first, _keep) = ask(&mut side, stranger(1), 100);
    assert_eq!(first, None);
    assert_eq!(ask(&mut side, stranger(1), 100).0, Some(CloseReason::IdInUse));
    assert_eq!(ask(&mut side, stranger(2), 100).0, None);
    assert_eq!(ask(&mut side, stranger(1), 101).0, None, "next to each other is legal");
    // The peer started a connection on which it receives on 65,535: it cannot receive on it twice.
    side.hears(now, stranger(1), syn(0xFFFF, 1));
    assert_eq!(ask(&mut side, stranger(1), 0xFFFE).0, Some(CloseReason::IdInUse));
    assert_eq!(ask(&mut side, stranger(1), 0).0, Some(CloseReason::IdInUse), "we receive on 0 ourselves");
}

#[test]
fn both_sides_may_start_any_number_of_connections_at_once() {
    let config = Config::default()
        .accept_queue(1000)
        .half_open(1000)
        .connections_per_address(None)
        .connections_per_network(None);
    let mut pair = Pair::new(config);
    pair.a.lease.set_listening(true);
    let (to_a, to_b) = (pair.a.addr, pair.b.addr);
    let started: Vec<Handle> =
        (0..300).flat_map(|_| [pair.a.lease.connect(to_b, None), pair.b.lease.connect(to_a, None)]).collect();
    pair.settle();
    let accept_all =
        |side: &Side| std::iter::from_fn(|| side.incoming()).map(Incoming::accept).collect::<Vec<_>>();
    let accepted = [accept_all(&pair.a), accept_all(&pair.b)];
    pair.settle();
    assert_eq!(accepted.each_ref().map(Vec::len), [300, 300]);
    assert!(started.iter().all(|handle| handle.poll_connected(&mut cx()) == Poll::Ready(Ok(()))));
    assert_eq!((pair.a.endpoint.connections(), pair.a.endpoint.routes_len()), (600, 600));
    assert_eq!(pair.a.dropped(), Default::default());
}

#[test]
fn a_connection_that_nobody_can_be_reached_by_fails_at_once() {
    let pair = Pair::new(Config::default());
    for peer in ["192.0.2.9:0", "0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "[2001:db8::1]:9"] {
        let handle = pair.a.lease.connect(peer.parse().unwrap(), None);
        assert_eq!(handle.close_reason(), Some(CloseReason::Unreachable), "{peer}");
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_in_both_directions() {
    let mut side = Side::listening(1, Config::default().max_connections(2));
    let now = Instant::ZERO;
    let _started = side.lease.connect(stranger(1), None);
    side.turn(now);
    side.hears(now, stranger(2), syn(7, 1));
    let _accepted = side.incoming().unwrap().accept();
    side.turn(now);
    assert!(side.hears(now, stranger(3), syn(7, 1)).is_empty());
    assert_eq!(side.dropped().too_many_connections, 1);
    let third = side.lease.connect(stranger(4), None);
    side.turn(now);
    assert_eq!(third.close_reason(), Some(CloseReason::TooManyConnections));
}
