//! A network without a network: datagrams that fly for as long as a rule says, in time that a test makes up.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ebbtide::{Batch, Datagrams, Instant, Run};

/// One datagram as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a datagram: it may be changed, and arrives once after each of these times.
pub(crate) type Rule = Box<dyn FnMut(&mut Sent) -> Vec<Duration> + Send>;

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    now: Instant,
    rule: Rule,
    /// Arrivals of each address, by time.
    arriving: HashMap<SocketAddr, Vec<(Instant, SocketAddr, Vec<u8>)>>,
    sent: Vec<Sent>,
}

impl Wire {
    /// Everything arrives after that time.
    pub(crate) fn new(delay: Duration) -> Self {
        let inner = Inner {
            now: Instant::ZERO,
            rule: Box::new(move |_| vec![delay]),
            arriving: HashMap::new(),
            sent: Vec::new(),
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn attach(&self, addr: SocketAddr) -> End {
        self.0.lock().unwrap().arriving.insert(addr, Vec::new());
        End { wire: self.clone(), addr }
    }

    pub(crate) fn set_rule(&self, rule: impl FnMut(&mut Sent) -> Vec<Duration> + Send + 'static) {
        self.0.lock().unwrap().rule = Box::new(rule);
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.0.lock().unwrap().now = now;
    }

    /// What was sent so far, and is forgotten with that.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    /// A datagram that arrives at once, whoever claims to have sent it.
    pub(crate) fn inject(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        let now = inner.now;
        inner.put(now, from, to, bytes);
    }
}

impl Inner {
    fn put(&mut self, at: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(arriving) = self.arriving.get_mut(&to) else { return };
        let place = arriving.partition_point(|(other, _, _)| *other <= at);
        arriving.insert(place, (at, from, bytes.to_vec()));
    }
}

/// A socket of the network.
pub(crate) struct End {
    wire: Wire,
    addr: SocketAddr,
}

impl Datagrams for End {
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], runs: &mut [Run]) -> io::Result<usize> {
        let mut inner = self.wire.0.lock().unwrap();
        let now = inner.now;
        let arriving = inner.arriving.get_mut(&self.addr).unwrap();
        if arriving.first().is_none_or(|(at, _, _)| *at > now) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (_, from, bytes) = arriving.remove(0);
        buffers[0][..bytes.len()].copy_from_slice(&bytes);
        runs[0] = Run { from, len: bytes.len(), stride: bytes.len() };
        Ok(1)
    }

    fn try_send(&self, peer: SocketAddr, batch: &Batch, skip: usize) -> io::Result<usize> {
        let mut inner = self.wire.0.lock().unwrap();
        let at = inner.now;
        for bytes in batch.datagrams().skip(skip) {
            let mut sent = Sent { at, from: self.addr, to: peer, bytes: bytes.to_vec() };
            inner.sent.push(sent.clone());
            for delay in (inner.rule)(&mut sent) {
                inner.put(at + delay, sent.from, sent.to, &sent.bytes);
            }
        }
        Ok(batch.len() - skip)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
