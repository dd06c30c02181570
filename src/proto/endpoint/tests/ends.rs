//! What is there to do, and what is left when an endpoint ends.

use bytes::Bytes;

use super::*;

/// What a driver would see: whether there is work, how much is armed, and how many connections are counted.
fn seen(side: &Side) -> (bool, usize, usize) {
    (side.endpoint.has_work(), side.endpoint.timers_len(), side.endpoint.stats().connections)
}

#[test]
fn each_kind_of_thing_to_send_is_work_of_its_own() {
    let now = Instant::ZERO;
    let mut side = Side::new(1, Config::default());
    assert_eq!(seen(&side), (false, 0, 0));
    side.receive(now, stranger(1), &bytes(header(Kind::Data, 7, 65_535, 3), b""));
    assert_eq!(seen(&side), (true, 0, 0), "an answer");
    assert_eq!(side.turn(now).len(), 1);

    side.lease.send_foreign(stranger(1), Bytes::from_static(b"ping")).unwrap();
    side.endpoint.handle_mail(now);
    assert_eq!(seen(&side), (true, 0, 0), "a foreign datagram");
    assert_eq!(side.turn(now).len(), 1);

    let _handle = side.lease.connect(stranger(1), None);
    side.endpoint.handle_mail(now);
    assert_eq!(seen(&side), (true, 0, 1), "a connection");
    assert_eq!(side.turn(now).len(), 1);
    assert_eq!((seen(&side), side.endpoint.stats().connected), ((false, 1, 1), 1));
}

#[test]
fn an_endpoint_that_is_shut_down_holds_and_sends_nothing() {
    let now = Instant::ZERO;
    let mut side = Side::listening(1, Config::default().half_open(2));
    for host in 1..=2 {
        side.hears(now, stranger(host), syn(0xFFFF, 65_535));
    }
    let accepted = side.incoming().unwrap().accept();
    let ours = side.lease.connect(stranger(9), None);
    side.turn(now);
    side.receive(now, stranger(3), &bytes(syn(7, 1), b""));
    side.lease.send_foreign(stranger(1), Bytes::from_static(b"ping")).unwrap();
    side.endpoint.handle_mail(now);
    ours.abort();
    side.endpoint.handle_mail(now);
    assert_eq!((side.endpoint.connections(), side.endpoint.half_open()), (2, 2));
    side.endpoint.shut_down(CloseReason::EndpointClosed);
    side.assert_empty();
    assert_eq!((seen(&side), side.endpoint.stats().half_open), ((false, 0, 0), 0));
    assert_eq!(side.endpoint.poll_timeout(), None);
    assert_eq!(side.turn(now), []);
    assert_eq!(accepted.close_reason(), Some(CloseReason::EndpointClosed));
}

#[test]
fn an_endpoint_may_go_when_it_is_closed_and_has_read_its_mail() {
    let mut side = Side::new(1, Config::default());
    assert!(!side.endpoint.is_drained(), "it may be asked for something yet");
    side.lease.close();
    assert!(!side.endpoint.is_drained(), "something may have been asked for before");
    side.turn(Instant::ZERO);
    assert!(side.endpoint.is_drained());
}

#[test]
fn a_datagram_that_had_to_wait_shows_the_clock_of_its_connection_when_it_leaves() {
    let mut side = Side::new(1, Config::default());
    let _handle = side.lease.connect(stranger(1), None);
    side.endpoint.handle_mail(Instant::ZERO);
    side.endpoint.poll_transmit(Instant::ZERO, &mut side.batch).unwrap();
    let shown = |batch: &Batch| Packet::decode(batch.bytes()).unwrap().header.sent_at.get();
    let before = shown(&side.batch);
    side.batch.restamp(0, Instant::from_micros(5000));
    assert_eq!(shown(&side.batch).wrapping_sub(before), 5000);
}

#[test]
fn the_driver_that_went_to_sleep_last_is_woken() {
    use std::sync::atomic::{AtomicU32, Ordering};
    struct Count(AtomicU32);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let side = Side::new(1, Config::default());
    let drivers = [0, 0].map(|_| Arc::new(Count(AtomicU32::new(0))));
    for driver in &drivers {
        assert!(!side.lease.register_driver(&Waker::from(Arc::clone(driver))));
    }
    side.lease.send_foreign(stranger(1), Bytes::from_static(b"ping")).unwrap();
    assert_eq!(drivers.each_ref().map(|driver| driver.0.load(Ordering::Relaxed)), [0, 1]);
    assert!(side.lease.register_driver(Waker::noop()), "there is mail");
}

#[test]
fn a_handshake_that_was_over_stays_over() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    theirs.abort();
    pair.settle();
    assert_eq!(ours.close_reason(), Some(CloseReason::Reset));
    assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(ours.poll_flush(&mut cx()), Poll::Ready(Ok(())), "nothing was written");
    assert_eq!(ours.poll_acked(&mut cx()), Poll::Ready(Err(CloseReason::Reset)));
    assert_eq!(ours.poll_finish(&mut cx()), Poll::Ready(Err(CloseReason::Reset)));
}

#[test]
fn whoever_accepts_need_not_wait_for_the_proof() {
    let mut side = Side::listening(2, Config::default());
    side.hears(Instant::ZERO, stranger(1), syn(0xFFFF, 65_535));
    let handle = side.incoming().unwrap().accept();
    side.turn(Instant::ZERO);
    assert_eq!((side.endpoint.half_open(), handle.poll_connected(&mut cx())), (1, Poll::Ready(Ok(()))));
    let dialled = side.lease.connect(stranger(1), None);
    assert!(dialled.poll_connected(&mut cx()).is_pending());
}

#[test]
fn flushing_finishing_and_acknowledging_wait_for_what_they_name() {
    let mut pair = Pair::new(Config::default().keepalive(None));
    let (ours, _theirs) = pair.connect();
    assert_eq!(ours.poll_flush(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(ours.try_write(b"text"), Poll::Ready(Ok(4)));
    assert!(ours.poll_flush(&mut cx()).is_pending());
    pair.step();
    assert_eq!(ours.poll_flush(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(ours.stats().bytes_sent, 4);
    assert!(ours.poll_acked(&mut cx()).is_pending(), "there may be more");
    assert_eq!(ours.poll_finish(&mut cx()), Poll::Ready(Ok(())));
    assert!(ours.poll_acked(&mut cx()).is_pending());
    pair.settle();
    assert_eq!(ours.poll_acked(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(ours.poll_finish(&mut cx()), Poll::Ready(Ok(())));
}

#[test]
fn a_connection_that_ended_in_between_says_so_to_whoever_flushes() {
    let mut side = Side::new(1, Config::default());
    let handle = side.lease.connect(stranger(1), None);
    assert_eq!(handle.try_write(b"text"), Poll::Ready(Ok(4)));
    side.turn(Instant::ZERO);
    assert!(handle.poll_flush(&mut cx()).is_pending());
    handle.abort();
    assert!(handle.poll_writable(&mut cx()).is_ready());
    assert_eq!(handle.poll_acked(&mut cx()), Poll::Ready(Err(CloseReason::Aborted)));
    assert_eq!(handle.poll_finish(&mut cx()), Poll::Ready(Err(CloseReason::Aborted)));
}

#[test]
fn writing_would_wait_while_the_buffer_is_full() {
    let mut pair = Pair::new(Config::default().send_buffer(4096));
    let (ours, theirs) = pair.connect();
    assert!(ours.poll_writable(&mut cx()).is_ready());
    assert_eq!(ours.try_write(&[0; 9000]), Poll::Ready(Ok(4096)));
    assert!(ours.poll_writable(&mut cx()).is_pending());
    pair.settle();
    assert!(ours.poll_writable(&mut cx()).is_ready());
    assert!(theirs.poll_writable(&mut cx()).is_ready());
}

#[test]
fn small_writes_leave_at_once_if_asked_to() {
    for nodelay in [false, true] {
        let mut pair = Pair::new(Config::default().ack_delay(millis(200)));
        let (ours, _theirs) = pair.connect();
        ours.set_nodelay(nodelay);
        for text in [b"one", b"two"] {
            assert_eq!(ours.try_write(text), Poll::Ready(Ok(3)));
            pair.under_way[1].extend(pair.a.turn(pair.now));
        }
        assert_eq!(pair.under_way[1].len(), 1 + usize::from(nodelay));
    }
}
