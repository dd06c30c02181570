//! Datagrams without a network: sockets that are queues in memory, for tests and for tunnelling through anything.
//!
//! Nothing is lost, doubled or reordered. A full queue makes the sender wait, as a full kernel buffer does; datagrams
//! to an address where nobody is attached vanish. Knows nothing of time.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use super::socket::{Datagrams, PollDatagrams, Run};
use crate::proto::batch::Batch;

/// Datagrams that a queue holds at most, unless said otherwise.
const QUEUE_DATAGRAMS: usize = 1024;

/// Longest datagram, as over UDP.
const DATAGRAM_MAX: usize = 65_507;

/// A network in memory: sockets attached to it reach each other by address.
///
/// ```
/// use ebbtide::{Config, MemoryHub, UtpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let hub = MemoryHub::new();
/// let (here, there) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
/// let (alice, driver) = UtpSocket::over(hub.attach(here)?, Config::default())?;
/// tokio::spawn(driver.run());
/// let (bob, driver) = UtpSocket::over(hub.attach(there)?, Config::default())?;
/// tokio::spawn(driver.run());
///
/// let listener = bob.listen();
/// let (connected, accepted) = tokio::join!(alice.connect(there), listener.accept());
/// assert_eq!(connected?.peer_addr(), there);
/// assert_eq!(accepted?.1, here);
/// # Ok(()) }) }
/// ```
#[derive(Clone, Default)]
pub struct MemoryHub {
    inboxes: Arc<Mutex<HashMap<SocketAddr, Arc<Inbox>>>>,
}

impl MemoryHub {
    /// A network without sockets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A socket with this address, whose queue holds 1,024 datagrams. Detached when dropped.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody has the address.
    pub fn attach(&self, addr: SocketAddr) -> io::Result<MemorySocket> {
        self.attach_with(addr, QUEUE_DATAGRAMS, 1)
    }

    /// A socket with this address, whose queue holds `queue` datagrams (at least one), and which sends up to
    /// `segments` (at least one) per call, as a system with segmentation offload does.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if somebody has the address.
    pub fn attach_with(&self, addr: SocketAddr, queue: usize, segments: usize) -> io::Result<MemorySocket> {
        let mut inboxes = lock(&self.inboxes);
        if inboxes.contains_key(&addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let inbox = Arc::new(Inbox { room: queue.max(1), queue: Mutex::default() });
        inboxes.insert(addr, Arc::clone(&inbox));
        drop(inboxes);
        let waiting_for = Mutex::new(None);
        Ok(MemorySocket { addr, segments: segments.max(1), inbox, hub: self.clone(), waiting_for })
    }
}

impl fmt::Debug for MemoryHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHub").field("sockets", &lock(&self.inboxes).len()).finish()
    }
}

/// A socket of a [`MemoryHub`]: a transport for [`UtpSocket::over`](crate::UtpSocket::over), or the end of a tunnel
/// that is read and written here with [`recv_from`](Self::recv_from) and [`send_to`](Self::send_to).
pub struct MemorySocket {
    addr: SocketAddr,
    segments: usize,
    inbox: Arc<Inbox>,
    hub: MemoryHub,
    /// Whose queue was full when we last tried.
    waiting_for: Mutex<Option<Arc<Inbox>>>,
}

impl MemorySocket {
    /// The next datagram and its sender. A buffer that is too short gets the beginning of it.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Cancel safety
    /// Safe: a datagram is taken only when this returns.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = poll_fn(|cx| {
            loop {
                if let Some(datagram) = self.inbox.pop() {
                    return Poll::Ready(datagram);
                }
                ready!(self.inbox.poll_filled(cx.waker()));
            }
        })
        .await;
        let len = datagram.bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram.bytes[..len]);
        Ok((len, datagram.from))
    }

    /// Sends a datagram, after waiting for room.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 65,507 bytes.
    ///
    /// # Cancel safety
    /// Safe: if it is dropped before it returns, nothing was sent.
    pub async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                match self.push(peer, std::iter::once(datagram)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_send_ready(cx))?;
                    }
                    outcome => return Poll::Ready(outcome.map(|_| ())),
                }
            }
        })
        .await
    }

    /// Queues as many datagrams as there is room for. Returns how many.
    fn push<'a>(
        &self,
        peer: SocketAddr,
        datagrams: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        let offered = datagrams.len();
        let Some(inbox) = lock(&self.hub.inboxes).get(&peer).map(Arc::clone) else { return Ok(offered) };
        let (count, waker) = inbox.push(self.addr, datagrams)?;
        if let Some(waker) = waker {
            waker.wake();
        }
        if count == 0 {
            *lock(&self.waiting_for) = Some(inbox);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }
}

impl Datagrams for MemorySocket {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let mut filled = 0;
        for (buffer, run) in buffers.iter_mut().zip(runs.iter_mut()) {
            let Some(Queued { from, bytes }) = self.inbox.pop() else { break };
            buffer[..bytes.len()].copy_from_slice(&bytes);
            *run = Run { from, len: bytes.len(), stride: bytes.len() };
            filled += 1;
        }
        if filled == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(filled) }
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let size = batch.segment_size();
        if size == 0 {
            return self.push(peer, std::iter::once(&[][..]));
        }
        let rest = batch.bytes()[skip * size..].chunks(size);
        let count = rest.len().min(self.segments);
        self.push(peer, rest.take(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    /// One with the first free port from 49,152 on.
    fn open_like(&self) -> io::Result<Self> {
        let on_port = |port| SocketAddr::new(self.addr.ip(), port);
        let free = (49_152..=u16::MAX).map(on_port).find_map(|addr| {
            let attached = self.hub.attach_with(addr, self.inbox.room, self.segments);
            (!is_taken(&attached)).then_some(attached)
        });
        free.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))
    }

    fn max_segments(&self) -> usize {
        self.segments
    }

    fn receive_buffers(&self) -> usize {
        8
    }
}

impl PollDatagrams for MemorySocket {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inbox.poll_filled(cx.waker()).map(Ok)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting_for = lock(&self.waiting_for).as_ref().map(Arc::clone);
        match waiting_for {
            Some(inbox) => inbox.poll_room(cx.waker()).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        lock(&self.hub.inboxes).remove(&self.addr);
        for waker in self.inbox.abandon() {
            waker.wake();
        }
    }
}

impl fmt::Debug for MemorySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySocket").field("addr", &self.addr).finish_non_exhaustive()
    }
}

struct Queued {
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// What one socket has not received yet.
struct Inbox {
    /// Datagrams that the queue may hold.
    room: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Never longer than `room`; a sender that finds it full waits.
    datagrams: VecDeque<Queued>,
    receiver: Option<Waker>,
    /// Never more than there are sockets: a task that waits already is not entered twice.
    senders: Vec<Waker>,
    /// The socket was dropped: everything fits, and goes nowhere.
    abandoned: bool,
}

impl Inbox {
    fn push<'a>(
        &self,
        from: SocketAddr,
        datagrams: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<(usize, Option<Waker>)> {
        let mut queue = lock(&self.queue);
        let mut count = 0;
        for bytes in datagrams {
            if bytes.len() > DATAGRAM_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "datagram too long"));
            }
            if !queue.abandoned {
                if queue.datagrams.len() == self.room {
                    break;
                }
                queue.datagrams.push_back(Queued { from, bytes: bytes.to_vec() });
            }
            count += 1;
        }
        let waker = if count > 0 { queue.receiver.take() } else { None };
        Ok((count, waker))
    }

    fn pop(&self) -> Option<Queued> {
        let mut queue = lock(&self.queue);
        let taken = queue.datagrams.pop_front()?;
        // Senders come back when half of the queue is free, not for every datagram that was taken.
        let senders = if queue.datagrams.len() <= self.room / 2 {
            std::mem::take(&mut queue.senders)
        } else {
            Vec::new()
        };
        drop(queue);
        senders.into_iter().for_each(Waker::wake);
        Some(taken)
    }

    fn poll_filled(&self, waker: &Waker) -> Poll<()> {
        let mut queue = lock(&self.queue);
        if !queue.datagrams.is_empty() {
            return Poll::Ready(());
        }
        queue.receiver = Some(waker.clone());
        Poll::Pending
    }

    fn poll_room(&self, waker: &Waker) -> Poll<()> {
        let mut queue = lock(&self.queue);
        if queue.abandoned || queue.datagrams.len() <= self.room / 2 {
            return Poll::Ready(());
        }
        if !queue.senders.iter().any(|known| known.will_wake(waker)) {
            queue.senders.push(waker.clone());
        }
        Poll::Pending
    }

    fn abandon(&self) -> Vec<Waker> {
        let mut queue = lock(&self.queue);
        queue.abandoned = true;
        queue.datagrams.clear();
        std::mem::take(&mut queue.senders)
    }
}

fn is_taken(attached: &io::Result<MemorySocket>) -> bool {
    attached.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const B: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

    #[tokio::test]
    async fn a_full_queue_makes_the_sender_wait_for_half_of_it() {
        let hub = MemoryHub::new();
        let (a, b) = (hub.attach_with(A, 4, 1).unwrap(), hub.attach_with(B, 4, 1).unwrap());
        for byte in 0..4 {
            a.send_to(&[byte], B).await.unwrap();
        }
        let (sent, received) = tokio::join!(biased; a.send_to(&[4], B), async {
            let mut got = Vec::new();
            let mut buffer = [0; 8];
            for _ in 0..5 {
                let (len, from) = b.recv_from(&mut buffer).await.unwrap();
                assert_eq!((len, from), (1, A));
                got.push(buffer[0]);
            }
            got
        });
        sent.unwrap();
        assert_eq!(received, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn nobody_there_is_not_an_error_and_an_address_has_one_owner() {
        let hub = MemoryHub::new();
        let a = hub.attach(A).unwrap();
        a.send_to(b"into the void", B).await.unwrap();
        assert_eq!(hub.attach(A).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(a);
        assert!(hub.attach(A).is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_is_dropped_frees_those_who_wait_for_it() {
        let hub = MemoryHub::new();
        let (a, b) = (hub.attach(A).unwrap(), hub.attach_with(B, 1, 1).unwrap());
        a.send_to(b"1", B).await.unwrap();
        let (sent, ()) = tokio::join!(biased; a.send_to(b"2", B), async { drop(b) });
        sent.unwrap();
    }

    #[test]
    fn a_batch_is_taken_as_far_as_there_is_room() {
        let hub = MemoryHub::new();
        let (a, b) = (hub.attach_with(A, 9, 8).unwrap(), hub.attach_with(B, 3, 8).unwrap());
        let mut batch = Batch::new(8);
        for byte in 0..4 {
            batch.push(2, |out| out.fill(byte));
        }
        assert_eq!(a.try_send(B, &batch, 0).unwrap(), 3);
        assert_eq!(a.try_send(B, &batch, 3).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (mut one, mut two) = ([0; 65_536], [0; 65_536]);
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        let mut runs = [Run::default(); 2];
        assert_eq!(b.try_recv(&mut buffers, &mut runs).unwrap(), 2);
        assert_eq!(runs[1], Run { from: A, len: 2, stride: 2 });
        assert_eq!(two[..2], [1, 1]);
        assert_eq!(a.try_send(B, &batch, 3).unwrap(), 1);
    }
}
