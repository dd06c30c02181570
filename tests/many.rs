//! Ten thousand connections through two sockets, and nothing left of them. `EBBTIDE_CONNECTIONS=100000` makes more.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebbtide::{Config, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const CONNECTIONS: u32 = 10_000;
const AT_ONCE: usize = 256;

/// How many there are to be, and the time that they may take: a minute for each ten thousand.
fn wanted() -> (u32, Duration) {
    let wanted = std::env::var("EBBTIDE_CONNECTIONS");
    let count = wanted.map_or(CONNECTIONS, |wanted| wanted.parse().expect("a number of connections"));
    (count, Duration::from_secs(60) * count.div_ceil(CONNECTIONS))
}

/// Writes back what comes, until the peer has no more to say.
async fn echo(mut stream: UtpStream) {
    let (mut reading, mut writing) = stream.split();
    tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    writing.shutdown().await.unwrap();
    stream.closed().await.unwrap();
}

async fn call(client: &UtpSocket, server: SocketAddr, number: u32) {
    let mut stream = client.connect(server).await.unwrap();
    let said = number.to_be_bytes();
    stream.write_all(&said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, said);
    stream.closed().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_leave_nothing_behind() {
    let (connections, limit) = wanted();
    let began = Instant::now();
    let config = Config::swarm();
    let client = UtpSocket::bind_with(LOOPBACK, config.clone()).await.unwrap();
    let server = UtpSocket::bind_with(LOOPBACK, config).await.unwrap();
    let (listener, peer) = (server.listen(), server.local_addr());
    let accepting = tokio::spawn(async move {
        let mut echoes = JoinSet::new();
        for _ in 0..connections {
            echoes.spawn(echo(listener.accept().await.unwrap().0));
            while let Some(done) = echoes.try_join_next() {
                done.unwrap();
            }
        }
        while let Some(done) = echoes.join_next().await {
            done.unwrap();
        }
    });
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut calls = JoinSet::new();
    for number in 0..connections {
        let permit = Arc::clone(&turns).acquire_owned().await.unwrap();
        let client = client.clone();
        calls.spawn(async move {
            call(&client, peer, number).await;
            drop(permit);
        });
        while let Some(done) = calls.try_join_next() {
            done.unwrap();
        }
    }
    let all = async {
        while let Some(done) = calls.join_next().await {
            done.unwrap();
        }
        accepting.await.unwrap();
        // Time-wait ends by itself.
        while client.stats().connections + server.stats().connections > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limit, all).await.expect("in time");
    println!("{connections} connections in {:.1} s, time-wait included", began.elapsed().as_secs_f64());
    assert_eq!((client.stats().connected, server.stats().accepted), (connections.into(), connections.into()));
    assert_eq!((client.stats().half_open, server.stats().half_open), (0, 0));
}
