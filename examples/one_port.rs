//! Two peers that both listen and call on one port each, in the dialect of utp-punch for Node: they open the way to each
//! other, call each other at the same time, and say hello four times.
//!
//!     cargo run --release --example one_port
//!     server: the way is open
//!     client: the way is open
//!     client: called, and heard "hello from the server"
//!     ...
//!
//! Without the line with the dialect, and without the punch, the same works in BEP 29: one port is enough for both roles
//! there too.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use ebbtide::{Config, Dialect, UtpListener, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::default().dialect(Dialect::UtpPunch);
    let server = UtpSocket::bind_with("127.0.0.1:0".parse()?, config.clone()).await?;
    let client = UtpSocket::bind_with("127.0.0.1:0".parse()?, config).await?;
    // In the open, a tracker would tell each of them where the other one is.
    let (to_server, to_client) = (server.local_addr(), client.local_addr());
    tokio::try_join!(live("server", server, to_client), live("client", client, to_server))?;
    Ok(())
}

/// What both do.
async fn live(name: &str, socket: UtpSocket, other: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = socket.listen();
    socket.punch_hole(other, 10).await?;
    println!("{name}: the way is open");
    tokio::try_join!(call(name, &socket, other), answer(name, &listener))?;
    socket.close().await;
    Ok(())
}

async fn call(name: &str, socket: &UtpSocket, other: SocketAddr) -> io::Result<()> {
    let mut stream = socket.connect(other).await?;
    println!("{name}: called, and heard {:?}", say_hello(name, &mut stream).await?);
    Ok(())
}

async fn answer(name: &str, listener: &UtpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    println!("{name}: was called, and heard {:?}", say_hello(name, &mut stream).await?);
    Ok(())
}

/// Says hello, and returns what the other one says.
async fn say_hello(name: &str, stream: &mut UtpStream) -> io::Result<String> {
    stream.write_all(format!("hello from the {name}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    stream.closed().await?;
    Ok(heard)
}
