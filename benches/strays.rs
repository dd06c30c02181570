//! Packets that are for nobody: what one costs, the receive call and the endpoint, and what 100,000 a second cost a
//! flow beside them.
//!
//! `cargo bench --bench strays`
//!
//! The flow runs over real sockets on loopback, and a thread sends the strays one by one, so on a small machine the
//! three compete for cores. Therefore each round has three phases: no strays; strays to a socket that nobody reads,
//! which cost the same to send; strays to the flow's receiver. What the endpoint loses is that from the second to the
//! third. Phases are short and many, and medians are told, so that other work on the machine hits all three alike.

#![expect(clippy::unwrap_used, reason = "a bench that unwraps nothing has failed")]
#![expect(unreachable_pub, reason = "a module that a test has too")]

#[path = "../tests/strays/kinds.rs"]
mod kinds;

use std::future::poll_fn;
use std::hint::black_box;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ebbtide::proto::batch::{Batch, Path};
use ebbtide::proto::endpoint::Endpoint;
use ebbtide::wire::ConnId;
use ebbtide::{Config, Datagrams, Instant, PollDatagrams, Run, Udp, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PER_SECOND: u32 = 100_000;
const PHASE: Duration = Duration::from_millis(200);
const ROUNDS: usize = 30;
/// Sockets that the strays come from.
const SOURCES: usize = 16;
/// Of these, in turn, so that they fill no cache by themselves.
const STRAYS: u32 = 4096;
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// After the receive call: each stray comes on its own from its own address, and what is to be answered is answered.
fn one(criterion: &mut Criterion) {
    /// What one turn of the driver receives at that rate, give or take.
    const PER_TURN: usize = 64;
    let strays = kinds::strays(STRAYS, ConnId::new(1));
    let mut endpoint = Endpoint::new(Arc::new(Config::default()), [1; 32]);
    let socket = endpoint.add_socket(SocketAddr::from(([127, 0, 0, 1], 1)));
    let lease = endpoint.shared().lease();
    let mut batch = Batch::new(64);
    let mut now = Instant::from_micros(1_000_000);

    let mut group = criterion.benchmark_group("strays");
    group.throughput(Throughput::Elements(STRAYS.into()));
    group.bench_function("after the receive call", |bencher| {
        bencher.iter(|| {
            for turn in strays.chunks(PER_TURN) {
                now = now + Duration::from_micros(PER_TURN as u64 * 10);
                for stray in turn {
                    let path = Path { socket, peer: stray.from };
                    endpoint.handle_datagrams(now, path, black_box(&stray.bytes), stray.bytes.len());
                }
                endpoint.handle_timeout(now);
                while endpoint.poll_transmit(now, &mut batch).is_some() {}
            }
        });
    });
    group.finish();
    drop(lease);
}

/// The receive call: strays that wait in the kernel, each from another address than the one before.
fn received(criterion: &mut Criterion) {
    /// As many as the kernel surely keeps.
    const WAITING: usize = 128;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let udp = Udp::bind(LOOPBACK, 4 << 20).unwrap();
    let target = udp.local_addr().unwrap();
    let sockets: Vec<UdpSocket> = (0..SOURCES).map(|_| UdpSocket::bind(LOOPBACK).unwrap()).collect();
    let strays = kinds::strays(WAITING as u32, ConnId::new(1));
    let mut space = vec![0; udp.receive_buffers() * udp.receive_buffer_len()];
    let mut buffers: Vec<_> = space.chunks_exact_mut(udp.receive_buffer_len()).map(IoSliceMut::new).collect();
    let mut runs = vec![Run::default(); buffers.len()];

    let mut group = criterion.benchmark_group("strays");
    group.throughput(Throughput::Elements(WAITING as u64));
    group.bench_function("the receive call", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                for (number, stray) in strays.iter().enumerate() {
                    sockets[number % SOURCES].send_to(&stray.bytes, target).unwrap();
                }
                runtime.block_on(poll_fn(|cx| udp.poll_recv_ready(cx))).unwrap();
                let began = std::time::Instant::now();
                let mut got = 0;
                while got < WAITING {
                    got += udp.try_recv(&mut buffers, &mut runs).unwrap();
                }
                spent += began.elapsed();
            }
            spent
        });
    });
    group.finish();
}

/// Sends strays to `target` for the length of a phase, at the rate that was asked for; returns how many it were.
fn send_strays(sockets: &[UdpSocket], strays: &[kinds::Stray], target: SocketAddr) -> u64 {
    let began = std::time::Instant::now();
    let mut sent = 0;
    while began.elapsed() < PHASE {
        let due = (began.elapsed().as_secs_f64() * f64::from(PER_SECOND)) as u64;
        while sent < due {
            let stray = &strays[sent as usize % strays.len()];
            // A refusal is an answer to an earlier one.
            sent += u64::from(sockets[sent as usize % SOURCES].send_to(&stray.bytes, target).is_ok());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    sent
}

/// A flow that never ends, and a counter of the bytes that have arrived.
async fn flow() -> (SocketAddr, Arc<AtomicU64>) {
    let server = UtpSocket::bind(LOOPBACK).await.unwrap();
    let client = UtpSocket::bind(LOOPBACK).await.unwrap();
    let (addr, listener) = (server.local_addr(), server.listen());
    let (sending, receiving) = tokio::join!(client.connect(addr), listener.accept());
    let (mut sending, (mut receiving, _)) = (sending.unwrap(), receiving.unwrap());
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    tokio::spawn(async move {
        let data = vec![0x5a; 256 << 10];
        while sending.write_all(&data).await.is_ok() {}
    });
    tokio::spawn(async move {
        let _server = server;
        let mut data = vec![0; 256 << 10];
        while let Ok(count @ 1..) = receiving.read(&mut data).await {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    });
    (addr, arrived)
}

/// Bits per second that arrive during a phase, and strays per second that were sent.
fn phase(
    arrived: &AtomicU64,
    sockets: &[UdpSocket],
    strays: &[kinds::Stray],
    to: Option<SocketAddr>,
) -> [f64; 2] {
    let (began, before) = (std::time::Instant::now(), arrived.load(Ordering::Relaxed));
    let sent = match to {
        Some(target) => send_strays(sockets, strays, target),
        None => {
            std::thread::sleep(PHASE);
            0
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let bytes = arrived.load(Ordering::Relaxed) - before;
    [bytes as f64 * 8.0 / seconds, sent as f64 / seconds]
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn beside_a_flow(_: &mut Criterion) {
    if std::env::args().any(|argument| argument == "--test") {
        return; // not to be measured, only to be run
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (receiver, arrived) = runtime.block_on(flow());
    let sockets: Vec<UdpSocket> = (0..SOURCES).map(|_| UdpSocket::bind(LOOPBACK).unwrap()).collect();
    let unread = UdpSocket::bind(LOOPBACK).unwrap();
    let strays = kinds::strays(STRAYS, ConnId::new(1));
    phase(&arrived, &sockets, &strays, None); // slow start

    let targets = [None, Some(unread.local_addr().unwrap()), Some(receiver)];
    let rounds: Vec<[[f64; 2]; 3]> =
        (0..ROUNDS).map(|_| targets.map(|to| phase(&arrived, &sockets, &strays, to))).collect();
    let [quiet, nobody, hit] =
        [0, 1, 2].map(|which| [0, 1].map(|what| median(rounds.iter().map(|round| round[which][what]))));
    for (name, [rate, sent]) in [("none", quiet), ("to nobody", nobody), ("to the receiver", hit)] {
        println!("strays {name:<15} {:>6.1} k/s, goodput {:>6.2} Gbit/s", sent / 1e3, rate / 1e9);
    }
    let kept = |without: usize| 100.0 * median(rounds.iter().map(|round| round[2][0] / round[without][0]));
    println!("kept of the goodput: {:.1} % beside strays to nobody, {:.1} % beside none", kept(1), kept(0));
    runtime.shutdown_background();
}

criterion_group!(benches, one, received, beside_a_flow);
criterion_main!(benches);
