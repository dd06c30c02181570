//! Values of an application's types over a connection with messages, and what one of them costs.
#![cfg(all(feature = "tokio", feature = "serde"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::System;

use ebbtide::UtpSocket;
use ebbtide::message::{ChannelConfig, MessageConfig, Mode, Typed, TypedError};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Chat {
    who: String,
    words: Vec<String>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Position(f32, f32);

const POSITIONS: Typed<Position> = Typed::new(0, 1);
const CHATS: Typed<Chat> = Typed::new(1, 3);

#[test]
fn values_arrive_as_themselves_with_one_allocation_each_and_strange_ones_as_errors() {
    let chat = Chat { who: "Ümit".into(), words: vec!["hello".into(); 100] };
    let region = Region::new(ALLOCATOR);
    let bytes = CHATS.encode(&chat).unwrap();
    let spent = region.change();
    assert_eq!((spent.allocations, spent.reallocations), (1, 0), "{spent:?}");
    assert!(bytes.len() > 600);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(exchange(&chat));
}

async fn exchange(chat: &Chat) {
    let config = MessageConfig::new([
        ChannelConfig::new(Mode::ReliableUnordered),
        ChannelConfig::new(Mode::ReliableOrdered),
    ]);
    let [a, b] = [(); 2].map(|()| UtpSocket::bind("127.0.0.1:0".parse().unwrap()));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let listener = b.listen();
    let (here, there) =
        tokio::join!(a.connect_messages(b.local_addr(), &config), listener.accept_messages(&config));
    let (here, there) = (here.unwrap(), there.unwrap());
    here.send_typed(POSITIONS, &Position(1.5, -2.0)).await.unwrap();
    here.send_typed(CHATS, chat).await.unwrap();
    here.try_send_typed(CHATS, chat).unwrap();
    let (mut positions, mut chats) = (Vec::new(), Vec::new());
    while positions.len() + chats.len() < 3 {
        let message = there.recv().await.unwrap().unwrap();
        positions.extend(POSITIONS.open(&message).map(Result::unwrap));
        chats.extend(CHATS.open(&message).map(Result::unwrap));
    }
    assert_eq!((positions, chats), (vec![Position(1.5, -2.0)], vec![chat.clone(); 2]));

    // One who has another version, and one who sends something else.
    here.send_typed(Typed::<Chat>::new(1, 4), chat).await.unwrap();
    here.send(1, &b"\x03\0\x05a"[..]).await.unwrap();
    let mut errors = Vec::new();
    for _ in 0..2 {
        errors.push(CHATS.open(&there.recv().await.unwrap().unwrap()).unwrap().unwrap_err());
    }
    assert!(
        matches!(errors[..], [TypedError::WrongVersion { ours: 3, theirs: 4 }, TypedError::Truncated]),
        "{errors:?}"
    );
    let error = here.send_typed(CHATS.max_len(100), chat).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
