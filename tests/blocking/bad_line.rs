//! A socket in memory whose datagrams get lost or come twice on their way out, and that counts how often it is asked.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use ebbtide::{Batch, Datagrams, MemorySocket, PollDatagrams, Run};

pub(crate) struct BadLine {
    socket: MemorySocket,
    /// Of a hundred.
    loses: u32,
    doubles: u32,
    /// What the next draw depends on.
    state: AtomicU32,
    /// How often the driver has looked for datagrams: at least once in every turn.
    pub(crate) turns: Arc<AtomicU64>,
    /// Datagrams that were lost here.
    pub(crate) lost: Arc<AtomicU64>,
}

impl BadLine {
    pub(crate) fn new(socket: MemorySocket, loses: u32, doubles: u32) -> Self {
        Self {
            socket,
            loses,
            doubles,
            state: AtomicU32::new(0x9E37_79B9),
            turns: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// From 0 to 99, the same in every run (xorshift). Only the driver's thread draws.
    fn draw(&self) -> u32 {
        let mut state = self.state.load(Relaxed);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        self.state.store(state, Relaxed);
        state % 100
    }
}

impl Datagrams for BadLine {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        self.turns.fetch_add(1, Relaxed);
        self.socket.try_recv(buffers, runs)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        if self.draw() < self.loses {
            self.lost.fetch_add(1, Relaxed);
            return Ok(1);
        }
        let taken = self.socket.try_send(peer, batch, skip)?;
        if self.draw() < self.doubles {
            // A full queue has room for one of them only.
            self.socket.try_send(peer, batch, skip).unwrap_or_default();
        }
        Ok(taken)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn receive_buffers(&self) -> usize {
        self.socket.receive_buffers()
    }
}

impl PollDatagrams for BadLine {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }
}
