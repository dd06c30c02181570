//! Downloads a torrent from one peer over uTP, for instance from `torrent_seed` or any libtorrent client:
//!
//! ```text
//! cargo run --release --example torrent_leech -- debian.iso.torrent debian.iso connect 127.0.0.1:6881
//! 268435456 bytes in 1.4 s, every piece verified; rtt 1.2 ms, 0 packets sent again
//! ```
//!
//! `listen ADDRESS` instead waits for the peer to call. The BitTorrent part is in `examples/torrent/`.

mod torrent;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ebbtide::UtpSocket;
use tokio::fs::File;

use torrent::args::{self, Args, Side};

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("torrent_leech: {error}");
            return ExitCode::from(2);
        }
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torrent_leech: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> std::io::Result<()> {
    let (socket, mut stream) = match args.side {
        Side::Connect(peer) => {
            let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let any: SocketAddr = any.parse().map_err(std::io::Error::other)?;
            let socket = UtpSocket::bind(any).await?;
            let stream = socket.connect(peer).await?;
            (socket, stream)
        }
        Side::Listen(addr) => {
            let socket = UtpSocket::bind(addr).await?;
            eprintln!("listening on {}", socket.local_addr());
            let (stream, _) = socket.accept().await?;
            (socket, stream)
        }
    };
    eprintln!("connected to {}", stream.peer_addr());
    let began = Instant::now();
    let mut content = File::create(&args.content).await?;
    let bytes = torrent::leech::leech(&mut stream, &args.torrent, &mut content).await?;

    let stats = stream.stats();
    println!(
        "{bytes} bytes in {:.1} s, every piece verified; rtt {:.1} ms, {} packets sent again",
        began.elapsed().as_secs_f64(),
        stats.rtt.unwrap_or(Duration::ZERO).as_secs_f64() * 1e3,
        stats.packets_retransmitted,
    );
    drop(stream);
    socket.close().await;
    Ok(())
}
