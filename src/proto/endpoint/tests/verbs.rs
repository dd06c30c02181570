//! The verbs that wrap others: peeking, writing in pieces, foreign datagrams, and what errors they become.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::*;
use crate::proto::endpoint::{ForeignError, WriteError};

#[test]
fn pieces_are_written_in_turn_as_far_as_there_is_room() {
    let mut pair = Pair::new(Config::default().send_buffer(4096));
    let (ours, theirs) = pair.connect();
    let (front, back) = ([1; 1000], [2; 5000]);
    let pieces = [IoSlice::new(&front), IoSlice::new(&[]), IoSlice::new(&back)];
    assert_eq!(ours.poll_write_vectored(&mut cx(), &pieces), Poll::Ready(Ok(4096)));
    assert_eq!(ours.try_write_vectored(&pieces), Poll::Pending);
    assert!(ours.poll_write_vectored(&mut cx(), &pieces).is_pending());
    assert_eq!(ours.try_write_vectored(&[]), Poll::Ready(Ok(0)));
    pair.pass(millis(100));
    let mut peeked = vec![0; 10_000];
    assert_eq!(theirs.poll_peek(&mut cx(), &mut peeked), Poll::Ready(Ok(4096)));
    peeked.truncate(4096);
    assert_eq!(peeked, [vec![1; 1000], vec![2; 3096]].concat());
    assert_eq!(read_some(&theirs).unwrap(), peeked, "it was still there");
    assert!(theirs.poll_peek(&mut cx(), &mut peeked).is_pending());
}

#[test]
fn writing_after_the_end_is_a_broken_pipe_and_after_an_abort_an_aborted_connection() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    assert_eq!(ours.poll_finish(&mut cx()), Poll::Ready(Ok(())));
    let error = WriteError::Finished;
    assert_eq!(ours.try_write(b"more"), Poll::Ready(Err(error)));
    assert_eq!(ours.try_write_vectored(&[IoSlice::new(b"more")]), Poll::Ready(Err(error)));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
    assert!(error.to_string().contains("ended"));
    pair.settle();
    assert_eq!(theirs.poll_peek(&mut cx(), &mut [0; 9]), Poll::Ready(Ok(0)), "the end");
    theirs.abort();
    let error = WriteError::Closed(CloseReason::Aborted);
    assert_eq!(theirs.try_write(b"more"), Poll::Ready(Err(error)));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(error.to_string(), CloseReason::Aborted.to_string());
}

#[test]
fn a_handle_knows_both_addresses() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    assert_eq!((ours.local_addr(), ours.peer_addr()), (Some(pair.a.addr), pair.b.addr));
    assert_eq!((theirs.local_addr(), theirs.peer_addr()), (Some(pair.b.addr), pair.a.addr));
    assert_eq!(ours.conn_ids().recv, theirs.conn_ids().send);
}

#[test]
fn foreign_datagrams_that_cannot_go_say_why() {
    let side = Side::new(1, Config::default().foreign_queue(1));
    let (peer, datagram) = (stranger(1), Bytes::from_static(b"ping"));
    let too_long = Bytes::from(vec![0; 65_001]);
    let v6 = SocketAddr::from(([1, 0, 0, 0, 0, 0, 0, 2], 5));
    let send = |peer, bytes: &Bytes| side.lease.poll_send_foreign(&mut cx(), peer, bytes);
    assert_eq!(send(peer, &too_long), Poll::Ready(Err(ForeignError::TooLong)));
    assert_eq!(send(v6, &datagram), Poll::Ready(Err(ForeignError::Unreachable)));
    assert_eq!(send(peer, &datagram), Poll::Ready(Ok(())));
    assert_eq!(send(peer, &datagram), Poll::Pending);
    assert_eq!(side.lease.send_foreign(peer, datagram.clone()), Err(ForeignError::Full));
    side.lease.close();
    assert_eq!(send(peer, &datagram), Poll::Ready(Err(ForeignError::Closed)));
    assert_eq!(side.lease.poll_foreign(&mut cx()), Poll::Ready(None));

    let kinds = [ForeignError::Full, ForeignError::TooLong, ForeignError::Unreachable, ForeignError::Closed];
    let expected = [
        io::ErrorKind::WouldBlock,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::AddrNotAvailable,
        io::ErrorKind::NotConnected,
    ];
    for (error, kind) in kinds.into_iter().zip(expected) {
        let words = error.to_string();
        let error = io::Error::from(error);
        assert_eq!((error.kind(), error.to_string()), (kind, words.clone()));
        assert!(words.len() > 10, "{words}");
    }
}

#[test]
fn foreign_datagrams_that_nobody_wants_any_more_are_counted() {
    let mut side = Side::new(1, Config::default());
    side.lease.set_foreign(true);
    for _ in 0..3 {
        side.receive(Instant::ZERO, stranger(1), b"d1:ad2:id20:");
    }
    let Poll::Ready(Some(foreign)) = side.lease.poll_foreign(&mut cx()) else { panic!("it is there") };
    assert_eq!((foreign.peer_addr(), &foreign.bytes[..]), (stranger(1), &b"d1:ad2:id20:"[..]));
    side.lease.set_foreign(false);
    assert_eq!(side.dropped().foreign, 2);
    assert!(side.lease.poll_foreign(&mut cx()).is_pending());
}

#[test]
fn one_socket_for_both_families_reaches_both() {
    let mut endpoint = Endpoint::new(Arc::new(Config::default()), [1; 32]);
    let both = endpoint.add_dual_stack_socket(SocketAddr::from(([0; 8], 4000)));
    let lease = endpoint.shared().lease();
    let handle = lease.connect(stranger(7), None);
    assert_eq!(handle.path().socket, both);
    assert_eq!(handle.peer_addr(), stranger(7), "as the application knows it");
    assert!(handle.path().peer.is_ipv6(), "as the socket takes it");
    assert!(handle.poll_connected(&mut cx()).is_pending());
}

#[test]
fn t08_large_writes_leave_room_below_the_limit_of_memory() {
    let mut side = Side::new(1, Config::default().max_memory(1 << 20).send_buffer(1 << 20));
    let handles: Vec<_> = (0..3).map(|_| side.lease.connect(stranger(1), None)).collect();
    side.turn(Instant::ZERO);
    for handle in &handles {
        // However much is offered at once.
        while handle.try_write(&[7; 1 << 20]).is_ready() {}
    }
    let memory = side.endpoint.memory();
    eprintln!("t08 bound={} measured={memory} after large writes", 1 << 20);
    assert!((256 << 10..=(1 << 20) / 5 * 4).contains(&memory), "{memory}");
}
