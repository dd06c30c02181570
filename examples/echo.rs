//! An echo server, and a client that checks what comes back.
//!
//!     cargo run --release --example echo -- server 127.0.0.1:4000
//!     listening on 127.0.0.1:4000
//!
//!     cargo run --release --example echo -- client 127.0.0.1:4000 1000000
//!     e3adc64c9098e4ded58989fe1b10743b1fdf5a1b2d2385c7852e29e527fe15b0
//!
//! The client sends so many bytes of a pattern, ends its direction, and prints the SHA-256 of what it read.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ebbtide::{Config, OwnedReadHalf, OwnedWriteHalf, UtpSocket, UtpStream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const USAGE: &str = "usage: echo server ADDR | echo client ADDR BYTES";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", addr] => server(addr.parse()?).await?,
        ["client", addr, bytes] => println!("{}", client(addr.parse()?, bytes.parse()?).await?),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

async fn server(addr: SocketAddr) -> io::Result<()> {
    let config = Config::default().max_connections(65_536).half_open(4096).accept_queue(4096);
    let socket = UtpSocket::bind_with(addr, config).await?;
    let listener = socket.listen();
    println!("listening on {}", socket.local_addr());
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Everything back, and at the end of the peer's direction the end of ours.
async fn echo(mut stream: UtpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
    stream.shutdown().await?;
    stream.closed().await
}

async fn client(addr: SocketAddr, bytes: u64) -> io::Result<String> {
    let any: SocketAddr = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UtpSocket::bind(any).await?;
    let (reading, writing) = socket.connect(addr).await?.into_split();
    // Both at once: if nobody reads what comes back, the server stops reading what is sent.
    let ((), digest) = tokio::try_join!(send(writing, bytes), receive(reading))?;
    socket.close().await;
    Ok(digest)
}

async fn send(mut stream: OwnedWriteHalf, bytes: u64) -> io::Result<()> {
    let mut block = Vec::with_capacity(64 << 10);
    for start in (0..bytes).step_by(64 << 10) {
        block.clear();
        block.extend((start..bytes.min(start + (64 << 10))).map(pattern));
        stream.write_all(&block).await?;
    }
    stream.shutdown().await?;
    stream.closed().await
}

async fn receive(mut stream: OwnedReadHalf) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            len => hasher.update(&buffer[..len]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Byte number `i` of what the client sends: repeats late enough to show blocks in the wrong place.
fn pattern(i: u64) -> u8 {
    let sum =
        i.wrapping_mul(31).wrapping_add((i >> 8).wrapping_mul(17)).wrapping_add((i >> 16).wrapping_mul(7));
    sum.to_le_bytes()[0]
}
