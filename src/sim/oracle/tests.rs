//! Every oracle can fail: a program, a raw host or an observation that is wrong makes each of them speak.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use super::super::host::HostId;
use super::super::{
    App, FlowId, Leave, Link, Program, RawNet, RawProgram, RawStream, Report, Size, Stuck, Traffic, Why,
    World,
};
use super::ledger::Ledger;
use super::repeats::Repeats;
use super::stimuli::{Chains, Stimuli};
use super::{Oracle, Oracles, tables};
use crate::config::Config;
use crate::proto::endpoint::Endpoint;
use crate::wire::{ConnId, Dialect, Extensions, Header, Kind, Packet, SeqNr, Timestamp};

const MS: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn oracle(stuck: &Stuck) -> Oracle {
    match stuck.why() {
        Why::Violation(oracle, _) => *oracle,
        other => panic!("no oracle has spoken: {other:?}"),
    }
}

/// Says what it is told to say, once, and does nothing else.
#[derive(Debug)]
struct Liar(Report);

impl Program for Liar {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        assert!(self.0.sent < 1_000_000, "more than anybody could have sent");
        app.wake_at(app.now() + SECOND);
        Poll::Pending
    }

    fn report(&self) -> Report {
        self.0
    }
}

/// What the oracles say about a connection whose programs report this.
fn told(initiator: Report, acceptor: Report) -> Oracle {
    let mut world = World::new(1);
    let [alice, bob] = [(); 2].map(|()| world.host(Config::default()));
    world.join(alice, bob, Link::perfect().delay(Duration::from_millis(1)));
    world.connect(alice, bob, Box::new(Liar(initiator)), Box::new(Liar(acceptor)));
    oracle(&world.run_until(|_| false, 10 * SECOND).unwrap_err())
}

#[test]
fn a_wrong_byte_and_a_byte_too_many_are_seen() {
    let sent = Report { sent: 9, ..Report::default() };
    let wrong = Report { received: 9, wrong_at: Some(3), ..Report::default() };
    assert_eq!(told(sent, wrong), Oracle::Bytes);
    let many = Report { received: 10, ..Report::default() };
    assert_eq!(told(sent, many), Oracle::Bytes);
}

#[test]
fn an_end_that_comes_too_early_is_seen() {
    let sent = Report { sent: 9, ..Report::default() };
    let short = Report { received: 8, eof: true, ..Report::default() };
    assert_eq!(told(sent, short), Oracle::End);
}

#[test]
fn a_panic_is_seen_and_its_words_are_kept() {
    let many = Report { sent: 1_000_000, ..Report::default() };
    assert_eq!(told(Report::default(), many), Oracle::Panic);
}

#[test]
fn what_takes_too_long_is_seen() {
    let mut world = World::new(1);
    let [alice, bob] = [(); 2].map(|()| world.host(Config::default()));
    world.join(alice, bob, Link::perfect().delay(SECOND));
    world.start(alice, bob, &Traffic::bulk(Size::mib(1)));
    world.finish_within(3 * SECOND);
    assert_eq!(oracle(&world.settle(60 * SECOND).unwrap_err()), Oracle::Deadline);
}

#[test]
fn what_falsified_packets_do_to_a_stream_is_nobodys_fault() {
    let flow = FlowId::new(0);
    let hosts = [0, 1].map(HostId::new);
    let wrong = Report { wrong_at: Some(0), received: 1, ..Report::default() };
    let mut oracles = Oracles::default();
    oracles.falsified(hosts);
    oracles.stepped(flow, super::super::Side::Acceptor, hosts, &wrong);
    assert_eq!(oracles.found(), None);
}

/// A peer that answers every datagram with as many of these as it likes, after the first `silent` of them.
#[derive(Debug)]
struct Answers {
    what: fn(&Header) -> Vec<u8>,
    times: usize,
    to: Option<SocketAddr>,
}

impl RawProgram for Answers {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
        let header = Packet::decode(bytes).unwrap().header;
        for _ in 0..self.times {
            net.send(from, &(self.what)(&header));
        }
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        if let Some(to) = self.to.take() {
            net.send(to, &packet(Kind::Syn, 7, 1, 0, b""));
        }
    }
}

fn header(kind: Kind, id: u16, seq: u16, ack: u16) -> Header {
    Header {
        kind,
        conn_id: ConnId::new(id),
        sent_at: Timestamp::new(1),
        delay: crate::wire::Delay::NONE,
        window: 1 << 20,
        seq: SeqNr::new(seq),
        ack: SeqNr::new(ack),
    }
}

fn packet(kind: Kind, id: u16, seq: u16, ack: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = header(kind, id, seq, ack);
    Packet { header, extensions: Extensions::EMPTY, payload }.encode(&mut bytes);
    bytes
}

/// Two raw hosts, the second of them overseen, the first of which begins.
fn overseen(second: Answers, first: fn(&Header) -> Vec<u8>) -> Oracle {
    let mut world = World::new(1);
    let bob = world.raw_host(second);
    let to = Some(world.addr(bob));
    let alice = world.raw_host(Answers { what: first, times: 1, to });
    world.oversee(bob);
    world.join(alice, bob, Link::perfect().delay(Duration::from_millis(10)));
    oracle(&world.run_until(|_| false, 10 * SECOND).unwrap_err())
}

#[test]
fn more_than_came_from_a_stranger_is_seen() {
    let answers = Answers { what: |_| packet(Kind::State, 7, 9, 1, b""), times: 2, to: None };
    assert_eq!(overseen(answers, |_| Vec::new()), Oracle::Amplification);
    let answers =
        Answers { what: |_| packet(Kind::Data, 7, 9, 1, b"sooner than allowed"), times: 1, to: None };
    assert_eq!(overseen(answers, |_| Vec::new()), Oracle::Amplification);
}

#[test]
fn answers_that_are_answered_for_ever_are_seen() {
    let answers = Answers { what: |_| packet(Kind::Reset, 7, 9, 1, b""), times: 1, to: None };
    let mut world = World::new(1);
    let bob = world.raw_host(answers);
    let to = Some(world.addr(bob));
    let alice = world.raw_host(Answers { what: |_| packet(Kind::Reset, 8, 9, 1, b""), times: 1, to });
    world.oversee(alice);
    world.oversee(bob);
    world.join(alice, bob, Link::perfect().delay(Duration::from_millis(10)));
    assert_eq!(oracle(&world.run_until(|_| false, 10 * SECOND).unwrap_err()), Oracle::PingPong);
}

/// Sends the same packet twice, so long after each other, and opens with a SYN.
#[derive(Debug)]
struct Twice {
    stream: RawStream,
    pause: Duration,
    again: Vec<u8>,
}

impl RawProgram for Twice {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, _: SocketAddr, bytes: &[u8]) {
        let now = net.timestamp();
        let _ = self.stream.on_packet(now, &Packet::decode(bytes).unwrap());
        if self.again.is_empty() {
            self.again = self.stream.data(now, b"twice");
            net.send(self.stream.peer, &self.again);
            net.wake_after(self.pause);
        }
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        let bytes = match self.again.is_empty() {
            true => self.stream.syn(net.timestamp()),
            false => self.again.clone(),
        };
        net.send(self.stream.peer, &bytes);
    }
}

#[test]
fn a_packet_that_is_sent_twice_within_a_round_trip_is_seen() {
    for (pause, too_soon) in [(15, true), (25, false)] {
        let mut world = World::new(1);
        let bob = world.host(Config::default());
        let stream = RawStream::new(world.addr(bob), ConnId::new(65_535), SeqNr::new(65_535));
        let twice = Twice { stream, pause: Duration::from_millis(pause), again: Vec::new() };
        let alice = world.raw_host(twice);
        world.oversee(alice);
        world.serve(bob, &Traffic::bulk(Size::ZERO));
        world.join(alice, bob, Link::perfect().delay(Duration::from_millis(10)));
        let stuck = world.run_until(|_| false, 10 * SECOND).unwrap_err();
        assert_eq!(matches!(stuck.why(), Why::Violation(Oracle::Repeats, _)), too_soon, "{stuck}");
    }
}

/// Parses what [`packet`] made, for the oracles that take packets.
fn with<T>(bytes: &[u8], then: impl FnOnce(&Packet<'_>) -> T) -> T {
    then(&Packet::decode(bytes).unwrap())
}

#[test]
fn a_repetition_is_excused_once_by_three_duplicates_and_by_a_window_that_opens() {
    let least = 100 * MS;
    let sent = |repeats: &mut Repeats, at: u64| {
        with(&packet(Kind::Data, 7, 3, 0, b"data"), |packet| repeats.sent(at * MS, packet, least).is_ok())
    };
    let heard = |repeats: &mut Repeats, window: u32| {
        let header = Header { window, ..header(Kind::State, 8, 9, 2) };
        repeats.arrived(&Packet { header, extensions: Extensions::EMPTY, payload: b"" });
    };
    let mut repeats = Repeats::default();
    heard(&mut repeats, 1 << 20);
    assert!(sent(&mut repeats, 1));
    (2..4).for_each(|_| heard(&mut repeats, 1 << 20));
    assert!(!sent(&mut repeats, 5), "two are not three, and the first came before");
    (6..9).for_each(|_| heard(&mut repeats, 1 << 20));
    assert!(sent(&mut repeats, 10));
    (11..14).for_each(|_| heard(&mut repeats, 1 << 20));
    assert!(!sent(&mut repeats, 15), "a storm is not answered with a storm");
    heard(&mut repeats, 0);
    heard(&mut repeats, 1 << 20);
    assert!(sent(&mut repeats, 18), "what probed the shut window may have been thrown away");
}

#[test]
fn a_syn_is_not_repeated_within_a_second_and_another_one_may_follow_at_once() {
    let mut repeats = Repeats::default();
    let mut sent = |at: u64, seq: u16| {
        with(&packet(Kind::Syn, 7, seq, 0, b""), |packet| repeats.sent(at * MS, packet, 0).is_ok())
    };
    assert!(sent(0, 1) && sent(1000, 1) && !sent(1900, 1) && sent(1901, 2));
}

#[test]
fn an_address_is_validated_by_exactly_what_only_its_owner_can_know() {
    let arrived = |ledger: &mut Ledger, kind, id, ack| {
        with(&packet(kind, id, 5, ack, b""), |packet| ledger.arrived(20, Some(packet)));
    };
    let sent = |ledger: &mut Ledger, kind, id, seq, len: usize| {
        with(&packet(kind, id, seq, 0, b""), |packet| ledger.sent(len, Some(packet)).is_ok())
    };
    for (ack, validates) in [(98, false), (99, true), (100, false)] {
        let mut ledger = Ledger::default();
        arrived(&mut ledger, Kind::Syn, 7, 0);
        assert!(sent(&mut ledger, Kind::State, 7, 100, 20));
        arrived(&mut ledger, Kind::Data, 8, ack);
        assert_eq!(sent(&mut ledger, Kind::Data, 7, 100, 1400), validates, "{ack}");
    }
    // Our own SYN is not an answer, and the one who answers it is there.
    let mut ledger = Ledger::default();
    assert!(sent(&mut ledger, Kind::Syn, 7, 100, 20) && sent(&mut ledger, Kind::Reset, 8, 101, 20));
    assert!(!sent(&mut ledger, Kind::Reset, 8, 101, 20), "once is enough to take it back");
    arrived(&mut ledger, Kind::State, 7, 100);
    assert!(sent(&mut ledger, Kind::Data, 8, 101, 1400));
}

#[test]
fn tables_that_grow_beyond_their_bounds_or_are_not_cleared_are_seen() {
    let within = tables::Sizes { connections: 1, half_open: 1, routes: 2, timers: 2, ready: 0, memory: 9 };
    let empty = tables::Sizes::default();
    let check = |sizes: tables::Sizes| {
        sizes.check(1, &Config::default().max_connections(2)).err().map(|(oracle, _)| oracle)
    };
    assert_eq!((check(within), check(empty)), (None, None));
    assert_eq!(check(tables::Sizes { connections: 3, ..within }), Some(Oracle::Memory));
    assert_eq!(check(tables::Sizes { routes: 3, ..within }), Some(Oracle::Memory));
    assert_eq!(check(tables::Sizes { timers: 68, ..within }), Some(Oracle::Memory));
    assert_eq!(check(tables::Sizes { memory: (1 << 30) + 1, ..within }), Some(Oracle::Memory));
    assert_eq!(check(tables::Sizes { ready: 1, ..within }), Some(Oracle::Progress));
    assert_eq!(check(tables::Sizes { timers: 1, ..empty }), Some(Oracle::Leftovers));
    let endpoint = Endpoint::new(std::sync::Arc::new(Config::default()), [0; 32]);
    assert_eq!(tables::Sizes::of(&endpoint), empty);
}

#[test]
fn every_oracle_has_a_name_and_a_place() {
    let places: Vec<_> = Oracle::ALL.iter().map(|oracle| *oracle as usize).collect();
    assert_eq!(places, (0..Oracle::ALL.len()).collect::<Vec<_>>());
    let mut names: Vec<_> = Oracle::ALL.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Oracle::ALL.len());
}

#[test]
fn two_hosts_that_reset_what_the_other_sent_unasked_have_no_conversation() {
    for answered in [false, true] {
        let (mut chains, mut hosts) = (Chains::default(), [Stimuli::default(), Stimuli::default()]);
        let mut last = packet(Kind::State, 7, 1, 1, b"");
        let verdict = (0..20).try_for_each(|number| {
            let unasked = packet(Kind::State, 7, number, 1, b"");
            let cause = if answered { std::mem::take(&mut last) } else { unasked };
            let answer = packet(Kind::Reset, 7, number, 2, b"");
            let host = &mut hosts[usize::from(number % 2)];
            host.arrived(Some(chains.arrived(&cause)));
            host.answered(Dialect::Bep29, &Packet::decode(&answer).unwrap().header, &answer);
            last = answer;
            host.turned(true, &mut chains)
        });
        assert_eq!(verdict.is_err(), answered, "{verdict:?}");
    }
}

#[test]
fn a_packet_from_where_a_peer_was_is_answered_where_it_is_and_counts_once() {
    for (heard_on, spare, allowed) in [(8, 1, true), (9, 1, false), (8, 0, false)] {
        let (mut chains, mut before, mut now) = (Chains::default(), Stimuli::default(), Stimuli::default());
        (0..spare).for_each(|_| {
            before.arrived(None);
            before.heard(ConnId::new(heard_on));
        });
        let answer = packet(Kind::State, 7, 1, 1, b"");
        now.answered(Dialect::Bep29, &Packet::decode(&answer).unwrap().header, &answer);
        assert!(now.is_excessive());
        now.borrow(&mut before);
        assert_eq!(now.turned(true, &mut chains).is_ok(), allowed, "{heard_on}, {spare}");
    }
}
