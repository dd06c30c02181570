//! One end of the messages of a connection, to which a peer says whatever it likes.
//!
//! ```text
//!   input = 4 bytes: what a message, the incomplete ones, a queue and everything held may take; then commands, one byte
//!           of which the low half says what happens
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ebbtide::Instant;
use ebbtide::proto::message::{ChannelConfig, Fate, MessageConfig, Messages};

use super::mailroom::{AGE, Body, Frame, MODES, Mailroom, frames_of};
use super::script::Script;

/// Bytes of a packet of ours.
const ROOM: usize = 300;

/// Packets of ours that are not acknowledged, at most.
const UNDER_WAY: usize = 64;

/// Far more than any script can fill.
const PLENTY: usize = 1 << 40;

/// What is next in order finds as much room as its bytes can cost, or a sixteenth.
const COST_PER_BYTE: usize = 32;

/// How far ahead of its turn a number may be.
const AHEAD: u32 = 1 << 24;

/// Any packets from a peer: what is handed up, held, refused and answered is what a slow mailroom says, within the limits;
/// whatever the peer acknowledges, a message of ours has one fate.
pub fn frames(input: &[u8]) {
    let mut script = Script::new(input);
    let mut end = End::new(&mut script);
    while !script.is_over() {
        end.step(&mut script);
    }
    end.end();
}

struct End {
    messages: Messages,
    now: Instant,
    /// Bytes that may be held. Where they are scarce, what is given up for them is not foretold.
    limit: usize,
    mailroom: Mailroom,
    /// A number on each channel, around which the peer's numbers are.
    near: [u32; 5],
    max_message: usize,
    /// Packets of ours that are not acknowledged.
    sent: VecDeque<Vec<u8>>,
    /// Messages of ours about which nothing is known.
    open: BTreeSet<u64>,
    queued: u64,
    told: Vec<Frame>,
}

impl End {
    fn new(script: &mut Script<'_>) -> Self {
        let max_message = script.pick(&[1000_u16, 60, 1, 4000]);
        let assembly = script.pick(&[512, 1, 2, 8]);
        let queue = script.pick(&[1 << 16, 1 << 10]);
        let limit = script.pick(&[PLENTY, PLENTY, 600, 4096]);
        let channels = MODES.map(|mode| ChannelConfig::new(mode).queue_bytes(queue));
        let config = MessageConfig::new(channels)
            .max_message(max_message.into())
            .assembly_messages(assembly)
            .assembly_age(AGE);
        config.validate().expect("within all ranges");
        Self {
            messages: Messages::new(&config),
            now: Instant::ZERO,
            limit,
            mailroom: Mailroom::new(max_message.into(), assembly.into()),
            near: [0; 5],
            max_message: max_message.into(),
            sent: VecDeque::new(),
            open: BTreeSet::new(),
            queued: 0,
            told: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let command = script.byte();
        match command & 15 {
            0..=4 => {
                let count = 1 + usize::from(command >> 4);
                let packet: Vec<u8> = (0..count).flat_map(|_| self.frame(script).encode()).collect();
                self.hear(&packet, command & 15 == 4);
            }
            5 | 6 => self.hear(script.counted(), command & 15 == 6),
            7 => self.jump(usize::from(command >> 4) % 5, script.byte()),
            8 => {
                self.now = self.now + Duration::from_micros(script.short().into()) * 256;
                self.messages.expire(self.now);
                self.mailroom.expire(self.now);
            }
            9 => self.receive(),
            10 => self.send(command >> 4, script.short()),
            11 => self.stage(),
            12 => {
                let count = usize::from(command >> 4).min(self.sent.len());
                self.messages.on_acknowledged(count);
                self.sent.drain(..count);
            }
            // The connection asks for packets that are under way, and only for them.
            13 => {
                let place = usize::from(script.byte());
                if place < self.sent.len() {
                    self.messages.on_reported(place);
                }
            }
            14 => self.lose(script.byte().into()),
            _ => self.look_at_receipts(),
        }
    }

    /// A frame as one could be.
    fn frame(&self, script: &mut Script<'_>) -> Frame {
        let what = script.byte();
        let channel = what % 5;
        let number = self.near[usize::from(channel)].wrapping_add_signed(script.signed().into());
        let body = match what / 5 % 4 {
            0 => Body::Whole(vec![what; usize::from(script.byte() & 63)]),
            1 | 2 => {
                let (offset, len) = (u32::from(script.byte()), 1 + usize::from(script.byte() & 63));
                let total = (offset + len as u32).max(script.byte().into());
                Body::Fragment { offset, total, payload: vec![number as u8; len] }
            }
            _ => Body::Receipt(script.byte() & 1),
        };
        Frame { mode: if what == u8::MAX { 0 } else { channel }, channel, number, body }
    }

    /// Numbers go on by as much as they may at once, again and again: that is the way to the wrap.
    fn jump(&mut self, channel: usize, times: u8) {
        for _ in 0..times {
            self.near[channel] = self.near[channel].wrapping_add(AHEAD - 128);
            let (mode, number) = (channel as u8, self.near[channel]);
            self.hear(&Frame { mode, channel: mode, number, body: Body::Whole(vec![mode]) }.encode(), false);
        }
        self.receive();
    }

    fn hear(&mut self, packet: &[u8], is_next: bool) {
        let admitted = self.messages.admits(packet, self.limit, is_next);
        if self.limit == PLENTY {
            assert_eq!(admitted, self.mailroom.admits(packet, is_next));
        }
        if !admitted {
            return;
        }
        self.messages.accept(self.now, packet);
        self.mailroom.accept(self.now, packet);
        let (held, beyond) =
            (self.messages.held_bytes(), (packet.len() * COST_PER_BYTE).max(self.limit / 16));
        assert!(held <= self.limit + beyond + packet.len(), "{held} bytes are held");
    }

    fn receive(&mut self) {
        let arrived = std::iter::from_fn(|| self.messages.receive());
        let arrived: Vec<(u8, Bytes)> = arrived.map(|message| (message.channel, message.bytes)).collect();
        assert!(arrived.iter().all(|(_, bytes)| bytes.len() <= self.max_message));
        let expected = self.mailroom.take();
        if self.limit == PLENTY {
            assert_eq!(arrived, expected);
        }
    }

    fn send(&mut self, channel: u8, len: u16) {
        let len = usize::from(len) % (self.max_message + 2);
        let can = self.messages.can_send(channel);
        match self.messages.send(channel, vec![channel; len].into()) {
            Ok(id) => {
                assert!(can && len <= self.max_message);
                assert_eq!(id.to_string(), self.queued.to_string(), "ids count");
                self.open.insert(self.queued);
                self.queued += 1;
            }
            Err(error) => {
                assert!(!can || len > self.max_message);
                assert_eq!(error.into_bytes().len(), len);
            }
        }
    }

    fn stage(&mut self) {
        if self.sent.len() >= UNDER_WAY {
            return;
        }
        let Some(packet) = self.messages.stage(self.now, ROOM) else { return };
        let packet = packet.to_vec();
        assert!(!packet.is_empty() && packet.len() <= ROOM);
        assert_eq!(self.messages.stage(self.now, ROOM), Some(&packet[..]), "it stays as it is");
        self.messages.on_numbered();
        let (frames, sound) = frames_of(&packet);
        assert!(sound, "a packet of ours is made of frames");
        self.told.extend(frames.into_iter().filter(|frame| matches!(frame.body, Body::Receipt(_))));
        self.sent.push_back(packet);
    }

    fn lose(&mut self, place: usize) {
        let Some(before) = self.sent.get(place) else { return };
        let mut again = Vec::new();
        self.messages.compose_again(place, before, &mut again);
        let (mut was, (still, sound)) = (frames_of(before).0.into_iter(), frames_of(&again));
        assert!(
            sound && still.iter().all(|frame| was.any(|other| other == *frame)),
            "frames of it, in its order"
        );
        for frame in still {
            let is_wanted = MODES[usize::from(frame.channel)].is_reliable();
            assert!(is_wanted || matches!(frame.body, Body::Receipt(_)), "{frame:?} is not to be sent again");
        }
    }

    fn look_at_receipts(&mut self) {
        while let Some(receipt) = self.messages.next_receipt() {
            let id = receipt.id.to_string().parse().expect("a number");
            assert!(self.open.remove(&id), "a second fate for {id}, or one for a message that never was");
            let is_final = MODES[usize::from(receipt.channel)].is_reliable();
            assert!(receipt.fate != Fate::Expired, "nothing has a time to live");
            assert!(receipt.fate != Fate::Superseded || MODES[usize::from(receipt.channel)].is_sequenced());
            assert!(receipt.fate != Fate::Lost || !is_final || self.peer_drops(), "a reliable one was lost");
        }
    }

    /// Whether the peer may have said that it dropped something.
    const fn peer_drops(&self) -> bool {
        self.mailroom.receipts > 0
    }

    fn end(&mut self) {
        self.receive();
        while self.messages.unsent_bytes() > 0 {
            let before = self.messages.unsent_bytes();
            self.stage();
            self.messages.on_acknowledged(self.sent.len());
            self.sent.clear();
            // What is under way in several fragments waits for the peer to say something about it.
            if self.messages.unsent_bytes() == before {
                break;
            }
        }
        self.look_at_receipts();
        if self.limit == PLENTY {
            assert_eq!(self.mailroom.counts(), Mailroom::counts_of(&self.messages));
            let told = self.told.iter().map(|frame| frame.encode());
            let (mut told, mut expected): (Vec<_>, Vec<_>) = (told.collect(), self.mailroom.verdicts());
            told.sort_unstable();
            expected.sort_unstable();
            assert_eq!(told, expected);
            assert_eq!(self.messages.held_bytes() > 0, self.mailroom.holds_something());
        }
        self.messages.abandon();
        assert_eq!(self.messages.unsent_bytes(), 0);
        assert!(self.messages.stage(self.now, ROOM).is_none());
    }
}
