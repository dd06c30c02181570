//! What the receiving half owes to the peer and to the application.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use super::*;
use crate::wire::{SackBits, SeqNr};

mod honest;
mod hostile;
mod model;

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

#[test]
fn a_second_copy_is_recognised_wherever_the_first_one_is() {
    let mut recv = receiver(4096, 65_535);
    recv.insert(seq(65_535), b"a");
    recv.insert(seq(1), b"c");
    assert_eq!(recv.insert(seq(65_535), b"A"), Inserted::Duplicate);
    assert_eq!(recv.insert(seq(1), b"C"), Inserted::Duplicate);
    assert_eq!(recv.insert(seq(32_767), b"old"), Inserted::Duplicate, "half-way round counts as behind");
    recv.insert(seq(0), b"b");
    assert_eq!(drain(&mut recv), b"abc");
}

#[test]
fn a_mask_reaches_over_many_words_and_the_wrap() {
    for first in [1, 65_000, 65_472, 65_535] {
        let mut recv = receiver(1 << 20, first);
        let mut expected = SackBits::new();
        for index in [0, 1, 62, 63, 64, 127, 500, 1000, 2015, 2016] {
            assert_eq!(recv.insert(seq(first) + 1 + index, b"x"), Inserted::Held);
            expected.set(usize::from(index));
            assert_eq!(mask(&recv), expected.as_bytes(), "bit {index} with {first} missing");
        }
    }
}

#[test]
fn what_was_advertised_is_accepted_and_what_goes_beyond_is_refused() {
    let mut recv = receiver(4096, 65_534);
    assert_eq!(recv.insert(seq(65_535), &[2; 1000]), Inserted::Held);
    assert_eq!(recv.window(), 3096);
    assert_eq!(recv.insert(seq(0), &[3; 2000]), Inserted::Held);
    assert_eq!(recv.insert(seq(1), &[4; 1097]), Inserted::Refused);
    assert_eq!(recv.insert(seq(65_534), &[1; 1096]), filled(4096));
    assert_eq!(recv.window(), 0);
    assert_eq!(recv.insert(seq(1), b"x"), Inserted::Refused);
    assert_eq!(recv.insert(seq(1), b""), in_order(0), "an empty packet always has room");
    assert_eq!(recv.read(&mut [0; 10]), 10);
    assert_eq!((recv.window(), recv.insert(seq(2), &[5; 11])), (10, Inserted::Refused));
    assert_eq!(recv.insert(seq(2), &[5; 10]), in_order(10));
}

#[test]
fn a_peer_that_fills_all_room_behind_a_gap_can_still_fill_the_gap() {
    let mut recv = receiver(5000, 65_534);
    assert_eq!(recv.insert(seq(0), &[3; 5000]), Inserted::Held);
    assert_eq!(recv.window(), 0);
    assert_eq!(recv.insert(seq(65_534), &[1; 5001]), Inserted::Refused, "more than the window ever was");
    assert_eq!(recv.insert(seq(65_534), &[1; 1000]), filled(1000));
    assert_eq!(recv.insert(seq(65_535), &[2; 1000]), Inserted::Refused, "until the first part was read");
    assert_eq!(drain(&mut recv), [1; 1000]);
    assert_eq!(recv.insert(seq(65_535), &[2; 1000]), filled(6000));
    assert_eq!((recv.window(), recv.insert(seq(1), b"x")), (0, Inserted::Refused));
    assert_eq!(drain(&mut recv), [[2; 1000].as_slice(), &[3; 5000]].concat());
    assert_eq!((recv.window(), recv.limit()), (5000, 5000));
    recv.release();
    assert_eq!((recv.insert(seq(1), &[4; 5000]), recv.memory_bytes()), (in_order(5000), 5000));
}

/// An overtaken packet had shown libtorrent a larger window, and what it sent too much took the room of two packets
/// that were missing. It gave up without a word when the third copy of one of them was refused.
#[test]
fn packets_for_gaps_find_room_in_a_full_window() {
    let mut recv = receiver(16_000, 65_534);
    assert_eq!(recv.insert(seq(65_534), &[1; 4000]), in_order(4000));
    assert_eq!(recv.insert(seq(0), &[3; 6000]), Inserted::Held);
    assert_eq!(recv.insert(seq(2), &[5; 6000]), Inserted::Held);
    assert_eq!((recv.window(), recv.insert(seq(3), b"x")), (0, Inserted::Refused));
    assert_eq!(recv.insert(seq(1), &[4; 500]), Inserted::Held);
    assert_eq!(recv.insert(seq(65_535), &[2; 501]), Inserted::Refused, "a sixteenth and no more");
    assert_eq!(recv.insert(seq(65_535), &[2; 500]), filled(13_000));
    assert_eq!((recv.window(), recv.insert(seq(3), b"x")), (0, Inserted::Refused));
    assert_eq!(drain(&mut recv).len(), 17_000);
    assert_eq!((recv.window(), recv.limit()), (16_000, 16_000));
}

#[test]
fn a_flood_of_tiny_packets_takes_no_more_than_the_window() {
    let windows = [(4096, 64), (16 << 10, 256), (16 << 20, 32_766)];
    for &(window, most) in &windows[..if cfg!(miri) { 1 } else { 3 }] {
        let mut recv = receiver(window, 60_000);
        let packets = (1..40_000).map(|ahead| seq(60_000) + ahead);
        let held = packets.filter(|packet| recv.insert(*packet, b"x") == Inserted::Held).count();
        assert_eq!((held, recv.window() as usize), (most, window - most * 64));
        assert_eq!(recv.insert(seq(60_000), b"x"), filled(1 + most));
        assert_eq!(recv.window() as usize, window - 1 - most, "in order they take only what they are");
    }
}

#[test]
fn how_far_ahead_a_packet_may_be_follows_the_window() {
    for (window, slots) in [(4096, 1024), (1 << 20, 2048), (8 << 20, 16_384), (256 << 20, 32_767)] {
        let mut recv = receiver(window, 65_534);
        let last = seq(65_533) + slots;
        assert_eq!(
            recv.insert(last.next(), b"x"),
            if slots == 32_767 { Inserted::Duplicate } else { Inserted::Refused }
        );
        assert_eq!(recv.insert(last, b"x"), Inserted::Held);
        assert_eq!(recv.insert(last, b"x"), Inserted::Duplicate);
    }
}

#[test]
fn a_promise_is_never_taken_back() {
    let mut recv = receiver(4096, 1);
    recv.set_limit(1000);
    assert_eq!((recv.limit(), recv.window()), (4096, 4096));
    recv.set_limit(8 << 30);
    assert_eq!(recv.window(), u32::MAX);
}

#[test]
fn the_end_uses_up_a_number_and_comes_after_all_bytes() {
    let mut recv = receiver(4096, 65_535);
    assert_eq!(recv.finish_at(seq(1), b""), Inserted::Held);
    assert_eq!((mask(&recv), recv.is_finished()), (vec![0b10, 0, 0, 0], false));
    assert_eq!(recv.insert(seq(0), b"b"), Inserted::Held);
    assert_eq!(recv.insert(seq(65_535), b"a"), filled(2));
    assert_eq!((recv.cumulative(), recv.is_finished(), recv.at_eof()), (seq(1), true, false));
    assert_eq!(recv.finish_at(seq(1), b""), Inserted::Duplicate);
    assert_eq!((drain(&mut recv), recv.at_eof()), (b"ab".to_vec(), true));
}

#[test]
fn bytes_on_the_last_packet_are_delivered() {
    let mut recv = receiver(4096, 0);
    assert_eq!(recv.finish_at(seq(1), b"the end"), Inserted::Held);
    assert_eq!(recv.insert(seq(0), b"until "), filled(13));
    assert!(recv.is_finished());
    assert_eq!(drain(&mut recv), b"until the end");
}

#[test]
fn an_end_without_room_for_its_bytes_is_not_the_end_yet() {
    let mut recv = receiver(4096, 0);
    recv.insert(seq(0), &[0; 4096]);
    assert_eq!(recv.finish_at(seq(1), b"last"), Inserted::Refused);
    assert!(!recv.is_finished());
    drain(&mut recv);
    assert_eq!((recv.finish_at(seq(1), b"last"), recv.is_finished()), (in_order(4), true));
}

#[test]
fn nothing_comes_after_the_end() {
    let mut recv = receiver(4096, 65_534);
    assert_eq!(recv.finish_at(seq(65_535), b""), Inserted::Held);
    assert_eq!(recv.insert(seq(0), b"no"), Inserted::Refused);
    assert_eq!(recv.insert(seq(65_534), b"a"), filled(1));
    assert_eq!(recv.insert(seq(0), b"no"), Inserted::Refused);
    assert_eq!(recv.finish_at(seq(0), b"no"), Inserted::Refused);
    assert_eq!((drain(&mut recv), recv.cumulative(), recv.at_eof()), (b"a".to_vec(), seq(65_535), true));
}

#[test]
fn an_end_that_contradicts_what_arrived_is_ignored() {
    let mut recv = receiver(4096, 65_534);
    recv.insert(seq(1), b"d");
    assert_eq!(recv.finish_at(seq(0), b"x"), Inserted::Refused, "a later packet is here");
    assert_eq!(recv.finish_at(seq(1), b"x"), Inserted::Duplicate, "that number carried data");
    assert_eq!(recv.finish_at(seq(2), b""), Inserted::Held);
    assert_eq!(recv.finish_at(seq(65_535), b"x"), Inserted::Refused, "there is another end");
    assert_eq!(recv.finish_at(seq(65_533), b"x"), Inserted::Duplicate, "long gone");
    recv.insert(seq(65_535), b"b");
    recv.insert(seq(0), b"c");
    recv.insert(seq(65_534), b"a");
    assert!(recv.is_finished());
    assert_eq!(drain(&mut recv), b"abcd");
}

#[test]
fn what_nobody_reads_can_be_thrown_away() {
    let mut recv = receiver(4096, 7);
    recv.insert(seq(7), b"unread");
    recv.insert(seq(9), b"held");
    assert_eq!((recv.discard(), recv.discard(), recv.readable_bytes()), (6, 0, 0));
    assert_eq!((recv.insert(seq(8), b""), drain(&mut recv)), (filled(4), b"held".to_vec()));
}

#[test]
fn an_idle_buffer_takes_no_memory() {
    let mut recv = receiver(1 << 20, 65_534);
    assert_eq!(recv.memory_bytes(), 0);
    recv.insert(seq(500), &[9; 1400]);
    recv.insert(seq(65_535), &[1; 1400]);
    assert_eq!(recv.memory_bytes(), 2 * 1408 + 512 * 16 + 512 / 8);
    for packet in 0..=501 {
        recv.insert(seq(65_534) + packet, b"x");
    }
    assert_eq!((recv.has_gap(), recv.memory_bytes()), (false, 4096));
    recv.release();
    assert_eq!((drain(&mut recv).len(), recv.memory_bytes()), (2 * 1400 + 501, 4096));
    recv.release();
    assert_eq!(recv.memory_bytes(), 0);
    recv.insert(seq(501), b"again");
    assert_eq!(drain(&mut recv), b"again");
}

#[test]
fn the_first_bytes_in_turn_are_no_growth() {
    let mut recv = receiver(1 << 20, 65_534);
    assert_eq!(recv.growth_for(seq(65_534), &[0; 4096]), 0);
    assert!(recv.growth_for(seq(65_534), &[0; 4097]) >= 4097);
    assert!(recv.growth_for(seq(0), &[0; 100]) >= 100, "out of turn everything counts");
    recv.insert(seq(65_534), &[0; 4000]);
    assert!(recv.growth_for(seq(65_535), &[0; 1000]) > 0);
    drain(&mut recv);
    assert_eq!(recv.growth_for(seq(65_535), &[0; 1000]), 0);
    assert!(recv.growth_for(seq(65_535), &[0; 5000]) > 0);
    recv.insert(seq(0), b"waits");
    assert_eq!(recv.growth_for(seq(65_535), &[0; 5000]), 0, "what waits moves into the ring");
}
