//! What applications asked for: connections to start, decisions about incoming ones, the end.
//!
//! Runs on the driver's side, and only feeds connections and marks them ready.

use std::mem;
use std::sync::Arc;

use super::cell::Cell;
use super::mailbox::{Decision, Open, Verdict};
use super::ready::Queued;
use super::routes::Route;
use super::timers::Armed;
use super::waiters::wake_all;
use super::{Closing, Endpoint, Entry};
use rand::RngExt as _;

use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::ConnIds;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr};

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
        for Open { cell, id } in mail.opens.drain(..) {
            if let Err(reason) = self.open(now, &cell, id) {
                cell.fail(reason, &mut self.woken);
            }
        }
        for Decision { key, verdict } in mail.decisions.drain(..) {
            self.decide(now, key, verdict);
        }
        // Last, so that what was asked for before the end is still begun.
        if mem::take(&mut mail.closing) && self.closing == Closing::No {
            self.begin_close(now);
        }
        self.mail = mail;
        wake_all(&mut self.woken);
    }

    /// Gives the connection ids and a place, and starts it. One that has been given up meanwhile is left alone.
    fn open(&mut self, now: Instant, cell: &Arc<Cell>, asked: Option<ConnId>) -> Result<(), CloseReason> {
        if self.closing != Closing::No {
            return Err(CloseReason::EndpointClosed);
        }
        if self.entries.len() >= self.config.max_connections {
            return Err(CloseReason::TooManyConnections);
        }
        let path = cell.path();
        let id = match asked {
            Some(id) if self.is_free(path, id) => id,
            Some(_) => return Err(CloseReason::IdInUse),
            None => self.routes.draw(path, &mut self.rng).ok_or(CloseReason::TooManyConnections)?,
        };
        let ids = ConnIds::initiator(id);
        let first_seq = self.random_seq();
        let key = self.enter(cell, ids, None);
        let mut inner = cell.lock();
        if inner.conn.close_reason().is_some() {
            drop(inner);
            self.forget(key);
            return Ok(());
        }
        inner.enter(key);
        inner.conn.start(now, path, ids, first_seq);
        drop(inner);
        self.mark_ready(key);
        self.shared.count(|stats| stats.connected += 1);
        Ok(())
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
        id.get() != u16::MAX && self.routes.get(path, id).is_none() && !peers_own
    }

    fn decide(&mut self, now: Instant, key: Key, verdict: Verdict) {
        // What has become too old is gone from the backlog: its initiator has given up.
        let waiting = self.backlog.take(key);
        if let Some(waiting) = &waiting {
            self.routes.remove(waiting.path, waiting.syn.id.next());
        }
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
                    let key = self.enter(&cell, ids, Some(waiting.syn.seq));
                    cell.lock().enter(key);
                    self.mark_ready(key);
                    self.shared.count(|stats| stats.accepted += 1);
                }
            }
            (Verdict::Refuse, Some(waiting)) => {
                self.reset(now, waiting.path, waiting.syn.id, waiting.syn.seq);
            }
            (Verdict::Refuse, None) | (Verdict::Ignore, _) => {}
        }
        self.publish_sizes();
    }

    /// Gives a connection its place in the tables.
    fn enter(&mut self, cell: &Arc<Cell>, ids: ConnIds, syn: Option<SeqNr>) -> Key {
        cell.lock().conn.seed(self.rng.random());
        let path = cell.path();
        let key = self.entries.insert(Entry {
            cell: Arc::clone(cell),
            path,
            recv: ids.recv,
            send: ids.send,
            syn,
            unconfirmed: syn.is_some(),
            queued: Queued::default(),
            armed: Armed::default(),
        });
        self.unconfirmed += usize::from(syn.is_some());
        self.routes.insert(path, ids.recv, Route::Live(key));
        self.publish_sizes();
        key
    }

    fn begin_close(&mut self, now: Instant) {
        self.closing = Closing::Until(now + self.config.linger);
        let keys: Vec<Key> = self.entries.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.cell.lock().conn.finish();
                self.ready.push(key, &mut entry.queued);
            }
        }
    }
}
