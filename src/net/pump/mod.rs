//! Moves datagrams between sockets and an endpoint, in turns of bounded length.
//!
//! ```text
//!   turn:  receive ─▶ read the mail ─▶ fire timers ─▶ send
//! ```
//!
//! Acks, wake-ups and timer changes happen once per connection and turn, because they are looked at after everything
//! that was there has been received. Nothing that concerns a single datagram ends a turn: see [`Datagrams`].
//! Sockets that the endpoint asks for meanwhile are opened and closed before and after it sends.
//!
//! Never waits, and does not know what time it is: whoever calls for a turn says.

use std::array;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::config::Config;
use crate::error::CloseReason;
use crate::net::counters::{IoCounters, IoCounts};
use crate::net::socket::{Datagrams, GrantedBuffers, Run};
use crate::proto::batch::{Batch, Path, SocketId};
use crate::proto::endpoint::{Endpoint, Shared, SocketRequest};
use crate::time::Instant;

/// Datagrams received from one socket per turn, give or take a run: about a millisecond of work, so about that much
/// error in the delays that are measured.
const RECEIVE_MAX: usize = 256;

/// Batches sent per turn, for the same reason. Small ones may be as many as the datagrams that were received and answered,
/// so four of those count as one.
const BATCHES_MAX: usize = 64;

/// Bytes of a batch that costs little more than the call.
const SMALL: usize = 64;

/// Batches sent between two looks at the clock.
const BATCHES_PER_CLOCK: usize = 16;

/// Sockets opened per turn: about a millisecond of work too.
const OPENED_MAX: usize = 32;

/// Receive buffers filled by one call, at most.
const BUFFERS_MAX: usize = 16;

/// Errors of receiving in a row, without a datagram or an empty queue between them, that mean that the socket is gone
/// without saying so.
const ERRORS_MAX: u32 = 100_000;

/// An endpoint and its sockets.
pub(crate) struct Pump<S: Datagrams> {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    /// In the order of their [`SocketId`]; a place is empty while it has no socket.
    sockets: Vec<Option<S>>,
    /// How many there were at the beginning. Without one of those there is no endpoint; the others come and go.
    lasting: usize,
    space: ReceiveSpace,
    batch: Batch,
    /// What of `batch` waits for room in a socket. It holds up the other sockets too: they mostly share the way out.
    unsent: Option<Unsent>,
    counts: IoCounts,
    counters: Arc<IoCounters>,
    /// Errors of receiving since the last sign of life.
    errors_in_row: u32,
}

/// Where in the batch a full socket stopped us.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    path: Path,
    skip: usize,
}

impl<S: Datagrams> Pump<S> {
    /// An endpoint over these sockets.
    ///
    /// # Errors
    /// Without a socket; a socket that cannot tell its address; a system without a source of randomness.
    pub(crate) fn new(sockets: Vec<S>, config: Arc<Config>) -> io::Result<Self> {
        if sockets.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no socket"));
        }
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let mut endpoint = Endpoint::new(config, seed);
        for socket in &sockets {
            let local = socket.local_addr()?;
            match socket.is_dual_stack() {
                true => endpoint.add_dual_stack_socket(local),
                false => endpoint.add_socket(local),
            };
        }
        let granted = sockets
            .iter()
            .map(Datagrams::granted_buffers)
            .reduce(|a, b| GrantedBuffers { send: a.send.min(b.send), receive: a.receive.min(b.receive) });
        Ok(Self {
            shared: endpoint.shared(),
            endpoint,
            space: ReceiveSpace::for_sockets(&sockets),
            lasting: sockets.len(),
            sockets: sockets.into_iter().map(Some).collect(),
            batch: Batch::new(1),
            unsent: None,
            counts: IoCounts::default(),
            counters: Arc::new(IoCounters::new(granted.unwrap_or_default())),
            errors_in_row: 0,
        })
    }

    /// The applications' side of the endpoint.
    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What went through the sockets.
    pub(crate) const fn counters(&self) -> &Arc<IoCounters> {
        &self.counters
    }

    /// When the next turn has to be, for all that is known now.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    /// Whether the endpoint may go, and everything has left.
    pub(crate) fn is_drained(&self) -> bool {
        self.unsent.is_none() && self.endpoint.is_drained()
    }

    /// The endpoint ends, and every connection with it: a transport is gone.
    #[cfg(feature = "reactor")]
    pub(crate) fn shut_down(&mut self) {
        self.endpoint.shut_down(CloseReason::EndpointClosed);
    }

    /// Datagrams received so far.
    #[cfg(feature = "tokio")]
    pub(crate) const fn heard(&self) -> u64 {
        self.counts.datagrams_received
    }

    /// The sockets that are open, by their numbers.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (SocketId, &S)> {
        let places = self.sockets.iter().enumerate();
        places.filter_map(|(index, socket)| Some((socket_id(index), socket.as_ref()?)))
    }

    /// The socket that has to have room before anything can be sent.
    pub(crate) fn full_socket(&self) -> Option<SocketId> {
        self.unsent.map(|unsent| unsent.path.socket)
    }

    /// Everything that can be done now, within bounds; `clock` tells the time. Returns whether more can be done at once.
    ///
    /// # Errors
    /// When a transport is gone.
    pub(crate) fn turn(&mut self, clock: impl Fn() -> Instant) -> io::Result<bool> {
        let mut more = false;
        for index in 0..self.sockets.len() {
            more |= self.receive(index, clock())?;
        }
        let now = clock();
        self.endpoint.handle_mail(now);
        self.endpoint.handle_timeout(now);
        more |= self.open_and_close();
        more |= self.send(clock)?;
        more |= self.open_and_close();
        self.counters.publish(&self.counts);
        Ok(more)
    }

    /// Hands what one socket has received to the endpoint. Returns whether the bound ended it.
    fn receive(&mut self, index: usize, now: Instant) -> io::Result<bool> {
        let Self { endpoint, sockets, space, counts, errors_in_row, .. } = self;
        let Some(socket) = &sockets[index] else { return Ok(false) };
        let id = socket_id(index);
        let mut chunks = space.memory.chunks_exact_mut(socket.receive_buffer_len().max(1));
        let mut buffers: [IoSliceMut<'_>; BUFFERS_MAX] =
            array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let count = ReceiveSpace::count(socket);
        let (buffers, runs) = (&mut buffers[..count], &mut space.runs[..count]);
        let mut received = 0;
        while received < RECEIVE_MAX {
            match socket.try_recv(buffers, runs) {
                Ok(filled) => {
                    *errors_in_row = 0;
                    counts.receive_calls += 1;
                    for (buffer, run) in buffers.iter().zip(&runs[..filled]) {
                        received += run.datagrams();
                        counts.datagrams_received += run.datagrams() as u64;
                        counts.bytes_received += run.len as u64;
                        let path = Path { socket: id, peer: run.from };
                        endpoint.handle_datagrams(now, path, &buffer[..run.len], run.stride);
                    }
                    // That was all there was. Asking again is the next turn's business: acks go first.
                    if filled < buffers.len() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *errors_in_row = 0;
                    return Ok(false);
                }
                Err(error) => {
                    *errors_in_row += 1;
                    if is_gone(&error) || *errors_in_row > ERRORS_MAX {
                        return self.lose(id, error).map(|()| false);
                    }
                    tracing::trace!(%error, "receiving");
                    counts.receive_errors += 1;
                    received += 1;
                }
            }
        }
        Ok(true)
    }

    /// Sends what is due. Returns whether the bound ended it.
    fn send(&mut self, clock: impl Fn() -> Instant) -> io::Result<bool> {
        let mut now = clock();
        if let Some(unsent) = self.unsent.take() {
            // The wait for the socket must not look like a delay of the path.
            self.batch.restamp(unsent.skip, now);
            if !self.send_batch(unsent)? {
                return Ok(false);
            }
        }
        let segments = self.sockets.iter().flatten().map(Datagrams::max_segments).min();
        self.batch.set_max_segments(segments.unwrap_or(1));
        let (mut quarters, mut since_clock) = (0, 0);
        while quarters < 4 * BATCHES_MAX {
            self.batch.clear();
            let Some(path) = self.endpoint.poll_transmit(now, &mut self.batch) else { return Ok(false) };
            let is_small = self.batch.bytes().len() <= SMALL;
            if !self.send_batch(Unsent { path, skip: 0 })? {
                return Ok(false);
            }
            quarters += if is_small { 1 } else { 4 };
            since_clock += 1;
            if since_clock == BATCHES_PER_CLOCK {
                now = clock();
                since_clock = 0;
            }
        }
        Ok(true)
    }

    /// Sends what is left of the batch. Returns false if the socket is full; the rest is kept then.
    fn send_batch(&mut self, from: Unsent) -> io::Result<bool> {
        let Unsent { path, mut skip } = from;
        let index = usize::from(path.socket.get());
        let Some(socket) = self.sockets.get(index).and_then(Option::as_ref) else {
            // It broke; whoever uses it will notice that nothing is answered.
            self.counts.send_errors += 1;
            return Ok(true);
        };
        let (total, size, bytes) = (self.batch.len(), self.batch.segment_size(), self.batch.bytes().len());
        let mut may_repeat = true;
        while skip < total {
            match socket.try_send(path.peer, &self.batch, skip) {
                Ok(taken) => {
                    let end = total.min(skip + taken.max(1));
                    self.counts.send_calls += 1;
                    self.counts.datagrams_sent += (end - skip) as u64;
                    self.counts.bytes_sent += (bytes.min(end * size) - skip * size) as u64;
                    skip = end;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = Some(Unsent { path, skip });
                    return Ok(false);
                }
                Err(error) if is_gone(&error) => return self.lose(path.socket, error).map(|()| true),
                Err(error) => {
                    tracing::trace!(%error, peer = %path.peer, "sending");
                    self.counts.send_errors += 1;
                    if is_without_way(&error)
                        && self.batch.ttl().is_none()
                        && let Some(first) = self.batch.datagrams().nth(skip)
                    {
                        self.endpoint.handle_undeliverable(path, first, CloseReason::Unreachable);
                    }
                    // Some systems report an ICMP answer to an earlier datagram here, and have sent nothing.
                    let about_another = is_answer_to_another(&error);
                    if !(about_another && std::mem::take(&mut may_repeat)) {
                        // Lost, all that the call would have taken; the peer's acks will tell.
                        skip += socket.max_segments().max(1);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Opens and closes the sockets that the endpoint wants opened and closed. Returns whether there were any.
    fn open_and_close(&mut self) -> bool {
        let mut opened = 0;
        let mut any = false;
        while opened < OPENED_MAX
            && let Some(request) = self.endpoint.poll_socket_request()
        {
            any = true;
            match request {
                SocketRequest::Open { like } => {
                    opened += 1;
                    if let Err(error) = self.open(like) {
                        tracing::debug!(%error, "opening another socket");
                        self.endpoint.socket_refused(like);
                    }
                }
                SocketRequest::Close(socket) => {
                    self.unsent = self.unsent.filter(|unsent| unsent.path.socket != socket);
                    self.sockets[usize::from(socket.get())] = None;
                }
            }
        }
        any
    }

    fn open(&mut self, like: SocketId) -> io::Result<()> {
        let model = self.sockets.get(usize::from(like.get())).and_then(Option::as_ref);
        let socket = model.ok_or(io::ErrorKind::NotFound)?.open_like()?;
        let local = socket.local_addr()?;
        self.space.make_room_for(&socket);
        let place = usize::from(self.endpoint.socket_opened(like, local).get());
        if place >= self.sockets.len() {
            self.sockets.resize_with(place + 1, || None);
        }
        self.sockets[place] = Some(socket);
        Ok(())
    }

    /// A socket is gone for good. That is the end, unless it is one of those that come and go.
    pub(crate) fn lose(&mut self, socket: SocketId, error: io::Error) -> io::Result<()> {
        let index = usize::from(socket.get());
        if index < self.lasting {
            return Err(error);
        }
        tracing::debug!(%error, index, "a socket is gone");
        self.errors_in_row = 0;
        self.sockets[index] = None;
        Ok(())
    }
}

impl<S: Datagrams> Drop for Pump<S> {
    fn drop(&mut self) {
        self.counters.publish(&self.counts);
        self.endpoint.shut_down(CloseReason::EndpointClosed);
    }
}

impl<S: Datagrams> fmt::Debug for Pump<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs: Vec<Option<SocketAddr>> =
            self.sockets.iter().map(|socket| socket.as_ref()?.local_addr().ok()).collect();
        f.debug_struct("Pump").field("sockets", &addrs).finish_non_exhaustive()
    }
}

/// Memory that datagrams are received into: allocated once, used for every call.
struct ReceiveSpace {
    memory: Vec<u8>,
    runs: [Run; BUFFERS_MAX],
}

impl ReceiveSpace {
    fn for_sockets<S: Datagrams>(sockets: &[S]) -> Self {
        let needs = sockets.iter().map(|socket| Self::count(socket) * socket.receive_buffer_len());
        Self { memory: vec![0; needs.max().unwrap_or(0)], runs: [Run::default(); BUFFERS_MAX] }
    }

    /// Allocates only for a socket that wants more than those before it.
    fn make_room_for<S: Datagrams>(&mut self, socket: &S) {
        let needs = Self::count(socket) * socket.receive_buffer_len();
        if needs > self.memory.len() {
            self.memory.resize(needs, 0);
        }
    }

    fn count<S: Datagrams>(socket: &S) -> usize {
        socket.receive_buffers().clamp(1, BUFFERS_MAX)
    }
}

fn socket_id(index: usize) -> SocketId {
    debug_assert!(u16::try_from(index).is_ok(), "the endpoint numbers sockets with 16 bits");
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    SocketId::new(index as u16)
}

/// Whether an error says that the transport is gone for good.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Whether the system knows no way to where this datagram was to go.
fn is_without_way(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

/// Whether an error of sending is the answer to something that was sent earlier.
pub(super) fn is_answer_to_another(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests;
