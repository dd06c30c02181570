//! From the first byte to empty tables, by every way out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

fn shared_between_threads<T: Send + Sync>() {}

#[test]
fn what_applications_hold_may_be_shared_between_threads() {
    shared_between_threads::<Handle>();
    shared_between_threads::<Incoming>();
    shared_between_threads::<Lease>();
    fn sent<T: Send>() {}
    sent::<Endpoint>();
}

#[test]
fn a_place_in_the_tables_is_small() {
    use crate::proto::endpoint::{Entry, cell::Cell};
    let bytes = size_of::<Cell>() + size_of::<Entry>();
    assert!(bytes <= 2688, "{bytes} bytes, buffers and controller not counted");
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

/// Moves `data` from one handle to the other, whatever that takes; returns what arrived.
fn transfer(pair: &mut Pair, from: &Handle, to: &Handle, data: &[u8]) -> Vec<u8> {
    let (mut written, mut received) = (0, Vec::new());
    for _ in 0..100_000 {
        if written == data.len() {
            assert_eq!(from.poll_finish(&mut cx()), Poll::Ready(Ok(())));
        } else if let Poll::Ready(taken) = from.try_write(&data[written..]) {
            written += taken.unwrap();
        }
        pair.pass(millis(2));
        match read_some(to) {
            Some(bytes) if bytes.is_empty() => return received,
            Some(bytes) => received.extend(bytes),
            None => {}
        }
    }
    panic!("no end after {} of {} bytes", received.len(), data.len());
}

#[test]
fn bytes_echo_and_afterwards_all_tables_are_empty() {
    let mut pair = Pair::new(Config::default().send_buffer(16 << 10).receive_buffer(16 << 10));
    let (ours, theirs) = pair.connect();
    let data: Vec<u8> = (0..200_000u32).map(|i| (i * 31 + (i >> 8) * 17) as u8).collect();
    assert_eq!(transfer(&mut pair, &ours, &theirs, &data), data);
    assert_eq!(transfer(&mut pair, &theirs, &ours, &data), data);
    pair.settle();
    assert_eq!(ours.poll_acked(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(theirs.poll_acked(&mut cx()), Poll::Ready(Ok(())));
    drop((ours, theirs));
    pair.pass(secs(20));
    pair.a.assert_empty();
    pair.b.assert_empty();
    assert_eq!(pair.b.endpoint.stats().connections, 0);
}

#[test]
fn a_connection_given_up_before_it_began_is_never_on_the_wire() {
    let mut pair = Pair::new(Config::default());
    drop(pair.a.lease.connect(pair.b.addr, None));
    assert!(pair.a.turn(Instant::ZERO).is_empty());
    pair.a.assert_empty();
}

#[test]
fn what_was_written_before_a_handle_was_dropped_arrives() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    assert_eq!(ours.try_write(b"last words"), Poll::Ready(Ok(10)));
    drop(ours);
    pair.settle();
    assert_eq!(read_some(&theirs).unwrap(), b"last words");
    assert_eq!(read_some(&theirs).unwrap(), b"", "and then the end");
    drop(theirs);
    pair.pass(secs(40));
    pair.a.assert_empty();
    pair.b.assert_empty();
}

#[test]
fn an_application_that_keeps_a_buffer_full_wakes_the_driver_once() {
    let mut pair = Pair::new(Config::default());
    let (ours, _theirs) = pair.connect();
    let (count, waker) = counting();
    assert!(!pair.a.lease.register_driver(&waker));
    for _ in 0..100 {
        assert!(matches!(ours.try_write(&[0; 3000]), Poll::Ready(Ok(3000))));
    }
    assert_eq!(count.get(), 1);
    assert!(pair.a.lease.register_driver(&waker), "there is mail");
    pair.a.endpoint.handle_mail(pair.now);
    assert!(!pair.a.lease.has_mail() && pair.a.endpoint.ready_len() == 1);
    assert!(matches!(ours.try_write(&[0; 3000]), Poll::Ready(Ok(3000))));
    assert!(!pair.a.lease.has_mail(), "it has been told and has not been there yet");
}

#[test]
fn after_each_visit_the_next_wish_is_posted_and_a_driver_that_is_awake_is_left_alone() {
    let mut pair = Pair::new(Config::default());
    let (ours, _theirs) = pair.connect();
    let (count, waker) = counting();
    for round in 1..=3 {
        assert!(!pair.a.lease.register_driver(&waker));
        assert!(matches!(ours.try_write(&[0; 30]), Poll::Ready(Ok(30))));
        assert_eq!((pair.a.lease.has_mail(), count.get()), (true, round));
        pair.settle();
    }
    assert!(!pair.a.lease.register_driver(&waker));
    // A datagram woke it, not mail; mail that comes during its turn is found before it sleeps again.
    pair.a.endpoint.handle_mail(pair.now);
    assert!(matches!(ours.try_write(&[0; 30]), Poll::Ready(Ok(30))));
    assert_eq!((pair.a.lease.register_driver(&waker), count.get()), (true, 3));
}

#[test]
fn each_waiting_task_is_woken_once_per_turn() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    let tasks: Vec<_> = (0..3).map(|_| counting()).collect();
    for (_, waker) in &tasks {
        assert!(theirs.poll_readable(&mut Context::from_waker(waker)).is_pending());
        assert!(theirs.poll_readable(&mut Context::from_waker(waker)).is_pending());
    }
    assert!(matches!(ours.try_write(&[7; 20_000]), Poll::Ready(Ok(20_000))));
    pair.step();
    pair.step();
    assert!(tasks.iter().all(|(count, _)| count.get() == 1));
    assert!(theirs.poll_readable(&mut cx()).is_ready());
}

#[test]
fn finishing_wakes_whoever_waits_for_room() {
    let mut pair = Pair::new(Config::default().send_buffer(4096).receive_buffer(4096));
    let (ours, _theirs) = pair.connect();
    let (count, waker) = counting();
    let mut task = Context::from_waker(&waker);
    while ours.poll_write(&mut task, &[0; 4096]).is_ready() {
        pair.settle();
    }
    let before = count.get();
    assert_eq!(ours.poll_finish(&mut cx()), Poll::Ready(Ok(())));
    assert_eq!(count.get(), before + 1);
    let refused = ours.poll_write(&mut task, b"x");
    assert_eq!(refused, Poll::Ready(Err(crate::proto::endpoint::WriteError::Finished)));
}

#[test]
fn an_abort_is_seen_by_both_sides_and_leaves_nothing() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    let (count, waker) = counting();
    assert!(ours.poll_read(&mut Context::from_waker(&waker), &mut [0; 9]).is_pending());
    ours.abort();
    assert_eq!(count.get(), 1, "without waiting for the driver");
    pair.settle();
    assert_eq!(ours.close_reason(), Some(CloseReason::Aborted));
    assert_eq!(theirs.poll_read(&mut cx(), &mut [0; 9]), Poll::Ready(Err(CloseReason::Reset)));
    pair.a.assert_empty();
    pair.b.assert_empty();
}

#[test]
fn incoming_may_be_refused_dropped_or_ignored() {
    let mut pair = Pair::new(Config::default());
    let connect = |pair: &mut Pair| {
        let handle = pair.a.lease.connect(pair.b.addr, None);
        pair.settle();
        (handle, pair.b.incoming().unwrap())
    };
    let (refused, incoming) = connect(&mut pair);
    assert_eq!(incoming.peer_addr(), pair.a.addr);
    incoming.refuse();
    let (dropped, incoming) = connect(&mut pair);
    drop(incoming);
    let (ignored, incoming) = connect(&mut pair);
    incoming.ignore();
    pair.settle();
    assert_eq!(refused.close_reason(), Some(CloseReason::Refused));
    assert_eq!(dropped.close_reason(), Some(CloseReason::Refused));
    assert_eq!(ignored.close_reason(), None);
    pair.b.assert_empty();
    pair.pass(millis(1100));
    assert!(pair.b.incoming().is_some(), "its second SYN is offered again");
}

#[test]
fn a_decision_that_comes_too_late_says_so() {
    let mut pair = Pair::new(Config::default());
    let ours = pair.a.lease.connect(pair.b.addr, None);
    pair.settle();
    let incoming = pair.b.incoming().unwrap();
    pair.pass(secs(11));
    assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Err(CloseReason::TimedOut)));
    let theirs = incoming.accept();
    pair.pass(secs(11));
    assert_eq!(theirs.close_reason(), Some(CloseReason::Unconfirmed));
    drop(theirs);
    pair.pass(secs(11));
    pair.b.assert_empty();
}

#[test]
fn closing_lets_connections_end_and_refuses_new_ones() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    assert_eq!(ours.try_write(b"bye"), Poll::Ready(Ok(3)));
    let waiting = pair.b.lease.connect(pair.a.addr, None);
    pair.a.lease.set_listening(true);
    pair.settle();
    pair.a.lease.close();
    let refused = pair.a.lease.connect(pair.b.addr, None);
    assert_eq!(refused.close_reason(), Some(CloseReason::EndpointClosed));
    assert!(matches!(pair.a.lease.poll_incoming(&mut cx()), Poll::Ready(None)));
    pair.settle();
    assert_eq!(waiting.close_reason(), Some(CloseReason::Refused), "it was on offer");
    assert_eq!(read_some(&theirs).unwrap(), b"bye");
    assert_eq!(read_some(&theirs).unwrap(), b"");
    assert!(pair.a.lease.poll_drained(&mut cx()).is_pending());
    drop(theirs);
    pair.pass(secs(10));
    assert!(pair.a.endpoint.is_drained());
    assert!(pair.a.lease.poll_drained(&mut cx()).is_ready());
    assert_eq!(ours.close_reason(), Some(CloseReason::Finished));
}

#[test]
fn what_does_not_end_by_itself_is_aborted_after_the_linger() {
    let mut pair = Pair::new(Config::default().linger(secs(3)));
    let (ours, theirs) = pair.connect();
    pair.a.lease.close();
    pair.pass(secs(2));
    assert!(!pair.a.endpoint.is_drained(), "the peer has not ended its direction");
    pair.pass(secs(2));
    assert!(pair.a.endpoint.is_drained());
    assert_eq!(ours.close_reason(), Some(CloseReason::Aborted));
    assert_eq!(theirs.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn the_last_lease_closes_the_endpoint() {
    let mut side = Side::new(1, Config::default());
    let lease = side.lease.clone();
    let handle = side.lease.connect(stranger(1), None);
    side.turn(Instant::ZERO);
    let shared = Arc::clone(&side.lease);
    drop(std::mem::replace(&mut side.lease, lease));
    assert!(!shared.is_closed());
    drop(side.lease);
    assert!(!shared.is_closed(), "a handle is out there");
    drop(handle);
    assert!(shared.is_closed());
    side.endpoint.handle_mail(Instant::ZERO);
    assert!(side.endpoint.poll_transmit(Instant::ZERO, &mut side.batch).is_none());
    assert!(side.endpoint.is_drained());
}

#[test]
fn shutting_down_fails_everything_and_wakes_everybody() {
    let mut pair = Pair::new(Config::default());
    let (ours, _theirs) = pair.connect();
    let (count, waker) = counting();
    let mut task = Context::from_waker(&waker);
    let unopened = pair.b.lease.connect(pair.a.addr, None);
    let undecided = {
        let _connecting = pair.a.lease.connect(pair.b.addr, None);
        pair.step();
        pair.step();
        pair.b.incoming().unwrap()
    };
    let late = pair.b.lease.connect(pair.a.addr, None);
    assert!(late.poll_connected(&mut task).is_pending());
    assert!(ours.poll_read(&mut task, &mut [0; 9]).is_pending());
    assert!(pair.a.lease.poll_incoming(&mut task).is_pending());
    assert!(pair.a.lease.poll_drained(&mut task).is_pending());
    pair.a.endpoint.shut_down(CloseReason::EndpointClosed);
    assert_eq!(count.get(), 3, "one for the handle, one for the listener, one for the endpoint");
    assert_eq!(ours.close_reason(), Some(CloseReason::EndpointClosed));
    assert!(matches!(pair.a.lease.poll_incoming(&mut task), Poll::Ready(None)));
    assert!(pair.a.lease.poll_drained(&mut task).is_ready());
    pair.a.assert_empty();
    let shared = Arc::clone(&pair.b.lease);
    drop(pair.b.endpoint);
    assert_eq!(count.get(), 4);
    assert_eq!(late.close_reason(), Some(CloseReason::EndpointClosed));
    assert_eq!(unopened.close_reason(), Some(CloseReason::EndpointClosed));
    assert_eq!(undecided.accept().close_reason(), Some(CloseReason::EndpointClosed));
    assert_eq!(shared.connect(stranger(1), None).close_reason(), Some(CloseReason::EndpointClosed));
}

#[test]
fn timers_of_connections_that_are_gone_do_not_pile_up() {
    let mut pair = Pair::new(Config::default());
    let (_ours, _theirs) = pair.connect();
    for _ in 0..300 {
        let (ours, theirs) = pair.connect();
        ours.abort();
        pair.settle();
        drop((ours, theirs));
        pair.settle();
    }
    assert_eq!((pair.a.endpoint.connections(), pair.a.endpoint.routes_len()), (1, 1));
    assert!(pair.a.endpoint.timers_len() < 70, "{}", pair.a.endpoint.timers_len());
}
