//! Offers a torrent over uTP, for instance to `torrent_leech` or any libtorrent client:
//!
//! ```text
//! cargo run --release --example torrent_seed -- debian.iso.torrent debian.iso listen 127.0.0.1:6881
//! listening on 127.0.0.1:6881
//! 127.0.0.1:50413 took 268435456 bytes
//! ```
//!
//! `listen` serves any number of peers until it is interrupted; `connect ADDRESS` serves that one and ends. The
//! BitTorrent part is in `examples/torrent/`.

mod torrent;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ebbtide::{UtpSocket, UtpStream};
use tokio::fs::File;

use torrent::args::{self, Args, Side};
use torrent::metainfo::Metainfo;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("torrent_seed: {error}");
            return ExitCode::from(2);
        }
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torrent_seed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<()> {
    let torrent = Arc::new(args.torrent);
    match args.side {
        Side::Connect(peer) => {
            let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let any: SocketAddr = any.parse().map_err(io::Error::other)?;
            let socket = UtpSocket::bind(any).await?;
            let result = serve(socket.connect(peer).await?, torrent, args.content).await;
            socket.close().await;
            result
        }
        Side::Listen(addr) => {
            let socket = UtpSocket::bind(addr).await?;
            println!("listening on {}", socket.local_addr());
            loop {
                let (stream, peer) = socket.accept().await?;
                let (torrent, content) = (Arc::clone(&torrent), args.content.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, torrent, content).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
        }
    }
}

async fn serve(mut stream: UtpStream, torrent: Arc<Metainfo>, content: PathBuf) -> io::Result<()> {
    let mut content = File::open(&content).await?;
    let given = torrent::seed::seed(&mut stream, &torrent, &mut content).await?;
    println!("{} took {given} bytes", stream.peer_addr());
    Ok(())
}
