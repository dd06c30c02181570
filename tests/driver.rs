//! The driver over transports that fail in every way that sockets do.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ebbtide::{
    Batch, CloseReason, Config, Datagrams, Driver, MemoryHub, MemorySocket, PollDatagrams, Run, UtpSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What goes wrong, decided by the number of the call.
type Script = fn(u64) -> Option<io::Error>;

/// A socket with moods.
struct Moody {
    inner: MemorySocket,
    sending: Script,
    receiving: Script,
    sends: AtomicU64,
    receives: AtomicU64,
    /// Datagrams that really left.
    left: AtomicU64,
    /// Said `WouldBlock`, and has not been waited for.
    blocked: AtomicBool,
    /// Waits that came to nothing: the driver has to be patient.
    waits: AtomicU64,
    /// The datagram that was refused last, and whether it changed its time until it was taken.
    refused: Mutex<Option<Vec<u8>>>,
    restamped: AtomicU64,
    stale: AtomicU64,
    gone: AtomicBool,
}

impl Moody {
    fn new(inner: MemorySocket, sending: Script, receiving: Script) -> Arc<Self> {
        Arc::new(Self {
            inner,
            sending,
            receiving,
            sends: AtomicU64::new(0),
            receives: AtomicU64::new(0),
            left: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            waits: AtomicU64::new(0),
            refused: Mutex::new(None),
            restamped: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        })
    }

    fn check_restamped(&self, next: &[u8]) {
        let Some(refused) = self.refused.lock().unwrap().take() else { return };
        assert_eq!(refused[8..], next[8..], "the same datagram is tried again");
        let counter = if refused[4..8] == next[4..8] { &self.stale } else { &self.restamped };
        counter.fetch_add(1, Relaxed);
    }
}

impl Datagrams for Moody {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        match (self.receiving)(self.receives.fetch_add(1, Relaxed)) {
            _ if self.gone.load(Relaxed) => Err(ErrorKind::BrokenPipe.into()),
            Some(error) => Err(error),
            None => self.inner.try_recv(buffers, runs),
        }
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let next = &batch.bytes()[skip * batch.segment_size()..];
        let next = &next[..next.len().min(batch.segment_size())];
        self.check_restamped(next);
        let outcome = match (self.sending)(self.sends.fetch_add(1, Relaxed)) {
            Some(error) => Err(error),
            None => self.inner.try_send(peer, batch, skip),
        };
        match &outcome {
            Ok(taken) => {
                self.left.fetch_add(*taken as u64, Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked.store(true, Relaxed);
                *self.refused.lock().unwrap() = Some(next.to_vec());
            }
            Err(_) => {}
        }
        outcome
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_segments(&self) -> usize {
        self.inner.max_segments()
    }

    fn receive_buffers(&self) -> usize {
        self.inner.receive_buffers()
    }
}

impl PollDatagrams for Moody {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gone.load(Relaxed) { Poll::Ready(Ok(())) } else { self.inner.poll_recv_ready(cx) }
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked.swap(false, Relaxed) {
            self.waits.fetch_add(1, Relaxed);
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                waker.wake();
            });
            return Poll::Pending;
        }
        self.inner.poll_send_ready(cx)
    }
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 6881))
}

fn quiet(_: u64) -> Option<io::Error> {
    None
}

fn every_kind(number: u64) -> Option<io::Error> {
    const EMSGSIZE: i32 = 90;
    const ENOBUFS: i32 = 105;
    let kinds = [
        || ErrorKind::ConnectionRefused.into(),
        || ErrorKind::PermissionDenied.into(),
        || ErrorKind::NetworkUnreachable.into(),
        || ErrorKind::HostUnreachable.into(),
        || io::Error::from_raw_os_error(EMSGSIZE),
        || io::Error::from_raw_os_error(ENOBUFS),
        || ErrorKind::ConnectionReset.into(),
    ];
    let moody = number > 3 && number.is_multiple_of(29);
    moody.then(|| kinds[usize::try_from(number / 29).unwrap() % kinds.len()]())
}

fn blocks_often(number: u64) -> Option<io::Error> {
    number.is_multiple_of(5).then(|| ErrorKind::WouldBlock.into())
}

fn spawn<S: PollDatagrams>(
    (socket, driver): (UtpSocket, Driver<S>),
) -> (UtpSocket, JoinHandle<io::Result<()>>) {
    (socket, tokio::spawn(driver.run()))
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// Moves data through a moody socket and compares it.
async fn transfer(client: &UtpSocket, server: &UtpSocket, len: usize) {
    let listener = server.listen();
    let (calling, accepted) = tokio::join!(client.connect(server.local_addr()), listener.accept());
    let (mut calling, mut called) = (calling.unwrap(), accepted.unwrap().0);
    let data: Vec<u8> = (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    let mut heard = Vec::new();
    let send = async {
        calling.write_all(&data).await.unwrap();
        calling.shutdown().await.unwrap();
        calling.closed().await.unwrap();
    };
    let ((), read) = tokio::join!(send, called.read_to_end(&mut heard));
    read.unwrap();
    assert!(heard == data);
}

struct World {
    moody: Arc<Moody>,
    client: UtpSocket,
    server: UtpSocket,
    driving: JoinHandle<io::Result<()>>,
}

fn world(segments: usize, sending: Script, receiving: Script) -> World {
    let hub = MemoryHub::new();
    let config = Config::default().rto_min(Duration::from_millis(20));
    let moody = Moody::new(hub.attach_with(addr(1), 1024, segments).unwrap(), sending, receiving);
    let (client, driving) = spawn(UtpSocket::over(Arc::clone(&moody), config.clone()).unwrap());
    let (server, _) = spawn(UtpSocket::over(hub.attach(addr(2)).unwrap(), config).unwrap());
    World { moody, client, server, driving }
}

#[tokio::test]
async fn errors_of_sending_are_losses_and_nothing_worse() {
    let world = world(4, every_kind, quiet);
    within(transfer(&world.client, &world.server, 2 << 20)).await;
    let stats = world.client.stats();
    assert!(stats.send_errors > 5, "{stats:?}");
    assert_eq!(stats.datagrams_sent, world.moody.left.load(Relaxed));
    assert!(!world.driving.is_finished());
}

#[tokio::test]
async fn errors_of_receiving_are_counted_and_nothing_worse() {
    let world = world(1, quiet, every_kind);
    within(transfer(&world.server, &world.client, 2 << 20)).await;
    let stats = world.client.stats();
    assert!(stats.receive_errors > 5, "{stats:?}");
    assert!(!world.driving.is_finished());
}

#[tokio::test]
async fn a_full_socket_keeps_the_batch_and_restamps_it() {
    let world = world(8, blocks_often, quiet);
    within(transfer(&world.client, &world.server, 2 << 20)).await;
    let (moody, stats) = (&world.moody, world.client.stats());
    assert!(moody.waits.load(Relaxed) > 20);
    assert!(moody.restamped.load(Relaxed) > 20);
    assert_eq!(moody.stale.load(Relaxed), 0);
    assert_eq!(stats.datagrams_sent, moody.left.load(Relaxed));
    assert_eq!(stats.send_errors, 0);
}

#[tokio::test]
async fn a_clean_transfer_through_memory_loses_nothing() {
    let world = world(16, quiet, quiet);
    within(transfer(&world.client, &world.server, 8 << 20)).await;
    let (ours, theirs) = (world.client.stats(), world.server.stats());
    assert_eq!(ours.datagrams_sent, world.moody.left.load(Relaxed));
    assert!(ours.datagrams_sent / ours.send_calls > 4, "{ours:?}");
    assert!(theirs.datagrams_received > 5000 && theirs.bytes_received > 8 << 20);
}

#[tokio::test]
async fn two_drivers_that_wait_for_each_other_go_on_receiving() {
    let hub = MemoryHub::new();
    let socket = |host| {
        let transport = hub.attach_with(addr(host), 2, 8).unwrap();
        spawn(UtpSocket::over(transport, Config::default()).unwrap()).0
    };
    let (a, b) = (socket(1), socket(2));
    within(async { tokio::join!(transfer(&a, &b, 1 << 20), transfer(&b, &a, 1 << 20)) }).await;
}

#[tokio::test]
async fn a_transport_that_is_gone_ends_the_driver_and_frees_everybody() {
    let world = world(1, quiet, quiet);
    let listener = world.server.listen();
    within(async {
        let (calling, called) =
            tokio::join!(world.client.connect(world.server.local_addr()), listener.accept());
        let (mut calling, _called) = (calling.unwrap(), called.unwrap());
        let waiting = async { calling.read(&mut [0; 8]).await };
        let accepting = async { world.client.accept().await };
        let end = async {
            tokio::task::yield_now().await;
            world.moody.gone.store(true, Relaxed);
            // Anything that makes the driver look.
            world.client.foreign().send_to(b"?", addr(9)).await
        };
        let (read, accepted, _) = tokio::join!(waiting, accepting, end);
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let reason = error.get_ref().unwrap().downcast_ref::<CloseReason>();
        assert_eq!(reason, Some(&CloseReason::EndpointClosed));
        assert_eq!(accepted.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(world.driving.await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        let late = world.client.connect(world.server.local_addr()).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::NotConnected);
        world.client.close().await;
    })
    .await;
}

#[tokio::test]
async fn one_endpoint_uses_several_transports() {
    let hub = MemoryHub::new();
    let six: SocketAddr = "[fd00::1]:1".parse().unwrap();
    let transports = [hub.attach(addr(1)).unwrap(), hub.attach(six).unwrap()];
    let (server, _) = spawn(UtpSocket::over_all(transports, Config::default()).unwrap());
    assert_eq!(server.local_addrs(), [addr(1), six]);
    let listener = server.listen();
    let outside = [(addr(2), addr(1)), ("[fd00::2]:1".parse().unwrap(), six)];
    for (from, to) in outside {
        let (client, _) = spawn(UtpSocket::over(hub.attach(from).unwrap(), Config::default()).unwrap());
        within(async {
            let (inward, accepted) = tokio::join!(client.connect(to), listener.accept());
            let (inward, (accepted, peer)) = (inward.unwrap(), accepted.unwrap());
            assert_eq!((inward.peer_addr(), peer, accepted.local_addr()), (to, from, to));
            let other = client.listen();
            let (outward, accepted) = tokio::join!(server.connect(from), other.accept());
            assert_eq!((outward.unwrap().local_addr(), accepted.unwrap().1), (to, to));
        })
        .await;
    }
    let none: [MemorySocket; 0] = [];
    assert_eq!(UtpSocket::over_all(none, Config::default()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_driver_with_nothing_to_do_sleeps() {
    let world = world(1, quiet, quiet);
    let listener = world.server.listen();
    let (calling, called) =
        within(async { tokio::join!(world.client.connect(world.server.local_addr()), listener.accept()) })
            .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = world.moody.receives.load(Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let turns = world.moody.receives.load(Relaxed) - before;
    assert!(turns <= 2, "{turns} turns in half a second of silence");
    drop((calling, called));
}
