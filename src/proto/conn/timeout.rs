//! Time passed: what is overdue?

use std::time::Duration;

use super::Connection;
use super::close::{FIN_PACE, FIN_PACE_LATE, FIN_SILENCE_MAX, FIN_TIMEOUTS_MAX};
use super::output::TRIM_AFTER;
use super::state::State;
use super::timers::expired;
use crate::error::CloseReason;
use crate::time::Instant;

/// RFC 8985 §7.2: without a round trip sample a tail probe waits for a second.
const PROBE_UNMEASURED: Duration = Duration::from_secs(1);

/// Ours: never probe faster than timers are precise.
const PROBE_MIN: Duration = Duration::from_millis(10);

/// RFC 1122 §4.2.2.17: probing a shut window backs off exponentially; ours starts no earlier than this, and never
/// waits longer than the maximum, which is libutp's only interval.
const PERSIST: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// RFC 6298 §2.5: the longest timeout; what is sent into an open window is answered within it.
const STALL_GRACE: Duration = Duration::from_secs(60);

impl Connection {
    /// Does whatever is overdue. Calling it too early, or too often, does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::SynSent { deadline, .. } if deadline <= now => return self.close(CloseReason::TimedOut),
            State::SynReceived { deadline } if deadline <= now => {
                return self.close(CloseReason::Unconfirmed);
            }
            State::TimeWait { until, .. } if until <= now => return self.close(CloseReason::Finished),
            _ => {}
        }
        if expired(&mut self.timers.linger, now) {
            return self.close_with_reset(CloseReason::Aborted);
        }
        if expired(&mut self.timers.syn, now) {
            match self.state {
                State::Open => self.prove(now),
                _ => self.due.syn = true,
            }
        }
        if expired(&mut self.timers.trim, now) {
            self.on_trim(now);
        }
        if self.state.is_open() {
            self.handle_open_timeout(now);
        }
    }

    fn handle_open_timeout(&mut self, now: Instant) {
        if let Some(reason) = self.limit_exceeded(now) {
            return self.close_with_reset(reason);
        }
        if expired(&mut self.timers.pace, now) {
            self.blocked = super::Blocked::No;
        }
        if expired(&mut self.timers.loss, now) {
            if let Some(lost) = self.send.detect_losses(now, &self.rtt) {
                self.on_lost(now, &lost);
            }
            self.timers.loss = self.send.loss_deadline(&self.rtt);
        }
        if expired(&mut self.timers.kept_back, now) {
            self.due.kept_back = true;
        }
        if expired(&mut self.timers.retransmit, now) {
            self.on_retransmission_timeout(now);
        } else if expired(&mut self.timers.probe, now) {
            self.on_probe_timeout();
        }
        if expired(&mut self.timers.persist, now) {
            self.persist_tries = self.persist_tries.saturating_add(1);
            self.due.probe = true;
        }
        self.on_messages_timeout(now);
        if self.updates.repeat(now) {
            self.acks.demand();
        }
        if expired(&mut self.timers.search, now) {
            self.on_search(now);
        }
        if expired(&mut self.timers.flow, now) {
            self.on_flow(now);
        }
        if expired(&mut self.timers.consent, now) {
            self.on_silence(now);
        }
        if expired(&mut self.timers.keepalive, now) {
            self.on_keepalive(now);
        }
    }

    /// Whether what is outstanding before a shut window is its probe.
    fn is_stalled(&self) -> bool {
        self.peer.is_shut(self.payload_max()) && !self.send.only_fin_outstanding()
    }

    /// How long to wait for the answer to what is sent now.
    pub(super) fn timeout_wait(&self) -> Duration {
        match self.rtt.rto() {
            rto if self.is_let_go() => rto.max(FIN_PACE_LATE),
            rto if self.is_stalled() => rto.min(PERSIST.1),
            rto => rto,
        }
    }

    fn on_trim(&mut self, now: Instant) {
        // Each for itself: who only receives any more has no use for what it once sent from.
        if now.since(self.last_data_heard) >= TRIM_AFTER {
            self.recv.release();
        }
        if now.since(self.last_data_sent) >= TRIM_AFTER {
            self.send.release();
            self.release_messages();
        }
        self.timers.trim = self.has_idle_memory().then(|| now + TRIM_AFTER);
    }

    /// RFC 6298 §5.4 to 5.7, with loss marking as in RFC 8985 §6.3.
    fn on_retransmission_timeout(&mut self, now: Instant) {
        if self.send.outstanding() == 0 {
            return;
        }
        self.counters.timeouts += 1;
        if self.rtt.backoffs() > 0 {
            self.search(now);
        }
        self.due.kept_back = true;
        let only_fin = self.send.only_fin_outstanding();
        let silence = now.since(self.send.oldest_sent_at().unwrap_or(now).max(self.peer.last_heard));
        let forgotten =
            only_fin && self.recv.is_finished() && self.rtt.backoffs() > 0 && silence >= self.rtt.rto();
        if forgotten && silence >= FIN_TIMEOUTS_MAX * self.rtt.rto().max(FIN_PACE) {
            // The peer has everything, has said everything and does not answer: it is done with us, most likely.
            if silence >= FIN_SILENCE_MAX || self.wishes.hurried {
                return self.give_up_end(now);
            }
            self.let_go();
        }
        if !self.is_stalled() && !forgotten && self.rtt.backoffs() >= self.config.timeouts {
            return self.close_with_reset(CloseReason::TimedOut);
        }
        if !forgotten || self.rtt.rto() < FIN_PACE {
            // Twenty bytes a second need no further back-off, and the more of them the surer.
            self.rtt.back_off();
        }
        if let Some(lost) = self.send.on_timeout(now, &self.rtt) {
            self.counters.packets_lost += u64::from(lost.packets);
        }
        self.congestion.on_timeout(now);
        self.timers.retransmit = Some(now + self.timeout_wait());
        self.timers.probe = None;
        self.timers.loss = None;
        self.due.probe = true;
    }

    /// RFC 8985 §7.3: one packet, so that its acknowledgement shows which of the last ones are missing.
    fn on_probe_timeout(&mut self) {
        debug_assert!(!self.probed && self.send.outstanding() > 0, "armed for one probe of something");
        self.probed = true;
        if self.send.peek_kept_back().is_some() {
            // Whatever its answer is, it shows what is missing after it.
            self.due.kept_back = true;
            return;
        }
        self.counters.tail_probes += 1;
        let has_new = self.has_new_segment_for_peer();
        if has_new || self.send.queue_tail_probe() {
            self.due.probe = true;
        }
    }

    fn on_keepalive(&mut self, now: Instant) {
        self.settle_doubts(now);
        // libutp keeps silent after its FIN; the peer has no reason to keep the way open either.
        let Some(every) = self.keepalive() else { return };
        if self.send.is_finishing() {
            return;
        }
        let silent = now.since(self.last_sent) >= every;
        if self.peer_is_ebbtide() {
            self.consent.ask |= silent;
        } else if silent && self.proof_may_be_lost() {
            // The old acknowledgement of a keepalive proves nothing.
            self.acks.demand();
        } else {
            self.due.keepalive = silent;
        }
        self.timers.keepalive = Some(if silent { now } else { self.last_sent } + every);
    }

    /// When to send a tail probe, counted from now (RFC 8985 §7.2). None if the timeout comes first anyway.
    pub(super) fn probe_deadline(&self, now: Instant) -> Option<Instant> {
        if self.probed {
            return None;
        }
        let wait = match self.rtt.smoothed() {
            Some(smoothed) => {
                let lone =
                    if self.send.packets_in_flight() == 1 { self.config.ack_delay } else { Duration::ZERO };
                (2 * smoothed + 4 * self.rtt.variation().min(smoothed) + lone).max(PROBE_MIN)
            }
            None => PROBE_UNMEASURED,
        };
        (wait < self.rtt.rto()).then(|| now + wait)
    }

    /// How long to wait before a shut window is tried again.
    pub(super) fn persist_interval(&self) -> Duration {
        let first = self.rtt.rto().max(PERSIST.0);
        first.saturating_mul(1 << self.persist_tries.min(6)).min(PERSIST.1)
    }

    /// When one of the limits on silence is exceeded, if nothing changes.
    pub(super) fn limit_deadline(&self) -> Option<Instant> {
        let idle = self.config.idle_timeout.map(|limit| self.peer.last_heard + limit);
        let stalled = self.stalled_since.map(|since| since + self.stall_limit());
        [idle, stalled].into_iter().flatten().min()
    }

    /// How long a window may be shut; once it has opened, there is time left to see whether anything arrives.
    fn stall_limit(&self) -> Duration {
        let grace = if self.peer.is_shut(self.payload_max()) { Duration::ZERO } else { STALL_GRACE };
        self.config.stall_timeout + grace
    }

    fn limit_exceeded(&self, now: Instant) -> Option<CloseReason> {
        let idle = self.config.idle_timeout.is_some_and(|limit| now.since(self.peer.last_heard) >= limit);
        let stalled = self.stalled_since.is_some_and(|since| now.since(since) >= self.stall_limit());
        match (idle, stalled) {
            (true, _) => Some(CloseReason::Idle),
            (_, true) => Some(CloseReason::Stalled),
            _ => None,
        }
    }
}
