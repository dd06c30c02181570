//! Nobody waits for another channel's loss, and nothing is composed too early.

use std::time::Duration;

use bytes::Bytes;
use ebbtide::Config;
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, Mode};
use ebbtide::sim::{Direction, Line, Link, World};
use ebbtide::wire::{Kind, Packet};

use super::{Talker, is_full, talk, talker};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn one_lost_packet_delays_no_message_of_another_channel() {
    let mut world = World::new(5);
    let hosts = [(); 2].map(|()| world.host(Config::default()));
    let line = world.join(hosts[0], hosts[1], Line::from(Link::perfect().delay(MS(20))));
    let config = MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered); 2]);
    let at = |number: u64| MS(200 + 2 * number);
    let script = (0..200)
        .map(|number| (at(number), (number % 2) as u8, Bytes::copy_from_slice(&number.to_be_bytes())));
    talk(&mut world, hosts, &config, script.collect());
    // One data packet is lost, the fortieth: a message of channel 0 or 1, whichever is in it.
    let mut count = 0;
    world.set_filter(
        line,
        Direction::There,
        Some(Box::new(move |bytes: &[u8]| {
            let data = Packet::decode(bytes).is_ok_and(|packet| packet.header.kind == Kind::Data);
            count += u32::from(data);
            data && count == 40
        })),
    );
    world.run_for(Duration::from_secs(3));
    let called = talker(&world, hosts[1]);
    assert_eq!(called.received.len(), 200);
    let mut latest = [Duration::ZERO; 2];
    let mut late = [0; 2];
    for (now, message) in &called.received {
        let number = u64::from_be_bytes(message.bytes[..].try_into().unwrap());
        let delay = now.saturating_sub(at(number)).saturating_sub(MS(20));
        let channel = usize::from(message.channel);
        latest[channel] = latest[channel].max(delay);
        late[channel] += u32::from(delay > MS(1));
    }
    eprintln!("latest beyond the way: {latest:?}, late: {late:?}");
    let (hit, other) = if late[0] > 0 { (0, 1) } else { (1, 0) };
    assert!(late[hit] > 5 && latest[hit] > MS(20), "the loss is felt on its own channel");
    assert_eq!(late[other], 0, "and on no other");
}

/// An outage of both ways, of a minute: what was unreliable is gone, the rest arrives, and everything goes on.
#[test]
fn p1_a_long_outage_both_ways_heals_by_itself() {
    let mut world = World::new(6);
    let hosts = [(); 2].map(|()| world.host(Config::default()));
    let line = world.join(hosts[0], hosts[1], Line::from(Link::perfect().delay(MS(20))));
    let config = MessageConfig::default();
    let script: Vec<_> = (0..4000)
        .map(|number: u32| {
            (MS(100 + 20 * u64::from(number)), 3, Bytes::copy_from_slice(&number.to_be_bytes()))
        })
        .collect();
    talk(&mut world, hosts, &config, script.clone());
    world.tell::<Talker>(hosts[1], |talker| talker.script = script.into());
    world.run_for(Duration::from_secs(5));
    for direction in Direction::BOTH {
        world.set_filter(line, direction, Some(Box::new(|_: &[u8]| true)));
    }
    world.run_for(Duration::from_secs(55));
    for direction in Direction::BOTH {
        world.set_filter(line, direction, None);
    }
    world.run_for(Duration::from_secs(90));
    for host in hosts {
        let talker = talker(&world, host);
        let numbers =
            talker.received.iter().map(|(_, m)| u32::from_be_bytes(m.bytes[..].try_into().unwrap()));
        assert!(numbers.eq(0..4000), "{}", talker.received.len());
        assert_eq!(talker.receipts.iter().filter(|receipt| receipt.fate == Fate::Delivered).count(), 4000);
    }
}

#[test]
fn a_full_queue_makes_the_sender_wait_and_disconnects_nobody() {
    let mut world = World::new(7);
    let hosts = [(); 2].map(|()| world.host(Config::default()));
    world.join(hosts[0], hosts[1], Line::adsl());
    let channel = ChannelConfig::new(Mode::ReliableUnordered).queue_bytes(4096);
    let script = (0..2000).map(|_| (Duration::ZERO, 0, Bytes::from(vec![7; 500]))).collect();
    talk(&mut world, hosts, &MessageConfig::new([channel]), script);
    world.run_for(MS(1500));
    let calling = talker(&world, hosts[0]);
    assert!(!calling.script.is_empty() && calling.ended.is_none());
    let refusal = calling.handle.as_ref().unwrap().try_send_message(0, Bytes::from_static(b"x")).unwrap_err();
    assert!(is_full(&refusal));
    world.run_until(|world| talker(world, hosts[1]).received.len() == 2000, Duration::from_secs(60)).unwrap();
}
