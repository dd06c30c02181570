//! What becomes of packets when connections change, and when the other end is not who it was.

use std::time::Duration;

use ebbtide::packet::Packet;
use ebbtide::session::{HubError, ProtocolError, SendError, Session, SessionConfig, SessionError, Sessions};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{expect_numbered, numbered, word};

fn join(a: &Session, b: &Session) {
    let (here, there) = duplex(1 << 16);
    a.attach(here);
    b.attach(there);
}

async fn next_error(session: &Session) -> SessionError {
    tokio::time::timeout(Duration::from_secs(10), session.errors().next()).await.unwrap().unwrap()
}

/// A3: what is sent between two connections goes with the next one.
#[tokio::test]
async fn a3_what_is_queued_while_nothing_is_attached_is_sent_on_the_next_attach() {
    let (a, b) = (Session::new(), Session::new());
    join(&a, &b);
    a.send(numbered(0)).await.unwrap();
    b.attached().await;
    a.flush().await;
    a.detach();
    b.detached().await;
    for number in 1..100 {
        a.try_send(numbered(number)).unwrap();
    }
    assert_eq!(a.unconfirmed(), 99);
    join(&a, &b);
    expect_numbered(&b, 100).await;
    a.flush().await;
}

#[tokio::test]
async fn a_full_queue_hands_the_packet_back_and_room_wakes_who_waits() {
    let config = SessionConfig { queue_packets: 4, ..SessionConfig::default() };
    let (a, b) = (Session::with_config(config), Session::with_config(config));
    for number in 0..4 {
        a.try_send(numbered(number)).unwrap();
    }
    assert_eq!(a.try_send(numbered(4)), Err(SendError::Full(numbered(4))));
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.send(numbered(4)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    join(&a, &b);
    waiting.await.unwrap().unwrap();
    expect_numbered(&b, 5).await;
}

/// A7 is kept: a slow reader slows the sender down, and memory stays within the limits.
#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_sender() {
    let config = SessionConfig { queue_packets: 10, ..SessionConfig::default() };
    let (a, b) = (Session::with_config(config), Session::with_config(config));
    let (here, there) = duplex(256);
    a.attach(here);
    b.attach(there);
    let sent = async {
        for number in 0..1000 {
            a.send(Packet::new(0, vec![number as u8; 100])).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), sent).await.is_err());
    assert!(a.unconfirmed() <= 10);
    let mut got = 0;
    while tokio::time::timeout(Duration::from_millis(100), b.recv()).await.is_ok() {
        got += 1;
    }
    assert!((20..40).contains(&got), "two queues and a pipe: {got}");
}

#[tokio::test]
async fn a_peer_that_was_restarted_is_reported_with_what_it_never_confirmed() {
    let (a, old) = (Session::new(), Session::new());
    join(&a, &old);
    a.send(word("seen")).await.unwrap();
    assert_eq!(old.recv().await.unwrap(), word("seen"));
    a.flush().await;
    a.detach();
    old.detached().await;
    drop(old);
    a.send(word("lost")).await.unwrap();

    let new = Session::new();
    join(&a, &new);
    assert!(
        matches!(next_error(&a).await, SessionError::PeerForgot { undelivered } if undelivered == [word("lost")])
    );
    a.send(word("to the new one")).await.unwrap();
    assert_eq!(new.recv().await.unwrap(), word("to the new one"));
    new.send(word("back")).await.unwrap();
    assert_eq!(a.recv().await.unwrap(), word("back"));
}

#[tokio::test]
async fn what_an_error_hands_back_counts_as_queued_until_it_is_taken() {
    let config = SessionConfig { queue_packets: 2, ..SessionConfig::default() };
    let (a, old) = (Session::with_config(config), Session::new());
    join(&a, &old);
    a.attached().await;
    old.attached().await;
    a.detach();
    old.detached().await;
    a.try_send(word("one")).unwrap();
    a.try_send(word("two")).unwrap();
    let new = Session::new();
    join(&a, &new);
    new.attached().await;
    a.attached().await;
    assert!(matches!(a.try_send(word("three")), Err(SendError::Full(_))));
    assert_eq!(next_error(&a).await.undelivered().len(), 2);
    a.try_send(word("three")).unwrap();
}

#[tokio::test]
async fn close_waits_until_everything_is_there_and_the_other_end_sees_an_end() {
    let (a, b) = (Session::new(), Session::new());
    for number in 0..50 {
        a.try_send(numbered(number)).unwrap();
    }
    let closing = tokio::spawn({
        let a = a.clone();
        async move { a.close().await }
    });
    tokio::task::yield_now().await;
    assert!(!closing.is_finished());
    assert!(matches!(a.try_send(word("late")), Err(SendError::Closed(_))));
    join(&a, &b);
    closing.await.unwrap();
    expect_numbered(&b, 50).await;
    assert_eq!(b.recv().await, None);
    assert!(matches!(b.try_send(word("late")), Err(SendError::Closed(_))));
}

#[tokio::test]
async fn a_peer_that_closes_hands_back_what_it_did_not_take() {
    let (a, b) = (Session::new(), Session::new());
    join(&a, &b);
    a.attached().await;
    b.close().await;
    a.try_send(word("too late")).unwrap_or_else(|refused| assert!(matches!(refused, SendError::Closed(_))));
    assert_eq!(a.recv().await, None);
}

#[tokio::test]
async fn queues_are_sinks_and_streams() {
    let (a, b) = (Session::new(), Session::new());
    join(&a, &b);
    let packets: Vec<Packet> = (0..100).map(numbered).collect();
    let mut sink = a.outgoing();
    sink.send_all(&mut futures_util::stream::iter(packets.clone()).map(Ok)).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(b.incoming().collect::<Vec<_>>().await, packets);
}

#[tokio::test]
async fn a_stranger_on_the_line_costs_the_connection_and_not_the_session() {
    let (a, b) = (Session::new(), Session::new());
    join(&a, &b);
    a.attached().await;
    let rubbish: [(&[u8], ProtocolError); 4] = [
        (b"\x09\0\0\0\0", ProtocolError::Malformed),
        (b"\x03\0\0\0\x08\0\0\0\0\0\0\0\x05", ProtocolError::Greeting),
        (b"\x01\0\0\0\x01\x07", ProtocolError::Version),
        (b"\x02\xFF\xFF\xFF\xFF", ProtocolError::TooLong),
    ];
    for (bytes, expected) in rubbish {
        let (here, mut there) = duplex(1000);
        a.attach(here);
        there.write_all(bytes).await.unwrap();
        loop {
            match next_error(&a).await {
                SessionError::Protocol(error) => break assert_eq!(error, expected),
                _ => continue,
            }
        }
        a.detached().await;
    }
    a.send(word("still here")).await.unwrap();
    join(&a, &b);
    assert_eq!(b.recv().await.unwrap(), word("still here"));
}

#[tokio::test]
async fn a_session_does_not_talk_to_itself() {
    let a = Session::new();
    let (here, mut there) = duplex(1000);
    a.attach(here);
    let mut hello = [0; 46];
    there.read_exact(&mut hello).await.unwrap();
    there.write_all(&hello).await.unwrap();
    assert!(matches!(next_error(&a).await, SessionError::Protocol(ProtocolError::Ourselves)));
}

/// A6: closing under a running reader panicked, and every swap left a task behind.
#[tokio::test(start_paused = true)]
async fn a6_swaps_and_closes_leave_no_task_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    {
        let (a, b) = (Session::new(), Session::new());
        for _ in 0..200 {
            join(&a, &b);
            a.attached().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(tasks() - before <= 2, "{} after swaps", tasks() - before);
        join(&a, &b);
        drop(a);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(tasks(), before);
}

#[tokio::test]
async fn a_server_finds_the_session_that_a_connection_is_for() {
    let hub = Sessions::new(SessionConfig::default(), 2);
    let (first, second, third) = (Session::new(), Session::new(), Session::new());
    let call = async |client: &Session| {
        let (here, there) = duplex(1 << 16);
        client.attach(here);
        hub.accept(there).await
    };
    let one = call(&first).await.unwrap();
    let two = call(&second).await.unwrap();
    assert!(one.is_new && two.is_new && hub.len() == 2);
    assert!(matches!(call(&third).await, Err(HubError::Full)));

    first.send(word("before")).await.unwrap();
    assert_eq!(one.session.recv().await.unwrap(), word("before"));
    one.session.send(word("while away")).await.unwrap();
    let again = call(&first).await.unwrap();
    assert!(!again.is_new);
    assert_eq!(first.recv().await.unwrap(), word("while away"));

    drop(two);
    assert!(call(&third).await.unwrap().is_new, "whose session is gone has left a place");
}
