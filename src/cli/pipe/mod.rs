//! `ebbtide pipe`: stdin to a stream, the stream to stdout, both at once.
//!
//! Each direction ends by itself: the end of stdin ends our direction of the stream, and the peer may go on. Stdout
//! carries data and nothing else. How stdin and stdout are read and written is for `stdio`.

pub(crate) mod stdio;

use std::io;

use clap::Args;
use ebbtide::{Config, OwnedReadHalf, OwnedWriteHalf, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::failure::{self, Failure};
use crate::quantity::parse_address;
use crate::signals::asked_to_stop;
use crate::transport::{any_port, close, resolve};
use stdio::{Stdin, Stdout};

/// Connect stdin and stdout to a peer, as netcat does
///
/// What stdin brings goes to the peer, what the peer sends goes to stdout. The end of stdin ends one direction only;
/// the command ends when both directions have ended and the peer has acknowledged everything.
#[derive(Args)]
pub(crate) struct Options {
    /// The peer
    #[arg(value_name = "HOST:PORT", value_parser = parse_address, required_unless_present = "listen")]
    peer: Option<String>,
    /// Wait for one peer here instead; port 0 takes a free one, which is printed on stderr
    #[arg(long, short, value_name = "HOST:PORT", value_parser = parse_address, conflicts_with = "peer")]
    listen: Option<String>,
}

pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let (socket, stream) = match (options.peer, options.listen) {
        (Some(peer), _) => call(&peer).await?,
        (None, Some(listen)) => answer(&listen).await?,
        (None, None) => return Err(Failure::new("neither a peer nor --listen")),
    };
    let outcome = carry(stream).await;
    close(socket).await;
    outcome
}

async fn call(peer: &str) -> Result<(UtpSocket, UtpStream), Failure> {
    let addr = resolve(peer).await?;
    let failed = |error: io::Error| Failure::io(format_args!("connect to {peer}"), &error);
    let socket = UtpSocket::bind_with(any_port(addr), Config::bulk()).await.map_err(failed)?;
    let stream = socket.connect(addr).await.map_err(failed)?;
    Ok((socket, stream))
}

async fn answer(listen: &str) -> Result<(UtpSocket, UtpStream), Failure> {
    let failed = |error: io::Error| Failure::io(format_args!("listen on {listen}"), &error);
    let addr = resolve(listen).await?;
    let socket = UtpSocket::bind_with(addr, Config::bulk()).await.map_err(failed)?;
    // Dropped after the first connection, so that others are refused.
    let listener = socket.listen();
    failure::to_stderr(format_args!("listening on {}", socket.local_addr()));
    let (stream, _) = listener.accept().await.map_err(failed)?;
    Ok((socket, stream))
}

async fn carry(stream: UtpStream) -> Result<(), Failure> {
    let (from_peer, to_peer) = stream.into_split();
    let up = tokio::spawn(upload(to_peer));
    let down = tokio::spawn(download(from_peer));
    let stop = [up.abort_handle(), down.abort_handle()];
    let outcome = tokio::select! {
        both = async { tokio::try_join!(ended(up), ended(down)) } => both.map(|_| ()),
        told = asked_to_stop() => Err(match told {
            Ok(()) => Failure::new("interrupted"),
            Err(error) => Failure::io("signals", &error),
        }),
    };
    // Whatever direction is left resets the connection as it goes.
    stop.iter().for_each(tokio::task::AbortHandle::abort);
    outcome
}

async fn ended(direction: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    direction.await.map_err(Failure::new)?
}

/// Stdin to the peer, then the end of our direction, until the peer has acknowledged all of it.
async fn upload(peer: OwnedWriteHalf) -> Result<(), Failure> {
    let mut peer = Guard { half: peer, is_whole: false };
    let unreadable = |error: io::Error| Failure::io("stdin", &error);
    let mut stdin = Stdin::start().map_err(unreadable)?;
    while let Some(block) = stdin.next().await.map_err(unreadable)? {
        peer.half.write_all(block.bytes()).await.map_err(lost)?;
        stdin.reuse(block);
        if stdin.is_waiting() {
            peer.half.flush().await.map_err(lost)?;
        }
    }
    peer.half.shutdown().await.map_err(lost)?;
    peer.half.closed().await.map_err(lost)?;
    peer.is_whole = true;
    Ok(())
}

/// The peer to stdout, until it ends its direction.
async fn download(peer: OwnedReadHalf) -> Result<(), Failure> {
    let mut peer = Guard { half: peer, is_whole: false };
    let unwritable = |error: io::Error| Failure::io("stdout", &error);
    let mut stdout = Stdout::start().map_err(unwritable)?;
    loop {
        let mut block = stdout.block();
        let len = peer.half.read(block.room()).await.map_err(lost)?;
        if len == 0 {
            break;
        }
        block.set_len(len);
        stdout.write(block).await.map_err(unwritable)?;
    }
    stdout.finish().await.map_err(unwritable)?;
    peer.is_whole = true;
    Ok(())
}

fn lost(error: io::Error) -> Failure {
    Failure::io("connection", &error)
}

/// A half that resets the connection when it goes before its direction is whole: the peer must not take what it has
/// for everything.
struct Guard<H: Half> {
    half: H,
    is_whole: bool,
}

trait Half {
    fn stream(&self) -> &UtpStream;
}

impl Half for OwnedReadHalf {
    fn stream(&self) -> &UtpStream {
        self.stream()
    }
}

impl Half for OwnedWriteHalf {
    fn stream(&self) -> &UtpStream {
        self.stream()
    }
}

impl<H: Half> Drop for Guard<H> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.half.stream().abort();
        }
    }
}
