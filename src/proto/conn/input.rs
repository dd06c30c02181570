//! A packet came: what does it mean?
//!
//! Numbers are checked before anything changes, so that a packet which does not fit leaves no trace but a count.

use std::time::Duration;

use super::checks::ResetVerdict;
use super::state::{State, Syn};
use super::{Connection, Events, Role};
use crate::error::CloseReason;
use crate::proto::congestion::{Acked, LossEvent};
use crate::proto::recv::Inserted;
use crate::proto::send::{AckOutcome, Lost};
use crate::time::Instant;
use crate::wire::{Kind, OwnReason, Packet};

impl Connection {
    /// Takes in a packet that was routed here: by our receive id, a SYN by its sender, a RESET by either id.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) {
        match (packet.header.kind, self.state) {
            (_, State::Idle | State::Closed) => {}
            (Kind::Syn, _) => self.on_syn(packet),
            (Kind::Reset, _) => self.on_reset(now, packet),
            (_, State::SynSent { tries, .. }) => self.on_syn_ack(now, packet, tries),
            (_, State::SynReceived { .. }) => self.on_proof(now, packet),
            (_, State::Open) => self.on_segment(now, packet),
            (_, State::TimeWait { .. }) => self.on_afterthought(now, packet),
        }
    }

    /// As [`handle_packet`](Self::handle_packet), but there is no memory for what the packet carries: the peer will send
    /// it again. What it acknowledges counts all the same, or two ends that both hold much would never get rid of it.
    pub fn handle_without_payload(&mut self, now: Instant, packet: &Packet<'_>) {
        self.wishes.no_payload = true;
        self.handle_packet(now, packet);
        self.wishes.no_payload = false;
    }

    /// Whether `syn` is the one that this connection answered. The same packet may come again, at any time.
    #[must_use]
    pub fn is_answer_to(&self, syn: &Syn) -> bool {
        self.role == Role::Acceptor && syn.id == self.ids.send && syn.seq == self.syn_seq
    }

    fn on_syn(&mut self, packet: &Packet<'_>) {
        let same = self.role == Role::Acceptor
            && packet.header.conn_id == self.ids.send
            && packet.header.seq == self.syn_seq;
        if same && !matches!(self.state, State::TimeWait { .. }) {
            // Our answer was lost, or is slow: the same answer again, never another one.
            self.counters.packets_received += 1;
            self.negotiation.syn_came(packet.extensions);
            self.due.syn_ack = true;
        } else {
            self.counters.packets_invalid += 1;
        }
    }

    fn on_syn_ack(&mut self, now: Instant, packet: &Packet<'_>, tries: u8) {
        let header = packet.header;
        // Only a STATE completes the handshake. Data that overtook it comes again: its number alone does not
        // tell whether it is the first.
        let answers =
            header.kind == Kind::State && header.ack == self.syn_seq && header.conn_id == self.ids.recv;
        if !answers || !self.negotiation.fits(self.role, packet.extensions) {
            self.counters.packets_invalid += 1;
            self.note_early(&header);
            return;
        }
        let said = self.negotiation.learn(packet.extensions).and_then(|(_, own)| own.messages);
        let first = self.first_number(&header);
        self.recv.start(first.prev());
        if self.negotiation.must_be_read() && !self.peer_is_ebbtide() && !self.will_do_without() {
            let reason = if self.has_messages() { CloseReason::NoMessages } else { CloseReason::NoService };
            return self.close_with_reset(reason);
        }
        if tries == 1 {
            let round_trip = now.since(self.syn_sent_at);
            self.rtt.sample(round_trip);
            self.tuner.round_trip(round_trip);
        }
        self.timers.syn = None;
        self.due.syn = false;
        self.open(now);
        self.learn(now, packet);
        self.peer.advertise(header.sent_at, header.window);
        self.consent.ask = self.negotiation.was_forgotten(packet.extensions);
        self.negotiation.answered();
        self.prove(now);
        self.on_agreement(said);
    }

    /// The third leg: it proves our address to the acceptor even if we have nothing to say. Whether it arrived we
    /// learn from data only, and an acceptor without proof keeps silent, so without data it is repeated.
    pub(super) fn prove(&mut self, now: Instant) {
        if !self.proof_may_be_lost() {
            return;
        }
        self.acks.demand();
        // Pauses of 1, 2, 4 … seconds, as long as an acceptor like ourselves would wait.
        let after_this = Duration::from_secs((2 << self.proofs) - 1);
        let goes_on = after_this <= self.config.connect_timeout;
        self.timers.syn = goes_on.then(|| now + Duration::from_secs(1 << self.proofs));
        self.proofs += 1;
    }

    /// Whether nothing has shown yet that the acceptor has got the third leg, and no data of ours will show it.
    pub(super) fn proof_may_be_lost(&self) -> bool {
        let heard = self.counters.bytes_received > 0 || self.recv.is_finished();
        let spoke = self.send.outstanding() > 0 || self.send.last_acked() != self.syn_seq;
        self.role == Role::Initiator && !heard && !spoke
    }

    fn on_proof(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = packet.header;
        // Exactly our answer's number, which somebody who does not receive at that address cannot know.
        let proves = header.ack == self.first_seq.prev()
            && header.conn_id == self.ids.recv
            && self.fits_ahead(header.seq)
            && self.negotiation.fits(self.role, packet.extensions);
        if !proves {
            self.counters.packets_invalid += 1;
            return;
        }
        self.due.syn_ack = false;
        self.open(now);
        self.on_segment(now, packet);
        // Ours went out before any data could be timed.
        let echoed = self.echoed_round_trip(packet).filter(|echoed| *echoed <= now.since(self.syn_sent_at));
        if let Some(round_trip) = echoed.filter(|_| self.rtt.smoothed().is_none()) {
            self.rtt.sample(round_trip);
        }
    }

    fn open(&mut self, now: Instant) {
        tracing::debug!(ids = ?self.ids, peer = %self.path.peer, "open");
        self.state = State::Open;
        self.was_open = true;
        self.timers.keepalive = self.keepalive().map(|every| now + every);
        self.signal(Events::CONNECTED | Events::WRITABLE);
    }

    fn on_segment(&mut self, now: Instant, packet: &Packet<'_>) {
        if !self.is_plausible(packet) {
            self.counters.packets_invalid += 1;
            return;
        }
        let is_ping = packet.extensions.has_more_than_sack() && self.on_extensions(now, packet);
        if !self.state.is_open() {
            return;
        }
        self.flight.note(now, self.send.outstanding(), self.rtt.rto());
        self.learn(now, packet);
        if self.timers.consent.is_some() {
            self.on_consent(now);
        }
        if (self.timers.search.is_some() || self.is_lost()) && self.response_due().is_none() {
            self.on_found();
        }
        self.on_ack(now, packet, is_ping);
        if !self.state.is_open() {
            return;
        }
        match packet.header.kind {
            Kind::Data => self.on_data(now, packet),
            Kind::Fin => self.on_fin(now, packet),
            _ => {}
        }
        self.complete_if_done(now);
    }

    /// What any valid packet tells, whatever else it carries.
    fn learn(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = packet.header;
        self.counters.packets_received += 1;
        self.peer.heard(now, header.sent_at);
        let forward = header.delay.is_sample().then_some(header.delay);
        let backward = self.peer.reply.is_sample().then_some(self.peer.reply);
        self.delay.on_packet(now, forward, backward);
        if let Some(round_trip) = self.echoed_round_trip(packet) {
            self.tuner.round_trip(round_trip);
        }
    }

    /// How long the last packet that the peer saw took to it, and this one to us. Both one-way delays contain the
    /// difference of the clocks, once with each sign.
    fn echoed_round_trip(&self, packet: &Packet<'_>) -> Option<Duration> {
        let (forward, backward) = (packet.header.delay, self.peer.reply);
        let known = forward.is_sample() && backward.is_sample();
        known.then(|| Duration::from_micros(forward.get().wrapping_add(backward.get()).into()))
    }

    fn on_ack(&mut self, now: Instant, packet: &Packet<'_>, is_ping: bool) {
        let header = packet.header;
        let advance = header.ack.distance_from(self.send.last_acked());
        let window_before = self.peer.window();
        let was_shut = self.peer.is_shut(self.payload_max());
        // A keepalive carries an old acknowledgement and a new window.
        self.peer.advertise(header.sent_at, header.window);
        let opened = was_shut && !self.peer.is_shut(self.payload_max());
        if advance >= 0 && self.send.outstanding() > 0 {
            self.apply_ack(now, packet, window_before, is_ping);
        } else if advance == 0 && !is_ping && header.kind == Kind::State && header.window == window_before {
            // Perhaps the answer to a probe that was not needed; the sending half knows.
            self.send.duplicate_ack();
        }
        if opened {
            self.on_window_opened(now);
        }
    }

    fn apply_ack(&mut self, now: Instant, packet: &Packet<'_>, window_before: u32, is_ping: bool) {
        let header = packet.header;
        let advance = header.ack.distance_from(self.send.last_acked());
        let in_flight = self.send.bytes_in_flight();
        let oldest = self.send.oldest_sent_at();
        // More than there was time for is a clock that was set, or a lie.
        let echoed = self.echoed_round_trip(packet);
        let echoed = echoed.filter(|echoed| oldest.is_some_and(|oldest| *echoed <= now.since(oldest)));
        if let Some(echoed) = echoed {
            self.send.note_echo(echoed);
        }
        let before = self.send.last_acked();
        self.send.note_least(self.rtt.min());
        let outcome = self.send.acknowledge(now, header.ack, packet.extensions.sack());
        self.on_packets_acked(now, before, header.ack, packet.extensions.sack());
        if outcome.lied {
            return self.close_with_reset(CloseReason::Misbehaved);
        }
        let round_trip = outcome.rtt.or_else(|| {
            // Which transmission was answered, only the clocks can tell (RFC 7323 §4). Without this a path that became
            // slower than our timeout would have everything sent twice, and so never be measured, for ever.
            let newest = outcome.newest_sent_at.filter(|_| outcome.advanced)?;
            echoed.map(|echoed| echoed.max(now.since(newest)))
        });
        if let Some(round_trip) = round_trip {
            self.rtt.sample(round_trip);
            self.tuner.round_trip(round_trip);
            self.delay.on_round_trip(now, round_trip);
        }
        if outcome.packets > 0 || outcome.advanced {
            self.on_progress(now, in_flight, &outcome);
        } else if header.kind == Kind::State && advance == 0 && header.window <= window_before && !is_ping {
            // A larger window is an update. A smaller one is what packets out of order leave (libtorrent).
            self.send.duplicate_ack();
        } else {
            return;
        }
        self.due.kept_back |= self.send.is_keeping_back_answered();
        if let Some(lost) = self.send.detect_losses(now, &self.rtt) {
            self.on_lost(now, &lost);
        }
        self.timers.loss = self.send.loss_deadline(&self.rtt);
    }

    fn on_window_opened(&mut self, now: Instant) {
        let probed = std::mem::take(&mut self.persist_tries) > 0 || self.rtt.backoffs() > 0;
        self.timers.persist = None;
        // What probed the shut window may have been thrown away: do not wait for its long timeout.
        if probed && self.send.outstanding() > 0 && self.send.queue_tail_probe() {
            self.due.probe = true;
            self.rtt.reset_back_off();
            self.timers.retransmit = Some(now + self.rtt.rto());
        }
    }

    fn on_progress(&mut self, now: Instant, in_flight: u32, outcome: &AckOutcome) {
        self.counters.bytes_acked += u64::from(outcome.bytes);
        self.probed = false;
        if outcome.advanced {
            self.rtt.reset_back_off();
            self.on_acknowledged();
        }
        if !self.peer.is_shut(self.payload_max()) {
            self.stalled_since = None;
        }
        self.congestion.on_ack(&Acked {
            now,
            bytes: outcome.bytes,
            bytes_in_flight: in_flight,
            queue_delay: self.delay.queue_delay(&self.rtt),
            rtt: &self.rtt,
            window_limited: self.window_limited,
        });
        self.window_limited = false;
        if self.send.outstanding() == 0 {
            self.timers.retransmit = None;
            self.timers.probe = None;
        } else {
            self.timers.retransmit = Some(self.next_timeout(now, outcome));
            self.timers.probe = self.probe_deadline(now);
        }
        if self.wishes.nodelay || self.has_room_worth_a_wake() {
            self.signal(Events::WRITABLE);
        }
    }

    /// When the first packet outstanding is overdue, now that others have arrived.
    ///
    /// That an answer belongs to an earlier transmission than the last is often for the clocks to say, and if they say
    /// the truth, everything else is answered as long after it was sent. Otherwise it is lost, and waiting for as
    /// long once more would be for nothing: what the clocks say would hold every round.
    fn next_timeout(&self, now: Instant, outcome: &AckOutcome) -> Instant {
        let wait = self.rtt.rto();
        match (outcome.spurious, self.send.head_sent_at(), self.rtt.min()) {
            (1.., Some(sent), Some(least)) => (sent + wait).clamp(now + least.min(wait), now + wait),
            _ => now + wait,
        }
    }

    /// Writers are woken when a third of the buffer is free, not for every packet's worth of room.
    fn has_room_worth_a_wake(&self) -> bool {
        self.send.free_bytes() >= self.config.send_buffer / 3
    }

    pub(super) fn on_lost(&mut self, now: Instant, lost: &Lost) {
        self.counters.packets_lost += u64::from(lost.packets);
        // RFC 6675 §5: the first retransmission goes out whatever the window says; without it a peer that sends no
        // SACK would leave the window full for ever. After a loss that a probe repaired there is none.
        self.due.probe |= self.send.has_lost();
        if lost.new_epoch {
            self.counters.congestion_events += 1;
            self.congestion.on_loss(&LossEvent {
                now,
                bytes: lost.bytes,
                packets: lost.packets,
                bytes_in_flight: self.send.bytes_in_flight(),
            });
        }
    }

    fn on_data(&mut self, now: Instant, packet: &Packet<'_>) {
        if self.is_before_beginning(&packet.header) {
            return;
        }
        let inserted = match self.wishes.no_payload {
            true => Inserted::Refused,
            false if self.messaging.is_some() => self.insert_messages(now, packet),
            false => self.recv.insert(packet.header.seq, packet.payload),
        };
        self.account(now, &inserted, packet.payload.len());
        self.acks.on_segment(now, &inserted, false);
    }

    fn on_fin(&mut self, now: Instant, packet: &Packet<'_>) {
        if self.is_before_beginning(&packet.header) {
            return;
        }
        let inserted = match self.wishes.no_payload {
            true => Inserted::Refused,
            false => self.recv.finish_at(packet.header.seq, packet.payload),
        };
        self.account(now, &inserted, packet.payload.len());
        self.acks.on_segment(now, &inserted, true);
        if self.recv.is_finished() {
            self.signal(Events::READABLE);
        }
    }

    fn account(&mut self, now: Instant, inserted: &Inserted, len: usize) {
        self.updates.seen();
        self.last_data_heard = now;
        match *inserted {
            Inserted::InOrder { bytes, .. } => {
                self.counters.bytes_received += bytes as u64;
                if self.timers.flow.is_none() {
                    self.expect_more(now);
                }
                self.signal(Events::READABLE);
                if self.wishes.deaf {
                    self.recv.discard();
                }
                if let Some(deserved) = self.tuner.delivered(now, bytes)
                    && self.window_may_grow
                {
                    self.recv.set_limit(deserved.min(self.config.receive_buffer_max));
                }
            }
            Inserted::Held => self.counters.packets_reordered += 1,
            Inserted::Duplicate => self.counters.packets_duplicate += 1,
            Inserted::Refused => {
                self.counters.packets_refused += 1;
                tracing::debug!(ids = ?self.ids, len, "packet outside the receive window");
            }
        }
    }

    fn on_reset(&mut self, now: Instant, packet: &Packet<'_>) {
        match self.judge_reset(now, packet) {
            ResetVerdict::Valid if self.doubts_reset(now, packet) => return,
            ResetVerdict::Valid => {}
            verdict => {
                self.counters.packets_invalid += 1;
                if verdict == ResetVerdict::Challenge {
                    self.challenge_reset(now, packet);
                }
                return;
            }
        }
        self.counters.packets_received += 1;
        if packet.extensions.has_more_than_sack() {
            self.on_extensions(now, packet);
        }
        match self.state {
            State::SynSent { .. } => self.close(refusal(packet)),
            // libutp forgets the connection once its own FIN is acknowledged, and answers ours like that.
            _ if self.recv.is_finished() && self.send.only_fin_outstanding() => {
                self.send.clear();
                self.close(CloseReason::Finished);
            }
            _ => self.close(CloseReason::Reset),
        }
    }
}

/// Why a SYN is answered by a RESET.
fn refusal(reset: &Packet<'_>) -> CloseReason {
    let own = reset.extensions.mark().and_then(|_| reset.extensions.own_block().ok().flatten());
    match own.and_then(|own| own.close_reason) {
        Some(reason) if reason.code() == OwnReason::NO_SERVICE => CloseReason::NoService,
        _ => CloseReason::Refused,
    }
}
