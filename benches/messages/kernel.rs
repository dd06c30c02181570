//! Echoes through kernel TCP, for comparison: the same threads and runtimes, the same length, no waiting for company.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::measure::{ECHO_WARM, ECHOES, LEN, message, number_of};

/// A length of four bytes before each message.
const FRAMED: usize = 4 + LEN;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
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

/// Round trips of messages, one at a time.
pub fn echo() -> Vec<Duration> {
    let (tell, hear) = mpsc::channel();
    let server = thread::spawn(move || runtime().block_on(serve(tell)));
    let to = hear.recv().expect("an address");
    let samples = runtime().block_on(async {
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
