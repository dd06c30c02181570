//! Where punches meet sockets and connections.
//!
//! ```text
//!   probe for no connection ─▶ the punch whose token it carries ─▶ answer, call
//!   SYN with session and token ─▶ accepted into its punch, whoever listens
//!   calls and accepted SYNs: several may be half open; the first that opens is the stream, the others are forgotten
//! ```
//!
//! What is sent when, and what is believed, the [machine](crate::proto::punch) decides; here are the limits that hold
//! for all punches of an endpoint together. After every verb that may have changed something, `settle` does what the
//! machines want done.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::cell::Cell;
use super::clock::Clock;
use super::dial::Dial;
use super::incoming::Request;
use super::meeting::{Meeting, Wish};
use super::pool::{News, Owner};
use super::routes::Route;
use super::waiters::wake_all;
use super::{Closing, Endpoint, Started};
use crate::error::CloseReason;
use crate::proto::batch::{Batch, Path, SocketId};
use crate::proto::conn::{ConnIds, Connection, Hello, Syn};
use crate::proto::punch::{Action, Probe, Punch, PunchError};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, Header, Packet, Session};

/// Ours: punches at once, those included that only answer late probes.
const LIVE_MAX: usize = 64;

/// Ours: sessions that are remembered so that none is used twice.
const SESSIONS_MAX: usize = 256;

/// Ours: half-open connections of one punch.
const HALF_OPEN_MAX: usize = 4;

/// Ours: from the end of one search for a port to the beginning of the next, so that a home router's table recovers.
const SEARCH_PAUSE: Duration = Duration::from_secs(20);

/// Ours: how often one that waits for another's search asks again.
const SEARCH_RETRY: Duration = Duration::from_millis(250);

/// The punches of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Punches {
    /// Never more than [`LIVE_MAX`].
    live: Vec<Live>,
    /// The last [`SESSIONS_MAX`].
    used: VecDeque<Session>,
    /// When the next search for a port may begin.
    search_from: Instant,
    /// Whose turn it is to send.
    turn: usize,
    owners: u64,
}

#[derive(Debug)]
struct Live {
    owner: Owner,
    punch: Punch,
    meeting: Arc<Meeting>,
    /// What is to go the way that is found. Otherwise it is a new connection.
    stream: Option<Arc<Cell>>,
    /// Connections that may become the one; never more than [`HALF_OPEN_MAX`].
    half_open: Vec<HalfOpen>,
    /// There is an outcome.
    decided: bool,
    /// It searches for a port.
    searching: bool,
    gone: bool,
    over: bool,
}

#[derive(Debug)]
struct HalfOpen {
    key: Key,
    cell: Arc<Cell>,
    /// We have called.
    ours: bool,
}

impl Punches {
    pub(super) fn has_work(&self) -> bool {
        self.live.iter().any(|live| live.punch.has_work())
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.live.iter().filter_map(|live| live.punch.poll_timeout()).min()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn next_owner(&mut self) -> Owner {
        self.owners += 1;
        Owner(self.owners)
    }
}

/// Beginning and end.
impl Endpoint {
    /// Begins one.
    pub(super) fn begin_punch(&mut self, now: Instant, wish: Wish) {
        let meeting = Arc::clone(&wish.meeting);
        if let Err(error) = self.try_begin_punch(now, wish) {
            meeting.end(Err(error), &mut self.woken);
        }
        self.settle_punches(now);
    }

    fn try_begin_punch(&mut self, now: Instant, wish: Wish) -> Result<(), PunchError> {
        let Wish { plan, meeting, stream } = wish;
        let refuse = |error: fn(Box<_>) -> PunchError| Err(error(Box::new(plan.report())));
        if self.closing != Closing::No {
            return refuse(PunchError::Cancelled);
        }
        if !self.config.extensions {
            return refuse(PunchError::SwitchedOff);
        }
        if self.punches.live.len() >= LIVE_MAX {
            return refuse(PunchError::TooMany);
        }
        if plan.believe_unnamed && self.punches.used.contains(&plan.session) {
            return refuse(PunchError::SessionUsed);
        }
        if self.punches.used.len() >= SESSIONS_MAX {
            self.punches.used.pop_front();
        }
        self.punches.used.push_back(plan.session);
        let shared = &self.shared;
        let mut way = |addr| {
            let path = shared.lock().sockets.path_to(addr)?;
            // Whoever sits on the loopback interface alone may call there; others have services there to be left alone.
            let local = shared.local_addr(path.socket)?;
            (!addr.ip().is_loopback() || local.ip().is_loopback()).then_some(path)
        };
        let punch = Punch::new(now, plan, self.rng.random(), &mut way)?;
        let owner = self.punches.next_owner();
        self.punches.live.push(Live {
            owner,
            punch,
            meeting,
            stream,
            half_open: Vec::new(),
            decided: false,
            searching: false,
            gone: false,
            over: false,
        });
        Ok(())
    }

    /// All of them end, now.
    pub(super) fn end_punches(&mut self, now: Instant) {
        for mut live in std::mem::take(&mut self.punches.live) {
            self.sockets.release_all(live.owner);
            if !live.decided {
                let error = PunchError::Cancelled(Box::new(live.punch.report(now)));
                live.meeting.end(Err(error), &mut self.woken);
                self.drop_half_open(&mut live);
            }
        }
    }

    /// Forgets the connections that did not become the one. Their peers hear nothing: the one that did is theirs too.
    fn drop_half_open(&mut self, live: &mut Live) {
        for HalfOpen { key, cell, .. } in live.half_open.drain(..) {
            cell.fail(CloseReason::Aborted, &mut self.woken);
            self.forget(key);
        }
    }
}

/// What comes in.
impl Endpoint {
    /// Takes a packet for no connection if it is a probe, whether it is for a punch of ours or not: to one with a wrong
    /// token nothing is answered.
    pub(super) fn take_probe(&mut self, now: Instant, path: Path, packet: &Packet<'_>) -> bool {
        if !self.config.extensions {
            return false;
        }
        let Some(probe) = Probe::read(packet) else { return false };
        // The latest first: an earlier one with the same token only answers any more.
        let live = &mut self.punches.live;
        match live.iter_mut().rev().any(|live| live.punch.handle_probe(now, path, &probe)) {
            true => self.settle_punches(now),
            false => self.drop_counted(|dropped| dropped.unknown_connection += 1),
        }
        true
    }

    /// A RESET for no connection may be a stranger's answer to a probe.
    pub(super) fn take_probe_reset(&mut self, path: Path, header: &Header) -> bool {
        let live = &mut self.punches.live;
        live.iter_mut().any(|live| live.punch.handle_reset(path, header.conn_id, header.ack))
    }

    /// Takes a SYN that carries a session and a token. It belongs to a punch or to nobody: those who listen have
    /// nothing to do with it.
    pub(super) fn take_punch_syn(&mut self, now: Instant, path: Path, header: &Header, hello: Hello) -> bool {
        let (Some(session), Some(token)) = (hello.session, hello.token) else { return false };
        let live = &mut self.punches.live;
        let found = live.iter_mut().rposition(|live| live.punch.handle_syn(now, path, session, token));
        let Some(at) = found else {
            self.drop_counted(|dropped| dropped.not_listening += 1);
            return true;
        };
        let live = &self.punches.live[at];
        if live.decided || live.half_open.len() >= HALF_OPEN_MAX {
            return true;
        }
        if self.entries.len() >= self.config.max_connections || self.shared.gauge().refuses() {
            self.drop_counted(|dropped| dropped.too_many_connections += 1);
            return true;
        }
        let half_open = self.accept_into_punch(now, path, header, hello);
        self.punches.live[at].half_open.push(half_open);
        self.settle_punches(now);
        true
    }

    fn accept_into_punch(&mut self, now: Instant, path: Path, header: &Header, hello: Hello) -> HalfOpen {
        let Header { conn_id: id, seq, window, sent_at, .. } = *header;
        let syn = Syn { id, seq, window, sent_at, arrived: now, hello: Some(hello) };
        let first_seq = self.cookies.number(now, path, id, seq, hello.service);
        let clock = Clock::new(self.cookies.clock(path, id, seq));
        let request = Request { path, syn, first_seq, clock, service: hello.service };
        let cell = request.create(Arc::clone(&self.config), self.shared.gauge(), Connection::accept);
        let key = self.enter(&cell, ConnIds::acceptor(id), Started::ByPeer(seq));
        cell.lock().enter(key);
        self.mark_ready(key);
        HalfOpen { key, cell, ours: false }
    }
}

/// What has to be done.
impl Endpoint {
    /// Does what the machines want done, and tells them what has happened to their connections.
    pub(super) fn settle_punches(&mut self, now: Instant) {
        if self.punches.is_empty() {
            return;
        }
        while let Some(News { owner, socket }) = self.sockets.next_news() {
            if let Some(live) = self.punches.live.iter_mut().find(|live| live.owner == owner) {
                live.punch.socket_opened(now, socket);
            }
        }
        let mut all = std::mem::take(&mut self.punches.live);
        for live in &mut all {
            self.settle_punch(now, live);
        }
        self.admit_search(now, &mut all);
        all.retain(|live| !live.over);
        self.punches.live = all;
        wake_all(&mut self.woken);
    }

    fn settle_punch(&mut self, now: Instant, live: &mut Live) {
        if !live.decided && live.meeting.is_cancelled() {
            self.drop_half_open(live);
            self.sockets.release_all(live.owner);
            (live.decided, live.over) = (true, true);
        }
        if live.over {
            return;
        }
        if !live.gone && live.meeting.is_gone() {
            live.gone = true;
            live.punch.go(now);
        }
        self.look_after_half_open(now, live);
        while let Some(action) = live.punch.poll_action() {
            self.act(now, live, action);
        }
    }

    /// The first connection that opens is the one.
    fn look_after_half_open(&mut self, now: Instant, live: &mut Live) {
        let mut at = 0;
        while !live.decided && at < live.half_open.len() {
            let (opened, closed) = {
                let half_open = &live.half_open[at];
                let inner = half_open.cell.lock();
                let conn = &inner.conn;
                (conn.is_confirmed() && conn.close_reason().is_none(), conn.close_reason().is_some())
            };
            if opened {
                let one = live.half_open.swap_remove(at);
                self.decide_punch(now, live, &one);
            } else if closed {
                let HalfOpen { cell, ours, .. } = live.half_open.swap_remove(at);
                if ours {
                    live.punch.call_failed(now, cell.path());
                }
            } else {
                at += 1;
            }
        }
    }

    fn decide_punch(&mut self, now: Instant, live: &mut Live, one: &HalfOpen) {
        live.decided = true;
        live.punch.connected(now, one.cell.path());
        self.drop_half_open(live);
        let report = live.punch.report(now);
        let way = one.cell.path();
        if live.stream.as_ref().is_some_and(|stream| !self.take_way(now, stream, way)) {
            live.meeting.end(Err(PunchError::Cancelled(Box::new(report))), &mut self.woken);
            self.turn_away(one.key);
        } else if live.meeting.end(Ok((Arc::clone(&one.cell), report)), &mut self.woken).is_some() {
            self.turn_away(one.key);
        } else if !one.ours && live.stream.is_none() {
            self.shared.count(|stats| stats.accepted += 1);
        }
    }

    fn act(&mut self, now: Instant, live: &mut Live, action: Action) {
        match action {
            Action::Ready => live.meeting.ready(&mut self.woken),
            Action::OpenSockets { count, like } => {
                if self.sockets.want(live.owner, like, count) == 0 {
                    live.punch.socket_opened(now, None);
                }
            }
            Action::CloseSockets => self.sockets.release_all(live.owner),
            Action::Connect(path) => self.call(now, live, path),
            Action::Repeat(path) => {
                let called = live.half_open.iter().find(|half_open| half_open.cell.path() == path);
                if let Some(HalfOpen { key, cell, .. }) = called {
                    cell.lock().conn.repeat_syn();
                    self.mark_ready(*key);
                }
            }
            Action::Failed(error) => {
                live.decided = true;
                self.drop_half_open(live);
                live.meeting.end(Err(error), &mut self.woken);
            }
            Action::Over => live.over = true,
        }
    }

    fn call(&mut self, now: Instant, live: &mut Live, path: Path) {
        let plan = live.punch.plan();
        let (session, token, service) = (Some(plan.session), Some(plan.remote_token), plan.service);
        let dial = Dial { path: Some(path), service, session, token, ..Dial::default() };
        let conn = Connection::connect(Arc::clone(&self.config), path);
        let cell = Cell::new(conn, Clock::default(), self.shared.gauge());
        let key = self.open(now, &cell, &dial).ok().and_then(|()| cell.lock().key());
        match key {
            Some(key) => live.half_open.push(HalfOpen { key, cell, ours: true }),
            None => live.punch.call_failed(now, path),
        }
    }

    /// One search for a port at a time, and none right after another.
    fn admit_search(&mut self, now: Instant, all: &mut [Live]) {
        for live in all.iter_mut() {
            if live.searching && !live.punch.is_searching() {
                self.punches.search_from = now + SEARCH_PAUSE;
            }
            live.searching = live.punch.is_searching();
        }
        let mut busy = all.iter().any(|live| live.searching);
        for live in all.iter_mut().filter(|live| !live.over) {
            if !live.punch.wants_birthday(now) {
                continue;
            }
            if busy || now < self.punches.search_from {
                live.punch.defer_birthday(now + SEARCH_RETRY);
                continue;
            }
            live.punch.begin_birthday(now);
            live.searching = live.punch.is_searching();
            busy |= live.searching;
            while let Some(action) = live.punch.poll_action() {
                self.act(now, live, action);
            }
        }
    }
}

/// Time, and what goes out.
impl Endpoint {
    pub(super) fn time_out_punches(&mut self, now: Instant) {
        for live in &mut self.punches.live {
            live.punch.handle_timeout(now);
        }
        self.settle_punches(now);
    }

    /// Writes a probe or an answer into an empty batch.
    pub(super) fn write_probe(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        let count = self.punches.live.len();
        for _ in 0..count {
            let at = self.punches.turn % count;
            self.punches.turn = at + 1;
            let (routes, shared) = (&self.routes, &self.shared);
            let is_free = |path: Path, id: ConnId| {
                let near = [id.prev().prev(), id.prev(), id, id.next(), id.next().next()];
                near.iter().all(|&id| !matches!(routes.get(path, id), Some(Route::Live(_))))
            };
            let is_open = |socket: SocketId| shared.local_addr(socket).is_some();
            while let Some(path) = self.punches.live[at].punch.poll_transmit(now, batch, &is_free) {
                if is_open(path.socket) {
                    return Some(path);
                }
                batch.clear();
            }
        }
        None
    }
}
