//! On which of the paths the connection is tried.
//!
//! The side that starts it calls (sends its SYN) as soon as the peer was heard somewhere: that the peer's probe arrived
//! means that its NAT lets our packets in. It waits a moment if a better path may still show up. A call that is not
//! answered is repeated, and then another path is called as well: the first answer wins. Knows nothing of connections.

use std::time::Duration;

use super::Action;
use super::targets::Targets;
use crate::proto::batch::Path;
use crate::time::Instant;

/// Ours: how long a worse path waits for a better one.
const PREFERENCE: Duration = Duration::from_millis(10);

/// Ours: paths that are called at once.
pub(super) const CALLS_MAX: usize = 4;

/// Ours: how long an answer may take on a path whose round trip is not known.
const PATIENCE: Duration = Duration::from_millis(200);

/// Ours: bounds of how long an answer is waited for.
const PATIENCE_MIN: Duration = Duration::from_millis(60);

/// Ours: see above.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Ours: repetitions before another path is called as well.
const REPEATS: u32 = 2;

/// Measured: where every fifth packet is lost, five repetitions with pauses that double left one connection in a
/// hundred closed for seconds, though probes came and went meanwhile. After twenty the connection's own timer has to do.
const REPEATS_MAX: u32 = 20;

/// Ours: the longest pause between two of them, in answers that might have come.
const PAUSE_MAX: u32 = 3;

/// The paths that were called.
#[derive(Debug, Default)]
pub(super) struct Nominee {
    first_heard: Option<Instant>,
    /// Never more than [`CALLS_MAX`].
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    path: Path,
    began: Instant,
    repeats: u32,
    /// When it is repeated.
    next: Instant,
}

impl Nominee {
    pub(super) fn heard(&mut self, now: Instant) {
        self.first_heard.get_or_insert(now);
    }

    pub(super) const fn has_called(&self) -> bool {
        !self.calls.is_empty()
    }

    /// When the last path was called.
    pub(super) fn last_call(&self) -> Option<Instant> {
        self.calls.last().map(|call| call.began)
    }

    /// The call on that path came to nothing.
    pub(super) fn failed(&mut self, path: Path) {
        self.calls.retain(|call| call.path != path);
    }

    /// When [`consider`](Self::consider) has something to do again.
    pub(super) fn due(&self, targets: &Targets) -> Option<Instant> {
        let waiting = targets.best_heard().and(self.first_heard).map(|at| at + PREFERENCE);
        let repeats = self.calls.iter().filter(|call| call.repeats < REPEATS_MAX).map(|call| call.next);
        let waiting = if self.calls.is_empty() { waiting } else { None };
        repeats.chain(waiting).min()
    }

    /// What is to be done now.
    pub(super) fn consider(&mut self, now: Instant, targets: &mut Targets, mut act: impl FnMut(Action)) {
        let mut wanted = self.calls.is_empty();
        for call in &mut self.calls {
            if call.next <= now && call.repeats < REPEATS_MAX {
                act(Action::Repeat(call.path));
                call.repeats += 1;
                let rtt = targets.get_mut(call.path).and_then(|target| target.rtt);
                call.next = now + patience(rtt) * (call.repeats + 1).min(PAUSE_MAX);
                wanted |= call.repeats >= REPEATS;
            }
        }
        if !wanted || self.calls.len() >= CALLS_MAX {
            return;
        }
        let Some(best) = targets.best_heard() else { return };
        let waits = self.first_heard.is_some_and(|first| now < first + PREFERENCE);
        if self.calls.is_empty() && waits && targets.may_get_better(best.kind) {
            return;
        }
        let (path, rtt) = (best.path, best.rtt);
        if let Some(target) = targets.get_mut(path) {
            target.called = true;
        }
        self.calls.push(Call { path, began: now, repeats: 0, next: now + patience(rtt) });
        act(Action::Connect(path));
    }
}

/// How long an answer may take.
fn patience(rtt: Option<Duration>) -> Duration {
    rtt.map_or(PATIENCE, |rtt| (rtt * 5 / 2).clamp(PATIENCE_MIN, PATIENCE_MAX))
}
