//! What an idle client costs a rendezvous server, its stream included.
//!
//! Counts every allocation of the process, so there is one test in this file, and it drives two endpoints by hand.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path};
use ebbtide::proto::endpoint::{Endpoint, Handle, Lease};
use ebbtide::proto::rendezvous::server::{Desk, Server, ServerConfig};
use ebbtide::wire::rendezvous::{Hello, Join, JoinFlags, Message, Ping, RoomId, WantedRole};
use ebbtide::wire::{NatClass, Token};
use ebbtide::{Config, Instant};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLIENTS: u32 = 10_000;

/// Of the clients' addresses: many streams to one address leave by one endpoint, and are seen to come from many.
const PER_ADDRESS: u32 = 60;

/// A server with its endpoint, and an endpoint with all the clients.
struct Town {
    server: Endpoint,
    clients: Vec<(Endpoint, Lease)>,
    lease: Lease,
    desk: Desk,
    now: Instant,
    batch: Batch,
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 7171);

fn addr_of(house: usize) -> SocketAddr {
    let [high, low] = u16::try_from(house).unwrap().to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 4000))
}

impl Town {
    fn new() -> Self {
        let limits = ServerConfig::default();
        // As `rendezvous::Server` sets up its socket.
        let config = Config::default()
            .max_connections(200_000)
            .connections_per_address(Some(128))
            .connections_per_network(None)
            .send_buffer(16 << 10)
            .receive_buffer(16 << 10)
            .receive_buffer_max(16 << 10)
            .keepalive(None)
            .idle_timeout(Some(Duration::from_secs(120)));
        let mut server = Endpoint::new(Arc::new(config), [1; 32]);
        server.add_socket(SERVER);
        let lease = server.shared().lease();
        lease.set_listening(true);
        let desk = Desk::new(Server::new(limits, [2; 32]));
        Self {
            server,
            clients: Vec::new(),
            lease,
            desk,
            now: Instant::from_micros(1_000_000),
            batch: Batch::new(64),
        }
    }

    fn house(&mut self) -> usize {
        let house = self.clients.len();
        let seed = [u8::try_from(house % 256).unwrap(); 32];
        let mut end = Endpoint::new(Arc::new(Config::default().keepalive(None)), seed);
        end.add_socket(addr_of(house));
        let lease = end.shared().lease();
        self.clients.push((end, lease));
        house
    }

    fn turn(&mut self, houses: std::ops::Range<usize>) {
        self.now = self.now + Duration::from_millis(5);
        for house in houses.clone() {
            let end = &mut self.clients[house].0;
            end.handle_mail(self.now);
            end.handle_timeout(self.now);
            while let Some(path) = end.poll_transmit(self.now, &mut self.batch) {
                let from = Path { peer: addr_of(house), ..path };
                let (bytes, stride) = (self.batch.bytes(), self.batch.segment_size());
                self.server.handle_datagrams(self.now, from, bytes, stride);
            }
        }
        let _open = self.desk.poll(&mut Context::from_waker(Waker::noop()), self.now, &self.lease);
        self.server.handle_mail(self.now);
        self.server.handle_timeout(self.now);
        while let Some(path) = self.server.poll_transmit(self.now, &mut self.batch) {
            let [_, _, high, low] = match path.peer.ip() {
                std::net::IpAddr::V4(ip) => ip.octets(),
                std::net::IpAddr::V6(_) => panic!("only IPv4 here"),
            };
            let house = usize::from(u16::from_be_bytes([high, low]));
            let from = Path { peer: SERVER, ..path };
            let (bytes, stride) = (self.batch.bytes(), self.batch.segment_size());
            self.clients[house].0.handle_datagrams(self.now, from, bytes, stride);
        }
        let _open = self.desk.poll(&mut Context::from_waker(Waker::noop()), self.now, &self.lease);
    }
}

fn say(handle: &Handle, message: &Message) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    assert!(matches!(handle.try_write(&bytes), Poll::Ready(Ok(count)) if count == bytes.len()));
}

fn drain(handle: &Handle) {
    let mut buffer = [0; 2048];
    while let Poll::Ready(Ok(1..)) = handle.try_read(&mut buffer) {}
}

#[test]
fn n11_ten_thousand_idle_clients_take_a_kibibyte_each_and_their_streams_three() {
    let mut town = Town::new();
    let mut handles = Vec::new();
    let start = Region::new(COUNTED);
    let mut house = 0;
    for number in 0..CLIENTS {
        if number % PER_ADDRESS == 0 {
            house = town.house();
        }
        let handle = town.clients[house].1.connect(SERVER, None);
        say(&handle, &Message::Hello(Hello { version: 1, claim: None }));
        let room = RoomId::from_name(&number.to_string());
        let join = Join {
            room,
            token: Token::new(number.into()),
            class: NatClass::default(),
            candidates: Vec::new(),
            role: WantedRole::Any,
            capacity: 2,
            flags: JoinFlags::WELCOMES_ALL,
        };
        say(&handle, &Message::Join(join));
        handles.push((house, handle));
        if (number + 1) % PER_ADDRESS == 0 || number + 1 == CLIENTS {
            (0..8).for_each(|_| town.turn(house..house + 1));
        }
    }
    // Everybody says something now and then, and is answered.
    let houses = town.clients.len();
    for _ in 0..3 {
        for chunk in 0..houses {
            handles.iter().filter(|(house, _)| *house == chunk).for_each(|(_, handle)| {
                drain(handle);
                say(handle, &Message::Ping(Ping { nonce: 1, answer: false }));
            });
            (0..4).for_each(|_| town.turn(chunk..chunk + 1));
        }
        town.now = town.now + Duration::from_secs(10);
    }
    // Long enough for streams to give back what they used.
    for _ in 0..5 {
        town.now = town.now + Duration::from_secs(2);
        town.turn(0..houses);
    }
    let stats = town.desk.stats();
    assert_eq!((stats.clients, stats.joins), (CLIENTS.into(), CLIENTS.into()), "{stats:?}");
    let all = start.change();
    let held = |change: &stats_alloc::Stats| {
        change.bytes_allocated.cast_signed() + change.bytes_reallocated
            - change.bytes_deallocated.cast_signed()
    };
    let with = held(&all);
    let Town { server, clients, lease, desk, .. } = town;
    drop((handles, clients));
    let without_clients = held(&start.change());
    drop(desk);
    let without_desk = held(&start.change());
    drop((server, lease));
    let nothing = held(&start.change());
    let per = |bytes: isize| bytes / isize::try_from(CLIENTS).unwrap();
    let (desk, streams) = (per(without_clients - without_desk), per(without_desk - nothing));
    eprintln!(
        "n11 bound=1280 bytes per idle client and 3584 for its stream measured={desk}, {streams} \
         (with the clients' side {})",
        per(with)
    );
    assert!(desk <= 1280 && streams <= 3584, "{desk} + {streams}");
}
