//! What arrived: frames of a packet, handed up as soon as their channel's promise allows.
//!
//! Everything that is held is charged against one limit, which is what the peer's window is made of. What is handed up
//! is a view of its packet, so a packet costs one allocation however many messages it brings; what has to wait is copied.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::config::MessageConfig;
use super::frame::{Body, Frame, Frames, Verdict as Outcome};
use super::order::{Order, Verdict};
use super::partial::{Added, FRAGMENT_COST, Key, Partials};
use super::{Message, Mode};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Inbox {
    channels: Box<[InChannel]>,
    max_message: u32,
    partials_max: usize,
    assembly_age: Duration,
    ready: VecDeque<Ready>,
    ready_charge: usize,
    held_charge: usize,
    partials: Partials,
    /// What the peer has to be told about its messages in several fragments.
    verdicts: VecDeque<(Mode, Key, Outcome)>,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct InChannel {
    mode: Mode,
    order: Order,
    counters: InCounters,
}

/// Of one channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InCounters {
    pub(super) received: u64,
    pub(super) bytes: u64,
    pub(super) outdated: u64,
}

/// Of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) malformed: u64,
    pub(super) wrong_channel: u64,
    pub(super) too_long: u64,
    pub(super) overlapping: u64,
    pub(super) out_of_range: u64,
    pub(super) unassembled: u64,
    pub(super) refused: u64,
}

#[derive(Debug)]
struct Ready {
    message: Message,
    /// What it is counted as. The first one of a packet pays for the packet.
    charge: usize,
}

/// Ours: what a message costs in a queue besides its bytes.
const MESSAGE_COST: usize = size_of::<Ready>();
/// Ours: no frame costs more than that for each of its bytes; the worst is a fragment of one byte, ten on the wire.
const COST_PER_BYTE: usize = 32;
const _: () = assert!(FRAGMENT_COST + 10 <= 10 * COST_PER_BYTE && MESSAGE_COST + 7 <= 7 * COST_PER_BYTE);
/// Ours: verdicts that wait to be sent. A peer that takes none of our packets is asked to wait.
const VERDICTS_MAX: usize = 4096;

/// Something that the peer said about a message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) channel: u8,
    pub(super) number: u32,
    pub(super) verdict: Outcome,
}

impl Inbox {
    pub(super) fn new(config: &MessageConfig) -> Self {
        let channel = |mode| InChannel { mode, order: Order::default(), counters: InCounters::default() };
        Self {
            channels: config.channels.iter().map(|config| channel(config.mode)).collect(),
            max_message: config.max_message,
            partials_max: config.assembly_messages.into(),
            assembly_age: config.assembly_age,
            ready: VecDeque::new(),
            ready_charge: 0,
            held_charge: 0,
            partials: Partials::default(),
            verdicts: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Bytes that everything held counts as.
    pub(super) const fn charge(&self) -> usize {
        self.ready_charge + self.held_charge + self.partials.charge()
    }

    /// Whether a packet may be taken within the limit. If not, nothing of it is, and it comes again. The next packet in
    /// order has room beyond: all that is held may be waiting for it.
    pub(super) fn admits(&mut self, payload: &[u8], limit: usize, is_next: bool) -> bool {
        let cost_max = payload.len() * COST_PER_BYTE;
        let limit = limit + if is_next { cost_max.max(limit / 16) } else { 0 };
        let cost = if self.charge() + cost_max > limit { Self::cost(payload) } else { cost_max };
        while self.charge() + cost > limit && self.make_room() {}
        // Whoever sends in order has begun one message on each channel, and not ended it, at most.
        let partials_max = self.partials_max + if is_next { self.channels.len() } else { 0 };
        let crowded = self.partials.len() >= partials_max || self.verdicts.len() >= VERDICTS_MAX;
        let admits = self.charge() + cost <= limit && !(crowded && self.is_too_much(payload));
        self.counters.refused += u64::from(!admits);
        admits
    }

    /// Bytes that what a packet brings counts as: small frames cost many times their bytes.
    #[cold]
    fn cost(payload: &[u8]) -> usize {
        let frames = Frames::new(payload).map_while(Result::ok).map(|frame| match frame.body {
            Body::Whole(_) => MESSAGE_COST,
            Body::Fragment { .. } => FRAGMENT_COST,
            Body::Receipt(_) => 0,
        });
        payload.len() + frames.sum::<usize>()
    }

    /// Whether the packet begins messages that cannot be kept, although they would have to be.
    #[cold]
    fn is_too_much(&self, payload: &[u8]) -> bool {
        Frames::new(payload).map_while(Result::ok).any(|frame| {
            matches!(frame.body, Body::Fragment { .. })
                && frame.mode.is_reliable()
                && (self.verdicts.len() >= VERDICTS_MAX
                    || !self.partials.contains((frame.channel, frame.number)))
        })
    }

    /// Takes a packet apart. What the peer says about our messages goes to `told`.
    pub(super) fn accept(&mut self, now: Instant, payload: &[u8], told: &mut impl FnMut(Told)) {
        let mut packet = Packet { payload, shared: None };
        for frame in Frames::new(payload) {
            match frame {
                Ok(frame) => self.on_frame(now, &frame, &mut packet, told),
                Err(error) => {
                    tracing::debug!(%error, "a packet of messages");
                    self.counters.malformed += 1;
                }
            }
        }
    }

    fn on_frame(
        &mut self,
        now: Instant,
        frame: &Frame,
        packet: &mut Packet<'_>,
        told: &mut impl FnMut(Told),
    ) {
        let Frame { mode, channel, number, ref body } = *frame;
        if self.channels.get(usize::from(channel)).is_none_or(|known| known.mode != mode) {
            self.counters.wrong_channel += 1;
            return;
        }
        match body {
            Body::Whole(payload) if payload.len() > self.max_message as usize => self.counters.too_long += 1,
            Body::Whole(payload) => {
                let charge = if packet.shared.is_none() { packet.payload.len() } else { 0 };
                let bytes = packet.view(payload.clone());
                self.on_message(mode, channel, number, bytes, charge);
            }
            Body::Fragment { total, .. } if *total > self.max_message => {
                self.counters.too_long += 1;
                self.tell(mode, (channel, number), Outcome::Dropped);
            }
            Body::Fragment { offset, total, payload } => {
                let place = (*offset, *total);
                self.on_fragment(now, (mode, (channel, number)), place, &packet.payload[payload.clone()]);
            }
            Body::Receipt(verdict) => told(Told { channel, number, verdict: *verdict }),
        }
    }

    fn on_fragment(&mut self, now: Instant, at: (Mode, Key), place: (u32, u32), payload: &[u8]) {
        let (mode, key) = at;
        if !self.partials.contains(key) {
            let known = &mut self.channels[usize::from(key.0)];
            match known.order.judge(mode, key.1) {
                Verdict::OutOfRange => {
                    self.counters.out_of_range += 1;
                    return;
                }
                // Its other fragments may never come: a lost one is not sent again once there is a newer message.
                Verdict::Outdated => {
                    known.counters.outdated += 1;
                    return self.tell(mode, key, Outcome::Dropped);
                }
                Verdict::Deliver | Verdict::Hold => {}
            }
            // Reliable ones that cannot be kept were refused with their packet.
            if self.partials.len() >= self.partials_max && !self.make_room() && !mode.is_reliable() {
                return self.give_up(mode, key);
            }
        }
        match self.partials.add(now, at, place, payload) {
            Added::Kept => {}
            Added::Overlapping => self.counters.overlapping += 1,
            Added::Complete(bytes) => {
                self.tell(mode, key, Outcome::Delivered);
                let charge = bytes.len();
                self.on_message(mode, key.0, key.1, bytes, charge);
            }
        }
    }

    fn on_message(&mut self, mode: Mode, channel: u8, number: u32, bytes: Bytes, charge: usize) {
        let known = &mut self.channels[usize::from(channel)];
        match known.order.judge(mode, number) {
            Verdict::Deliver => {
                known.order.on_delivered(mode, number);
                self.hand_up(channel, bytes, charge);
                if mode.is_sequenced() && self.partials.len() > 0 {
                    // What is missing of those may never come: its sender has dropped it.
                    while let Some((mode, key)) = self.partials.give_up_before((channel, number)) {
                        self.give_up(mode, key);
                    }
                }
                if mode == Mode::ReliableOrdered {
                    while let Some(bytes) = self.channels[usize::from(channel)].order.next_held() {
                        self.held_charge -= bytes.len() + MESSAGE_COST;
                        let charge = bytes.len();
                        self.hand_up(channel, bytes, charge);
                    }
                }
            }
            Verdict::Hold => {
                self.held_charge += bytes.len() + MESSAGE_COST;
                // A view would keep the whole packet.
                known.order.hold(number, Bytes::copy_from_slice(&bytes));
            }
            Verdict::Outdated => known.counters.outdated += 1,
            Verdict::OutOfRange => self.counters.out_of_range += 1,
        }
    }

    fn hand_up(&mut self, channel: u8, bytes: Bytes, charge: usize) {
        let counters = &mut self.channels[usize::from(channel)].counters;
        counters.received += 1;
        counters.bytes += bytes.len() as u64;
        let charge = charge + MESSAGE_COST;
        self.ready_charge += charge;
        self.ready.push_back(Ready { message: Message { channel, bytes }, charge });
    }

    pub(super) fn take(&mut self) -> Option<Message> {
        let Ready { message, charge } = self.ready.pop_front()?;
        self.ready_charge -= charge;
        Some(message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Throws away what was not taken: nobody will.
    pub(super) fn discard(&mut self) {
        self.ready.clear();
        self.ready_charge = 0;
    }

    fn make_room(&mut self) -> bool {
        match self.partials.evict() {
            Some((mode, key)) => {
                self.give_up(mode, key);
                true
            }
            None => false,
        }
    }

    fn give_up(&mut self, mode: Mode, key: Key) {
        self.counters.unassembled += 1;
        self.tell(mode, key, Outcome::Dropped);
    }

    /// Gives up what has waited too long for the rest of it.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((mode, key)) = self.partials.expire(now, self.assembly_age) {
            self.give_up(mode, key);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.partials.next_expiry(self.assembly_age)
    }

    fn tell(&mut self, mode: Mode, key: Key, verdict: Outcome) {
        // Only unreliable messages can meet a full queue, and their sender gives up by itself.
        if self.verdicts.len() < VERDICTS_MAX {
            self.verdicts.push_back((mode, key, verdict));
        }
    }

    pub(super) fn next_verdict(&mut self) -> Option<(Mode, Key, Outcome)> {
        self.verdicts.pop_front()
    }

    #[cfg(test)]
    pub(super) fn idle_bytes(&self) -> usize {
        size_of_val(&*self.channels)
    }

    pub(super) fn verdict_count(&self) -> usize {
        self.verdicts.len()
    }

    pub(super) fn forget_verdicts(&mut self) {
        self.verdicts.clear();
    }

    pub(super) fn channel_counters(&self, channel: usize) -> Option<InCounters> {
        self.channels.get(channel).map(|channel| channel.counters)
    }
}

/// A packet that is taken apart.
struct Packet<'a> {
    payload: &'a [u8],
    /// A copy that messages share, once there is one.
    shared: Option<Bytes>,
}

impl Packet<'_> {
    fn view(&mut self, range: Range<usize>) -> Bytes {
        self.shared.get_or_insert_with(|| Bytes::copy_from_slice(self.payload)).slice(range)
    }
}
