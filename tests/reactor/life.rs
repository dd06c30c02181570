//! How connections of reactors live and end: silence, distance, outages, crowds.

use std::collections::HashSet;
use std::time::Duration;

use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::{Event, NoSuchPeer, PeerId, Reactor, SendError};
use ebbtide::{CloseReason, Config, Instant, MemoryHub};

use crate::world::{
    FRAME, LOOSE, ORDERED, World, addr, channels, connected, delivered, disconnected, messages,
};

const DELAY: Duration = Duration::from_millis(20);

#[test]
fn an_idle_connection_stays_alive_whatever_its_age() {
    let config = Config::default().idle_timeout(Some(Duration::from_secs(45)));
    let mut world = World::with(DELAY, 2, &channels(), config);
    let (there, _) = world.connect(1);
    world.run(Duration::from_secs(600));
    assert!(world.told.iter().all(Vec::is_empty), "{:?}", world.told);
    world.reactors[1].send(there, ORDERED, "still here").unwrap();
    world.run(Duration::from_secs(1));
    assert_eq!(messages(&world.told[0]), [b"still here"]);
}

#[test]
fn whoever_is_far_away_gets_nothing_twice() {
    let mut world = World::new(Duration::from_millis(200), 2);
    let (there, _) = world.connect(1);
    for number in 0..100u8 {
        world.reactors[1].send(there, ORDERED, vec![number; 100]).unwrap();
        world.run(Duration::from_millis(100));
    }
    world.run(Duration::from_secs(2));
    assert_eq!(messages(&world.told[0]).len(), 100);
    assert_eq!(delivered(&world.told[1]).len(), 100);
    let stats = world.reactors[1].peer_stats(there).unwrap();
    assert!(stats.rtt.unwrap() >= Duration::from_millis(400), "{stats:?}");
    // A lost tail would be probed for; nothing is lost here.
    assert_eq!(stats.packets_retransmitted, 0, "{stats:?}");
}

#[test]
fn p1_after_an_outage_both_ways_everything_comes() {
    let mut world = World::new(DELAY, 2);
    let (there, here) = world.connect(1);
    world.wire.set_rule(|_| Vec::new());
    for number in 0..300u32 {
        let bytes = number.to_be_bytes().to_vec();
        world.reactors[1].send(there, ORDERED, bytes.clone()).unwrap();
        world.reactors[0].send(here, ORDERED, bytes).unwrap();
        world.tick();
    }
    assert!(messages(&world.told[0]).is_empty() && messages(&world.told[1]).is_empty());
    world.wire.set_rule(|_| vec![DELAY]);
    world.until(|world| world.told.iter().all(|told| delivered(told).len() == 300));
    let expected: Vec<_> = (0..300u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert!(world.told.iter().all(|told| messages(told) == expected));
}

#[test]
fn p5_several_clients_may_time_out_in_one_tick() {
    let config = Config::default().idle_timeout(Some(Duration::from_secs(45)));
    let mut world = World::with(DELAY, 6, &channels(), config);
    for client in 1..6 {
        world.reactors[client].connect(addr(0), &channels()).unwrap();
    }
    world.until(|world| connected(&world.told[0]).len() == 5);
    world.wire.set_rule(|_| Vec::new());
    let (mut gone, mut most) = (HashSet::new(), 0);
    while gone.len() < 5 {
        world.told[0].clear();
        world.tick();
        let now = disconnected(&world.told[0]);
        most = most.max(now.len());
        gone.extend(now.iter().map(|(peer, _)| *peer));
        assert!(now.iter().all(|(_, reason)| reason.kind() == std::io::ErrorKind::TimedOut), "{now:?}");
        assert!(world.now.since(Instant::ZERO) < Duration::from_secs(120));
    }
    assert!(most > 1, "the test is about several in one tick");
    assert_eq!(world.reactors[0].peers().count(), 0);
}

#[test]
fn a_hundred_clients_are_told_apart() {
    let hub = MemoryHub::new();
    let make = |host| Reactor::over(hub.attach(addr(host)).unwrap(), Config::default()).unwrap();
    let mut server = make(200);
    server.listen(&channels()).unwrap();
    let mut clients: Vec<_> = (0..100).map(make).collect();
    let peers: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let peer = client.connect(addr(200), &channels()).unwrap();
            client.send(peer, ORDERED, client.local_addr().to_string()).unwrap();
            peer
        })
        .collect();
    let (mut now, mut answered, mut known) = (Instant::ZERO, HashSet::new(), HashSet::new());
    while answered.len() < 100 {
        now = now + FRAME;
        assert!(now.since(Instant::ZERO) < Duration::from_secs(60), "{} answers", answered.len());
        server.tick_at(now).unwrap();
        while let Some(event) = server.next_event() {
            match event {
                Event::Message { peer, channel, bytes } => {
                    assert_eq!(server.peer_addr(peer).unwrap().to_string().as_bytes(), bytes);
                    server.send(peer, channel, bytes).unwrap();
                }
                Event::Connected { peer, .. } => assert!(known.insert(peer)),
                Event::Acked { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for (client, peer) in clients.iter_mut().zip(&peers) {
            client.tick_at(now).unwrap();
            let own = client.local_addr().to_string();
            for event in client.events() {
                if let Event::Message { peer: from, bytes, .. } = event {
                    assert_eq!((from, &bytes[..]), (*peer, own.as_bytes()));
                    assert!(answered.insert(own.clone()));
                }
            }
        }
    }
    assert_eq!((known.len(), server.peers().count()), (100, 100));
}

#[test]
fn a_second_disconnect_is_an_error_and_a_stale_name_is_nobody_elses() {
    let mut world = World::new(DELAY, 2);
    let (there, here) = world.connect(1);
    world.reactors[1].send(there, ORDERED, "last words").unwrap();
    world.reactors[1].disconnect(there).unwrap();
    assert_eq!(world.reactors[1].disconnect(there), Err(NoSuchPeer(there)));
    assert_eq!(world.reactors[1].abort(there), Err(NoSuchPeer(there)));
    world.until(|world| !disconnected(&world.told[0]).is_empty());
    assert_eq!(messages(&world.told[0]), [b"last words"]);
    assert_eq!(disconnected(&world.told[0]), [(here, CloseReason::Finished)]);
    assert_eq!(world.reactors[0].disconnect(here), Err(NoSuchPeer(here)));

    // The next one has the same place, and another name.
    let (again, _) = world.connect(1);
    assert_ne!(again, there);
    let stale = world.reactors[1].send(there, ORDERED, "for whom?");
    assert_eq!(stale, Err(SendError::NoSuchPeer("for whom?".into())));
    assert_eq!(world.reactors[1].peer_addr(there), None);
    assert_eq!(world.reactors[1].read(there, &mut [0]).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    world.run(Duration::from_secs(1));
    assert!(messages(&world.told[0]).is_empty() || world.told[0].len() == 3, "{:?}", world.told[0]);
}

#[test]
fn an_aborted_connection_ends_at_the_other_side_at_once() {
    let mut world = World::new(DELAY, 2);
    let (there, here) = world.connect(1);
    world.reactors[1].abort(there).unwrap();
    world.run(Duration::from_millis(100));
    assert_eq!(disconnected(&world.told[0]), [(here, CloseReason::Reset)]);
    assert_eq!(world.told[1].len(), 0);
}

#[test]
fn what_nobody_takes_is_refused_in_words() {
    let mut world = World::new(DELAY, 3);
    world.reactors[2].listen_streams();
    let other = MessageConfig::new([ChannelConfig::new(Mode::Unreliable)]);
    let calls = [
        world.reactors[1].connect(addr(0), &other).unwrap(),
        world.reactors[1].connect(addr(2), &channels()).unwrap(),
        world.reactors[1].connect_stream(addr(0)),
        world.reactors[1].connect(addr(7), &channels()).unwrap(),
    ];
    world.until(|world| disconnected(&world.told[1]).len() == calls.len());
    let told = disconnected(&world.told[1]);
    let reason = |peer: PeerId| told.iter().find(|(other, _)| *other == peer).unwrap().1;
    assert!(
        calls[..3].iter().all(|call| reason(*call).kind() == std::io::ErrorKind::ConnectionRefused),
        "{told:?}"
    );
    assert_eq!(reason(calls[3]), CloseReason::TimedOut);
    assert!(connected(&world.told[1]).is_empty() && world.told[0].is_empty() && world.told[2].is_empty());
}

#[test]
fn more_than_the_queue_holds_comes_back_and_there_is_word_when_there_is_room() {
    let narrow = ChannelConfig::new(Mode::ReliableOrdered).queue_bytes(32 << 10);
    let config = MessageConfig::new([narrow, ChannelConfig::new(Mode::Unreliable)]);
    let mut world = World::with(DELAY, 2, &config, Config::default());
    let there = world.reactors[1].connect(addr(0), &config).unwrap();
    let (mut number, mut refusals, mut may_send) = (0u8, 0, true);
    // 200 pieces of a thousand bytes.
    world.until(|world| {
        while may_send && number < 200 {
            match world.reactors[1].send(there, ORDERED, vec![number; 1000]) {
                Ok(_) => number += 1,
                Err(SendError::Full(bytes)) => {
                    assert_eq!(bytes, vec![number; 1000]);
                    (refusals, may_send) = (refusals + 1, false);
                    // The other channel has room of its own.
                    world.reactors[1].send(there, LOOSE, "passes by").unwrap();
                }
                Err(other) => panic!("{other}"),
            }
        }
        let is_room = |event: &Event| matches!(event, Event::Room { channel: ORDERED, .. });
        may_send |= world.told[1].iter().any(is_room);
        world.told[1].clear();
        messages(&world.told[0]).iter().filter(|bytes| bytes.len() == 1000).count() == 200
    });
    assert!(refusals > 2, "{refusals}");
    let pieces: Vec<_> = messages(&world.told[0]).into_iter().filter(|bytes| bytes.len() == 1000).collect();
    assert_eq!(pieces, (0..200u8).map(|number| vec![number; 1000]).collect::<Vec<_>>());
}

#[test]
fn whoever_does_not_ask_for_events_makes_the_peer_wait_and_loses_nothing() {
    let config = channels();
    let mut world = World::with(
        DELAY,
        2,
        &config,
        Config::default().receive_buffer(64 << 10).receive_buffer_max(64 << 10),
    );
    let (there, _) = world.connect(1);
    let mut sent = 0u32;
    for _ in 0..1200 {
        while sent < 6000 && world.reactors[1].can_send(there, ORDERED) {
            world.reactors[1].send(there, ORDERED, vec![1; 1000]).unwrap();
            sent += 1;
        }
        world.now = world.now + FRAME;
        world.wire.set_now(world.now);
        world.reactors.iter_mut().for_each(|reactor| reactor.tick_at(world.now).unwrap());
    }
    assert!(sent < 6000, "the sender waits");
    assert!(world.reactors[0].stats().memory < 8 << 20, "{:?}", world.reactors[0].stats());
    world.until(|world| messages(&world.told[0]).len() == sent as usize);
}

#[test]
fn a_crowd_that_comes_and_goes_takes_no_more_places_than_there_are() {
    let config = Config::default().max_connections(8).idle_timeout(Some(Duration::from_secs(45)));
    let mut world = World::with(Duration::ZERO, 2, &channels(), config);
    // The server's program asks for nothing meanwhile.
    let mut server = world.reactors.remove(0);
    for _ in 0..100 {
        let there = world.reactors[0].connect(addr(0), &channels()).unwrap();
        for _ in 0..4 {
            world.now = world.now + FRAME;
            world.wire.set_now(world.now);
            world.reactors[0].tick_at(world.now).unwrap();
            server.tick_at(world.now).unwrap();
        }
        // Whether it was let in or not.
        world.reactors[0].events().for_each(drop);
        world.reactors[0].abort(there).unwrap();
    }
    let told: Vec<_> = server.events().collect();
    assert_eq!((connected(&told).len(), disconnected(&told).len()), (8, 8), "{told:?}");
    assert_eq!(server.peers().count(), 0);
}

#[test]
fn a_closed_reactor_delivers_what_was_sent_and_then_says_so() {
    let mut world = World::new(DELAY, 2);
    let (there, here) = world.connect(1);
    for number in 0..100u8 {
        world.reactors[1].send(there, ORDERED, vec![number; 2000]).unwrap();
    }
    world.reactors[1].close();
    assert!(!world.reactors[1].is_closed());
    let late = world.reactors[1].send(there, ORDERED, "late");
    world.until(|world| world.reactors[1].is_closed());
    assert_eq!(messages(&world.told[0]).len(), 100 + usize::from(late.is_ok()));
    assert_eq!(disconnected(&world.told[0]), [(here, CloseReason::Finished)]);
    let refused = world.reactors[1].connect(addr(0), &channels()).unwrap();
    world.run(Duration::from_secs(1));
    assert!(disconnected(&world.told[1]).contains(&(refused, CloseReason::EndpointClosed)));
}

#[test]
fn a_loop_that_sleeps_as_long_as_it_may_misses_nothing() {
    let mut world = World::new(Duration::ZERO, 2);
    let there = world.reactors[1].connect(addr(0), &channels()).unwrap();
    world.reactors[1].send(there, ORDERED, "no frames").unwrap();
    let mut steps = 0;
    while delivered(&world.told[1]).is_empty() {
        steps += 1;
        assert!(steps < 50, "{:?}", world.told);
        let sleep = world.reactors.iter().filter_map(Reactor::next_timeout).min().unwrap();
        world.now = world.now + sleep;
        world.wire.set_now(world.now);
        for (reactor, told) in world.reactors.iter_mut().zip(&mut world.told) {
            reactor.tick_at(world.now).unwrap();
            told.extend(reactor.events());
        }
    }
    assert_eq!(messages(&world.told[0]), [b"no frames"]);
    // With nothing to say, it sleeps until the next keepalive.
    world.run(Duration::from_secs(2));
    assert!(world.reactors[1].next_timeout().unwrap() > Duration::from_secs(5));
}
