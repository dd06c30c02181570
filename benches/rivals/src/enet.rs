//! rusty_enet 0.4, which is ENet 1.3.18: two hosts, served without pause.
//!
//! No checksum, no compression, no limit of bandwidth, its throttle (which drops unreliable packets) off, packets of
//! its usual 1,392 bytes, which hold the most that it packs into one. It tells nobody how much it has queued and gets
//! slow with long queues, so the sender is told, past the network, how far the receiver is, and keeps within 4,096
//! messages of that: best of what was tried.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rusty_enet::{
    Event, EventNoRef, Host, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket, SocketOptions,
};

use crate::measure::{COUNT, ECHO_WARM, ECHOES, LEN, OneWay, WARM, Watch, message, number_of};
use crate::sockets::{Silence, bind};

const CHANNEL: u8 = 0;
const AHEAD: u64 = 4096;

type Enet = Host<Counting>;

/// A socket that counts what it sends.
struct Counting {
    socket: UdpSocket,
    sent: u64,
}

impl Socket for Counting {
    type Address = SocketAddr;
    type Error = io::Error;

    fn init(&mut self, options: SocketOptions) -> io::Result<()> {
        Socket::init(&mut self.socket, options)
    }

    fn send(&mut self, address: SocketAddr, buffer: &[u8]) -> io::Result<usize> {
        self.sent += buffer.len() as u64;
        Socket::send(&mut self.socket, address, buffer)
    }

    fn receive(&mut self, buffer: &mut [u8; MTU_MAX]) -> io::Result<Option<(SocketAddr, PacketReceived)>> {
        self.socket.receive(buffer)
    }
}

fn host() -> Enet {
    let settings = HostSettings { peer_limit: 1, channel_limit: 1, ..HostSettings::default() };
    let socket = Counting { socket: bind(), sent: 0 };
    Host::new(socket, settings).unwrap_or_else(|_| panic!("a host"))
}

fn next(host: &mut Enet) -> Option<EventNoRef> {
    host.service().expect("a socket that works").map(Event::no_ref)
}

/// A host that tells where it is and waits until somebody has connected.
fn listen(tell: &mpsc::Sender<SocketAddr>) -> Enet {
    let mut host = host();
    tell.send(host.socket().socket.local_addr().expect("an address")).expect("the other thread waits");
    while !matches!(next(&mut host), Some(EventNoRef::Connect { .. })) {
        thread::yield_now();
    }
    host
}

fn connect(to: SocketAddr) -> (Enet, PeerID) {
    let mut host = host();
    let peer = host.connect(to, 1, 0).expect("room for a peer").id();
    while !matches!(next(&mut host), Some(EventNoRef::Connect { .. })) {
        thread::yield_now();
    }
    host.peer_mut(peer).set_throttle(1000, 32, 0);
    (host, peer)
}

fn packet(number: u64, reliable: bool) -> Packet {
    let bytes = message(number);
    if reliable { Packet::reliable(&bytes[..]) } else { Packet::unreliable(&bytes[..]) }
}

/// What both threads know.
#[derive(Default)]
struct Shared {
    /// How many messages have arrived; of unreliable ones the number of the newest.
    taken: AtomicU64,
    done: AtomicBool,
}

/// Messages from one thread to another.
pub fn one_way(reliable: bool) -> OneWay {
    let (tell, hear) = mpsc::channel();
    let shared = Arc::new(Shared::default());
    let theirs = Arc::clone(&shared);
    let receiver = thread::spawn(move || receive(listen(&tell), reliable, &theirs));
    let (mut host, peer) = connect(hear.recv().expect("an address"));
    let (mut number, mut watch) = (0, Watch::start());
    let mut silence = Silence::begin();
    while !shared.done.load(Ordering::Relaxed) {
        let taken = shared.taken.load(Ordering::Relaxed);
        // What was lost is taken by nobody.
        let most = if silence.is_long() { u64::MAX } else { taken + AHEAD };
        while number < (WARM + COUNT).min(most) {
            host.peer_mut(peer).send(CHANNEL, &packet(number, reliable)).expect("a peer that is there");
            silence.broken();
            number += 1;
            if number == WARM {
                watch = Watch::start();
            }
        }
        while next(&mut host).is_some() {}
        thread::yield_now();
    }
    let sender_cpu = watch.stop().1;
    let overhead = Some(host.socket().sent as f64 / (WARM + COUNT) as f64 - LEN as f64);
    OneWay { sender_cpu, overhead, ..receiver.join().expect("the receiver") }
}

fn receive(mut host: Enet, reliable: bool, shared: &Shared) -> OneWay {
    let (mut watch, mut arrived, mut next_number) = (None, 0, 0);
    let mut end = (Duration::ZERO, Duration::ZERO);
    let mut silence = Silence::begin();
    while arrived < COUNT && !(!reliable && silence.is_long()) {
        while let Some(event) = next(&mut host) {
            let EventNoRef::Receive { packet, .. } = event else { continue };
            let number = number_of(packet.data());
            assert!(!reliable || number == next_number, "in order");
            next_number += 1;
            silence.broken();
            shared.taken.store(number + 1, Ordering::Relaxed);
            if number >= WARM {
                let began = *watch.get_or_insert_with(Watch::start);
                arrived += 1;
                if arrived % 1000 == 0 {
                    end = began.stop();
                }
            }
        }
        thread::yield_now();
    }
    shared.done.store(true, Ordering::Relaxed);
    OneWay { arrived, time: end.0, receiver_cpu: end.1, ..OneWay::default() }
}

/// Round trips of small reliable messages, one at a time.
pub fn echo() -> Vec<Duration> {
    let (tell, hear) = mpsc::channel();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let answering = thread::spawn(move || {
        let mut host = listen(&tell);
        while !is_done.load(Ordering::Relaxed) {
            while let Some(event) = next(&mut host) {
                if let EventNoRef::Receive { peer, packet, .. } = event {
                    host.peer_mut(peer).send(CHANNEL, &packet).expect("a peer that is there");
                    host.flush();
                }
            }
            thread::yield_now();
        }
    });
    let (mut host, peer) = connect(hear.recv().expect("an address"));
    let mut samples = Vec::with_capacity(ECHOES);
    for number in 0..(ECHO_WARM + ECHOES) as u64 {
        let began = Instant::now();
        host.peer_mut(peer).send(CHANNEL, &packet(number, true)).expect("a peer that is there");
        host.flush();
        let answer = loop {
            match next(&mut host) {
                Some(EventNoRef::Receive { packet, .. }) => break packet,
                _ => thread::yield_now(),
            }
        };
        assert_eq!(number_of(answer.data()), number);
        if number >= ECHO_WARM as u64 {
            samples.push(began.elapsed());
        }
    }
    done.store(true, Ordering::Relaxed);
    answering.join().expect("the server");
    samples
}
