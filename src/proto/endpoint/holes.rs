//! Holes in NATs by the words of utp-punch: who wants one, whose word it is, and when it is sent.
//!
//! What is said when, the [machine](crate::proto::punch::Hole) decides. Only words from exactly the address that somebody
//! here wants to reach are believed, and answered; all others are foreign datagrams.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::shared::{Lease, Shared};
use super::sockets::canonical;
use super::waiters::{exchange, wake_all};
use super::{Closing, Endpoint, Foreign};
use crate::proto::batch::Path;
use crate::proto::punch::{Hole, PunchError, PunchReport};
use crate::proto::sync::{Mutex, MutexGuard};
use crate::time::Instant;
use crate::wire::{Candidate, CandidateKind, Dialect, PunchWord};

/// Ours: holes at once, those included that only answer.
const LIVE_MAX: usize = 64;

/// What comes of one.
type Outcome = Result<PunchReport, PunchError>;

/// A wish on its way to the driver.
#[derive(Debug)]
pub(super) struct HoleWish {
    path: Path,
    attempts: u32,
    wanting: Arc<Wanting>,
}

/// What both sides hold.
#[derive(Debug, Default)]
struct Wanting {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// There is an outcome, or was one.
    ended: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    /// Nobody waits any more.
    cancelled: bool,
}

impl Wanting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: Outcome, woken: &mut Vec<Waker>) {
        let mut state = self.lock();
        if !state.ended {
            state.ended = true;
            state.outcome = Some(outcome);
            woken.extend(state.waker.take());
        }
    }

    /// Whether it was given up before there was an outcome.
    fn is_given_up(&self) -> bool {
        let state = self.lock();
        state.cancelled && !state.ended
    }
}

/// The holes of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// Never more than [`LIVE_MAX`].
    live: Vec<Live>,
}

#[derive(Debug)]
struct Live {
    path: Path,
    hole: Hole,
    wanting: Arc<Wanting>,
}

impl Holes {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.live.iter().filter_map(|live| live.hole.poll_timeout()).min()
    }
}

impl Endpoint {
    /// Begins one. A new one takes the place of one to the same peer that only answers.
    pub(super) fn begin_hole(&mut self, now: Instant, wish: HoleWish) {
        let HoleWish { path, attempts, wanting } = wish;
        let peer = canonical(path.peer);
        self.holes.live.retain(|live| live.path != path || !live.wanting.lock().ended);
        let refusal = if self.closing != Closing::No {
            Some(PunchError::Cancelled(nothing_yet(peer)))
        } else if self.holes.live.len() >= LIVE_MAX {
            Some(PunchError::TooMany(nothing_yet(peer)))
        } else {
            None
        };
        match refusal {
            Some(error) => wanting.end(Err(error), &mut self.woken),
            None => self.holes.live.push(Live { path, hole: Hole::new(now, peer, attempts), wanting }),
        }
    }

    /// All of them end, and those that have not begun.
    pub(super) fn end_holes(&mut self, wishes: Vec<HoleWish>) {
        let live = std::mem::take(&mut self.holes.live).into_iter().map(|live| (live.path, live.wanting));
        let wishes = wishes.into_iter().map(|wish| (wish.path, wish.wanting));
        for (path, wanting) in live.chain(wishes) {
            let error = PunchError::Cancelled(nothing_yet(canonical(path.peer)));
            wanting.end(Err(error), &mut self.woken);
        }
    }

    /// Takes a datagram that is not uTP, if it is a word for one of ours.
    pub(super) fn take_word(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let Some(word) = PunchWord::read(datagram).filter(|_| !self.holes.live.is_empty()) else {
            return false;
        };
        let mut taken = false;
        for live in self.holes.live.iter_mut().filter(|live| live.path == path) {
            live.hole.handle_word(now, word);
            taken = true;
        }
        self.settle_holes();
        taken
    }

    /// A SYN that comes from there shows that there is a way.
    pub(super) fn take_call_through_hole(&mut self, now: Instant, path: Path) {
        for live in self.holes.live.iter_mut().filter(|live| live.path == path) {
            live.hole.handle_call(now);
        }
        self.settle_holes();
    }

    pub(super) fn time_out_holes(&mut self, now: Instant) {
        for live in &mut self.holes.live {
            live.hole.handle_timeout(now);
        }
        self.settle_holes();
    }

    /// Sends what is to be said, tells what has come of it, and forgets those that are over.
    pub(super) fn settle_holes(&mut self) {
        for Live { path, hole, wanting } in &mut self.holes.live {
            while let Some(word) = hole.poll_word() {
                self.foreign.push_back(Foreign { path: *path, bytes: Bytes::from_static(word.as_bytes()) });
            }
            if let Some(outcome) = hole.poll_outcome() {
                wanting.end(outcome, &mut self.woken);
            }
        }
        self.holes.live.retain(|live| !live.hole.is_over() && !live.wanting.is_given_up());
        wake_all(&mut self.woken);
    }
}

/// A report of one that has not begun.
fn nothing_yet(peer: SocketAddr) -> Box<PunchReport> {
    let candidates = vec![Candidate::new(CandidateKind::Host, peer)];
    Box::new(PunchReport { candidates, ..PunchReport::default() })
}

/// One attempt to open the way to a peer. Dropping it gives it up, unless it has succeeded: then the peer is answered on.
pub struct HoleHandle {
    wanting: Arc<Wanting>,
    lease: Lease,
}

impl HoleHandle {
    /// Ready when the way is open in both directions, or with the reason why it is not. Only the last task to ask is
    /// woken, and it is to be asked no more after that.
    ///
    /// # Errors
    /// [`PunchError::Timeout`] half a second after the last attempt, [`PunchError::TooMany`],
    /// [`PunchError::NoCandidates`], [`PunchError::OtherDialect`] or [`PunchError::Cancelled`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.wanting.lock();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        let old = exchange(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for HoleHandle {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.wanting.lock();
            state.cancelled = true;
            state.waker.take()
        };
        drop(waker);
        self.lease.post(|_, _| ());
    }
}

impl fmt::Debug for HoleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoleHandle").finish_non_exhaustive()
    }
}

/// Opening ways.
impl Shared {
    /// Begins to open the way to a peer by the words of utp-punch: for half a second times `attempts`. No connection is
    /// made. What comes of it, [`HoleHandle::poll`] tells.
    pub fn punch_hole(self: &Arc<Self>, peer: SocketAddr, attempts: u32) -> HoleHandle {
        let (lease, wanting) = (self.lease(), Arc::<Wanting>::default());
        let refusal = self.post(|mailbox, _| {
            let report = nothing_yet(peer);
            match mailbox.sockets.path_to(peer) {
                _ if self.config().dialect != Dialect::UtpPunch => Some(PunchError::OtherDialect(report)),
                _ if mailbox.is_closed() => Some(PunchError::Cancelled(report)),
                None => Some(PunchError::NoCandidates(report)),
                Some(path) => {
                    let wanting = Arc::clone(&wanting);
                    mailbox.mail.holes.push(HoleWish { path, attempts, wanting });
                    None
                }
            }
        });
        if let Some(error) = refusal {
            wanting.end(Err(error), &mut Vec::new());
        }
        HoleHandle { wanting, lease }
    }
}
