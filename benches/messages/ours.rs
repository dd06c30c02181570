//! Messages of ebbtide: one way as fast as they go, and echoes. Each end has a thread and a runtime of its own, as two
//! programs would.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ebbtide::UtpSocket;
use ebbtide::message::{MessageConfig, MessageConnection};

use crate::measure::{COUNT, ECHO_WARM, ECHOES, LEN, OneWay, WARM, Watch, message, number_of};

/// Channels of the default configuration.
pub const UNRELIABLE: u8 = 0;
pub const UNORDERED: u8 = 2;
pub const ORDERED: u8 = 3;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Runs a task as applications have them, beside the one that drives the socket.
fn run<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(runtime.spawn(task)).expect("a task that ends")
}

async fn connect(to: SocketAddr) -> (UtpSocket, MessageConnection) {
    let socket = UtpSocket::bind(loopback()).await.expect("a socket");
    let conn = socket.connect_messages(to, &MessageConfig::default()).await.expect("a connection");
    (socket, conn)
}

async fn accept(tell: mpsc::Sender<SocketAddr>) -> (UtpSocket, MessageConnection) {
    let socket = UtpSocket::bind(loopback()).await.expect("a socket");
    let listener = socket.listen();
    tell.send(socket.local_addr()).expect("the other thread waits");
    let conn = listener.accept_messages(&MessageConfig::default()).await.expect("a connection");
    (socket, conn)
}

/// Messages on a channel, from one thread to another.
pub fn one_way(channel: u8) -> OneWay {
    let (tell, hear) = mpsc::channel();
    let receiver = thread::spawn(move || run(receive(tell, channel)));
    let to = hear.recv().expect("an address");
    let sender = thread::spawn(move || run(send(to, channel)));
    let (sender_cpu, overhead) = sender.join().expect("the sender");
    OneWay { sender_cpu, overhead: Some(overhead), ..receiver.join().expect("the receiver") }
}

async fn send(to: SocketAddr, channel: u8) -> (Duration, f64) {
    let (socket, conn) = connect(to).await;
    let mut watch = Watch::start();
    for number in 0..WARM + COUNT {
        if number == WARM {
            watch = Watch::start();
        }
        conn.send(channel, Bytes::copy_from_slice(&message(number))).await.expect("a connection that holds");
    }
    conn.close().await.expect("all of it arrives");
    let (_, cpu) = watch.stop();
    let stats = socket.stats();
    (cpu, stats.bytes_sent as f64 / (WARM + COUNT) as f64 - LEN as f64)
}

async fn receive(tell: mpsc::Sender<SocketAddr>, channel: u8) -> OneWay {
    let (_socket, conn) = accept(tell).await;
    let (mut watch, mut arrived, mut next) = (None, 0, 0);
    let mut end = (Duration::ZERO, Duration::ZERO);
    while let Some(message) = conn.recv().await.expect("a connection that holds") {
        let number = number_of(&message.bytes);
        assert!(channel != ORDERED || number == next, "in order");
        next += 1;
        if number >= WARM {
            let began = *watch.get_or_insert_with(Watch::start);
            arrived += 1;
            if arrived % 1000 == 0 {
                end = began.stop();
            }
        }
    }
    assert!(channel == UNRELIABLE || arrived == COUNT, "each of them");
    OneWay { arrived, time: end.0, receiver_cpu: end.1, ..OneWay::default() }
}

/// Round trips of small reliable ordered messages, one at a time.
pub fn echo() -> Vec<Duration> {
    let (tell, hear) = mpsc::channel();
    let server = thread::spawn(move || {
        run(async move {
            let (_socket, conn) = accept(tell).await;
            while let Some(message) = conn.recv().await.expect("a connection that holds") {
                conn.send(ORDERED, message.bytes).await.expect("a connection that holds");
            }
        });
    });
    let to = hear.recv().expect("an address");
    let samples = run(async move {
        let (_socket, conn) = connect(to).await;
        let mut samples = Vec::with_capacity(ECHOES);
        for number in 0..ECHO_WARM + ECHOES {
            let began = Instant::now();
            let bytes = Bytes::copy_from_slice(&message(number as u64));
            conn.send(ORDERED, bytes).await.expect("a connection that holds");
            let answer = conn.recv().await.expect("a connection that holds").expect("an answer");
            assert_eq!(number_of(&answer.bytes), number as u64);
            if number >= ECHO_WARM {
                samples.push(began.elapsed());
            }
        }
        conn.close().await.expect("all of it arrives");
        samples
    });
    server.join().expect("the server");
    samples
}
