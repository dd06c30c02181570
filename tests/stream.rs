//! Streams over loopback sockets: the manners of `AsyncRead` and `AsyncWrite`, and every way to end.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::{CloseReason, Config, ConnId, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn socket(config: Config) -> UtpSocket {
    UtpSocket::bind_with(LOOPBACK, config).await.unwrap()
}

/// Two ends of a connection, and their sockets.
struct Pair {
    calling: UtpStream,
    called: UtpStream,
    client: UtpSocket,
    server: UtpSocket,
}

async fn pair_with(config: Config) -> Pair {
    let (client, server) = (socket(config.clone()).await, socket(config).await);
    let listener = server.listen();
    let (calling, called) = tokio::join!(client.connect(server.local_addr()), listener.accept());
    Pair { calling: calling.unwrap(), called: called.unwrap().0, client, server }
}

async fn pair() -> Pair {
    pair_with(Config::default()).await
}

/// Depends on the position, so that swapped or repeated pieces are noticed.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

fn reason(error: &std::io::Error) -> CloseReason {
    *error.get_ref().unwrap().downcast_ref::<CloseReason>().unwrap()
}

#[tokio::test]
async fn an_echo_comes_back() {
    let Pair { mut calling, mut called, client, server } = pair().await;
    assert_eq!(calling.peer_addr(), server.local_addr());
    assert_eq!(called.peer_addr(), client.local_addr());
    assert_eq!(calling.local_addr(), client.local_addr());
    within(async {
        calling.write_all(b"ebb").await.unwrap();
        let mut heard = [0; 3];
        called.read_exact(&mut heard).await.unwrap();
        called.write_all(&heard).await.unwrap();
        calling.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ebb");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_transfers_cross_each_other() {
    const LEN: usize = 64 << 20;
    let Pair { calling, called, client, .. } = pair_with(Config::bulk()).await;
    let data = std::sync::Arc::new(pattern(LEN));
    let mut tasks = Vec::new();
    for stream in [calling, called] {
        let (mut reading, mut writing) = stream.into_split();
        let sent = std::sync::Arc::clone(&data);
        tasks.push(tokio::spawn(async move {
            writing.write_all(&sent).await.unwrap();
            writing.shutdown().await.unwrap();
            writing.closed().await.unwrap();
        }));
        let expected = std::sync::Arc::clone(&data);
        tasks.push(tokio::spawn(async move {
            let mut heard = Vec::with_capacity(LEN);
            reading.read_to_end(&mut heard).await.unwrap();
            assert!(heard == *expected, "{} of {LEN} bytes", heard.len());
        }));
    }
    within(async {
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
    let stats = client.stats();
    assert!(stats.bytes_sent > LEN as u64 && stats.bytes_received > LEN as u64);
}

#[tokio::test]
async fn one_direction_ends_and_the_other_goes_on() {
    let Pair { mut calling, mut called, .. } = pair().await;
    within(async {
        calling.write_all(b"question").await.unwrap();
        calling.shutdown().await.unwrap();
        let mut heard = Vec::new();
        called.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"question");
        assert_eq!(calling.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

        called.write_all(b"a long answer").await.unwrap();
        called.shutdown().await.unwrap();
        heard.clear();
        calling.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"a long answer");
        calling.closed().await.unwrap();
        called.closed().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn pieces_are_written_in_order_by_one_call() {
    let Pair { mut calling, mut called, .. } = pair().await;
    assert!(calling.is_write_vectored());
    let pieces = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
    assert_eq!(within(calling.write_vectored(&pieces)).await.unwrap(), 13);
    let mut heard = [0; 13];
    within(called.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"one two three");
    assert_eq!(calling.try_write_vectored(&pieces).unwrap(), 13);
    within(called.read_exact(&mut heard)).await.unwrap();
}

#[tokio::test]
async fn borrowed_halves_work_at_once() {
    let Pair { mut calling, mut called, .. } = pair().await;
    let data = pattern(3 << 20);
    within(async {
        let echo = async {
            let (mut reading, mut writing) = called.split();
            tokio::io::copy(&mut reading, &mut writing).await.unwrap();
            writing.shutdown().await.unwrap();
        };
        let call = async {
            let (mut reading, mut writing) = calling.split();
            let mut heard = Vec::new();
            let send = async {
                writing.write_all(&data).await.unwrap();
                writing.shutdown().await.unwrap();
            };
            tokio::join!(send, async { reading.read_to_end(&mut heard).await.unwrap() });
            assert!(heard == data);
        };
        tokio::join!(echo, call);
    })
    .await;
}

#[tokio::test]
async fn owned_halves_come_together_again_or_are_given_back() {
    let Pair { calling, called, .. } = pair().await;
    let (reading, writing) = calling.into_split();
    let (other_reading, other_writing) = called.into_split();
    let error = reading.reunite(other_writing).unwrap_err();
    let mut calling = error.0.reunite(writing).unwrap();
    let mut called = error.1.reunite(other_reading).unwrap();
    within(async {
        calling.write_all(b"still open").await.unwrap();
        let mut heard = [0; 10];
        called.read_exact(&mut heard).await.unwrap();
        called.write_all(&heard).await.unwrap();
        calling.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still open");
    })
    .await;
}

#[tokio::test]
async fn dropping_the_writing_half_ends_our_direction_unless_it_is_forgotten() {
    let Pair { calling, mut called, .. } = pair().await;
    let (_reading, mut writing) = calling.into_split();
    within(async {
        writing.write_all(b"end").await.unwrap();
        drop(writing);
        let mut heard = Vec::new();
        called.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"end");
    })
    .await;
    let (_reading, writing) = called.into_split();
    writing.forget();
    let still_open = timeout(Duration::from_millis(100), _reading.stream().closed()).await;
    assert!(still_open.is_err());
}

#[tokio::test]
async fn peeking_leaves_the_bytes_where_they_are() {
    let Pair { mut calling, mut called, .. } = pair().await;
    within(async {
        calling.write_all(b"look").await.unwrap();
        let mut seen = [0; 8];
        while called.peek(&mut seen).await.unwrap() < 4 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(called.peek(&mut seen[..2]).await.unwrap(), 2);
        let mut heard = [0; 4];
        called.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"look");
    })
    .await;
}

#[tokio::test]
async fn trying_does_not_wait_and_readiness_says_when_to_try_again() {
    let Pair { calling, called, .. } = pair().await;
    let mut buffer = vec![0; 64 << 10];
    assert_eq!(called.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    let data = pattern(4 << 20);
    let send = async {
        let mut at = 0;
        let mut refused = 0;
        while at < data.len() {
            match calling.try_write(&data[at..]) {
                Ok(taken) => at += taken,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                    calling.writable().await.unwrap();
                }
            }
        }
        assert!(refused > 0, "4 MiB do not fit");
    };
    let receive = async {
        let mut heard = Vec::new();
        while heard.len() < data.len() {
            match called.try_read(&mut buffer) {
                Ok(taken) => heard.extend_from_slice(&buffer[..taken]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    called.readable().await.unwrap();
                }
            }
        }
        assert!(heard == data);
    };
    within(async { tokio::join!(send, receive) }).await;
}

#[tokio::test]
async fn several_tasks_may_wait_for_the_same_stream() {
    let Pair { mut calling, called, .. } = pair().await;
    let waiting = async { tokio::join!(called.readable(), called.readable(), called.readable()) };
    let (ready, written) = within(async { tokio::join!(waiting, calling.write_all(b"!")) }).await;
    ready.0.unwrap();
    written.unwrap();
}

#[tokio::test]
async fn an_abort_is_a_reset_at_the_peer() {
    let Pair { mut calling, mut called, .. } = pair().await;
    within(async {
        calling.write_all(b"unread").await.unwrap();
        called.readable().await.unwrap();
        calling.abort();
        let error = loop {
            match called.read(&mut [0; 64]).await {
                Ok(0) => panic!("an end"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), reason(&error)), (ErrorKind::ConnectionReset, CloseReason::Reset));
        assert_eq!(called.write(b"!").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let ours = calling.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(ours.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(called.closed().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    })
    .await;
}

#[tokio::test]
async fn nobody_listening_is_a_refusal() {
    let (client, server) = (socket(Config::default()).await, socket(Config::default()).await);
    let error = within(client.connect(server.local_addr())).await.unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::ConnectionRefused, CloseReason::Refused));
    drop(server.listen());
    let error = within(client.connect(server.local_addr())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_given_up() {
    let silent = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let client = socket(Config::default().connect_timeout(Duration::from_millis(300))).await;
    let error = within(client.connect(silent.local_addr().unwrap())).await.unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::TimedOut, CloseReason::TimedOut));
    assert_eq!(client.stats().connections, 0);
}

#[tokio::test]
async fn one_connection_too_many_fails_and_leaves_the_others_alone() {
    let (client, server) =
        (socket(Config::default().max_connections(1)).await, socket(Config::default()).await);
    let (listener, peer) = (server.listen(), server.local_addr());
    let (first, _called) = within(async { tokio::join!(client.connect(peer), listener.accept()) }).await;
    let error = within(client.connect(peer)).await.unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::QuotaExceeded, CloseReason::TooManyConnections));
    assert_eq!(first.unwrap().close_reason(), None);
}

#[tokio::test]
async fn addresses_that_cannot_be_reached_are_refused_at_once() {
    let client = socket(Config::default()).await;
    for nowhere in ["[2001:db8::1]:9", "127.0.0.1:0"] {
        let error = client.connect(nowhere.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{nowhere}");
    }
}

#[tokio::test]
async fn a_setting_out_of_range_is_named() {
    let error = UtpSocket::bind_with(LOOPBACK, Config::default().mtu(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("mtu"), "{error}");
}

#[tokio::test]
async fn a_chosen_connection_id_is_used_once() {
    let (client, server) = (socket(Config::default()).await, socket(Config::default()).await);
    let listener = server.listen();
    let peer = server.local_addr();
    let (first, accepted) =
        within(async { tokio::join!(client.connect_with(peer, ConnId::new(4242)), listener.accept()) }).await;
    let (_first, _accepted) = (first.unwrap(), accepted.unwrap());
    let error = within(client.connect_with(peer, ConnId::new(4242))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn incoming_connections_are_accepted_refused_or_ignored() {
    let config = Config::default().connect_timeout(Duration::from_secs(5));
    let (client, server) = (socket(config).await, socket(Config::default()).await);
    let listener = server.listen();
    let peer = server.local_addr();
    within(async {
        let (refused, ()) = tokio::join!(client.connect(peer), async {
            let incoming = listener.incoming().await.unwrap();
            assert_eq!(incoming.peer_addr(), client.local_addr());
            incoming.refuse();
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let (dropped, ()) = tokio::join!(client.connect(peer), async {
            drop(listener.incoming().await.unwrap());
        });
        assert_eq!(dropped.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // Ignored once, it comes again with the repeated SYN.
        let (connected, _accepted) = tokio::join!(client.connect(peer), async {
            listener.incoming().await.unwrap().ignore();
            listener.incoming().await.unwrap().accept()
        });
        connected.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_dropped_stream_has_written_still_arrives() {
    let Pair { mut calling, mut called, client, server } = pair().await;
    let data = pattern(700_000);
    within(async {
        calling.write_all(&data).await.unwrap();
        drop(calling);
        // Not even the socket is needed.
        drop(client);
        let mut heard = Vec::new();
        called.read_to_end(&mut heard).await.unwrap();
        assert!(heard == data);
        drop((called, server));
    })
    .await;
}

#[tokio::test]
async fn the_last_clone_dropped_stops_the_driver_and_frees_the_port() {
    let Pair { calling, called, client, server } = pair().await;
    let addr = server.local_addr();
    let clone = server.clone();
    drop(server);
    assert!(UtpSocket::bind(addr).await.is_err());
    drop((calling, called, clone, client));
    within(async {
        while UtpSocket::bind(addr).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn closing_delivers_what_was_written_and_then_frees_the_port() {
    let Pair { mut calling, mut called, client, server } = pair().await;
    let data = pattern(300_000);
    let addr = client.local_addr();
    within(async {
        calling.write_all(&data).await.unwrap();
        let clone = client.clone();
        let (heard, ()) = tokio::join!(
            async {
                let mut heard = Vec::new();
                called.read_to_end(&mut heard).await.unwrap();
                drop(called);
                heard
            },
            client.close()
        );
        assert!(heard == data);
        let error = clone.connect(server.local_addr()).await.unwrap_err();
        assert_eq!((error.kind(), reason(&error)), (ErrorKind::NotConnected, CloseReason::EndpointClosed));
        assert_eq!(clone.accept().await.unwrap_err().kind(), ErrorKind::NotConnected);
        drop(UtpSocket::bind(addr).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn closing_waits_no_longer_than_the_linger_time() {
    let Pair { mut calling, called, client, .. } =
        pair_with(Config::default().linger(Duration::from_millis(200))).await;
    within(async {
        // More than the peer's window takes without reading, so it cannot be delivered.
        let stuffed = timeout(Duration::from_millis(300), calling.write_all(&pattern(8 << 20))).await;
        assert!(stuffed.is_err());
        timeout(Duration::from_secs(5), client.close()).await.expect("soon after the linger time");
        assert!(calling.write(b"!").await.is_err());
        drop(called);
    })
    .await;
}

#[tokio::test]
async fn one_socket_serves_ipv4_and_ipv6() {
    let server = UtpSocket::bind("[::]:0".parse().unwrap()).await.unwrap();
    let listener = server.listen();
    for local in ["127.0.0.1", "::1"] {
        let peer = SocketAddr::new(local.parse().unwrap(), server.local_addr().port());
        let client = UtpSocket::bind(SocketAddr::new(peer.ip(), 0)).await.unwrap();
        let (calling, accepted) =
            within(async { tokio::join!(client.connect(peer), listener.accept()) }).await;
        let (mut calling, (mut called, from)) = (calling.unwrap(), accepted.unwrap());
        assert_eq!(from, client.local_addr());
        within(async {
            called.write_all(b"both").await.unwrap();
            calling.write_all(b"ways").await.unwrap();
            let mut heard = [0; 4];
            called.read_exact(&mut heard).await.unwrap();
            calling.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"both");
        })
        .await;
    }
}

#[tokio::test]
async fn streams_can_be_moved_to_other_tasks() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<UtpStream>();
    check::<UtpSocket>();
    check::<ebbtide::UtpListener>();
    check::<ebbtide::Foreign>();
    check::<ebbtide::OwnedReadHalf>();
    check::<ebbtide::OwnedWriteHalf>();
    check::<ebbtide::Connect>();
    check::<ebbtide::Incoming>();
}
