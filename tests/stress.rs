//! Real threads against each other over the public API, hunting for wake-ups that get lost.
//!
//! Small buffers, so that everybody waits all the time; futures begun, dropped and begun anew, halves that move between
//! tasks, so that wakers go stale; streams dropped, aborted and sockets closed while others wait. The network between
//! them loses nothing and the retransmission timer is slow: whoever is not woken hangs, and who is rescued by that timer
//! is counted.
//!
//! Takes about three seconds; `EBBTIDE_STRESS=600 cargo test --release --test stress` goes on for ten minutes.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use ebbtide::{Config, MemoryHub, OwnedReadHalf, OwnedWriteHalf, UtpListener, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Seconds in an ordinary run.
const SECONDS: u64 = 3;

/// Far longer than any round takes, also where a sanitizer makes everything slow.
const TOO_LONG: Duration = Duration::from_secs(120);

/// Pairs of sockets at work at the same time.
const PAIRS: u8 = 4;

/// A sequence of choices (SplitMix64), one per task.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % end as u64) as usize
    }
}

fn config() -> Config {
    Config::default()
        .send_buffer(4096)
        .receive_buffer(4096)
        .receive_buffer_max(4096)
        .keepalive(None)
        .rto_min(Duration::from_secs(10))
        .linger(Duration::from_millis(200))
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 1))
}

fn socket(hub: &MemoryHub, number: u8) -> UtpSocket {
    let transport = hub.attach_with(address(number), 1 << 16, 8).unwrap();
    let (socket, driver) = UtpSocket::over(transport, config()).unwrap();
    tokio::spawn(driver.run());
    socket
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + (i >> 8) * 17 + salt) as u8).collect()
}

/// Begins to wait, a few times, and gives up: leaves a stale waker behind each time, unless there was no need to.
async fn give_up<F: Future>(begin: impl Fn() -> F, times: usize) {
    for _ in 0..times {
        let mut future = pin!(begin());
        poll_fn(|cx| {
            let _begun = future.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// Runs in a task of its own, so with another waker than what went before.
async fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.unwrap()
}

async fn write_all(mut half: OwnedWriteHalf, data: Arc<Vec<u8>>, mut choices: Choices) -> OwnedWriteHalf {
    let mut written = 0;
    while written < data.len() {
        let piece = written..data.len().min(written + 1 + choices.below(3000));
        match choices.below(5) {
            0 => give_up(|| half.writable(), 2).await,
            1 => match half.try_write(&data[piece]) {
                Ok(len) => written += len,
                Err(_) => half.writable().await.unwrap(),
            },
            2 => {
                let data = Arc::clone(&data);
                let (back, len) = elsewhere(async move {
                    let len = half.write(&data[piece]).await.unwrap();
                    (half, len)
                })
                .await;
                (half, written) = (back, written + len);
            }
            3 => half.flush().await.unwrap(),
            _ => written += half.write(&data[piece]).await.unwrap(),
        }
    }
    half.shutdown().await.unwrap();
    half
}

async fn read_all(mut half: OwnedReadHalf, mut choices: Choices) -> (OwnedReadHalf, Vec<u8>) {
    let mut received = Vec::new();
    loop {
        let mut out = vec![0; 1 + choices.below(3000)];
        let read = match choices.below(5) {
            0 => {
                give_up(|| half.readable(), 2).await;
                continue;
            }
            1 => match half.try_read(&mut out) {
                Ok(len) => len,
                Err(_) => {
                    half.readable().await.unwrap();
                    continue;
                }
            },
            2 => {
                let (back, bytes) = elsewhere(async move {
                    let len = half.read(&mut out).await.unwrap();
                    out.truncate(len);
                    (half, out)
                })
                .await;
                (half, out) = (back, bytes);
                out.len()
            }
            3 => half.peek(&mut out).await.map(|_| usize::MAX).unwrap(),
            _ => half.read(&mut out).await.unwrap(),
        };
        match read {
            usize::MAX => {}
            0 => return (half, received),
            len => received.extend(&out[..len]),
        }
    }
}

async fn streams(client: &UtpSocket, listener: &UtpListener) -> (UtpStream, UtpStream) {
    let (calling, called) = tokio::join!(client.connect(listener.local_addr()), listener.accept());
    (calling.unwrap(), called.unwrap().0)
}

/// Both directions at once, each half in tasks of its own. Nothing of it needs a retransmission.
async fn exchange(client: &UtpSocket, listener: &UtpListener, seed: u64) {
    let (calling, called) = streams(client, listener).await;
    let mut tasks = JoinSet::new();
    for (stream, sends, expects) in [(calling, 1, 2), (called, 2, 1)] {
        tasks.spawn(async move {
            let (reading, writing) = stream.into_split();
            let choices = |salt| Choices(seed ^ (salt + 10 * sends as u64));
            let data = Arc::new(pattern(20_000, sends));
            let (reader, writer) = tokio::join!(
                elsewhere(read_all(reading, choices(1))),
                elsewhere(write_all(writing, data, choices(2)))
            );
            assert!(reader.1 == pattern(20_000, expects));
            let stream = reader.0.reunite(writer).unwrap();
            stream.closed().await.unwrap();
            // A probe of the tail is sent after milliseconds, on a busy machine too soon. This one takes ten seconds.
            assert_eq!(stream.stats().timeouts, 0, "a timer had to help out: {:?}", stream.stats());
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// One side goes away in the middle, in one of several ways; the other is told.
async fn leave(client: &UtpSocket, listener: &UtpListener, seed: u64) {
    let mut choices = Choices(seed);
    let (mut calling, mut called) = streams(client, listener).await;
    let (way, amount) = (choices.below(4), choices.below(9000));
    let stays = tokio::spawn(async move {
        let (mut reading, mut writing) = called.split();
        let write = async { while writing.write_all(&[7; 1500]).await.is_ok() {} };
        let read = async { while matches!(reading.read(&mut [0; 900]).await, Ok(1..)) {} };
        tokio::join!(write, read);
        called.close_reason()
    });
    let mut read = vec![0; amount];
    calling.read_exact(&mut read).await.unwrap();
    assert!(read.iter().all(|&byte| byte == 7));
    match way {
        0 => drop(calling),
        1 => calling.abort(),
        2 => {
            let (reading, writing) = calling.into_split();
            let reading = tokio::spawn(async move { drop(reading) });
            drop(writing);
            reading.await.unwrap();
        }
        _ => {
            // Somebody waits for more than there will be while somebody else ends it all.
            let calling = Arc::new(calling);
            let waits = Arc::clone(&calling);
            let waits = tokio::spawn(async move { waits.closed().await });
            tokio::task::yield_now().await;
            calling.abort();
            waits.await.unwrap().unwrap_err();
        }
    }
    stays.await.unwrap();
}

/// A socket is closed while everything that can wait on it waits.
async fn close(hub: &MemoryHub, client: &UtpSocket, number: u8, seed: u64) {
    let mut choices = Choices(seed);
    let server = socket(hub, number);
    let (listener, foreign, peer) = (server.listen(), server.foreign(), server.local_addr());
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let (mut calling, mut called) = streams(client, &listener).await;
        waiting.spawn(async move { while calling.write(&[1; 2000]).await.is_ok() {} });
        waiting.spawn(async move { while matches!(called.read(&mut [0; 100]).await, Ok(1..)) {} });
    }
    let calls = client.connect(peer);
    waiting.spawn(async move { drop(calls.await) });
    waiting.spawn(async move { while listener.accept().await.is_ok() {} });
    waiting.spawn(async move { while foreign.recv().await.is_ok() {} });
    for _ in 0..choices.below(20) {
        tokio::task::yield_now().await;
    }
    let closers = [server.clone(), server];
    for closer in closers {
        waiting.spawn(closer.close());
    }
    while let Some(done) = waiting.join_next().await {
        done.unwrap();
    }
}

static ROUNDS: AtomicU64 = AtomicU64::new(0);

async fn pair(hub: MemoryHub, number: u8, until: Instant) {
    let (client, server) = (socket(&hub, 4 * number), socket(&hub, 4 * number + 1));
    let listener = server.listen();
    let mut seed = u64::from(number) << 32;
    while Instant::now() < until {
        seed += 1;
        let round = async {
            match seed % 4 {
                0 | 1 => exchange(&client, &listener, seed).await,
                2 => leave(&client, &listener, seed).await,
                _ => close(&hub, &client, 4 * number + 2, seed).await,
            }
        };
        timeout(TOO_LONG, round).await.unwrap_or_else(|_| panic!("round {seed:#x} hangs"));
        ROUNDS.fetch_add(1, Relaxed);
    }
    let closed = async { tokio::join!(client.close(), server.close()) };
    timeout(TOO_LONG, closed).await.expect("closing comes to an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_threads() {
    let seconds = env::var("EBBTIDE_STRESS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let hub = MemoryHub::new();
    let mut pairs = JoinSet::new();
    for number in 1..=PAIRS {
        pairs.spawn(pair(hub.clone(), number, until));
    }
    while let Some(done) = pairs.join_next().await {
        done.unwrap();
    }
    eprintln!("{} rounds in {seconds} s", ROUNDS.load(Relaxed));
}
