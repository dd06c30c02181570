//! A bad link below a socket: transfers through it in virtual time, its control, and what it does at its edges.

#![cfg(all(feature = "conditioner", feature = "tokio"))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::link::{Direction, Fault, Line, Link, OVERHEAD, Rate, Size, Strike};
use ebbtide::{
    Batch, Conditioned, Config, Datagrams, LineControl, MemoryHub, MemorySocket, PollDatagrams, Run,
    UtpSocket, UtpStream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 7))
}

/// Two sockets, the first behind that line, and a stream between them.
async fn connected(line: impl Into<Line>, config: &Config) -> (UtpStream, UtpStream, LineControl) {
    let hub = MemoryHub::new();
    let transport = Conditioned::new(hub.attach(addr(1)).unwrap(), line, 5);
    let control = transport.control();
    let (one, driver) = UtpSocket::over(transport, config.clone()).unwrap();
    tokio::spawn(driver.run());
    let (other, driver) = UtpSocket::over(hub.attach(addr(2)).unwrap(), config.clone()).unwrap();
    tokio::spawn(driver.run());
    let listener = other.listen();
    let (from, to) = tokio::join!(one.connect(addr(2)), listener.accept());
    (from.unwrap(), to.unwrap().0, control)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Moves so many bytes from the one to the other, and says how long that took.
async fn transfer(from: &mut UtpStream, to: &mut UtpStream, len: usize) -> Duration {
    let (sent, mut received) = (content(len), vec![0; len]);
    let begun = Instant::now();
    let (written, read) = tokio::join!(from.write_all(&sent), to.read_exact(&mut received));
    written.unwrap();
    read.unwrap();
    assert!(sent == received, "the bytes are not those that were sent");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_transfer_through_five_percent_of_loss_arrives_whole() {
    let link = Link::perfect().delay(Duration::from_millis(10)).loss(Strike::random(0.05));
    let (mut from, mut to, control) = connected(link, &Config::default()).await;
    transfer(&mut from, &mut to, 1 << 20).await;
    transfer(&mut to, &mut from, 1 << 20).await;
    for direction in Direction::BOTH {
        let stats = control.stats(direction);
        let lost = stats.link.struck(Fault::Lost) as f64 / stats.link.packets as f64;
        assert!(stats.link.packets > 1_000 && (0.02..0.08).contains(&lost), "{lost} of {stats:?}");
    }
    assert_eq!(control.send_errors(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_gets_no_more_than_the_rate_and_most_of_it() {
    let rate = Rate::megabits(8);
    let link = Link::perfect().delay(Duration::from_millis(10)).rate(rate).queue(Size::kib(128));
    let line = Line { there: link, back: Link::perfect().delay(Duration::from_millis(10)) };
    let (mut from, mut to, control) = connected(line, &Config::default()).await;
    let took = transfer(&mut from, &mut to, 8 << 20).await.as_secs_f64();
    let stats = control.stats(Direction::There);
    let bits = 8 * (stats.delivered_bytes + stats.delivered * OVERHEAD.as_bytes());
    let share = bits as f64 / took / rate.bits_per_second() as f64;
    assert!((0.7..=1.02).contains(&share), "{share} of {rate}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_cut_and_mended_carries_the_rest() {
    let link = Link::perfect().delay(Duration::from_millis(10));
    let (mut from, mut to, control) = connected(link, &Config::default()).await;
    transfer(&mut from, &mut to, 100_000).await;
    control.update(Direction::There, |link| link.down(true));
    assert_eq!(control.link(Direction::There), link.down(true));
    from.write_all(b"late").await.unwrap();
    let mut word = [0; 4];
    assert!(timeout(Duration::from_secs(3), to.read_exact(&mut word)).await.is_err(), "nothing passes");
    control.set(Direction::There, link);
    to.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"late");
    assert!(control.stats(Direction::There).link.struck(Fault::Down) > 0);
}

/// What a socket has for us, run by run: the length of each, and that of its datagrams.
fn receive(transport: &impl Datagrams) -> io::Result<Vec<(usize, usize)>> {
    let mut memory = [[0; 65_536]; 4];
    let mut buffers = memory.each_mut().map(|buffer| IoSliceMut::new(buffer));
    let mut runs = [Run::default(); 4];
    let filled = transport.try_recv(&mut buffers, &mut runs)?;
    Ok(runs[..filled].iter().map(|run| (run.len, run.stride)).collect())
}

fn send(transport: &impl Datagrams, peer: SocketAddr, lengths: &[usize]) -> io::Result<usize> {
    let mut batch = Batch::new(64);
    lengths.iter().for_each(|&len| batch.push(len, |out| out.fill(1)));
    transport.try_send(peer, &batch, 0)
}

fn pair(queue: usize) -> (Conditioned<MemorySocket>, MemorySocket) {
    let hub = MemoryHub::new();
    let near = Conditioned::new(hub.attach_with(addr(1), 64, 4).unwrap(), Link::perfect(), 1);
    (near, hub.attach_with(addr(2), queue, 4).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_full_socket_below_makes_the_sender_wait_and_loses_nothing() {
    let (near, far) = pair(6);
    let mut sent = 0;
    for _ in 0..9 {
        match send(&near, addr(2), &[10; 4]) {
            Ok(taken) => sent += taken,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(sent, 8, "six are in the queue and two in our hands");
    let mut received = 0;
    while received < sent {
        while let Ok(runs) = receive(&far) {
            received += runs.len();
        }
        // Nobody sends, and yet the rest leaves.
        let ready = std::future::poll_fn(|cx| near.poll_recv_ready(cx));
        assert!(timeout(Duration::from_millis(5), ready).await.is_err(), "there is nothing to receive");
    }
    assert_eq!((received, near.control().stats(Direction::There).delivered), (8, 8));
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_keeps_its_boundaries() {
    let (near, far) = pair(64);
    for lengths in [&[5, 5, 3][..], &[5], &[0], &[0], &[9, 9]] {
        assert_eq!(send(&far, addr(1), lengths).unwrap(), lengths.len());
    }
    let mut runs = Vec::new();
    while let Ok(more) = receive(&near) {
        runs.extend(more);
    }
    let datagrams: Vec<usize> = runs
        .iter()
        .flat_map(|&(len, stride)| match len {
            0 => vec![0],
            _ => (0..len).step_by(stride).map(|at| stride.min(len - at)).collect(),
        })
        .collect();
    assert_eq!(datagrams, [5, 5, 3, 5, 0, 0, 9, 9], "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn sockets_that_are_opened_beside_obey_the_same_control() {
    let (near, far) = pair(64);
    let control = near.control();
    control.update(Direction::There, |link| link.delay(Duration::from_millis(5)));
    let beside = near.open_like().unwrap();
    assert_ne!(near.local_addr().unwrap(), beside.local_addr().unwrap());
    control.update(Direction::There, |link| link.loss(Strike::every(2)));
    for socket in [&near, &beside] {
        assert_eq!(send(socket, addr(2), &[7, 7, 7, 7]).unwrap(), 4);
    }
    assert_eq!(receive(&far).unwrap_err().kind(), io::ErrorKind::WouldBlock, "it takes five milliseconds");
    for socket in [&near, &beside] {
        let ready = std::future::poll_fn(|cx| socket.poll_recv_ready(cx));
        assert!(timeout(Duration::from_millis(7), ready).await.is_err());
    }
    assert_eq!(receive(&far).unwrap(), [(7, 7); 4]);
    drop((near, beside));
    let stats = control.stats(Direction::There);
    assert_eq!((stats.link.packets, stats.delivered, stats.link.struck(Fault::Lost)), (8, 4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_discarded_never_arrives() {
    let (near, far) = pair(64);
    let control = near.control();
    control.update(Direction::There, |link| link.delay(Duration::from_secs(60)));
    send(&near, addr(2), &[7; 4]).unwrap();
    assert_eq!(control.stats(Direction::There).under_way, 4);
    control.discard(Direction::There);
    assert_eq!(control.stats(Direction::There).under_way, 0);
    tokio::time::advance(Duration::from_secs(61)).await;
    control.set(Direction::There, Link::perfect());
    send(&near, addr(2), &[9]).unwrap();
    assert_eq!(receive(&far).unwrap(), [(9, 9)]);
}
