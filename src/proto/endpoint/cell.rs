//! Where a connection lives: shared by the driver, which moves packets, and the application, which moves bytes.
//!
//! # The concurrency contract
//!
//! 1. A thread holds at most one lock.
//! 2. A waker is called only after the lock is released.
//! 3. Whoever makes [`wants_service`](Connection::wants_service) true posts the key, unless the cell is already
//!    dirty.
//! 4. The driver clears `dirty` before it polls the connection.
//! 5. Going to sleep registers the waker and looks for mail under the same lock.
//!
//! From 3 and 4 follows that no wish of the application is lost: either the driver has not yet polled since the
//! cell became dirty, and then it will, because the key is in the mail or in the ready ring; or it has, and then
//! the cell is clean and the next wish posts again. From 5 follows that the mail is read. A task that waits
//! registers under the same lock under which it found nothing, so what happens next finds it registered.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use super::clock::Clock;
use super::gauge::{Charge, Gauge};
use super::waiters::{Interest, Waiters};
use crate::error::CloseReason;
use crate::proto::batch::{Batch, Path};
#[cfg(feature = "sim")]
use crate::proto::conn::ReadOutcome;
use crate::proto::conn::{ConnIds, Connection, Doubt, Events, Hello, Syn};
use crate::proto::sync::{Mutex, MutexGuard};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{Packet, SeqNr};

/// A connection, its lock, and the tasks that wait for it.
#[derive(Debug)]
pub(super) struct Cell {
    inner: Mutex<Inner>,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) conn: Connection,
    pub(super) waiters: Waiters,
    /// What it has on the endpoint's gauge.
    charge: Charge,
    /// Packets and deadlines of this connection are of a clock of its own.
    clock: Clock,
    /// The place in the driver's tables, once it has one.
    key: Option<Key>,
    /// The driver has been told, and has not been here since.
    dirty: bool,
    /// The handshake was over at some time, whatever happened then.
    connected: bool,
    /// The application has called, and waits for the peer to answer, whoever turns out to be the caller.
    dialled: bool,
}

/// Measured: bytes of a connection without buffers: itself, its controller, its places in tables and queues.
pub(super) const CONNECTION_BYTES: usize = 3072;

/// Ours: bytes that may be written to an idle connection even if memory is tight: a few packets.
const WRITE_LEAST: usize = 4096;

/// What tasks wait for.
pub(super) const CONNECT: Interest = Interest::kind(0);
pub(super) const READ: Interest = Interest::kind(1);
pub(super) const WRITE: Interest = Interest::kind(2);
pub(super) const FLUSH: Interest = Interest::kind(3);
pub(super) const ACKED: Interest = Interest::kind(4);
pub(super) const RECEIPTS: Interest = Interest::kind(5);

/// What the driver learned from a visit.
#[derive(Debug)]
pub(super) struct Visit {
    /// The batch holds something, and there may be more.
    pub(super) filled: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) is_confirmed: bool,
    pub(super) is_drained: bool,
}

impl Cell {
    pub(super) fn new(conn: Connection, clock: Clock, gauge: &Arc<Gauge>) -> Arc<Self> {
        let charge = Charge::new(gauge, CONNECTION_BYTES);
        let waiters = Waiters::default();
        let inner =
            Inner { conn, waiters, charge, clock, key: None, dirty: false, connected: false, dialled: false };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Where its packets come from and go to.
    pub(super) fn path(&self) -> Path {
        self.lock().conn.path()
    }

    /// A task that panicked while it held the lock has left nothing half done that matters more than going on.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection at once and silently; who waits lands in `woken`.
    pub(super) fn fail(&self, reason: CloseReason, woken: &mut Vec<Waker>) {
        let mut inner = self.lock();
        inner.conn.fail(reason);
        inner.weigh();
        inner.collect(woken);
    }
}

impl Inner {
    /// The driver has given it a place in its tables.
    pub(super) fn enter(&mut self, key: Key) {
        self.key = Some(key);
    }

    /// The place in the driver's tables, once it has one.
    pub(super) const fn key(&self) -> Option<Key> {
        self.key
    }

    /// A connection of ours goes on the wire, with that place in the tables and that clock.
    pub(super) fn start(&mut self, now: Instant, key: Key, clock: Clock, ids: ConnIds, first_seq: SeqNr) {
        self.key = Some(key);
        self.clock = clock;
        self.dialled = true;
        self.conn.start(clock.shown(now), self.conn.path(), ids, first_seq);
    }

    /// A connection of ours has never been on the wire, and becomes the answer to a SYN that had come before.
    pub(super) fn adopt(
        &mut self,
        now: Instant,
        key: Key,
        clock: Clock,
        path: Path,
        syn: &Syn,
        first_seq: SeqNr,
    ) {
        self.key = Some(key);
        self.clock = clock;
        self.dialled = true;
        self.give_way(now, path, syn, first_seq);
    }

    /// Our call becomes the answer to a SYN.
    pub(super) fn give_way(&mut self, now: Instant, path: Path, syn: &Syn, first_seq: SeqNr) {
        let syn = Syn { arrived: self.clock.shown(syn.arrived), ..*syn };
        self.conn.give_way(self.clock.shown(now), path, &syn, first_seq);
    }

    /// Gives its connection up for one that is none, with its clock and whether the handshake was over.
    pub(super) fn give_up(&mut self, spare: Connection) -> (Connection, Clock, bool) {
        let connected = self.was_connected();
        self.key = None;
        (std::mem::replace(&mut self.conn, spare), self.clock, connected)
    }

    /// A connection takes the place of the one that the application has asked for.
    pub(super) fn take_over(&mut self, key: Key, clock: Clock, conn: Connection, connected: bool) {
        self.key = Some(key);
        self.clock = clock;
        self.dialled = true;
        self.connected = connected;
        let asked = std::mem::replace(&mut self.conn, conn);
        self.conn.take_over(asked);
        self.weigh();
    }

    /// Whether the application waits for a peer that has not answered yet.
    pub(super) const fn is_dialled(&self) -> bool {
        self.dialled
    }

    /// Takes in a packet that was routed here, without what it carries if there is no memory for that. Returns whether
    /// there was.
    /// After the last of several packets, [`weigh`](Self::weigh).
    pub(super) fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        let (tight, growth) = (self.charge.is_tight(), self.conn.growth_for(packet));
        let admitted = self.charge.admits(growth);
        self.conn.let_window_grow(!tight);
        if admitted {
            self.conn.handle_packet(self.clock.shown(now), packet);
        } else {
            self.conn.handle_without_payload(self.clock.shown(now), packet);
        }
        if tight || growth > 0 {
            self.weigh();
        }
        admitted
    }

    /// Whether this RESET would end the connection.
    pub(super) fn believes_reset(&self, now: Instant, packet: &Packet<'_>) -> bool {
        self.conn.believes_reset(self.clock.shown(now), packet)
    }

    /// Whether a packet from an unknown address may be the peer's.
    pub(super) fn admits_migrant(&self, packet: &Packet<'_>) -> bool {
        self.conn.admits_migrant(packet)
    }

    /// What is to be asked of an unknown address.
    pub(super) fn challenge_packet(&self, now: Instant, challenge: u64) -> Option<Vec<u8>> {
        self.conn.challenge_packet(self.clock.shown(now), challenge)
    }

    /// The peer is there now.
    pub(super) fn migrate(&mut self, now: Instant, path: Path) {
        self.conn.migrate(self.clock.shown(now), path);
    }

    /// Another way to the peer has been found.
    pub(super) fn take_way(&mut self, now: Instant, path: Path) {
        self.conn.take_way(self.clock.shown(now), path);
    }

    /// Another SYN has come on the ids of this connection.
    pub(super) fn doubt(&mut self, now: Instant, seq: SeqNr, hello: Option<Hello>) -> Doubt {
        self.conn.doubt(self.clock.shown(now), seq, hello)
    }

    /// How many of `wanted` bytes memory allows the application to write now, however much room there is.
    pub(super) fn writable(&self, wanted: usize) -> usize {
        if self.charge.admits(self.conn.growth_for_write(wanted)) {
            return wanted;
        }
        // What it has it may use, and perhaps twice that.
        let spare = self.conn.spare_for_write();
        let step = self.conn.growth_for_write(spare + 1);
        let room = if self.charge.admits(step) { spare + step } else { self.charge.room().max(spare) };
        // What is acknowledged, or the peer's silence, brings the writer back. Without either it could wait for ever.
        let least = if self.conn.has_unacked() { 0 } else { WRITE_LEAST };
        room.max(least).min(wanted)
    }

    /// Reports what the buffers take. To be called after whatever may have changed it.
    pub(super) fn weigh(&mut self) {
        self.charge.update(self.conn.memory());
    }

    /// Does whatever is overdue.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.conn.handle_timeout(self.clock.shown(now));
        self.weigh();
    }

    /// Whether the handshake was over at some time.
    pub(super) const fn was_connected(&self) -> bool {
        self.connected || self.conn.is_connected()
    }

    /// The driver's turn: fills a batch or says when to come back, and moves those whose time has come to `woken`.
    pub(super) fn visit(&mut self, now: Instant, batch: &mut Batch, woken: &mut Vec<Waker>) -> Visit {
        self.dirty = false;
        let filled = self.conn.poll_transmit(self.clock.shown(now), batch);
        batch.set_clock(self.clock.ahead());
        self.weigh();
        self.collect(woken);
        Visit {
            filled,
            deadline: if filled { None } else { self.conn.poll_timeout().map(|at| self.clock.hidden(at)) },
            is_confirmed: self.conn.is_confirmed(),
            is_drained: self.conn.is_drained(),
        }
    }

    /// Moves those who wait for what has happened to `woken`.
    pub(super) fn collect(&mut self, woken: &mut Vec<Waker>) {
        let events = self.conn.take_events();
        if events.is_empty() {
            return;
        }
        self.connected |= self.conn.is_connected();
        if events.intersects(Events::CLOSED) {
            self.waiters.take(Interest::ALL, woken);
            return;
        }
        let kinds = [
            (Events::CONNECTED, CONNECT),
            (Events::READABLE, READ),
            (Events::WRITABLE, WRITE),
            (Events::FLUSHED, FLUSH),
            (Events::ACKED, ACKED),
            (Events::RECEIPTS, RECEIPTS),
        ];
        let happened = kinds.iter().filter(|(event, _)| events.intersects(*event));
        let interest = happened.fold(Interest::NONE, |all, (_, interest)| all.and(*interest));
        self.waiters.take(interest, woken);
    }

    /// What waits although nothing will come of it: a mistake of ours, once the driver has nothing left to do.
    #[cfg(feature = "sim")]
    pub(super) fn waits_in_vain(&self) -> Option<&'static str> {
        let (conn, waits) = (&self.conn, |interest| self.waiters.has(interest));
        let readable = conn.read_outcome(1) != ReadOutcome::Empty;
        let has_room = conn.has_nothing_to_send() && conn.write_refusal().is_none();
        match conn.close_reason() {
            Some(_) if waits(Interest::ALL) => Some("a task that waits for a connection which is over"),
            _ if readable && waits(READ) => Some("a task that waits for bytes which are there"),
            _ if conn.is_connected() && waits(CONNECT) => {
                Some("a task that waits for a handshake which is over")
            }
            _ if conn.is_acked() && waits(ACKED) => Some("a task that waits for what is acknowledged"),
            _ if has_room && waits(WRITE) => Some("a task that waits for room which is there"),
            _ => conn.waits_in_vain(),
        }
    }

    /// After a verb of the application: the key to post, if the driver has to be told and has not been.
    pub(super) fn post_due(&mut self) -> Option<Key> {
        if self.dirty || !self.conn.wants_service() {
            return None;
        }
        let key = self.key?;
        self.dirty = true;
        Some(key)
    }
}

#[cfg(feature = "sim")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::proto::batch::SocketId;
    use crate::proto::conn::Syn;
    use crate::wire::{ConnId, Timestamp};

    const PATH: Path = Path { socket: SocketId::new(0), peer: std::net::SocketAddr::new(LOCALHOST, 9) };
    const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const NOW: Instant = Instant::from_micros(1_000_000);

    /// Lets both talk until neither has anything to say.
    fn settle(one: &mut Connection, other: &mut Connection) {
        let mut batch = Batch::new(64);
        for turn in 0..20 {
            let (from, to) = if turn % 2 == 0 { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
            batch.clear();
            while from.poll_transmit(NOW, &mut batch) {
                batch.datagrams().filter_map(|bytes| Packet::decode(bytes).ok()).for_each(|packet| {
                    to.handle_packet(NOW, &packet);
                });
                batch.clear();
            }
        }
    }

    /// What is wrong if somebody waits for that.
    fn wrong(inner: &mut Inner, interest: Interest) -> Option<&'static str> {
        assert_eq!(inner.waits_in_vain(), None, "without anybody who waits");
        inner.waiters.register(Waker::noop(), interest, &mut Vec::new());
        let wrong = inner.waits_in_vain();
        inner.waiters = Waiters::default();
        wrong
    }

    #[test]
    fn a_task_that_waits_for_what_is_there_is_found() {
        let config = Arc::new(Config::default());
        let conn = Connection::connect(Arc::clone(&config), PATH);
        let cell = Cell::new(conn, Clock::default(), &Gauge::new(1 << 30));
        let mut inner = cell.lock();
        let (id, seq) = (ConnId::new(0xFFFE), SeqNr::new(65_533));
        inner.conn.start(NOW, PATH, ConnIds::initiator(id), seq);
        let syn = Syn { id, seq, window: 1 << 20, sent_at: Timestamp::new(7), arrived: NOW, hello: None };
        let mut peer = Connection::accept(config, PATH, &syn, SeqNr::new(65_534), NOW);
        let mut batch = Batch::new(1);
        assert!(inner.conn.poll_transmit(NOW, &mut batch));
        for interest in [CONNECT, READ, ACKED, FLUSH] {
            assert_eq!(wrong(&mut inner, interest), None, "the SYN is under way");
        }

        settle(&mut peer, &mut inner.conn);
        let found = [CONNECT, READ, WRITE, FLUSH, ACKED].map(|interest| wrong(&mut inner, interest));
        let (handshake, room) =
            ("a task that waits for a handshake which is over", "a task that waits for room which is there");
        assert_eq!(found, [Some(handshake), None, Some(room), None, None]);

        peer.write(b"bytes");
        settle(&mut peer, &mut inner.conn);
        assert_eq!(wrong(&mut inner, READ), Some("a task that waits for bytes which are there"));
        inner.conn.read(&mut [0; 9]);
        inner.conn.write(b"bytes");
        batch.clear();
        assert!(inner.conn.poll_transmit(NOW, &mut batch));
        assert_eq!((wrong(&mut inner, READ), wrong(&mut inner, WRITE)), (None, None), "they are in flight");
        peer.handle_packet(NOW, &Packet::decode(batch.bytes()).unwrap_or_else(|_| unreachable!("ours")));
        settle(&mut peer, &mut inner.conn);

        inner.conn.finish();
        settle(&mut inner.conn, &mut peer);
        let acked = Some("a task that waits for what is acknowledged");
        assert_eq!((wrong(&mut inner, ACKED), wrong(&mut inner, WRITE)), (acked, None));
        inner.conn.abort();
        let over = Some("a task that waits for a connection which is over");
        assert_eq!((wrong(&mut inner, READ), wrong(&mut inner, FLUSH)), (over, over));
    }
}
