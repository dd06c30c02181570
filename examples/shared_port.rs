//! One UDP port for uTP and another protocol, as a BitTorrent client shares its port with the DHT.
//!
//!     cargo run --release --example shared_port
//!     dht: d1:q4:pinge answered with d1:r4:ponge
//!     utp: 1000000 bytes over the same port
//!     dht: d1:q4:pinge answered with d1:r4:ponge

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use ebbtide::{Foreign, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let addr = server.local_addr();
    tokio::spawn(answer_pings(server.foreign()));
    let listener = server.listen();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(&vec![7; 1_000_000]).await?;
                stream.shutdown().await?;
                stream.closed().await
            });
        }
    });

    ping(addr).await?;
    let client = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let mut stream = client.connect(addr).await?;
    let mut content = Vec::new();
    stream.read_to_end(&mut content).await?;
    println!("utp: {} bytes over the same port", content.len());
    ping(addr).await?;
    Ok(())
}

/// The other protocol's server: it sees every datagram that is not uTP, and nothing else.
async fn answer_pings(foreign: Foreign) -> io::Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (len, peer) = foreign.recv_from(&mut buffer).await?;
        if buffer[..len].starts_with(b"d1:q4:ping") {
            foreign.send_to(b"d1:r4:ponge", peer).await?;
        }
    }
}

/// The other protocol's client: an ordinary UDP socket.
async fn ping(addr: SocketAddr) -> io::Result<()> {
    const PING: &str = "d1:q4:pinge";
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(addr).await?;
    socket.send(PING.as_bytes()).await?;
    let mut answer = [0; 1500];
    let len = socket.recv(&mut answer).await?;
    println!("dht: {PING} answered with {}", String::from_utf8_lossy(&answer[..len]));
    Ok(())
}
