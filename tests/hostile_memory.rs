//! What forged packets and hostile peers can make an endpoint allocate.
//!
//! Counts every allocation of the process, so the tests take turns.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::alloc::System;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path};
use ebbtide::proto::endpoint::{Endpoint, Handle, Lease};
use ebbtide::wire::{ConnId, Delay, Extensions, Header, Kind, Packet, SeqNr, Timestamp};
use ebbtide::{Config, Instant};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Who counts.
static TURN: Mutex<()> = Mutex::new(());

/// Bytes that are allocated now and were not at the beginning.
fn net(change: &Stats) -> isize {
    change.bytes_allocated as isize - change.bytes_deallocated as isize
}

/// An endpoint that listens, and an application that accepts whatever comes.
struct Server {
    endpoint: Endpoint,
    _lease: Lease,
    path: Path,
    batch: Batch,
    handles: Vec<Handle>,
    now: Instant,
}

impl Server {
    fn new(config: Config) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(config), [7; 32]);
        let peer = SocketAddr::from(([192, 0, 2, 1], 6881));
        let socket = endpoint.add_socket(peer);
        let lease = endpoint.shared().lease();
        lease.set_listening(true);
        let handles = Vec::with_capacity(100_000);
        let path = Path { socket, peer };
        Self { endpoint, _lease: lease, path, batch: Batch::new(64), handles, now: Instant::from_micros(1) }
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let path = Path { peer: from, ..self.path };
        self.endpoint.handle_datagrams(self.now, path, datagram, datagram.len());
    }

    /// A turn; the application looks for connections before and after it. `sent` sees what leaves.
    fn turn(&mut self, mut sent: impl FnMut(SocketAddr, &[u8])) {
        self.accept();
        self.endpoint.handle_mail(self.now);
        self.endpoint.handle_timeout(self.now);
        while let Some(path) = self.endpoint.poll_transmit(self.now, &mut self.batch) {
            self.batch.datagrams().for_each(|datagram| sent(path.peer, datagram));
        }
        self.accept();
    }

    fn accept(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(incoming)) = self.endpoint.shared().poll_incoming(&mut cx) {
            self.handles.push(incoming.accept());
        }
    }
}

fn anybody(number: u32) -> SocketAddr {
    let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    SocketAddr::from(([20 + a % 90, b, c, d], 5000))
}

fn packet(kind: Kind, id: u16, seq: u16, ack: u16, window: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        conn_id: ConnId::new(id),
        sent_at: Timestamp::new(1),
        delay: Delay::NONE,
        window,
        seq: SeqNr::new(seq),
        ack: SeqNr::new(ack),
    };
    let mut out = Vec::new();
    Packet { header, extensions: Extensions::EMPTY, payload }.encode(&mut out);
    out
}

#[test]
fn t03_a_flood_of_syns_takes_less_than_128_kib() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const FORGED: u32 = 1_000_000;
    for accepts in [false, true] {
        let mut server = Server::new(Config::default());
        let syn = packet(Kind::Syn, 7, 65_535, 0, 1 << 20, b"");
        let region = Region::new(COUNTED);
        let mut most = 0;
        for number in 0..FORGED {
            server.receive(anybody(number), &syn);
            if number % 100 == 0 {
                server.now = server.now + Duration::from_millis(1);
                match accepts {
                    true => server.turn(|_, _| ()),
                    false => {
                        server.endpoint.handle_timeout(server.now);
                        while server.endpoint.poll_transmit(server.now, &mut server.batch).is_some() {}
                    }
                }
                server.handles.retain(|handle| handle.close_reason().is_none());
                most = most.max(net(&region.change()));
            }
        }
        let half_open = server.endpoint.half_open();
        let app = if accepts { "accepts" } else { "does nothing" };
        eprintln!("t03 bound=131072 bytes measured={most}, {half_open} half-open, application {app}");
        assert!((1..=131_072).contains(&most), "{most}");
    }
}

/// Somebody with a real address and bad manners.
struct Hostile {
    addr: SocketAddr,
    /// The number before the first one that the server would send us.
    ack: u16,
    /// The last of ours that the server has.
    reached: u16,
    connected: bool,
}

impl Hostile {
    fn heard(&mut self, datagram: &[u8]) {
        let header = Packet::decode(datagram).unwrap().header;
        match header.kind {
            Kind::Reset => self.connected = false,
            Kind::State if self.ack == 0 => {
                self.ack = header.seq.prev().get();
                self.connected = true;
            }
            _ => self.reached = header.ack.get(),
        }
    }

    /// Twenty packets: in order, and with gaps, never acknowledging anything, with a shut window.
    fn packets(&self, round: u16) -> Vec<Vec<u8>> {
        let next = self.reached.wrapping_add(1);
        let data = |ahead: u16, len: usize| {
            packet(Kind::Data, 8, next.wrapping_add(ahead), self.ack, 0, &vec![7; len])
        };
        let tidy = (0..10).map(|ahead| data(ahead, 1400));
        let gaps =
            (0..10).map(|index| data(20 + 2 * (index + round * 10 % 2000), 1 + usize::from(index) * 150));
        tidy.chain(gaps).collect()
    }
}

#[test]
fn t08_ten_thousand_hostile_peers_stay_below_max_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const PEERS: u32 = 10_000;
    for megabytes in [16, 64] {
        let max = megabytes << 20;
        let config = Config::default().max_memory(max).max_connections(20_000).keepalive(None);
        let mut server = Server::new(config.connections_per_network(None));
        let mut peers: Vec<Hostile> = (0..PEERS)
            .map(|number| Hostile { addr: anybody(number), ack: 0, reached: 65_535, connected: false })
            .collect();
        let places: HashMap<SocketAddr, usize> =
            peers.iter().enumerate().map(|(place, peer)| (peer.addr, place)).collect();
        // A peer's own part is not the endpoint's.
        let mut replies: Vec<(SocketAddr, Vec<u8>)> = Vec::with_capacity(100_000);
        let region = Region::new(COUNTED);
        let mut most = 0;
        for number in 0..PEERS as usize {
            let syn = packet(Kind::Syn, 7, 65_535, 0, 0, b"");
            server.receive(peers[number].addr, &syn);
            for _ in 0..2 {
                server.turn(|to, bytes| replies.push((to, bytes.to_vec())));
                let about = &mut peers[number];
                for (_, bytes) in replies.drain(..).filter(|&(to, _)| to == anybody(number as u32)) {
                    about.heard(&bytes);
                }
                if about.connected {
                    let proof = packet(Kind::State, 8, 0, about.ack, 0, b"");
                    server.receive(about.addr, &proof);
                }
            }
            // Whoever is in does what he can.
            if number % 100 == 99 {
                let round = u16::try_from(number / 100).unwrap();
                server.now = server.now + Duration::from_millis(20);
                for peer in peers.iter().filter(|peer| peer.connected) {
                    for datagram in peer.packets(round) {
                        server.receive(peer.addr, &datagram);
                    }
                    most = most.max(server.endpoint.stats().memory);
                }
                for handle in &server.handles {
                    while let Poll::Ready(Ok(1..)) = handle.try_write(&[9; 2000]) {}
                }
                server.turn(|to, bytes| replies.push((to, bytes.to_vec())));
                most = most.max(server.endpoint.stats().memory);
                for (to, bytes) in replies.drain(..) {
                    peers[places[&to]].heard(&bytes);
                }
            }
        }
        let connected = server.endpoint.connections();
        let allocated = net(&region.change());
        eprintln!(
            "t08 bound={max} measured={most} reported, {allocated} allocated at the end, {connected} of {PEERS} hostile peers"
        );
        assert!(most <= max && most > max / 2, "{most}");
        // What the allocator says is what the endpoint says, but for tables and what this test keeps.
        let reported = server.endpoint.stats().memory;
        assert!(allocated <= (reported + reported / 8) as isize, "{allocated} for {reported}");
    }
}
