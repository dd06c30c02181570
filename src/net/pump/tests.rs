//! Sockets that come and go, as the endpoint wants them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use super::*;
use crate::net::{MemoryHub, MemorySocket};
use crate::proto::endpoint::Handle;

const FIRST: SocketId = SocketId::new(0);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A socket in memory that may break, and whose like may not be had.
struct Brittle {
    inner: MemorySocket,
    broken: AtomicBool,
    alone: bool,
}

impl Brittle {
    const fn new(inner: MemorySocket, alone: bool) -> Self {
        Self { inner, broken: AtomicBool::new(false), alone }
    }

    fn check(&self) -> io::Result<()> {
        if self.broken.load(Relaxed) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Datagrams for Brittle {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        self.check()?;
        self.inner.try_recv(buffers, runs)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        self.check()?;
        self.inner.try_send(peer, batch, skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn open_like(&self) -> io::Result<Self> {
        if self.alone {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self::new(self.inner.open_like()?, false))
    }

    fn receive_buffers(&self) -> usize {
        self.inner.receive_buffers()
    }
}

/// Two endpoints, driven by hand.
struct Two {
    hub: MemoryHub,
    /// Microseconds, one per turn.
    time: u64,
    server: Pump<Brittle>,
    client: Pump<MemorySocket>,
}

impl Two {
    fn new(alone: bool) -> Self {
        let hub = MemoryHub::new();
        let config = Arc::new(Config::default());
        let server = Brittle::new(hub.attach(addr("10.0.0.1:1")).unwrap(), alone);
        let client = hub.attach(addr("10.0.0.2:1")).unwrap();
        let server = Pump::new(vec![server], Arc::clone(&config)).unwrap();
        server.shared().set_listening(true);
        Self { hub, time: 0, server, client: Pump::new(vec![client], config).unwrap() }
    }

    /// Drives both until something has come true.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.time += 1;
            let now = Instant::from_micros(self.time);
            self.server.turn(|| now).unwrap();
            self.client.turn(|| now).unwrap();
        }
        panic!("it does not come true");
    }

    fn open_places(&self) -> Vec<usize> {
        let places = self.server.sockets.iter().enumerate();
        places.filter_map(|(place, socket)| socket.as_ref().map(|_| place)).collect()
    }

    fn connect(&mut self, peer: SocketAddr) -> (Handle, Handle) {
        let calling = self.client.shared().connect(peer, None);
        let shared = Arc::clone(self.server.shared());
        let mut called = None;
        self.until(|_| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(Some(incoming)) = shared.poll_incoming(&mut cx) {
                called = Some(incoming.accept());
            }
            called.is_some() && calling.poll_connected(&mut cx).is_ready()
        });
        (calling, called.unwrap())
    }
}

#[test]
fn sockets_are_opened_when_they_are_wanted_and_closed_with_their_last_connection() {
    let mut two = Two::new(false);
    two.server.endpoint.want_sockets(FIRST, 3);
    two.until(|two| two.open_places().len() == 4);
    let wanted = two.server.endpoint.wanted_sockets();
    let extra = two.server.shared.local_addr(wanted[1]).unwrap();
    let (calling, called) = two.connect(extra);
    assert_eq!(called.path().socket, wanted[1]);
    two.server.endpoint.release_sockets();
    two.until(|two| two.open_places() == [0, usize::from(wanted[1].get())]);
    calling.abort();
    drop((calling, called));
    two.until(|two| two.open_places() == [0]);
    assert!(two.hub.attach(extra).is_ok(), "the port is free again");
}

#[test]
fn many_sockets_are_opened_a_few_per_turn() {
    let mut two = Two::new(false);
    assert_eq!(two.server.endpoint.want_sockets(FIRST, 256), 256);
    assert!(two.server.turn(|| Instant::ZERO).unwrap());
    assert_eq!(two.open_places().len(), 1 + 2 * OPENED_MAX);
    two.until(|two| two.open_places().len() == 257);
    two.server.endpoint.release_sockets();
    two.server.turn(|| Instant::ZERO).unwrap();
    assert_eq!(two.open_places(), [0]);
}

#[test]
fn a_transport_that_opens_no_others_goes_on_alone() {
    let mut two = Two::new(true);
    two.server.endpoint.want_sockets(FIRST, 3);
    two.until(|two| two.server.endpoint.extra_sockets() == 0);
    two.connect(addr("10.0.0.1:1"));
    assert_eq!(two.open_places(), [0]);
}

#[test]
fn a_socket_that_breaks_ends_the_driver_only_if_it_is_not_one_that_comes_and_goes() {
    let mut two = Two::new(false);
    two.server.endpoint.want_sockets(FIRST, 2);
    two.until(|two| two.open_places().len() == 3);
    let break_it = |two: &Two, place: usize| {
        two.server.sockets[place].as_ref().unwrap().broken.store(true, Relaxed);
    };
    break_it(&two, 2);
    two.until(|two| two.open_places() == [0, 1]);
    two.connect(addr("10.0.0.1:1"));
    two.server.endpoint.release_sockets();
    two.until(|two| two.server.endpoint.extra_sockets() == 0);
    break_it(&two, 0);
    assert_eq!(two.server.turn(|| Instant::ZERO).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
