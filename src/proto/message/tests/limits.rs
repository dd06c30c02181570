//! What a hostile peer's frames can and cannot do.

use super::super::frame::{Verdict, Writer};
use super::*;

fn whole(mode: Mode, channel: u8, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer { out: &mut out }.whole(mode, channel, number, payload);
    out
}

fn fragment(mode: Mode, channel: u8, number: u32, offset: u32, total: u32) -> Vec<u8> {
    let mut out = Vec::new();
    Writer { out: &mut out }.fragment((mode, channel, number), offset, total, &[1]);
    out
}

/// Takes packets as a connection would; returns how many were refused.
fn feed(messages: &mut Messages, limit: usize, packets: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut refused = 0;
    for packet in packets {
        if messages.admits(&packet, limit, false) {
            messages.accept(Instant::ZERO, &packet);
        } else {
            refused += 1;
        }
        assert!(messages.held_bytes() <= limit + ROOM, "{} of {limit}", messages.held_bytes());
    }
    refused
}

const LIMIT: usize = 256 << 10;

#[test]
fn floods_of_fragments_stay_within_the_limits() {
    let config = MessageConfig::default().assembly_messages(64);
    let mut messages = Messages::new(&config);
    let flood = (0..100_000).map(|number| fragment(Mode::Unreliable, 0, number, 0, 1 << 20));
    assert_eq!(feed(&mut messages, LIMIT, flood), 0);
    assert!(messages.held_bytes() < 64 * 300);
    assert!(messages.stats().unassembled > 90_000);
    let mut messages = Messages::new(&config);
    let flood = (0..1000).map(|number| fragment(Mode::ReliableUnordered, 2, number, 0, 1 << 20));
    assert_eq!(feed(&mut messages, LIMIT, flood), 1000 - 64, "reliable ones wait at the sender");
    let rest = (0..64).map(|number| fragment(Mode::ReliableUnordered, 2, number, 1, 1 << 20));
    assert_eq!(feed(&mut messages, LIMIT, rest), 0, "those that have begun go on");
}

#[test]
fn fragments_of_one_byte_cost_their_sender_the_window() {
    let mut messages = Messages::new(&MessageConfig::default());
    let crumbs = (0..100_000).map(|offset| fragment(Mode::ReliableUnordered, 2, 0, 2 * offset, 1 << 20));
    let refused = feed(&mut messages, LIMIT, crumbs);
    assert!(refused > 95_000, "{refused}");
}

#[test]
fn ordered_messages_that_leave_a_gap_stay_within_the_limit_and_the_gap_can_be_closed() {
    let mut messages = Messages::new(&MessageConfig::default());
    let ahead = (1..100_000).map(|number| whole(Mode::ReliableOrdered, 3, number, &[7; 100]));
    assert!(feed(&mut messages, LIMIT, ahead) > 90_000);
    assert!(messages.receive().is_none());
    let first = whole(Mode::ReliableOrdered, 3, 0, b"first");
    assert!(messages.admits(&first, LIMIT, true), "what closes a gap has room of its own");
    messages.accept(Instant::ZERO, &first);
    assert_eq!(messages.receive().unwrap().bytes, "first");
    assert!(std::iter::from_fn(|| messages.receive()).filter(|m| m.bytes.len() == 100).count() > 1000);
    assert_eq!(messages.held_bytes(), 0);
}

/// What was taken ahead of its turn filled all places, and the packet that would have closed the gap begins a message too.
#[test]
fn a_gap_can_be_closed_by_the_beginning_of_a_message_however_many_are_there_in_part() {
    let config = MessageConfig::default().assembly_messages(2);
    let mut messages = Messages::new(&config);
    let begin = |number| fragment(Mode::ReliableUnordered, 2, number, 0, 2);
    assert_eq!(feed(&mut messages, LIMIT, (1..=3).map(begin)), 1);
    assert!(!messages.admits(&begin(0), LIMIT, false));
    assert!(messages.admits(&begin(0), LIMIT, true));
    messages.accept(Instant::ZERO, &begin(0));
    assert_eq!(messages.stats().unassembled, 0, "and none is given up for it");
    let rest = (0..3).map(|number| fragment(Mode::ReliableUnordered, 2, number, 1, 2));
    assert_eq!(feed(&mut messages, LIMIT, rest), 0);
    assert_eq!(std::iter::from_fn(|| messages.receive()).count(), 3);
    // A peer that never ends what it has begun gets no further.
    let endless = (9..99).map(begin).filter(|packet| {
        let admitted = messages.admits(packet, LIMIT, true);
        if admitted {
            messages.accept(Instant::ZERO, packet);
        }
        admitted
    });
    assert_eq!(endless.count(), 2 + 5);
}

/// P4: one crafted packet made the receiver panic. N6: a count of nought was a message.
#[test]
fn p4_n6_what_makes_no_sense_is_counted_and_changes_nothing() {
    let mut messages = Messages::new(&MessageConfig::default().max_message(1000));
    let packets = [
        vec![0xFF; 40],
        whole(Mode::Unreliable, 5, 0, b"no such channel"),
        whole(Mode::ReliableOrdered, 0, 0, b"another mode"),
        whole(Mode::Unreliable, 0, 0, &[1; 1001]),
        fragment(Mode::Unreliable, 0, 0, 0, 1001),
        whole(Mode::ReliableOrdered, 3, 1 << 25, b"far ahead"),
        fragment(Mode::ReliableUnordered, 2, 5, 3, 9),
        fragment(Mode::ReliableUnordered, 2, 5, 3, 9),
        fragment(Mode::ReliableUnordered, 2, 5, 4, 8),
    ];
    assert_eq!(feed(&mut messages, LIMIT, packets.into_iter()), 0);
    assert!(messages.receive().is_none());
    let stats = messages.stats();
    assert_eq!((stats.malformed, stats.wrong_channel, stats.too_long), (1, 2, 2));
    assert_eq!((stats.out_of_range, stats.overlapping), (1, 2));
}

/// Its other fragments are not sent again once they are lost, so it was kept for ever.
#[test]
fn a_fragment_of_a_message_that_is_outdated_is_not_kept_and_its_sender_is_told() {
    for (mode, channel) in [(Mode::UnreliableSequenced, 1), (Mode::ReliableSequenced, 4)] {
        let mut messages = Messages::new(&MessageConfig::default());
        let packets = [whole(mode, channel, 7, b"new"), fragment(mode, channel, 6, 0, 9)];
        assert_eq!(feed(&mut messages, LIMIT, packets.into_iter()), 0);
        assert_eq!(messages.receive().map(|message| message.bytes), Some("new".into()));
        assert_eq!(messages.held_bytes(), 0);
        assert_eq!(messages.channel_stats(channel).map(|stats| stats.outdated), Some(1));
        let mut told = Vec::new();
        Writer { out: &mut told }.receipt(mode, channel, 6, Verdict::Dropped);
        assert_eq!(messages.stage(Instant::ZERO, ROOM), Some(&told[..]));
    }
}

#[test]
fn receipts_for_what_was_never_sent_change_nothing() {
    let mut messages = Messages::new(&MessageConfig::default());
    let mut out = Vec::new();
    for number in 0..100 {
        Writer { out: &mut out }.receipt(Mode::ReliableUnordered, 2, number, Verdict::Delivered);
    }
    messages.accept(Instant::ZERO, &out);
    assert_eq!(messages.next_receipt(), None);
}

#[test]
fn an_idle_channel_costs_less_than_256_bytes() {
    let memory = |channels: usize| {
        let config = MessageConfig::new(vec![ChannelConfig::new(Mode::ReliableOrdered); channels]);
        let messages = Messages::new(&config);
        messages.idle_bytes()
    };
    let each = (memory(256) - memory(16)) / 240;
    assert!(each <= 256, "{each} bytes");
}

#[test]
fn once_nothing_more_will_be_sent_nothing_waits_and_nothing_more_is_known() {
    let mut messages = Messages::new(&MessageConfig::default().max_message(5000));
    for len in [10, 5000, 5000] {
        messages.send(2, vec![1; len].into()).unwrap();
    }
    assert!(messages.stage(Instant::ZERO, ROOM).is_some());
    messages.on_numbered();
    assert!(messages.stage(Instant::ZERO, ROOM).is_some());
    messages.accept(Instant::ZERO, &fragment(Mode::Unreliable, 0, 0, 0, 5001));
    assert!(messages.unsent_bytes() > 5000 && messages.memory_bytes() > 5000);
    messages.abandon();
    assert_eq!(messages.unsent_bytes(), 0);
    assert_eq!(messages.ready_at(ROOM), None);
    assert_eq!(messages.stage(Instant::ZERO, ROOM), None);
    messages.on_acknowledged(1);
    assert_eq!(messages.next_receipt(), None);
    assert_eq!(messages.channel_stats(2).map(|stats| stats.queue_bytes), Some(0));
}

#[test]
fn what_nobody_will_take_counts_no_more_and_what_comes_in_part_ages_all_the_same() {
    let config = MessageConfig::default().assembly_age(Duration::from_secs(2));
    let mut messages = Messages::new(&config);
    let packets = [whole(Mode::Unreliable, 0, 0, &[1; 500]), fragment(Mode::Unreliable, 0, 1, 0, 9)];
    assert_eq!(feed(&mut messages, LIMIT, packets.into_iter()), 0);
    assert!(messages.has_messages() && messages.held_bytes() > 500);
    messages.discard();
    assert!(!messages.has_messages() && messages.receive().is_none());
    assert!((1..500).contains(&messages.held_bytes()));
    let at = Instant::ZERO + Duration::from_secs(2);
    assert_eq!(messages.next_expiry(), Some(at));
    messages.expire(at);
    assert_eq!((messages.held_bytes(), messages.next_expiry()), (0, None));
    assert_eq!(messages.stats().unassembled, 1);
}

#[test]
fn a_message_that_is_not_taken_comes_back_with_the_reason() {
    let channel = ChannelConfig::new(Mode::ReliableOrdered).queue_bytes(1024);
    let mut messages = Messages::new(&MessageConfig::new([channel]).max_message(2000));
    let mut refused = |channel, len: usize| {
        let error = messages.send(channel, vec![7; len].into()).unwrap_err();
        let reason = error.to_string();
        assert_eq!(error.into_bytes(), vec![7; len]);
        reason
    };
    assert_eq!(refused(1, 3), "there is no such channel");
    assert_eq!(refused(0, 2001), "the message is too long");
    messages.send(0, vec![7; 2000].into()).unwrap();
    let error = messages.send(0, "more".into()).unwrap_err();
    assert_eq!(
        (error.to_string(), error.into_bytes()),
        ("the channel's queue is full".into(), "more".into())
    );
    assert!(!messages.can_send(0) && !messages.can_send(1));
}
