//! Two peers behind NATs find a way to each other.
//!
//! ```text
//!   began     openers to public IPv4 candidates, which die on the way; full probes to the local network and IPv6
//!     │       Ready: to be told to whoever brings the two together
//!     ▼
//!   go        (or a time, or the peer's first probe) full probes everywhere, closely at first, then ever more rarely
//!     │       ├─ the peer's probe arrives: it is answered; the initiator calls there
//!     │       ├─ after 1 s, if one NAT is symmetric: a search for its port
//!     │       └─ after 6 s: once more, with a fresh socket too
//!     ▼
//!   connected (stops, and answers for 5 s more) or failed (silence)
//! ```
//!
//! Why openers: a NAT that keeps ports takes a packet of the peer's that comes before ours for a flow of its own, and
//! gives ours another port than everybody knows. So both sides first send packets that open their own NAT and die
//! before they reach the other one, and probe in earnest only when both have.
//!
//! [`Punch`] is the machine of one side: probes and the time go in, packets and [`Action`]s come out. It has no clock,
//! no socket and no connection; whoever drives it opens sockets, starts the connection where it says, and tells what
//! came of it. Each mechanism is in a file of its own: what may be probed (`targets`), when (`schedule`), the search
//! for ports (`birthday`, `spray`), where to call (`nominee`), when to give up (`verdict`).

mod asked;
mod birthday;
mod hole;
mod input;
mod nat;
mod nominee;
mod output;
mod plan;
mod probe;
mod report;
mod schedule;
mod spray;
mod targets;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::birthday::BIRTHDAY_SOCKETS;
pub use self::hole::Hole;
pub use self::nat::NatReport;
pub use self::output::OPENER_TTL;
pub use self::plan::{DEADLINE, PunchPlan, PunchRole, Start, Veto, WAIT_MIN};
pub use self::probe::{PROBE_LEN, Probe, ProbeKind};
pub use self::report::{PathKind, PunchError, PunchReport};
pub use self::schedule::{OPENER_GAP, PROBE_GAP, PROBES_MAX};
pub use self::spray::SPRAY_MAX;
pub use self::targets::PEER_REFLEXIVE_MAX;

use self::asked::Asked;
use self::birthday::Birthday;
use self::nominee::Nominee;
use self::output::Outgoing;
use self::schedule::Pace;
use self::targets::Targets;
use super::batch::{Path, SocketId};
use crate::time::Instant;
use crate::wire::{Session, Token, Txn};

/// Ours: how long the word that both are ready is waited for, beside two round trips to whoever says it: long enough for
/// a stream to repeat twice what got lost. Whoever begins alone may come before the peer has opened its NAT, which then
/// moves the peer to a port that nobody knows. The peer's own first probe ends the wait as well, so a word that only one
/// of the two has heard costs nothing.
const GO_WAIT: Duration = Duration::from_millis(3000);

/// Ours: when it is tried once more, after the full probes began.
const AGAIN: Duration = Duration::from_secs(6);

/// Ours: how long the peer's probes are answered after the connection is there: the peer may not know yet.
const LINGER: Duration = Duration::from_secs(5);

/// Ours: milliseconds after success when the last answer is repeated unasked.
const ANSWERS_AGAIN: [u64; 3] = [100, 200, 300];

/// What whoever drives a [`Punch`] has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The openers are out: tell whoever waits for it.
    Ready,
    /// That many sockets more are wanted, like the one of this number. Each is answered by [`Punch::socket_opened`].
    OpenSockets {
        /// How many.
        count: usize,
        /// The model.
        like: SocketId,
    },
    /// No socket that was opened is needed any more, but for those of connections.
    CloseSockets,
    /// Start a connection there, with our session and the peer's token.
    Connect(Path),
    /// Send the SYN of the connection there again, at once.
    Repeat(Path),
    /// It has failed. Nothing is sent any more.
    Failed(PunchError),
    /// It is over, one way or another, and may be forgotten.
    Over,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Openers are being sent.
    Opening,
    /// They are out.
    Waiting { until: Instant },
    /// Everything is probed.
    Full { since: Instant },
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    probes_sent: u32,
    probes_seen: u32,
    acks_seen: u32,
    answers: u32,
    /// Of those that were sent: probes by the schedule.
    plain: u32,
    /// Of those that were sent: openers from the first socket.
    openers: u32,
    attempts: u32,
}

/// One side of an attempt of two peers to meet.
#[derive(Debug)]
pub struct Punch {
    plan: PunchPlan,
    /// The role as it was planned: a number that was drawn is told in every probe, also once it has decided.
    tie_break: PunchRole,
    rng: StdRng,
    began: Instant,
    phase: Phase,
    /// Somebody has said that both sides are ready.
    gone: bool,
    targets: Targets,
    asked: Asked,
    /// At most 64 answers, and what was due at one time.
    outbox: VecDeque<Outgoing>,
    pace: Pace,
    birthday: Birthday,
    nominee: Nominee,
    /// When the peer's SYN came.
    syn_seen: Option<Instant>,
    /// A uTP peer that knows nothing of this has answered a probe.
    vanilla: bool,
    last_question: Option<(Path, Txn)>,
    /// When the last answer is repeated.
    answers_again: Vec<Instant>,
    /// When there was a connection.
    ended: Option<Instant>,
    failed: bool,
    won: Option<(PathKind, Option<Duration>)>,
    counts: Counts,
    actions: VecDeque<Action>,
}

/// Beginning and end.
impl Punch {
    /// Begins. All its choices come from `seed`, which should come from the operating system; `way` tells how an
    /// address is reached from here, if it is.
    ///
    /// # Errors
    /// [`PunchError::NoCandidates`]: none of the candidates may be probed, or can be.
    pub fn new(
        now: Instant,
        plan: PunchPlan,
        seed: [u8; 32],
        way: &mut dyn FnMut(SocketAddr) -> Option<Path>,
    ) -> Result<Self, PunchError> {
        let mut this = Self {
            targets: Targets::new(now, &plan, way),
            tie_break: plan.role,
            rng: StdRng::from_seed(seed),
            began: now,
            phase: Phase::Opening,
            gone: false,
            asked: Asked::default(),
            outbox: VecDeque::new(),
            pace: Pace::new(now),
            birthday: Birthday::new(&plan),
            nominee: Nominee::default(),
            syn_seen: None,
            vanilla: false,
            last_question: None,
            answers_again: Vec::new(),
            ended: None,
            failed: false,
            won: None,
            counts: Counts { attempts: 1, ..Counts::default() },
            actions: VecDeque::new(),
            plan,
        };
        if this.targets.is_empty() {
            return Err(PunchError::NoCandidates(Box::new(this.report(now))));
        }
        this.handle_timeout(now);
        Ok(this)
    }

    /// There is a connection with the peer on that path.
    pub fn connected(&mut self, now: Instant, path: Path) {
        if self.ended.is_some() || self.failed {
            return;
        }
        let target = self.targets.iter().find(|target| target.path == path);
        let kind = target.map_or_else(|| targets::kind_of_unnamed(path.peer), |target| target.kind);
        self.won = Some((kind, target.and_then(|target| target.rtt)));
        self.ended = Some(now);
        self.end_search();
        self.answers_again =
            ANSWERS_AGAIN.iter().map(|millis| now + Duration::from_millis(*millis)).collect();
        self.actions.push_back(Action::CloseSockets);
    }

    /// The connection on that path has failed; another may be tried.
    pub fn call_failed(&mut self, now: Instant, path: Path) {
        self.nominee.failed(path);
        self.consider(now);
    }

    /// How it went so far.
    #[must_use]
    pub fn report(&self, now: Instant) -> PunchReport {
        let Counts { probes_sent, probes_seen, acks_seen, attempts, .. } = self.counts;
        PunchReport {
            local: self.plan.local.clone(),
            remote: NatReport::of_peer(self.plan.remote, self.plan.named()),
            candidates: self.targets.candidates(),
            probes_sent,
            probes_seen,
            acks_seen,
            attempts,
            elapsed: self.ended.unwrap_or(now).since(self.began),
            path: self.won.map(|(kind, _)| kind),
            rtt: self.won.and_then(|(_, rtt)| rtt),
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn plan(&self) -> &PunchPlan {
        &self.plan
    }

    /// Whether we start the connection, once that is decided.
    #[must_use]
    pub const fn is_initiator(&self) -> Option<bool> {
        match self.plan.role {
            PunchRole::Initiator => Some(true),
            PunchRole::Acceptor => Some(false),
            PunchRole::Undecided { .. } => None,
        }
    }

    /// What the peer's SYN has to carry, and its probes.
    #[must_use]
    pub const fn local_token(&self) -> Token {
        self.plan.local_token
    }

    /// The name of the attempt.
    #[must_use]
    pub const fn session(&self) -> Session {
        self.plan.session
    }
}

/// What happens.
impl Punch {
    /// Both sides have sent their openers.
    pub fn go(&mut self, now: Instant) {
        self.gone = true;
        self.handle_timeout(now);
    }

    /// A socket that was asked for is there, or cannot be had.
    pub fn socket_opened(&mut self, now: Instant, socket: Option<SocketId>) {
        if self.birthday.is_on() {
            if let Some(socket) = socket {
                self.birthday.opened(now, socket);
            }
        } else if self.counts.attempts == 2 && self.ended.is_none() {
            self.targets.again(socket, now + WAIT_MIN);
        }
        self.handle_timeout(now);
    }

    /// Whether a search for a port should begin. Only one at a time should, for all that share a NAT.
    #[must_use]
    pub fn wants_birthday(&self, now: Instant) -> bool {
        self.birthday_due().is_some_and(|at| at <= now)
    }

    /// Begins the search for a port.
    pub fn begin_birthday(&mut self, now: Instant) {
        if !self.wants_birthday(now) {
            return;
        }
        if let Some(origin) = self.targets.origin() {
            let count = self.birthday.begin(&self.plan, origin);
            if count > 0 {
                self.actions.push_back(Action::OpenSockets { count, like: origin.socket });
            }
        }
        self.handle_timeout(now);
    }

    /// It may not begin now, because of another one. Whether it still wants to is asked again at that time.
    pub fn defer_birthday(&mut self, until: Instant) {
        self.birthday.defer(until);
    }

    /// Whether a search for a port is under way.
    #[must_use]
    pub const fn is_searching(&self) -> bool {
        self.birthday.is_on()
    }

    /// Does whatever is due. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.failed {
            return;
        }
        if let Some(ended) = self.ended {
            if now >= ended + LINGER {
                self.failed = true;
                self.actions.push_back(Action::Over);
            }
        } else {
            self.advance(now);
            self.try_again(now);
            self.consider(now);
            let (at, verdict) = self.verdict();
            if at <= now {
                self.fail(self.failure(now, verdict));
                return;
            }
        }
        self.send_due(now);
        if self.ended.is_none() {
            self.advance(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, or a search for a port
    /// [wants](Self::wants_birthday) to begin and has to be let, or [deferred](Self::defer_birthday).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failed {
            return None;
        }
        // As early as the gap allows, if something waits for nothing else.
        let job = self.next_job(Instant::ZERO).map(|(at, _)| at);
        if let Some(ended) = self.ended {
            return [job, Some(ended + LINGER)].into_iter().flatten().min();
        }
        let waiting = match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        };
        let calls = if self.is_initiator() == Some(true) { self.nominee.due(&self.targets) } else { None };
        let verdict = Some(self.verdict().0);
        [job, waiting, calls, verdict, self.again_due(), self.birthday_due()].into_iter().flatten().min()
    }

    /// What is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// From one phase to the next.
impl Punch {
    fn advance(&mut self, now: Instant) {
        if self.phase == Phase::Opening && self.targets.iter().all(|target| target.openers == 0) {
            self.actions.push_back(Action::Ready);
            let until = match self.plan.start {
                Start::OnGo { server_rtt } => self.began + GO_WAIT + server_rtt * 2,
                Start::After(wait) => now + wait.max(WAIT_MIN),
            };
            self.phase = Phase::Waiting { until };
        }
        if let Phase::Waiting { until } = self.phase
            && (self.gone || until <= now)
        {
            self.begin(now);
        }
    }

    /// From now on everything is probed.
    fn begin(&mut self, now: Instant) {
        self.phase = Phase::Full { since: now };
        self.targets.begin(now);
    }

    fn went(&self) -> Option<Instant> {
        match self.phase {
            Phase::Full { since } => Some(since),
            _ => None,
        }
    }

    fn birthday_due(&self) -> Option<Instant> {
        let settled = self.ended.is_some() || self.failed || self.targets.was_any_heard();
        if settled || self.targets.origin().is_none() {
            return None;
        }
        self.birthday.wanted_from(self.went())
    }

    /// When it is tried once more, if that makes sense.
    fn again_due(&self) -> Option<Instant> {
        let both_hard = self.plan.local.mapping.is_hard() && self.plan.remote.mapping.is_hard();
        let opening = self.nominee.has_called() || self.syn_seen.is_some() || self.targets.was_any_acked();
        let sensible = self.counts.attempts == 1 && !both_hard && !opening && !self.birthday.is_possible();
        if sensible { self.went().map(|went| went + AGAIN) } else { None }
    }

    fn try_again(&mut self, now: Instant) {
        if self.again_due().is_none_or(|at| at > now) {
            return;
        }
        self.counts.attempts = 2;
        if let Some(origin) = self.targets.origin() {
            self.actions.push_back(Action::OpenSockets { count: 1, like: origin.socket });
        }
    }

    fn consider(&mut self, now: Instant) {
        if self.ended.is_some() || self.failed || self.is_initiator() != Some(true) {
            return;
        }
        let actions = &mut self.actions;
        self.nominee.consider(now, &mut self.targets, |action| actions.push_back(action));
    }

    fn fail(&mut self, error: PunchError) {
        self.failed = true;
        self.outbox.clear();
        self.end_search();
        self.actions.push_back(Action::CloseSockets);
        self.actions.push_back(Action::Failed(error));
        self.actions.push_back(Action::Over);
    }
}
