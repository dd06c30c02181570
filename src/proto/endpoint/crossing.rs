//! Two that call each other at the same time, and want one connection out of it.
//!
//! Both SYNs of such a call carry a random number, and whoever has the larger one remains the caller:
//!
//! ```text
//!   we call, and their SYN comes   ours is larger    theirs is ignored, and ours goes out once more: the way is open
//!                                  theirs is larger  our connection becomes the answer to theirs
//!   their SYN comes first          somebody listens  answered, and kept for the call that is about to be made here
//!                                  nobody listens    kept, unanswered
//!   a kept SYN is not claimed      goes to whoever listens, or is forgotten
//! ```
//!
//! A peer of another make sends a SYN without a number: [`VanillaCross`] says what then.
//!
//! Equal numbers are told apart by tag, id and packet number, which both know too, so that the two always come to the
//! same decision, however late or often a SYN arrives; the same packet on both sides is our own, come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Waiting;
use super::cell::Cell;
use super::clock::Clock;
use super::dial::Dial;
use super::incoming::{Offer, Request};
use super::mailbox::Proved;
use super::routes::Route;
use super::sources::Sources;
use super::{Endpoint, Started};
use crate::config::VanillaCross;
use crate::proto::batch::Path;
use crate::proto::conn::{ConnIds, Connection, Hello, Syn};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, Header, MarkFlags, SeqNr, Session};

/// Ours: how long a SYN waits for the call that it crosses, and how long a decision is remembered, for a SYN that was
/// under way meanwhile.
const CLAIM: Duration = Duration::from_secs(10);

/// Ours: calls and SYNs remembered; of more, the oldest are forgotten.
const REMEMBERED_MAX: usize = 1024;

/// Ours: SYNs kept, so that strangers cannot fill more than a corner of the tables with them.
const KEPT_MAX: usize = 64;

/// Our calls, and the SYNs that wait for one.
#[derive(Debug, Default)]
pub(super) struct Crossings {
    /// Oldest first. At most [`REMEMBERED_MAX`].
    calls: VecDeque<Call>,
    /// Oldest first. At most [`KEPT_MAX`].
    kept: VecDeque<Kept>,
}

/// Who is the caller: the larger one. The number, tag, id and packet number of a SYN.
type Rank = (u64, u32, u16, u16);

/// One of our calls.
#[derive(Clone, Copy, Debug)]
struct Call {
    key: Key,
    path: Path,
    session: Option<Session>,
    rank: Option<Rank>,
    until: Instant,
}

/// A SYN that waits for a call of ours.
#[derive(Debug)]
struct Kept {
    path: Path,
    session: Option<Session>,
    until: Instant,
    state: KeptState,
}

#[derive(Debug)]
enum KeptState {
    /// In the backlog, offered to nobody.
    Waiting(Key),
    /// A connection that nobody has got.
    Accepted(Key, Arc<Cell>, Box<Request>),
}

fn rank(hello: &Hello, id: ConnId, seq: SeqNr) -> Option<Rank> {
    Some((hello.tie_break?, hello.tag.get(), id.get(), seq.get()))
}

impl Crossings {
    fn find(&self, path: Path, session: Option<Session>) -> Option<Call> {
        let meets = |call: &&Call| call.path == path || (session.is_some() && call.session == session);
        self.calls.iter().rev().find(meets).copied()
    }

    fn add(&mut self, now: Instant, call: Call) {
        while self.calls.front().is_some_and(|call| call.until <= now) || self.calls.len() >= REMEMBERED_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// The call came to nothing: nothing was decided.
    pub(super) fn forget(&mut self, key: Key) {
        self.calls.retain(|call| call.key != key);
    }

    fn take_kept(&mut self, path: Path, session: Option<Session>) -> Option<KeptState> {
        let meets = |kept: &Kept| kept.path == path || (session.is_some() && kept.session == session);
        let place = self.kept.iter().position(meets)?;
        self.kept.remove(place).map(|kept| kept.state)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.kept.front().map(|kept| kept.until)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A call of ours begins.
impl Endpoint {
    /// It is one that may be crossed.
    pub(super) fn note_call(&mut self, now: Instant, key: Key, dial: &Dial, hello: Option<&Hello>) {
        let Some(entry) = self.entries.get(key).filter(|_| dial.simultaneous) else { return };
        let Started::ByUs(seq) = entry.started else { return };
        let rank = hello.and_then(|hello| rank(hello, entry.recv, seq));
        let until = now + self.config.connect_timeout + CLAIM;
        let call = Call { key, path: entry.path, session: dial.session, rank, until };
        self.crossings.add(now, call);
    }

    /// Takes the SYN that has come already instead of sending one. Returns whether there was any.
    pub(super) fn claim(&mut self, now: Instant, cell: &Arc<Cell>, dial: &Dial) -> bool {
        if !dial.simultaneous {
            return false;
        }
        match self.crossings.take_kept(cell.path(), dial.session) {
            Some(KeptState::Waiting(key)) => {
                let Some(Waiting { path, syn }) = self.take_waiting(key) else { return false };
                let service = syn.hello.and_then(|hello| hello.service);
                let first_seq = self.cookies.number(now, path, syn.id, syn.seq, service);
                let clock = Clock::new(self.cookies.clock(path, syn.id, syn.seq));
                let key = self.enter(cell, ConnIds::acceptor(syn.id), Started::ByPeer(syn.seq));
                cell.lock().adopt(now, key, clock, path, &syn, first_seq);
                self.move_route(key, path, ConnIds::acceptor(syn.id));
                self.mark_ready(key);
                true
            }
            Some(KeptState::Accepted(key, held, _)) => {
                let Some(entry) = self.entries.get_mut(key) else { return false };
                let spare = Connection::connect(Arc::clone(&self.config), entry.path);
                let (conn, clock, connected) = held.lock().give_up(spare);
                cell.lock().take_over(key, clock, conn, connected);
                entry.cell = Arc::clone(cell);
                self.name(key);
                self.mark_ready(key);
                true
            }
            None => false,
        }
    }
}

/// A SYN comes.
impl Endpoint {
    /// Looks whether a SYN crosses a call of ours, or will. Returns whether that is all there is to do about it.
    pub(super) fn cross(&mut self, now: Instant, path: Path, syn: &Header, hello: Option<Hello>) -> bool {
        let number = hello.filter(|hello| hello.flags.contains(MarkFlags::SIMULTANEOUS));
        let theirs = number.and_then(|hello| rank(&hello, syn.conn_id, syn.seq));
        if theirs.is_none() && self.crossings.is_empty() {
            return false;
        }
        let call = self.crossings.find(path, hello.and_then(|hello| hello.session));
        let call = call.filter(|call| call.until > now);
        let waits = call.is_some_and(|call| self.is_calling(call.key));
        match (call, theirs) {
            (Some(call), None) if waits => self.cross_vanilla(now, &call, path, syn, hello),
            (Some(call), Some(_)) if call.rank >= theirs => {
                if waits {
                    self.hurry(call.key);
                }
                true
            }
            (Some(call), Some(_)) if waits => {
                self.give_way(now, call.key, path, syn, hello);
                true
            }
            (_, Some(_)) => self.keep(now, path, syn, hello),
            (_, None) => false,
        }
    }

    /// A peer of another make, or one that has been told nothing, calls us while we call it.
    fn cross_vanilla(
        &mut self,
        now: Instant,
        call: &Call,
        path: Path,
        syn: &Header,
        hello: Option<Hello>,
    ) -> bool {
        match self.config.vanilla_cross {
            VanillaCross::KeepBoth => {
                self.hurry(call.key);
                false
            }
            VanillaCross::PreferInbound => {
                let entry = self.entries.get(call.key).map(|entry| (entry.path, entry.send));
                self.give_way(now, call.key, path, syn, hello);
                if let Some((path, send)) = entry {
                    self.reset(now, path, send, syn.seq);
                }
                true
            }
        }
    }

    fn is_calling(&self, key: Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.cell.lock().conn.is_calling())
    }

    /// The way is open: our SYN goes out once more.
    fn hurry(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.cell.lock().conn.call_again();
            self.ready.push(key, &mut entry.queued);
        }
    }

    /// Our call becomes the answer to theirs.
    fn give_way(&mut self, now: Instant, key: Key, path: Path, syn: &Header, hello: Option<Hello>) {
        let Header { conn_id: id, seq, window, sent_at, .. } = *syn;
        let service = hello.and_then(|hello| hello.service);
        let first_seq = self.cookies.number(now, path, id, seq, service);
        let Some(entry) = self.entries.get_mut(key) else { return };
        let syn = Syn { id, seq, window, sent_at, arrived: now, hello };
        entry.cell.lock().give_way(now, path, &syn, first_seq);
        entry.started = Started::ByPeer(seq);
        self.move_route(key, path, ConnIds::acceptor(id));
        self.mark_ready(key);
    }

    /// The connection is found by other ids, or from another address, from now on.
    pub(super) fn move_route(&mut self, key: Key, path: Path, ids: ConnIds) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.routes.remove(entry.path, entry.recv);
        (entry.path, entry.recv, entry.send) = (path, ids.recv, ids.send);
        self.routes.insert(path, ids.recv, Route::Live(key));
    }

    /// Keeps a SYN for the call that is about to be made here. Returns whether it did.
    fn keep(&mut self, now: Instant, path: Path, syn: &Header, hello: Option<Hello>) -> bool {
        let service = hello.and_then(|hello| hello.service);
        let reception = self.shared.reception(service);
        let is_full = self.crossings.kept.len() >= KEPT_MAX || self.what_is_full(path, reception).is_some();
        if is_full || self.is_rush(path) || self.closing != super::Closing::No {
            return false;
        }
        let Header { conn_id: id, seq, window, sent_at, .. } = *syn;
        let syn = Syn { id, seq, window, sent_at, arrived: now, hello };
        let state = if reception.listening {
            let first_seq = self.cookies.number(now, path, id, seq, service);
            let clock = Clock::new(self.cookies.clock(path, id, seq));
            let request = Request { path, syn, service, first_seq, clock };
            let cell = request.create(Arc::clone(&self.config), self.shared.gauge(), Connection::accept);
            let key = self.enter(&cell, ConnIds::acceptor(id), Started::ByPeer(seq));
            cell.lock().enter(key);
            self.mark_ready(key);
            KeptState::Accepted(key, cell, Box::new(request))
        } else {
            let key = self.backlog.push(Waiting { path, syn });
            self.routes.insert(path, id.next(), Route::Waiting(key));
            self.sources.enter(Sources::counted(path), true);
            self.publish_sizes();
            KeptState::Waiting(key)
        };
        let session = hello.and_then(|hello| hello.session);
        self.crossings.kept.push_back(Kept { path, session, until: now + CLAIM, state });
        true
    }

    /// What nobody has claimed goes to whoever listens.
    pub(super) fn expire_kept(&mut self, now: Instant) {
        while self.crossings.next_expiry().is_some_and(|until| until <= now) {
            let Some(Kept { state, .. }) = self.crossings.kept.pop_front() else { return };
            let KeptState::Accepted(key, cell, request) = state else { continue };
            let is_open = cell.lock().conn.is_confirmed() && self.entries.get(key).is_some();
            let reception = self.shared.reception(request.service);
            let has_room = self.backlog.len() + reception.proved < self.config.accept_queue;
            if is_open && reception.listening && has_room {
                self.shared.offer_proved(Proved { offer: Offer { key, request: *request }, cell });
                self.unaccepted_until.get_or_insert(now + self.config.stall_timeout);
            } else if is_open {
                self.turn_away(key);
            }
        }
    }
}
