//! Everything about the messages of one connection, between the application above and packet numbers below.

use std::time::Duration;

use bytes::Bytes;

use super::composition::Composition;
use super::config::MessageConfig;
use super::frame::RECEIPT;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::slots::Slots;
use super::{ChannelStats, Message, MessageId, MessageStats, Receipt, SendError};
use crate::time::Instant;

/// The messages of a connection.
#[derive(Debug)]
pub struct Messages {
    outbox: Outbox,
    inbox: Inbox,
    slots: Slots,
    /// The next packet, composed and without a number yet.
    staged: Composition,
}

impl Messages {
    /// With these channels.
    #[must_use]
    pub fn new(config: &MessageConfig) -> Self {
        Self {
            outbox: Outbox::new(config),
            inbox: Inbox::new(config),
            slots: Slots::default(),
            staged: Composition::default(),
        }
    }
}

/// The application's side.
impl Messages {
    /// Takes a message to be sent.
    ///
    /// # Errors
    /// No room, too long, no such channel; the message is handed back.
    pub fn send(&mut self, channel: u8, bytes: Bytes) -> Result<MessageId, SendError> {
        self.outbox.push(channel, bytes)
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send(&self, channel: u8) -> bool {
        self.outbox.has_room(channel)
    }

    /// What is queued goes out without waiting for more.
    pub const fn flush(&mut self) {
        self.outbox.flush();
    }

    /// The next message that arrived.
    pub fn receive(&mut self) -> Option<Message> {
        self.inbox.take()
    }

    /// The next thing that became known about a message that was sent.
    pub fn next_receipt(&mut self) -> Option<Receipt> {
        self.outbox.next_receipt()
    }

    /// Whether there is something to [receive](Self::receive).
    #[must_use]
    pub fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether something became known about messages.
    #[must_use]
    pub fn has_receipts(&self) -> bool {
        self.outbox.has_receipts()
    }

    /// Numbers about one channel; how long a new message would wait is left empty.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        let channel = usize::from(channel);
        let (out, arrived) = (self.outbox.channel_counters(channel)?, self.inbox.channel_counters(channel)?);
        let queue_bytes = self.outbox.channel_queued_bytes(channel)?;
        let deliveries = self.outbox.channel_deliveries(channel);
        Some(ChannelStats {
            queued: out.queued,
            sent: out.sent,
            bytes_sent: out.bytes,
            delivered: deliveries.messages,
            lost: out.lost,
            dropped: out.dropped,
            received: arrived.received,
            bytes_received: arrived.bytes,
            outdated: arrived.outdated,
            queue_bytes,
            losses: deliveries.losses,
            bytes_delivered: deliveries.bytes,
            rtt: deliveries.rtt(),
            rtt_min: deliveries.rtt_min(),
            jitter: deliveries.jitter(),
            bandwidth: deliveries.bandwidth(),
            queue_time: None,
        })
    }

    /// How long a new message of that channel would wait before it is sent, about, if all together get `bandwidth`
    /// bytes per second.
    #[must_use]
    pub fn queue_time(&self, channel: u8, bandwidth: u64) -> Option<Duration> {
        self.outbox.queue_time(channel, bandwidth)
    }

    /// Numbers about all; those about the path are left empty.
    #[must_use]
    pub fn stats(&self) -> MessageStats {
        let counters = self.inbox.counters;
        MessageStats {
            queue_bytes: self.outbox.queued_bytes(),
            held_bytes: self.inbox.charge(),
            malformed: counters.malformed,
            wrong_channel: counters.wrong_channel,
            too_long: counters.too_long,
            overlapping: counters.overlapping,
            out_of_range: counters.out_of_range,
            unassembled: counters.unassembled,
            refused: counters.refused,
            ..MessageStats::default()
        }
    }
}

/// The connection's side: sending.
impl Messages {
    /// Bytes that wait to be put into packets.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.outbox.queued_bytes() + self.staged.bytes.len() + self.inbox.verdict_count() * RECEIPT
    }

    /// The peer can keep so many bytes of messages that have arrived in part. Several large messages are under way at
    /// once only if it has room for all of them.
    pub const fn set_assembly_room(&mut self, bytes: usize) {
        self.outbox.set_assembly_room(bytes);
    }

    /// It is that time now. Times to live and to wait for company count from when this is told first; how long messages
    /// took, until it is told before they are acknowledged.
    pub fn on_time(&mut self, now: Instant) {
        self.outbox.on_time(now);
    }

    /// When there is something to put into a packet; `None` if there is nothing. A full packet has `room` bytes.
    #[must_use]
    pub fn ready_at(&self, room: usize) -> Option<Instant> {
        if !self.staged.bytes.is_empty() || self.inbox.verdict_count() > 0 {
            return Some(Instant::ZERO);
        }
        self.outbox.ready_at(room)
    }

    /// The next packet's payload of at most `room` bytes, composed now unless that was done before. It stays the same
    /// until it is [numbered](Self::on_numbered).
    pub fn stage(&mut self, now: Instant, room: usize) -> Option<&[u8]> {
        self.on_time(now);
        if self.staged.bytes.is_empty() && self.ready_at(room).is_some_and(|at| at <= now) {
            while self.staged.bytes.len() + RECEIPT <= room
                && let Some((mode, key, verdict)) = self.inbox.next_verdict()
            {
                self.staged.add_verdict(mode, key, verdict);
            }
            self.outbox.compose(now, room, &mut self.staged);
        }
        (!self.staged.bytes.is_empty()).then_some(&self.staged.bytes)
    }

    /// What was staged was given the next number.
    pub fn on_numbered(&mut self) {
        self.slots.push(self.outbox.now(), &self.staged.records);
        self.staged.clear();
    }

    /// The next number was given to a packet without messages: the end.
    pub fn on_numbered_without(&mut self) {
        self.slots.push(self.outbox.now(), &[]);
    }

    /// The first `count` packets that were not acknowledged are.
    pub fn on_acknowledged(&mut self, count: usize) {
        for _ in 0..count {
            self.slots.pop(&mut self.outbox);
        }
    }

    /// The packet at that place, counted from the first that is not acknowledged, has been reported.
    pub fn on_reported(&mut self, place: usize) {
        self.slots.arrive(place, &mut self.outbox);
    }

    /// The packet at that place is sent again: writes into `out` what of its payload is still wanted. It may be
    /// nothing.
    pub fn compose_again(&mut self, place: usize, payload: &[u8], out: &mut Vec<u8>) {
        self.slots.lose(place, &mut self.outbox);
        for (from, to) in self.slots.wanted(place) {
            out.extend_from_slice(&payload[usize::from(from)..usize::from(to)]);
        }
    }

    /// Nothing more will be sent.
    pub fn abandon(&mut self) {
        self.slots.clear();
        self.staged.clear();
        self.outbox.clear();
        self.inbox.forget_verdicts();
    }

    /// Whether queues stand empty that hold memory.
    #[must_use]
    pub const fn holds_idle_memory(&self) -> bool {
        self.outbox.holds_idle_memory()
    }

    /// Gives the memory of empty queues back, and of the books about packets if there are none.
    pub fn release(&mut self) {
        self.outbox.release();
        self.slots.release();
        self.staged.release();
    }
}

/// The connection's side: receiving.
impl Messages {
    /// Bytes that what arrived and was not taken counts as.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.inbox.charge()
    }

    /// Whether the messages of a packet can be kept, within `limit` bytes for all. If not, the packet must not be
    /// acknowledged. The packet that all others wait for, because it is the next one, has room of its own beyond.
    pub fn admits(&mut self, payload: &[u8], limit: usize, is_next: bool) -> bool {
        self.inbox.admits(payload, limit, is_next)
    }

    /// Takes in the messages of a packet that was not here before.
    pub fn accept(&mut self, now: Instant, payload: &[u8]) {
        self.on_time(now);
        let Self { inbox, outbox, .. } = self;
        inbox.accept(now, payload, &mut |told| outbox.on_told(told));
    }

    /// Throws away what arrived: nobody will take it.
    pub fn discard(&mut self) {
        self.inbox.discard();
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.inbox.next_expiry()
    }

    /// Gives up unreliable messages that wait too long for the rest of them.
    pub fn expire(&mut self, now: Instant) {
        self.inbox.expire(now);
    }

    /// Bytes of memory that the channels take while nothing is sent.
    #[cfg(test)]
    pub(super) fn idle_bytes(&self) -> usize {
        self.outbox.idle_bytes() + self.inbox.idle_bytes()
    }

    /// Bytes of memory taken, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.outbox.queued_bytes()
            + self.inbox.charge()
            + self.slots.memory_bytes()
            + self.staged.memory_bytes()
    }
}
