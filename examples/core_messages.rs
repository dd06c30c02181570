//! Messages without sockets, without a clock and without a face: two endpoints, a wire that loses every fifth datagram,
//! and time that we make up.
//!
//!     cargo run --no-default-features --example core_messages
//!
//! Whoever has an event loop, a radio or a test of their own drives an endpoint like this; `core.rs` does it for streams.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::{Dial, Endpoint, Handle};
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, Mode};
use ebbtide::{Config, Instant};

const ONE_WAY: Duration = Duration::from_millis(20);
const MESSAGES: u32 = 100;
const STATE: u8 = 0;
const EVENTS: u8 = 1;

/// One side: an endpoint, its address, and what is under way towards it, in order of arrival.
struct Host {
    endpoint: Endpoint,
    addr: SocketAddr,
    socket: SocketId,
    sent: u32,
    arriving: VecDeque<(Instant, Vec<u8>)>,
}

impl Host {
    fn new(addr: &str, seed: u8) -> Result<Self, Box<dyn Error>> {
        let addr = addr.parse()?;
        let mut endpoint = Endpoint::new(Arc::new(Config::default()), [seed; 32]);
        let socket = endpoint.add_socket(addr);
        Ok(Self { endpoint, addr, socket, sent: 0, arriving: VecDeque::new() })
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
            for datagram in batch.datagrams() {
                self.sent += 1;
                if !self.sent.is_multiple_of(5) {
                    peer.arriving.push_back((now + ONE_WAY, datagram.to_vec()));
                }
            }
        }
    }

    /// When there is something to do here next.
    fn next(&self) -> Option<Instant> {
        let arrival = self.arriving.front().map(|(at, _)| *at);
        arrival.into_iter().chain(self.endpoint.poll_timeout()).min()
    }
}

/// What has arrived, by channel.
#[derive(Default)]
struct Heard {
    states: u32,
    events: Vec<u32>,
}

impl Heard {
    fn take(&mut self, called: &Handle, cx: &mut Context<'_>) -> Result<(), Box<dyn Error>> {
        while let Poll::Ready(Some(message)) = called.poll_message(cx)? {
            match (message.channel, <[u8; 4]>::try_from(&message.bytes[..])) {
                (EVENTS, Ok(number)) => self.events.push(u32::from_be_bytes(number)),
                (STATE, Ok(_)) => self.states += 1,
                _ => return Err("that was never sent".into()),
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let channels = MessageConfig::new([
        ChannelConfig::new(Mode::UnreliableSequenced),
        ChannelConfig::new(Mode::ReliableOrdered),
    ]);
    let (mut client, mut server) = (Host::new("10.0.0.1:1000", 1)?, Host::new("10.0.0.2:2000", 2)?);
    let mut batch = Batch::new(1);
    // Nothing sleeps here, so nobody needs waking: everything is asked for after every turn.
    let mut cx = Context::from_waker(Waker::noop());

    server.endpoint.shared().set_listening(true);
    let calling = client.endpoint.shared().dial_messages(server.addr, Dial::default(), &channels);
    let mut called: Option<Handle> = None;
    let (mut now, mut said, mut delivered, mut heard) = (Instant::ZERO, 0, 0, Heard::default());

    while delivered < MESSAGES {
        client.turn(now, &mut server, &mut batch);
        server.turn(now, &mut client, &mut batch);
        if let Poll::Ready(Some(incoming)) = server.endpoint.shared().poll_incoming(&mut cx) {
            called = Some(incoming.accept_messages(&channels).map_err(|_| "other channels")?);
        }
        if let Some(called) = &called {
            heard.take(called, &mut cx)?;
        }
        while let Poll::Ready(receipt) = calling.poll_receipt(&mut cx)? {
            delivered += u32::from(receipt.channel == EVENTS && receipt.fate == Fate::Delivered);
        }
        if !client.endpoint.shared().has_mail() && !server.endpoint.shared().has_mail() {
            let next = client.next().into_iter().chain(server.next()).min();
            now = next.unwrap_or(now).max(now);
            if said < MESSAGES {
                // A tick of the game: one of each kind.
                now = now.max(Instant::ZERO + Duration::from_millis(16) * said);
                for channel in [STATE, EVENTS] {
                    calling
                        .try_send_message(channel, said.to_be_bytes().to_vec().into())
                        .map_err(|_| "full")?;
                }
                said += 1;
            }
        }
    }
    if heard.events != (0..MESSAGES).collect::<Vec<_>>() {
        return Err(format!("events arrived as {:?}", heard.events).into());
    }
    let Heard { states, .. } = heard;
    println!(
        "by {now} all {MESSAGES} events had arrived in order, and {states} of {MESSAGES} states: a fifth got lost"
    );
    Ok(())
}
