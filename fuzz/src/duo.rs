//! Two endpoints, what is under way between them, and the streams that applications have open.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::endpoint::{Endpoint, Handle, Lease};
use ebbtide::wire::ConnId;
use ebbtide::{Config, Instant};

use super::pattern::stretch;
use super::tasks::{cx, ignore};

thread_local! {
    /// Kept for its memory.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new(64));
}

/// How a datagram travels: after which times a copy of it arrives. Nothing: it is lost.
pub(crate) type Fate = Vec<Duration>;

/// What stands between the two.
pub(crate) trait Network {
    /// Decides about a datagram, and may change it.
    fn carry(&mut self, datagram: &mut Vec<u8>) -> Fate;

    /// Whether it has ever put another packet in the place of one.
    fn has_tampered(&self) -> bool {
        false
    }
}

/// Loses nothing, changes nothing.
pub(crate) struct Calm(pub(crate) Duration);

impl Network for Calm {
    fn carry(&mut self, _datagram: &mut Vec<u8>) -> Fate {
        vec![self.0]
    }
}

/// An endpoint that listens.
struct Side {
    endpoint: Endpoint,
    lease: Lease,
    addr: SocketAddr,
}

/// A connection, and what its two applications have done with it.
pub(crate) struct Stream {
    id: ConnId,
    /// Which stream this is, for its pattern.
    number: usize,
    pub(crate) ends: [End; 2],
}

/// One application.
#[derive(Default)]
pub(crate) struct End {
    handle: Option<Handle>,
    written: usize,
    read: usize,
    finished: bool,
    /// Has seen the other one's end.
    ended: bool,
    /// Aborted, or dropped before it was done.
    pub(crate) gone: bool,
    pub(crate) paused: bool,
}

/// The two endpoints.
pub(crate) struct Duo {
    sides: [Side; 2],
    pub(crate) now: Instant,
    /// By arrival and order: to whom, and the bytes.
    under_way: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    order: u64,
    pub(crate) streams: Vec<Stream>,
    /// The network has changed a packet: what is read may be wrong, and streams may fail.
    pub(crate) tampered: bool,
}

impl Duo {
    pub(crate) fn new(config: Config) -> Self {
        let config = Arc::new(config);
        let sides = [1, 2].map(|number| {
            let mut endpoint = Endpoint::new(Arc::clone(&config), [number; 32]);
            let addr = SocketAddr::from(([192, 0, 2, number], 4000));
            endpoint.add_socket(addr);
            let lease = endpoint.shared().lease();
            lease.set_listening(true);
            Side { endpoint, lease, addr }
        });
        let now = Instant::from_micros(u64::from(u32::MAX) - 1_000_000);
        Self { sides, now, under_way: BTreeMap::new(), order: 0, streams: Vec::new(), tampered: false }
    }

    /// An application on this side opens a stream.
    pub(crate) fn connect(&mut self, side: usize) {
        let number = self.streams.len();
        let id = ConnId::new(65_000 + 4 * number as u16);
        let peer = self.sides[1 - side].addr;
        let handle = self.sides[side].lease.connect(peer, Some(id));
        let mut stream = Stream { id, number, ends: Default::default() };
        stream.ends[side].handle = Some(handle);
        self.streams.push(stream);
    }

    /// Lets the endpoints do what they have to, and applications read.
    pub(crate) fn service(&mut self, network: &mut dyn Network) {
        for _ in 0..64 {
            self.accept();
            for side in 0..2 {
                self.drive(side, network);
            }
            self.tampered |= network.has_tampered();
            let tampered = self.tampered;
            let read = self.streams.iter_mut().any(|stream| stream.read(tampered));
            let overdue = |side: &Side| side.endpoint.poll_timeout().is_some_and(|at| at <= self.now);
            let mail = |side: &Side| side.endpoint.shared().has_mail();
            if !read && !self.sides.iter().any(|side| overdue(side) || mail(side)) {
                return;
            }
        }
        panic!("something stays overdue at {}: {:?}", self.now, self.sides[0].endpoint);
    }

    fn accept(&mut self) {
        for (at, side) in self.sides.iter().enumerate() {
            while let Poll::Ready(Some(incoming)) = side.lease.poll_incoming(&mut cx()) {
                let id = incoming.syn().id;
                let end =
                    self.streams.iter_mut().find(|stream| stream.id == id).map(|stream| &mut stream.ends[at]);
                match end.filter(|end| end.handle.is_none() && !end.gone) {
                    Some(end) => end.handle = Some(incoming.accept()),
                    None => incoming.ignore(),
                }
            }
        }
    }

    fn drive(&mut self, from: usize, network: &mut dyn Network) {
        let side = &mut self.sides[from];
        side.endpoint.handle_mail(self.now);
        side.endpoint.handle_timeout(self.now);
        BATCH.with_borrow_mut(|batch| {
            for _ in 0..20_000 {
                if side.endpoint.poll_transmit(self.now, batch).is_none() {
                    return;
                }
                for datagram in batch.datagrams() {
                    let mut datagram = datagram.to_vec();
                    for delay in network.carry(&mut datagram) {
                        self.order += 1;
                        self.under_way.insert((self.now + delay, self.order), (1 - from, datagram.clone()));
                    }
                }
            }
            panic!("an endpoint that never stops sending");
        });
    }

    /// Goes on to the next thing that happens, if it does so by `end`. Returns whether anything did.
    pub(crate) fn advance(&mut self, end: Instant, network: &mut dyn Network) -> bool {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        let timers = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
        let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= self.now) {
            let (to, datagram) = first.remove();
            let path = Path { socket: SocketId::new(0), peer: self.sides[1 - to].addr };
            self.sides[to].endpoint.handle_datagrams(self.now, path, &datagram, datagram.len().max(1));
        }
        self.service(network);
        true
    }

    /// All applications go, the endpoints close: they come to an end by themselves, and nothing is left.
    pub(crate) fn close(mut self, limit: Duration, network: &mut dyn Network) {
        for stream in &mut self.streams {
            stream.ends.iter_mut().for_each(|end| end.close());
        }
        self.sides.iter().for_each(|side| side.lease.close());
        self.service(network);
        let end = self.now + limit;
        while self.advance(end, network) {}
        for Side { endpoint, .. } in &self.sides {
            assert!(endpoint.is_drained(), "does not end: {endpoint:?}");
            assert_eq!((endpoint.connections(), endpoint.routes_len(), endpoint.timers_len()), (0, 0, 0));
        }
    }
}

impl Stream {
    pub(crate) fn write(&mut self, side: usize, len: usize) -> usize {
        let end = &mut self.ends[side];
        let Some(handle) = end.handle.as_ref().filter(|_| !end.finished) else { return 0 };
        let data = part(self.number, side, end.written, len);
        match handle.try_write(data) {
            Poll::Ready(Ok(taken)) => {
                end.written += taken;
                taken
            }
            _ => 0,
        }
    }

    pub(crate) fn finish(&mut self, side: usize) {
        let end = &mut self.ends[side];
        if let Some(handle) = &end.handle {
            end.finished = true;
            ignore(handle.poll_finish(&mut cx()));
        }
    }

    pub(crate) fn flush(&self, side: usize) {
        if let Some(handle) = &self.ends[side].handle {
            ignore(handle.poll_flush(&mut cx()));
        }
    }

    pub(crate) fn abort(&mut self, side: usize) {
        if let Some(handle) = &self.ends[side].handle {
            handle.abort();
        }
        self.ends[side].gone = true;
    }

    pub(crate) fn drop(&mut self, side: usize) {
        self.ends[side].close();
    }

    /// Both applications read what is there. Returns whether there was anything.
    fn read(&mut self, tampered: bool) -> bool {
        let mut any = false;
        for side in 0..2 {
            let written = self.ends[1 - side].written;
            let finished = self.ends[1 - side].finished || self.ends[1 - side].gone;
            let end = &mut self.ends[side];
            let Some(handle) = end.handle.as_ref().filter(|_| !end.paused && !end.ended) else { continue };
            let mut bytes = [0; 4096];
            while let Poll::Ready(Ok(len)) = handle.try_read(&mut bytes) {
                if len == 0 {
                    assert!(tampered || finished, "the end, before anybody ended");
                    end.ended = true;
                    break;
                }
                any = true;
                let same = bytes[..len] == *part(self.number, 1 - side, end.read, len);
                assert!(tampered || same, "stream {} delivers other bytes", self.number);
                end.read += len;
                assert!(tampered || end.read <= written, "more was read than written");
            }
        }
        any
    }

    /// Whether everything written was read, and both have seen the end.
    pub(crate) fn is_complete(&self) -> bool {
        let [a, b] = &self.ends;
        a.finished && b.finished && a.ended && b.ended && a.read == b.written && b.read == a.written
    }

    pub(crate) fn was_given_up(&self) -> bool {
        self.ends.iter().any(|end| end.gone)
    }

    pub(crate) fn report(&self) -> String {
        let end = |end: &End| {
            let reason = end.handle.as_ref().and_then(Handle::close_reason);
            let stats = end.handle.as_ref().map(Handle::stats);
            format!(
                "wrote {} read {} finished {} ended {} {reason:?} {stats:#?}",
                end.written, end.read, end.finished, end.ended
            )
        };
        format!("stream {}: {} | {}", self.number, end(&self.ends[0]), end(&self.ends[1]))
    }
}

impl End {
    pub(crate) const fn written(&self) -> usize {
        self.written
    }

    fn close(&mut self) {
        self.handle = None;
        self.gone = true;
    }
}

/// What the application of this side writes from this place of this stream on.
fn part(stream: usize, side: usize, at: usize, len: usize) -> &'static [u8] {
    stretch((2 * stream + side) * 7919 + at, len)
}
