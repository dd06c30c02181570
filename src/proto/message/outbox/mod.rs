//! What waits to be sent, and whose turn it is.
//!
//! A queue for each channel. Packets are composed when they may leave, not before: priorities are strict, channels of
//! the same priority share by weight (deficit round robin), and what has become old is dropped on the way.

mod release;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::budget::Budget;
use super::composition::Composition;
use super::config::{ChannelConfig, MessageConfig};
use super::frame::{self, FRAGMENT_HEAD, Verdict, Writer};
use super::inbox::Told;
use super::lately::Deliveries;
use super::slots::{Ledger, What};
use super::{Fate, MessageId, Receipt, SendError};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Outbox {
    channels: Box<[OutChannel]>,
    /// Channels by priority, highest first.
    groups: Vec<Group>,
    max_message: u32,
    budget: Option<Budget>,
    /// Some channel has one, or all together.
    has_budgets: bool,
    coalesce: Duration,
    queued_bytes: usize,
    /// Since when something waits, as far as that is known.
    waiting_since: Option<Instant>,
    /// Bytes of reliable messages in several fragments that the peer may have to keep in part.
    assembling: usize,
    /// As many of them as the peer has room for. One may always be under way.
    assembly_room: usize,
    /// The time that was last told.
    now: Instant,
    /// Messages were taken since then.
    unstamped: bool,
    next_id: u64,
    receipts: VecDeque<Receipt>,
    flush: bool,
    /// Queues have memory that they may not need.
    used: bool,
}

/// Channels of one priority.
#[derive(Debug)]
struct Group {
    priority: u8,
    channels: Vec<u8>,
    /// Whose turn it is.
    turn: usize,
    /// How many of them have something queued.
    busy: usize,
}

#[derive(Debug)]
struct OutChannel {
    config: ChannelConfig,
    group: u8,
    queue: VecDeque<Queued>,
    queued_bytes: u32,
    /// How many of the queue are known to the clock, if their time to live is limited.
    stamped: u32,
    /// Bytes of the first message that are sent already.
    progress: u32,
    /// Number of the next message.
    next: u32,
    deficit: i32,
    budget: Option<Budget>,
    /// Messages sent in several fragments, about which the peer has said nothing.
    split: BTreeMap<u32, Split>,
    counters: OutCounters,
    /// Once there is something to say: a channel that idles costs little.
    deliveries: Option<Box<Deliveries>>,
}

/// Of one channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutCounters {
    pub(super) queued: u64,
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Split {
    id: MessageId,
    len: u32,
    /// When the first of it left.
    made: Instant,
}

#[derive(Debug)]
struct Queued {
    id: MessageId,
    bytes: Bytes,
    /// Not to be sent after this.
    until: Option<Instant>,
}

/// Ours: what a queued message costs besides its bytes.
const QUEUED_COST: usize = size_of::<Queued>();
/// Ours: bytes that a channel of weight 1 may send per round.
const QUANTUM: i32 = 512;
/// Ours: a fragment smaller than this is not worth its head.
const FRAGMENT_MIN: usize = 64;
/// Ours: receipts that wait to be looked at; the oldest is dropped beyond it.
const RECEIPTS_MAX: usize = 1 << 16;

impl Outbox {
    pub(super) fn new(config: &MessageConfig) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut priorities: Vec<u8> = config.channels.iter().map(|channel| channel.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        groups.extend(priorities.into_iter().map(|priority| Group {
            priority,
            channels: Vec::new(),
            turn: 0,
            busy: 0,
        }));
        let channels = config.channels.iter().enumerate().map(|(index, channel)| {
            let group = groups.iter().position(|group| group.priority == channel.priority).unwrap_or(0);
            groups[group].channels.push(index as u8);
            OutChannel::new(*channel, group as u8)
        });
        Self {
            channels: channels.collect(),
            groups,
            max_message: config.max_message,
            budget: config.budget.map(Budget::new),
            has_budgets: config.budget.is_some() || config.channels.iter().any(|one| one.budget.is_some()),
            coalesce: config.coalesce,
            queued_bytes: 0,
            waiting_since: None,
            assembling: 0,
            assembly_room: 0,
            now: Instant::ZERO,
            unstamped: false,
            next_id: 0,
            receipts: VecDeque::new(),
            flush: false,
            used: false,
        }
    }

    /// Takes a message. When that was, [`on_time`](Self::on_time) tells.
    pub(super) fn push(&mut self, channel: u8, bytes: Bytes) -> Result<MessageId, SendError> {
        let Some(out) = self.channels.get_mut(usize::from(channel)) else {
            return Err(SendError::NoSuchChannel(bytes));
        };
        if bytes.len() > self.max_message as usize {
            return Err(SendError::TooLong(bytes));
        }
        if out.queued_bytes >= out.config.queue_bytes {
            return Err(SendError::Full(bytes));
        }
        let id = MessageId(self.next_id);
        self.next_id += 1;
        let cost = bytes.len() + QUEUED_COST;
        out.queued_bytes += cost as u32;
        self.queued_bytes += cost;
        out.counters.queued += 1;
        if out.queue.is_empty() {
            self.groups[usize::from(out.group)].busy += 1;
        }
        out.queue.push_back(Queued { id, bytes, until: None });
        self.unstamped = true;
        self.used = true;
        Ok(id)
    }

    /// It is that time now: what was taken since the last time was taken now.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.now = now;
        if !std::mem::take(&mut self.unstamped) {
            return;
        }
        self.waiting_since.get_or_insert(now);
        for channel in &mut self.channels {
            let Some(time) = channel.config.time_to_live else { continue };
            channel
                .queue
                .range_mut(channel.stamped as usize..)
                .for_each(|queued| queued.until = Some(now + time));
            channel.stamped = channel.queue.len() as u32;
        }
    }

    /// The time that was last told.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn has_room(&self, channel: u8) -> bool {
        let channel = self.channels.get(usize::from(channel));
        channel.is_some_and(|channel| channel.queued_bytes < channel.config.queue_bytes)
    }

    /// Bytes that wait, with what it costs to keep them.
    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn channel_queued_bytes(&self, channel: usize) -> Option<u32> {
        self.channels.get(channel).map(|channel| channel.queued_bytes)
    }

    /// What is queued goes out without waiting for company.
    pub(super) const fn flush(&mut self) {
        self.flush = true;
    }

    /// When something may be sent; `None` if nothing waits. A full packet has so many bytes.
    pub(super) fn ready_at(&self, full: usize) -> Option<Instant> {
        let since = self.waiting_since?;
        let company = match self.flush || self.coalesce.is_zero() || self.queued_bytes >= full {
            true => Instant::ZERO,
            false => since + self.coalesce,
        };
        if !self.has_budgets {
            return Some(company);
        }
        let ready = |budget: Option<Budget>| budget.map_or(Instant::ZERO, |budget| budget.ready_at());
        let busy = self.channels.iter().filter(|channel| !channel.queue.is_empty());
        let channel = busy.map(|channel| ready(channel.budget)).min()?;
        Some(channel.max(ready(self.budget)).max(company))
    }

    #[cfg(test)]
    pub(super) fn idle_bytes(&self) -> usize {
        // And one byte in the list of its priority.
        size_of_val(&*self.channels) + self.channels.len()
    }

    /// The peer can keep so many bytes of messages in part.
    pub(super) const fn set_assembly_room(&mut self, bytes: usize) {
        self.assembly_room = bytes;
    }

    /// The next thing that is known about a message for good.
    pub(super) fn next_receipt(&mut self) -> Option<Receipt> {
        self.receipts.pop_front()
    }

    pub(super) fn has_receipts(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// The peer says what became of a message that came to it in several fragments.
    pub(super) fn on_told(&mut self, told: Told) {
        let Some(channel) = self.channels.get_mut(usize::from(told.channel)) else { return };
        let Some(Split { id, len, made }) = channel.split.remove(&told.number) else { return };
        self.assembling -= channel.charge(len);
        if told.verdict == Verdict::Delivered {
            channel.note_delivery(self.now, len, made);
        }
        let fate = match told.verdict {
            Verdict::Delivered => Fate::Delivered,
            Verdict::Dropped => Fate::Lost,
        };
        self.settle(Receipt { channel: told.channel, id, fate });
    }

    pub(super) fn channel_counters(&self, channel: usize) -> Option<OutCounters> {
        self.channels.get(channel).map(|channel| channel.counters)
    }

    pub(super) fn channel_deliveries(&self, channel: usize) -> Deliveries {
        let deliveries = self.channels.get(channel).and_then(|channel| channel.deliveries.as_deref());
        deliveries.copied().unwrap_or_default()
    }

    /// How long a new message of that channel would wait before it is sent, at so many bytes per second of all.
    pub(super) fn queue_time(&self, channel: u8, bandwidth: u64) -> Option<Duration> {
        let own = self.channels.get(usize::from(channel))?;
        let waits = |group: u8| self.channels.iter().filter(move |other| other.group == group);
        let queued = |group| waits(group).map(|other| u64::from(other.queued_bytes)).sum::<u64>();
        // Groups come in the order of their priority. Among equals, others get their shares meanwhile.
        let before: u64 = (0..own.group).map(queued).sum();
        let busy = waits(own.group).filter(|other| !other.queue.is_empty());
        let weights = busy.map(|other| u64::from(other.config.weight)).sum::<u64>();
        let shared = u64::from(own.queued_bytes) * weights / u64::from(own.config.weight).max(1);
        let bytes = before + shared.min(queued(own.group));
        let at = |bytes: u64, rate: u64| Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let limit = |budget: Option<Budget>, bytes| {
            budget.map_or(Duration::ZERO, |budget| at(bytes, budget.bytes_per_second()))
        };
        let by_budgets = limit(self.budget, bytes).max(limit(own.budget, own.queued_bytes.into()));
        Some(at(bytes, bandwidth).max(by_budgets))
    }
}

/// Composing packets.
impl Outbox {
    /// Adds frames to the packet, up to `room` bytes of it.
    pub(super) fn compose(&mut self, now: Instant, room: usize, packet: &mut Composition) {
        for group in 0..self.groups.len() {
            if self.budget.is_some_and(|budget| !budget.admits(now)) {
                break;
            }
            let before = packet.bytes.len();
            let filled = self.compose_group(now, group, room, packet);
            if let Some(budget) = &mut self.budget
                && packet.bytes.len() > before
            {
                budget.take(now, packet.bytes.len() - before);
            }
            if filled {
                break;
            }
        }
        // What is left waits anew.
        self.waiting_since = (self.queued_bytes > 0).then_some(now);
        self.flush &= self.queued_bytes > 0;
    }

    /// One priority's turn. Returns whether the packet is full.
    fn compose_group(&mut self, now: Instant, group: usize, room: usize, packet: &mut Composition) -> bool {
        // Who did not fit goes first next time, or small messages of others would always be before it.
        let mut crowded = None;
        let (mut idle, count) = (0, self.groups[group].channels.len());
        while self.groups[group].busy > 0 && idle < count {
            let turn = self.groups[group].turn;
            let index = self.groups[group].channels[turn];
            let outcome = self.compose_channel(now, index, room, packet);
            if outcome == Turn::Filled {
                self.groups[group].turn = crowded.unwrap_or(turn);
                return true;
            }
            if outcome == Turn::Crowded {
                crowded.get_or_insert(turn);
            }
            idle = if outcome == Turn::Sent { 0 } else { idle + 1 };
            self.groups[group].turn = (turn + 1) % count;
        }
        if let Some(turn) = crowded {
            self.groups[group].turn = turn;
        }
        false
    }

    /// One channel's turn: as much as its share allows.
    fn compose_channel(&mut self, now: Instant, index: u8, room: usize, packet: &mut Composition) -> Turn {
        self.drop_stale(now, index);
        let channel = &mut self.channels[usize::from(index)];
        if channel.queue.is_empty() || channel.budget.is_some_and(|budget| !budget.admits(now)) {
            channel.deficit = 0;
            return Turn::Nothing;
        }
        if channel.deficit <= 0 {
            channel.deficit += QUANTUM * i32::from(channel.config.weight);
        }
        let mut outcome = Turn::Nothing;
        while channel.deficit > 0 {
            match channel.next(room - packet.bytes.len(), room) {
                // The peer might be left with parts of several messages and no room for the rest of any.
                Next::Frame(What::Fragment, _)
                    if channel.is_about_to_split()
                        && self.assembling > 0
                        && self.assembling + channel.first_len() > self.assembly_room =>
                {
                    channel.deficit = 0;
                    break;
                }
                Next::Frame(what, len) => {
                    if what == What::Fragment && channel.is_about_to_split() {
                        self.assembling += channel.charge(channel.first_len() as u32);
                    }
                    self.queued_bytes -= channel.write(now, index, what, len, packet);
                    outcome = Turn::Sent;
                }
                Next::Nothing => {
                    channel.deficit = 0;
                    break;
                }
                Next::Crowded => return if outcome == Turn::Sent { outcome } else { Turn::Crowded },
                Next::Filled => return Turn::Filled,
            }
        }
        if channel.queue.is_empty() {
            self.groups[usize::from(channel.group)].busy -= 1;
        }
        outcome
    }

    /// Drops what is older than it may be, and of sequenced channels all but the newest.
    fn drop_stale(&mut self, now: Instant, index: u8) {
        let channel = &mut self.channels[usize::from(index)];
        let sequenced = channel.config.mode.is_sequenced();
        while channel.progress == 0
            && let Some(first) = channel.queue.front()
        {
            let fate = match first.until {
                Some(until) if until < now => Fate::Expired,
                _ if sequenced && channel.queue.len() > 1 => Fate::Superseded,
                _ => break,
            };
            let receipt = Receipt { channel: index, id: first.id, fate };
            self.queued_bytes -= channel.pop();
            if channel.queue.is_empty() {
                self.groups[usize::from(channel.group)].busy -= 1;
            }
            channel.counters.note(fate);
            note(&mut self.receipts, receipt);
        }
    }
}

impl Ledger for Outbox {
    fn newest(&self, channel: u8) -> u32 {
        let channel = &self.channels[usize::from(channel)];
        if channel.progress > 0 { channel.next } else { channel.next.wrapping_sub(1) }
    }

    fn settle(&mut self, receipt: Receipt) {
        self.channels[usize::from(receipt.channel)].counters.note(receipt.fate);
        note(&mut self.receipts, receipt);
    }

    fn deliver(&mut self, index: u8, id: MessageId, frame: u16, made: Instant) {
        let len = frame::whole_payload(frame.into()) as u32;
        self.channels[usize::from(index)].note_delivery(self.now, len, made);
        self.settle(Receipt { channel: index, id, fate: Fate::Delivered });
    }

    fn note_loss(&mut self, channel: u8) {
        self.channels[usize::from(channel)].deliveries.get_or_insert_default().losses += 1;
    }

    fn lose_fragment(&mut self, index: u8, number: u32) {
        let channel = &mut self.channels[usize::from(index)];
        let Some(Split { id, len, .. }) = channel.split.remove(&number) else { return };
        self.assembling -= channel.charge(len);
        if channel.progress > 0 && channel.next == number {
            // The rest of it is of no use to anybody.
            channel.progress = 0;
            channel.next = channel.next.wrapping_add(1);
            self.queued_bytes -= channel.pop();
            if channel.queue.is_empty() {
                self.groups[usize::from(channel.group)].busy -= 1;
            }
        }
        self.settle(Receipt { channel: index, id, fate: Fate::Lost });
    }
}

/// What a channel's turn came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Sent,
    /// There is nothing, or nothing that may be sent now.
    Nothing,
    /// The next message needs more room than this packet has left.
    Crowded,
    /// The packet is full.
    Filled,
}

/// The next frame of a channel.
enum Next {
    /// With so many bytes of the message.
    Frame(What, usize),
    Nothing,
    Crowded,
    Filled,
}

impl OutChannel {
    fn new(config: ChannelConfig, group: u8) -> Self {
        Self {
            config,
            group,
            queue: VecDeque::new(),
            queued_bytes: 0,
            stamped: 0,
            progress: 0,
            next: 0,
            deficit: 0,
            budget: config.budget.map(Budget::new),
            split: BTreeMap::new(),
            counters: OutCounters::default(),
            deliveries: None,
        }
    }

    fn note_delivery(&mut self, now: Instant, len: u32, made: Instant) {
        self.deliveries.get_or_insert_default().note(now, len, now.since(made));
    }

    /// Bytes of the first message.
    fn first_len(&self) -> usize {
        self.queue.front().map_or(0, |first| first.bytes.len())
    }

    /// Nothing of the first message has been sent, and those of reliable channels have to be kept by the peer.
    const fn is_about_to_split(&self) -> bool {
        self.progress == 0 && self.config.mode.is_reliable()
    }

    /// What a message in fragments may cost the peer that has to be counted.
    const fn charge(&self, len: u32) -> usize {
        if self.config.mode.is_reliable() { len as usize } else { 0 }
    }

    /// What to put into a packet with `free` bytes left, of `room` in all.
    fn next(&self, free: usize, room: usize) -> Next {
        let Some(first) = self.queue.front() else { return Next::Nothing };
        let rest = first.bytes.len() - self.progress as usize;
        let whole = frame::whole_len(first.bytes.len());
        if self.progress == 0 && whole <= free {
            Next::Frame(What::Whole, rest)
        } else if self.progress == 0 && whole <= room {
            Next::Crowded
        } else if free >= FRAGMENT_HEAD + FRAGMENT_MIN.min(rest) {
            Next::Frame(What::Fragment, rest.min(free - FRAGMENT_HEAD))
        } else {
            Next::Filled
        }
    }

    /// Writes that frame. Returns the bytes that wait no more.
    fn write(&mut self, now: Instant, index: u8, what: What, len: usize, packet: &mut Composition) -> usize {
        let Some(first) = self.queue.front() else { return 0 };
        let (from, mode, number) = (packet.bytes.len(), self.config.mode, self.next);
        let (id, total) = (first.id, first.bytes.len() as u32);
        let mut writer = Writer { out: &mut packet.bytes };
        if what == What::Whole {
            writer.whole(mode, index, number, &first.bytes);
        } else {
            let begin = self.progress as usize;
            writer.fragment((mode, index, number), self.progress, total, &first.bytes[begin..begin + len]);
            if self.progress == 0 {
                self.split.insert(number, Split { id, len: total, made: now });
            }
        }
        packet.note(id, (mode, index, number), what, from);
        let written = packet.bytes.len() - from;
        self.deficit = self.deficit.saturating_sub(written as i32);
        if let Some(budget) = &mut self.budget {
            budget.take(now, written);
        }
        self.progress += len as u32;
        if self.progress < total {
            return 0;
        }
        self.counters.sent += 1;
        self.counters.bytes += u64::from(total);
        self.next = self.next.wrapping_add(1);
        self.progress = 0;
        self.pop()
    }

    fn pop(&mut self) -> usize {
        let Some(first) = self.queue.pop_front() else { return 0 };
        self.stamped = self.stamped.saturating_sub(1);
        let cost = first.bytes.len() + QUEUED_COST;
        self.queued_bytes -= cost as u32;
        cost
    }
}

impl OutCounters {
    const fn note(&mut self, fate: Fate) {
        match fate {
            // Counted with how long it took.
            Fate::Delivered => {}
            Fate::Lost => self.lost += 1,
            Fate::Expired | Fate::Superseded => self.dropped += 1,
        }
    }
}

fn note(receipts: &mut VecDeque<Receipt>, receipt: Receipt) {
    if receipts.len() >= RECEIPTS_MAX {
        receipts.pop_front();
    }
    receipts.push_back(receipt);
}
