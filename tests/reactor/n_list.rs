//! What was wrong with tick-driven message libraries before this one, N1 to N10, one test each.

use std::collections::HashSet;
use std::time::Duration;

use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::SendError;
use ebbtide::wire::{HEADER_LEN, Header, Kind, Packet};
use ebbtide::{Config, Congestion, Instant};

use crate::wire::Sent;
use crate::world::{LOOSE, ORDERED, World, addr, channels, connected, disconnected, messages};

const DELAY: Duration = Duration::from_millis(20);

fn has_payload(sent: &Sent) -> bool {
    Packet::decode(&sent.bytes).is_ok_and(|packet| !packet.payload.is_empty())
}

#[test]
fn n01_short_datagrams_change_nothing() {
    let mut world = World::new(DELAY, 2);
    let (there, _) = world.connect(1);
    world.reactors[1].send(there, ORDERED, "whole").unwrap();
    world.tick();
    let whole = world.wire.take_sent().into_iter().rfind(has_payload).unwrap();
    for len in 0..=40 {
        let cut = &whole.bytes[..len.min(whole.bytes.len() - 1)];
        for from in [addr(1), addr(9)] {
            world.wire.inject(from, addr(0), &vec![0xFF; len]);
            world.wire.inject(from, addr(0), &vec![0; len]);
            // With a whole header and from the right address it would not be short, but a forgery.
            if from == addr(9) || len < HEADER_LEN {
                world.wire.inject(from, addr(0), cut);
            }
        }
    }
    world.reactors[1].send(there, ORDERED, "and well").unwrap();
    world.until(|world| messages(&world.told[0]).len() >= 2);
    assert_eq!(messages(&world.told[0]), [&b"whole"[..], b"and well"]);
    assert_eq!(world.told[0].len(), 2, "{:?}", world.told[0]);
}

#[test]
fn n02_nobody_off_the_path_ends_a_connection() {
    let mut world = World::new(DELAY, 2);
    let (there, _) = world.connect(1);
    world.reactors[1].send(there, ORDERED, "1").unwrap();
    world.run(Duration::from_secs(1));
    let seen: Vec<Sent> = world.wire.take_sent();
    // Whoever has seen everything, and sits somewhere else.
    for sent in &seen {
        let Ok(packet) = Packet::decode(&sent.bytes) else { continue };
        for kind in [Kind::Reset, Kind::Fin] {
            let header = Header { kind, ..packet.header };
            let mut forged = [0; HEADER_LEN];
            header.write(0, &mut forged);
            world.wire.inject(addr(9), sent.to, &forged);
        }
    }
    world.reactors[1].send(there, ORDERED, "2").unwrap();
    world.run(Duration::from_secs(2));
    assert_eq!(messages(&world.told[0]), [b"1", b"2"]);
    assert!(disconnected(&world.told[0]).is_empty() && disconnected(&world.told[1]).is_empty());
}

#[test]
fn n03_late_duplicates_open_no_ghost_and_deliver_nothing_twice() {
    let mut world = World::new(DELAY, 2);
    let (there, _) = world.connect(1);
    world.reactors[1].send(there, ORDERED, "once").unwrap();
    world.run(Duration::from_secs(1));
    world.reactors[1].disconnect(there).unwrap();
    world.until(|world| !disconnected(&world.told[0]).is_empty());
    assert_eq!(messages(&world.told[0]), [b"once"]);
    let seen = world.wire.take_sent();
    world.told[0].clear();
    // At once, and after everything about the connection is forgotten; the client is gone.
    world.reactors.truncate(1);
    for wait in [0, 120] {
        world.run(Duration::from_secs(wait));
        for sent in seen.iter().filter(|sent| sent.to == addr(0)) {
            world.wire.inject(sent.from, sent.to, &sent.bytes);
        }
        world.run(Duration::from_secs(60));
        assert!(world.told[0].is_empty(), "{:?}", world.told[0]);
    }
    assert_eq!(world.reactors[0].peers().count(), 0);
}

#[test]
fn n04_order_is_kept_whatever_the_network_does_to_it() {
    let mut world = World::new(DELAY, 2);
    let (there, _) = world.connect(1);
    let mut number = 0u64;
    world.wire.set_rule(move |_| {
        number += 1;
        vec![Duration::from_millis(number * 7919 % 300)]
    });
    for number in 0..200u32 {
        world.reactors[1].send(there, ORDERED, number.to_be_bytes().to_vec()).unwrap();
        world.tick();
    }
    world.until(|world| messages(&world.told[0]).len() == 200);
    let expected: Vec<_> = (0..200u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(messages(&world.told[0]), expected);
}

#[test]
fn n05_an_empty_message_is_one_and_absurd_ones_come_back() {
    let config = channels().max_message(1000);
    let mut world = World::with(DELAY, 2, &config, Config::default());
    let there = world.reactors[1].connect(addr(0), &config).unwrap();
    let sender = &mut world.reactors[1];
    sender.send(there, ORDERED, "").unwrap();
    sender.send(there, ORDERED, vec![7; 1000]).unwrap();
    let long = vec![7; 1001];
    assert_eq!(sender.send(there, ORDERED, long.clone()), Err(SendError::TooLong(long.into())));
    assert_eq!(sender.send(there, 2, "two"), Err(SendError::NoSuchChannel("two".into())));
    world.until(|world| messages(&world.told[0]).len() >= 2);
    assert_eq!(messages(&world.told[0]), [vec![], vec![7; 1000]]);
}

#[test]
fn n06_counts_of_zero_deliver_nothing() {
    let mut world = World::new(DELAY, 2);
    let (there, here) = world.connect(1);
    // Every length and count in the first packet with messages becomes zero, the payload of which begins behind the header.
    let mut first = true;
    world.wire.set_rule(move |sent| {
        let payload = Packet::decode(&sent.bytes).map_or(0, |packet| packet.payload.len());
        if payload > 0 && std::mem::take(&mut first) {
            // A fragment of nothing of a message of nothing.
            let from = sent.bytes.len() - payload;
            let crafted = [1 << 3, LOOSE, 0, 0, 0, 0, 0, 0, 0];
            sent.bytes[from..].fill(0);
            sent.bytes[from..from + crafted.len()].copy_from_slice(&crafted);
        }
        vec![DELAY]
    });
    world.reactors[1].send(there, LOOSE, "becomes a lie about its length").unwrap();
    world.run(Duration::from_secs(1));
    world.reactors[1].send(there, LOOSE, "goes on").unwrap();
    world.run(Duration::from_secs(1));
    assert_eq!(messages(&world.told[0]), [b"goes on"]);
    assert_eq!(world.reactors[0].message_stats(here).unwrap().malformed, 1);
}

#[test]
fn n07_no_two_begin_alike() {
    let beginnings: HashSet<_> = (0..8)
        .map(|_| {
            let mut world = World::new(DELAY, 2);
            world.reactors[1].connect(addr(0), &channels()).unwrap();
            world.tick();
            let sent = world.wire.take_sent();
            let syn = Packet::decode(&sent[0].bytes).unwrap().header;
            (syn.conn_id.get(), syn.seq.get())
        })
        .collect();
    assert_eq!(beginnings.len(), 8);
}

#[test]
fn n08_a_short_datagram_does_not_end_the_reading_of_a_tick() {
    let mut world = World::new(Duration::ZERO, 2);
    let (there, _) = world.connect(1);
    world.reactors[1].send(there, ORDERED, "behind it").unwrap();
    world.wire.inject(addr(9), addr(0), &[1]);
    world.wire.inject(addr(9), addr(0), &[]);
    let now = world.now;
    world.reactors[1].tick_at(now).unwrap();
    world.reactors[0].tick_at(now).unwrap();
    let told: Vec<_> = world.reactors[0].events().collect();
    assert_eq!(messages(&told), [b"behind it"]);
}

#[test]
fn n09_round_trips_are_counted_from_sending() {
    let slow = ChannelConfig::new(Mode::ReliableOrdered).budget(Some(10_000));
    let config = MessageConfig::new([slow, ChannelConfig::new(Mode::Unreliable)]);
    let mut world = World::with(DELAY, 2, &config, Config::default());
    let there = world.reactors[1].connect(addr(0), &config).unwrap();
    for _ in 0..50 {
        world.reactors[1].send(there, ORDERED, vec![1; 1000]).unwrap();
    }
    // The last ones wait for five seconds before they are sent.
    world.until(|world| messages(&world.told[0]).len() == 50);
    assert!(world.now.since(Instant::ZERO) > Duration::from_secs(4), "{}", world.now);
    let rtt = world.reactors[1].peer_stats(there).unwrap().rtt.unwrap();
    // There and back, and a frame or two at each end.
    assert!(rtt > Duration::from_millis(35) && rtt < Duration::from_millis(120), "{rtt:?}");
}

#[test]
fn n10_messages_in_part_are_bounded() {
    let config = channels().max_message(16 << 10).assembly_messages(64);
    let fast = Config::default().congestion(Congestion::Fixed(256 << 10)).pacing(false);
    let mut world = World::with(DELAY, 2, &config, fast);
    let there = world.reactors[1].connect(addr(0), &config).unwrap();
    world.until(|world| !connected(&world.told[0]).is_empty());
    let here = connected(&world.told[0])[0];
    // One of each message's eight packets gets lost, so none is ever whole.
    let mut packets = 0;
    world.wire.set_rule(move |sent| {
        packets += u32::from(sent.from == addr(1) && has_payload(sent));
        let lost = sent.from == addr(1) && has_payload(sent) && packets % 4 == 0;
        if lost { Vec::new() } else { vec![DELAY] }
    });
    let mut most = 0;
    for _ in 0..600 {
        while world.reactors[1].can_send(there, LOOSE)
            && world.reactors[1].message_stats(there).unwrap().queue_bytes < 64 << 10
        {
            world.reactors[1].send(there, LOOSE, vec![1; 10 << 10]).unwrap();
        }
        world.tick();
        most = most.max(world.reactors[0].message_stats(here).unwrap().held_bytes);
    }
    let stats = world.reactors[0].message_stats(here).unwrap();
    assert!(stats.unassembled > 100, "{stats:?}");
    // 64 messages, and what it costs to keep their pieces.
    assert!(most <= 64 * (16 << 10), "{most}");
}
