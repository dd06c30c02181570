//! What applications asked for: connections to start, decisions about incoming ones, the end.
//!
//! Runs on the driver's side, and only feeds connections and marks them ready.

use std::mem;
use std::sync::Arc;

use rand::RngExt;

use super::backlog::Waiting;
use super::cell::Cell;
use super::clock::Clock;
use super::dial::Dial;
use super::mailbox::{Decision, Open, Verdict};
use super::ready::Queued;
use super::routes::Route;
use super::sources::Sources;
use super::timers::Armed;
use super::waiters::wake_all;
use super::{Closing, Endpoint, Entry, Started};
use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::ConnIds;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, PathToken};

impl Endpoint {
    /// Does what applications asked for since the last time.
    pub fn handle_mail(&mut self, now: Instant) {
        let mut mail = mem::take(&mut self.mail);
        mail.foreign = mem::take(&mut self.foreign);
        self.shared.collect(&mut mail);
        self.foreign = mem::take(&mut mail.foreign);
        for key in mail.dirty.drain(..) {
            self.mark_ready(key);
        }
        for Open { cell, dial } in mail.opens.drain(..) {
            if let Err(reason) = self.open(now, &cell, &dial) {
                cell.fail(reason, &mut self.woken);
            }
        }
        for Decision { key, verdict } in mail.decisions.drain(..) {
            self.decide(now, key, verdict);
        }
        for ask in mail.asks.drain(..) {
            self.begin_to_ask(now, ask);
        }
        if let Some(serve) = mail.serve_stun.take() {
            self.serve_stun(serve);
        }
        for wish in mail.punches.drain(..) {
            self.begin_punch(now, wish);
        }
        for wish in mail.holes.drain(..) {
            self.begin_hole(now, wish);
        }
        self.settle_holes();
        // Who waits has perhaps given up, or has said that both sides are ready.
        self.settle_punches(now);
        // Last, so that what was asked for before the end is still begun.
        if mem::take(&mut mail.closing) && self.closing == Closing::No {
            self.begin_close(now);
        }
        self.mail = mail;
        wake_all(&mut self.woken);
    }

    /// Gives the connection ids and a place, and starts it. One that has been given up meanwhile is left alone.
    pub(super) fn open(&mut self, now: Instant, cell: &Arc<Cell>, dial: &Dial) -> Result<(), CloseReason> {
        if self.closing != Closing::No {
            return Err(CloseReason::EndpointClosed);
        }
        if self.entries.len() >= self.config.max_connections {
            return Err(CloseReason::TooManyConnections);
        }
        if let Some(reason) = self.cannot_say(cell, dial) {
            return Err(reason);
        }
        if self.claim(now, cell, dial) {
            self.shared.count(|stats| stats.connected += 1);
            return Ok(());
        }
        let path = cell.path();
        let id = match dial.id {
            Some(id) if self.is_free(path, id) => id,
            Some(_) => return Err(CloseReason::IdInUse),
            None => self.routes.draw(path, &mut self.rng).ok_or(CloseReason::TooManyConnections)?,
        };
        let ids = ConnIds::initiator(id);
        let first_seq = self.random_seq();
        let clock = Clock::new(self.rng.random());
        let key = self.enter(cell, ids, Started::ByUs(first_seq));
        let mut inner = cell.lock();
        if inner.conn.close_reason().is_some() {
            drop(inner);
            self.forget(key);
            return Ok(());
        }
        let hello = dial.hello(&self.config, &mut self.rng);
        if let Some(hello) = hello {
            inner.conn.introduce(hello);
        }
        inner.start(now, key, clock, ids, first_seq);
        drop(inner);
        self.note_call(now, key, dial, hello.as_ref());
        self.name(key);
        self.mark_ready(key);
        self.shared.count(|stats| stats.connected += 1);
        Ok(())
    }

    /// Why this cannot be asked for without extensions: it would be taken for something else.
    fn cannot_say(&self, cell: &Arc<Cell>, dial: &Dial) -> Option<CloseReason> {
        match self.config.extensions {
            true => None,
            false if dial.service.is_some() => Some(CloseReason::NoService),
            false => cell.lock().conn.needs_agreement().then_some(CloseReason::NoMessages),
        }
    }

    /// Whether a connection may be started with this receive id: nobody has it, the peer has no use for its
    /// successor, on which it will receive, and it is not 65,535, whose successor libutp cannot find again.
    fn is_free(&self, path: Path, id: ConnId) -> bool {
        let peers = id.next();
        let peers_own = match self.routes.get(path, peers.next()) {
            Some(Route::Live(key)) => self.entries.get(key).is_some_and(|entry| entry.send == peers),
            Some(Route::Waiting(_)) => true,
            None => false,
        };
        let admitted = id.get() != u16::MAX && self.config.dialect.admits_syn(id);
        admitted && self.routes.get(path, id).is_none() && !peers_own
    }

    fn decide(&mut self, now: Instant, key: Key, verdict: Verdict) {
        match verdict {
            Verdict::AcceptProved => self.shared.count(|stats| stats.accepted += 1),
            Verdict::RefuseProved => self.turn_away(key),
            Verdict::IgnoreProved => self.disregard(key),
            Verdict::Accept(_) | Verdict::Refuse | Verdict::Ignore => self.decide_syn(now, key, verdict),
        }
    }

    fn decide_syn(&mut self, now: Instant, key: Key, verdict: Verdict) {
        // What has become too old is gone from the backlog: its initiator has given up.
        let waiting = self.take_waiting(key);
        match (verdict, waiting) {
            (Verdict::Accept(cell), None) => cell.fail(CloseReason::Unconfirmed, &mut self.woken),
            (Verdict::Accept(cell), Some(waiting)) => {
                let refusal = match self.closing {
                    Closing::No if self.entries.len() < self.config.max_connections => None,
                    Closing::No => Some(CloseReason::TooManyConnections),
                    _ => Some(CloseReason::EndpointClosed),
                };
                if let Some(reason) = refusal {
                    cell.fail(reason, &mut self.woken);
                    self.reset(now, waiting.path, waiting.syn.id, waiting.syn.seq);
                } else {
                    let ids = ConnIds::acceptor(waiting.syn.id);
                    let key = self.enter(&cell, ids, Started::ByPeer(waiting.syn.seq));
                    cell.lock().enter(key);
                    self.mark_ready(key);
                    self.shared.count(|stats| stats.accepted += 1);
                }
            }
            (Verdict::Refuse, Some(waiting)) => {
                self.reset(now, waiting.path, waiting.syn.id, waiting.syn.seq);
            }
            _ => {}
        }
        self.publish_sizes();
    }

    /// Takes a SYN out of the backlog, with everything that was kept for it.
    pub(super) fn take_waiting(&mut self, key: Key) -> Option<Waiting> {
        let waiting = self.backlog.take(key)?;
        self.routes.remove(waiting.path, waiting.syn.id.next());
        self.sources.leave(Sources::counted(waiting.path), true);
        Some(waiting)
    }

    /// Ends a connection with a RESET.
    pub(super) fn turn_away(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.cell.lock().conn.abort();
            self.ready.push(key, &mut entry.queued);
        }
    }

    /// Forgets a connection as if its initiator had not yet proved anything.
    fn disregard(&mut self, key: Key) {
        let Some(entry) = self.entries.get(key) else { return };
        let (path, id) = (entry.path, entry.send);
        if let Started::ByPeer(seq) = entry.started {
            self.cookies.unspend(path, id, seq);
        }
        entry.cell.fail(CloseReason::Aborted, &mut self.woken);
        self.forget(key);
    }

    /// Gives a connection its place in the tables.
    pub(super) fn enter(&mut self, cell: &Arc<Cell>, ids: ConnIds, started: Started) -> Key {
        let mut inner = cell.lock();
        inner.conn.seed(self.rng.random());
        if self.config.migration && matches!(started, Started::ByPeer(_)) {
            inner.conn.issue_path_token(PathToken::new(self.rng.random()));
        }
        drop(inner);
        let path = cell.path();
        let source = match started {
            Started::ByUs(_) => None,
            Started::ByPeer(_) => Sources::counted(path),
        };
        let unconfirmed = matches!(started, Started::ByPeer(_)) && !cell.lock().conn.is_confirmed();
        let key = self.entries.insert(Entry {
            cell: Arc::clone(cell),
            path,
            recv: ids.recv,
            send: ids.send,
            started,
            token: None,
            source,
            unconfirmed,
            queued: Queued::default(),
            armed: Armed::default(),
        });
        self.unconfirmed += usize::from(unconfirmed);
        self.sources.enter(source, unconfirmed);
        self.routes.insert(path, ids.recv, Route::Live(key));
        self.name(key);
        self.publish_sizes();
        key
    }

    /// The peer may name the connection by a token from now on, if it has been given one.
    pub(super) fn name(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.token = entry.cell.lock().conn.issued_token();
        if let Some(token) = entry.token {
            self.migrations.name(token, key);
        }
    }

    fn begin_close(&mut self, now: Instant) {
        self.closing = Closing::Until(now + self.config.linger);
        self.end_punches(now);
        self.end_holes(Vec::new());
        let keys: Vec<Key> = self.entries.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                let mut inner = entry.cell.lock();
                inner.conn.finish();
                inner.conn.hurry();
                drop(inner);
                self.ready.push(key, &mut entry.queued);
            }
        }
    }
}
