//! A bad link below any socket: a transport that passes every datagram of another through a [`Conditioner`].
//!
//! Knows when datagrams are handed over and when the socket below takes them. What becomes of them is decided in
//! `link`.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use super::clock::{Alarm, Clock};
use super::pump::{is_answer_to_another, is_gone};
use super::socket::{Datagrams, GrantedBuffers, PollDatagrams, Run};
use crate::link::{Conditioner, ConditionerStats, Direction, Line, Link, Rng};
use crate::proto::batch::Batch;
use crate::time::Instant;

/// A transport with a bad link in front of it, for [`UtpSocket::over`](crate::UtpSocket::over).
///
/// What is sent goes through [`Line::there`] before the socket below gets it, what that receives through
/// [`Line::back`] before the driver does. Changed and read at run time by its [`LineControl`].
///
/// Times are tokio's, which wakes to the millisecond: a delay is never shorter than it was set, and up to a
/// millisecond longer; a rate holds in the long run. Datagrams that are under way when the driver ends are lost, and so
/// are errors of the socket below, which come too late for whoever sent (they are
/// [counted](LineControl::send_errors)). Sockets that a driver [opens beside](Datagrams::open_like) its own get links
/// of their own, which are set up in the same way and obey the same control.
///
/// ```
/// use std::time::Duration;
/// use ebbtide::link::{Direction, Link, Strike};
/// use ebbtide::{Conditioned, Config, Udp, UtpSocket};
///
/// # fn main() -> std::io::Result<()> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let udp = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20)?;
/// let link = Link::perfect().delay(Duration::from_millis(20)).loss(Strike::random(0.05));
/// let transport = Conditioned::new(udp, link, 1);
/// let control = transport.control();
/// let (socket, driver) = UtpSocket::over(transport, Config::default())?;
/// tokio::spawn(driver.run());
/// control.update(Direction::There, |link| link.delay(Duration::from_millis(200)));
/// assert_eq!(control.stats(Direction::There).delivered, 0);
/// # drop(socket);
/// # Ok(()) }) }
/// ```
pub struct Conditioned<S: Datagrams> {
    below: S,
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    clock: Clock,
}

/// Whom a datagram is to, or from, and how far it may go.
#[derive(Clone, Copy, Debug)]
struct Tag {
    peer: SocketAddr,
    ttl: Option<u8>,
}

/// One socket's line.
struct State {
    line: Conditioner<Tag>,
    /// What the socket below is to send next, or has not taken yet. Made when it is first needed.
    outgoing: Option<Outgoing>,
    /// Made by the driver, within its runtime.
    alarm: Option<Alarm>,
}

struct Outgoing {
    batch: Batch,
    peer: SocketAddr,
    /// How many of the batch have been taken.
    skip: usize,
}

impl<S: Datagrams> Conditioned<S> {
    /// A socket behind that line, or behind a link in both directions. The same seed and the same datagrams at the
    /// same times meet the same fate.
    #[must_use]
    pub fn new(below: S, line: impl Into<Line>, seed: u64) -> Self {
        let setup = Setup {
            line: line.into(),
            rng: Rng::new(seed),
            sockets: Vec::new(),
            past: [ConditionerStats::default(); 2],
        };
        Self::beside(below, Arc::new(Shared { setup: Mutex::new(setup), send_errors: AtomicU64::new(0) }))
    }

    fn beside(below: S, shared: Arc<Shared>) -> Self {
        let state = shared.open();
        Self { below, shared, state, clock: Clock::start() }
    }

    /// Changes the line and tells what it does, while a driver has the transport.
    #[must_use]
    pub fn control(&self) -> LineControl {
        LineControl { shared: Arc::clone(&self.shared) }
    }

    /// Hands to the socket below what is due. Returns false if it is full.
    ///
    /// The batch is out of the state meanwhile: sending may wake somebody, and nobody is woken under a lock.
    fn flush(&self, now: Instant) -> io::Result<bool> {
        loop {
            let next = lock(&self.state).next_batch(now, self.below.max_segments());
            let Some(mut outgoing) = next else { return Ok(true) };
            let sent = self.send(&mut outgoing);
            lock(&self.state).outgoing = Some(outgoing);
            if !sent? {
                return Ok(false);
            }
        }
    }

    /// Returns false if the socket below is full.
    fn send(&self, outgoing: &mut Outgoing) -> io::Result<bool> {
        let Outgoing { batch, peer, skip } = outgoing;
        let mut may_repeat = true;
        while *skip < batch.len() {
            match self.below.try_send(*peer, batch, *skip) {
                Ok(taken) => *skip += taken.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) => {
                    tracing::trace!(%error, %peer, "sending behind a bad link");
                    self.shared.send_errors.fetch_add(1, Ordering::Relaxed);
                    if !(is_answer_to_another(&error) && std::mem::take(&mut may_repeat)) {
                        *skip += self.below.max_segments().max(1);
                    }
                }
            }
        }
        Ok(true)
    }
}

impl State {
    /// What is to be sent next: what is left of a batch, or a new one of what is due. It is to be put back.
    fn next_batch(&mut self, now: Instant, segments: usize) -> Option<Outgoing> {
        if let Some(unsent) = self.outgoing.take_if(|outgoing| outgoing.skip < outgoing.batch.len()) {
            return Some(unsent);
        }
        let Tag { peer, ttl } = self.line.peek(now, Direction::There)?.0;
        let made = || Outgoing { batch: Batch::new(1), peer, skip: 0 };
        let mut outgoing = self.outgoing.take().unwrap_or_else(made);
        outgoing.batch.set_max_segments(segments);
        outgoing.batch.clear();
        (outgoing.peer, outgoing.skip) = (peer, 0);
        if let Some(hops) = ttl {
            outgoing.batch.set_ttl(hops);
        }
        while let Some((tag, datagram)) = self.line.peek(now, Direction::There)
            && (tag.peer, tag.ttl) == (peer, ttl)
            && outgoing.batch.admits(datagram.len())
        {
            outgoing.batch.push(datagram.len(), |out| out.copy_from_slice(datagram));
            self.line.pop(Direction::There);
        }
        Some(outgoing)
    }

    /// Puts what has come in into a buffer: datagrams of one sender and one size, of which the last may be shorter.
    fn fill(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Run> {
        let mut run: Option<Run> = None;
        while let Some((Tag { peer, .. }, datagram)) = self.line.peek(now, Direction::Back) {
            let (at, stride) = run.map_or((0, datagram.len()), |run| (run.len, run.stride));
            let fits = run.is_none_or(|run| {
                let whole = run.len.is_multiple_of(stride.max(1)) && run.datagrams() < RUN_MAX;
                whole && run.from == peer && (1..=stride).contains(&datagram.len())
            });
            let end = at + datagram.len();
            if !fits || end > buffer.len() {
                // One that no buffer holds has come in through a smaller one, which cannot be.
                debug_assert!(run.is_some(), "a datagram of {} bytes", datagram.len());
                break;
            }
            buffer[at..end].copy_from_slice(datagram);
            self.line.pop(Direction::Back);
            run = Some(Run { from: peer, len: end, stride });
        }
        run
    }
}

/// Datagrams of a run at most, as many as the kernel makes.
const RUN_MAX: usize = 64;

impl<S: Datagrams> Datagrams for Conditioned<S> {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let now = self.clock.now();
        let received = self.below.try_recv(buffers, runs);
        let mut state = lock(&self.state);
        if let Ok(filled) = received {
            for (buffer, run) in buffers.iter().zip(&runs[..filled]) {
                let tag = Tag { peer: run.from, ttl: None };
                each(&buffer[..run.len], run.stride, |datagram| {
                    state.line.offer(now, Direction::Back, tag, datagram);
                });
            }
        }
        let mut filled = 0;
        for (buffer, run) in buffers.iter_mut().zip(runs) {
            let Some(next) = state.fill(now, buffer) else { break };
            *run = next;
            filled += 1;
        }
        match (filled, received) {
            (0, Ok(_)) => Err(io::ErrorKind::WouldBlock.into()),
            (0, failed) => failed,
            (filled, _) => Ok(filled),
        }
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let now = self.clock.now();
        // As long as the socket below is full, whoever sends waits, as without us.
        if !self.flush(now)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let tag = Tag { peer, ttl: batch.ttl() };
        let size = batch.segment_size();
        {
            let mut state = lock(&self.state);
            each(&batch.bytes()[skip * size..], size, |datagram| {
                state.line.offer(now, Direction::There, tag, datagram);
            });
        }
        self.flush(now)?;
        Ok(batch.len() - skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.below.local_addr()
    }

    fn open_like(&self) -> io::Result<Self> {
        Ok(Self::beside(self.below.open_like()?, Arc::clone(&self.shared)))
    }

    fn is_dual_stack(&self) -> bool {
        self.below.is_dual_stack()
    }

    fn max_segments(&self) -> usize {
        self.below.max_segments()
    }

    fn receive_buffers(&self) -> usize {
        self.below.receive_buffers()
    }

    fn receive_buffer_len(&self) -> usize {
        self.below.receive_buffer_len()
    }

    fn granted_buffers(&self) -> GrantedBuffers {
        self.below.granted_buffers()
    }
}

impl<S: PollDatagrams> PollDatagrams for Conditioned<S> {
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = self.clock.now();
            let mut flushed = self.flush(now)?;
            if !flushed && self.below.poll_send_ready(cx)?.is_ready() {
                flushed = self.flush(now)?;
                if !flushed {
                    // It was ready too early, and nobody will tell us when it really is.
                    cx.waker().wake_by_ref();
                }
            }
            let due = lock(&self.state).line.peek(now, Direction::Back).is_some();
            if due || self.below.poll_recv_ready(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut state = lock(&self.state);
            // What a full socket holds up is waited for above.
            let there = state.line.next_at(Direction::There).filter(|_| flushed);
            let next = there.into_iter().chain(state.line.next_at(Direction::Back)).min();
            let Some(at) = next else { return Poll::Pending };
            let alarm = state.alarm.get_or_insert_with(|| Alarm::new(self.clock));
            ready!(alarm.poll_reached(cx, at));
        }
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.poll_send_ready(cx)
    }
}

/// Datagrams that lie end to end, one by one; one that is empty counts.
fn each(bytes: &[u8], stride: usize, mut offer: impl FnMut(&[u8])) {
    match bytes.is_empty() {
        true => offer(bytes),
        false => bytes.chunks(stride.max(1)).for_each(offer),
    }
}

impl<S: Datagrams> Drop for Conditioned<S> {
    fn drop(&mut self) {
        self.shared.close(&self.state);
    }
}

impl<S: Datagrams> fmt::Debug for Conditioned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conditioned").field("line", &lock(&self.state).line).finish_non_exhaustive()
    }
}

/// What all sockets that came of one [`Conditioned`] share.
struct Shared {
    setup: Mutex<Setup>,
    send_errors: AtomicU64,
}

struct Setup {
    line: Line,
    /// Seeds for sockets to come.
    rng: Rng,
    /// Those there are: as many as the driver has sockets.
    sockets: Vec<Weak<Mutex<State>>>,
    /// What those have done that are no more.
    past: [ConditionerStats; 2],
}

impl Shared {
    fn open(&self) -> Arc<Mutex<State>> {
        let mut setup = lock(&self.setup);
        let line = Conditioner::new(setup.line, setup.rng.next_u64());
        let state = Arc::new(Mutex::new(State { line, outgoing: None, alarm: None }));
        setup.sockets.push(Arc::downgrade(&state));
        state
    }

    fn close(&self, state: &Arc<Mutex<State>>) {
        let done = Direction::BOTH.map(|way| lock(state).line.stats(way));
        let mut setup = lock(&self.setup);
        setup.sockets.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(state)));
        for (past, done) in setup.past.iter_mut().zip(done) {
            *past += ConditionerStats { under_way: 0, ..done };
        }
    }

    /// Those there are, to be locked when the setup is not: nobody holds two locks.
    fn sockets(setup: &Setup) -> Vec<Arc<Mutex<State>>> {
        setup.sockets.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Changes the line of a [`Conditioned`] transport while it is in use, and tells what it has done.
///
/// Clones control the same line. It outlives the transport, and then only tells. See [`Conditioner`] for what a change
/// means to datagrams that are under way.
#[derive(Clone)]
pub struct LineControl {
    shared: Arc<Shared>,
}

impl LineControl {
    /// How that direction is set up.
    #[must_use]
    pub fn link(&self, direction: Direction) -> Link {
        let Line { there, back } = lock(&self.shared.setup).line;
        match direction {
            Direction::There => there,
            Direction::Back => back,
        }
    }

    /// Sets that direction up differently, for datagrams to come.
    pub fn set(&self, direction: Direction, link: Link) {
        self.update(direction, |_| link);
    }

    /// Changes something about that direction, for datagrams to come. `change` must not call the control.
    pub fn update(&self, direction: Direction, change: impl FnOnce(Link) -> Link) {
        let mut setup = lock(&self.shared.setup);
        let link = match direction {
            Direction::There => &mut setup.line.there,
            Direction::Back => &mut setup.line.back,
        };
        *link = change(*link);
        let (link, sockets) = (*link, Shared::sockets(&setup));
        drop(setup);
        sockets.iter().for_each(|state| lock(state).line.set_link(direction, link));
    }

    /// Loses all that is under way in that direction.
    pub fn discard(&self, direction: Direction) {
        let sockets = Shared::sockets(&lock(&self.shared.setup));
        sockets.iter().for_each(|state| lock(state).line.discard(direction));
    }

    /// What that direction has done so far.
    #[must_use]
    pub fn stats(&self, direction: Direction) -> ConditionerStats {
        let setup = lock(&self.shared.setup);
        let (mut stats, sockets) = (setup.past[direction as usize], Shared::sockets(&setup));
        drop(setup);
        sockets.iter().for_each(|state| stats += lock(state).line.stats(direction));
        stats
    }

    /// Errors of the socket below when it was given what had come out: those datagrams are lost.
    #[must_use]
    pub fn send_errors(&self) -> u64 {
        self.shared.send_errors.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for LineControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineControl").field("line", &lock(&self.shared.setup).line).finish_non_exhaustive()
    }
}

/// Whoever panicked while holding it has left it in order.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
