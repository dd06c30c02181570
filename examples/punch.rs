//! Two peers behind NATs meet with nothing between them but two words, told over the telephone or in a chat.
//!
//!     cargo run --example punch -- 192.0.2.1:3478         # on both sides, with a STUN server that both can reach
//!
//! Each side prints its ticket and waits for the other's, a line on standard input. Then each types: what is typed here
//! appears there. Without a server it works within one network.

use std::error::Error;
use std::net::SocketAddr;

use ebbtide::{NatReport, PunchPlan, UtpSocket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy, split, stdin, stdout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers: Vec<SocketAddr> =
        std::env::args().skip(1).map(|server| server.parse()).collect::<Result<_, _>>()?;
    let socket = match UtpSocket::bind("[::]:0".parse()?).await {
        Ok(socket) => socket,
        Err(_) => UtpSocket::bind("0.0.0.0:0".parse()?).await?,
    };
    let report = match servers[..] {
        [] => NatReport::default(),
        _ => socket.nat_report(&servers).await?,
    };
    eprintln!("here: {report}");
    let ours = socket.ticket(&report, &socket.host_candidates())?;
    println!("{ours}");

    eprintln!("tell the peer this word, and enter the peer's:");
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let theirs = line.parse()?;
    let plan = PunchPlan::from_tickets(&ours, &theirs).ok_or("that is our own ticket")?;

    let punched = socket.punch(plan).await?;
    eprintln!("{}", punched.report);
    let (mut from_peer, mut to_peer) = split(punched.stream);
    let receive = async {
        copy(&mut from_peer, &mut stdout()).await?;
        stdout().flush().await
    };
    let send = async {
        copy(&mut input, &mut to_peer).await?;
        to_peer.shutdown().await
    };
    tokio::try_join!(receive, send)?;
    socket.close().await;
    Ok(())
}
