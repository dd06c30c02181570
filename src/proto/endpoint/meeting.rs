//! Finding a way to a peer, on the applications' side: what is asked goes through the mailbox, what comes of it through
//! a place that both sides hold.
//!
//! Knows nothing of probes, and of the driver only that it has to be woken.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::cell::Cell;
use super::handle::{Handle, Mover};
use super::shared::{Lease, Shared};
use super::waiters::exchange;
use crate::proto::punch::{PunchError, PunchPlan, PunchReport};
use crate::proto::sync::{Mutex, MutexGuard};

/// A punch on its way to the driver.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) plan: PunchPlan,
    pub(super) meeting: Arc<Meeting>,
    /// What is to go the way that is found. Otherwise it is a new connection.
    pub(super) stream: Option<Arc<Cell>>,
}

/// What came of it.
pub(super) type Outcome = Result<(Arc<Cell>, PunchReport), PunchError>;

/// What the two sides tell each other. One half is with whoever asked, the other with the driver.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The openers are out.
    ready: bool,
    /// Both sides' openers are.
    gone: bool,
    /// Nobody waits any more.
    cancelled: bool,
    /// There is an outcome, or was one.
    ended: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The openers are out.
    pub(super) fn ready(&self, woken: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.ready = true;
        woken.extend(state.waker.take());
    }

    /// It has come to an end. Gives the connection back if nobody waits for it.
    pub(super) fn end(&self, outcome: Outcome, woken: &mut Vec<Waker>) -> Option<Arc<Cell>> {
        let mut state = self.lock();
        if state.cancelled || state.ended {
            return outcome.ok().map(|(cell, _)| cell);
        }
        state.ended = true;
        state.outcome = Some(outcome);
        woken.extend(state.waker.take());
        None
    }

    /// Whether somebody has said that both sides are ready.
    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Whether nobody waits any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }
}

/// One attempt to meet a peer. Dropping it gives it up, silently.
///
/// Both verbs that wait are cancel safe: one that returned `Pending` has done nothing but remember the waker, and only
/// the last task to ask is woken.
pub struct PunchHandle {
    meeting: Arc<Meeting>,
    lease: Lease,
}

impl PunchHandle {
    /// Ready once our openers are out, which is to be told to whoever brings the two together. Ready at once if it has
    /// come to an end.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, |state| if state.ready || state.ended { Poll::Ready(()) } else { Poll::Pending })
    }

    /// Both sides' openers are out.
    pub fn go(&self) {
        self.meeting.lock().gone = true;
        self.lease.post(|_, _| ());
    }

    /// Ready with a connection that is open, or the reason why there is none. To be asked no more after that.
    ///
    /// # Errors
    /// See [`PunchError`]; what can be said early is said early.
    pub fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Handle, PunchReport), PunchError>> {
        let outcome = self.poll(cx, |state| state.outcome.take().map_or(Poll::Pending, Poll::Ready));
        outcome.map(|outcome| {
            let (cell, report) = outcome?;
            Ok((Handle::new(cell, self.lease.clone()), report))
        })
    }

    fn poll<R>(&self, cx: &Context<'_>, attempt: impl FnOnce(&mut State) -> Poll<R>) -> Poll<R> {
        let mut state = self.meeting.lock();
        let result = attempt(&mut state);
        if result.is_ready() {
            return result;
        }
        let old = exchange(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        result
    }
}

impl Drop for PunchHandle {
    fn drop(&mut self) {
        let (outcome, waker) = {
            let mut state = self.meeting.lock();
            state.cancelled = true;
            (state.outcome.take(), state.waker.take())
        };
        drop(waker);
        if let Some(Ok((cell, _))) = outcome {
            // Nobody has got it: it ends as if somebody had, and had dropped it.
            drop(Handle::new(cell, self.lease.clone()));
        }
        self.lease.post(|_, _| ());
    }
}

impl fmt::Debug for PunchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PunchHandle").finish_non_exhaustive()
    }
}

/// Meeting peers.
impl Shared {
    /// Begins to look for a way to a peer, as the plan says. What comes of it, [`PunchHandle::poll_done`] tells.
    pub fn punch(self: &Arc<Self>, plan: PunchPlan) -> PunchHandle {
        self.punch_with(plan, None)
    }

    /// Looks for another way to the peer of a connection of this endpoint, which goes that way from then on; the peer does
    /// the same. Nobody else can take the peer's part: the tokens of the plan are mixed with what the two ends know. The
    /// handle that comes of it belongs to a connection that has served its purpose, and is to be dropped.
    ///
    /// It fails with [`PunchError::Vanilla`] if the peer would not follow, and with [`PunchError::Cancelled`] if the
    /// connection ends meanwhile.
    pub fn punch_again(self: &Arc<Self>, mut plan: PunchPlan, stream: &Mover) -> PunchHandle {
        let stream = stream.cell();
        let secret = stream.as_ref().and_then(|cell| cell.lock().conn.pair_secret());
        let Some(secret) = secret else {
            let error = if stream.is_some() { PunchError::Vanilla } else { PunchError::Cancelled };
            let meeting = Arc::<Meeting>::default();
            meeting.end(Err(error(Box::new(plan.report()))), &mut Vec::new());
            return PunchHandle { meeting, lease: self.lease() };
        };
        plan.bind(secret);
        self.punch_with(plan, stream)
    }

    fn punch_with(self: &Arc<Self>, plan: PunchPlan, stream: Option<Arc<Cell>>) -> PunchHandle {
        let lease = self.lease();
        let meeting = Arc::<Meeting>::default();
        let wish = Wish { plan, meeting: Arc::clone(&meeting), stream };
        let refused = self.post(|mailbox, _| {
            if mailbox.is_closed() {
                return Some(wish);
            }
            mailbox.mail.punches.push(wish);
            None
        });
        if let Some(Wish { plan, .. }) = refused {
            meeting.end(Err(PunchError::Cancelled(Box::new(plan.report()))), &mut Vec::new());
        }
        PunchHandle { meeting, lease }
    }
}
