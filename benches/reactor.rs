//! What a reactor with a thousand connections costs when nothing is said, and when everybody says something in every
//! tick; and what a channel costs that is not used.
//!
//!     cargo bench --bench reactor --features reactor
//!
//! Both reactors are in this process, each in a thread of its own; processor time is that of the server's thread, and in
//! per cent of a core. Memory is what the allocator has given out, of both ends, halved.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::{Event, PeerId, Reactor};
use ebbtide::{Config, MemoryHub, MemorySocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 1000;
const CHANNELS: u8 = 16;
const FRAME: Duration = Duration::from_micros(16_667);
/// What a player says in every tick.
const STATE: usize = 60;
/// Begun at once, so that it is no rush.
const GROUP: usize = 16;

/// So many channels, of all modes.
fn channels(count: u8) -> MessageConfig {
    use Mode::{ReliableOrdered, ReliableSequenced, ReliableUnordered, Unreliable, UnreliableSequenced};
    let modes = [UnreliableSequenced, ReliableOrdered, Unreliable, ReliableUnordered, ReliableSequenced];
    let all: Vec<_> =
        (0..count).map(|number| ChannelConfig::new(modes[usize::from(number) % modes.len()])).collect();
    MessageConfig::new(all)
}

fn config() -> Config {
    Config::interactive().connections_per_address(None).connections_per_network(None)
}

/// What the two threads do, one after the other.
static PHASE: AtomicU32 = AtomicU32::new(CONNECTING);
const CONNECTING: u32 = 0;
const IDLE: u32 = 1;
const BUSY: u32 = 2;
const OVER: u32 = 3;

/// Connects, and says something in every tick once it is told to.
fn client(server: SocketAddr) {
    let mut reactor = Reactor::bind_with("127.0.0.1:0".parse().unwrap(), config()).unwrap();
    let (mut begun, mut peers) = (0, Vec::new());
    while PHASE.load(SeqCst) != OVER {
        let frame = Instant::now();
        if begun < CONNECTIONS && peers.len() + GROUP > begun {
            reactor.connect(server, &channels(CHANNELS)).unwrap();
            begun += 1;
        }
        reactor.tick().unwrap();
        for event in reactor.events() {
            match event {
                Event::Connected { peer, .. } => peers.push(peer),
                Event::Disconnected { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
        if PHASE.load(SeqCst) == BUSY {
            speak(&mut reactor, &peers);
        }
        if begun == CONNECTIONS {
            std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
        }
    }
}

fn speak(reactor: &mut Reactor, peers: &[PeerId]) {
    for peer in peers {
        // A full queue is the receiver's affair.
        drop(reactor.send(*peer, 0, vec![7; STATE]));
    }
}

/// Ticks for that long, and returns the share of a core, the time per tick, and how many messages came.
fn measure(server: &mut Reactor, peers: &[PeerId], time: Duration, speaks: bool) -> (f64, Duration, usize) {
    let (wall, used) = (Instant::now(), ThreadTime::now());
    let (mut ticks, mut messages) = (0u32, 0);
    while wall.elapsed() < time {
        let frame = Instant::now();
        server.tick().unwrap();
        messages += server.events().filter(|event| matches!(event, Event::Message { .. })).count();
        if speaks {
            speak(server, peers);
        }
        ticks += 1;
        std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
    }
    let used = used.elapsed();
    (used.as_secs_f64() / wall.elapsed().as_secs_f64(), used / ticks, messages)
}

fn ticks_on_loopback() {
    let mut server = Reactor::bind_with("127.0.0.1:0".parse().unwrap(), config()).unwrap();
    server.listen(&channels(CHANNELS)).unwrap();
    let (alone, per_tick, _) = measure(&mut server, &[], Duration::from_secs(3), false);
    println!(
        "no connection, idle:                     {:5.2} % of a core, {per_tick:?} per tick",
        100.0 * alone
    );
    let addr = server.local_addr();
    let other = std::thread::spawn(move || client(addr));
    while server.peers().count() < CONNECTIONS {
        server.tick().unwrap();
        server.events().for_each(drop);
        std::thread::sleep(Duration::from_millis(1));
    }
    let peers: Vec<_> = server.peers().collect();
    // Until the last acknowledgements of the handshakes have passed.
    measure(&mut server, &peers, Duration::from_secs(2), false);
    PHASE.store(IDLE, SeqCst);
    let (idle, per_tick, _) = measure(&mut server, &peers, Duration::from_secs(20), false);
    println!(
        "{CONNECTIONS} connections x {CHANNELS} channels, idle:    {:5.2} % of a core, {per_tick:?} per tick",
        100.0 * idle
    );
    PHASE.store(BUSY, SeqCst);
    let (busy, per_tick, messages) = measure(&mut server, &peers, Duration::from_secs(5), true);
    println!(
        "the same, {STATE} bytes each way in each tick: {:5.2} % of a core, {per_tick:?} per tick, {messages} messages came",
        100.0 * busy
    );
    PHASE.store(OVER, SeqCst);
    other.join().unwrap();
}

/// Two reactors with so many connections between them, in made-up time.
struct Pair {
    server: Reactor<MemorySocket>,
    client: Reactor<MemorySocket>,
    peers: Vec<PeerId>,
    now: ebbtide::Instant,
}

impl Pair {
    fn new(channels: &MessageConfig) -> Self {
        let hub = MemoryHub::new();
        let [server, client] = [1, 2].map(|host| {
            let socket = hub.attach(SocketAddr::from(([10, 0, 0, host], 1999))).unwrap();
            Reactor::over(socket, config()).unwrap()
        });
        let mut pair = Self { server, client, peers: Vec::new(), now: ebbtide::Instant::ZERO };
        pair.server.listen(channels).unwrap();
        for _ in 0..CONNECTIONS {
            let peer = pair.client.connect(pair.server.local_addr(), channels).unwrap();
            pair.peers.push(peer);
            pair.run(5);
        }
        pair
    }

    fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now = self.now + Duration::from_millis(1);
            self.client.tick_at(self.now).unwrap();
            self.server.tick_at(self.now).unwrap();
            self.client.events().for_each(drop);
            self.server.events().for_each(drop);
        }
    }
}

/// Bytes per connection and end: before anything was said, and after every channel has been used.
fn memory(count: u8) -> [f64; 2] {
    let region = Region::new(ALLOCATOR);
    let mut pair = Pair::new(&channels(count));
    let held = |region: &Region<'_, System>| {
        let change = region.change();
        (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / (2 * CONNECTIONS) as f64
    };
    pair.run(2000);
    assert_eq!(pair.server.peers().count(), CONNECTIONS);
    let fresh = held(&region);
    for channel in 0..count {
        for peer in &pair.peers {
            pair.client.send(*peer, channel, vec![7; STATE]).unwrap();
        }
        pair.run(200);
    }
    pair.run(2000);
    [fresh, held(&region)]
}

fn main() {
    let [few, many] = [1, CHANNELS].map(memory);
    for (at, what) in ["a channel that was never used", "a channel that has been used"].iter().enumerate() {
        let per_channel = (many[at] - few[at]) / f64::from(CHANNELS - 1);
        println!("{what}: {per_channel:.0} bytes ({:.0} for a connection with {CHANNELS})", many[at]);
    }
    ticks_on_loopback();
}
