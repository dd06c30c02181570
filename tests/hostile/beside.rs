//! Every attack with a name, beside an honest connection that must not notice.

use std::time::Duration;

use ebbtide::sim::hostile::{Attack, Matter};
use ebbtide::sim::{FlowId, HostId, Line, Link, Rate, Side, Size, Traffic, World};
use ebbtide::{CloseReason, Config};

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;
pub(crate) const SECS: fn(u64) -> Duration = Duration::from_secs;

/// How much of its goodput without an attack an honest connection keeps at least, on a line of its own.
const KEPT: f64 = 0.95;

pub(crate) fn line() -> Line {
    Link::perfect().rate(Rate::megabits(10)).delay(MS(20)).queue(Size::kib(64)).into()
}

/// The way of the attacker: faster than that of the honest peer.
pub(crate) fn fast_line() -> Line {
    Link::perfect().rate(Rate::megabits(100)).delay(MS(5)).queue(Size::kib(256)).into()
}

/// A victim, and an honest peer that is connected with it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) victim: HostId,
    pub(crate) honest: HostId,
    pub(crate) flow: FlowId,
}

impl Scene {
    /// A megabyte goes both ways between the two.
    pub(crate) fn new(config: &Config) -> Self {
        let mut world = World::new(77);
        let [victim, honest] = [(); 2].map(|()| world.host(config.clone()));
        world.join(victim, honest, line());
        let flow = world.start(honest, victim, &Traffic::both_ways(Size::mib(1), Size::mib(1)));
        Self { world, victim, honest, flow }
    }

    /// Lets the honest connection come to its end, and checks every byte of it. Returns how long it took.
    pub(crate) fn finish(&mut self) -> Duration {
        let flow = self.flow;
        let took = self.world.run_until(|world| world.is_done(flow), SECS(300)).unwrap();
        for side in Side::BOTH {
            let report = self.world.report(flow, side);
            assert!(report.eof && report.acked && report.closed.is_none(), "{side}: {report:?}");
            assert_eq!((report.received, report.wrong_at), (1 << 20, None), "{side}");
        }
        took
    }
}

pub(crate) fn config() -> Config {
    Config::default().idle_timeout(Some(SECS(60))).stall_timeout(SECS(60))
}

/// How long the honest connection takes when nobody attacks.
pub(crate) fn undisturbed() -> Duration {
    Scene::new(&config()).finish()
}

#[test]
fn an_honest_connection_notices_none_of_the_named_attacks() {
    let alone = undisturbed();
    for (name, attack) in Attack::PRESETS {
        let mut scene = Scene::new(&config());
        // Who speaks in the name of the honest one before it does may well keep it out.
        scene.world.run_for(MS(200));
        let attacker = scene.world.attack(&attack, scene.victim, scene.honest, fast_line());
        let kept = alone.as_secs_f64() / scene.finish().as_secs_f64();
        // Each SYN in the honest one's name is answered with as many bytes, on the honest one's line.
        let answered = matches!(attack, Attack::Flood(Matter::Reflections, ..));
        let bound = if answered { 0.75 } else { KEPT };
        eprintln!("{name}: bound={bound} measured={kept:.3}");
        assert!(kept >= bound, "{name}: {kept}");
        // When the attacker has gone, nothing is left of it.
        scene.world.vanish(attacker);
        scene.world.settle(SECS(400)).unwrap_or_else(|stuck| panic!("{name}: {stuck}"));
        for flow in scene.world.served(scene.victim).collect::<Vec<_>>() {
            let closed = scene.world.report(flow, Side::Acceptor).closed;
            assert_ne!(closed, Some(CloseReason::EndpointClosed), "{name}");
        }
    }
}
