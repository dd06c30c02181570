//! Limits of an endpoint, at the limit: places, ids, memory, answers; and what is counted.

use super::*;

fn proof(answer: Header, seq: u16) -> Header {
    header(Kind::Data, answer.conn_id.next().get(), seq, answer.seq.prev().get())
}

#[test]
fn a_place_that_was_taken_while_a_syn_waited_is_not_given_twice() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().max_connections(2));
    side.hears(now, stranger(1), syn(0xFFFF, 65_535));
    let incoming = side.incoming().unwrap();
    let ours = [2, 3].map(|host| side.lease.connect(stranger(host), None));
    side.turn(now);
    let handle = incoming.accept();
    let sent = side.turn(now);
    assert_eq!(handle.close_reason(), Some(CloseReason::TooManyConnections));
    let answer = Packet::decode(&sent[0].1).unwrap().header;
    assert_eq!((sent.len(), sent[0].0, answer.kind), (1, stranger(1), Kind::Reset));
    assert_eq!(side.lease.connect(stranger(4), None).close_reason(), None, "not asked yet");
    assert_eq!(ours.map(|handle| handle.close_reason()), [None, None]);
}

#[test]
fn a_syn_accepted_after_the_endpoint_was_closed_is_told_so() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default());
    side.hears(now, stranger(1), syn(0xFFFF, 65_535));
    let incoming = side.incoming().unwrap();
    let handle = incoming.accept();
    side.lease.close();
    side.turn(now);
    assert_eq!(side.endpoint.connections(), 1, "it was accepted before");
    drop(handle);

    let mut side = Side::listening(1, Config::default());
    side.hears(now, stranger(1), syn(0xFFFF, 65_535));
    let incoming = side.incoming().unwrap();
    side.lease.close();
    side.turn(now);
    let handle = incoming.accept();
    side.turn(now);
    assert_eq!(handle.close_reason(), Some(CloseReason::EndpointClosed));
}

#[test]
fn an_id_whose_successor_the_peer_receives_on_cannot_be_asked_for() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default());
    side.hears(now, stranger(1), syn(1000, 65_535));
    let _accepted = side.incoming().unwrap().accept();
    let _dialled = side.lease.connect(stranger(1), Some(ConnId::new(2000)));
    side.turn(now);
    let mut ask = |id| {
        let handle = side.lease.connect(stranger(1), Some(ConnId::new(id)));
        side.endpoint.handle_mail(now);
        handle.close_reason()
    };
    // We receive on 1001, and the peer on 1000; on 2000, and the peer on 2001.
    assert_eq!(ask(999), Some(CloseReason::IdInUse));
    assert_eq!(ask(1001), Some(CloseReason::IdInUse));
    assert_eq!(ask(2000), Some(CloseReason::IdInUse));
    assert_eq!(ask(1998), None);
    assert_eq!(ask(65_535), Some(CloseReason::IdInUse));
}

#[test]
fn t02_answers_beyond_the_rate_are_withheld_and_counted() {
    let mut side = Side::new(1, Config::default().resets_per_second(1));
    for host in 1..=4 {
        side.receive(Instant::ZERO, stranger(host), &bytes(header(Kind::Data, 7, 1, 1), b""));
    }
    let stats = side.endpoint.stats();
    assert_eq!((stats.resets_sent, stats.resets_withheld, side.turn(Instant::ZERO).len()), (1, 3, 1));
}

/// An endpoint with room for ten connections, that has started four and accepted `unproved` more.
fn with_unproved(unproved: u8) -> Side {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().max_connections(10));
    for host in 100..104 {
        std::mem::forget(side.lease.connect(stranger(host), None));
    }
    side.turn(now);
    for host in 1..=unproved {
        side.hears(now, stranger(host), syn(0xFFFF, 65_535));
        std::mem::forget(side.incoming().unwrap().accept());
        side.turn(now);
    }
    assert_eq!(side.endpoint.half_open(), unproved.into());
    side
}

#[test]
fn t03_a_rush_begins_when_half_of_the_free_places_could_be_taken() {
    for (unproved, rush) in [(0, false), (2, false), (3, true)] {
        let mut side = with_unproved(unproved);
        side.hears(Instant::ZERO, stranger(50), syn(7, 1));
        assert_eq!(side.endpoint.stats().cookies_sent, u64::from(rush), "{unproved} of six places");
    }
}

#[test]
fn t03_a_rush_begins_when_half_of_the_accept_queue_is_undecided() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().accept_queue(6));
    for (host, cookies) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        side.hears(now, stranger(host), syn(7, 1));
        assert_eq!(side.endpoint.stats().cookies_sent, cookies, "{host}");
    }
}

#[test]
fn t03_answers_that_have_no_room_are_counted_and_not_given() {
    let mut side = Side::listening(1, Config::default().half_open(1));
    side.hears(Instant::ZERO, stranger(1), syn(7, 1));
    for number in 0..600 {
        side.receive(Instant::ZERO, anybody(number), &bytes(syn(7, 1), b""));
    }
    assert_eq!((side.dropped().backlog_full, side.endpoint.stats().cookies_sent), (600 - 512, 512));
    assert_eq!(side.turn(Instant::ZERO).len(), 512);
}

#[test]
fn t03_a_wrong_proof_is_met_with_silence_and_counted() {
    let mut side = Side::listening(1, Config::default().half_open(1));
    let now = Instant::ZERO;
    side.hears(now, stranger(9), syn(1, 1));
    let answer = side.hears(now, stranger(1), syn(0xFFFF, 65_535))[0];
    let wrong = Header { ack: answer.seq, ..proof(answer, 0) };
    for times in 1..=2 {
        assert_eq!(side.hears(now, stranger(1), wrong), []);
        assert_eq!(
            (side.dropped().unknown_connection, side.endpoint.stats().resets_withheld),
            (times, times)
        );
    }
}

#[test]
fn t03_a_proof_that_finds_nobody_who_listens_or_no_room_is_counted_and_answered_accordingly() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().half_open(0).accept_queue(1));
    let answers = [1, 2, 3].map(|host| side.hears(now, stranger(host), syn(0xFFFF, 65_535))[0]);
    side.hears(now, stranger(1), proof(answers[0], 0));
    assert_eq!(side.endpoint.connections(), 1);
    for times in 1..=2 {
        assert_eq!(side.hears(now, stranger(2), proof(answers[1], 0)), [], "it comes again");
        assert_eq!(side.dropped().backlog_full, times);
    }
    side.lease.set_listening(false);
    for times in 1..=2 {
        let told = side.hears(now, stranger(3), proof(answers[2], 0));
        assert!(told.iter().any(|header| header.kind == Kind::Reset && header.ack.get() == 0));
        assert_eq!(side.dropped().not_listening, times);
    }
}

#[test]
fn t08_what_would_make_buffers_grow_beyond_the_share_is_dropped_and_counted_and_the_rest_is_not() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().max_memory(1 << 20));
    side.hears(now, stranger(1), syn(0xFFFF, 65_532));
    let handle = side.incoming().unwrap().accept();
    let ack = Packet::decode(&side.turn(now)[0].1).unwrap().header.seq.prev().get();
    side.hears(now, stranger(1), header(Kind::State, 0, 65_533, ack));
    assert!(handle.poll_writable(&mut cx()).is_ready());
    while handle.try_write(&[0; 10_000]).is_ready() {}
    assert!(handle.poll_writable(&mut cx()).is_pending(), "more than its share");
    assert!(handle.try_write(b"more").is_pending());

    // Three packets that came early, in one run, and one by itself.
    let early = |seq| bytes(header(Kind::Data, 0, seq, ack), &[7; 1000]);
    let run = [early(65_534), early(65_535), early(0)].concat();
    let path = side.path(stranger(1));
    side.endpoint.handle_datagrams(now, path, &run, run.len() / 3);
    assert_eq!(side.dropped().out_of_memory, 3);
    side.receive(now, stranger(1), &early(1));
    assert_eq!(side.dropped().out_of_memory, 4);
    // What carries nothing, and what always finds room.
    side.receive(now, stranger(1), &bytes(header(Kind::State, 0, 65_533, ack), b""));
    side.receive(now, stranger(1), &bytes(header(Kind::Data, 0, 65_533, ack), &[7; 1000]));
    assert_eq!((side.dropped().out_of_memory, handle.stats().bytes_received), (4, 1000));
    assert_eq!(handle.stats().packets_refused, 4);
}

#[test]
fn foreign_datagrams_may_be_as_long_as_a_batch() {
    let side = Side::new(1, Config::default());
    assert_eq!(side.lease.send_foreign(stranger(1), bytes::Bytes::from(vec![0; 65_000])), Ok(()));
}

#[test]
fn a_packet_on_the_id_of_a_syn_that_nobody_has_answered_is_counted_and_changes_nothing() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default());
    side.hears(now, stranger(1), syn(0xFFFF, 65_535));
    for times in 1..=2 {
        assert_eq!(side.hears(now, stranger(1), header(Kind::Data, 0, 0, 7)), []);
        assert_eq!(side.dropped().unknown_connection, times);
    }
    assert!(side.incoming().is_some());
}
