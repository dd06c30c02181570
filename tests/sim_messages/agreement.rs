//! Who may talk to whom by messages, and what happens to the others.

use std::time::Duration;

use bytes::Bytes;
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, Mode};
use ebbtide::sim::{Line, World};
use ebbtide::{CloseReason, Config};

use super::{Talker, talk, talker};

fn pair(seed: u64, configs: [Config; 2]) -> (World, [ebbtide::sim::HostId; 2]) {
    let mut world = World::new(seed);
    let hosts = configs.map(|config| world.host(config));
    world.join(hosts[0], hosts[1], Line::fibre());
    (world, hosts)
}

#[test]
fn messages_go_both_ways_and_the_end_comes_after_the_last() {
    let (mut world, hosts) = pair(1, [Config::default(), Config::default()]);
    let word = |text: &'static str| (Duration::ZERO, 3, Bytes::from_static(text.as_bytes()));
    talk(&mut world, hosts, &MessageConfig::default(), vec![word("one"), word(""), word("three")]);
    world.tell::<Talker>(hosts[0], |talker| talker.closes = true);
    world.tell::<Talker>(hosts[1], |talker| talker.script.push_back(word("answer")));
    world.run_until(|world| talker(world, hosts[1]).ended.is_some(), Duration::from_secs(9)).unwrap();
    world.run_for(Duration::from_secs(1));
    let [calling, called] = hosts.map(|host| talker(&world, host));
    let heard: Vec<_> = called.received.iter().map(|(_, message)| &message.bytes[..]).collect();
    assert_eq!(heard, [&b"one"[..], b"", b"three"]);
    assert_eq!(called.ended, Some(Ok(())));
    assert_eq!(calling.received[0].1.bytes, "answer");
    assert_eq!(calling.receipts.len(), 3);
    assert!(calling.receipts.iter().all(|receipt| receipt.fate == Fate::Delivered));
}

#[test]
fn a_peer_with_other_channels_is_refused_and_one_without_messages_is_told_apart() {
    let (mut world, hosts) = pair(2, [Config::default(), Config::default()]);
    talk(&mut world, hosts, &MessageConfig::default(), Vec::new());
    let other = MessageConfig::new([ChannelConfig::new(Mode::Unreliable)]);
    let addr = world.addr(hosts[1]);
    let (mut world2, hosts2) = pair(2, [Config::default(), Config::default()]);
    world2.reside(hosts2[1], Talker::new(&other, None));
    world2.reside(hosts2[0], Talker::new(&MessageConfig::default(), Some(addr)));
    world2.run_for(Duration::from_secs(5));
    assert_eq!(talker(&world2, hosts2[0]).ended, Some(Err(CloseReason::Refused)));
    assert_eq!(talker(&world2, hosts2[1]).refused, 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(talker(&world, hosts[0]).ended, None);
}

/// A vanilla peer, or one of ours that takes it for a stream, answers without a word about messages.
#[test]
fn without_extensions_at_either_end_the_caller_is_told_so() {
    for bare in [0, 1] {
        let mut configs = [Config::default(), Config::default()];
        configs[bare] = Config::default().extensions(false);
        let (mut world, hosts) = pair(3, configs);
        let addr = world.addr(hosts[1]);
        let mut called = Talker::new(&MessageConfig::default(), None);
        called.takes_streams = true;
        world.reside(hosts[1], called);
        world.reside(hosts[0], Talker::new(&MessageConfig::default(), Some(addr)));
        world.run_for(Duration::from_secs(15));
        assert_eq!(talker(&world, hosts[0]).ended, Some(Err(CloseReason::NoMessages)), "{bare}");
    }
}
