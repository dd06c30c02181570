//! An echo server and its client in a loop that ticks: no async, no threads.
//!
//!     cargo run --example reactor_echo --features reactor                          # both, in one loop
//!     cargo run --example reactor_echo --features reactor -- server 127.0.0.1:1999
//!     cargo run --example reactor_echo --features reactor -- client 127.0.0.1:1999 hello there

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ebbtide::message::{ChannelConfig, MessageConfig, Mode};
use ebbtide::reactor::{Event, Reactor, SendError};

const FRAME: Duration = Duration::from_micros(16_667);
const WORDS: u8 = 0;

fn channels() -> MessageConfig {
    MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered)])
}

/// Sends everything back to whom it came from.
fn serve(server: &mut Reactor) -> std::io::Result<()> {
    server.tick()?;
    while let Some(event) = server.next_event() {
        match event {
            Event::Connected { addr, .. } => println!("server: {addr} has come"),
            Event::Message { peer, channel, bytes } => {
                // Who asks and does not take the answers has to go.
                if let Err(SendError::Full(_)) = server.send(peer, channel, bytes) {
                    server.disconnect(peer)?;
                }
            }
            Event::Disconnected { reason, .. } => println!("server: somebody has gone: {reason}"),
            _ => {}
        }
    }
    Ok(())
}

/// One frame of a client that says its words, one after the other, and waits for each of them to come back. Returns
/// whether all have.
fn ask(client: &mut Reactor, words: &mut Vec<String>) -> Result<bool, Box<dyn Error>> {
    client.tick()?;
    while let Some(event) = client.next_event() {
        match event {
            Event::Connected { peer, .. } => client.send(peer, WORDS, words[0].clone()).map(drop)?,
            Event::Message { peer, bytes, .. } => {
                let said = words.remove(0);
                println!("client: {said} came back");
                if bytes != said {
                    return Err(format!("as something else: {bytes:?}").into());
                }
                match words.first() {
                    Some(next) => client.send(peer, WORDS, next.clone()).map(drop)?,
                    None => client.disconnect(peer)?,
                }
            }
            Event::Disconnected { reason, .. } => return Err(reason.into()),
            _ => {}
        }
    }
    Ok(words.is_empty())
}

fn bind(addr: &str) -> Result<Reactor, Box<dyn Error>> {
    Ok(Reactor::bind(addr.parse()?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<String> = ["ebb", "flood", "slack water"].map(String::from).to_vec();
    let (mut server, mut client, mut peer): (Option<Reactor>, Option<Reactor>, Option<SocketAddr>) =
        (None, None, None);
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let here = bind("127.0.0.1:0")?;
            peer = Some(here.local_addr());
            (server, client) = (Some(here), Some(bind("127.0.0.1:0")?));
        }
        ["server", addr] => server = Some(bind(addr)?),
        ["client", addr, ..] => {
            peer = Some(addr.parse()?);
            client = Some(bind(if addr.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" })?);
            if args.len() > 2 {
                words = args[2..].to_vec();
            }
        }
        _ => return Err("usage: reactor_echo [server ADDR | client ADDR [WORD ...]]".into()),
    }
    if let Some(server) = &mut server {
        server.listen(&channels())?;
        println!("server: at {}", server.local_addr());
    }
    if let (Some(client), Some(peer)) = (&mut client, peer) {
        client.connect(peer, &channels())?;
    }
    let mut done = false;
    loop {
        let frame = Instant::now();
        server.as_mut().map_or(Ok(()), serve)?;
        if let Some(client) = client.as_mut() {
            if !done && ask(client, &mut words)? {
                client.close();
                done = true;
            }
            client.tick()?;
            if done && client.is_closed() {
                return Ok(());
            }
        }
        std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
    }
}
