//! Everything that a seed decides, drawn and built.

use std::time::Duration;

use ebbtide::sim::{HostId, Line, LineId, Link, Rate, Rng, Size, World};
use ebbtide::{Config, Congestion, Instant};

use crate::mishaps::{Assault, Mishap, mishaps};
use crate::traffic::{FlowPlan, flows, rudely};
use crate::weather::{Spell, weather};

/// When the network heals.
pub(crate) const FAULTY: Duration = Duration::from_secs(20);

/// Retransmission timeouts of a host that does not give up before the network heals.
const PATIENT: u8 = 20;

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;
pub(crate) const SECS: fn(u64) -> Duration = Duration::from_secs;

/// How a world ends before its time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rude {
    /// A program aborts, or goes away, after so many bytes.
    Program,
    /// A host is gone from one moment to the next.
    Vanish { second: bool, after: Duration },
    /// An endpoint closes.
    Close { second: bool, after: Duration },
}

/// To be printed when it fails.
#[derive(Debug)]
pub(crate) struct Scenario {
    configs: [Config; 2],
    /// A host has a window that does not yield.
    fixed: bool,
    patient: bool,
    clocks: [Instant; 2],
    turn_delays: [Duration; 2],
    line: Line,
    weather: Vec<Spell>,
    mishaps: Vec<Mishap>,
    assault: Option<Assault>,
    pub(crate) flows: Vec<FlowPlan>,
    rude: Option<Rude>,
}

/// The settings of a host, and whether its window is fixed.
fn config(rng: &mut Rng, patient: bool) -> (Config, bool) {
    let buffers = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
    let receive = *rng.pick(&buffers);
    let mut config = Config::default()
        .nodelay(rng.chance(0.5))
        .pacing(rng.chance(0.7))
        .send_buffer(*rng.pick(&buffers))
        .receive_buffer(receive)
        .receive_buffer_max(receive << rng.below(3))
        .ack_delay(*rng.pick(&[Duration::ZERO, MS(1), MS(5), MS(50)]))
        .packets_in_flight(*rng.pick(&[4, 20, 950, 5000]))
        .keepalive(*rng.pick(&[None, Some(SECS(2)), Some(SECS(15))]))
        .rto_min(*rng.pick(&[MS(100), MS(250), MS(500)]))
        .linger(*rng.pick(&[Duration::ZERO, SECS(2), SECS(30)]))
        .connect_timeout(SECS(60))
        .idle_timeout(Some(SECS(90)))
        .stall_timeout(SECS(120));
    if patient {
        config = config.timeouts(PATIENT);
    }
    if rng.chance(0.1) {
        // So tight that connections get in each other's way.
        config = config.max_memory(rng.within(1 << 20..4 << 20) as usize);
    }
    if rng.chance(0.5) {
        config = config.mtu(*rng.pick(&[150, 576, 1232, 1400, 1472]));
    }
    let fixed = rng.chance(0.25);
    if fixed {
        config = config.congestion(Congestion::Fixed(rng.within(3000..100_000) as u32));
    }
    (config, fixed)
}

fn link(rng: &mut Rng) -> Link {
    let mut link = Link::perfect().delay(rng.duration(Duration::ZERO..MS(150)));
    if rng.chance(0.8) {
        let rate = Rate::kilobits(*rng.pick(&[250, 1_000, 10_000, 100_000]));
        // From a queue of a few packets to one of two seconds.
        let least = rate.in_time(rng.duration(MS(1)..SECS(2)));
        link = link.rate(rate).queue(Size::bytes(least.as_bytes().max(6_000)));
    }
    link
}

impl Scenario {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let line = Line { there: link(rng), back: link(rng) };
        let rude = rng.chance(0.5).then(|| {
            let (second, after) = (rng.chance(0.5), rng.duration(Duration::ZERO..SECS(5)));
            match rng.below(4) {
                0 => Rude::Vanish { second, after },
                1 => Rude::Close { second, after },
                _ => Rude::Program,
            }
        });
        let mut flows = flows(rng);
        if let Some(Rude::Program) = rude {
            flows.iter_mut().for_each(|flow| flow.traffic = rudely(rng, flow.traffic));
        }
        flows.sort_by_key(|flow| flow.at);
        let wrap = Instant::from_micros((1 << 32) - rng.below(20_000_000));
        let clock = |rng: &mut Rng| *rng.pick(&[Instant::ZERO, wrap]);
        let delay =
            |rng: &mut Rng| if rng.chance(0.2) { rng.duration(Duration::ZERO..MS(10)) } else { MS(0) };
        let patient = rng.chance(0.8);
        let [(first, first_fixed), (second, second_fixed)] = [config(rng, patient), config(rng, patient)];
        Self {
            configs: [first, second],
            fixed: first_fixed || second_fixed,
            patient,
            clocks: [clock(rng), clock(rng)],
            turn_delays: [delay(rng), delay(rng)],
            weather: weather(rng, &line.there),
            mishaps: mishaps(rng),
            assault: Assault::draw(rng),
            line,
            flows,
            rude,
        }
    }

    /// Whether every connection has to come to a good end.
    pub(crate) fn is_survivable(&self) -> bool {
        let calm = self.weather.is_empty() && self.mishaps.is_empty();
        self.rude.is_none() && (self.patient || calm) && !self.mishaps.iter().any(Mishap::is_deadly)
    }

    /// Whether some connection may keep others out for as long as it lasts. A fixed window that is larger than the line
    /// and its queue keeps the queue full, and a full queue lets in nobody who does not come at the right moment.
    pub(crate) fn is_crowded(&self) -> bool {
        self.fixed && self.flows.len() > 1
    }

    pub(crate) fn build(&self, seed: u64) -> (World, [HostId; 2]) {
        let mut world = World::new(seed);
        let hosts = [0, 1].map(|i| {
            let host = world.host_with_clock(self.configs[i].clone(), self.clocks[i]);
            world.set_turn_delay(host, self.turn_delays[i]);
            host
        });
        let line = world.join(hosts[0], hosts[1], self.line);
        self.plan(&mut world, hosts, line);
        (world, hosts)
    }

    fn plan(&self, world: &mut World, hosts: [HostId; 2], line: LineId) {
        self.weather.iter().for_each(|spell| spell.plan(world, line));
        self.mishaps.iter().for_each(|mishap| mishap.plan(world, hosts));
        self.assault.iter().for_each(|assault| assault.plan(world, hosts));
        world.later(FAULTY, World::heal);
        match self.rude {
            Some(Rude::Vanish { second, after }) => {
                world.later(after, move |world| world.vanish(hosts[usize::from(second)]));
            }
            Some(Rude::Close { second, after }) => {
                world.later(after, move |world| world.close(hosts[usize::from(second)]));
            }
            Some(Rude::Program) | None => {}
        }
    }
}
