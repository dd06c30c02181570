//! The server on a host, and clients that speak to it over a network that loses packets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::Config;
use crate::proto::endpoint::Handle;
use crate::proto::punch::{PathKind, PunchError, PunchReport};
use crate::proto::rendezvous::server::RelayConfig;
use crate::proto::rendezvous::{AgentConfig, Client, ClientEvent, RelayUse, ServerAddr};
use crate::sim::{FlowId, HostId, Line, Link, Nat, Place, Side, Size, Strike, Traffic, World};
use crate::wire::rendezvous::{Join, JoinFlags, Outcome, Punched, RoomId, WantedRole};
use crate::wire::{NatClass, Token};

/// Wants into a room, meets whoever is there, and says that it went well.
#[derive(Debug)]
struct Guest {
    server: SocketAddr,
    token: u64,
    room: &'static str,
    handle: Option<Handle>,
    client: Client,
    events: Vec<ClientEvent>,
}

impl Guest {
    fn new(server: SocketAddr, token: u64, room: &'static str) -> Self {
        Self { server, token, room, handle: None, client: Client::new(), events: Vec::new() }
    }

    fn met(&self) -> bool {
        self.events.iter().any(|event| matches!(event, ClientEvent::Go(_)))
    }
}

impl Resident for Guest {
    fn step(&mut self, home: &mut Home<'_>) {
        let now = home.local_now();
        let mut context = home.context();
        if self.handle.is_none() {
            self.handle = Some(home.shared().connect(self.server, None));
            self.client.connected(now, false);
            let join = Join {
                room: RoomId::from_name(self.room),
                token: Token::new(self.token),
                class: NatClass::default(),
                candidates: Vec::new(),
                role: WantedRole::Any,
                capacity: 2,
                flags: JoinFlags::WELCOMES_ALL,
            };
            self.client.join(now, join);
        }
        let Some(handle) = &self.handle else { return };
        self.client.handle_timeout(now);
        loop {
            let read = match handle.poll_read(&mut context, home.scratch()) {
                Poll::Pending => break,
                Poll::Ready(Ok(read @ 1..)) => read,
                Poll::Ready(_) => {
                    // Too slow for the server's patience: once more.
                    self.handle = None;
                    return home.wake_at(home.now() + Duration::from_millis(100));
                }
            };
            let bytes = home.scratch()[..read].to_vec();
            self.client.receive(now, &bytes);
            while let Some(event) = self.client.poll_event() {
                match &event {
                    ClientEvent::Came(peer) if self.token.is_multiple_of(2) => self.client.meet(now, *peer),
                    ClientEvent::Connect(connect) => self.client.ready(now, connect.session, 0),
                    ClientEvent::Go(round) => {
                        let (outcome, took) = (Outcome::Connected, Duration::from_millis(1));
                        let session = round.session;
                        self.client.report(now, Punched { session, outcome, path: None, took });
                    }
                    _ => {}
                }
                self.events.push(event);
            }
        }
        if let Poll::Ready(Ok(count)) = handle.poll_write(&mut context, self.client.outgoing()) {
            self.client.sent(count);
        }
        if let Some(at) = self.client.poll_timeout() {
            home.wake_at_local(at);
        }
    }
}

fn world(seed: u64, pairs: usize, link: Link) -> (World, HostId, Vec<HostId>) {
    let mut world = World::new(seed);
    let server = world.host(Config::default());
    world.reside(server, RendezvousServer::new(ServerConfig::default()));
    let names = ["lagoon", "fjord", "estuary", "delta", "sound"];
    let addr = world.addr(server);
    let mut guests = Vec::new();
    for (token, room) in (0u64..).zip(names.iter().take(pairs).flat_map(|room| [*room, *room])) {
        let guest = world.host(Config::default());
        world.join(guest, server, Line::from(link));
        world.reside(guest, Guest::new(addr, token, room));
        guests.push(guest);
    }
    (world, server, guests)
}

fn met(world: &World, guests: &[HostId]) -> bool {
    guests.iter().all(|guest| world.resident::<Guest>(*guest).unwrap().met())
}

#[test]
fn pairs_meet_over_a_network_that_loses_packets() {
    for seed in 0..20 {
        let link = Link::perfect().delay(Duration::from_millis(30)).loss(Strike::random(0.1));
        let (mut world, server, guests) = world(seed, 5, link);
        world.run_until(|world| met(world, &guests), Duration::from_secs(120)).unwrap();
        world.run_for(Duration::from_secs(30));
        let stats = world.resident::<RendezvousServer>(server).unwrap().stats();
        assert!(
            stats.clients == 10 && stats.connects >= 5 && stats.outcomes[0] >= 10,
            "seed {seed}: {stats:?}"
        );
        assert_eq!((stats.bad_messages, stats.meetings), (0, 0), "seed {seed}");
    }
}

#[test]
fn an_introduction_takes_four_round_trips_when_nothing_is_lost() {
    let (mut world, _, guests) = world(1, 1, Link::perfect().delay(Duration::from_millis(20)));
    let took = world.run_until(|world| met(world, &guests), Duration::from_secs(10)).unwrap();
    // The stream; hello and the room; the request; the first packets and the word to go.
    assert!(took <= Duration::from_millis(4 * 40 + 20), "{took:?}");
}

#[test]
fn a_server_that_begins_anew_is_found_again() {
    let (mut world, server, guests) = world(2, 1, Link::perfect().delay(Duration::from_millis(20)));
    world.run_until(|world| met(world, &guests), Duration::from_secs(10)).unwrap();
    world.tell(server, RendezvousServer::restart);
    world.run_for(Duration::from_secs(5));
    let stats = world.resident::<RendezvousServer>(server).unwrap().stats();
    assert!(stats.clients == 2 && stats.joins >= 2, "both have come again: {stats:?}");
}

/// Two behind boxes of these kinds, who meet by way of a server on the backbone.
fn meet(seed: u64, boxes: [Nat; 2], link: Link) -> (World, [HostId; 2], FlowId) {
    let (world, _, hosts, flow) = meet_at(seed, boxes, link);
    (world, hosts, flow)
}

/// The same, and where the server is.
fn meet_at(seed: u64, boxes: [Nat; 2], link: Link) -> (World, HostId, [HostId; 2], FlowId) {
    meet_with(seed, boxes, link, None, RelayUse::IfNeeded)
}

/// The same with a server that forwards.
fn meet_with(
    seed: u64,
    boxes: [Nat; 2],
    link: Link,
    relay: Option<RelayConfig>,
    wanted: RelayUse,
) -> (World, HostId, [HostId; 2], FlowId) {
    let mut world = World::new(seed);
    let place = Place::internet().port(7171).second_port(7172);
    let server = world.host_at(place, Config::default(), link);
    world.reside(server, RendezvousServer::new(ServerConfig { relay, ..ServerConfig::default() }));
    let addr = world.addr(server);
    if relay.is_some() {
        let forwarder = world.resident::<RendezvousServer>(server).unwrap().relay();
        let forwarder = world.raw_host_at(Place::internet(), forwarder, link);
        let at = world.addr(forwarder);
        world.tell(server, |server: &mut RendezvousServer| server.relay_at(at));
    }
    let hosts = boxes.map(|nat| {
        let nat = world.nat(nat, Link::perfect());
        world.host_at(Place::behind(nat), Config::default(), link)
    });
    let flow = world.flow(hosts[0], hosts[1]);
    let traffic = Traffic::echo(Size::kib(100));
    for (number, (host, side)) in (1u8..).zip(hosts.into_iter().zip(Side::BOTH)) {
        let hosts = world.addrs(host).collect();
        let servers = vec![ServerAddr::from(addr)];
        let config =
            AgentConfig { hosts, relay: wanted, ..AgentConfig::new(servers, RoomId::from_name("lagoon")) };
        let seed = [number.wrapping_add(u8::try_from(seed % 251).unwrap()); 32];
        world.reside(host, RendezvousClient::new(config, side, flow, &traffic, seed));
    }
    (world, server, hosts, flow)
}

pub(super) fn outcomes(world: &World, hosts: [HostId; 2]) -> [Option<Result<PunchReport, PunchError>>; 2] {
    hosts.map(|host| world.resident::<RendezvousClient>(host).unwrap().outcome().cloned())
}

#[test]
fn two_behind_boxes_meet_by_way_of_the_server() {
    type Make = fn() -> Nat;
    let kinds: [(&str, Make); 4] = [
        ("full cone", Nat::full_cone),
        ("port restricted", Nat::port_restricted),
        ("linux", Nat::linux),
        ("symmetric", Nat::symmetric),
    ];
    for (first, make_first) in kinds {
        for (second, make_second) in kinds {
            if first == "symmetric" && second == first {
                continue;
            }
            let link = Link::perfect().delay(Duration::from_millis(20)).loss(Strike::random(0.01));
            let (mut world, hosts, flow) = meet(3, [make_first(), make_second()], link);
            let done = world.run_until(|world| world.is_done(flow), Duration::from_secs(60));
            let outcomes = outcomes(&world, hosts);
            assert!(done.is_ok(), "{first} and {second}: {outcomes:?}");
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Some(Ok(_)))), "{first} and {second}");
        }
    }
}

#[test]
fn two_that_cannot_meet_are_told_why() {
    let link = Link::perfect().delay(Duration::from_millis(20));
    let (mut world, hosts, _) = meet(5, [Nat::symmetric(), Nat::symmetric()], link);
    let told = |world: &World| outcomes(world, hosts).iter().all(Option::is_some);
    world.run_until(told, Duration::from_secs(30)).unwrap();
    for outcome in outcomes(&world, hosts) {
        assert!(matches!(outcome, Some(Err(PunchError::BothSymmetric(_)))), "{outcome:?}");
    }
}

#[test]
fn a_meeting_survives_the_end_of_the_server() {
    let link = Link::perfect().delay(Duration::from_millis(20));
    let (mut world, server, hosts, flow) = meet_at(6, [Nat::port_restricted(), Nat::linux()], link);
    world.run_for(Duration::from_millis(70));
    world.tell(server, RendezvousServer::restart);
    world.run_until(|world| world.is_done(flow), Duration::from_secs(60)).unwrap();
    assert!(outcomes(&world, hosts).iter().all(|outcome| matches!(outcome, Some(Ok(_)))));
}

/// How the two came together, whose stream has carried its bytes.
fn paths(world: &mut World, hosts: [HostId; 2], flow: FlowId) -> [Option<PathKind>; 2] {
    let done = world.run_until(|world| world.is_done(flow), Duration::from_secs(90));
    let outcomes = outcomes(world, hosts);
    assert!(done.is_ok(), "{outcomes:?}: {done:?}");
    outcomes.map(|outcome| outcome.unwrap().unwrap().path)
}

#[test]
fn two_that_cannot_meet_are_forwarded_for_if_the_server_does_that() {
    let link = Link::perfect().delay(Duration::from_millis(20));
    let boxes = [Nat::symmetric(), Nat::symmetric()];
    let relay = Some(RelayConfig::default());
    let (mut world, server, hosts, flow) = meet_with(7, boxes, link, relay, RelayUse::IfNeeded);
    assert_eq!(paths(&mut world, hosts, flow), [Some(PathKind::Relayed); 2]);
    let stats = world.resident::<RendezvousServer>(server).unwrap().stats();
    assert!(stats.relayed_bytes > 200 << 10 && stats.relaying == 1, "{stats:?}");
}

#[test]
fn two_that_can_meet_are_not_forwarded_for() {
    let link = Link::perfect().delay(Duration::from_millis(20));
    let boxes = [Nat::port_restricted(), Nat::linux()];
    let relay = Some(RelayConfig::default());
    let (mut world, server, hosts, flow) = meet_with(8, boxes, link, relay, RelayUse::IfNeeded);
    assert_eq!(paths(&mut world, hosts, flow), [Some(PathKind::Ipv4); 2]);
    let stats = world.resident::<RendezvousServer>(server).unwrap().stats();
    assert_eq!((stats.relayed_bytes, stats.relaying), (0, 0));
}

#[test]
fn n12_who_wants_to_be_met_through_the_server_only_is_probed_nowhere_else() {
    let link = Link::perfect().delay(Duration::from_millis(20));
    let boxes = [Nat::full_cone(), Nat::full_cone()];
    let relay = Some(RelayConfig::default());
    let (mut world, _, hosts, flow) = meet_with(9, boxes, link, relay, RelayUse::Only);
    assert_eq!(paths(&mut world, hosts, flow), [Some(PathKind::Relayed); 2]);
    let [one, other] = hosts;
    let direct: u64 = world.addrs(other).map(|addr| world.exchanged(one, addr).out_packets).sum();
    eprintln!("n12 bound=0 packets to the peer itself measured={direct}");
    assert_eq!(direct, 0);
}
