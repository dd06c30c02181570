//! A million messages over sixteen channels, through a network that loses a fifth of all packets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, MessageId, Mode};
use ebbtide::sim::{Line, Link, Size, Strike, World};
use ebbtide::{Config, Congestion};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{talk, talker};

const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableSequenced,
    Mode::ReliableUnordered,
    Mode::ReliableOrdered,
    Mode::ReliableSequenced,
];

/// A message that says which one of its channel it is; one in two hundred is too long for a packet.
fn numbered(rng: &mut StdRng, number: u32) -> Bytes {
    let len = if rng.random_bool(0.005) { rng.random_range(1400..9000) } else { rng.random_range(0..60) };
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(4 + len, number as u8);
    bytes.into()
}

fn number_of(bytes: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*bytes.first_chunk().unwrap());
    assert!(bytes[4..].iter().all(|&byte| byte == number as u8), "the bytes of another message");
    number
}

fn check(mode: Mode, sent: u32, seen: &[u32], fates: &BTreeMap<u32, Fate>) {
    let mut distinct = seen.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "{mode:?}: something came twice");
    let ascending = seen.is_sorted();
    match mode {
        Mode::Unreliable => {}
        Mode::UnreliableSequenced => assert!(ascending),
        Mode::ReliableUnordered => assert_eq!(seen.len(), sent as usize),
        Mode::ReliableOrdered => assert!(ascending && seen.len() == sent as usize),
        Mode::ReliableSequenced => assert!(ascending && seen.last() == Some(&(sent - 1))),
    }
    for (number, fate) in fates {
        // A packet that arrived behind a newer one of its channel has arrived.
        let arrived = distinct.binary_search(number).is_ok() || mode.is_sequenced();
        assert!(*fate != Fate::Delivered || arrived, "{mode:?}: {number} was acknowledged and never came");
    }
    if mode.is_reliable() && !mode.is_sequenced() {
        assert!(fates.values().all(|fate| *fate == Fate::Delivered));
        assert_eq!(fates.len(), sent as usize, "{mode:?}: a receipt for each");
    }
}

fn soak(messages: u32, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let config =
        MessageConfig::new((0..16).map(|index| ChannelConfig::new(MODES[index % 5])).collect::<Vec<_>>());
    let mut counts = [0u32; 16];
    let script = (0..messages).map(|index| {
        let channel = rng.random_range(0..16u8);
        let number = counts[usize::from(channel)];
        counts[usize::from(channel)] += 1;
        (Duration::from_micros(100_000 + 50 * u64::from(index)), channel, numbered(&mut rng, number))
    });
    let script = script.collect();
    let mut world = World::new(seed);
    // What is under test are messages, not how far a fifth of losses pushes LEDBAT down.
    let host = Config::default().congestion(Congestion::Fixed(512 << 10)).timeouts(20);
    let hosts = [(); 2].map(|()| world.host(host.clone()));
    let link = Link::perfect().delay(Duration::from_millis(10)).queue(Size::mib(8));
    let link = link
        .loss(Strike::random(0.2))
        .duplicate(Strike::random(0.1), Duration::from_millis(3))
        .reorder(Strike::random(0.3), Duration::from_millis(8));
    world.join(hosts[0], hosts[1], Line::from(link));
    talk(&mut world, hosts, &config, script);
    let all_sent = |world: &World| {
        let talker = talker(world, hosts[0]);
        talker.script.is_empty() && talker.handle.as_ref().unwrap().message_stats().unwrap().queue_bytes == 0
    };
    world.run_until(all_sent, Duration::from_secs(3600)).unwrap();
    world.run_for(Duration::from_secs(120));
    let [calling, called] = hosts.map(|host| talker(&world, host));
    let mut seen = vec![Vec::new(); 16];
    for (_, message) in &called.received {
        seen[usize::from(message.channel)].push(number_of(&message.bytes));
    }
    let mut ids: BTreeMap<MessageId, (usize, u32)> = BTreeMap::new();
    let mut next = [0u32; 16];
    for &(channel, id) in &calling.sent {
        ids.insert(id, (channel.into(), next[usize::from(channel)]));
        next[usize::from(channel)] += 1;
    }
    let mut fates = vec![BTreeMap::new(); 16];
    for receipt in &calling.receipts {
        let (channel, number) = ids[&receipt.id];
        assert_eq!(fates[channel].insert(number, receipt.fate), None, "one fate for each");
    }
    for channel in 0..16 {
        check(MODES[channel % 5], counts[channel], &seen[channel], &fates[channel]);
    }
    let held = called.handle.as_ref().unwrap().message_stats().unwrap().held_bytes;
    assert_eq!(held, 0, "nothing is left behind");
    eprintln!("{messages} messages, {} arrived, in {:?} of virtual time", called.received.len(), world.now());
}

#[test]
fn a_million_messages_keep_every_promise() {
    // The million takes half a minute without optimisation: `EBBTIDE_MESSAGES=1000000`.
    let messages = std::env::var("EBBTIDE_MESSAGES").map_or(200_000, |count| count.parse().unwrap());
    soak(messages, 11);
}
