//! How a connection ends.
//!
//! ```text
//!   our FIN acknowledged, peer's FIN reached          ─▶ TimeWait ─▶ Closed(Finished)
//!   our FIN acknowledged, application gone            ─▶ TimeWait ─▶ Closed(Finished)
//!   peer's FIN reached, silence after ours  ─▶ let go ─▶ TimeWait ─▶ Closed(Finished)
//!   abort, time limits                     ─▶ RESET ─▶ Closed(..)
//!   RESET received, give-up, endpoint gone            ─▶ Closed(..)
//! ```
//!
//! A FIN never waits for the peer's FIN: Transmission's libutp never sends one of its own, and libtorrent forgets
//! a connection as soon as its own FIN is acknowledged.

use std::time::Duration;

use super::state::State;
use super::{Connection, Events};
use crate::error::CloseReason;
use crate::time::Instant;
use crate::wire::{Kind, Packet};

/// Ours: if the peer has finished and then keeps silent for so many timeouts, our FIN counts as delivered: a peer that
/// has forgotten the connection (libtorrent) will never answer. By then it went out seven times, and the application
/// need not wait any longer.
pub(super) const FIN_TIMEOUTS_MAX: u32 = 5;

/// Ours: but a peer that is still there, behind an outage, waits for nothing but our FIN and has no reason to speak
/// first; unless we go on, it waits for ever. So long we do, in the background.
pub(super) const FIN_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Ours: the pause between the FINs that nobody here waits for: six more.
pub(super) const FIN_PACE_LATE: Duration = Duration::from_secs(5);

/// Ours: where timeouts are shorter, a FIN is still repeated at this pace in the end, and let go by it: outages last
/// for seconds however short the path is.
pub(super) const FIN_PACE: Duration = Duration::from_secs(1);

impl Connection {
    /// After anything that may have been the last thing missing.
    pub(super) fn complete_if_done(&mut self, now: Instant) {
        if !self.state.is_open() || !self.is_delivered() {
            return;
        }
        self.signal(Events::ACKED);
        if self.recv.is_finished() || self.wishes.detached {
            self.finish_life(now);
        }
    }

    /// Everything that was to be done is done.
    pub(super) fn finish_life(&mut self, now: Instant) {
        tracing::debug!(ids = ?self.ids, peer = %self.path.peer, "finished");
        self.state = State::TimeWait { since: now, until: now + self.time_wait() };
        self.timers.stop_data();
        self.close_reason = Some(CloseReason::Finished);
        self.signal(Events::READABLE | Events::WRITABLE | Events::ACKED | Events::FLUSHED | Events::CLOSED);
    }

    /// The application need not wait for the acknowledgement of our end any longer; the connection still does.
    pub(super) fn let_go(&mut self) {
        self.timers.linger = None;
        self.close_reason = Some(CloseReason::Finished);
        self.signal(Events::READABLE | Events::WRITABLE | Events::ACKED | Events::FLUSHED | Events::CLOSED);
    }

    /// Nor does the connection.
    pub(super) fn give_up_end(&mut self, now: Instant) {
        self.send.clear();
        self.finish_life(now);
        // The peer will not ask.
        self.state = State::TimeWait { since: now, until: now + FIN_PACE };
    }

    /// Whether only our end is left to be delivered, and nobody here waits for that.
    pub(super) const fn is_let_go(&self) -> bool {
        self.state.is_open() && self.close_reason.is_some()
    }

    /// Whether everything, the end included, is acknowledged.
    pub(super) fn is_delivered(&self) -> bool {
        self.send.is_finishing() && self.send.is_all_acked()
    }

    /// A packet for a connection that is finished.
    pub(super) fn on_afterthought(&mut self, now: Instant, packet: &Packet<'_>) {
        if !self.is_plausible(packet) {
            self.counters.packets_invalid += 1;
            return;
        }
        let header = packet.header;
        let known = header.seq.distance_from(self.recv.cumulative()) <= 0;
        match header.kind {
            // Our acknowledgement of the peer's last packets was lost.
            Kind::Fin | Kind::Data if known => {
                self.prolong_time_wait(now);
                self.acks.demand();
            }
            // The application went away before the peer had finished. (After the peer's end nothing can follow, and what
            // the application has not read yet stays.)
            Kind::Fin if !self.recv.is_finished() => {
                self.recv.finish_at(header.seq, packet.payload);
                self.recv.discard();
                self.peer.heard(now, header.sent_at);
                self.acks.demand();
            }
            Kind::Data => self.due.reset = true,
            _ => {}
        }
    }

    /// The peer repeats itself, so this answer may get lost too, and a peer that backs off asks again after up to
    /// twice the time.
    fn prolong_time_wait(&mut self, now: Instant) {
        /// Ours: twice the longest that a packet is thought to live (RFC 9293 §3.4.1 says four minutes; TCP stacks one).
        const TIME_WAIT_MAX: Duration = Duration::from_secs(60);
        if let State::TimeWait { since, until } = self.state {
            let wait = self.time_wait() + 2 * now.since(since);
            self.state = State::TimeWait { since, until: until.max(now + wait).min(since + TIME_WAIT_MAX) };
        }
    }

    /// Ends the connection at once and tells the peer.
    pub(super) fn close_with_reset(&mut self, reason: CloseReason) {
        let tell = match self.state {
            State::Open | State::SynSent { tries: 1.., .. } => true,
            // Instead of the answer that was due; one more would let a forged sender address receive more than
            // was sent in its name. Whoever is there will speak, and be answered.
            State::SynReceived { .. } => self.due.syn_ack,
            _ => false,
        };
        self.close(reason);
        if tell {
            self.due.reset = true;
            self.wishes.service = true;
        }
    }

    /// Gives back what nobody can ask for any more, however long the application looks at what is left to read.
    fn release_memory(&mut self) {
        if self.send.is_all_acked() {
            self.send.release();
        } else {
            self.send.abandon();
        }
        self.abandon_messages();
        self.recv.discard_held();
        self.recv.release();
    }

    /// Ends the connection at once.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.state == State::Closed {
            return;
        }
        tracing::debug!(ids = ?self.ids, peer = %self.path.peer, %reason, "closed");
        self.state = State::Closed;
        self.due = super::Due::default();
        self.timers = super::Timers::default();
        self.updates.seen();
        self.close_reason.get_or_insert(reason);
        self.release_memory();
        self.wishes.service = true;
        self.signal(
            Events::CONNECTED
                | Events::READABLE
                | Events::WRITABLE
                | Events::FLUSHED
                | Events::ACKED
                | Events::CLOSED,
        );
    }
}
