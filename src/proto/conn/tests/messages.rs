//! Message mode: what a connection puts into packets, what it makes of their loss and arrival, and what a peer with
//! absurd frames gets.

use bytes::Bytes;

use super::*;
use crate::proto::message::{
    ChannelConfig, Fate, MessageConfig, MessageId, MessageStats, Mode, Receipt, SendError,
};

/// Channels of the default configuration; the number of each is what stands for its mode on the wire.
const UNRELIABLE: u8 = 0;
const UNORDERED: u8 = 2;
const ORDERED: u8 = 3;

/// The peer dialled, both agree about messages, and the peer has proved its address.
fn talking(config: Config, channels: &MessageConfig) -> Raw {
    let mut raw = Raw::dialled_by(config, syn());
    raw.conn.use_messages(channels);
    raw.hear();
    raw.say(Kind::State, b"");
    assert!(raw.conn.is_confirmed());
    raw.hear();
    raw
}

fn usual() -> Raw {
    talking(unlimited(), &MessageConfig::default())
}

/// A frame with a whole message.
fn whole(channel: u8, number: u32, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 128, "a length of one byte");
    [&[channel, channel], &number.to_be_bytes()[..], &[payload.len() as u8], payload].concat()
}

/// A frame with a part of a message; no length above 127 but `total`, which takes three bytes.
fn fragment(channel: u8, number: u32, offset: u8, total: u32, payload: &[u8]) -> Vec<u8> {
    let total = [total as u8 | 0x80, (total >> 7) as u8 | 0x80, (total >> 14) as u8 & 0x7F];
    let head = [&[channel | 1 << 3, channel], &number.to_be_bytes()[..], &[offset]].concat();
    [&head, &total[..], &[payload.len() as u8], payload].concat()
}

/// What the peer says about a message that came in fragments.
fn verdict(channel: u8, number: u32, dropped: bool) -> Vec<u8> {
    [&[channel | 2 << 3, channel], &number.to_be_bytes()[..], &[u8::from(dropped)]].concat()
}

impl Raw {
    fn send(&mut self, channel: u8, bytes: impl Into<Bytes>) -> MessageId {
        self.conn.send_message(channel, bytes.into()).unwrap()
    }

    fn taken(&mut self) -> Vec<(u8, Bytes)> {
        std::iter::from_fn(|| self.conn.receive_message()).map(|it| (it.channel, it.bytes)).collect()
    }

    fn fates(&mut self) -> Vec<(MessageId, Fate)> {
        std::iter::from_fn(|| self.conn.next_receipt()).map(|Receipt { id, fate, .. }| (id, fate)).collect()
    }

    fn message_stats(&self) -> MessageStats {
        self.conn.message_stats().unwrap()
    }
}

fn payloads(heard: &[Heard]) -> Vec<Vec<u8>> {
    heard.iter().filter(|it| it.kind() == Kind::Data).map(|it| it.packet().payload.to_vec()).collect()
}

#[test]
fn messages_are_handed_up_though_a_packet_before_them_is_missing() {
    let mut raw = usual();
    let missing = raw.header(Kind::Data);
    raw.seq = raw.seq.next();
    raw.say(Kind::Data, &[whole(ORDERED, 0, b"a"), whole(UNORDERED, 7, b"b")].concat());
    assert_eq!(raw.taken(), [(ORDERED, Bytes::from("a")), (UNORDERED, Bytes::from("b"))]);
    let ack = only(Kind::State, &raw.hear())[0].ack;
    assert_eq!(ack, missing.seq.prev(), "and what is missing is asked for");
    raw.say_with(missing, Extensions::EMPTY, &whole(UNRELIABLE, 0, b"c"));
    assert_eq!(raw.taken(), [(UNRELIABLE, Bytes::from("c"))]);
    assert_eq!(only(Kind::State, &raw.hear())[0].ack, raw.seq.prev());
    raw.say_with(missing, Extensions::EMPTY, &whole(UNRELIABLE, 1, b"a second version"));
    assert_eq!(raw.taken(), [], "a number is taken once");
}

#[test]
fn small_messages_share_a_packet_and_one_that_is_lost_comes_again_with_what_is_still_wanted() {
    let mut raw = usual();
    let (gone, kept) = (raw.send(UNRELIABLE, "gone"), raw.send(ORDERED, "kept"));
    let first = raw.hear();
    assert_eq!(payloads(&first), [[whole(UNRELIABLE, 0, b"gone"), whole(ORDERED, 0, b"kept")].concat()]);
    let alone = raw.send(UNRELIABLE, "alone");
    let second = raw.hear();
    assert_eq!(payloads(&second), [whole(UNRELIABLE, 1, b"alone")]);
    let again = raw.pass_hearing(secs(5));
    let versions = |heard: &Heard| {
        let of = |it: &&Heard| it.header().seq == heard.header().seq;
        again.iter().filter(of).map(|it| it.packet().payload.to_vec()).collect::<Vec<_>>()
    };
    let (first, second) = (versions(&first[0]), versions(&second[0]));
    assert!(!first.is_empty() && first.iter().all(|it| *it == whole(ORDERED, 0, b"kept")), "{first:?}");
    assert!(second.iter().all(Vec::is_empty), "a bare header: {second:?}");
    let mut fates = raw.fates();
    assert!(fates.contains(&(gone, Fate::Lost)) && !fates.iter().any(|fate| fate.0 == kept), "{fates:?}");
    raw.acknowledge_all();
    fates.extend(raw.fates());
    assert!(fates.contains(&(kept, Fate::Delivered)), "{fates:?}");
    fates.sort_by_key(|fate| fate.0);
    assert!(fates.iter().map(|fate| fate.0).eq([gone, kept, alone]), "one for each: {fates:?}");
    let stats = raw.conn.channel_stats(UNRELIABLE).unwrap();
    assert!(stats.losses >= 1 && stats.lost >= 1, "{stats:?}");
    assert!(raw.conn.channel_stats(ORDERED).unwrap().losses >= 1);
}

#[test]
fn a_packet_that_is_reported_early_is_a_receipt_for_its_messages_alone() {
    let mut raw = usual();
    let ids = ["one", "two", "three"].map(|text| {
        let id = raw.send(UNORDERED, text);
        assert_eq!(raw.hear().len(), 1);
        id
    });
    raw.pass(millis(20));
    // The first acknowledgement stays; bit 1 is the third packet.
    raw.ack = raw.conn.send.last_acked();
    raw.say_sack(&[0b10, 0, 0, 0]);
    assert_eq!(raw.fates(), [(ids[2], Fate::Delivered)]);
    raw.acknowledge_all();
    assert_eq!(raw.fates(), [(ids[0], Fate::Delivered), (ids[1], Fate::Delivered)]);
}

#[test]
fn a_message_in_fragments_is_delivered_when_the_peer_says_so_and_not_by_acknowledgements() {
    let mut raw = usual();
    let (whole_of_it, dropped) = (raw.send(UNORDERED, vec![7; 3000]), raw.send(UNORDERED, vec![8; 3000]));
    assert!(payloads(&raw.hear()).len() > 2);
    raw.acknowledge_all();
    assert_eq!(raw.fates(), []);
    raw.say(Kind::Data, &[verdict(UNORDERED, 0, false), verdict(UNORDERED, 1, true)].concat());
    assert_eq!(raw.fates(), [(whole_of_it, Fate::Delivered), (dropped, Fate::Lost)]);
    raw.say(Kind::Data, &[verdict(UNORDERED, 0, false), verdict(UNORDERED, 99, false)].concat());
    assert_eq!(raw.fates(), [], "said twice, and about nothing that was sent");
    let stats = raw.conn.channel_stats(UNORDERED).unwrap();
    assert_eq!((stats.delivered, stats.bytes_delivered, stats.lost), (1, 3000, 1));
}

/// Whoever sends unreliable ones is told what was put together, and what was given up.
#[test]
fn fragments_become_a_message_or_are_given_up_after_a_while_and_the_peer_is_told() {
    let mut raw = talking(unlimited(), &MessageConfig::default().assembly_age(secs(1)));
    raw.say(Kind::Data, &fragment(UNRELIABLE, 4, 3, 5, b"lo"));
    raw.say(Kind::Data, &fragment(UNRELIABLE, 4, 0, 5, b"hel"));
    assert_eq!(raw.taken(), [(UNRELIABLE, Bytes::from("hello"))]);
    assert_eq!(payloads(&raw.hear()), [verdict(UNRELIABLE, 4, false)]);
    raw.say(Kind::Data, &fragment(UNRELIABLE, 9, 0, 5, b"hel"));
    assert!(raw.message_stats().held_bytes > 0);
    raw.hear();
    let heard = raw.pass_hearing(millis(1100));
    assert!(payloads(&heard).contains(&verdict(UNRELIABLE, 9, true)), "{heard:?}");
    assert_eq!((raw.message_stats().unassembled, raw.message_stats().held_bytes), (1, 0));
}

#[test]
fn frames_that_make_no_sense_are_acknowledged_counted_by_reason_and_change_nothing_else() {
    let mut raw = talking(unlimited(), &MessageConfig::default().max_message(1000));
    let absurd = [
        vec![0xFF; 40],
        whole(ORDERED, 0, b"cut")[..8].to_vec(),
        [&[UNRELIABLE, 9], &whole(UNRELIABLE, 0, b"no such channel")[2..]].concat(),
        [&[ORDERED, UNRELIABLE], &whole(ORDERED, 0, b"another mode")[2..]].concat(),
        fragment(UNORDERED, 0, 0, 1001, b"of too long a message"),
        whole(ORDERED, 1 << 25, b"far ahead"),
        whole(ORDERED, u32::MAX, b"before the first"),
        fragment(UNORDERED, 1 << 25, 0, 9, b"far ahead"),
        fragment(UNORDERED, 5, 3, 9, b"abc"),
        fragment(UNORDERED, 5, 3, 9, b"abc"),
        fragment(UNORDERED, 5, 4, 9, b"abcd"),
        fragment(UNORDERED, 5, 0, 8, b"abc"),
    ];
    for frames in &absurd {
        raw.say(Kind::Data, frames);
        raw.hear();
    }
    assert_eq!(raw.taken(), []);
    let stats = raw.message_stats();
    assert_eq!((stats.malformed, stats.wrong_channel, stats.too_long), (2, 2, 1));
    assert_eq!((stats.out_of_range, stats.overlapping, stats.refused), (3, 3, 0));
    assert!(raw.conn.is_connected() && stats.held_bytes < 1000, "{stats:?}");
    raw.say(Kind::Data, &whole(ORDERED, 0, b"goes on"));
    assert_eq!(raw.taken(), [(ORDERED, Bytes::from("goes on"))]);
}

/// A peer that sends what nobody takes, keeps gaps open, and begins messages that it never ends.
#[test]
fn whatever_a_peer_sends_what_is_held_stays_within_the_window() {
    let config = Config::default().receive_buffer(16 << 10).receive_buffer_max(16 << 10);
    let channels = MessageConfig::default().max_message(1000).assembly_messages(8);
    let frames: [fn(u32) -> Vec<u8>; 4] = [
        |number| whole(ORDERED, number + 1, &[1; 100]),
        |number| whole(UNORDERED, number, &[]),
        |number| fragment(UNORDERED, number, 0, 900, &[1]),
        |number| fragment(UNRELIABLE, number, 0, 900, &[1; 100]),
    ];
    for frame in frames {
        let mut raw = talking(config.clone(), &channels);
        let limit = raw.conn.recv.limit();
        for number in 0..3000 {
            // As many as fit into one packet.
            raw.ack = raw.conn.send.next_seq().prev();
            let packet: Vec<u8> = (0..10).flat_map(|place| frame(10 * number + place)).collect();
            raw.say(Kind::Data, &packet);
            raw.hear();
            let held = raw.message_stats().held_bytes;
            // The next packet in order has room beyond: as much as frames may cost for each of its bytes.
            assert!(held <= limit + 32 * packet.len(), "{held} of {limit}, after {number}");
            // What was refused is not acknowledged, and would come again.
            raw.seq = raw.conn.recv.cumulative().next();
        }
        assert!(raw.conn.is_connected());
        assert!(raw.conn.message_memory() < 8 * limit, "{}", raw.conn.message_memory());
    }
}

#[test]
fn what_is_not_taken_closes_the_window_and_taking_it_opens_it_again() {
    let config = unlimited().receive_buffer(8 << 10).receive_buffer_max(8 << 10);
    let mut raw = talking(config, &MessageConfig::default().max_message(100));
    let mut window = raw.conn.window();
    let mut number = 0;
    while raw.message_stats().refused == 0 {
        raw.say(Kind::Data, &whole(UNORDERED, number, &[7; 100]));
        number += 1;
        raw.hear();
        assert!(raw.conn.window() < window || window == 0 || raw.message_stats().refused > 0);
        window = raw.conn.window();
        assert!(number < 1000);
    }
    let refused = raw.seq.prev();
    assert_eq!(raw.conn.recv.cumulative(), refused.prev(), "what was not kept is not acknowledged");
    assert_eq!(raw.conn.stats().packets_refused, 1);
    assert_eq!(raw.taken().len(), number as usize - 1);
    assert!(raw.conn.wants_service(), "the peer has to learn that there is room");
    let told = only(Kind::State, &raw.hear());
    assert!(told[0].window >= 8 << 10, "{told:?}");
    raw.seq = refused;
    raw.say(Kind::Data, &whole(UNORDERED, number - 1, &[7; 100]));
    assert_eq!(raw.taken().len(), 1);
}

#[test]
fn a_peer_that_does_not_confirm_gets_no_messages() {
    let mut raw = Raw::dialling(config());
    raw.conn.use_messages(&MessageConfig::default());
    raw.send(ORDERED, "early");
    assert_eq!(raw.hear().iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Syn]);
    raw.pass(millis(20));
    raw.say(Kind::State, b"");
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::NoMessages));
    assert_eq!(raw.hear().iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Reset]);
    let refusal = raw.conn.send_message(ORDERED, Bytes::from("late")).unwrap_err();
    assert_eq!(refusal, MessageRefusal::Closed(CloseReason::NoMessages, Bytes::from("late")));
    assert!(raw.conn.is_out_of_messages());
}

#[test]
fn a_stream_takes_no_messages_and_has_no_numbers_about_them() {
    let mut raw = Raw::accepted(config());
    let refusal = raw.conn.send_message(0, Bytes::from("text")).unwrap_err();
    assert_eq!(refusal, MessageRefusal::Finished(Bytes::from("text")));
    assert!(!raw.conn.has_messages() && !raw.conn.can_send_message(0));
    assert_eq!((raw.conn.receive_message(), raw.conn.next_receipt()), (None, None));
    assert_eq!((raw.conn.message_stats(), raw.conn.channel_stats(0)), (None, None));
    raw.conn.flush_messages();
    assert!(!raw.conn.wants_service());
}

#[test]
fn the_end_follows_the_last_message_and_nothing_is_taken_after_it() {
    let mut raw = usual();
    let id = raw.send(ORDERED, "last words");
    raw.conn.finish();
    let refusal = raw.conn.send_message(ORDERED, Bytes::from("more")).unwrap_err();
    assert_eq!(refusal, MessageRefusal::Finished(Bytes::from("more")));
    let heard = raw.hear();
    assert_eq!(heard.iter().map(Heard::kind).collect::<Vec<_>>(), [Kind::Data, Kind::Fin]);
    raw.acknowledge_all();
    assert_eq!(raw.fates(), [(id, Fate::Delivered)]);
    raw.say(Kind::Data, &whole(ORDERED, 0, b"theirs"));
    raw.say(Kind::Fin, b"");
    assert!(!raw.conn.is_out_of_messages());
    assert_eq!(raw.taken(), [(ORDERED, Bytes::from("theirs"))]);
    assert!(raw.conn.is_out_of_messages());
}

#[test]
fn what_nobody_will_take_is_thrown_away_and_an_end_at_once_leaves_nothing_behind() {
    let mut raw = usual();
    raw.say(Kind::Data, &whole(UNORDERED, 0, b"unread"));
    raw.conn.detach();
    raw.say(Kind::Data, &whole(UNORDERED, 1, b"too late"));
    assert_eq!((raw.message_stats().held_bytes, raw.taken()), (0, vec![]));

    let mut raw = usual();
    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.send(UNORDERED, vec![1; 100_000]);
    assert!(raw.message_stats().queue_bytes > 100_000);
    raw.conn.abort();
    assert_eq!((raw.message_stats().queue_bytes, raw.conn.unsent_bytes()), (0, 0));
    assert!(raw.conn.is_out_of_messages());
}

#[test]
fn messages_wait_for_company_as_long_as_they_may_or_until_they_are_flushed() {
    let channels = MessageConfig::default().coalesce(millis(50));
    let mut raw = talking(unlimited(), &channels);
    raw.send(ORDERED, "a");
    assert_eq!(payloads(&raw.hear()).len(), 0);
    raw.send(ORDERED, "b");
    let before = raw.now;
    let heard = raw.pass_hearing(millis(60));
    assert_eq!(payloads(&heard), [[whole(ORDERED, 0, b"a"), whole(ORDERED, 1, b"b")].concat()]);
    assert_eq!(heard[0].at.since(before), millis(50));
    raw.send(ORDERED, "c");
    assert_eq!(payloads(&raw.hear()).len(), 0);
    raw.conn.flush_messages();
    assert!(raw.conn.wants_service());
    assert_eq!(payloads(&raw.hear()), [whole(ORDERED, 2, b"c")]);
}

#[test]
fn a_full_queue_hands_the_message_back_and_what_gets_too_old_is_never_sent() {
    let channel = ChannelConfig::new(Mode::ReliableUnordered).queue_bytes(1024);
    let mut raw = talking(unlimited(), &MessageConfig::new([channel.time_to_live(Some(millis(100)))]));
    raw.window = 0;
    raw.say(Kind::State, b"");
    // A packet is made before it may leave; what does not fit into it waits.
    let [made, waits] = [(); 2].map(|()| {
        let id = raw.send(0, vec![1; 1200]);
        raw.hear();
        id
    });
    let refusal = raw.conn.send_message(0, Bytes::from("x")).unwrap_err();
    assert_eq!(refusal, MessageRefusal::NotTaken(SendError::Full(Bytes::from("x"))));
    assert!(!raw.conn.can_send_message(0));
    let refusal = raw.conn.send_message(1, Bytes::from("x")).unwrap_err();
    assert_eq!(refusal, MessageRefusal::NotTaken(SendError::NoSuchChannel(Bytes::from("x"))));
    raw.pass(millis(500));
    raw.window = 1 << 20;
    raw.say(Kind::State, b"");
    assert_eq!(payloads(&raw.hear()).len(), 1);
    assert_eq!(raw.fates(), [(waits, Fate::Expired)]);
    raw.acknowledge_all();
    assert_eq!(raw.fates(), [(made, Fate::Delivered)]);
    let stats = raw.conn.channel_stats(0).unwrap();
    assert_eq!((stats.queued, stats.sent, stats.dropped), (2, 1, 1));
}

#[test]
fn numbers_tell_how_long_messages_take_how_many_are_lost_and_how_long_a_new_one_would_wait() {
    let channels = MessageConfig::new([
        ChannelConfig::new(Mode::ReliableOrdered).priority(200),
        ChannelConfig::new(Mode::ReliableOrdered),
        ChannelConfig::new(Mode::ReliableOrdered).budget(Some(1000)),
    ]);
    let mut raw = talking(unlimited(), &channels);
    for _ in 0..50 {
        raw.send(0, vec![1; 100]);
        raw.hear();
        raw.pass(millis(20));
        raw.acknowledge_all();
    }
    let (all, first) = (raw.message_stats(), raw.conn.channel_stats(0).unwrap());
    assert_eq!((first.rtt, first.rtt_min), (Some(millis(20)), Some(millis(20))));
    assert!(all.rtt_min <= all.rtt && all.rtt.is_some_and(|rtt| rtt > millis(15)), "{all:?}");
    assert!(first.jitter < millis(1) && all.jitter < millis(1), "{first:?}");
    assert_eq!((first.delivered, first.bytes_delivered, first.losses), (50, 5000, 0));
    assert_eq!((first.bandwidth, all.loss_per_mille), (5000, 0));
    // Seven bytes for the head of each.
    assert_eq!(all.delivery_rate, 5350);
    assert_eq!(raw.conn.channel_stats(1).unwrap().rtt, None, "of this one nothing is known");

    raw.window = 0;
    raw.say(Kind::State, b"");
    raw.hear();
    let wait = |raw: &Raw, channel| raw.conn.channel_stats(channel).unwrap().queue_time.unwrap();
    assert!([0, 1, 2].iter().all(|&channel| wait(&raw, channel).is_zero()));
    raw.send(0, vec![1; 500_000]);
    raw.send(2, vec![1; 5000]);
    let waits = [0, 1, 2].map(|channel| wait(&raw, channel));
    let expected = 0.5e6 / all.bandwidth as f64;
    assert!((waits[0].as_secs_f64() / expected - 1.0).abs() < 0.01, "{waits:?}");
    assert!(waits[1] >= waits[0], "behind what has a higher priority");
    assert!(waits[2] > secs(5), "its budget is what holds it: {waits:?}");
}

#[test]
fn losses_of_long_ago_are_forgotten() {
    let mut raw = usual();
    let round = |raw: &mut Raw, loses: bool| {
        for text in ["a", "b", "c", "d", "e"] {
            raw.send(UNORDERED, text);
            raw.hear();
        }
        raw.pass(millis(20));
        if loses {
            // The first of the five is lost.
            raw.ack = raw.conn.send.last_acked();
            raw.say_sack(&[0b1111, 0, 0, 0]);
            raw.hear();
            raw.pass(millis(20));
        }
        raw.acknowledge_all();
        raw.pass(millis(200));
    };
    (0..5).for_each(|_| round(&mut raw, true));
    let lossy = raw.message_stats().loss_per_mille;
    assert!((50..=300).contains(&lossy), "{lossy}");
    (0..50).for_each(|_| round(&mut raw, false));
    assert_eq!(raw.message_stats().loss_per_mille, 0);
}
