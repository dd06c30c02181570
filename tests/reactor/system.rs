//! A reactor on a socket of the system, and with peers of the other face.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ebbtide::reactor::{Event, Reactor};
use ebbtide::{Batch, CloseReason, Config, Datagrams, MemoryHub, Run, SystemSocket};

use crate::world::{ORDERED, addr, channels, disconnected, messages};

/// Sends back what comes, until `done` says that it was enough.
fn echo(reactor: &mut Reactor, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        reactor.tick().unwrap();
        while let Some(event) = reactor.next_event() {
            if let Event::Message { peer, channel, bytes } = event {
                reactor.send(peer, channel, bytes).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A reactor may be moved to the thread that ticks it.
const fn moves_between_threads<T: Send>() {}
const _: () = moves_between_threads::<Reactor>();

fn reactor() -> Reactor {
    let mut reactor = Reactor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    reactor.listen(&channels()).unwrap();
    reactor
}

#[test]
fn two_reactors_on_sockets_of_the_system_talk_to_each_other() {
    let (mut server, mut client) = (reactor(), reactor());
    let peer = client.connect(server.local_addr(), &channels()).unwrap();
    client.send(peer, ORDERED, "there and back").unwrap();
    let mut heard = Vec::new();
    echo(&mut server, || {
        client.tick().unwrap();
        heard.extend(client.events());
        !messages(&heard).is_empty()
    });
    assert_eq!(messages(&heard), [b"there and back"]);
    assert!(server.stats().datagrams_received > 0 && server.stats().receive_buffer > 0);
}

#[cfg(feature = "tokio")]
#[test]
fn a_reactor_and_a_socket_on_tokio_talk_to_each_other() {
    let mut server = reactor();
    let addr = server.local_addr();
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = ebbtide::UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let connection = socket.connect_messages(addr, &channels()).await.unwrap();
            connection.send(ORDERED, "there and back").await.unwrap();
            assert_eq!(connection.recv().await.unwrap().unwrap().bytes, "there and back");
        });
    });
    echo(&mut server, || other.is_finished());
    other.join().unwrap();
}

#[test]
fn the_system_socket_can_be_waited_for_and_has_options() {
    let socket = SystemSocket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
    let reactor = Reactor::over(socket, Config::default()).unwrap();
    let std = reactor.socket().unwrap().socket();
    assert_eq!(std.local_addr().unwrap(), reactor.local_addr());
    // It never waits.
    assert_eq!(std.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// A transport that can go.
struct Brittle<S> {
    inner: S,
    gone: Arc<AtomicBool>,
}

impl<S: Datagrams> Datagrams for Brittle<S> {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        if self.gone.load(Relaxed) {
            Err(ErrorKind::BrokenPipe.into())
        } else {
            self.inner.try_recv(buffers, runs)
        }
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        self.inner.try_send(peer, batch, skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[test]
fn when_the_transport_is_gone_the_tick_says_so_and_every_connection_ends() {
    let (hub, gone) = (MemoryHub::new(), Arc::new(AtomicBool::new(false)));
    let transport = Brittle { inner: hub.attach(addr(1)).unwrap(), gone: Arc::clone(&gone) };
    let mut reactor = Reactor::over(transport, Config::default()).unwrap();
    let peer = reactor.connect(addr(2), &channels()).unwrap();
    reactor.tick().unwrap();
    assert!(reactor.next_event().is_none());
    gone.store(true, Relaxed);
    assert_eq!(reactor.tick().unwrap_err().kind(), ErrorKind::BrokenPipe);
    let told: Vec<_> = reactor.events().collect();
    assert_eq!(disconnected(&told), [(peer, CloseReason::EndpointClosed)]);
    assert_eq!(reactor.tick().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(
        reactor.connect(addr(2), &channels()).map(|peer| reactor.peer_addr(peer)).unwrap(),
        Some(addr(2))
    );
    let told: Vec<_> = reactor.events().collect();
    assert_eq!(disconnected(&told).len(), 1, "{told:?}");
}
