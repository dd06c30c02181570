//! Does a packet fit? Asked before it changes anything.
//!
//! An attacker who does not see the packets has to guess the id, the number and the acknowledgement at once. Each
//! window below is as wide as what honest peers and networks need, and no wider: of 2^48 guesses those that count for
//! anything are one id x some 2,000 numbers x twice what is in flight.

use std::time::Duration;

use super::Connection;
use super::state::State;
use crate::time::Instant;
use crate::wire::{Kind, Packet, SeqNr};

/// libutp: packets that it keeps in flight at most. A peer of ours may be set to more, and then so are we.
const FLIGHT_MIN: u16 = 1024;

/// Ours: packets in flight that a configuration may allow at most.
const FLIGHT_MOST: i16 = 32_000;

/// Ours: a bare acknowledgement carries the number after the last packet, a FIN uses up one more; and some room.
const FLIGHT_SLACK: u16 = 8;

/// Ours: how far behind an acknowledgement may lie, however little was in flight of late.
const ACK_SLACK_MIN: u16 = 32;

/// Ours: how far ahead a RESET's own number may lie when its sender knows the connection. libtorrent makes it up, so
/// this only stops what is behind.
const RESET_AHEAD: i16 = 32_000;

/// Ours: at most one packet out for a connection's forged RESETs in so much time.
const CHALLENGE_PAUSE: Duration = Duration::from_secs(1);

/// Ours: how long an answer to a challenge counts, if that is not less than the longest round trips.
const CHALLENGE_VALID: Duration = Duration::from_secs(3);

/// The most that was in flight of late: as far back as an overtaken acknowledgement can honestly reach.
#[derive(Debug, Default)]
pub(super) struct RecentFlight {
    since: Instant,
    current: u16,
    before: u16,
}

impl RecentFlight {
    /// So many packets were outstanding. The past counts for one to two periods.
    pub(super) fn note(&mut self, now: Instant, outstanding: usize, period: Duration) {
        let passed = now.since(self.since);
        if passed >= period {
            self.before = if passed < 2 * period { self.current } else { 0 };
            (self.since, self.current) = (now, 0);
        }
        self.current = self.current.max(u16::try_from(outstanding).unwrap_or(u16::MAX));
    }

    fn most(&self) -> u16 {
        self.current.max(self.before)
    }
}

/// A STATE that was sent to see whether the sender of a RESET hears us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenge {
    at: Instant,
    /// Whoever does not have the connection answers it by naming this number, or a later one.
    seq: SeqNr,
    /// The RESET fitted, so the answer ends the connection.
    decides: bool,
}

/// What a RESET is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetVerdict {
    Valid,
    /// It names the connection and not what it should; perhaps the peer lost it long ago.
    Challenge,
    Invalid,
}

impl Connection {
    /// Whether the numbers of a packet fit what we have sent and received.
    pub(super) fn is_plausible(&self, packet: &Packet<'_>) -> bool {
        let header = packet.header;
        let behind = self.send.last_acked().distance_from(header.ack);
        let beyond = header.ack.distance_from(self.send.next_seq().prev());
        header.conn_id == self.ids.recv
            && beyond <= 0
            && behind <= self.ack_slack()
            && self.fits_ahead(header.seq)
            && self.says_what_fits(packet)
    }

    /// Whether what a packet says beyond BEP 29 fits. Most say nothing.
    #[inline]
    fn says_what_fits(&self, packet: &Packet<'_>) -> bool {
        !packet.extensions.has_more_than_sack() || self.negotiation.fits(self.role, packet.extensions)
    }

    /// Whether a peer that keeps to its limits may send this number now: new, or repeated because all our answers to
    /// it were lost.
    pub(super) fn fits_ahead(&self, seq: SeqNr) -> bool {
        let (behind, ahead) = (self.flight_max(), self.flight_max() + FLIGHT_SLACK as i16);
        (-behind..=ahead).contains(&seq.distance_from(self.recv.cumulative()))
    }

    /// A peer that may be sent so many packets may send as many.
    fn flight_max(&self) -> i16 {
        i16::try_from(self.config.packets_in_flight.max(FLIGHT_MIN)).unwrap_or(FLIGHT_MOST)
    }

    /// An overtaken packet's acknowledgement is no older than the flight that it was overtaken by.
    fn ack_slack(&self) -> i16 {
        if self.is_in_dialect() {
            // What is sent again there says what was true when it was sent first.
            return i16::MAX;
        }
        i16::try_from(self.flight.most().max(ACK_SLACK_MIN)).unwrap_or(i16::MAX)
    }

    /// A RESET counts only if its acknowledgement names a packet of ours that may just have met a peer without the
    /// connection: one in flight, or the next number, which a bare acknowledgement carries. On a connection with
    /// nothing in flight these are two. One that carries our receive id comes from a peer that knows the connection,
    /// so its own number must not be an old one. (libutp echoes the id that it received, with a random number.)
    pub(super) fn judge_reset(&self, now: Instant, packet: &Packet<'_>) -> ResetVerdict {
        let header = packet.header;
        let echoed = header.conn_id == self.ids.send;
        let known = header.conn_id == self.ids.recv;
        if !self.says_what_fits(packet) {
            return ResetVerdict::Invalid;
        }
        if let State::SynSent { .. } = self.state {
            let fits = header.ack == self.syn_seq && (echoed || known) || self.is_blank_reset(&header);
            return if fits { ResetVerdict::Valid } else { ResetVerdict::Invalid };
        }
        let ahead =
            (-self.flight_max()..=RESET_AHEAD).contains(&header.seq.distance_from(self.recv.cumulative()));
        let fits = self.names_ours(self.send.last_acked(), header.ack);
        match self.challenge.filter(|challenge| challenge.decides && self.is_fresh(now, challenge)) {
            _ if !echoed && !known => ResetVerdict::Invalid,
            _ if !fits || (known && !ahead) => ResetVerdict::Challenge,
            _ if !self.config.hardened_reset || !self.state.is_open() => ResetVerdict::Valid,
            Some(challenge) if self.names_ours(challenge.seq, header.ack) => ResetVerdict::Valid,
            _ => ResetVerdict::Challenge,
        }
    }

    /// Whether this RESET would end the connection.
    pub(crate) fn believes_reset(&self, now: Instant, packet: &Packet<'_>) -> bool {
        let over = matches!(self.state, State::Idle | State::Closed);
        !over && self.judge_reset(now, packet) == ResetVerdict::Valid
    }

    /// Whether `ack` lies between `oldest` and the next new number, both included.
    fn names_ours(&self, oldest: SeqNr, ack: SeqNr) -> bool {
        let span = self.send.next_seq().distance_from(oldest);
        (0..=span).contains(&ack.distance_from(oldest))
    }

    fn is_fresh(&self, now: Instant, challenge: &Challenge) -> bool {
        now.since(challenge.at) <= CHALLENGE_VALID.max(2 * self.rtt.rto())
    }

    /// Asks the sender of a doubtful RESET to prove that it hears us: a peer that really has no such connection
    /// answers the STATE with a RESET that fits (RFC 5961 §3). Each connection has its own limit, because one for all
    /// would tell an attacker about the others.
    pub(super) fn challenge_reset(&mut self, now: Instant, packet: &Packet<'_>) {
        let fits = self.names_ours(self.send.last_acked(), packet.header.ack);
        let decides = self.config.hardened_reset && fits;
        let recent = self.challenge.filter(|challenge| now.since(challenge.at) < CHALLENGE_PAUSE);
        if !self.state.is_open() || packet.header.kind != Kind::Reset {
            return;
        }
        match &mut self.challenge {
            Some(challenge) if recent.is_some() => challenge.decides |= decides,
            challenge => {
                *challenge = Some(Challenge { at: now, seq: self.send.next_seq(), decides });
                self.acks.demand();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_flight_counts_for_one_to_two_periods() {
        let period = Duration::from_secs(1);
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut flight = RecentFlight::default();
        flight.note(at(10_000), 500, period);
        flight.note(at(10_999), 7, period);
        assert_eq!(flight.most(), 500);
        flight.note(at(11_999), 8, period);
        assert_eq!(flight.most(), 500, "it may have been there at the end of the period");
        flight.note(at(12_999), 9, period);
        assert_eq!(flight.most(), 9);
        flight.note(at(15_000), 3, period);
        assert_eq!(flight.most(), 3, "two periods without a word end it too");
    }
}
