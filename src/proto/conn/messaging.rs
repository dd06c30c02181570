//! Message mode: what a packet carries is composed of messages, not cut from a stream.
//!
//! The sending half still has the bytes of every packet until it is acknowledged, and the receiving half still counts
//! numbers; they see payloads without a meaning. Three things differ. A packet is composed when it may leave, and is
//! then cut as it is. One that is lost is sent again with what is [still wanted](crate::proto::message) of it. And what
//! arrives goes to the messages at once, in order or not, while the receiving half keeps empty payloads.

use bytes::Bytes;

use super::timers::expired;
use super::{Connection, Events};
use crate::error::CloseReason;
use crate::proto::message::{
    ChannelStats, Message, MessageConfig, MessageId, MessageStats, Messages, Rate, Receipt, SendError,
};
use crate::proto::recv::Inserted;
use crate::proto::send::SegmentRef;
use crate::time::Instant;
use crate::wire::{Packet, Sack, SeqNr};

/// Messages of a connection, and what both ends have said about them.
#[derive(Debug)]
pub(super) struct Messaging {
    messages: Messages,
    agreement: [u8; 4],
    /// The other end has said the same.
    agreed: bool,
    /// What becomes of it if the peer knows no messages; a stream that carries frames.
    fallback: Option<MessageConfig>,
    /// The application has ended our direction; the end follows the last message.
    finishing: bool,
    /// The largest window that the peer has had.
    peer_window: u32,
    /// When messages want to be looked at again.
    timer: Option<Instant>,
    lately: Lately,
    /// The payload of a packet before, and in its second version.
    before: Vec<u8>,
    again: Vec<u8>,
}

impl Messaging {
    /// Whether the peer has yet to say what becomes of messages.
    const fn is_undecided(&self) -> bool {
        !self.agreed && self.fallback.is_some()
    }
}

/// How it has gone lately.
#[derive(Debug, Default)]
struct Lately {
    acked: Rate,
    /// Packets, at the end of the latest span.
    sent: u64,
    lost: u64,
    loss_per_mille: f32,
}

impl Lately {
    fn note(&mut self, now: Instant, acked: u64, sent: u64, lost: u64) {
        if !self.acked.note(now, acked) || sent == self.sent {
            return;
        }
        let share = 1000.0 * (lost - self.lost) as f32 / (sent - self.sent) as f32;
        self.loss_per_mille += (share.min(1000.0) - self.loss_per_mille) / 4.0;
        (self.sent, self.lost) = (sent, lost);
    }
}

impl Connection {
    /// Packets will carry messages, if the peer agrees; to be called before anything else.
    pub fn use_messages(&mut self, config: &MessageConfig) {
        debug_assert_eq!(self.send.queued_bytes(), 0, "a stream does not become messages");
        // A message has to fit into the window with all that is unread before it.
        self.recv.set_limit(self.config.receive_buffer + config.window_needed());
        self.messaging = Some(Box::new(Messaging {
            messages: Messages::new(config),
            agreement: config.agreement(),
            agreed: self.role == super::Role::Acceptor,
            fallback: config.falls_back().then(|| config.clone()),
            finishing: false,
            peer_window: 0,
            timer: None,
            lately: Lately::default(),
            before: Vec::new(),
            again: Vec::new(),
        }));
    }

    /// Whether messages hold memory that they do not need.
    pub(super) fn messages_hold_idle_memory(&self) -> bool {
        self.messaging.as_ref().is_some_and(|it| it.messages.holds_idle_memory())
    }

    /// Nothing has been sent for a while: queues give their memory back.
    pub(super) fn release_messages(&mut self) {
        if let Some(messaging) = &mut self.messaging {
            messaging.messages.release();
            (messaging.before, messaging.again) = (Vec::new(), Vec::new());
        }
    }

    /// Whether packets carry messages.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        self.messaging.is_some()
    }

    /// What both ends have to say about messages.
    pub(super) fn agreement(&self) -> Option<[u8; 4]> {
        self.messaging.as_ref().map(|messaging| messaging.agreement)
    }

    /// The answer to our SYN says this about messages.
    pub(super) fn on_agreement(&mut self, said: Option<[u8; 4]>) {
        let Some(messaging) = &mut self.messaging else { return };
        messaging.agreed = said == Some(messaging.agreement);
        if messaging.agreed {
            return;
        }
        match messaging.fallback.take() {
            Some(config) if !self.peer_is_ebbtide() => {
                let finishing = self.messaging.take().is_some_and(|messaging| messaging.finishing);
                self.frame_messages(&config);
                if finishing {
                    self.finish_frames();
                }
            }
            _ => self.close_with_reset(CloseReason::NoMessages),
        }
    }

    /// Whether there is no connection unless the peer reads what the SYN says about messages.
    #[must_use]
    pub fn needs_agreement(&self) -> bool {
        self.messaging.as_ref().is_some_and(|messaging| messaging.fallback.is_none())
    }

    /// Whether a peer that reads nothing of what the SYN says will do.
    pub(super) fn will_do_without(&self) -> bool {
        let falls_back = self.messaging.as_ref().is_some_and(|messaging| messaging.fallback.is_some());
        falls_back && !self.negotiation.is_for_somebody()
    }
}

/// The application's verbs.
impl Connection {
    /// Takes a message to be sent.
    ///
    /// # Errors
    /// The reason if the connection is over, and the message; or why the message was not taken.
    pub fn send_message(&mut self, channel: u8, bytes: Bytes) -> Result<MessageId, MessageRefusal> {
        if let Some(reason) = self.close_reason {
            return Err(MessageRefusal::Closed(reason, bytes));
        }
        if self.is_framed() {
            return self.send_framed(channel, bytes);
        }
        match &mut self.messaging {
            // Only the answer will tell what becomes of messages.
            Some(messaging) if messaging.is_undecided() && !messaging.finishing => {
                Err(MessageRefusal::NotTaken(SendError::Full(bytes)))
            }
            Some(messaging) if !messaging.finishing => {
                messaging.messages.send(channel, bytes).map_err(MessageRefusal::NotTaken)
            }
            _ => Err(MessageRefusal::Finished(bytes)),
        }
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send_message(&self, channel: u8) -> bool {
        match (&self.messaging, &self.framed) {
            (Some(messaging), _) => !messaging.is_undecided() && messaging.messages.can_send(channel),
            (None, Some(framed)) => framed.channel_stats(channel).is_some() && framed.has_room(),
            (None, None) => false,
        }
    }

    /// The next message that arrived.
    pub fn receive_message(&mut self) -> Option<Message> {
        if self.is_framed() {
            return self.receive_framed();
        }
        let message = self.messaging.as_mut()?.messages.receive()?;
        if self.window_update_due() {
            self.acks.demand();
            self.wishes.service = true;
        }
        Some(message)
    }

    /// Whether no more messages will arrive: the peer has finished and everything was taken, or the connection is over,
    /// or nobody wants any.
    #[must_use]
    pub fn is_out_of_messages(&self) -> bool {
        let has_more = self.messaging.as_ref().is_some_and(|messaging| messaging.messages.has_messages());
        !has_more && (self.recv.is_finished() || self.close_reason.is_some() || self.wishes.deaf)
    }

    /// The next thing that became known about a message that was sent.
    pub fn next_receipt(&mut self) -> Option<Receipt> {
        if let Some(framed) = &mut self.framed {
            return framed.next_receipt();
        }
        self.messaging.as_mut()?.messages.next_receipt()
    }

    /// What is queued leaves without waiting for more.
    pub fn flush_messages(&mut self) {
        if let Some(messaging) = &mut self.messaging {
            messaging.messages.flush();
            self.wishes.service = true;
        } else {
            self.push();
        }
    }

    /// Numbers about messages; `None` for a stream.
    #[must_use]
    pub fn message_stats(&self) -> Option<MessageStats> {
        let stats = match &self.messaging {
            Some(messaging) => messaging.messages.stats(),
            None => self.framed_stats()?,
        };
        let lately = self.messaging.as_ref().map(|messaging| &messaging.lately);
        let bandwidth = self.bandwidth();
        let wait = stats.queue_bytes as f64 / bandwidth.max(1) as f64;
        Some(MessageStats {
            queue_time: std::time::Duration::try_from_secs_f64(wait).ok(),
            bandwidth,
            delivery_rate: lately.map_or(0, |lately| lately.acked.per_second()),
            loss_per_mille: lately.map_or(0, |lately| lately.loss_per_mille.round() as u16),
            rtt: self.rtt.smoothed(),
            rtt_min: self.rtt.min(),
            jitter: self.rtt.variation(),
            ..stats
        })
    }

    /// Bytes per second that window and round trip allow.
    fn bandwidth(&self) -> u64 {
        let round_trip = self.rtt.smoothed().unwrap_or_default().as_secs_f64().max(0.000_001);
        (f64::from(self.congestion.window()) / round_trip) as u64
    }

    /// Numbers about one channel.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        match &self.messaging {
            Some(messaging) => {
                let queue_time = messaging.messages.queue_time(channel, self.bandwidth());
                let stats = messaging.messages.channel_stats(channel);
                stats.map(|stats| ChannelStats { queue_time, ..stats })
            }
            None => self.framed.as_ref()?.channel_stats(channel),
        }
    }
}

/// Why a message was not taken by a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRefusal {
    /// The connection is over.
    Closed(CloseReason, Bytes),
    /// Our direction has been ended, or the connection carries a stream.
    Finished(Bytes),
    /// It does not fit.
    NotTaken(SendError),
}

/// Sending.
impl Connection {
    /// Bytes that wait to be sent for the first time.
    pub(super) fn unsent_bytes(&self) -> usize {
        let messages = self.messaging.as_ref().filter(|messaging| messaging.agreed);
        let framed = self.framed.as_ref().map_or(0, |framed| framed.unsent_bytes());
        self.send.unsent_bytes() + framed + messages.map_or(0, |messaging| messaging.messages.unsent_bytes())
    }

    /// Has the next packet ready, if there is something to put into it: all that the sending half has not sent is then
    /// one packet.
    pub(super) fn stage(&mut self, now: Instant) {
        let room = self.payload_room();
        let Some(messaging) = &mut self.messaging else { return };
        messaging.messages.on_time(now);
        messaging.peer_window = messaging.peer_window.max(self.peer.window());
        messaging.messages.set_assembly_room(messaging.peer_window as usize / 2);
        if !messaging.agreed || self.send.unsent_bytes() > 0 || self.send.free_bytes() < room.into() {
            return;
        }
        if let Some(payload) = messaging.messages.stage(now, room.into()) {
            let taken = self.send.write(payload);
            debug_assert_eq!(taken, payload.len(), "there was room");
            messaging.messages.on_numbered();
            self.events |= Events::WRITABLE;
        } else if messaging.finishing && messaging.messages.unsent_bytes() == 0 {
            self.send.finish();
        }
    }

    /// Our direction ends after the last message. Returns whether there are messages at all.
    pub(super) fn finish_messages(&mut self) -> bool {
        let Some(messaging) = &mut self.messaging else { return self.finish_frames() };
        messaging.finishing = true;
        true
    }

    /// The end was given its number.
    pub(super) fn on_end_numbered(&mut self) {
        if let Some(messaging) = &mut self.messaging {
            messaging.messages.on_numbered_without();
        }
    }

    /// What a packet that is sent again carries now, in `Messaging::again`. Returns its length; `None` if it carries
    /// what it always did.
    pub(super) fn second_version(&mut self, segment: &SegmentRef) -> Option<usize> {
        let messaging = self.messaging.as_mut().filter(|_| segment.is_retransmission())?;
        let place = segment.seq.distance_from(self.send.last_acked().next());
        messaging.before.resize(segment.len.into(), 0);
        self.send.fill(segment, &mut messaging.before);
        messaging.again.clear();
        let place = usize::try_from(place).ok()?;
        messaging.messages.compose_again(place, &messaging.before, &mut messaging.again);
        self.events |= Events::RECEIPTS;
        Some(messaging.again.len())
    }

    /// Writes the payload of a packet.
    pub(super) fn fill(&self, segment: &SegmentRef, out: &mut [u8]) {
        match &self.messaging {
            Some(messaging) if segment.is_retransmission() => out.copy_from_slice(&messaging.again),
            _ => self.send.fill(segment, out),
        }
    }

    /// An acknowledgement was applied; before it, everything up to `before` was acknowledged.
    pub(super) fn on_packets_acked(
        &mut self,
        now: Instant,
        before: SeqNr,
        ack: SeqNr,
        sack: Option<Sack<'_>>,
    ) {
        self.on_frames_acked();
        let counters = &self.counters;
        let Some(messaging) = &mut self.messaging else { return };
        messaging.lately.note(now, counters.bytes_acked, counters.packets_sent, counters.packets_lost);
        messaging.messages.on_time(now);
        let first = self.send.last_acked().next();
        let advance = first.distance_from(before.next());
        messaging.messages.on_acknowledged(usize::try_from(advance).unwrap_or(0));
        for seq in sack.into_iter().flat_map(|sack| sack.received(ack)) {
            if let Ok(place) = usize::try_from(seq.distance_from(first))
                && place < self.send.outstanding()
            {
                messaging.messages.on_reported(place);
            }
        }
        if messaging.messages.has_receipts() {
            self.events |= Events::RECEIPTS;
        }
    }

    /// Nothing more can leave now: when may more?
    pub(super) fn arm_messages(&mut self, now: Instant) {
        let room = self.payload_max().into();
        let Some(messaging) = &mut self.messaging else { return };
        let ready = messaging.messages.ready_at(room).filter(|at| *at > now);
        messaging.timer = [ready, messaging.messages.next_expiry()].into_iter().flatten().min();
    }

    /// When messages want to be looked at again.
    pub(super) fn messages_deadline(&self) -> Option<Instant> {
        self.messaging.as_ref()?.timer
    }

    pub(super) fn on_messages_timeout(&mut self, now: Instant) {
        if let Some(messaging) = &mut self.messaging
            && expired(&mut messaging.timer, now)
        {
            messaging.messages.expire(now);
        }
    }
}

/// Receiving.
impl Connection {
    /// A packet with messages. They are handed up now, whatever came before it.
    pub(super) fn insert_messages(&mut self, now: Instant, packet: &Packet<'_>) -> Inserted {
        let (seq, payload) = (packet.header.seq, packet.payload);
        let ahead = seq.distance_from(self.recv.cumulative());
        let limit = self.recv.limit();
        let Some(messaging) = &mut self.messaging else { return Inserted::Refused };
        if ahead > 0 && !messaging.messages.admits(payload, limit, ahead == 1) {
            return Inserted::Refused;
        }
        let inserted = match self.recv.insert(seq, &[]) {
            Inserted::InOrder { filled_gap, .. } => Inserted::InOrder { bytes: payload.len(), filled_gap },
            Inserted::Held => {
                self.counters.bytes_received += payload.len() as u64;
                Inserted::Held
            }
            other => return other,
        };
        messaging.messages.accept(now, payload);
        if self.wishes.deaf {
            messaging.messages.discard();
        }
        self.events |= Events::READABLE | Events::RECEIPTS;
        inserted
    }

    /// Bytes that the peer may still send.
    pub(super) fn window(&self) -> u32 {
        let held = self.messaging.as_ref().map_or(0, |messaging| messaging.messages.held_bytes());
        self.recv.window().saturating_sub(u32::try_from(held).unwrap_or(u32::MAX))
    }

    /// Bytes of memory that messages take.
    pub(super) fn message_memory(&self) -> usize {
        let framed = self.framed.as_ref().map_or(0, |framed| framed.memory_bytes());
        self.messaging.as_ref().map_or(framed, |messaging| messaging.messages.memory_bytes())
    }

    /// The connection is over: what was not sent will not be.
    pub(super) fn abandon_messages(&mut self) {
        if let Some(messaging) = &mut self.messaging {
            messaging.messages.abandon();
        }
        if let Some(framed) = &mut self.framed {
            framed.abandon();
        }
    }

    /// Nobody will take what arrives.
    pub(super) fn discard_messages(&mut self) {
        if let Some(messaging) = &mut self.messaging {
            messaging.messages.discard();
        }
    }
}
