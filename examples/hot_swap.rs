//! A conversation that survives its connection: pings over TCP, the server's listener and connection die in the middle of
//! it, and the rest goes over uTP. Nothing is lost, and nothing arrives twice.
//!
//!     cargo run --release --features session --example hot_swap
//!     the TCP server dies with 600 pings to go
//!     1000 pings answered in order, by 1 conversation over 2 connections

use std::error::Error;
use std::io;

use ebbtide::UtpSocket;
use ebbtide::packet::Packet;
use ebbtide::session::{Session, SessionConfig, Sessions};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

const PINGS: u32 = 1000;
const BEFORE_THE_DEATH: u32 = 400;
const PING: u8 = 1;
const PONG: u8 = 2;

/// What the server remembers while its listeners come and go.
#[derive(Clone)]
struct Server {
    sessions: Sessions,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server { sessions: Sessions::new(SessionConfig::default(), 100) };
    let client = Session::new();

    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    let addr = tcp.local_addr()?;
    let (connected, accepted) = tokio::join!(TcpStream::connect(addr), tcp.accept());
    client.attach(connected?);
    let (conversation, is_new) = server.take(accepted?.0).await?;
    assert!(is_new, "nobody has called before");

    // Many pings are on their way at any time, and so are their answers.
    let pinging = tokio::spawn(ping(client.clone()));
    for pong in 0..BEFORE_THE_DEATH {
        expect(&client, pong).await?;
    }
    drop(tcp);
    conversation.detach();
    println!("the TCP server dies with {} pings to go", PINGS - BEFORE_THE_DEATH);
    client.detached().await;

    // Another way to the same server, for the same conversation.
    let utp = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let dialling = UtpSocket::bind("127.0.0.1:0".parse()?).await?;
    let listener = utp.listen();
    let (connected, accepted) = tokio::join!(dialling.connect(utp.local_addr()), listener.accept());
    client.attach(connected?);
    let (_, is_new) = server.take(accepted?.0).await?;
    assert!(!is_new, "the server knows who it is");

    for pong in BEFORE_THE_DEATH..PINGS {
        expect(&client, pong).await?;
    }
    pinging.await??;
    assert_eq!(client.try_recv(), None, "nothing comes twice");
    println!("{PINGS} pings answered in order, by {} conversation over 2 connections", server.sessions.len());
    client.close().await;
    Ok(())
}

impl Server {
    /// Takes a connection, of any kind; a conversation that begins with it gets somebody who answers.
    async fn take<C>(&self, connection: C) -> Result<(Session, bool), Box<dyn Error>>
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let accepted = self.sessions.accept(connection).await?;
        if accepted.is_new {
            tokio::spawn(answer(accepted.session.clone()));
        }
        Ok((accepted.session, accepted.is_new))
    }
}

/// A pong for each ping, until the client has closed the conversation.
async fn answer(session: Session) {
    while let Some(packet) = session.recv().await {
        if packet.kind == PING && session.send(Packet::new(PONG, packet.payload)).await.is_err() {
            return;
        }
    }
}

async fn ping(session: Session) -> io::Result<()> {
    for number in 0..PINGS {
        session.send(Packet::new(PING, number.to_be_bytes().to_vec())).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn expect(session: &Session, number: u32) -> Result<(), Box<dyn Error>> {
    let pong = session.recv().await.ok_or("the conversation ended")?;
    if pong.kind != PONG || pong.payload != number.to_be_bytes()[..] {
        return Err(format!("pong {number} is missing, and {:?} came", pong.payload).into());
    }
    Ok(())
}
