//! What becomes of frames, found the slow way: from their format and from what each kind of channel promises.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ebbtide::Instant;
use ebbtide::proto::message::{Messages, Mode};

/// The modes by their number on the wire; here a channel has the mode of its number.
pub(crate) const MODES: [Mode; 5] = [
    Mode::Unreliable,
    Mode::UnreliableSequenced,
    Mode::ReliableUnordered,
    Mode::ReliableOrdered,
    Mode::ReliableSequenced,
];

/// How long the rest of an unreliable message is waited for.
pub(crate) const AGE: Duration = Duration::from_secs(10);

/// A number may be so far away from the one that is expected.
const FAR: i64 = 1 << 24;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) mode: u8,
    pub(crate) channel: u8,
    pub(crate) number: u32,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    Fragment {
        offset: u32,
        total: u32,
        payload: Vec<u8>,
    },
    /// 0 delivered, 1 dropped.
    Receipt(u8),
}

impl Frame {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, lengths, payload) = match &self.body {
            Body::Whole(payload) => (0, vec![payload.len() as u32], payload.clone()),
            Body::Fragment { offset, total, payload } => {
                (1, vec![*offset, *total, payload.len() as u32], payload.clone())
            }
            Body::Receipt(verdict) => (2, Vec::new(), vec![*verdict]),
        };
        let mut out = vec![self.mode + 8 * kind, self.channel];
        out.extend(self.number.to_be_bytes());
        for mut length in lengths {
            while length > 127 {
                out.push((length % 128) as u8 + 128);
                length /= 128;
            }
            out.push(length as u8);
        }
        out.extend(payload);
        out
    }
}

/// The frames of a packet up to the first that is none, and whether there is no such one.
pub(crate) fn frames_of(packet: &[u8]) -> (Vec<Frame>, bool) {
    let (mut frames, mut rest) = (Vec::new(), packet);
    while !rest.is_empty() {
        let Some((frame, left)) = frame_of(rest) else { return (frames, false) };
        frames.push(frame);
        rest = left;
    }
    (frames, true)
}

fn frame_of(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (head, rest) = bytes.split_at_checked(6)?;
    let (mode, kind) = (head[0] % 8, head[0] / 8);
    let number = head[2..].iter().fold(0, |number, &byte| number * 256 + u32::from(byte));
    let (body, rest) = match kind {
        0 => {
            let (payload, rest) = payload_of(rest)?;
            (Body::Whole(payload), rest)
        }
        1 => {
            let (offset, rest) = length_of(rest)?;
            let (total, rest) = length_of(rest)?;
            let (payload, rest) = payload_of(rest)?;
            let fits = u64::from(offset) + payload.len() as u64 <= u64::from(total);
            (!payload.is_empty() && fits).then_some((Body::Fragment { offset, total, payload }, rest))?
        }
        2 => {
            let (verdict, rest) = rest.split_first()?;
            (*verdict < 2).then_some((Body::Receipt(*verdict), rest))?
        }
        _ => return None,
    };
    (mode < 5).then_some((Frame { mode, channel: head[1], number, body }, rest))
}

fn payload_of(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (len, rest) = length_of(bytes)?;
    let (payload, rest) = rest.split_at_checked(len as usize)?;
    Some((payload.to_vec(), rest))
}

/// Groups of seven bits, the lowest first; no more than four.
fn length_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let groups = 1 + bytes.iter().take_while(|&&byte| byte >= 128).count();
    let (length, rest) = (groups <= 4).then(|| bytes.split_at_checked(groups))??;
    Some((length.iter().rev().fold(0, |length, &byte| length * 128 + u32::from(byte % 128)), rest))
}

/// A message of which something has arrived.
struct Part {
    mode: u8,
    since: Instant,
    bytes: Vec<Option<u8>>,
}

/// What becomes of a message.
#[derive(PartialEq, Eq)]
enum Judgement {
    Now,
    Later,
    TooLate,
    Never,
}

/// Malformed packets; frames for no channel, too long, contradicting, out of range; given up; and outdated by channel.
type Counts = ([u64; 6], [u64; 5]);

/// Where everything that has arrived is sorted.
pub(crate) struct Mailroom {
    max_message: usize,
    parts_max: usize,
    /// The next number of a channel, or the one after the newest; it does not wrap.
    next: [i64; 5],
    /// What waits on a channel for those before it.
    waiting: [BTreeMap<i64, Vec<u8>>; 5],
    parts: BTreeMap<(u8, u32), Part>,
    out: VecDeque<(u8, Bytes)>,
    verdicts: Vec<(u8, u8, u32, u8)>,
    counts: Counts,
    /// Receipts that have come.
    pub(crate) receipts: usize,
}

impl Mailroom {
    pub(crate) fn new(max_message: usize, parts_max: usize) -> Self {
        Self {
            max_message,
            parts_max,
            next: [0; 5],
            waiting: Default::default(),
            parts: BTreeMap::new(),
            out: VecDeque::new(),
            verdicts: Vec::new(),
            counts: Counts::default(),
            receipts: 0,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The same, as the messages themselves have it.
    pub(crate) fn counts_of(messages: &Messages) -> Counts {
        let all = messages.stats();
        let outdated = |channel| messages.channel_stats(channel).map_or(0, |stats| stats.outdated);
        let frames = [all.wrong_channel, all.too_long, all.overlapping, all.out_of_range];
        let [wrong, long, overlapping, out_of_range] = frames;
        (
            [all.malformed, wrong, long, overlapping, out_of_range, all.unassembled],
            [0, 1, 2, 3, 4].map(outdated),
        )
    }

    pub(crate) fn take(&mut self) -> Vec<(u8, Bytes)> {
        self.out.drain(..).collect()
    }

    pub(crate) fn holds_something(&self) -> bool {
        !(self.parts.is_empty() && self.out.is_empty() && self.waiting.iter().all(BTreeMap::is_empty))
    }

    /// What the peer has to be told, as frames.
    pub(crate) fn verdicts(&self) -> Vec<Vec<u8>> {
        let frame = |&(mode, channel, number, verdict): &(u8, u8, u32, u8)| {
            Frame { mode, channel, number, body: Body::Receipt(verdict) }.encode()
        };
        self.verdicts.iter().map(frame).collect()
    }

    /// Where memory is plenty: whether no message is begun that has to be kept and cannot be.
    pub(crate) fn admits(&self, packet: &[u8], is_next: bool) -> bool {
        let is_too_much = |frame: &Frame| {
            matches!(frame.body, Body::Fragment { .. })
                && frame.mode >= 2
                && !self.parts.contains_key(&(frame.channel, frame.number))
        };
        let parts_max = self.parts_max + if is_next { MODES.len() } else { 0 };
        self.parts.len() < parts_max || !frames_of(packet).0.iter().any(is_too_much)
    }

    pub(crate) fn accept(&mut self, now: Instant, packet: &[u8]) {
        let (frames, sound) = frames_of(packet);
        self.counts.0[0] += u64::from(!sound);
        for Frame { mode, channel, number, body } in frames {
            if channel != mode {
                self.counts.0[1] += 1;
                continue;
            }
            match body {
                Body::Whole(payload) if payload.len() > self.max_message => self.counts.0[2] += 1,
                Body::Whole(payload) => self.sort(channel, number, payload),
                Body::Fragment { total, .. } if total as usize > self.max_message => {
                    self.counts.0[2] += 1;
                    self.verdicts.push((mode, channel, number, 1));
                }
                Body::Fragment { offset, total, payload } => {
                    self.piece(now, (channel, number), (offset as usize, total as usize), &payload);
                }
                Body::Receipt(_) => self.receipts += 1,
            }
        }
    }

    fn piece(&mut self, now: Instant, key: (u8, u32), (offset, total): (usize, usize), payload: &[u8]) {
        let (channel, number) = key;
        if !self.parts.contains_key(&key) {
            match self.judge(channel, number) {
                Judgement::Never => {
                    self.counts.0[4] += 1;
                    return;
                }
                Judgement::TooLate => {
                    self.counts.1[usize::from(channel)] += 1;
                    self.verdicts.push((channel, channel, number, 1));
                    return;
                }
                Judgement::Now | Judgement::Later => {}
            }
            if self.parts.len() >= self.parts_max {
                match self.oldest() {
                    Some(oldest) => self.give_up(oldest),
                    None if channel < 2 => return self.give_up(key),
                    None => {}
                }
            }
        }
        let new = || Part { mode: channel, since: now, bytes: vec![None; total] };
        let part = self.parts.entry(key).or_insert_with(new);
        let fits = part.mode == channel && part.bytes.len() == total;
        if !fits || part.bytes[offset..offset + payload.len()].iter().any(Option::is_some) {
            self.counts.0[3] += 1;
            return;
        }
        payload.iter().zip(&mut part.bytes[offset..]).for_each(|(from, to)| *to = Some(*from));
        let whole: Option<Vec<u8>> = part.bytes.iter().copied().collect();
        if let Some(whole) = whole {
            self.parts.remove(&key);
            self.verdicts.push((channel, channel, number, 0));
            self.sort(channel, number, whole);
        }
    }

    /// The oldest one that may be given up.
    fn oldest(&self) -> Option<(u8, u32)> {
        let unreliable = self.parts.iter().filter(|(_, part)| part.mode < 2);
        unreliable.min_by_key(|(key, part)| (part.since, **key)).map(|(key, _)| *key)
    }

    fn give_up(&mut self, key: (u8, u32)) {
        self.parts.remove(&key);
        self.counts.0[5] += 1;
        self.verdicts.push((key.0, key.0, key.1, 1));
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.oldest()
            && self.parts[&oldest].since + AGE <= now
        {
            self.give_up(oldest);
        }
    }

    /// A number as it goes on without end, if it is not too far from what is expected.
    fn absolute(&self, channel: u8, number: u32) -> Option<i64> {
        let next = self.next[usize::from(channel)];
        let rounds = [-1, 0, 1].map(|round| (next / (1 << 32) + round) * (1 << 32) + i64::from(number));
        rounds.into_iter().find(|absolute| *absolute >= 0 && (absolute - next).abs() <= FAR)
    }

    fn judge(&self, channel: u8, number: u32) -> Judgement {
        let Some(number) = self.absolute(channel, number) else { return Judgement::Never };
        let (next, waiting) = (self.next[usize::from(channel)], &self.waiting[usize::from(channel)]);
        match channel {
            3 if number < next || waiting.contains_key(&number) => Judgement::Never,
            3 if number > next => Judgement::Later,
            1 | 4 if number < next => Judgement::TooLate,
            _ => Judgement::Now,
        }
    }

    fn sort(&mut self, channel: u8, number: u32, bytes: Vec<u8>) {
        let judgement = self.judge(channel, number);
        let Some(absolute) = self.absolute(channel, number) else {
            self.counts.0[4] += 1;
            return;
        };
        let at = usize::from(channel);
        match judgement {
            Judgement::Never => self.counts.0[4] += 1,
            Judgement::TooLate => self.counts.1[at] += 1,
            Judgement::Later => {
                self.waiting[at].insert(absolute, bytes);
            }
            Judgement::Now => {
                self.next[at] = self.next[at].max(absolute + 1);
                self.out.push_back((channel, bytes.into()));
                if channel == 1 || channel == 4 {
                    self.give_up_older(channel, number);
                }
                while channel == 3
                    && let Some(bytes) = self.waiting[at].remove(&self.next[at])
                {
                    self.next[at] += 1;
                    self.out.push_back((channel, bytes.into()));
                }
            }
        }
    }

    /// What has arrived of older messages will not be handed up any more.
    fn give_up_older(&mut self, channel: u8, number: u32) {
        let is_older = |key: &(u8, u32)| key.0 == channel && key.1.wrapping_sub(number) > 1 << 31;
        let older: Vec<_> = self.parts.keys().copied().filter(is_older).collect();
        older.into_iter().for_each(|key| self.give_up(key));
    }
}
