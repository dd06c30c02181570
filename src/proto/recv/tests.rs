//! What the receiving half owes to the peer and to the application.

use super::*;
use crate::wire::{SackBits, SeqNr};

/// A buffer whose first expected packet is `first`.
fn receiver(window: usize, first: u16) -> ReceiveBuffer {
    let mut recv = ReceiveBuffer::new(window);
    recv.start(SeqNr::new(first).prev());
    recv
}

fn seq(raw: u16) -> SeqNr {
    SeqNr::new(raw)
}

fn drain(recv: &mut ReceiveBuffer) -> Vec<u8> {
    let mut out = vec![0; recv.readable_bytes()];
    assert_eq!(recv.read(&mut out), out.len());
    out
}

fn mask(recv: &ReceiveBuffer) -> Vec<u8> {
    let mut bits = SackBits::new();
    bits.set(2000);
    recv.sack(&mut bits);
    bits.as_bytes().to_vec()
}

const fn in_order(bytes: usize) -> Inserted {
    Inserted::InOrder { bytes, filled_gap: false }
}

const fn filled(bytes: usize) -> Inserted {
    Inserted::InOrder { bytes, filled_gap: true }
}

#[test]
fn packets_in_turn_are_readable_at_once() {
    let mut recv = receiver(4096, 65_534);
    assert_eq!(recv.insert(seq(65_534), b"ab"), in_order(2));
    assert_eq!(recv.insert(seq(65_535), b""), in_order(0));
    assert_eq!(recv.insert(seq(0), b"cd"), in_order(2));
    assert_eq!((recv.cumulative(), recv.has_gap(), mask(&recv)), (seq(0), false, vec![]));
    let mut out = [0; 3];
    assert_eq!((recv.peek(&mut out), recv.read(&mut out), &out), (3, 3, b"abc"));
    assert_eq!((drain(&mut recv), recv.readable_bytes()), (b"d".to_vec(), 0));
}

#[test]
fn a_gap_is_reported_until_it_is_filled() {
    let mut recv = receiver(4096, 65_534);
    assert_eq!(recv.insert(seq(0), b"c"), Inserted::Held);
    assert_eq!(mask(&recv), [0b10, 0, 0, 0]);
    assert_eq!(recv.insert(seq(65_535), b"b"), Inserted::Held);
    assert_eq!((mask(&recv), recv.cumulative()), (vec![0b11, 0, 0, 0], seq(65_533)));
    assert_eq!(recv.insert(seq(65_534), b"a"), filled(3));
    assert_eq!((mask(&recv), recv.cumulative()), (vec![], seq(0)));
    assert_eq!(drain(&mut recv), b"abc");
}
