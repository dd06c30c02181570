//! Questions whether the peer is there, and answers to them.
//!
//! A packet with the ping flag carries no data, counts for no acknowledgement of something repeated, and is either a
//! question, which has a number, or an answer, which repeats it and tells from where the question came. Only peers of
//! this crate's making are asked; they also tell by it, in the first one, what a SYN has said that was forgotten.

use std::time::Duration;

use super::{Connection, Hello};
use crate::time::Instant;
use crate::wire::{ExtensionsBuf, MarkFlags, Own, Packet, SeqNr, Txn};

/// Questions and answers under way.
#[derive(Debug, Default)]
pub(super) struct Consent {
    /// A question is to be asked.
    pub(super) ask: bool,
    /// The question that is to be answered, 0 if there is none.
    answer: Txn,
    /// The last question, 0 once it is answered.
    asked: Txn,
    /// Questions so far, which makes their numbers.
    count: u32,
    rival: Option<Box<Rival>>,
    /// Mixed into the numbers of questions, so that nobody can answer who has not heard them.
    secret: u64,
}

impl Consent {
    pub(super) const fn seed(&mut self, secret: u64) {
        self.secret = secret;
    }

    /// So long after the last packet, a fifth more or less: two that are silent alike should not ask each other at the
    /// same time, for ever.
    fn spread(&self, every: Duration) -> Duration {
        every * (80 + (self.secret % 41) as u32) / 100
    }

    /// Whether an answer is due.
    pub(super) const fn has_answer(&self) -> bool {
        self.answer.get() != 0
    }

    /// The next question's number.
    pub(super) fn draw(&mut self) -> Txn {
        self.count = self.count.wrapping_add(1);
        // Steele and others: SplitMix64, a bijection that leaves nothing of the order.
        let mut mixed = self.secret ^ u64::from(self.count).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Txn::new((mixed ^ (mixed >> 31)).max(1))
    }
}

/// What is to become of a connection whose place another SYN wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It keeps its place.
    Keep,
    /// It keeps its place, and the peer is asked whether it is still there.
    Asked,
    /// The peer has been asked and is gone. The SYN said this when it came first.
    Gone(Option<Hello>),
}

/// A SYN that wants the place of a connection.
#[derive(Clone, Copy, Debug)]
struct Rival {
    since: Instant,
    seq: SeqNr,
    hello: Option<Hello>,
}

/// Ours: a peer that is still there answers one of two questions within so much time; less than the three seconds after
/// which its third SYN would come.
const RIVAL_PATIENCE: Duration = Duration::from_millis(2500);

impl Connection {
    /// Another SYN has come on the ids of this connection, with another number. Perhaps the peer has lost it and begins
    /// anew: it is asked, and if it says nothing until the SYN comes once more, the connection is gone.
    ///
    /// Only peers of this crate's making can be asked.
    pub fn doubt(&mut self, now: Instant, seq: SeqNr, hello: Option<Hello>) -> Doubt {
        if !self.peer_is_ebbtide() || !self.is_confirmed() {
            return Doubt::Keep;
        }
        match self.consent.rival.as_deref_mut() {
            Some(rival) if rival.seq == seq && rival.since > self.peer.last_heard => {
                if now.since(rival.since) >= RIVAL_PATIENCE {
                    return Doubt::Gone(rival.hello);
                }
            }
            _ => self.consent.rival = Some(Box::new(Rival { since: now, seq, hello })),
        }
        self.consent.ask = true;
        Doubt::Asked
    }

    /// What a packet says beyond BEP 29, which fits. Returns whether it is a question or an
    /// answer, and no acknowledgement in disguise.
    pub(super) fn on_extensions(&mut self, packet: &Packet<'_>) -> bool {
        let Some((flags, own)) = self.negotiation.learn(packet.extensions) else { return false };
        if !flags.contains(MarkFlags::PING) {
            return false;
        }
        if let Some(txn) = own.txn {
            self.consent.answer = txn;
        }
        if own.txn_echo == Some(self.consent.asked) {
            self.consent.asked = Txn::default();
        }
        true
    }

    /// How long to be silent before something is sent for the sake of NATs.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        let every = self.config.keepalive;
        if self.peer_is_ebbtide() { every.map(|every| self.consent.spread(every)) } else { every }
    }

    /// A question, to be sent.
    pub(super) fn question(&self, txn: Txn) -> Option<ExtensionsBuf> {
        // What the SYN has said, for whoever has forgotten it.
        let path_token = self.negotiation.issued().filter(|_| self.consent.count == 1);
        let own = Own { txn: Some(txn), path_token, ..Own::default() };
        self.negotiation.for_control(self.role, MarkFlags::PING | MarkFlags::OBSERVE, &own)
    }

    /// An answer, to be sent.
    pub(super) fn answer(&self) -> Option<ExtensionsBuf> {
        let own =
            Own { txn_echo: Some(self.consent.answer), observed: Some(self.peer_addr()), ..Own::default() };
        self.negotiation.for_control(self.role, MarkFlags::PING, &own)
    }

    pub(super) fn on_asked(&mut self, txn: Txn) {
        self.consent.ask = false;
        self.consent.asked = txn;
        self.acknowledged();
    }

    pub(super) fn on_answered(&mut self) {
        self.consent.answer = Txn::default();
        self.acknowledged();
    }

    /// It acknowledges too, unless there is more to an acknowledgement now than it says.
    fn acknowledged(&mut self) {
        if !self.recv.has_gap() && self.send.fin_seq().is_none() {
            self.acks.sent();
        }
    }
}
