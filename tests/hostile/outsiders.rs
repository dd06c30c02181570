//! Attackers without a connection of their own: in others' names, or in everybody's.

use std::net::SocketAddr;

use ebbtide::sim::hostile::{Flood, Matter, Sources};
use ebbtide::sim::{HostId, Link, Size, Traffic, World};

use crate::beside::{SECS, Scene, config, fast_line, undisturbed};

/// Datagrams each millisecond.
const PER_TICK: u32 = 20;

fn flood(scene: &mut Scene, matter: Matter, sources: Sources) -> HostId {
    let flood = Flood::new(scene.world.addr(scene.victim), matter, sources, PER_TICK);
    let attacker = scene.world.raw_host(flood);
    scene.world.join(attacker, scene.victim, fast_line());
    attacker
}

#[test]
fn t01_reflections_bring_their_target_less_than_they_cost() {
    for matter in [Matter::Reflections, Matter::Syns, Matter::Strays(0), Matter::Strays(1000), Matter::Data] {
        let mut world = World::new(9);
        let [server, target] = [(); 2].map(|()| world.host(config()));
        // The server would have much to say, and begins.
        world.serve(server, &Traffic::both_ways(Size::ZERO, Size::mib(1)));
        world.join(server, target, Link::perfect());
        let flood = Flood::new(world.addr(server), matter, Sources::Of(world.addr(target)), PER_TICK);
        let attacker = world.raw_host(flood);
        world.join(attacker, server, Link::perfect());
        world.run_for(SECS(3));
        world.vanish(attacker);
        world.run_for(SECS(60));
        let got = world.exchanged(server, world.addr(target));
        let factor = got.out_bytes as f64 / got.in_bytes as f64;
        eprintln!("t01 {matter:?}: bound=1.0 measured={factor:.4}");
        assert!(got.in_packets > 50_000 && factor <= 1.0, "{matter:?}: {got:?}");
        world.settle(SECS(400)).unwrap();
    }
}

#[test]
fn t02_strays_and_garbage_leave_an_honest_connection_alone() {
    let alone = undisturbed();
    for matter in [Matter::Strays(0), Matter::Strays(1000), Matter::Garbage(7), Matter::Garbage(200)] {
        for sources in [Sources::Own, Sources::Everywhere] {
            let mut scene = Scene::new(&config());
            let attacker = flood(&mut scene, matter, sources);
            let took = scene.finish();
            let sent = scene.world.raw::<Flood>(attacker).unwrap().sent;
            let answers = scene.world.raw::<Flood>(attacker).unwrap().answers + scene.world.nowhere();
            // Two hundred a second, and as many at once in the beginning.
            let bound = 200.0 * (took.as_secs_f64() + 1.0);
            eprintln!("t02 {matter:?} {sources:?}: {sent} sent, bound={bound:.0} measured={answers}");
            assert!(answers as f64 <= bound, "{answers}");
            assert!(took.as_secs_f64() <= 1.05 * alone.as_secs_f64(), "{took:?} instead of {alone:?}");
        }
    }
}

/// The honest connection while somebody who cannot see it speaks in the name of its other end.
fn guessed(matter: Matter) -> (Scene, u64) {
    let mut scene = Scene::new(&config());
    let peer: SocketAddr = scene.world.addr(scene.honest);
    let attacker = flood(&mut scene, matter, Sources::Of(peer));
    scene.finish();
    let sent = scene.world.raw::<Flood>(attacker).unwrap().sent;
    (scene, sent)
}

#[test]
fn t09_blind_resets_do_not_end_a_connection() {
    let (_, sent) = guessed(Matter::Resets);
    eprintln!("t09 blind resets: bound=0 measured=0 of {sent} believed");
    assert!(sent > 20_000);
}

#[test]
fn t10_blind_data_does_not_get_in() {
    for matter in [Matter::Data, Matter::Strays(500), Matter::Reflections] {
        let (_, sent) = guessed(matter);
        eprintln!("t10 {matter:?}: bound=0 measured=0 bytes of {sent} packets");
        assert!(sent > 20_000);
    }
}

#[test]
fn t03_floods_of_syns_leave_an_honest_connection_alone() {
    let alone = undisturbed();
    for sources in [Sources::Own, Sources::Everywhere] {
        let mut scene = Scene::new(&config());
        flood(&mut scene, Matter::Syns, sources);
        let took = scene.finish();
        let half_open = scene.world.endpoint(scene.victim).half_open();
        eprintln!("t03 {sources:?}: bound=1024 measured={half_open}");
        assert!(half_open <= 1024 && took.as_secs_f64() <= 1.05 * alone.as_secs_f64(), "{took:?}");
        // Somebody who is real still gets in.
        let (from, to) = (scene.honest, scene.victim);
        let flow = scene.world.start(from, to, &Traffic::echo(Size::kib(10)));
        scene.world.run_until(|world| world.is_done(flow), SECS(10)).unwrap();
    }
}
