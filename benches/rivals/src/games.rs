//! renet 2: a client and a server, with plain datagrams between them (no encryption: faster than its own transport).
//!
//! It is driven by ticks. Best of what was tried: a tick without pause, 120 kB in each (its default is 60 kB and 60
//! ticks a second, which is 3.6 MB a second), memory of 5 MiB a channel and 300 ms until something is sent again (both
//! are its defaults; what is full ends the connection, so the sender asks before it sends).

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use renet::{ConnectionConfig, RenetClient, RenetServer};

use crate::measure::{COUNT, ECHO_WARM, ECHOES, LEN, OneWay, WARM, Watch, message, number_of};
use crate::sockets::{Silence, bind};

/// Channels of its default configuration.
pub const UNRELIABLE: u8 = 0;
pub const UNORDERED: u8 = 1;
pub const ORDERED: u8 = 2;

const PER_TICK: u64 = 120_000;
const CLIENT: u64 = 7;

fn config() -> ConnectionConfig {
    ConnectionConfig { available_bytes_per_tick: PER_TICK, ..ConnectionConfig::default() }
}

struct Client {
    renet: RenetClient,
    socket: UdpSocket,
    ticked: Instant,
    bytes_sent: u64,
}

impl Client {
    fn tick(&mut self, fill: impl FnOnce(&mut RenetClient)) {
        let mut buffer = [0; 2048];
        self.renet.update(std::mem::replace(&mut self.ticked, Instant::now()).elapsed());
        while let Ok(len) = self.socket.recv(&mut buffer) {
            self.renet.process_packet(&buffer[..len]);
        }
        fill(&mut self.renet);
        for packet in self.renet.get_packets_to_send() {
            self.bytes_sent += packet.len() as u64;
            // What does not fit is lost, and sent again.
            let _ = self.socket.send(&packet);
        }
        assert!(self.renet.is_connected(), "{:?}", self.renet.disconnect_reason());
    }
}

struct Server {
    renet: RenetServer,
    socket: UdpSocket,
    ticked: Instant,
}

impl Server {
    fn tick(&mut self, mut take: impl FnMut(&mut RenetServer)) {
        let mut buffer = [0; 2048];
        self.renet.update(std::mem::replace(&mut self.ticked, Instant::now()).elapsed());
        while let Ok(len) = self.socket.recv(&mut buffer) {
            self.renet.process_packet_from(&buffer[..len], CLIENT).expect("a client that is there");
        }
        take(&mut self.renet);
        for packet in self.renet.get_packets_to_send(CLIENT).expect("a client that is there") {
            let _ = self.socket.send(&packet);
        }
    }
}

fn pair() -> (Client, Server) {
    let (near, far) = (bind(), bind());
    near.connect(far.local_addr().expect("an address")).expect("an address that can be reached");
    far.connect(near.local_addr().expect("an address")).expect("an address that can be reached");
    let mut client =
        Client { renet: RenetClient::new(config()), socket: near, ticked: Instant::now(), bytes_sent: 0 };
    client.renet.set_connected();
    let mut server = Server { renet: RenetServer::new(config()), socket: far, ticked: Instant::now() };
    server.renet.add_connection(CLIENT);
    (client, server)
}

/// Messages on a channel, from one thread to another.
pub fn one_way(channel: u8) -> OneWay {
    let (mut client, server) = pair();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let receiver = thread::spawn(move || receive(server, channel, &done));
    let (mut number, mut watch) = (0, Watch::start());
    while !is_done.load(Ordering::Relaxed) {
        client.tick(|renet| {
            let mut left = PER_TICK / LEN as u64;
            while left > 0 && number < WARM + COUNT && renet.can_send_message(channel, LEN) {
                renet.send_message(channel, Bytes::copy_from_slice(&message(number)));
                number += 1;
                left -= 1;
                if number == WARM {
                    watch = Watch::start();
                }
            }
        });
        thread::yield_now();
    }
    let sender_cpu = watch.stop().1;
    let overhead = Some(client.bytes_sent as f64 / (WARM + COUNT) as f64 - LEN as f64);
    OneWay { sender_cpu, overhead, ..receiver.join().expect("the receiver") }
}

fn receive(mut server: Server, channel: u8, done: &AtomicBool) -> OneWay {
    let (mut watch, mut arrived, mut next) = (None, 0, 0);
    let mut end = (Duration::ZERO, Duration::ZERO);
    let mut silence = Silence::begin();
    while arrived < COUNT && !(channel == UNRELIABLE && silence.is_long()) {
        server.tick(|renet| {
            while let Some(message) = renet.receive_message(CLIENT, channel) {
                let number = number_of(&message);
                assert!(channel != ORDERED || number == next, "in order");
                next += 1;
                silence.broken();
                if number >= WARM {
                    let began = *watch.get_or_insert_with(Watch::start);
                    arrived += 1;
                    if arrived % 1000 == 0 {
                        end = began.stop();
                    }
                }
            }
        });
        thread::yield_now();
    }
    done.store(true, Ordering::Relaxed);
    OneWay { arrived, time: end.0, receiver_cpu: end.1, ..OneWay::default() }
}

/// Round trips of small reliable ordered messages, one at a time.
pub fn echo() -> Vec<Duration> {
    let (mut client, mut server) = pair();
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let answering = thread::spawn(move || {
        while !is_done.load(Ordering::Relaxed) {
            server.tick(|renet| {
                while let Some(message) = renet.receive_message(CLIENT, ORDERED) {
                    renet.send_message(CLIENT, ORDERED, message);
                }
            });
            thread::yield_now();
        }
    });
    let mut samples = Vec::with_capacity(ECHOES);
    for number in 0..ECHO_WARM + ECHOES {
        let began = Instant::now();
        client.renet.send_message(ORDERED, Bytes::copy_from_slice(&message(number as u64)));
        let answer = loop {
            client.tick(|_| {});
            match client.renet.receive_message(ORDERED) {
                Some(answer) => break answer,
                None => thread::yield_now(),
            }
        };
        assert_eq!(number_of(&answer), number as u64);
        if number >= ECHO_WARM {
            samples.push(began.elapsed());
        }
    }
    done.store(true, Ordering::Relaxed);
    answering.join().expect("the server");
    samples
}
