//! Questions whether the peer is there, and answers to them.
//!
//! A packet with the ping flag carries no data, counts for no acknowledgement of something repeated, and is either a
//! question, which has a number, or an answer, which repeats it and tells from where the question came. Only peers of
//! this crate's making are asked; they also tell by it, in the first one, what a SYN has said that was forgotten.

use std::time::Duration;

use super::{Connection, Hello};
use crate::error::CloseReason;
use crate::time::Instant;
use crate::wire::{ExtensionsBuf, MarkFlags, Own, Packet, SeqNr, Txn};

/// Questions and answers under way.
#[derive(Debug, Default)]
pub(super) struct Consent {
    /// Questions asked because the peer is silent.
    tries: u8,
    /// The peer did not know by what name to call this connection.
    introduce: bool,
    /// A question is to be asked.
    pub(super) ask: bool,
    /// The question that is to be answered, 0 if there is none.
    answer: Txn,
    /// The last question, 0 once it is answered.
    asked: Txn,
    /// What the peer had acknowledged by then.
    acked: SeqNr,
    /// The peer may lack what we were told it has: it is to be asked soon.
    doubtful: bool,
    /// What is outstanding has been given all its tries once more, because the peer is there.
    pardoned: bool,
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

/// RFC 7675 §5.1: data goes only where somebody was heard for the last thirty seconds.
const CONSENT: Duration = Duration::from_secs(30);

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
    pub(super) fn on_extensions(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        let Some((flags, own)) = self.negotiation.learn(packet.extensions) else { return false };
        self.hear_reason(&own);
        self.hear_path(now, &own);
        if !flags.contains(MarkFlags::PING) {
            return false;
        }
        if let Some(txn) = own.txn {
            self.consent.answer = txn;
            self.consent.introduce = flags.contains(MarkFlags::MIGRATES);
            if self.send.last_acked().is_after(packet.header.ack) {
                // Overtaken, most likely.
                self.consent.doubtful = true;
                self.timers.keepalive = Some(now + self.rtt.rto());
            }
        }
        if own.txn_echo == Some(self.consent.asked) {
            self.on_answer(packet);
        }
        true
    }

    /// The last question is answered. Whoever has heard it acknowledges no less than before it was asked: if the answer
    /// does, what we took for acknowledged is not there and will not be sent again, and the stream has come to its end
    /// although both are there. (Checksums miss a wrong bit now and then.)
    fn on_answer(&mut self, packet: &Packet<'_>) {
        self.consent.asked = Txn::default();
        if self.consent.acked.is_after(packet.header.ack) {
            self.close_with_reset(CloseReason::Misbehaved);
        }
    }

    /// A doubtful peer is asked, and one that has not answered the last question is looked for, unless it is being asked
    /// again and again for its consent.
    pub(super) fn settle_doubts(&mut self, now: Instant) {
        self.consent.ask |= std::mem::take(&mut self.consent.doubtful);
        if self.consent.asked.get() != 0 && self.timers.consent.is_none() {
            self.search(now);
        }
    }

    /// Something has been acknowledged.
    pub(super) const fn on_acknowledged(&mut self) {
        self.consent.pardoned = false;
    }

    /// Whether the peer may be sent data. One of ours that has said nothing for [`CONSENT`] is asked first whether it is
    /// still there (RFC 7675 §5.1): somebody else may have its address by now.
    pub(super) fn may_send_payload(&mut self, now: Instant) -> bool {
        let silence = now.since(self.peer.last_heard);
        if silence < CONSENT || !self.peer_is_ebbtide() || self.send.queued_bytes() == 0 {
            return true;
        }
        let Some(every) = self.config.keepalive.filter(|every| silence >= 2 * *every) else { return true };
        if self.timers.consent.is_none() {
            tracing::debug!(ids = ?self.ids, peer = %self.path.peer, ?every, "silent for too long");
            self.consent.tries = 0;
            self.on_silence(now);
        }
        false
    }

    /// The peer is asked whether it is there, less and less often.
    pub(super) fn on_silence(&mut self, now: Instant) {
        if self.consent.tries > self.config.timeouts {
            return self.close_with_reset(CloseReason::TimedOut);
        }
        self.consent.ask = true;
        let pause = Duration::from_secs(1 << self.consent.tries.min(5));
        self.consent.tries += 1;
        self.timers.consent = Some(now + pause);
    }

    /// It is: what was kept back may go, and what was lost meanwhile gets all its tries once more. That it is there again
    /// is not enough: RFC 9293 §3.8.3 limits how long something may be repeated that nobody acknowledges, whatever else
    /// is heard.
    pub(super) fn on_consent(&mut self, now: Instant) {
        self.timers.consent = None;
        if self.send.outstanding() > 0 && !std::mem::replace(&mut self.consent.pardoned, true) {
            self.rtt.reset_back_off();
            self.due.probe |= self.send.has_lost();
            self.timers.retransmit = Some(now + self.rtt.rto());
        }
    }

    /// How long to be silent before something is sent for the sake of NATs.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        let every = self.config.keepalive;
        if self.peer_is_ebbtide() { every.map(|every| self.consent.spread(every)) } else { every }
    }

    /// A question, to be sent.
    pub(super) fn question(&self, txn: Txn) -> Option<ExtensionsBuf> {
        let flags = MarkFlags::PING | MarkFlags::OBSERVE;
        // What the SYN has said, for whoever has forgotten it; else the name of the connection, in case that the peer does
        // not know us here.
        let (path_token, flags) = match self.negotiation.granted() {
            None if self.config.migration => (self.negotiation.issued(), flags | MarkFlags::MIGRATES),
            granted => (granted, flags),
        };
        let own = Own { txn: Some(txn), path_token, ..Own::default() };
        self.negotiation.for_control(self.role, flags, &own)
    }

    /// An answer, to be sent.
    pub(super) fn pong(&self) -> Option<ExtensionsBuf> {
        let path_token = self.negotiation.issued().filter(|_| self.consent.introduce);
        let flags = if path_token.is_some() { MarkFlags::MIGRATES } else { MarkFlags::NONE };
        let own = Own {
            txn_echo: Some(self.consent.answer),
            observed: Some(self.peer_addr()),
            path_token,
            ..Own::default()
        };
        self.negotiation.for_control(self.role, MarkFlags::PING | flags, &own)
    }

    pub(super) fn on_asked(&mut self, txn: Txn) {
        self.consent.ask = false;
        self.consent.asked = txn;
        self.consent.acked = self.send.last_acked();
        self.acknowledged();
    }

    pub(super) fn on_answered(&mut self) {
        self.consent.answer = Txn::default();
        self.acknowledged();
    }

    /// It acknowledges too, unless there is more to an acknowledgement now than it says.
    fn acknowledged(&mut self) {
        if !self.recv.has_gap() {
            self.acks.sent();
        }
    }
}
