//! Messages between two ends, with the fuzzer as the network between them.
//!
//! ```text
//!   input = 4 bytes: settings, see `Talk::new`; then commands from the front, fates of packets from the back
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, MessageId, Messages};

use super::mailroom::{AGE, MODES};
use super::pattern;
use super::script::Script;

/// Packets of an end that are not acknowledged, at most.
const WINDOW: usize = 64;
/// How long a packet is on its way, and until one that was not acknowledged is sent again.
const WAY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(100);
/// Moments at which something happens until a calm network has carried everything.
const MOMENTS_MAX: usize = 20_000;
/// Bytes that a script may send: each commands many more than its own.
const BYTES_MAX: usize = 256 << 10;
/// What closes a gap finds as much room as its bytes can cost, or a sixteenth.
const COST_PER_BYTE: usize = 32;

/// Whatever is lost, repeated and late: each channel keeps its promise for each message, no more is held than may be,
/// and each message has one fate, which is true.
pub fn channels(input: &[u8]) {
    let mut script = Script::new(input);
    let mut talk = Talk::new(&mut script);
    while !script.is_over() {
        talk.step(&mut script);
    }
    talk.calm_down();
    talk.check();
}

/// What was sent on a channel, and what came of it.
#[derive(Default)]
struct Channel {
    sent: u32,
    seen: Vec<u32>,
    ids: BTreeMap<MessageId, u32>,
    fates: BTreeMap<u32, Fate>,
}

struct End {
    messages: Messages,
    channels: [Channel; 5],
    /// Payloads of packets that are not acknowledged, and when they were last sent.
    sent: VecDeque<(Vec<u8>, Instant)>,
    /// Packets acknowledged.
    acked: u64,
    /// Packets received: everything before, and these.
    received: u64,
    early: BTreeSet<u64>,
    /// The application takes nothing.
    paused: bool,
}

/// What is under way.
#[derive(Clone)]
enum Parcel {
    Packet(u64, Vec<u8>),
    Ack(u64, Vec<u64>),
}

struct Talk {
    ends: [End; 2],
    /// By the time of arrival, and by number, for whom.
    under_way: BTreeMap<(Instant, u64), (usize, Parcel)>,
    parcels: u64,
    now: Instant,
    room: usize,
    limit: usize,
    max_message: usize,
    bytes: usize,
}

impl End {
    fn new(config: &MessageConfig, limit: usize) -> Self {
        let mut messages = Messages::new(config);
        messages.set_assembly_room(limit / 2);
        Self {
            messages,
            channels: Default::default(),
            sent: VecDeque::new(),
            acked: 0,
            received: 0,
            early: BTreeSet::new(),
            paused: false,
        }
    }

    /// A message that says which one it is, if there is room.
    fn send(&mut self, channel: u8, len: usize) -> bool {
        let known = &mut self.channels[usize::from(channel)];
        let mut bytes = known.sent.to_be_bytes().to_vec();
        bytes.extend_from_slice(pattern::stretch(known.sent as usize, len.saturating_sub(4)));
        let Ok(id) = self.messages.send(channel, bytes.into()) else { return false };
        known.ids.insert(id, known.sent);
        known.sent += 1;
        true
    }

    /// The application looks at what there is.
    fn look(&mut self) {
        while let Some(receipt) = self.messages.next_receipt() {
            let known = &mut self.channels[usize::from(receipt.channel)];
            let number = known.ids[&receipt.id];
            assert_eq!(known.fates.insert(number, receipt.fate), None, "one fate for each");
        }
    }

    /// Whether a packet that has come is acknowledged.
    fn accept(&mut self, now: Instant, limit: usize, number: u64, payload: &[u8]) {
        if number < self.received || self.early.contains(&number) {
            return;
        }
        if !self.messages.admits(payload, limit, number == self.received) {
            return;
        }
        self.messages.accept(now, payload);
        self.early.insert(number);
        while self.early.remove(&self.received) {
            self.received += 1;
        }
    }

    fn on_ack(&mut self, received: u64, early: &[u64]) {
        let count = received.saturating_sub(self.acked) as usize;
        self.messages.on_acknowledged(count);
        self.sent.drain(..count);
        self.acked += count as u64;
        for number in early.iter().filter(|number| **number >= self.acked) {
            self.messages.on_reported((number - self.acked) as usize);
        }
    }

    fn is_quiet(&self) -> bool {
        self.sent.is_empty() && self.messages.unsent_bytes() == 0
    }
}

impl Talk {
    fn new(script: &mut Script<'_>) -> Self {
        let room = script.pick(&[1380, 300, 100]);
        let max_message = script.pick(&[4000, 300, 20_000]);
        let flags = script.byte();
        let flag = |bit: u8| flags & (1 << bit) != 0;
        let channel = |index: usize| {
            let config = ChannelConfig::new(MODES[index]).queue_bytes(1 << 14);
            let config = config.priority(if flag(0) { index as u8 } else { 7 }).weight(1 + index as u8);
            // Only where the promise leaves room for it.
            config.time_to_live((flag(1) && index < 2).then_some(Duration::from_millis(50)))
        };
        let config = MessageConfig::new([0, 1, 2, 3, 4].map(channel))
            .max_message(max_message)
            .assembly_messages(if flag(2) { 2 } else { 512 })
            .assembly_age(AGE)
            .budget(flag(3).then_some(100_000))
            .coalesce(Duration::from_millis(if flag(4) { 20 } else { 0 }));
        config.validate().expect("within all ranges");
        let limit = script.pick(&[1 << 20, 1 << 16, 1 << 12]) + config.window_needed();
        Self {
            ends: [End::new(&config, limit), End::new(&config, limit)],
            under_way: BTreeMap::new(),
            parcels: 0,
            now: Instant::ZERO,
            room,
            limit,
            max_message: max_message as usize,
            bytes: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        let side = usize::from(command >> 7);
        match command & 7 {
            0..=2 => {
                // Mostly small ones; the others take several packets.
                let len = script.byte();
                let len = if len < 224 { len.into() } else { usize::from(len - 223) * 700 };
                for _ in 0..1 + (command >> 6 & 1) * 15 {
                    let len = len.clamp(4, self.max_message);
                    if self.bytes + len <= BYTES_MAX && self.ends[side].send((command >> 3 & 7) % 5, len) {
                        self.bytes += len;
                    }
                }
            }
            3 | 4 => self.pass(Duration::from_millis(1 + u64::from(command >> 3 & 31)), script),
            5 => self.pass(Duration::from_millis(20 * u64::from(script.byte())), script),
            6 => self.ends[side].paused = command & 8 != 0,
            _ => self.ends[side].messages.flush(),
        }
        self.settle(script);
    }

    /// A parcel leaves, and its fate is the next byte from the end: it comes, does not, comes twice, or late.
    fn throw(&mut self, to: usize, parcel: &Parcel, script: &mut Script<'_>) {
        let (copies, late) = match script.last_byte() {
            0..112 => (1, 0),
            112..160 => (0, 0),
            160..176 => (2, 7),
            byte => (1, u64::from(byte - 175)),
        };
        for copy in 0..copies {
            self.parcels += 1;
            let at = self.now + WAY + Duration::from_millis(late * (1 + copy));
            self.under_way.insert((at, self.parcels), (to, parcel.clone()));
        }
    }

    /// When something happens next.
    fn next_moment(&self) -> Option<Instant> {
        let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
        let again = |end: &End| end.sent.iter().map(|(_, at)| *at + PATIENCE).min();
        let ready = |end: &End| end.messages.ready_at(self.room).filter(|_| end.sent.len() < WINDOW);
        let of = |end: &End| [again(end), ready(end)].into_iter().flatten().min();
        [arrival, of(&self.ends[0]), of(&self.ends[1])].into_iter().flatten().min()
    }

    /// So much time passes, and everything happens at its moment.
    fn pass(&mut self, time: Duration, script: &mut Script<'_>) {
        let until = self.now + time;
        while let Some(at) = self.next_moment().filter(|at| *at <= until) {
            let before = self.now;
            self.now = self.now.max(at);
            self.settle(script);
            if self.now == before && self.next_moment().is_some_and(|at| at <= before) {
                // What is ready and cannot leave waits for an acknowledgement.
                break;
            }
        }
        self.now = until;
    }

    /// What is due is done.
    fn settle(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, parcel) = entry.remove();
            match parcel {
                Parcel::Packet(number, payload) => {
                    let end = &mut self.ends[to];
                    end.accept(now, self.limit, number, &payload);
                    let held = end.messages.held_bytes();
                    let most = self.limit + (COST_PER_BYTE * self.room).max(self.limit / 16) + self.room;
                    assert!(held <= most, "{held} bytes are held");
                    let ack = Parcel::Ack(end.received, end.early.iter().copied().collect());
                    self.throw(1 - to, &ack, script);
                }
                Parcel::Ack(received, early) => self.ends[to].on_ack(received, &early),
            }
        }
        for side in 0..2 {
            self.ends[side].messages.on_time(now);
            self.ends[side].messages.expire(now);
            self.send_packets(side, script);
            self.take(side);
        }
    }

    fn send_packets(&mut self, side: usize, script: &mut Script<'_>) {
        let now = self.now;
        for place in 0..self.ends[side].sent.len() {
            let end = &mut self.ends[side];
            let (before, at) = &mut end.sent[place];
            if *at + PATIENCE <= now {
                *at = now;
                let mut again = Vec::new();
                end.messages.compose_again(place, before, &mut again);
                assert!(again.len() <= before.len());
                let packet = Parcel::Packet(end.acked + place as u64, again);
                self.throw(1 - side, &packet, script);
            }
        }
        while self.ends[side].sent.len() < WINDOW
            && let Some(payload) = self.ends[side].messages.stage(now, self.room)
        {
            assert!(!payload.is_empty() && payload.len() <= self.room);
            let payload = payload.to_vec();
            let end = &mut self.ends[side];
            end.messages.on_numbered();
            let packet = Parcel::Packet(end.acked + end.sent.len() as u64, payload.clone());
            end.sent.push_back((payload, now));
            self.throw(1 - side, &packet, script);
        }
        self.ends[side].look();
    }

    fn take(&mut self, side: usize) {
        while !self.ends[side].paused
            && let Some(message) = self.ends[side].messages.receive()
        {
            let number = message.bytes.first_chunk().copied().map(u32::from_be_bytes).expect("it says which");
            let rest = &message.bytes[4..];
            assert_eq!(rest, pattern::stretch(number as usize, rest.len()), "the bytes of another message");
            self.ends[1 - side].channels[usize::from(message.channel)].seen.push(number);
        }
    }

    /// Nothing is lost any more, and everybody takes what comes.
    fn calm_down(&mut self) {
        let mut calm = Script::new(&[]);
        self.ends.iter_mut().for_each(|end| end.paused = false);
        self.settle(&mut calm);
        for _ in 0..MOMENTS_MAX {
            if self.under_way.is_empty() && self.ends.iter().all(End::is_quiet) {
                break;
            }
            let next = self.next_moment().expect("something waits, and nothing ever happens");
            self.now = next.max(self.now + Duration::from_millis(1));
            self.settle(&mut calm);
        }
        // What is in parts is waited for longer, and its sender is told.
        self.pass(2 * AGE, &mut calm);
        self.settle(&mut calm);
        self.pass(2 * AGE, &mut calm);
    }

    fn check(&self) {
        for end in &self.ends {
            assert!(end.is_quiet(), "everything has left and is acknowledged");
            assert_eq!(end.messages.held_bytes(), 0, "nothing is left behind");
            for (index, channel) in end.channels.iter().enumerate() {
                channel.check(index);
            }
        }
    }
}

impl Channel {
    fn check(&self, index: usize) {
        let mode = MODES[index];
        let distinct: BTreeSet<u32> = self.seen.iter().copied().collect();
        assert_eq!(distinct.len(), self.seen.len(), "{mode:?}: something came twice");
        assert_eq!(self.fates.len(), self.sent as usize, "{mode:?}: something is known about each");
        let is_in_order = self.seen.is_sorted();
        assert!(is_in_order || index == 0 || index == 2, "{mode:?}: an older one after a newer one");
        if index == 2 || index == 3 {
            assert_eq!(self.seen.len(), self.sent as usize, "{mode:?}: all arrive");
            assert!(self.fates.values().all(|fate| *fate == Fate::Delivered), "{mode:?}: and that is known");
        }
        if index == 4 {
            assert_eq!(self.seen.last().copied(), self.sent.checked_sub(1), "{mode:?}: the newest arrives");
        }
        for (number, fate) in &self.fates {
            // One that arrived behind a newer one of its channel has arrived.
            let has_arrived = distinct.contains(number) || mode.is_sequenced();
            assert!(*fate != Fate::Delivered || has_arrived, "{mode:?}: {number} was acknowledged");
            assert!(
                *fate != Fate::Expired || !distinct.contains(number),
                "{mode:?}: {number} was never sent"
            );
        }
    }
}
