//! What is sent, and when.
//!
//! Everything but answers leaves through one gap: whatever is due, two packets keep their distance. What is due first
//! goes first; of what is overdue, openers before probes before what searches for a port.

use rand::RngExt;

use super::birthday::Birthday;
use super::probe::{Disguise, PROBE_LEN, ProbeKind, write};
use super::schedule::{OPENER_GAP, PROBE_GAP, PROBES_MAX};
use super::{Punch, PunchRole};
use crate::proto::batch::{Batch, Path};
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr, Txn};

/// Ours: routers that an opener may pass: a home's and a carrier's, and not the peer's. Others use 2 to 5.
pub const OPENER_TTL: u8 = 5;

/// Ours: plain openers of one punch.
const OPENERS_MAX: u32 = 64;

/// Ours: draws of an id that no connection to that peer uses.
const ID_DRAWS: usize = 8;

/// Something to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Opens our NAT for a candidate.
    Opener(Path),
    /// Is to arrive.
    Probe(Path),
    /// The last answer once more.
    AnswerAgain,
    /// Opens our NAT on one of many sockets.
    ManyOpeners(Path),
    /// Tries the next port.
    Search,
}

/// A packet on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    path: Path,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Question { txn: Txn, opener: bool },
    Answer { echo: Txn },
}

impl Outgoing {
    pub(super) const fn answer(path: Path, echo: Txn) -> Self {
        Self { path, what: What::Answer { echo } }
    }

    pub(super) const fn is_answer(&self) -> bool {
        matches!(self.what, What::Answer { .. })
    }
}

impl Punch {
    /// Writes what is to be sent now into an empty batch; `None` if there is nothing. `is_free` tells whether an id is
    /// far enough from those of connections on that path.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        is_free: &dyn Fn(Path, ConnId) -> bool,
    ) -> Option<Path> {
        let Outgoing { path, what } = self.outbox.pop_front()?;
        let draw = |rng: &mut rand::rngs::StdRng| ConnId::new(rng.random());
        let mut id = draw(&mut self.rng);
        for _ in 0..ID_DRAWS {
            if is_free(path, id) {
                break;
            }
            id = draw(&mut self.rng);
        }
        let seq = SeqNr::new(self.rng.random());
        let disguise = Disguise { id, seq, ack: SeqNr::new(self.rng.random()) };
        let kind = match what {
            What::Question { txn, .. } => {
                self.asked.sent(txn, id, seq);
                let tie_break = match self.tie_break {
                    PunchRole::Undecided { tie_break } => Some(tie_break),
                    _ => None,
                };
                ProbeKind::Question { txn, tie_break }
            }
            What::Answer { echo } => ProbeKind::Answer { echo, observed: Some(path.peer) },
        };
        let mut bytes = [0; PROBE_LEN];
        write(now, disguise, self.plan.remote_token, kind, &mut bytes);
        batch.push_sealed(&bytes);
        if let What::Question { opener: true, .. } = what {
            batch.set_ttl(OPENER_TTL);
        }
        Some(path)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Puts what is due into the outbox.
    pub(super) fn send_due(&mut self, now: Instant) {
        while let Some((at, job)) = self.next_job(now) {
            if at > now {
                break;
            }
            self.execute(now, job);
        }
    }

    /// The next thing to be sent, and when.
    pub(super) fn next_job(&self, now: Instant) -> Option<(Instant, Job)> {
        if self.failed || self.asked.is_full() {
            return None;
        }
        if self.ended.is_some() {
            let at = self.answers_again.first()?;
            return Some((*at, Job::AnswerAgain));
        }
        let may_open = self.counts.openers < OPENERS_MAX;
        let may_probe = self.counts.plain < PROBES_MAX;
        let plain = self.targets.iter().filter_map(|target| {
            if target.openers > 0 && may_open {
                return Some((self.began, Job::Opener(target.path)));
            }
            let due = target.due().filter(|_| may_probe)?;
            Some((due, Job::Probe(target.path)))
        });
        let search = if self.targets.was_any_acked() { None } else { self.birthday.next_job(now) };
        let jobs = plain.chain(search).map(|(at, job)| (self.pace.earliest(at), at, job));
        let first = jobs.min_by_key(|(at, due, job)| (*at, rank(*job), *due));
        first.map(|(at, _, job)| (at, job))
    }

    fn execute(&mut self, now: Instant, job: Job) {
        match job {
            Job::Opener(path) => {
                if let Some(target) = self.targets.get_mut(path) {
                    target.openers -= 1;
                }
                self.counts.openers += 1;
                self.question(now, path, true);
                // They go no further than our own provider, and the peer waits for us to be ready.
                self.pace.sent(now, OPENER_GAP);
            }
            Job::Probe(path) => {
                if let Some(target) = self.targets.get_mut(path) {
                    target.step += 1;
                }
                self.counts.plain += 1;
                self.question(now, path, false);
                self.pace.sent(now, PROBE_GAP);
            }
            Job::AnswerAgain => {
                self.answers_again.remove(0);
                if let Some((path, txn)) = self.last_question {
                    self.outbox.push_back(Outgoing::answer(path, txn));
                }
            }
            Job::ManyOpeners(path) => {
                self.birthday.opener_sent(now, path.socket);
                self.question(now, path, true);
                self.pace.sent(now, OPENER_GAP);
            }
            Job::Search => {
                let Some(path) = self.birthday.next_port(&mut self.rng) else { return };
                self.question(now, path, false);
                self.pace.sent(now, PROBE_GAP);
            }
        }
    }

    fn question(&mut self, now: Instant, path: Path, opener: bool) {
        if self.plan.forbids(path) {
            return;
        }
        if let Some(txn) = self.asked.ask(now, path, &mut self.rng) {
            self.counts.probes_sent += 1;
            self.outbox.push_back(Outgoing { path, what: What::Question { txn, opener } });
        }
    }

    /// Ends the search for a port, whoever searches.
    pub(super) fn end_search(&mut self) {
        self.birthday = Birthday::No;
    }
}

/// Of what is overdue, what goes first.
const fn rank(job: Job) -> u8 {
    match job {
        Job::Opener(_) => 0,
        Job::Probe(_) => 1,
        Job::AnswerAgain => 2,
        Job::ManyOpeners(_) => 3,
        Job::Search => 4,
    }
}
