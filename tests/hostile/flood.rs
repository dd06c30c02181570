//! A hundred thousand forged SYNs a second, and people who want to get in all the same.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ebbtide::Config;
use ebbtide::sim::{App, HostId, Leave, Link, Program, RawNet, RawProgram, Traffic, World};
use ebbtide::wire::{ConnId, Delay, Header, Kind, SeqNr};

/// Virtual seconds of flood; `EBBTIDE_T03_SECONDS` says otherwise.
const SECONDS: u64 = 3;

/// Sends SYNs in the name of everybody, a hundred every millisecond.
#[derive(Debug)]
struct Flooder {
    to: SocketAddr,
    until: Duration,
    sent: u64,
    heard: u64,
}

impl RawProgram for Flooder {
    fn on_datagram(&mut self, _: &mut RawNet<'_>, _: SocketAddr, _: &[u8]) {
        self.heard += 1;
    }

    fn on_alarm(&mut self, net: &mut RawNet<'_>) {
        for _ in 0..100 {
            let [a, b, c, d] = (net.rng().below(1 << 32) as u32).to_be_bytes();
            let from = SocketAddr::from(([20 + a % 90, b, c, d], 1 + net.rng().below(65_535) as u16));
            let header = Header {
                kind: Kind::Syn,
                conn_id: ConnId::new(net.rng().below(65_536) as u16),
                sent_at: net.timestamp(),
                delay: Delay::NONE,
                window: 1 << 20,
                seq: SeqNr::new(net.rng().below(65_536) as u16),
                ack: SeqNr::new(0),
            };
            let mut datagram = [0; 20];
            header.write(0, &mut datagram);
            net.send_from(from, self.to, &datagram);
            self.sent += 1;
        }
        if net.now() < self.until {
            net.wake_after(Duration::from_millis(1));
        }
    }
}

/// Connects, and notes how long that took.
#[derive(Debug)]
struct Knock {
    since: Option<Duration>,
    took: Rc<RefCell<Vec<Duration>>>,
}

impl Program for Knock {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        let since = *self.since.get_or_insert_with(|| app.now());
        match app.handle().poll_connected(&mut app.context()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.took.borrow_mut().push(app.now() - since),
            Poll::Ready(Err(_)) => {}
        }
        Poll::Ready(Leave::Drop)
    }
}

/// The other side: waits for the end.
#[derive(Debug)]
struct Welcome(Rc<RefCell<u64>>);

impl Program for Welcome {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        let mut bytes = [0; 16];
        match app.handle().poll_read(&mut app.context(), &mut bytes) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(_)) => *self.0.borrow_mut() += 1,
            Poll::Ready(Err(_)) => {}
        }
        Poll::Ready(Leave::Drop)
    }
}

fn knock_every(world: &mut World, from: HostId, to: HostId, every: Duration, until: Duration) -> Knocks {
    let knocks = Knocks::default();
    let mut at = every;
    while at < until {
        let Knocks { took, welcomed } = knocks.clone();
        world.later(at, move |world| {
            world.connect(from, to, Box::new(Knock { since: None, took }), Box::new(Welcome(welcomed)));
        });
        at += every;
    }
    knocks
}

#[derive(Clone, Debug, Default)]
struct Knocks {
    took: Rc<RefCell<Vec<Duration>>>,
    welcomed: Rc<RefCell<u64>>,
}

#[test]
fn t03_syn_flood_who_is_real_gets_in_as_fast_as_ever() {
    let wanted = std::env::var("EBBTIDE_T03_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Duration::from_secs(wanted.unwrap_or(SECONDS));
    let every = Duration::from_millis(10);
    let rtt = Duration::from_millis(50);
    let mut world = World::new(3);
    let server = world.host(Config::default());
    let client = world.host(Config::default());
    world.join(client, server, Link::perfect().delay(rtt / 2));
    // Whoever else calls is let in too, as a server does that accepts at once.
    world.serve(server, &Traffic::idle(Duration::from_secs(3600)));
    let to = world.addr(server);
    let raw = world.raw_host(Flooder { to, until, sent: 0, heard: 0 });
    world.join(raw, server, Link::perfect().delay(Duration::from_millis(5)));
    let knocks = knock_every(&mut world, client, server, every, until);
    let mut most = 0;
    while world.now() < until {
        world.run_for(Duration::from_millis(100));
        most = most.max(world.endpoint(server).half_open());
    }
    world.run_for(Duration::from_secs(1));

    let sent = world.raw::<Flooder>(raw).unwrap().sent;
    let tries = (until.as_millis() / every.as_millis() - 1) as usize;
    let mut took = knocks.took.borrow().clone();
    took.sort();
    let rate = took.len() as f64 / tries as f64;
    let p99 = took[took.len() * 99 / 100];
    let stats = world.endpoint(server).stats();
    eprintln!(
        "t03 bound=>=99 % in, p99 <= {:?}, <= 32 half-open measured={:.1} %, {p99:?}, {most}; {sent} forged SYNs, {} cookies, {} proved",
        2 * rtt,
        100.0 * rate,
        stats.cookies_sent,
        stats.cookies_proved
    );
    assert!(sent >= 100_000 * until.as_secs());
    assert!(rate >= 0.99 && p99 <= 2 * rtt && most <= 32);
    // Both sides know of it, not only the caller.
    assert!(*knocks.welcomed.borrow() as f64 >= 0.99 * tries as f64, "{}", knocks.welcomed.borrow());
}
