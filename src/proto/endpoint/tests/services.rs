//! Several listeners on one port, and streams in both directions through it.

use super::*;
use crate::proto::endpoint::Dial;
use crate::wire::{OwnReason, Service};

fn service(name: &str) -> Option<Service> {
    Some(name.parse().unwrap())
}

fn dial(side: &Side, to: SocketAddr, service: Option<Service>) -> Handle {
    side.lease.dial(to, Dial { service, ..Dial::default() })
}

fn incoming(side: &Side, service: Option<Service>) -> Option<Incoming> {
    let offer = match service {
        Some(service) => side.lease.poll_incoming_for(&mut cx(), service),
        None => side.lease.poll_incoming(&mut cx()),
    };
    match offer {
        Poll::Ready(incoming) => incoming,
        Poll::Pending => None,
    }
}

#[test]
fn n26_each_service_gets_what_is_for_it() {
    let mut pair = Pair::new(Config::default());
    let services = [None, service("chat/1"), service("files")];
    services.iter().flatten().for_each(|&service| pair.b.lease.listen_for(service));
    let dialled = services.map(|service| dial(&pair.a, pair.b.addr, service));
    pair.settle();
    for (asked, ours) in services.iter().zip(&dialled).rev() {
        let offer = incoming(&pair.b, *asked).unwrap();
        assert_eq!(offer.service(), *asked);
        assert!(incoming(&pair.b, *asked).is_none());
        let theirs = offer.accept();
        assert_eq!(ours.try_write(b"x"), Poll::Ready(Ok(1)));
        pair.settle();
        assert_eq!(read_some(&theirs).unwrap(), b"x");
    }
}

#[test]
fn n26_a_service_that_nobody_offers_is_refused_with_the_reason() {
    let mut pair = Pair::new(Config::default());
    pair.b.lease.listen_for(service("chat").unwrap());
    let ours = dial(&pair.a, pair.b.addr, service("files"));
    let syn = pair.a.turn(pair.now);
    pair.b.receive(pair.now, pair.a.addr, &syn[0].1);
    let answers = pair.b.turn(pair.now);
    let reset = Packet::decode(&answers[0].1).unwrap();
    assert_eq!(reset.header.kind, Kind::Reset);
    let own = reset.extensions.own_block().unwrap().unwrap();
    assert_eq!(own.close_reason.unwrap().code(), OwnReason::NO_SERVICE);
    assert!(answers[0].1.len() <= syn[0].1.len());
    pair.a.receive(pair.now, pair.b.addr, &answers[0].1);
    pair.settle();
    assert_eq!(ours.close_reason(), Some(CloseReason::NoService));
    // The last listener's leave refuses what waits, and what comes.
    let waiting = dial(&pair.a, pair.b.addr, service("chat"));
    pair.settle();
    pair.b.lease.unlisten_for(service("chat").unwrap());
    pair.settle();
    assert_eq!(waiting.close_reason(), Some(CloseReason::Refused));
    let late = dial(&pair.a, pair.b.addr, service("chat"));
    pair.settle();
    assert_eq!(late.close_reason(), Some(CloseReason::NoService));
}

#[test]
fn n26_a_peer_that_knows_no_services_is_not_taken_for_one() {
    let mut pair = Pair::new(Config::default());
    pair.b = Side::listening(2, Config::default().extensions(false));
    let ours = dial(&pair.a, pair.b.addr, service("files"));
    pair.settle();
    let theirs = pair.b.incoming().unwrap().accept();
    pair.settle();
    assert_eq!(ours.close_reason(), Some(CloseReason::NoService));
    assert!(theirs.close_reason().is_some(), "it has been told");
    // Nor does a SYN for a service ever go out as one for none.
    let mut side = Side::new(1, Config::default());
    let _handle = dial(&side, stranger(1), service("files"));
    for second in [0, 1, 3, 7] {
        let syn = side.turn(Instant::ZERO + secs(second)).remove(0).1;
        let own = Packet::decode(&syn).unwrap().extensions.own_block().unwrap().unwrap();
        assert_eq!(own.service, service("files"));
    }
}

#[test]
fn n26_a_service_survives_being_forgotten_in_a_rush() {
    let mut pair = Pair::new(Config::default().half_open(1));
    let services = [service("chat"), None, service("files")];
    services.iter().flatten().for_each(|&service| pair.b.lease.listen_for(service));
    pair.b.hears(pair.now, stranger(9), syn(77, 1));
    let dialled = services.map(|service| dial(&pair.a, pair.b.addr, service));
    pair.settle();
    assert_eq!(pair.b.endpoint.stats().cookies_proved, 3);
    for (asked, ours) in services.iter().zip(&dialled) {
        let offer = loop {
            let offer = incoming(&pair.b, *asked).unwrap();
            if offer.is_proved() {
                break offer;
            }
            offer.ignore();
        };
        let theirs = offer.accept();
        assert_eq!(ours.try_write(b"x"), Poll::Ready(Ok(1)));
        pair.settle();
        assert_eq!(read_some(&theirs).unwrap(), b"x");
    }
}

#[test]
fn n27_a_hundred_streams_each_way_on_one_pair_of_ports_do_not_collide() {
    let config = Config::default().accept_queue(1000).half_open(1000);
    let config = config.connections_per_address(None).connections_per_network(None);
    for seed in 0..20 {
        let mut pair = Pair::new(config.clone());
        (pair.a, pair.b) =
            (Side::listening(seed + 1, config.clone()), Side::listening(seed + 101, config.clone()));
        let (a, b) = (pair.a.addr, pair.b.addr);
        let dialled: Vec<_> = (0..100u8)
            .flat_map(|each| {
                [(each, pair.a.lease.connect(b, None)), (each + 100, pair.b.lease.connect(a, None))]
            })
            .collect();
        pair.settle();
        let accept =
            |side: &Side| std::iter::from_fn(|| side.incoming()).map(Incoming::accept).collect::<Vec<_>>();
        let accepted: Vec<Handle> = [accept(&pair.a), accept(&pair.b)].into_iter().flatten().collect();
        for (each, handle) in &dialled {
            assert_eq!(handle.try_write(&[*each; 100]), Poll::Ready(Ok(100)));
        }
        pair.settle();
        let mut heard: Vec<Vec<u8>> = accepted.iter().map(|handle| read_some(handle).unwrap()).collect();
        heard.sort();
        assert_eq!(heard, (0..200u8).map(|each| vec![each; 100]).collect::<Vec<_>>());
        assert_eq!(pair.a.dropped(), Default::default());
        assert_eq!(pair.b.dropped(), Default::default());
        assert!(dialled.iter().all(|(_, handle)| handle.conn_ids().recv.get() % 2 == 0));
    }
}

/// `a` is replaced by another endpoint at the same address, as if it had restarted, and calls with the same id.
fn restarted(pair: &mut Pair, id: ConnId) -> Handle {
    let addr = pair.a.addr;
    pair.a = Side::new(77, Config::default());
    assert_eq!(pair.a.addr.port(), addr.port());
    pair.a.addr = addr;
    pair.under_way = Default::default();
    pair.a.lease.connect(pair.b.addr, Some(id))
}

#[test]
fn n28_a_peer_that_has_lost_the_stream_gets_its_place_after_the_old_one_is_silent() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    let again = restarted(&mut pair, ours.conn_ids().recv);
    pair.pass(secs(2));
    assert_eq!(theirs.close_reason(), None, "it is being asked");
    pair.pass(secs(2));
    assert_eq!(theirs.close_reason(), Some(CloseReason::TimedOut));
    let theirs = pair.b.incoming().unwrap().accept();
    pair.settle();
    assert!(again.poll_connected(&mut cx()).is_ready());
    assert!(theirs.peer_is_ebbtide(), "what the first SYN said counts, though the third was bare");
}

#[test]
fn n28_a_stream_that_is_alive_keeps_its_place_whoever_wants_it() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = pair.connect();
    let id = ours.conn_ids().recv.get();
    for second in 0..12 {
        let now = pair.now;
        pair.b.receive(now, pair.a.addr, &bytes(syn(id, 7), b""));
        let sent = pair.b.turn(now);
        pair.under_way[0].extend(sent);
        pair.pass(secs(1));
        assert_eq!(theirs.close_reason(), None, "{second}");
    }
    assert!(pair.b.dropped().id_collision == 12 && pair.b.incoming().is_none());
}
