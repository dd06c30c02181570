//! Sessions over connections that die: what is promised holds over memory pipes, TCP and uTP.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../blocking/bad_line.rs"]
mod bad_line;
mod kills;
mod loss;
mod reconnect;
mod swaps;

use bytes::Bytes;
use ebbtide::packet::Packet;
use ebbtide::session::Session;

/// A packet that says which one it is.
fn numbered(number: u32) -> Packet {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + number as usize % 700, number as u8);
    Packet::new(number as u8, payload)
}

/// Takes so many packets and checks that they are those, in order.
async fn expect_numbered(session: &Session, count: u32) {
    for number in 0..count {
        assert_eq!(session.recv().await.unwrap(), numbered(number), "packet {number}");
    }
}

fn word(text: &'static str) -> Packet {
    Packet::new(1, Bytes::from_static(text.as_bytes()))
}
