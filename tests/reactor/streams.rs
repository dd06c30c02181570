//! Streams, hole punching and other protocols through a reactor.

use std::io::ErrorKind;
use std::time::Duration;

use ebbtide::reactor::{Event, PeerId};
use ebbtide::{CloseReason, Config, NatReport, PunchPlan, StunError};

use crate::world::{ORDERED, World, addr, channels, connected, disconnected};

const DELAY: Duration = Duration::from_millis(20);

/// Writes what is left as far as there is room.
fn write_on(world: &mut World, from: usize, peer: PeerId, left: &mut &[u8]) {
    while !left.is_empty() {
        match world.reactors[from].write(peer, left) {
            Ok(taken) => *left = &left[taken..],
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return;
            }
        }
    }
}

/// One read for each time that something was told to be there.
fn read_on(world: &mut World, at: usize, received: &mut Vec<u8>) -> bool {
    let mut ended = false;
    for event in std::mem::take(&mut world.told[at]) {
        match event {
            Event::Readable { peer } => {
                let mut room = [0; 3000];
                match world.reactors[at].read(peer, &mut room) {
                    Ok(0) => ended = true,
                    Ok(len) => received.extend_from_slice(&room[..len]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            other => world.told[at].push(other),
        }
    }
    ended
}

#[test]
fn a_stream_arrives_whole_over_a_bad_line_and_both_sides_hear_of_its_end() {
    let config = Config::default().send_buffer(64 << 10);
    let mut world = World::with(DELAY, 2, &channels(), config);
    world.reactors[0].listen_streams();
    let mut number = 0u64;
    world.wire.set_rule(move |_| {
        number += 1;
        if number.is_multiple_of(50) {
            Vec::new()
        } else {
            vec![DELAY; if number.is_multiple_of(31) { 2 } else { 1 }]
        }
    });
    let there = world.reactors[1].connect_stream(addr(0));
    let content: Vec<u8> = (0..300_000u32).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
    let (mut left, mut received, mut ended, mut finished) = (&content[..], Vec::new(), false, false);
    write_on(&mut world, 1, there, &mut left);
    assert!(!left.is_empty(), "the buffer is full before the handshake is over");
    world.until(|world| {
        if world.told[1].iter().any(|event| matches!(event, Event::Writable { .. })) {
            world.told[1].retain(|event| !matches!(event, Event::Writable { .. }));
            write_on(world, 1, there, &mut left);
        }
        if left.is_empty() && !std::mem::replace(&mut finished, left.is_empty()) {
            world.reactors[1].finish(there).unwrap();
        }
        ended |= read_on(world, 0, &mut received);
        ended
    });
    assert!(received == content, "{} of {} bytes", received.len(), content.len());
    world.until(|world| world.told[1].iter().any(|event| matches!(event, Event::Finished { .. })));
    assert_eq!(world.reactors[1].write(there, b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);

    // The other direction goes on.
    let here = connected(&world.told[0])[0];
    world.reactors[0].write(here, b"got it").unwrap();
    world.reactors[0].finish(here).unwrap();
    let mut answer = Vec::new();
    world.until(|world| read_on(world, 1, &mut answer));
    assert_eq!(answer, b"got it");
    world.until(|world| world.told.iter().all(|told| !disconnected(told).is_empty()));
    assert_eq!(disconnected(&world.told[0]), [(here, CloseReason::Finished)]);
    assert_eq!(disconnected(&world.told[1]), [(there, CloseReason::Finished)]);
}

#[test]
fn what_arrived_before_an_abort_can_be_read_and_then_the_reason_is_told() {
    let mut world = World::new(DELAY, 2);
    world.reactors[0].listen_streams();
    let there = world.reactors[1].connect_stream(addr(0));
    world.reactors[1].write(there, b"before").unwrap();
    world.run(Duration::from_secs(1));
    world.reactors[1].abort(there).unwrap();
    world.run(Duration::from_secs(1));
    let here = connected(&world.told[0])[0];
    assert!(disconnected(&world.told[0]).is_empty(), "it has not been read yet");
    let mut received = [0; 9];
    assert_eq!(world.reactors[0].read(here, &mut received).unwrap(), 6);
    assert_eq!(&received[..6], b"before");
    world.tick();
    assert_eq!(disconnected(&world.told[0]), [(here, CloseReason::Reset)]);
}

#[test]
fn a_connection_carries_messages_or_a_stream_and_says_which() {
    let mut world = World::new(DELAY, 2);
    world.reactors[0].listen_streams();
    let (messages, _) = world.connect(1);
    let read = world.reactors[1].read(messages, &mut [0]).unwrap_err();
    assert_eq!(read.kind(), ErrorKind::InvalidInput);
    assert_eq!(world.reactors[1].finish(messages).unwrap_err().kind(), ErrorKind::InvalidInput);
    let stream = world.reactors[1].connect_stream(addr(0));
    world.run(Duration::from_secs(1));
    let refused = world.reactors[1].send(stream, ORDERED, "no channel").unwrap_err();
    assert_eq!(refused.into_bytes(), "no channel");
    assert_eq!(world.reactors[1].read(stream, &mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn punched(told: &[Event]) -> Option<PeerId> {
    told.iter().find_map(|event| match event {
        Event::Punched { peer, .. } => Some(*peer),
        _ => None,
    })
}

#[test]
fn two_reactors_meet_with_tickets_and_with_addresses() {
    for with_tickets in [true, false] {
        let mut world = World::new(DELAY, 3);
        // Nobody listens for them.
        world.reactors[0].stop_listening();
        if with_tickets {
            let tickets = [1, 2].map(|at: usize| {
                let here =
                    ebbtide::Candidate::new(ebbtide::CandidateKind::Host, world.reactors[at].local_addr());
                world.reactors[at].ticket(&NatReport::default(), &[here]).unwrap()
            });
            let [a, b] = [0, 1].map(|at| PunchPlan::from_tickets(&tickets[at], &tickets[1 - at]).unwrap());
            world.reactors[1].punch(a);
            world.reactors[2].punch(b);
        } else {
            world.reactors[1].punch_addr(addr(2), 10);
            world.reactors[2].punch_addr(addr(1), 10);
        }
        world.until(|world| world.told[1..].iter().all(|told| punched(told).is_some()));
        let [a, b] = [1, 2].map(|at| punched(&world.told[at]).unwrap());
        world.reactors[1].write(a, b"through the wall").unwrap();
        let mut received = Vec::new();
        world.until(|world| {
            read_on(world, 2, &mut received);
            !received.is_empty()
        });
        assert_eq!(received, b"through the wall");
        assert_eq!(world.reactors[2].peer_addr(b), Some(addr(1)));
    }
}

#[test]
fn an_attempt_that_leads_nowhere_says_why_and_one_that_was_given_up_says_nothing() {
    let mut world = World::new(DELAY, 2);
    let nowhere = world.reactors[1].punch_addr(addr(77), 4);
    let given_up = world.reactors[1].punch_addr(addr(78), 4);
    assert!(world.reactors[1].cancel_punch(given_up) && !world.reactors[1].cancel_punch(given_up));
    world.until(|world| !world.told[1].is_empty());
    world.run(Duration::from_secs(10));
    let [Event::PunchFailed { punch, error }] = &world.told[1][..] else { panic!("{:?}", world.told[1]) };
    assert_eq!((*punch, error.kind()), (nowhere, ErrorKind::TimedOut));
    assert!(!world.reactors[1].cancel_punch(nowhere));
}

#[test]
fn datagrams_of_another_protocol_share_the_port_once_somebody_wants_them() {
    let mut world = World::new(DELAY, 2);
    world.wire.inject(addr(9), addr(0), b"d1:ad2:id20:too early");
    world.tick();
    assert!(world.told[0].is_empty());
    assert_eq!(world.reactors[0].stats().dropped.foreign, 1);
    world.reactors[0].take_foreign(true);
    world.wire.inject(addr(9), addr(0), b"d1:ad2:id20:a question");
    world.tick();
    let [Event::Foreign { from, bytes }] = &world.told[0][..] else { panic!("{:?}", world.told[0]) };
    assert_eq!((*from, &bytes[..]), (addr(9), &b"d1:ad2:id20:a question"[..]));
    world.reactors[0].send_foreign(addr(9), "d1:rd2:id20:an answer").unwrap();
    world.tick();
    let sent = world.wire.take_sent();
    assert!(sent.iter().any(|sent| sent.to == addr(9) && sent.bytes == b"d1:rd2:id20:an answer"));
}

#[test]
fn a_reactor_learns_from_another_one_where_it_is() {
    let mut world = World::new(DELAY, 3);
    world.reactors[0].serve_stun(true);
    let asked = world.reactors[1].survey(&[addr(0)]);
    world.until(|world| !world.told[1].is_empty());
    let [Event::Surveyed { survey, outcome: Ok(report) }] = &world.told[1][..] else {
        panic!("{:?}", world.told[1])
    };
    assert_eq!((*survey, report.blocked), (asked, false));
    assert_eq!(report.public_v4.map(std::net::SocketAddr::V4), Some(addr(1)));
    // And where nobody answers, nothing gets through.
    world.reactors[1].survey(&[addr(2)]);
    assert!(world.reactors[1].next_timeout().is_some());
    world.told[1].clear();
    world.until(|world| !world.told[1].is_empty());
    let [Event::Surveyed { outcome: Ok(report), .. }] = &world.told[1][..] else {
        panic!("{:?}", world.told[1])
    };
    assert!(report.blocked);
    let six = world.reactors[1].survey(&["[2001:db8::1]:1".parse().unwrap()]);
    world.told[1].clear();
    world.until(|world| !world.told[1].is_empty());
    let [Event::Surveyed { survey, outcome: Err(error) }] = &world.told[1][..] else {
        panic!("{:?}", world.told[1])
    };
    assert_eq!((*survey, *error), (six, StunError::Unreachable));
    assert_eq!(world.reactors[1].host_candidates()[0].addr, addr(1));
}
