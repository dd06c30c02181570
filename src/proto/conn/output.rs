//! What to send next, and writing it.
//!
//! [`Connection::next_send`] decides and reads like a list; the rest writes what was decided into the batch.

use std::time::Duration;

use super::state::State;
use super::{Blocked, Connection, Events};
use crate::proto::batch::Batch;
use crate::proto::congestion::Rate;
use crate::proto::send::{SegmentKind, SegmentRef};
use crate::time::Instant;
use crate::wire::{Extensions, ExtensionsBuf, HEADER_LEN, Header, Kind, SackBits, SeqNr, Timestamp, Txn};

/// Ours: how long an empty buffer keeps its memory; long enough for a stream that pauses, short enough for ten
/// thousand that are idle.
pub(super) const TRIM_AFTER: Duration = Duration::from_secs(1);

/// Ours: so much later both forms of an acknowledgement are repeated.
const PAIR_PAUSE: Duration = Duration::from_millis(100);

/// One packet to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Send {
    Syn,
    SynAck,
    Reset,
    Segment(SegmentRef),
    /// An acknowledgement with nothing else.
    State(SeqNr),
    /// An old acknowledgement, which elicits nothing and keeps NATs' mappings.
    Keepalive,
    /// A question whether the peer is there.
    Ping(Txn),
    /// The answer to one.
    Pong,
    /// A challenge repeated, which proves where we are.
    Response(u64),
}

impl Connection {
    /// Writes what is due into an empty batch, as much as the batch, the windows and the pacer admit. Returns
    /// whether there is anything in it; call again until there is not.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut Batch) -> bool {
        self.arm_linger(now);
        self.note_idleness(now);
        // Read once per batch: the application may read on meanwhile.
        let mut header = self.header(now);
        while let Some(send) = self.next_send(now, batch) {
            let payload = self.payload_len(&send);
            let sack = self.sack_for(&send);
            let chain = self.chain_for(&send);
            let extensions = match (&sack, &chain) {
                (Some(sack), _) => sack.as_extensions(),
                (None, Some(chain)) => chain.as_extensions(),
                (None, None) => Extensions::EMPTY,
            };
            let len = HEADER_LEN + extensions.encoded_len() + payload;
            if !batch.admits(len) {
                self.defer(&send);
                break;
            }
            self.address(&send, &mut header);
            batch.push(len, |out| self.write_packet(&header, &send, extensions, out));
            self.on_sent(now, &send, header.window);
        }
        if batch.is_empty() {
            self.settle(now);
        }
        !batch.is_empty()
    }

    /// What to send next, most urgent first.
    fn next_send(&mut self, now: Instant, batch: &Batch) -> Option<Send> {
        match self.state {
            State::Idle => return None,
            State::SynSent { .. } => return self.due.syn.then_some(Send::Syn),
            State::SynReceived { .. } => return self.due.syn_ack.then_some(Send::SynAck),
            State::Closed => return self.due.reset.then_some(Send::Reset),
            State::TimeWait { .. } if self.due.reset => return Some(Send::Reset),
            State::TimeWait { .. } => return self.next_ack(now),
            State::Open => {}
        }
        if self.due.syn_ack {
            return Some(Send::SynAck);
        }
        if self.may_send_payload(now)
            && let Some(segment) = self.next_segment(now, batch)
        {
            return Some(Send::Segment(segment));
        }
        if let Some(challenge) = self.response_due() {
            return Some(Send::Response(challenge));
        }
        if self.consent.ask {
            return Some(Send::Ping(self.consent.draw()));
        }
        if self.consent.has_answer() {
            return Some(Send::Pong);
        }
        if let Some(ack) = self.next_ack(now) {
            return Some(ack);
        }
        self.due.keepalive.then_some(Send::Keepalive)
    }

    /// What is owed to the peer as a bare acknowledgement.
    ///
    /// libutp accepts a bare acknowledgement only with the number after our FIN, libtorrent only with the FIN's own
    /// (both measured); 20 more bytes at the end of a connection serve both. But for a packet that says nothing new
    /// there is one answer at most: the one and the other in turn, and both now and then. Peers of this crate's making
    /// accept either.
    fn next_ack(&mut self, now: Instant) -> Option<Send> {
        if let Some(seq) = self.second_ack.take() {
            return Some(Send::State(seq));
        }
        if !self.acks.due(now) {
            return None;
        }
        let seq = self.send.next_seq();
        if self.is_in_dialect() {
            return Some(self.next_ack_in_dialect(seq));
        }
        if self.send.fin_seq().is_none() || self.peer_is_ebbtide() {
            return Some(Send::State(seq));
        }
        let ack = self.recv.cumulative();
        if self.pairs.ack != ack || self.pairs.at.is_none_or(|at| now.since(at) >= PAIR_PAUSE) {
            (self.pairs.ack, self.pairs.at) = (ack, Some(now));
            self.second_ack = Some(seq);
        }
        let first = self.second_ack.is_some() || self.pairs.second;
        self.pairs.second = self.second_ack.is_some() || !first;
        Some(Send::State(if first { seq.prev() } else { seq }))
    }

    fn next_segment(&mut self, now: Instant, batch: &Batch) -> Option<SegmentRef> {
        if let Some(segment) = self.next_kept_back() {
            return Some(segment);
        }
        if let Some(segment) = self.send.peek_lost() {
            return self.admit(now, segment, batch, false).then_some(segment);
        }
        self.stage(now);
        self.pump_frames();
        let probing = self.due.probe;
        let segment = self.peek_new()?;
        if !self.admit(now, segment, batch, true) {
            return None;
        }
        if probing || !self.should_keep_back(&segment) {
            return Some(segment);
        }
        self.keep_back(now, &segment);
        let next = self.peek_new()?;
        self.admit(now, next, batch, true).then_some(next)
    }

    fn peek_new(&self) -> Option<SegmentRef> {
        if self.messaging.is_some() {
            // What is staged, as it is.
            let staged = u16::try_from(self.send.unsent_bytes()).unwrap_or(u16::MAX);
            self.send.peek_new(staged, false)
        } else if self.due.probe && self.peer.is_shut(self.payload_max()) {
            // The smallest packet that can tell: a number's payload never changes once it is out.
            let room = u16::try_from(self.peer.window()).unwrap_or(u16::MAX);
            self.send.peek_new(room.clamp(1, self.payload_max()), false)
        } else {
            self.send.peek_new(self.payload_room(), self.holds_small() && !self.due.probe)
        }
    }

    /// Whether the windows and the pacer let `segment` go now; notes what holds it back.
    fn admit(&mut self, now: Instant, segment: SegmentRef, batch: &Batch, new: bool) -> bool {
        if self.due.probe || (segment.kind == SegmentKind::Fin && new) {
            return true;
        }
        let len = u32::from(segment.len);
        if new && !self.peer_admits(len) {
            self.blocked = Blocked::Peer;
            return false;
        }
        let in_flight = self.send.bytes_in_flight();
        if in_flight > 0 && in_flight + len > self.congestion.window() {
            self.window_limited = true;
            self.blocked = Blocked::Congestion;
            return false;
        }
        if self.config.pacing && !self.pacer_admits(now, len, batch) {
            self.window_limited = true;
            self.blocked = Blocked::Pacer;
            return false;
        }
        self.blocked = Blocked::No;
        true
    }

    fn peer_admits(&self, len: u32) -> bool {
        self.send.bytes_in_flight() + len <= self.peer.window()
            && self.send.outstanding() < usize::from(self.config.packets_in_flight)
    }

    /// The payload of a full packet, or as much as a small receive buffer has room for.
    pub(super) fn payload_room(&self) -> u16 {
        let payload = self.payload_max();
        let room = self.peer.window().saturating_sub(self.send.bytes_in_flight());
        if room < self.peer.room_needed(payload) {
            return payload;
        }
        u16::try_from(room).map_or(payload, |room| room.min(payload))
    }

    fn pacer_admits(&mut self, now: Instant, len: u32, batch: &Batch) -> bool {
        if batch.is_empty() {
            let payload = self.payload_max().into();
            let slow_start = self.congestion.in_slow_start();
            let rate = Rate::for_window(self.congestion.window(), slow_start, payload, &self.rtt);
            self.allowance = self.pacer.allowance(now, rate);
        }
        if self.allowance >= len {
            return true;
        }
        self.timers.pace = Some(self.pacer.next_release(now, len));
        false
    }

    /// Whether a new segment could leave now, for all that windows say.
    pub(super) fn has_sendable_segment(&self) -> bool {
        if self.send.has_lost() {
            // It goes first, and the driver knows about it.
            return false;
        }
        let in_flight = self.send.bytes_in_flight();
        let len = if self.messaging.is_some() {
            match self.unsent_bytes() {
                0 => return false,
                bytes => u32::try_from(bytes).unwrap_or(u32::MAX).min(self.payload_max().into()),
            }
        } else {
            match self.send.peek_new(self.payload_room(), self.holds_small()) {
                Some(segment) => segment.len.into(),
                None => return false,
            }
        };
        self.peer_admits(len) && (in_flight == 0 || in_flight + len <= self.congestion.window())
    }

    /// Whether an undersized packet waits while another one is in flight (Minshall).
    const fn holds_small(&self) -> bool {
        !(self.wishes.nodelay || self.wishes.flush)
    }

    /// Whether there is new data that the peer has room for.
    pub(super) fn has_new_segment_for_peer(&self) -> bool {
        if self.messaging.is_some() {
            return self.unsent_bytes() > 0 && self.peer_admits(self.payload_max().into());
        }
        let segment = self.send.peek_new(self.payload_room(), false);
        segment.is_some_and(|segment| self.peer_admits(segment.len.into()))
    }

    fn header(&self, now: Instant) -> Header {
        // A timestamp of 0 would tell libutp not to measure.
        let stamp = Timestamp::new(now.stamp().get().max(1));
        Header {
            kind: Kind::State,
            conn_id: self.ids.send,
            sent_at: stamp,
            delay: self.peer.reply,
            window: self.window(),
            seq: self.send.next_seq(),
            ack: self.recv.cumulative(),
        }
    }

    /// The fields in which packets of one batch differ.
    fn address(&self, send: &Send, header: &mut Header) {
        header.conn_id = self.ids.send;
        header.ack = self.recv.cumulative();
        (header.kind, header.seq) = match *send {
            Send::Syn => {
                header.conn_id = self.ids.recv;
                header.ack = SeqNr::new(0);
                (Kind::Syn, self.syn_seq)
            }
            Send::SynAck => {
                header.ack = self.syn_seq;
                (Kind::State, self.first_seq)
            }
            Send::Reset => (Kind::Reset, self.send.next_seq()),
            Send::Segment(segment) => (kind_of(segment.kind), segment.seq),
            Send::State(seq) => (Kind::State, seq),
            Send::Ping(_) | Send::Pong | Send::Response(_) => (Kind::State, self.send.next_seq()),
            Send::Keepalive => {
                header.ack = header.ack.prev();
                (Kind::State, self.send.next_seq())
            }
        };
    }

    fn sack_for(&self, send: &Send) -> Option<SackBits> {
        if !matches!(send, Send::State(_)) || !self.recv.has_gap() || self.is_in_dialect() {
            return None;
        }
        let mut bits = SackBits::new();
        self.recv.sack(&mut bits);
        Some(bits)
    }

    /// What packets say beyond BEP 29 that are rare and carry no data.
    fn chain_for(&self, send: &Send) -> Option<ExtensionsBuf> {
        match (send, self.state) {
            (Send::Segment(segment), _) if segment.kind == SegmentKind::Fin => self.with_fin(),
            (Send::Segment(_) | Send::State(_) | Send::Keepalive, _) => None,
            (Send::Ping(txn), _) => self.question(*txn),
            (Send::Pong, _) => self.pong(),
            (Send::Response(challenge), _) => self.response(*challenge),
            (Send::Syn, State::SynSent { tries, .. }) => self.negotiation.for_syn(tries, self.peer_addr()),
            (Send::Syn, _) => None,
            (Send::SynAck, _) => {
                self.negotiation.for_syn_ack(self.peer_addr(), self.config.migration, self.agreement())
            }
            (Send::Reset, _) => self.with_reset(),
        }
    }

    fn payload_len(&mut self, send: &Send) -> usize {
        match send {
            Send::Segment(segment) => self.second_version(segment).unwrap_or_else(|| segment.len.into()),
            _ => 0,
        }
    }

    fn write_packet(&self, header: &Header, send: &Send, extensions: Extensions<'_>, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(HEADER_LEN);
        if let Ok(head) = head.try_into() {
            header.write(extensions.first_id(), head);
        }
        let (chain, payload) = rest.split_at_mut(extensions.encoded_len());
        chain.copy_from_slice(extensions.as_bytes());
        if let Send::Segment(segment) = send {
            self.fill(segment, payload);
        }
    }

    fn on_sent(&mut self, now: Instant, send: &Send, window: u32) {
        self.counters.packets_sent += 1;
        self.last_sent = now;
        match *send {
            Send::Syn => self.on_syn_sent(now),
            Send::SynAck => {
                self.due.syn_ack = false;
                self.syn_sent_at = now;
            }
            Send::Reset => {
                self.due.reset = false;
                // Whoever is told that there is no connection needs no acknowledgement of it.
                self.acks.sent();
                self.second_ack = None;
            }
            Send::Keepalive => self.due.keepalive = false,
            Send::Ping(txn) => self.on_asked(txn),
            Send::Pong => self.on_answered(),
            Send::Response(_) => self.on_responded(),
            Send::State(_) => {
                if self.second_ack.is_none() {
                    self.acks.sent();
                }
            }
            Send::Segment(segment) => self.on_segment_sent(now, &segment),
        }
        self.updates.sent(now, window);
    }

    fn on_syn_sent(&mut self, now: Instant) {
        /// Ours, as TCP stacks do: pauses of 1, 2, 4 ... seconds after each SYN.
        const SYN_PAUSE_SECS: u64 = 1;
        self.due.syn = false;
        self.syn_sent_at = now;
        if let State::SynSent { tries, .. } = &mut self.state {
            let pause = SYN_PAUSE_SECS << (*tries).min(6);
            self.timers.syn = Some(now + Duration::from_secs(pause));
            *tries += 1;
        }
    }

    fn on_segment_sent(&mut self, now: Instant, segment: &SegmentRef) {
        let was_new = segment.seq == self.send.next_seq();
        self.send.sent(segment, now);
        if was_new && segment.kind == SegmentKind::Fin {
            self.on_end_numbered();
        }
        let len = u32::from(segment.len);
        if segment.is_retransmission() {
            self.counters.packets_retransmitted += 1;
        } else {
            self.counters.bytes_sent += u64::from(len);
            self.honesty.sent();
        }
        // The answer to a first packet sent again, or to a probe, takes as long as the answer to any other (RFC 8985
        // §7.3): a timeout that was armed before would send the same once more within the round trip.
        let first_again = !was_new && segment.seq == self.send.last_acked().next();
        if first_again || self.due.probe || self.timers.retransmit.is_none() {
            self.timers.retransmit = Some(now + self.timeout_wait());
        }
        if self.send.peek_kept_back().is_none() {
            self.timers.kept_back = None;
        }
        self.due.probe = false;
        self.last_data_sent = now;
        self.allowance = self.allowance.saturating_sub(len);
        self.pacer.on_sent(len);
        self.timers.probe = self.probe_deadline(now);
        self.timers.persist = None;
        if was_new && !self.recv.has_gap() {
            // A new packet acknowledges too, except that a hole needs the extension that data packets go without.
            // An old number says nothing to libutp (measured), which returns before it looks at the rest.
            self.acks.sent();
        }
    }

    /// The decided packet does not fit into this batch and will open the next one.
    fn defer(&mut self, send: &Send) {
        if let Send::State(seq) = *send {
            self.second_ack = match self.second_ack {
                // It was the first of two; the acknowledgement is still due and will be decided again.
                Some(_) => {
                    self.pairs.at = None;
                    None
                }
                None => self.send.fin_seq().map(|_| seq),
            };
        }
    }

    /// Nothing more can leave now: arms what will make it possible.
    fn settle(&mut self, now: Instant) {
        self.wishes.service = false;
        self.due.probe = false;
        if self.unsent_bytes() == 0 {
            self.wishes.flush = false;
        }
        if self.is_flushed() {
            self.signal(Events::FLUSHED);
        }
        self.stalled_since = match self.stalled_since {
            _ if self.send.queued_bytes() == 0 && self.unsent_bytes() == 0 => None,
            None if self.peer.is_shut(self.payload_max()) => Some(now),
            since => since,
        };
        if self.blocked == Blocked::Peer && self.lacks_persist_timer() {
            self.timers.persist = Some(now + self.persist_interval());
        }
        self.arm_messages(now);
        if self.timers.trim.is_none() && self.has_idle_memory() {
            self.timers.trim = Some(now + TRIM_AFTER);
        }
    }

    /// Whether buffers stand empty that hold memory.
    pub(super) fn has_idle_memory(&self) -> bool {
        self.recv.holds_idle_memory() || self.send.holds_idle_memory() || self.messages_hold_idle_memory()
    }

    /// A window that nothing has tested for a timeout's length is not to be believed.
    fn note_idleness(&mut self, now: Instant) {
        if self.send.outstanding() > 0 || self.unsent_bytes() == 0 || self.counters.bytes_sent == 0 {
            return;
        }
        let idle = now.since(self.last_data_sent);
        if idle > self.rtt.rto() {
            self.congestion.on_idle(now, idle);
            self.last_data_sent = now;
        }
    }

    fn arm_linger(&mut self, now: Instant) {
        let live = !matches!(self.state, State::Closed | State::TimeWait { .. });
        if self.wishes.detached && live && !self.is_let_go() {
            if self.timers.linger.is_none() {
                self.timers.linger = Some(now + self.config.linger);
            }
            self.complete_if_done(now);
        }
    }
}

const fn kind_of(kind: SegmentKind) -> Kind {
    match kind {
        SegmentKind::Data => Kind::Data,
        SegmentKind::Fin => Kind::Fin,
    }
}
