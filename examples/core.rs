//! The protocol without tokio, sockets or a clock: two endpoints, a wire made of a queue, and time that we make up.
//!
//!     cargo run --release --no-default-features --example core
//!     connected at 0.040000s
//!     1000000 bytes arrived intact by 0.4s or so, over a wire of 20 ms each way
//!
//! Whoever has an event loop, a radio or a test of their own drives an endpoint like this.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::{Endpoint, Handle};
use ebbtide::{Config, Instant};

const ONE_WAY: Duration = Duration::from_millis(20);
const BYTES: usize = 1_000_000;

/// One side: an endpoint, its address, and what is under way towards it, in order of arrival.
struct Host {
    endpoint: Endpoint,
    addr: SocketAddr,
    socket: SocketId,
    arriving: VecDeque<(Instant, Vec<u8>)>,
}

impl Host {
    fn new(addr: &str, seed: u8) -> Result<Self, Box<dyn Error>> {
        let addr = addr.parse()?;
        let mut endpoint = Endpoint::new(Arc::new(Config::default()), [seed; 32]);
        let socket = endpoint.add_socket(addr);
        Ok(Self { endpoint, addr, socket, arriving: VecDeque::new() })
    }

    /// One turn: what arrived, what applications asked for, what is due; then everything there is to send.
    fn turn(&mut self, now: Instant, peer: &mut Self, batch: &mut Batch) {
        let path = Path { socket: self.socket, peer: peer.addr };
        while self.arriving.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, datagram)) = self.arriving.pop_front() {
                self.endpoint.handle_datagrams(now, path, &datagram, datagram.len());
            }
        }
        self.endpoint.handle_mail(now);
        self.endpoint.handle_timeout(now);
        while self.endpoint.poll_transmit(now, batch).is_some() {
            peer.arriving.extend(batch.datagrams().map(|datagram| (now + ONE_WAY, datagram.to_vec())));
        }
    }

    /// When there is something to do here next.
    fn next(&self) -> Option<Instant> {
        let arrival = self.arriving.front().map(|(at, _)| *at);
        arrival.into_iter().chain(self.endpoint.poll_timeout()).min()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut client, mut server) = (Host::new("10.0.0.1:1000", 1)?, Host::new("10.0.0.2:2000", 2)?);
    let mut batch = Batch::new(1);
    // Nothing sleeps here, so nobody needs waking: everything is asked for after every turn.
    let mut cx = Context::from_waker(Waker::noop());

    server.endpoint.shared().set_listening(true);
    let calling = client.endpoint.shared().connect(server.addr, None);
    let mut called: Option<Handle> = None;
    let content: Vec<u8> = (0..BYTES).map(|i| (i ^ (i >> 8)).to_le_bytes()[0]).collect();
    let (mut now, mut written, mut received) = (Instant::ZERO, 0, Vec::new());
    let (mut connected, mut ended) = (false, false);

    loop {
        client.turn(now, &mut server, &mut batch);
        server.turn(now, &mut client, &mut batch);

        if let Poll::Ready(Some(incoming)) = server.endpoint.shared().poll_incoming(&mut cx) {
            called = Some(incoming.accept());
        }
        if !connected && calling.poll_connected(&mut cx)?.is_ready() {
            println!("connected at {now}");
            connected = true;
        }
        while written < BYTES
            && let Poll::Ready(taken) = calling.poll_write(&mut cx, &content[written..])
        {
            written += taken?;
        }
        if written == BYTES && !ended {
            ended = calling.poll_finish(&mut cx)?.is_ready();
        }
        let mut room = [0; 4096];
        while let Some(Poll::Ready(len)) = called.as_ref().map(|called| called.poll_read(&mut cx, &mut room))
        {
            match len? {
                0 => return finish(&content, &received, now),
                len => received.extend_from_slice(&room[..len]),
            }
        }
        let has_mail = client.endpoint.shared().has_mail() || server.endpoint.shared().has_mail();
        if !has_mail {
            let next = client.next().into_iter().chain(server.next()).min();
            now = next.ok_or("nothing left to wait for")?.max(now);
        }
    }
}

fn finish(sent: &[u8], received: &[u8], now: Instant) -> Result<(), Box<dyn Error>> {
    if sent != received {
        return Err("what arrived is not what was sent".into());
    }
    println!("{} bytes arrived intact by {now}, over a wire of 20 ms each way", received.len());
    Ok(())
}
