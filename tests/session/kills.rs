//! A thousand connections that die at any moment, under load both ways.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ebbtide::session::{Session, SessionConfig};
use ebbtide::{UtpListener, UtpSocket};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::numbered;

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that breaks after so many bytes were written to it, within a write.
struct Brittle {
    inner: Box<dyn Wire>,
    left: usize,
}

impl AsyncRead for Brittle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Brittle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = data.len().min(self.left);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &data[..most]))?;
        self.left -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Makes connections of three kinds.
struct Wires {
    tcp: TcpListener,
    calling: UtpSocket,
    listener: UtpListener,
}

impl Wires {
    async fn new() -> Self {
        let called = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            calling: UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await.unwrap(),
            listener: called.listen(),
        }
    }

    async fn make(&self, kind: u8) -> (Box<dyn Wire>, Box<dyn Wire>) {
        match kind {
            0 => {
                let (a, b) = duplex(4096);
                (Box::new(a), Box::new(b))
            }
            1 => {
                let addr = self.tcp.local_addr().unwrap();
                let (a, b) = tokio::join!(TcpStream::connect(addr), self.tcp.accept());
                (Box::new(a.unwrap()), Box::new(b.unwrap().0))
            }
            _ => {
                let addr = self.listener.local_addr();
                let (a, b) = tokio::join!(self.calling.connect(addr), self.listener.accept());
                (Box::new(a.unwrap()), Box::new(b.unwrap().0))
            }
        }
    }
}

/// Attaches a connection that will not live long, in one of several ways to die.
async fn attach_doomed(sessions: [&Session; 2], wires: (Box<dyn Wire>, Box<dyn Wire>), rng: &mut StdRng) {
    let (here, there) = wires;
    let life = if rng.random_bool(0.5) { rng.random_range(0..40_000) } else { usize::MAX };
    let here = Brittle { inner: here, left: life };
    // One side may find out much earlier than the other.
    match rng.random_bool(0.5) {
        true => {
            sessions[0].attach(here);
            sessions[1].attach(there);
        }
        false => {
            sessions[1].attach(here);
            sessions[0].attach(there);
        }
    }
    tokio::time::sleep(Duration::from_micros(rng.random_range(0..1500))).await;
    match rng.random_range(0..4) {
        0 => sessions[0].detach(),
        1 => sessions[1].detach(),
        // The next connection takes the place of this one while it works.
        _ => {}
    }
}

/// Sends one packet after the other until told to stop, then closes. Returns how many there were.
async fn pour(session: Session, stop: watch::Receiver<bool>) -> u32 {
    let mut number = 0;
    while !*stop.borrow() {
        session.send(numbered(number)).await.unwrap();
        number += 1;
    }
    session.flush().await;
    number
}

/// Takes packets, which have to be the right ones, until they are `total`, which comes later.
async fn drain(session: Session, mut total: watch::Receiver<Option<u32>>) {
    let mut number = 0;
    loop {
        tokio::select! {
            packet = session.recv() => {
                assert_eq!(packet.unwrap(), numbered(number), "packet {number}");
                number += 1;
            }
            known = total.wait_for(|total| *total == Some(number)) => {
                known.unwrap();
                return;
            }
        }
    }
}

async fn survive(kinds: Range<u8>, kills: u32, seed: u64) {
    let config = SessionConfig { queue_packets: 200, ..SessionConfig::default() };
    let (a, b) = (Session::with_config(config), Session::with_config(config));
    let (stop, stopped) = watch::channel(false);
    let (mut pouring, mut draining) = (Vec::new(), Vec::new());
    for (from, to) in [(&a, &b), (&b, &a)] {
        pouring.push(tokio::spawn(pour(from.clone(), stopped.clone())));
        let (total, known) = watch::channel(None);
        draining.push((total, tokio::spawn(drain(to.clone(), known))));
    }
    let (wires, mut rng) = (Wires::new().await, StdRng::seed_from_u64(seed));
    let mut under_load = 0;
    for _ in 0..kills {
        let pair = wires.make(rng.random_range(kinds.clone())).await;
        attach_doomed([&a, &b], pair, &mut rng).await;
        under_load += u32::from(a.unconfirmed() > 0 && b.unconfirmed() > 0);
    }
    let (here, there) = wires.make(kinds.start).await;
    a.attach(here);
    b.attach(there);
    stop.send_replace(true);
    let mut sent = 0;
    for (pouring, (total, draining)) in pouring.into_iter().zip(draining) {
        let count = timeout(Duration::from_secs(60), pouring).await.unwrap().unwrap();
        total.send_replace(Some(count));
        timeout(Duration::from_secs(60), draining).await.unwrap().unwrap();
        sent += count;
    }
    assert!(a.try_recv().is_none() && b.try_recv().is_none(), "nothing comes twice");
    eprintln!(
        "{kills} kills, {under_load} with packets on their way both ways: {sent} packets, 0 lost, 0 twice"
    );
    assert!(under_load > kills * 9 / 10, "{under_load}");
}

/// A4 and A5: most of what was queued when the connection died was never sent, and what was in hand was lost.
#[tokio::test]
async fn a4_a5_a_thousand_kills_lose_nothing_and_double_nothing() {
    survive(0..1, 1000, 1).await;
}

#[tokio::test]
async fn a_thousand_swaps_between_tcp_and_utp_lose_nothing_and_double_nothing() {
    survive(1..3, 1000, 2).await;
}
