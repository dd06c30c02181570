//! Another protocol shares the port of a uTP socket.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::{Config, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// The beginning of a DHT query: bencoded, so its first byte is a letter and not a uTP version.
const QUERY: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

#[tokio::test]
async fn queries_and_answers_pass_while_a_stream_uses_the_port() {
    let (alice, bob) = (UtpSocket::bind(LOOPBACK).await.unwrap(), UtpSocket::bind(LOOPBACK).await.unwrap());
    let listener = bob.listen();
    let (a, b) = (alice.foreign(), bob.foreign());
    within(async {
        let (calling, accepted) = tokio::join!(alice.connect(bob.local_addr()), listener.accept());
        let (mut calling, mut called) = (calling.unwrap(), accepted.unwrap().0);
        let data = vec![7; 2 << 20];
        let stream = async {
            calling.write_all(&data).await.unwrap();
            calling.shutdown().await.unwrap();
        };
        let reader = async {
            let mut heard = Vec::new();
            called.read_to_end(&mut heard).await.unwrap();
            assert!(heard == data);
        };
        let dht = async {
            let mut buffer = [0; 2048];
            for _ in 0..50 {
                assert_eq!(a.send_to(QUERY, b.local_addr()).await.unwrap(), QUERY.len());
                let (len, from) = b.recv_from(&mut buffer).await.unwrap();
                assert_eq!((&buffer[..len], from), (QUERY, alice.local_addr()));
                b.send_to(&buffer[..10], from).await.unwrap();
                let (answer, from) = a.recv().await.unwrap();
                assert_eq!((&answer[..], from), (&QUERY[..10], bob.local_addr()));
            }
        };
        tokio::join!(stream, reader, dht);
    })
    .await;
    assert_eq!(bob.stats().foreign_received, 50);
}

#[tokio::test]
async fn an_ordinary_program_is_answered_through_the_poll_verbs() {
    let socket = UtpSocket::bind(LOOPBACK).await.unwrap();
    let foreign = socket.foreign();
    let other = UdpSocket::bind(LOOPBACK).await.unwrap();
    within(async {
        other.send_to(QUERY, socket.local_addr()).await.unwrap();
        let mut memory = [0; 16];
        let mut buffer = ReadBuf::new(&mut memory);
        let from = poll_fn(|cx| foreign.poll_recv_from(cx, &mut buffer)).await.unwrap();
        assert_eq!(from, other.local_addr().unwrap());
        assert_eq!(buffer.filled(), &QUERY[..16], "the beginning of what is longer");
        assert_eq!(foreign.try_send_to(b"pong", from).unwrap(), 4);
        let mut answer = [0; 16];
        assert_eq!(other.recv_from(&mut answer).await.unwrap(), (4, socket.local_addr()));
    })
    .await;
}

#[tokio::test]
async fn without_a_taker_they_are_dropped_and_counted() {
    let socket = UtpSocket::bind(LOOPBACK).await.unwrap();
    let other = UdpSocket::bind(LOOPBACK).await.unwrap();
    drop(socket.foreign());
    other.send_to(QUERY, socket.local_addr()).await.unwrap();
    within(async {
        while socket.stats().dropped.foreign == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(socket.stats().foreign_received, 0);
}

#[tokio::test]
async fn a_queue_that_nobody_empties_keeps_the_newest() {
    let config = Config::default().foreign_queue(4);
    let socket = UtpSocket::bind_with(LOOPBACK, config).await.unwrap();
    let foreign = socket.foreign();
    let other = UdpSocket::bind(LOOPBACK).await.unwrap();
    for number in 0..10_u8 {
        other.send_to(&[0, number], socket.local_addr()).await.unwrap();
    }
    within(async {
        while socket.stats().datagrams_received < 10 {
            sleep(Duration::from_millis(1)).await;
        }
        for expected in 6..10 {
            assert_eq!(foreign.recv().await.unwrap().0[..], [0, expected]);
        }
    })
    .await;
    assert_eq!(socket.stats().dropped.foreign, 6);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_and_closing_ends_it() {
    let socket = UtpSocket::bind(LOOPBACK).await.unwrap();
    let foreign = socket.foreign();
    let error = foreign.send_to(&vec![0; 65_001], socket.local_addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = foreign.try_send_to(b"?", "[::1]:9".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    let (received, ()) = within(async { tokio::join!(foreign.recv(), socket.clone().close()) }).await;
    assert_eq!(received.unwrap_err().kind(), ErrorKind::NotConnected);
    let error = foreign.send_to(b"!", socket.local_addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}
