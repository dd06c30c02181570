//! What each async function says under "Cancel safety": begun, dropped, and nothing is lost.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ebbtide::{Config, MemoryHub, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Polls a future once, so that it has begun and waits, and drops it.
async fn cancel<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it has to wait for something");
        Poll::Ready(())
    })
    .await;
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

async fn sockets() -> (UtpSocket, UtpSocket) {
    (UtpSocket::bind(LOOPBACK).await.unwrap(), UtpSocket::bind(LOOPBACK).await.unwrap())
}

async fn streams() -> (UtpStream, UtpStream) {
    let (client, server) = sockets().await;
    let listener = server.listen();
    let (calling, called) =
        within(async { tokio::join!(client.connect(server.local_addr()), listener.accept()) }).await;
    (calling.unwrap(), called.unwrap().0)
}

#[tokio::test]
async fn a_cancelled_bind_leaves_no_socket() {
    // It never waits: dropped unpolled, it has done nothing.
    let addr = UtpSocket::bind(LOOPBACK).await.unwrap().local_addr();
    within(async {
        while UtpSocket::bind(addr).await.is_err() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    drop(UtpSocket::bind(addr));
    drop(UtpSocket::bind_with(addr, Config::default()));
}

#[tokio::test]
async fn a_cancelled_connect_abandons_the_attempt() {
    let (client, server) = sockets().await;
    let listener = server.listen();
    let silent = UdpSocket::bind(LOOPBACK).await.unwrap();
    cancel(client.connect(silent.local_addr().unwrap())).await;
    within(async {
        while client.stats().connections > 0 {
            sleep(Duration::from_millis(2)).await;
        }
        // Whether or not the other side got to see this one: the next one works.
        cancel(client.connect(server.local_addr())).await;
        let call = async {
            let mut calling = client.connect(server.local_addr()).await.unwrap();
            calling.write_all(b"again").await.unwrap();
            calling.closed().await
        };
        let answer = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if stream.read(&mut [0; 8]).await.is_ok_and(|read| read == 5) {
                    return;
                }
            }
        };
        tokio::select! {
            ended = call => panic!("not before it is shut down: {ended:?}"),
            () = answer => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_accept_loses_no_connection() {
    let (client, server) = sockets().await;
    let peer = server.local_addr();
    cancel(server.accept()).await;
    let listener = server.listen();
    cancel(listener.accept()).await;
    cancel(listener.incoming()).await;
    let accept = async {
        let mut cancelled = 0;
        loop {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => cancelled += 1,
                accepted = listener.accept() => break (accepted.unwrap().1, cancelled),
            }
        }
    };
    let (connected, (from, cancelled)) = within(async { tokio::join!(client.connect(peer), accept) }).await;
    assert_eq!((connected.unwrap().peer_addr(), from), (peer, client.local_addr()));
    assert!(cancelled > 0);
}

#[tokio::test]
async fn cancelled_reads_lose_no_bytes() {
    let (mut calling, mut called) = streams().await;
    cancel(called.read(&mut [0; 8])).await;
    cancel(called.peek(&mut [0; 8])).await;
    cancel(called.readable()).await;
    let data: Vec<u8> = (0..500_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect();
    let write = async {
        calling.write_all(&data).await.unwrap();
        calling.shutdown().await.unwrap();
    };
    let read = async {
        let (mut heard, mut buffer, mut turn) = (Vec::new(), [0; 4096], 0_u32);
        loop {
            turn += 1;
            tokio::select! {
                biased;
                () = tokio::task::yield_now(), if turn % 2 == 0 => {}
                read = called.read(&mut buffer) => match read.unwrap() {
                    0 => break heard,
                    read => heard.extend_from_slice(&buffer[..read]),
                },
            }
        }
    };
    let ((), heard) = within(async { tokio::join!(write, read) }).await;
    assert!(heard == data);
}

#[tokio::test]
async fn cancelled_writes_write_nothing() {
    let (mut calling, mut called) = streams().await;
    // Fill everything up.
    let mut written = 0;
    while let Ok(Ok(more)) = timeout(Duration::from_millis(200), calling.write(&[1; 65_536])).await {
        written += more;
    }
    cancel(calling.write(&[2; 1000])).await;
    cancel(calling.writable()).await;
    cancel(calling.flush()).await;
    cancel(calling.closed()).await;
    within(async {
        let mut heard = vec![0; written];
        called.read_exact(&mut heard).await.unwrap();
        assert!(heard.iter().all(|&byte| byte == 1));
        calling.write_all(&[3]).await.unwrap();
        calling.shutdown().await.unwrap();
        heard.clear();
        called.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [3]);
        calling.closed().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn halves_can_be_cancelled_like_the_stream() {
    let (calling, mut called) = streams().await;
    let (mut reading, mut writing) = calling.into_split();
    cancel(reading.readable()).await;
    cancel(reading.peek(&mut [0; 8])).await;
    cancel(writing.closed()).await;
    {
        let (theirs, ours) = called.split();
        cancel(theirs.readable()).await;
        cancel(theirs.peek(&mut [0; 8])).await;
        cancel(ours.closed()).await;
        within(ours.writable()).await.unwrap();
    }
    within(async {
        writing.writable().await.unwrap();
        writing.write_all(b"?").await.unwrap();
        called.write_all(b"!").await.unwrap();
        let mut heard = [0];
        reading.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"!");
        called.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"?");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_close_goes_on_closing() {
    let (client, server) = sockets().await;
    let listener = server.listen();
    let (calling, called) =
        within(async { tokio::join!(client.connect(server.local_addr()), listener.accept()) }).await;
    let (_calling, called) = (calling.unwrap(), called.unwrap().0);
    let clone = client.clone();
    let addr = client.local_addr();
    cancel(client.close()).await;
    let error = clone.connect(server.local_addr()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    drop(called);
    within(async {
        while UtpSocket::bind(addr).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn cancelled_foreign_datagrams_are_neither_lost_nor_sent() {
    let (alice, bob) = sockets().await;
    let (a, b) = (alice.foreign(), bob.foreign());
    cancel(b.recv()).await;
    cancel(b.recv_from(&mut [0; 8])).await;
    within(async {
        a.send_to(b"one", bob.local_addr()).await.unwrap();
        assert_eq!(&b.recv().await.unwrap().0[..], b"one");
        // Full, since the driver does not run while this task does not wait.
        let mut queued = 0;
        while a.try_send_to(b"two", bob.local_addr()).is_ok() {
            queued += 1;
        }
        cancel(a.send_to(b"never", bob.local_addr())).await;
        for _ in 0..queued {
            assert_eq!(&b.recv().await.unwrap().0[..], b"two");
        }
        a.send_to(b"end", bob.local_addr()).await.unwrap();
        assert_eq!(&b.recv().await.unwrap().0[..], b"end");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_driver_fails_everything_at_once() {
    let hub = MemoryHub::new();
    let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let (alice, driver) = UtpSocket::over(hub.attach(here).unwrap(), Config::default()).unwrap();
    let driving = tokio::spawn(driver.run());
    let (bob, driver) = UtpSocket::over(hub.attach(there).unwrap(), Config::default()).unwrap();
    tokio::spawn(driver.run());
    let listener = bob.listen();
    within(async {
        let (calling, _called) = tokio::join!(alice.connect(there), listener.accept());
        let mut calling = calling.unwrap();
        let mut buffer = [0; 8];
        let (read, ()) = tokio::join!(calling.read(&mut buffer), async { driving.abort() });
        // The peer's data may be read to the end; there is none.
        assert_eq!(read.unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(hub.attach(here).is_ok(), "the transport is free");
        alice.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_memory_transport_loses_nothing_either() {
    let hub = MemoryHub::new();
    let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let (a, b) = (hub.attach(here).unwrap(), hub.attach_with(there, 1, 1).unwrap());
    cancel(b.recv_from(&mut [0; 8])).await;
    within(async {
        a.send_to(b"1", there).await.unwrap();
        cancel(a.send_to(b"2", there)).await;
        let mut buffer = [0; 8];
        assert_eq!(b.recv_from(&mut buffer).await.unwrap(), (1, here));
        a.send_to(b"3", there).await.unwrap();
        assert_eq!(b.recv_from(&mut buffer).await.unwrap(), (1, here));
        assert_eq!(buffer[0], b'3');
    })
    .await;
}
