//! Copies a file from one process to another.
//!
//!     cargo run --release --example copy -- receive 127.0.0.1:4000 copy.bin
//!     listening on 127.0.0.1:4000
//!     received 1048576 bytes
//!
//!     cargo run --release --example copy -- send 127.0.0.1:4000 original.bin
//!     sent 1048576 bytes
//!
//! Or, with `--demo` or nothing at all, both in one process, with a file made for the purpose:
//!
//!     cargo run --release --example copy
//!     sent 1048576 bytes
//!     received 1048576 bytes
//!     the copy equals the original

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use ebbtide::{Config, UtpSocket};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy_buf};

const USAGE: &str = "usage: copy receive ADDR FILE | copy send ADDR FILE | copy [--demo]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", addr, file] => {
            let socket = UtpSocket::bind(addr.parse()?).await?;
            println!("listening on {}", socket.local_addr());
            receive(socket, file.as_ref()).await?;
        }
        ["send", addr, file] => send(addr.parse()?, file.as_ref()).await?,
        ["--demo"] | [] => demo().await?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

async fn demo() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (original, duplicate) = (folder.path().join("original"), folder.path().join("copy"));
    let content: Vec<u8> =
        (0..1_u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    tokio::fs::write(&original, &content).await?;

    let socket = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let addr = socket.local_addr();
    tokio::try_join!(receive(socket, &duplicate), send(addr, &original))?;
    if tokio::fs::read(&duplicate).await? != content {
        return Err("the copy differs".into());
    }
    println!("the copy equals the original");
    Ok(())
}

async fn send(addr: SocketAddr, file: &Path) -> io::Result<()> {
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let any = any.parse().map_err(io::Error::other)?;
    let socket = UtpSocket::bind_with(any, Config::bulk()).await?;
    let mut stream = socket.connect(addr).await?;
    let mut file = BufReader::with_capacity(256 << 10, File::open(file).await?);
    let bytes = copy_buf(&mut file, &mut stream).await?;
    // The end of our direction is the end of the file; `closed` waits until all of it has been acknowledged.
    stream.shutdown().await?;
    stream.closed().await?;
    println!("sent {bytes} bytes");
    Ok(())
}

async fn receive(socket: UtpSocket, file: &Path) -> io::Result<()> {
    let (mut stream, _) = socket.accept().await?;
    let mut file = File::create(file).await?;
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            len => {
                file.write_all(&buffer[..len]).await?;
                bytes += len;
            }
        }
    }
    file.flush().await?;
    println!("received {bytes} bytes");
    // Nothing to say in our direction; end it too, and let the socket deliver that.
    drop(stream);
    socket.close().await;
    Ok(())
}
