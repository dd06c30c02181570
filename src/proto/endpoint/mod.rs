//! Many connections on few sockets: the same four verbs as one connection, over all of them.
//!
//! ```text
//!   applications   Handle ── Cell ◀──┐      Shared, Incoming
//!                                    │         │ mailbox
//!   driver         handle_datagrams ─┴─▶ ready ring ─▶ poll_transmit ─▶ batches, wake-ups
//!                  handle_mail      ───▶   ▲
//!                  handle_timeout   ───────┘ timers
//! ```
//!
//! The first three verbs only feed connections and mark them ready. [`poll_transmit`](Endpoint::poll_transmit) visits
//! the ready ones in turn: one batch each, then to the back of the ring; when there is nothing left to send, its
//! deadline is read. So acknowledgements, wake-ups and timers come once per connection and turn, however many
//! packets came. A driver calls the verbs in the order of the picture, until [`has_work`](Endpoint::has_work) is
//! false, and then waits for a datagram, [mail](Shared::register_driver) or
//! [`poll_timeout`](Endpoint::poll_timeout).
//!
//! Knows no socket, no clock and no source of chance: time and seed are arguments. Knows no sequence number, no
//! window and no state of a connection either. The rules about locks are in `cell.rs`.

mod answers;
mod backlog;
mod bucket;
mod cell;
mod clock;
mod cookies;
mod crossing;
mod dial;
mod dialect;
mod foreign;
mod gauge;
mod handle;
mod holes;
mod incoming;
mod input;
mod keyed;
mod listeners;
mod mail;
mod mailbox;
mod meeting;
mod messages;
mod migration;
mod pool;
mod punches;
mod ready;
mod reflect;
mod resets;
mod routes;
mod shared;
mod sockets;
mod sources;
mod stun;
mod syn;
mod timers;
mod waiters;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use self::dial::Dial;
pub use self::foreign::{Foreign, ForeignError};
pub use self::handle::{Handle, Mover, WriteError};
pub use self::holes::HoleHandle;
pub use self::incoming::Incoming;
pub use self::meeting::PunchHandle;
pub use self::pool::SocketRequest;
pub use self::reflect::{Reflecting, Surveying};
pub use self::shared::{Lease, Shared};

use self::answers::Answers;
use self::backlog::Backlog;
use self::cell::Cell;
use self::cookies::Cookies;
use self::crossing::Crossings;
use self::holes::Holes;
use self::keyed::Source;
use self::mailbox::{Mail, Verdict};
use self::meeting::Wish;
use self::migration::Migrations;
use self::pool::SocketPool;
use self::punches::Punches;
use self::ready::{Queued, Ready};
use self::resets::Resets;
use self::routes::Routes;
use self::sources::Sources;
use self::stun::Stun;
use self::timers::{Armed, Fired, Timers};
use self::waiters::wake_all;
use super::batch::{Batch, Path, SocketId};
use super::punch::PunchError;
use super::stun::StunError;
use crate::config::Config;
use crate::error::CloseReason;
use crate::stats::SocketStats;
use crate::storage::{Key, Slab};
use crate::time::Instant;
use crate::wire::{ConnId, PathToken, SeqNr};

/// All connections of some sockets, on the driver's side.
pub struct Endpoint {
    config: Arc<Config>,
    shared: Arc<Shared>,
    rng: StdRng,
    /// What packet numbers begin with, instead of a random one.
    first_seq: Option<SeqNr>,
    /// Never more than [`Config::max_connections`].
    entries: Slab<Entry>,
    /// One for each entry and each SYN in the backlog.
    routes: Routes,
    backlog: Backlog,
    /// Entries whose initiator has not proved its address.
    unconfirmed: usize,
    ready: Ready,
    timers: Timers,
    resets: Resets,
    cookies: Cookies,
    /// Connections per source.
    sources: Sources,
    answers: Answers,
    /// Calls that may be crossed.
    crossings: Crossings,
    migrations: Migrations,
    /// Sockets beyond the first ones.
    sockets: SocketPool,
    stun: Stun,
    punches: Punches,
    holes: Holes,
    /// When to look for connections that nobody accepts, if there are any.
    unaccepted_until: Option<Instant>,
    /// Foreign datagrams to be sent.
    foreign: VecDeque<Foreign>,
    /// Answers, STUN, foreign datagrams and connections take turns.
    turn: Turn,
    closing: Closing,
    /// Kept for its memory.
    mail: Mail,
    /// Kept for its memory; empty between verbs.
    woken: Vec<Waker>,
}

/// One connection, as the driver knows it.
#[derive(Debug)]
struct Entry {
    cell: Arc<Cell>,
    path: Path,
    /// Where its packets arrive.
    recv: ConnId,
    /// Where they go, which is also where a RESET may arrive.
    send: ConnId,
    started: Started,
    /// By which the peer may name it.
    token: Option<PathToken>,
    /// For whom it is counted.
    source: Option<Source>,
    /// Counts as half-open.
    unconfirmed: bool,
    queued: Queued,
    armed: Armed,
}

/// Who sent the SYN, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    ByUs(SeqNr),
    ByPeer(SeqNr),
}

/// Whose turn it is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Answers,
    Stun,
    Punches,
    Foreign,
    Connections,
}

/// How far the end of the endpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Connections end by themselves until then.
    Until(Instant),
    /// Whatever was left has been aborted.
    Aborted,
    /// The driver has gone.
    Ended,
}

/// Beginning and end.
impl Endpoint {
    /// An endpoint without sockets. All its choices (ids, packet numbers) come from `seed`, which should come from
    /// the operating system.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let config = dialect::adapt(config);
        Self {
            shared: Shared::new(Arc::clone(&config)),
            resets: Resets::new(config.resets_per_second, &mut rng),
            cookies: Cookies::new(&mut rng),
            sources: Sources::new(&mut rng),
            routes: Routes::new(&mut rng),
            migrations: Migrations::new(&mut rng),
            config,
            rng,
            first_seq: None,
            entries: Slab::new(),
            backlog: Backlog::default(),
            unconfirmed: 0,
            ready: Ready::default(),
            timers: Timers::default(),
            foreign: VecDeque::new(),
            turn: Turn::Answers,
            answers: Answers::default(),
            crossings: Crossings::default(),
            sockets: SocketPool::default(),
            stun: Stun::default(),
            punches: Punches::default(),
            holes: Holes::default(),
            unaccepted_until: None,
            closing: Closing::No,
            mail: Mail::default(),
            woken: Vec::new(),
        }
    }

    /// Adds a socket that is bound to `local` and carries the family of that address.
    ///
    /// # Panics
    /// With 65,536 sockets.
    pub fn add_socket(&mut self, local: SocketAddr) -> SocketId {
        self.shared.add_socket(local, false)
    }

    /// Adds an IPv6 socket that carries IPv4 too. IPv4 peers appear on its [`Path`]s as `::ffff:a.b.c.d`, as the
    /// system reports and takes them.
    ///
    /// # Panics
    /// With 65,536 sockets.
    pub fn add_dual_stack_socket(&mut self, local: SocketAddr) -> SocketId {
        self.shared.add_socket(local, true)
    }

    /// Fixes the first packet number of connections from now on, for tests that want it close to the wrap. Whoever
    /// knows it has half of what it takes to speak in another's name.
    #[cfg(any(test, feature = "sim"))]
    pub const fn set_first_seq(&mut self, seq: Option<SeqNr>) {
        self.first_seq = seq;
    }

    /// The applications' side.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Whether the endpoint may go: it was closed, or the last [`Lease`] dropped, and nothing is left to do.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.entries.is_empty() && !self.has_work() && self.shared.may_go()
    }

    /// The driver goes away, now: every connection fails with this reason, every task that waits is woken. Also
    /// happens on drop, with [`CloseReason::EndpointClosed`].
    pub fn shut_down(&mut self, reason: CloseReason) {
        self.closing = Closing::Ended;
        let mail = self.shared.end(reason);
        for open in mail.opens {
            open.cell.fail(reason, &mut self.woken);
        }
        for decision in mail.decisions {
            if let Verdict::Accept(cell) = decision.verdict {
                cell.fail(reason, &mut self.woken);
            }
        }
        for (_, entry) in std::mem::take(&mut self.entries).iter() {
            entry.cell.fail(reason, &mut self.woken);
        }
        self.routes.clear();
        self.backlog.clear();
        self.unconfirmed = 0;
        self.ready.clear();
        self.timers.clear();
        self.answers.clear();
        self.crossings.clear();
        self.migrations.clear();
        self.sockets.clear();
        mail.asks.iter().for_each(|ask| ask.asking.end(Err(StunError::Closed), &mut self.woken));
        self.end_questions();
        self.end_punches(Instant::ZERO);
        self.end_holes(mail.holes);
        for Wish { plan, meeting, .. } in mail.punches {
            meeting.end(Err(PunchError::Cancelled(Box::new(plan.report()))), &mut self.woken);
        }
        self.sources.clear();
        self.unaccepted_until = None;
        self.foreign.clear();
        self.publish_sizes();
        wake_all(&mut self.woken);
    }

    fn abort_all(&mut self) {
        self.closing = Closing::Aborted;
        let keys: Vec<Key> = self.entries.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.cell.lock().conn.abort();
                self.ready.push(key, &mut entry.queued);
            }
        }
    }
}

/// Time.
impl Endpoint {
    /// Looks after what time has made due. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((key, at)) = self.timers.pop_due(now) {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            match entry.armed.fired(at, now) {
                Fired::Due => {
                    entry.cell.lock().handle_timeout(now);
                    self.ready.push(key, &mut entry.queued);
                }
                Fired::Moved => {
                    let wanted = entry.armed.wanted();
                    self.timers.schedule(key, &mut entry.armed, wanted);
                }
                Fired::Stale => {}
            }
        }
        while let Some((key, waiting)) = self.backlog.expire(now, self.config.connect_timeout) {
            self.routes.remove(waiting.path, waiting.syn.id.next());
            self.sources.leave(Sources::counted(waiting.path), true);
            self.shared.withdraw(waiting.syn.hello.and_then(|hello| hello.service), key);
            self.publish_sizes();
        }
        self.expire_unaccepted(now);
        self.expire_kept(now);
        self.expire_old_paths(now);
        self.time_out_questions(now);
        self.time_out_punches(now);
        self.time_out_holes(now);
        if matches!(self.closing, Closing::Until(deadline) if deadline <= now) {
            self.abort_all();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) should be called. May be earlier than anything is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let closing = match self.closing {
            Closing::Until(deadline) => Some(deadline),
            _ => None,
        };
        let backlog = self.backlog.next_expiry(self.config.connect_timeout);
        let (stun, punches) = (self.stun.next_timeout(), self.punches.next_timeout());
        let (kept, old) = (self.crossings.next_expiry(), self.migrations.next_expiry());
        let own = [self.timers.next(), backlog, self.unaccepted_until, closing, kept, old];
        let ways = [stun, punches, self.holes.next_timeout()];
        own.into_iter().chain(ways).flatten().min()
    }
}

/// Sending.
impl Endpoint {
    /// Fills `batch` for one path and says for which, or `None` if there is nothing to send.
    ///
    /// Connections take turns, a batch each, and as a whole with answers, STUN, probes and foreign datagrams, so
    /// that a flood of what has to be answered takes four fifths of the batches at most. Tasks whose connection has something for them
    /// are woken from here.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        batch.clear();
        self.settle_punches(now);
        for _ in 0..5 {
            let translated = matches!(self.turn, Turn::Answers | Turn::Connections);
            let path = match self.turn {
                Turn::Answers => self.answers.write(now, batch).or_else(|| self.migrations.write(batch)),
                Turn::Stun => self.stun.write(now, batch),
                Turn::Punches => self.write_probe(now, batch),
                Turn::Foreign => self.write_foreign(batch),
                Turn::Connections => self.write_connection(now, batch),
            };
            self.turn = match self.turn {
                Turn::Answers => Turn::Stun,
                Turn::Stun => Turn::Punches,
                Turn::Punches => Turn::Foreign,
                Turn::Foreign => Turn::Connections,
                Turn::Connections => Turn::Answers,
            };
            if path.is_some() {
                if translated {
                    self.translate(batch);
                }
                return path;
            }
        }
        if self.closing != Closing::No && self.is_drained() {
            self.shared.announce_drained();
        }
        None
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has somebody to visit.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.answers.is_empty()
            || !self.migrations.is_empty()
            || !self.foreign.is_empty()
            || self.stun.has_work()
            || self.punches.has_work()
    }

    fn write_connection(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        while let Some(key) = self.ready.pop() {
            if let Some(path) = self.visit(now, key, batch) {
                return Some(path);
            }
        }
        None
    }

    fn write_foreign(&mut self, batch: &mut Batch) -> Option<Path> {
        let Foreign { path, bytes } = self.foreign.pop_front()?;
        batch.push_sealed(&bytes);
        Some(path)
    }

    fn visit(&mut self, now: Instant, key: Key, batch: &mut Batch) -> Option<Path> {
        let entry = self.entries.get_mut(key)?;
        entry.queued.leave();
        let visit = entry.cell.lock().visit(now, batch, &mut self.woken);
        let path = entry.path;
        let confirmed = entry.unconfirmed && visit.is_confirmed;
        if confirmed {
            entry.unconfirmed = false;
            self.unconfirmed -= 1;
            self.sources.prove(entry.source);
        }
        if visit.filled {
            self.ready.push(key, &mut entry.queued);
        } else {
            self.timers.schedule(key, &mut entry.armed, visit.deadline);
            let entries = &self.entries;
            let is_armed = |key, at| entries.get(key).is_some_and(|entry| entry.armed.is_at(at));
            self.timers.sweep(entries.len(), is_armed);
        }
        if visit.is_drained && !visit.filled {
            self.forget(key);
        } else if confirmed {
            self.publish_sizes();
        }
        wake_all(&mut self.woken);
        visit.filled.then_some(path)
    }
}

/// Tables.
impl Endpoint {
    /// Connections in the tables, those in time-wait included.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.entries.len()
    }

    /// Routes in the table: one per connection, one per undecided SYN. Those to addresses that a peer has left a moment ago
    /// are not counted; there are 256 at most.
    #[must_use]
    pub fn routes_len(&self) -> usize {
        self.routes.len().saturating_sub(self.migrations.old_len())
    }

    /// Entries in the timer heap: live, and left over.
    #[must_use]
    pub fn timers_len(&self) -> usize {
        self.timers.len()
    }

    /// Connections in the ready ring.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Bytes that all connections hold, see [`Config::max_memory`].
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.gauge().total()
    }

    /// Incoming connections whose initiator has not proved its address, undecided and accepted ones.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.backlog.len() + self.unconfirmed
    }

    /// Numbers about the endpoint; the same as [`Shared::stats`].
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.shared.stats()
    }

    fn mark_ready(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.ready.push(key, &mut entry.queued);
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        if let Some(token) = entry.token {
            self.migrations.forget(token);
            self.forget_old_paths(key);
        }
        if !self.crossings.is_empty() && !entry.cell.lock().was_connected() {
            self.crossings.forget(key);
        }
        self.routes.remove(entry.path, entry.recv);
        self.unconfirmed -= usize::from(entry.unconfirmed);
        self.sources.leave(entry.source, entry.unconfirmed);
        if self.entries.is_empty() {
            self.timers.clear();
        }
        self.publish_sizes();
    }

    fn publish_sizes(&self) {
        let (connections, half_open) = (self.entries.len(), self.half_open());
        self.shared.count(|stats| {
            stats.connections = connections;
            stats.half_open = half_open;
        });
    }

    fn random_seq(&mut self) -> SeqNr {
        let random = SeqNr::new(self.rng.random());
        self.first_seq.unwrap_or(random)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.closing != Closing::Ended {
            self.shut_down(CloseReason::EndpointClosed);
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.entries.len())
            .field("ready", &self.ready.len())
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}
