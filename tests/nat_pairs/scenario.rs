//! One attempt of two hosts to meet: the network around them, drawn from a seed, and how it went.
//!
//! Whoever introduces them is played by the test: it knows when each is ready, and lets its words take as long as they
//! would take. So what is measured is the punch, and not how a connection to a server copes with loss.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Config;
use ebbtide::proto::punch::{PathKind, PunchError, PunchPlan, PunchRole, Start};
use ebbtide::sim::{FlowId, HostId, Link, Nat, NatId, Place, Rng, Side, Size, Strike, Traffic, World};

use crate::bare::BarePeer;
use crate::notes::{Mirror, Notes, notes, tell};
use crate::peer::{Peer, StunServer};

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Where one of the two is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) nat: Nat,
    /// Behind this one as well.
    pub(crate) outer: Option<Nat>,
    pub(crate) place: fn(Place) -> Place,
}

impl From<Nat> for Home {
    fn from(nat: Nat) -> Self {
        Self { nat, outer: None, place: |place| place }
    }
}

/// The network around two hosts.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    /// One home for each, or one for both.
    pub(crate) homes: Vec<Home>,
    /// From each of the two to the backbone, and from the server.
    pub(crate) delays: [Duration; 2],
    pub(crate) server_delay: Duration,
    /// On the whole way from one to the other.
    pub(crate) loss: f64,
    /// How much later the second hears that it is to begin.
    pub(crate) skew: Duration,
    /// Both homes are behind this box.
    pub(crate) shared: Option<Nat>,
    /// The machine alone, without an endpoint around it.
    pub(crate) bare: bool,
    /// What goes over the connection that comes of it.
    pub(crate) traffic: Traffic,
}

impl Setting {
    /// A network for these two, drawn.
    pub(crate) fn draw(seed: u64, homes: &[Home], loss: f64) -> Self {
        let mut rng = Rng::new(seed);
        let mut delay = |most| rng.duration(ms(3)..ms(most));
        let (delays, server_delay) = ([delay(60), delay(60)], delay(40));
        let skew = rng.duration(ms(0)..ms(300));
        Self {
            seed,
            homes: homes.to_vec(),
            delays,
            server_delay,
            loss,
            skew,
            shared: None,
            bare: false,
            traffic: traffic(),
        }
    }

    /// The round trip between the two.
    pub(crate) fn peer_rtt(&self) -> Duration {
        if self.homes.len() == 1 { Duration::ZERO } else { 2 * (self.delays[0] + self.delays[1]) }
    }

    /// The longer one of the two round trips to the server.
    pub(crate) fn server_rtt(&self) -> Duration {
        2 * (self.delays.into_iter().max().unwrap() + self.server_delay)
    }

    /// So long a plain punch should take at most, by half of all.
    pub(crate) fn goal(&self) -> Duration {
        self.server_rtt() + self.peer_rtt() * 3 / 2 + ms(30)
    }

    /// Puts the boxes into the world. With where the two are going to be.
    pub(crate) fn build(&self, world: &mut World) -> (Vec<NatId>, [Place; 2]) {
        let mut boxes: Vec<NatId> =
            self.shared.map(|nat| world.nat(nat, Link::perfect())).into_iter().collect();
        let shared = boxes.first().copied();
        let mut spots = Vec::new();
        for (home, delay) in self.homes.iter().zip(self.delays) {
            let line = self.line(delay);
            let nat = match home.outer {
                Some(outer) => {
                    let outer = world.nat(outer, line);
                    boxes.push(outer);
                    world.nat_behind(outer, home.nat, Link::perfect())
                }
                None => match shared {
                    Some(shared) => world.nat_behind(shared, home.nat, line),
                    None => world.nat(home.nat, line),
                },
            };
            boxes.push(nat);
            spots.push((home.place)(Place::behind(nat)));
        }
        (boxes, [spots[0], *spots.last().unwrap()])
    }

    pub(crate) fn line(&self, delay: Duration) -> Link {
        // Two of them make a way.
        let loss = 1.0 - (1.0 - self.loss).sqrt();
        Link::perfect().delay(delay).loss(if loss > 0.0 { Strike::random(loss) } else { Strike::never() })
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From the moment at which both had heard that they are to begin until the connection was open: whoever started it
    /// has its answer, and may send. If there is none, until both have given up.
    pub(crate) took: Duration,
    pub(crate) results: [Result<PathKind, PunchError>; 2],
    pub(crate) attempts: u32,
    pub(crate) probes: u32,
    /// More than the goal, or less.
    pub(crate) excess: i64,
}

impl Outcome {
    pub(crate) fn is_ok(&self) -> bool {
        self.results.iter().all(Result::is_ok)
    }
}

/// What goes over the connection that comes of it, usually.
fn traffic() -> Traffic {
    Traffic::both_ways(Size::kib(3), Size::kib(5))
}

/// Two servers that tell where one is, the first of them on two ports.
fn servers(world: &mut World, setting: &Setting) -> Vec<SocketAddr> {
    let line = setting.line(setting.server_delay);
    let first = Place::internet().dual_stack().second_port(6882);
    if setting.bare {
        let [one, two] = [first, Place::internet()].map(|place| world.raw_host_at(place, Mirror, line));
        let addr = world.addr(one);
        return vec![addr, SocketAddr::new(addr.ip(), 6882), world.addr(two)];
    }
    let [one, two] = [first, Place::internet()].map(|place| world.host_at(place, Config::default(), line));
    [one, two].iter().for_each(|&host| world.reside(host, StunServer));
    let addrs = world.addrs(one).filter(|addr| addr.port() == 6881).chain([world.addr(two)]);
    addrs.collect()
}

/// A world with two peers in it.
pub(crate) struct Meeting {
    pub(crate) world: World,
    pub(crate) setting: Setting,
    pub(crate) peers: [HostId; 2],
    pub(crate) boxes: Vec<NatId>,
}

impl Meeting {
    /// Builds the world, and lets both find out where they are.
    pub(crate) fn prepare(setting: Setting) -> Self {
        let mut world = World::new(setting.seed);
        let servers = servers(&mut world, &setting);
        let (boxes, spots) = setting.build(&mut world);
        let peers = spots.map(|spot| {
            if setting.bare {
                return world.raw_host_at(spot, BarePeer::new(&servers), Link::perfect());
            }
            let host = world.host_at(spot, Config::default(), Link::perfect());
            let locals: Vec<_> = world.addrs(host).collect();
            let reached = servers.iter().filter(|server| locals[0].is_ipv4() == server.is_ipv4());
            let reached: Vec<_> = reached.copied().collect();
            world.reside(host, Peer::new(&reached, locals, setting.traffic));
            host
        });
        let known = |world: &World| peers.iter().all(|&host| notes(world, host).report.is_some());
        world.run_until(known, Duration::from_secs(10)).unwrap_or_else(|stuck| panic!("{stuck}"));
        // Whoever was quick waits for the other, and for somebody to introduce them.
        world.run_for(ms(200));
        Self { world, setting, peers, boxes }
    }

    /// Introduces them, and waits until both know how it went. With the connection that has come of it.
    pub(crate) fn meet(&mut self) -> (Outcome, FlowId) {
        let Self { world, setting, peers, .. } = self;
        let tickets = peers.map(|host| {
            let secret = world.rng().next_u64();
            notes(world, host).ticket(&world.addrs(host).collect::<Vec<_>>(), secret)
        });
        let plan = |ours: usize, theirs: usize| PunchPlan {
            start: Start::OnGo { server_rtt: 2 * (setting.delays[ours] + setting.server_delay) },
            ..PunchPlan::from_tickets(&tickets[ours], &tickets[theirs]).unwrap()
        };
        let plans = [plan(0, 1), plan(1, 0)];
        let flow = match plans[0].role {
            PunchRole::Initiator => world.flow(peers[0], peers[1]),
            _ => world.flow(peers[1], peers[0]),
        };
        let heard = [setting.delays[0], setting.delays[1] + setting.skew];
        let begin = world.now() + heard.into_iter().max().unwrap();
        for ((host, plan), after) in peers.iter().copied().zip(plans).zip(heard) {
            world.later(after, move |world| tell(world, host, |notes| notes.plan = Some((plan, flow))));
        }
        fn seen<T>(world: &World, peers: [HostId; 2], of: impl Fn(&Notes) -> Option<T>) -> Option<[T; 2]> {
            let [first, second] = peers.map(|host| of(notes(world, host)));
            Some([first?, second?])
        }
        let peers = *peers;
        let over = |world: &World| seen(world, peers, |notes| notes.outcome.as_ref().map(|_| ())).is_some();
        let ready = |world: &World| seen(world, peers, |notes| notes.ready);
        world
            .run_until(|world| ready(world).is_some() || over(world), Duration::from_secs(60))
            .unwrap_or_else(|stuck| panic!("{stuck}"));
        if let Some(ready) = ready(world) {
            let to_server = |side: usize| setting.delays[side] + setting.server_delay;
            let both = (ready[0] + to_server(0)).max(ready[1] + to_server(1));
            for (side, host) in peers.into_iter().enumerate() {
                let after = (both + to_server(side)).saturating_sub(world.now());
                world.later(after, move |world| tell(world, host, |notes| notes.told_to_go = true));
            }
        }
        world.run_until(over, Duration::from_secs(60)).unwrap_or_else(|stuck| panic!("{stuck}"));
        (outcome(world, setting, peers, begin), flow)
    }

    /// Both say what they have to say, and nothing is left of the connection and of the search for it.
    pub(crate) fn finish(&mut self, flow: FlowId) {
        if self.setting.bare {
            return;
        }
        let done = self.world.settle(Duration::from_secs(120));
        done.unwrap_or_else(|stuck| panic!("connected, and then {stuck}"));
        for (side, received) in [(Side::Initiator, 5 << 10), (Side::Acceptor, 3 << 10)] {
            let report = self.world.report(flow, side);
            assert_eq!((report.received, report.wrong_at), (received, None), "{side}");
        }
    }
}

fn outcome(world: &World, setting: &Setting, peers: [HostId; 2], begin: Duration) -> Outcome {
    let ends = peers.map(|host| notes(world, host).outcome.clone().unwrap());
    let [first, last] = if ends[0].0 <= ends[1].0 { [ends[0].0, ends[1].0] } else { [ends[1].0, ends[0].0] };
    let open = ends.iter().all(|(_, result)| result.is_ok());
    let took = if open { first } else { last }.saturating_sub(begin);
    let reports = ends.iter().map(|(_, result)| result.as_ref().unwrap_or_else(|error| error.report()));
    let (attempts, probes) = reports.fold((0, 0), |(attempts, probes), report| {
        (report.attempts.max(attempts), probes + report.probes_sent)
    });
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
    Outcome {
        took,
        results: ends.map(|(_, result)| result.map(|report| report.path.unwrap())),
        attempts,
        probes,
        excess: micros(took) - micros(setting.goal()),
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (home, delay) in self.homes.iter().zip(self.delays) {
            writeln!(f, "{:?} behind {:?}, {delay:?} from the backbone", home.nat, home.outer)?;
        }
        write!(f, "server {:?} away, loss {}, skew {:?}", self.server_delay, self.loss, self.skew)
    }
}
