//! Messages with a peer that knows none: framed in the byte stream, where that is allowed.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "blocking/bad_line.rs"]
mod bad_line;

use std::io;
use std::time::Duration;

use bad_line::BadLine;
use bytes::Bytes;
use ebbtide::message::{Fate, MessageConfig, MessageConnection, SendError};
use ebbtide::{CloseReason, Config, MemoryHub, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Like one of another make.
fn vanilla() -> Config {
    Config::default().extensions(false)
}

fn framed() -> MessageConfig {
    MessageConfig::default().fallback(true)
}

async fn socket(config: Config) -> UtpSocket {
    UtpSocket::bind_with("127.0.0.1:0".parse().unwrap(), config).await.unwrap()
}

/// A caller and who is called.
async fn pair(caller: Config, called: Config) -> (MessageConnection, MessageConnection) {
    let (a, b) = (socket(caller).await, socket(called).await);
    let listener = b.listen();
    let config = framed();
    let (here, there) =
        tokio::join!(a.connect_messages(b.local_addr(), &config), listener.accept_messages(&config));
    (here.unwrap(), there.unwrap())
}

/// One with messages, and a stream of another make at the other end.
async fn with_stream(config: &MessageConfig) -> (MessageConnection, UtpStream) {
    let (a, b) = (socket(vanilla()).await, socket(Config::default()).await);
    let listener = b.listen();
    let (stream, messages) = tokio::join!(a.connect(b.local_addr()), listener.accept_messages(config));
    (messages.unwrap(), stream.unwrap())
}

/// What comes before all messages.
fn greeting(config: &MessageConfig) -> Vec<u8> {
    [&[0, 0, 0, 0, 4][..], &config.agreement()].concat()
}

async fn exchange(one: &MessageConnection, other: &MessageConnection) {
    for (from, to) in [(one, other), (other, one)] {
        let large = Bytes::from(vec![7; 1 << 20]);
        let sent = [(3, Bytes::from("small")), (0, Bytes::new()), (4, large), (1, "last".into())];
        let ids = async {
            let mut ids = Vec::new();
            for (channel, message) in sent.clone() {
                ids.push(from.send(channel, message).await.unwrap());
            }
            ids
        };
        let heard = async {
            let mut heard = Vec::new();
            while heard.len() < sent.len() {
                let message = to.recv().await.unwrap().unwrap();
                heard.push((message.channel, message.bytes));
            }
            heard
        };
        let (ids, heard) = tokio::join!(ids, heard);
        assert!(heard == sent, "in order, whatever the channels promise");
        for id in ids {
            let receipt = from.acked().await.unwrap();
            assert_eq!((receipt.id, receipt.fate), (id, Fate::Delivered));
        }
    }
    assert_eq!(one.channel_stats(4).unwrap().delivered, 1);
    assert_eq!(one.channel_stats(4).unwrap().bytes_received, 1 << 20);
    let (closed, end) = tokio::join!(one.close(), other.recv());
    closed.unwrap();
    assert_eq!(end.unwrap(), None);
    assert_eq!(one.send(3, "late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    other.send(3, "the other direction goes on").await.unwrap();
    assert!(one.recv().await.unwrap().is_some());
}

#[tokio::test]
async fn a_peer_without_extensions_gets_messages_in_its_stream_whoever_calls() {
    for (caller, called) in
        [(vanilla(), Config::default()), (Config::default(), vanilla()), (vanilla(), vanilla())]
    {
        let (here, there) = pair(caller, called).await;
        assert!(here.is_framed() && there.is_framed());
        exchange(&here, &there).await;
    }
}

#[tokio::test]
async fn two_of_ours_need_no_frames() {
    let (here, there) = pair(Config::default(), Config::default()).await;
    assert!(!here.is_framed() && !there.is_framed());
    here.send(3, "hello").await.unwrap();
    assert_eq!(there.recv().await.unwrap().unwrap().bytes, "hello");
}

#[tokio::test]
async fn frames_are_used_only_where_they_are_allowed() {
    let strict = MessageConfig::default();
    // By the caller …
    let (a, b) = (socket(Config::default()).await, socket(vanilla()).await);
    let listener = b.listen();
    let config = framed();
    let (refused, _taken) =
        tokio::join!(a.connect_messages(b.local_addr(), &strict), listener.accept_messages(&config));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
    // … and by who is called.
    let accepting = tokio::spawn(async move { listener.accept_messages(&strict).await });
    let refused = a.connect_messages(b.local_addr(), &config).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    accepting.abort();
    // One of ours that takes streams only is not of another make.
    let c = socket(Config::default()).await;
    let listener = c.listen();
    let (refused, _taken) = tokio::join!(a.connect_messages(c.local_addr(), &config), listener.accept());
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn nothing_is_lost_or_out_of_order_over_a_bad_line() {
    let hub = MemoryHub::new();
    let [a, b] = ["10.0.0.1:9", "10.0.0.2:9"].map(|addr| {
        let line = BadLine::new(hub.attach(addr.parse().unwrap()).unwrap(), 2, 5);
        let (socket, driver) = UtpSocket::over(line, vanilla()).unwrap();
        tokio::spawn(driver.run());
        socket
    });
    let (listener, config) = (b.listen(), framed());
    let (here, there) =
        tokio::join!(a.connect_messages(b.local_addr(), &config), listener.accept_messages(&config));
    let (here, there) = (here.unwrap(), there.unwrap());
    const COUNT: u32 = 3000;
    let sending = async {
        for number in 0..COUNT {
            let mut message = number.to_be_bytes().to_vec();
            message.resize(4 + number as usize % 2000, number as u8);
            here.send((number % 5) as u8, message).await.unwrap();
        }
        here.close().await.unwrap();
    };
    let receiving = async {
        let mut next = 0u32;
        while let Some(message) = there.recv().await.unwrap() {
            assert_eq!(message.bytes[..4], next.to_be_bytes());
            assert_eq!((message.channel, message.bytes.len()), ((next % 5) as u8, 4 + next as usize % 2000));
            next += 1;
        }
        next
    };
    let ((), received) = tokio::join!(sending, receiving);
    assert_eq!(received, COUNT);
    assert!(here.stats().packets_retransmitted > 0);
}

#[tokio::test]
async fn a_program_of_another_make_can_speak_it() {
    let config = framed().max_message(1000);
    let (messages, mut stream) = with_stream(&config).await;
    stream.write_all(&greeting(&config)).await.unwrap();
    stream.write_all(b"\x03\0\0\0\x05hello").await.unwrap();
    let message = messages.recv().await.unwrap().unwrap();
    assert_eq!((message.channel, &message.bytes[..]), (3, &b"hello"[..]));
    messages.send(2, "answer").await.unwrap();
    let mut heard = [0; 20];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard[..], [&greeting(&config)[..], b"\x02\0\0\0\x06answer"].concat());

    // What is too long, or nowhere, is passed over without being kept.
    stream.write_all(b"\x03\0\x10\0\0").await.unwrap();
    stream.write_all(&vec![1; 1 << 20]).await.unwrap();
    stream.write_all(b"\x77\0\0\0\x01x").await.unwrap();
    stream.write_all(b"\x00\0\0\0\x03end").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap().bytes, "end");
    let stats = messages.message_stats();
    assert_eq!((stats.too_long, stats.wrong_channel, stats.held_bytes), (1, 1, 0));

    // And an end in the middle is counted.
    stream.write_all(b"\x00\0\0\0\x09half").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(messages.recv().await.unwrap(), None);
    assert_eq!(messages.message_stats().unassembled, 1);
}

#[tokio::test]
async fn who_speaks_of_something_else_is_reset_with_a_reason() {
    for strange in [&b"GET / HTTP/1.1\r\n"[..], b"\0\0\0\0\x04\x01\x07\0\0", b"x"] {
        let (messages, mut stream) = with_stream(&framed()).await;
        stream.write_all(strange).await.unwrap();
        let error = messages.recv().await.unwrap_err();
        let reason = error.get_ref().and_then(|source| source.downcast_ref::<CloseReason>());
        assert_eq!((error.kind(), reason), (io::ErrorKind::Unsupported, Some(&CloseReason::NoMessages)));
        let mut heard = Vec::new();
        let error = stream.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn when_nobody_takes_messages_there_is_no_room_and_they_are_handed_back() {
    let (messages, mut stream) = with_stream(&framed()).await;
    let message = Bytes::from(vec![5; 64 << 10]);
    let mut sent = 0;
    while let Ok(outcome) =
        tokio::time::timeout(Duration::from_millis(300), messages.send(3, message.clone())).await
    {
        outcome.unwrap();
        sent += 1;
    }
    assert!(!messages.can_send(3));
    let error = messages.try_send(3, message.clone()).unwrap_err();
    let full = error.get_ref().and_then(|source| source.downcast_ref::<SendError>()).unwrap();
    assert!(matches!(full, SendError::Full(back) if *back == message));
    assert_eq!(messages.try_send(5, message).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let mut heard = Vec::new();
    let (closed, read) = tokio::join!(messages.close(), stream.read_to_end(&mut heard));
    closed.unwrap();
    assert_eq!(read.unwrap(), greeting(&framed()).len() + sent * (5 + (64 << 10)));
}

#[test]
fn threads_get_frames_too() {
    let config = framed();
    let server = ebbtide::blocking::UtpSocket::bind_with("127.0.0.1:0", vanilla()).unwrap();
    let (listener, addr) = (server.listen(), server.local_addr().unwrap());
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let messages = listener.accept_messages(&config).unwrap();
            let message = messages.recv().unwrap().unwrap();
            messages.send(message.channel, message.bytes).unwrap();
            messages.close().unwrap();
        });
        let client = ebbtide::blocking::UtpSocket::bind("127.0.0.1:0").unwrap();
        let messages = client.connect_messages(addr, &config).unwrap();
        assert!(messages.is_framed());
        messages.send(1, "there and back").unwrap();
        assert_eq!(messages.recv().unwrap().unwrap().bytes, "there and back");
        assert_eq!(messages.recv().unwrap(), None);
        answering.join().unwrap();
    });
}
