//! Peers that have a connection and break the rules on it.

use ebbtide::CloseReason;
use ebbtide::sim::hostile::{
    Attack, Gapper, Insider, MaskLiar, Miser, Optimist, Rain, Storm, WindowLiar, WindowLie,
};
use ebbtide::sim::{HostId, Pace, Side, Size, Strike, Traffic};

use crate::beside::{MS, SECS, Scene, config, fast_line};
use crate::bottleneck::{Bottleneck, Honest};

#[test]
fn t11_optimistic_acks_gain_nothing_and_give_their_sender_away() {
    const BOUND: f64 = 1.2;
    let mut most = 0.0_f64;
    for seed in 1..5 {
        for loss in [Strike::never(), Strike::random(0.01)] {
            let [_, fair] = Bottleneck::with(Honest, loss, seed).acknowledged(SECS(0), SECS(20));
            for (name, trick) in [
                ("1 ahead", Optimist::new(1)),
                ("8 ahead", Optimist::new(8)),
                ("200 ahead", Optimist::new(200)),
                ("lazy", Optimist::lazy()),
            ] {
                let mut bottleneck = Bottleneck::with(trick, loss, seed);
                let [_, got] = bottleneck.acknowledged(SECS(0), SECS(20));
                assert!(got <= BOUND * fair, "{name}, seed {seed}: {got} bytes instead of {fair}");
                assert_eq!(bottleneck.end(), Some(CloseReason::Misbehaved), "{name}, seed {seed}");
                most = most.max(got / fair);
            }
        }
    }
    eprintln!("t11 optimistic and lazy acks: bound={BOUND} measured={most:.2}");
}

#[test]
fn t11_masks_of_the_unsent_gain_nothing() {
    const BOUND: f64 = 1.2;
    let [_, fair] = Bottleneck::with(Honest, Strike::never(), 3).acknowledged(SECS(0), SECS(20));
    for mask in [MaskLiar::new(4, 0), MaskLiar::new(252, 0), MaskLiar::new(255, 2)] {
        let mut bottleneck = Bottleneck::with(mask, Strike::never(), 3);
        let [_, got] = bottleneck.acknowledged(SECS(0), SECS(20));
        eprintln!("t11 {} bytes of mask: bound={BOUND} measured={:.2}", mask.bytes, got / fair);
        assert!(got <= BOUND * fair, "{got} bytes instead of {fair}");
    }
}

/// The scene with an attacker, run until the honest connection is over. Returns who attacked.
fn run(scene: &mut Scene, attack: Attack) -> HostId {
    let attacker = scene.world.attack(&attack, scene.victim, scene.honest, fast_line());
    scene.finish();
    attacker
}

#[test]
fn t06_gaps_over_all_numbers_are_held_up_to_a_bound() {
    for gapper in [Gapper::new(1, 1, 100), Gapper::new(1, 2, 100), Gapper::new(1000, 3, 20)] {
        let mut scene = Scene::new(&config());
        run(&mut scene, Attack::Gapper(gapper));
        let flow = scene.world.served(scene.victim).next().unwrap();
        let stats = scene.world.stream_stats(flow, Side::Acceptor);
        let held = stats.packets_reordered;
        eprintln!("t06 {gapper:?}: bound=2048 measured={held}");
        assert!(held <= 2048, "{stats:?}");
        assert_eq!(scene.world.report(flow, Side::Acceptor).received, 0);
    }
}

#[test]
fn t14_misers_are_given_up_and_cost_a_window_each_until_then() {
    for (sign_of_life, teases) in [(MS(300), false), (SECS(7), false), (SECS(1), true)] {
        let miser = Miser { sign_of_life, teases };
        let mut scene = Scene::new(&config());
        let attacker = run(&mut scene, Attack::Miser(miser, 40));
        assert_eq!(scene.world.served(scene.victim).count(), 40);
        let gone = scene.world.run_until(|world| world.running() == 0, SECS(300)).unwrap();
        let sent = scene.world.exchanged(scene.victim, scene.world.addr(attacker)).out_bytes;
        eprintln!("t14 {miser:?}: bound=90s measured={gone:?}, {} bytes each", sent / 40);
        assert!(gone < SECS(90), "{gone:?}");
        for flow in scene.world.served(scene.victim).collect::<Vec<_>>() {
            assert_eq!(scene.world.report(flow, Side::Acceptor).closed, Some(CloseReason::Stalled));
        }
        scene.world.vanish(attacker);
        scene.world.settle(SECS(200)).unwrap();
    }
}

#[test]
fn t14_who_ignores_our_window_fills_it_and_no_more() {
    let mut scene = Scene::new(&config().receive_buffer(64 << 10).receive_buffer_max(64 << 10));
    scene.world.serve(scene.victim, &Traffic::bulk(Size::ZERO).acceptor_reads(Pace::NEVER));
    let attacker = run(&mut scene, Attack::WindowLiar(WindowLiar::new(WindowLie::IgnoresOurs(20))));
    let excess = scene.world.raw::<Insider<WindowLiar>>(attacker).unwrap().trick().excess;
    let flow = scene.world.served(scene.victim).next().unwrap();
    let stats = scene.world.stream_stats(flow, Side::Acceptor);
    eprintln!("t14 window ignored: bound={} measured={}", 64 << 10, stats.bytes_received);
    assert!(excess > 1000 && stats.bytes_received <= 64 << 10, "{excess} {stats:?}");
}

/// What the victim answers to a storm, for each packet of it; with `bytes` to say besides.
fn answered(rain: Rain, bytes: Size) -> f64 {
    let mut scene = Scene::new(&config());
    scene.world.serve(scene.victim, &Traffic::both_ways(Size::ZERO, bytes));
    let storm = Attack::Storm(Storm::new(rain, 20));
    let attacker = scene.world.attack(&storm, scene.victim, scene.honest, fast_line());
    scene.world.run_for(MS(500));
    let before = scene.world.exchanged(scene.victim, scene.world.addr(attacker));
    scene.finish();
    let after = scene.world.exchanged(scene.victim, scene.world.addr(attacker));
    let brought = after.in_packets - before.in_packets;
    assert!(brought > 1000, "{rain:?}: {brought}");
    (after.out_packets - before.out_packets) as f64 / brought as f64
}

#[test]
fn t15_a_packet_of_a_storm_is_answered_by_one_at_most() {
    // Two percent are for the data that is sent besides, each packet of it for an acknowledgement.
    const BOUND: f64 = 1.02;
    // A storm of RESETs ends with its own connection.
    for rain in [Rain::DuplicateAcks, Rain::Handshakes, Rain::OldData, Rain::Fins] {
        // In the middle of a stream, and after its end.
        for bytes in [Size::mib(500), Size::kib(100)] {
            let measured = answered(rain, bytes);
            eprintln!("t15 {rain:?}, {bytes}: bound={BOUND} measured={measured:.3}");
            assert!(measured <= BOUND, "{rain:?}: {measured}");
        }
    }
}
