//! Whether the attackers do what they say: what reaches the victim, and what it makes of it.

use std::time::Duration;

use super::*;
use crate::sim::{FaultKind, FlowId, HostId, Link, Side, Size, Strike, Traffic, World};
use crate::stats::StreamStats;
use crate::wire::{Kind, Packet};
use crate::{CloseReason, Config, Congestion};

fn link() -> Link {
    Link::perfect().delay(Duration::from_millis(10))
}

/// A victim that sends a megabyte to the attacker for so long.
struct Sending {
    world: World,
    attacker: HostId,
    flow: FlowId,
}

impl Sending {
    fn to<T: Trick>(trick: T, link: Link, seconds: u64) -> Self {
        Self::with(&Config::default(), trick, link, seconds)
    }

    fn with<T: Trick>(config: &Config, trick: T, link: Link, seconds: u64) -> Self {
        let mut world = World::new(11);
        let victim = world.host(config.clone());
        let attacker = world.raw_host(Insider::waiting(trick));
        world.join(victim, attacker, link);
        let flow = world.start(victim, attacker, &Traffic::bulk(Size::mib(1)));
        world.run_for(Duration::from_secs(seconds));
        Self { world, attacker, flow }
    }

    fn trick<T: Trick>(&self) -> &T {
        self.world.raw::<Insider<T>>(self.attacker).expect("its own trick").trick()
    }

    fn stats(&self) -> StreamStats {
        self.world.stream_stats(self.flow, Side::Initiator)
    }
}

#[test]
fn an_optimist_acknowledges_what_is_still_under_way() {
    let sending = Sending::to(Optimist::new(3), link(), 1);
    assert!(sending.trick::<Optimist>().lied >= 10, "{:?}", sending.trick::<Optimist>());
}

#[test]
fn a_lazy_optimist_lies_about_losses_only() {
    let config = Config::default().congestion(Congestion::Fixed(20_000)).verify_acks(false);
    let lies = |loss| Sending::with(&config, Optimist::lazy(), link().loss(loss), 1).trick::<Optimist>().lied;
    assert_eq!(lies(Strike::never()), 0);
    assert!(lies(Strike::every(20)) >= 5);
}

#[test]
fn a_delay_liar_reports_what_it_likes() {
    let sending = Sending::to(DelayLiar { micros: 1234 }, link(), 1);
    assert_eq!(sending.stats().delay_forward.map(|delay| delay.get()), Some(1234));
    let silent = Sending::to(DelayLiar { micros: 0x7FFF_FFFF }, link(), 1);
    assert_eq!(silent.stats().queue_delay.unwrap_or_default(), Duration::ZERO);
}

#[test]
fn window_liars_show_the_windows_that_they_want() {
    let window = |lie, seconds| Sending::to(WindowLiar::new(lie), link(), seconds).stats().window_peer;
    assert_eq!(window(WindowLie::Huge, 1), u32::MAX);
    assert_eq!(window(WindowLie::ShutAfter(10_000), 1), 0);
    assert!(window(WindowLie::Shrinking(1000), 1) < 1 << 20);
    assert!([0, 5000].contains(&window(WindowLie::Flapping(5000), 1)));
}

#[test]
fn masks_of_the_unsent_reach_the_victim_and_give_the_liar_away() {
    let sending = Sending::to(MaskLiar::new(252, 1), link(), 1);
    assert!(sending.trick::<MaskLiar>().sent > 100 && sending.stats().packets_received > 50);
    // It has acknowledged a packet that had been kept back.
    assert_eq!(sending.world.report(sending.flow, Side::Initiator).closed, Some(CloseReason::Misbehaved));
}

/// A victim that serves 64 KiB, to an attacker that has called it once.
fn served(attack: &Attack) -> (World, HostId, HostId) {
    let mut world = World::new(11);
    let [victim, peer] = [(); 2].map(|()| world.host(Config::default()));
    world.join(victim, peer, link());
    let attacker = world.attack(attack, victim, peer, link());
    world.run_for(Duration::from_secs(2));
    (world, victim, attacker)
}

#[test]
fn every_named_attack_reaches_its_victim_and_is_counted() {
    for (name, attack) in Attack::PRESETS {
        let (world, victim, attacker) = served(&attack);
        let flooding = matches!(attack, Attack::Flood(..));
        let links = world.exchanged(victim, world.addr(attacker)).in_packets + world.nowhere();
        let spoofed = world.exchanged(victim, world.addr(HostId::new(1))).in_packets;
        assert!(links + spoofed > 1, "{name}: {links} {spoofed}");
        assert!(flooding || world.served(victim).count() > 0, "{name}: nobody has let it in");
        assert_eq!((world.fault_counts()[FaultKind::HostilePeer], attack.to_string()), (1, name.to_owned()));
    }
}

#[test]
fn gaps_are_never_filled_and_reach_round_all_numbers() {
    let (world, victim, attacker) = served(&Attack::Gapper(Gapper::new(1, 1, 50)));
    let flow = world.served(victim).next().expect("a connection");
    assert_eq!(world.report(flow, Side::Acceptor).received, 0);
    let gapper = world.raw::<Insider<Gapper>>(attacker).expect("a gapper");
    assert!(gapper.trick().sent > 65_536, "{:?}", gapper.trick());
    let stats = world.stream_stats(flow, Side::Acceptor);
    assert!(stats.packets_invalid > 65_536 && stats.packets_reordered > 1000, "{stats:?}");
}

#[test]
fn misers_are_sent_nothing_but_probes() {
    let miser = Miser { sign_of_life: Duration::from_secs(1), teases: false };
    let (world, victim, attacker) = served(&Attack::Miser(miser, 5));
    assert_eq!(world.served(victim).count(), 5);
    let out = world.exchanged(victim, world.addr(attacker)).out_bytes;
    assert!(out < 5 * 20_000, "{out}");
}

#[test]
fn chains_of_extensions_decode_or_do_not_as_asked() {
    for broken in [false, true] {
        let (world, victim, attacker) = served(&Attack::Extender(Extender::new(100, 3, 1, broken)));
        let sent = world.raw::<Insider<Extender>>(attacker).expect("an extender").trick().sent;
        let malformed = world.endpoint(victim).stats().dropped.malformed;
        let expected = if broken { sent / 2 } else { 0 };
        assert!(malformed.abs_diff(expected) <= 30 && sent > 500, "{malformed} of {sent}");
    }
}

#[test]
fn a_time_traveller_is_seen_at_all_times() {
    let sending = Sending::to(TimeTraveller::new(u32::MAX, 1, true), link(), 1);
    let backward = sending.stats().delay_backward.map_or(0, |delay| delay.get());
    assert!(
        backward > 1_000_000,
        "an honest peer of the same age would be some milliseconds behind: {backward}"
    );
}

#[test]
fn storms_of_resets_kill_their_own_connection_by_chance_only() {
    let (world, victim, _) = served(&Attack::Storm(Storm::new(Rain::Resets, 1)));
    let flow = world.served(victim).next().expect("a connection");
    let closed = world.report(flow, Side::Acceptor).closed;
    assert!(matches!(closed, None | Some(CloseReason::Reset)), "{closed:?}");
}

#[test]
fn a_reflection_is_a_syn_and_the_data_that_would_follow_its_answer() {
    #[derive(Debug, Default)]
    struct Ear(Vec<Vec<u8>>);
    impl crate::sim::RawProgram for Ear {
        fn on_datagram(&mut self, _: &mut crate::sim::RawNet<'_>, _: std::net::SocketAddr, bytes: &[u8]) {
            self.0.push(bytes.to_vec());
        }
        fn on_alarm(&mut self, _: &mut crate::sim::RawNet<'_>) {}
    }
    let mut world = World::new(1);
    let ear = world.raw_host(Ear::default());
    let flood = Flood::new(world.addr(ear), Matter::Reflections, Sources::Everywhere, 1);
    let flood = world.raw_host(Flood { until: Duration::from_millis(5), ..flood });
    world.join(flood, ear, Link::perfect());
    world.run_for(Duration::from_secs(1));
    let heard = &world.raw::<Ear>(ear).expect("an ear").0;
    assert_eq!(heard.len(), 10);
    for pair in heard.chunks(2) {
        let [syn, data] = [0, 1].map(|i| Packet::decode(&pair[i]).expect("a packet").header);
        assert_eq!((syn.kind, data.kind), (Kind::Syn, Kind::Data));
        assert_eq!((data.conn_id, data.seq), (syn.conn_id.next(), syn.seq.next()));
    }
}
