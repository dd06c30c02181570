//! Each channel's promise, for each message, over a network that loses a fifth of all packets.

use super::*;

const BAD: Weather = Weather { loss: 0.2, duplication: 0.1, reordering: 0.3 };

const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableSequenced,
    Mode::ReliableUnordered,
    Mode::ReliableOrdered,
    Mode::ReliableSequenced,
];

fn sixteen() -> MessageConfig {
    let channel = |index: usize| ChannelConfig::new(MODES[index % 5]).priority((index / 5) as u8);
    MessageConfig::new((0..16).map(channel).collect::<Vec<_>>())
}

/// A message that says which one it is, mostly small, sometimes of several packets.
fn numbered(rng: &mut StdRng, number: u32) -> Bytes {
    let len = if rng.random_bool(0.01) { rng.random_range(1400..20_000) } else { rng.random_range(0..200) };
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(4 + len, number as u8);
    bytes.into()
}

fn number_of(bytes: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*bytes.first_chunk().unwrap());
    assert!(bytes[4..].iter().all(|&byte| byte == number as u8), "the bytes of another message");
    number
}

/// What was sent on a channel, and what came of it.
#[derive(Default)]
struct Channel {
    sent: u32,
    seen: Vec<u32>,
    ids: BTreeMap<MessageId, u32>,
    fates: BTreeMap<u32, Fate>,
}

impl Channel {
    fn check(&self, mode: Mode, index: usize) {
        let distinct: BTreeSet<u32> = self.seen.iter().copied().collect();
        assert_eq!(distinct.len(), self.seen.len(), "channel {index}: something came twice");
        let ascending = self.seen.windows(2).all(|pair| pair[0] < pair[1]);
        let all = distinct.len() == self.sent as usize;
        match mode {
            Mode::Unreliable => {}
            Mode::UnreliableSequenced => assert!(ascending, "channel {index}"),
            Mode::ReliableUnordered => assert!(all, "channel {index}: {} of {}", distinct.len(), self.sent),
            Mode::ReliableOrdered => assert!(all && ascending, "channel {index}"),
            Mode::ReliableSequenced => {
                assert!(ascending, "channel {index}");
                assert_eq!(self.seen.last(), Some(&(self.sent - 1)), "channel {index}: the newest arrives");
            }
        }
        assert_eq!(self.fates.len(), self.sent as usize, "channel {index}: something is known about each");
        for (number, fate) in &self.fates {
            let arrived = distinct.contains(number) || mode.is_sequenced();
            assert!(*fate != Fate::Delivered || arrived, "channel {index}: {number} was acknowledged");
        }
    }
}

#[test]
fn every_promise_is_kept_for_every_message() {
    let config = sixteen();
    let mut pair = Pair::new(&config, BAD, 7);
    let mut channels: Vec<Channel> = (0..16).map(|_| Channel::default()).collect();
    for round in 0..60_000u32 {
        let index = pair.rng.random_range(0..16u8);
        let channel = &mut channels[usize::from(index)];
        let bytes = numbered(&mut pair.rng, channel.sent);
        if let Ok(id) = pair.ends[0].messages.send(index, bytes) {
            channel.ids.insert(id, channel.sent);
            channel.sent += 1;
        }
        if round % 8 == 0 {
            pair.step();
        }
        observe(&mut pair, &mut channels);
    }
    for _ in 0..60_000 {
        pair.step();
        observe(&mut pair, &mut channels);
        if pair.is_quiet() {
            break;
        }
    }
    assert!(pair.is_quiet());
    // What is in parts is waited for ten seconds longer.
    for _ in 0..10_100 {
        pair.step();
        observe(&mut pair, &mut channels);
    }
    for (index, channel) in channels.iter().enumerate() {
        channel.check(MODES[index % 5], index);
    }
    let lost: u64 =
        (0..16).filter_map(|channel| pair.ends[0].messages.channel_stats(channel)).map(|s| s.lost).sum();
    assert!(lost > 500, "the network was not as bad as it should have been: {lost}");
    assert_eq!(pair.ends[1].messages.held_bytes(), 0, "nothing is left behind");
}

fn observe(pair: &mut Pair, channels: &mut [Channel]) {
    while let Some(Message { channel, bytes }) = pair.ends[1].messages.receive() {
        channels[usize::from(channel)].seen.push(number_of(&bytes));
    }
    while let Some(Receipt { channel, id, fate }) = pair.ends[0].messages.next_receipt() {
        let channel = &mut channels[usize::from(channel)];
        let number = channel.ids[&id];
        assert_eq!(channel.fates.insert(number, fate), None, "one fate for each");
    }
}

/// P2 and P3: messages of about 256 fragments, and of 64 KiB, were acknowledged and never delivered, or a panic.
#[test]
fn p2_p3_messages_of_every_size_arrive_and_only_then_count_as_delivered() {
    for len in [0, 1, 1372, 1373, 1380, 1381, 65_535, 65_536, 261_220, 262_144, 263_168, 1_024_100, 1 << 20] {
        let config = MessageConfig::default();
        let mut pair = Pair::new(&config, Weather { loss: 0.05, ..Weather::default() }, len as u64);
        pair.ends[1].limit = 4 << 20;
        let id = pair.ends[0].messages.send(2, vec![7; len].into()).unwrap();
        let mut arrived = false;
        for _ in 0..60_000 {
            pair.step();
            if let Some(receipt) = pair.ends[0].messages.next_receipt() {
                assert_eq!(receipt, Receipt { channel: 2, id, fate: Fate::Delivered });
                assert!(arrived, "{len} bytes were acknowledged before they were there");
                break;
            }
            if let Some(message) = pair.ends[1].messages.receive() {
                assert_eq!((message.channel, message.bytes.len()), (2, len));
                arrived = true;
            }
        }
        assert!(arrived, "{len}");
    }
}

#[test]
fn one_lost_packet_delays_no_message_of_another_channel() {
    let ordered = |_| ChannelConfig::new(Mode::ReliableOrdered);
    let config = MessageConfig::new([0, 1].map(ordered));
    let mut pair = Pair::new(&config, Weather::default(), 1);
    let mut late = [Vec::new(), Vec::new()];
    for round in 0..200u64 {
        // The third packet of channel 0 is lost, once.
        pair.weather.loss = if round == 6 { 1.0 } else { 0.0 };
        let channel = (round % 2) as u8;
        pair.ends[0].messages.send(channel, Bytes::copy_from_slice(&pair.now.to_be_bytes())).unwrap();
        pair.step();
        while let Some(Message { channel, bytes }) = pair.ends[1].messages.receive() {
            let sent = u64::from_be_bytes(bytes[..].try_into().unwrap());
            late[usize::from(channel)].push(pair.now - sent - WAY);
        }
    }
    assert!(late[0].iter().any(|&late| late > PATIENCE), "the loss was felt on its own channel");
    assert!(late[1].iter().all(|&late| late <= 1), "{:?}", late[1]);
}

/// Sixteen large messages at once, to a peer that has room for two and a half of them.
#[test]
fn many_large_messages_at_once_do_not_block_each_other() {
    let channel = ChannelConfig::new(Mode::ReliableUnordered).queue_bytes(4 << 20);
    let config = MessageConfig::new([channel; 16]);
    let mut pair = Pair::new(&config, Weather { loss: 0.05, ..Weather::default() }, 5);
    pair.ends[1].limit = 5 << 19;
    pair.ends[0].messages.set_assembly_room(5 << 18);
    for channel in 0..16 {
        for _ in 0..2 {
            pair.ends[0].messages.send(channel, vec![channel; 1 << 20].into()).unwrap();
        }
    }
    let mut seen = 0;
    pair.settle(600_000, |message| {
        assert_eq!(message.bytes.len(), 1 << 20);
        seen += 1;
    });
    assert_eq!(seen, 32);
}

/// P1: after an outage of both ways longer than the window, neither side could ever send again.
#[test]
fn p1_a_long_outage_both_ways_heals_by_itself() {
    let mut pair = Pair::new(&MessageConfig::default(), Weather { loss: 1.0, ..Weather::default() }, 3);
    for number in 0..10_000u32 {
        for end in &mut pair.ends {
            end.messages.send(3, Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
        }
        pair.step();
    }
    pair.weather.loss = 0.0;
    let mut seen = 0;
    pair.settle(30_000, |message| {
        assert_eq!(number_of(&message.bytes), seen);
        seen += 1;
    });
    assert_eq!(seen, 10_000);
}
