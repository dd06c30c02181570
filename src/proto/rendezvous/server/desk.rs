//! The server on an endpoint: takes the connections that come in, and moves bytes between them and the machine.
//!
//! Polled like a future, with the time as an argument, so that a runtime and a simulator run the same. Of many
//! thousands of quiet streams only those are looked at that have something to say.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{ClientId, Farewell, Server, ServerStats};
use crate::proto::endpoint::{Handle, Incoming, Shared};
use crate::proto::sync::Mutex;
use crate::storage::{Key, Slab};
use crate::time::Instant;

/// Ours: streams whose address nothing has proved yet. The one that has waited for longest makes room.
const ARRIVING_MAX: usize = 1024;

/// Ours: bytes that are read from a stream at once. Most messages have less than a hundred.
const READ: usize = 4096;

/// Ours: how often a stream is read from before others have their turn.
const READS: usize = 4;

/// The server on an endpoint. The endpoint must be listening, and nobody else may take what comes in.
pub struct Desk {
    server: Server,
    streams: Slab<Stream>,
    by_client: BTreeMap<ClientId, Key>,
    /// Those whose address nothing has proved yet, in the order in which they came; some are not any more.
    arriving: VecDeque<(Instant, Key)>,
    bells: Arc<Bells>,
    /// Kept for its memory.
    rung: Vec<Key>,
    buffer: Box<[u8; READ]>,
    /// The endpoint takes nobody any more.
    deaf: bool,
}

/// One connection.
struct Stream {
    handle: Handle,
    waker: Waker,
    /// Once something has come from there.
    client: Option<ClientId>,
}

/// Which streams have something to say.
struct Bells {
    rung: Mutex<Rung>,
}

#[derive(Default)]
struct Rung {
    keys: Vec<Key>,
    task: Option<Waker>,
}

/// What the waker of one stream rings.
struct Bell {
    bells: Arc<Bells>,
    key: Key,
}

impl Bells {
    fn ring(&self, key: Key) {
        let task = {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            // Twice in a row is once.
            if rung.keys.last() != Some(&key) {
                rung.keys.push(key);
            }
            rung.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whoever rings from now on wakes this task.
    fn take(&self, task: &Waker, into: &mut Vec<Key>) {
        into.clear();
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut rung.keys, into);
        let old = rung.task.replace(task.clone());
        drop(rung);
        // Dropping a waker may run somebody else's code.
        drop(old);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bells.ring(self.key);
    }
}

impl Desk {
    /// With this server behind it.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self {
            server,
            streams: Slab::new(),
            by_client: BTreeMap::new(),
            arriving: VecDeque::new(),
            bells: Arc::new(Bells { rung: Mutex::new(Rung::default()) }),
            rung: Vec::new(),
            buffer: Box::new([0; READ]),
            deaf: false,
        }
    }

    /// Further addresses that answer Binding requests.
    pub fn set_stun(&mut self, addrs: &[SocketAddr]) {
        self.server.set_stun(addrs);
    }

    /// There is a socket for what is to be forwarded; see [`Server::set_relay`].
    pub fn set_relay(&mut self, addr: SocketAddr) -> bool {
        self.server.set_relay(addr)
    }

    /// A datagram has come to that socket; see [`Server::relay`].
    pub fn relay(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<SocketAddr> {
        self.server.relay(now, from, datagram)
    }

    /// What the server has seen and done.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.server.stats()
    }

    /// Streams there are, those included that have not said anything.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Goes as far as it gets. To be called when the waker was called, or [`poll_timeout`](Self::poll_timeout) has
    /// come. Ready once the endpoint is closed and every stream is gone.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) -> Poll<()> {
        self.expire(now);
        loop {
            let mut rung = std::mem::take(&mut self.rung);
            self.bells.take(cx.waker(), &mut rung);
            let busy = !rung.is_empty();
            rung.drain(..).for_each(|key| self.serve(now, key));
            self.rung = rung;
            let came = self.admit(cx, now, shared);
            self.speak();
            if !busy && !came {
                break;
            }
        }
        if self.deaf && self.streams.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// When [`poll`](Self::poll) is to be called at the latest. Perhaps for nothing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.server.config().hello;
        let arriving = self.arriving.front().map(|(since, _)| *since + patience);
        [self.server.poll_timeout(), arriving].into_iter().flatten().min()
    }

    /// Tells everybody to look for another server, and lets nobody in from now on. [`poll`](Self::poll) again.
    pub fn drain(&mut self, now: Instant) {
        self.server.drain(now);
    }

    /// Ends all visits. [`poll`](Self::poll) again.
    pub fn close(&mut self, now: Instant) {
        self.server.close(now);
        while let Some((_, key)) = self.arriving.pop_front() {
            if self.streams.get(key).is_some_and(|stream| stream.client.is_none()) {
                self.streams.remove(key);
            }
        }
        self.speak();
    }

    fn admit(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) -> bool {
        let mut came = false;
        while !self.deaf {
            match shared.poll_incoming(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.deaf = true,
                Poll::Ready(Some(incoming)) => {
                    came = true;
                    self.accept(now, incoming);
                }
            }
        }
        came
    }

    fn accept(&mut self, now: Instant, incoming: Incoming) {
        if self.server.admits(incoming.peer_addr()).is_err() {
            return incoming.refuse();
        }
        while self.arriving.len() >= ARRIVING_MAX {
            self.give_up_first();
        }
        let stream = Stream { handle: incoming.accept(), waker: Waker::noop().clone(), client: None };
        let key = self.streams.insert(stream);
        let waker = Waker::from(Arc::new(Bell { bells: Arc::clone(&self.bells), key }));
        if let Some(stream) = self.streams.get_mut(key) {
            stream.waker = waker;
        }
        self.arriving.push_back((now, key));
        self.serve(now, key);
    }

    /// Something may have come on a stream, or there is room on it.
    fn serve(&mut self, now: Instant, key: Key) {
        for _ in 0..READS {
            let Some(stream) = self.streams.get_mut(key) else { return };
            let mut context = Context::from_waker(&stream.waker);
            let read = match stream.handle.poll_read(&mut context, &mut self.buffer[..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(read)) => read,
                Poll::Ready(Err(_)) => 0,
            };
            if read == 0 {
                return self.ended(now, key);
            }
            // Whoever sends data has got our number, and so receives at that address.
            if stream.client.is_none() && !self.arrive(now, key) {
                return;
            }
            let client = self.streams.get(key).and_then(|stream| stream.client);
            let Some(client) = client else { return };
            self.server.receive(now, client, &self.buffer[..read]);
        }
        let Some(stream) = self.streams.get(key) else { return };
        if let Poll::Ready(()) = stream.handle.poll_readable(&mut Context::from_waker(&stream.waker)) {
            self.bells.ring(key);
        }
        if let Some(client) = stream.client {
            self.write(client);
        }
    }

    fn arrive(&mut self, now: Instant, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        match self.server.arrive(now, stream.handle.peer_addr()) {
            Ok(client) => {
                stream.client = Some(client);
                self.by_client.insert(client, key);
                true
            }
            Err(_) => {
                stream.handle.abort();
                self.streams.remove(key);
                false
            }
        }
    }

    fn ended(&mut self, now: Instant, key: Key) {
        let Some(stream) = self.streams.remove(key) else { return };
        if let Some(client) = stream.client {
            self.by_client.remove(&client);
            self.server.depart(now, client);
        }
    }

    /// Everything that the server has to say goes as far as it gets.
    fn speak(&mut self) {
        while let Some(client) = self.server.next_outgoing() {
            self.write(client);
        }
        while let Some(farewell) = self.server.next_farewell() {
            self.part(&farewell);
        }
    }

    fn write(&mut self, client: ClientId) {
        let Some(stream) = self.by_client.get(&client).and_then(|key| self.streams.get(*key)) else { return };
        let mut context = Context::from_waker(&stream.waker);
        loop {
            let waiting = self.server.outgoing(client);
            if waiting.is_empty() {
                return;
            }
            match stream.handle.poll_write(&mut context, waiting) {
                Poll::Ready(Ok(count)) => self.server.sent(client, count),
                // The end of it shows when it is read from.
                Poll::Pending | Poll::Ready(Err(_)) => return,
            }
        }
    }

    /// Its last words, as many as there is room for; then the stream ends by itself.
    fn part(&mut self, farewell: &Farewell) {
        let Some(key) = self.by_client.remove(&farewell.client) else { return };
        let Some(stream) = self.streams.remove(key) else { return };
        let mut words = &farewell.last_words[..];
        while let Poll::Ready(Ok(count)) = stream.handle.try_write(words)
            && count > 0
            && count < words.len()
        {
            words = &words[count..];
        }
    }

    fn expire(&mut self, now: Instant) {
        let patience = self.server.config().hello;
        while self.arriving.front().is_some_and(|(since, _)| *since + patience <= now) {
            self.give_up_first();
        }
        if self.server.poll_timeout().is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
        }
    }

    fn give_up_first(&mut self) {
        let Some((_, key)) = self.arriving.pop_front() else { return };
        if self.streams.get(key).is_some_and(|stream| stream.client.is_none())
            && let Some(stream) = self.streams.remove(key)
        {
            stream.handle.abort();
        }
    }
}

/// How long a server that is about to go lets its clients look for another one.
impl Desk {
    /// Ours: enough for a message there, a new stream elsewhere, and a meeting under way.
    pub const GRACE: Duration = Duration::from_secs(5);
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("server", &self.server).finish_non_exhaustive()
    }
}
