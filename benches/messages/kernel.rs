//! Echoes through what the kernel has, for comparison: TCP, and bare UDP, which is the least that anything over it can
//! do. The same threads and runtimes, the same length, no waiting for company.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::measure::{ECHO_WARM, ECHOES, LEN, message, number_of};

/// A length of four bytes before each message.
const FRAMED: usize = 4 + LEN;

fn run<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(runtime.spawn(task)).expect("a task that ends")
}

async fn read(stream: &mut TcpStream) -> Option<[u8; LEN]> {
    let mut bytes = [0; FRAMED];
    stream.read_exact(&mut bytes).await.ok()?;
    assert_eq!(bytes[..4], (LEN as u32).to_be_bytes());
    bytes[4..].first_chunk().copied()
}

async fn write(stream: &mut TcpStream, message: &[u8; LEN]) {
    let mut bytes = [0; FRAMED];
    bytes[..4].copy_from_slice(&(LEN as u32).to_be_bytes());
    bytes[4..].copy_from_slice(message);
    stream.write_all(&bytes).await.expect("a connection that holds");
}

async fn serve(tell: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    tell.send(listener.local_addr().expect("an address")).expect("the other thread waits");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.set_nodelay(true).expect("an option that TCP has");
    while let Some(message) = read(&mut stream).await {
        write(&mut stream, &message).await;
    }
}

async fn serve_udp(tell: mpsc::Sender<SocketAddr>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    tell.send(socket.local_addr().expect("an address")).expect("the other thread waits");
    let mut bytes = [0; LEN];
    for _ in 0..ECHO_WARM + ECHOES {
        let (_, from) = socket.recv_from(&mut bytes).await.expect("a socket that works");
        socket.send_to(&bytes, from).await.expect("a socket that works");
    }
}

/// Round trips of datagrams, one at a time. None is lost on loopback.
pub fn udp_echo() -> Vec<Duration> {
    let (tell, hear) = mpsc::channel();
    let server = thread::spawn(move || run(serve_udp(tell)));
    let to = hear.recv().expect("an address");
    let samples = run(async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut samples = Vec::with_capacity(ECHOES);
        let mut answer = [0; LEN];
        for number in 0..ECHO_WARM + ECHOES {
            let began = Instant::now();
            socket.send_to(&message(number as u64), to).await.expect("a socket that works");
            socket.recv_from(&mut answer).await.expect("a socket that works");
            assert_eq!(number_of(&answer), number as u64);
            if number >= ECHO_WARM {
                samples.push(began.elapsed());
            }
        }
        samples
    });
    server.join().expect("the server");
    samples
}

/// Round trips of messages through TCP, one at a time.
pub fn tcp_echo() -> Vec<Duration> {
    let (tell, hear) = mpsc::channel();
    let server = thread::spawn(move || run(serve(tell)));
    let to = hear.recv().expect("an address");
    let samples = run(async move {
        let mut stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("an option that TCP has");
        let mut samples = Vec::with_capacity(ECHOES);
        for number in 0..ECHO_WARM + ECHOES {
            let began = Instant::now();
            write(&mut stream, &message(number as u64)).await;
            let answer = read(&mut stream).await.expect("an answer");
            assert_eq!(number_of(&answer), number as u64);
            if number >= ECHO_WARM {
                samples.push(began.elapsed());
            }
        }
        samples
    });
    server.join().expect("the server");
    samples
}
