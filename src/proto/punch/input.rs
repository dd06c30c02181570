//! What the peer's packets change.
//!
//! Nothing that comes without the right token changes anything, and nothing is answered by more than it came with.

use super::output::Outgoing;
use super::probe::{PROBE_LEN, Probe, ProbeKind};
use super::report::PathKind;
use super::targets::kind_of_unnamed;
use super::{Phase, Punch, PunchRole};
use crate::proto::batch::Path;
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr, Session, Token, Txn};

/// Ours: answers that one punch gives. Whoever has the token could have us answer for ever.
const ANSWERS_MAX: u32 = 512;

/// Ours: answers written and not yet sent.
const PENDING_MAX: usize = 64;

impl Punch {
    /// Takes a probe or an answer that belongs to no connection. Returns whether it was for this punch: it had the
    /// right token, and came from where it may.
    pub fn handle_probe(&mut self, now: Instant, path: Path, probe: &Probe) -> bool {
        if probe.token != self.plan.local_token || self.failed || !self.may_believe(path) {
            return false;
        }
        match probe.kind {
            ProbeKind::Question { txn, tie_break } => {
                if self.settles(tie_break) {
                    self.handle_question(now, path, txn, probe.len);
                }
            }
            ProbeKind::Answer { echo, .. } => self.handle_answer(now, path, echo),
        }
        true
    }

    /// A RESET for no connection of ours. If it is about one of our probes, somebody is there who knows uTP and none of
    /// this, and the way is open at least; that is all it is worth, since it carries no token.
    pub fn handle_reset(&mut self, path: Path, id: ConnId, ack: SeqNr) -> bool {
        let about_us = self.asked.is_reset(path, id, ack);
        self.vanilla |= about_us;
        about_us
    }

    /// Whether a SYN that carries these is the peer's, so that the connection is to be accepted at once and belongs to
    /// this punch.
    pub fn handle_syn(&mut self, now: Instant, path: Path, session: Session, token: Token) -> bool {
        let ours = session == self.plan.session && token == self.plan.local_token;
        if !ours || self.is_initiator() == Some(true) || self.failed || !self.may_believe(path) {
            return false;
        }
        self.acceptor_if_undecided();
        self.hear(now, path);
        if self.ended.is_none() {
            self.syn_seen = Some(now);
        }
        true
    }

    /// Whether packets with the right token are believed from there.
    fn may_believe(&self, path: Path) -> bool {
        !self.plan.forbids(path) && (self.plan.believe_unnamed || self.targets.contains(path))
    }

    /// If nobody has said who starts the connection, the larger number does. Equal ones are a mirror's: then nothing of
    /// it is true.
    fn settles(&mut self, theirs: Option<u64>) -> bool {
        let PunchRole::Undecided { tie_break: ours } = self.plan.role else { return true };
        match theirs {
            None => false,
            Some(theirs) if theirs == ours => false,
            Some(theirs) => {
                self.plan.role = if ours > theirs { PunchRole::Initiator } else { PunchRole::Acceptor };
                true
            }
        }
    }

    fn acceptor_if_undecided(&mut self) {
        if matches!(self.plan.role, PunchRole::Undecided { .. }) {
            self.plan.role = PunchRole::Acceptor;
        }
    }

    fn handle_question(&mut self, now: Instant, path: Path, txn: Txn, len: usize) {
        self.counts.probes_seen += 1;
        self.hear(now, path);
        let pending = self.outbox.iter().filter(|out| out.is_answer()).count();
        if len >= PROBE_LEN && self.counts.answers < ANSWERS_MAX && pending < PENDING_MAX {
            self.counts.answers += 1;
            self.outbox.push_back(Outgoing::answer(path, txn));
        }
        self.last_question = Some((path, txn));
        // The peer's full probes come over the public way, so both sides have sent their openers.
        let over_public = self.targets.get_mut(path).is_none_or(|target| {
            matches!(target.kind, PathKind::Ipv4 | PathKind::PeerReflexive | PathKind::Birthday)
        });
        if over_public && matches!(self.phase, Phase::Waiting { .. }) {
            self.begin(now);
        }
        self.consider(now);
    }

    fn handle_answer(&mut self, now: Instant, path: Path, echo: Txn) {
        let Some(question) = self.asked.answer(echo) else { return };
        if question.path.socket != path.socket {
            return;
        }
        self.counts.acks_seen += 1;
        self.hear(now, path);
        if let Some(target) = self.targets.get_mut(path) {
            let rtt = now.since(question.at);
            target.acked = true;
            target.rtt = Some(target.rtt.map_or(rtt, |known| known.min(rtt)));
        }
        self.consider(now);
    }

    /// Something with the right token came on that path.
    fn hear(&mut self, now: Instant, path: Path) {
        if !self.targets.contains(path) {
            let searched = self.birthday.found(path);
            let kind = if searched { PathKind::Birthday } else { kind_of_unnamed(path.peer) };
            if self.ended.is_some() || self.targets.discover(now, path, kind).is_none() {
                return;
            }
        }
        if let Some(target) = self.targets.get_mut(path) {
            target.heard = true;
            self.nominee.heard(now);
        }
    }
}
