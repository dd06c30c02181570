//! Messages over real sockets, as an application uses them.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ebbtide::message::{ChannelConfig, Fate, MessageConfig, MessageConnection, Mode, SendError};
use ebbtide::{CloseReason, UtpSocket};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

async fn pair(config: &MessageConfig) -> (MessageConnection, MessageConnection) {
    let [a, b] = [(); 2].map(|()| UtpSocket::bind("127.0.0.1:0".parse().unwrap()));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let listener = b.listen();
    let (here, there) =
        tokio::join!(a.connect_messages(b.local_addr(), config), listener.accept_messages(config));
    (here.unwrap(), there.unwrap())
}

#[tokio::test]
async fn messages_keep_their_boundaries_and_are_acknowledged_when_they_are_there() {
    let (here, there) = pair(&MessageConfig::default()).await;
    let large = vec![7u8; 1 << 20];
    let ids = [
        here.send(3, "small").await.unwrap(),
        here.send(3, Bytes::new()).await.unwrap(),
        here.send(3, large.clone()).await.unwrap(),
    ];
    for expected in [&b"small"[..], b"", &large] {
        let message = there.recv().await.unwrap().unwrap();
        assert_eq!((message.channel, &message.bytes[..]), (3, expected));
    }
    let mut known = Vec::new();
    while known.len() < 3 {
        let receipt = timeout(Duration::from_secs(5), here.acked()).await.unwrap().unwrap();
        assert_eq!(receipt.fate, Fate::Delivered);
        known.push(receipt.id);
    }
    known.sort();
    assert_eq!(known, ids);
    here.close().await.unwrap();
    assert_eq!(there.recv().await.unwrap(), None);
    assert_eq!(here.send(3, "late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn what_cannot_be_sent_is_handed_back() {
    let channel = ChannelConfig::new(Mode::ReliableOrdered).queue_bytes(1024);
    let (here, _there) = pair(&MessageConfig::new([channel]).max_message(2000)).await;
    let kind = |error: &io::Error| error.kind();
    assert_eq!(kind(&here.try_send(1, "x").unwrap_err()), io::ErrorKind::InvalidInput);
    assert_eq!(kind(&here.try_send(0, vec![0; 2001]).unwrap_err()), io::ErrorKind::InvalidInput);
    let full = loop {
        match here.try_send(0, vec![9; 1500]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let error = full.get_ref().and_then(|source| source.downcast_ref::<SendError>()).unwrap();
    assert!(matches!(error, SendError::Full(message) if message.len() == 1500));
}

#[tokio::test]
async fn streams_and_messages_do_not_meet() {
    let [a, b] = [(); 2].map(|()| UtpSocket::bind("127.0.0.1:0".parse().unwrap()));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let listener = b.listen();
    let config = MessageConfig::default();
    // Somebody who takes streams only.
    let (refused, taken) = tokio::join!(a.connect_messages(b.local_addr(), &config), listener.accept());
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let reason = error.get_ref().and_then(|source| source.downcast_ref::<CloseReason>());
    assert_eq!(reason, Some(&CloseReason::NoMessages));
    let (mut stream, _) = taken.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    // Somebody who takes messages only.
    let accepting = tokio::spawn(async move { listener.accept_messages(&config).await });
    assert_eq!(a.connect(b.local_addr()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    accepting.abort();
}
