//! Messages in a byte stream, for a peer that knows none: everything reliable and in order, one after the other.
//!
//! ```text
//!   ┌─────────┬────────────────────┬──────────┐    the first one, each way, greets: channel 0, length 4, and what
//!   │ channel │ length, big endian │ message …│    both ends have to agree on (version, channels - 1, digest of
//!   │   u8    │        u32         │          │    the modes)
//!   └─────────┴────────────────────┴──────────┘
//! ```
//!
//! Pure: takes bytes from a stream and puts bytes into one, and knows nothing of packets. What was taken to be sent is
//! in the stream, or is the one message that found no room there yet; so there is no queue to put in order by
//! priority, and nothing to bound but that.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{ChannelStats, Fate, Message, MessageConfig, MessageId, MessageStats, Receipt, SendError};

/// Ours: bytes before a message: channel and length.
const HEAD: usize = 5;

/// Ours: bytes of the greeting, which is a head and what is agreed on.
const GREETING: usize = HEAD + 4;

/// Ours: messages that are under way, and receipts that wait to be looked at. Beyond it there is no room for another
/// message, and the oldest receipt is dropped.
const RECEIPTS_MAX: usize = 1 << 16;

/// Ours: bytes set aside at a time for a message that has not arrived yet.
const STEP: usize = 16 << 10;

/// The messages of a connection whose peer sees a stream.
#[derive(Debug)]
pub struct Framed {
    greeting: [u8; GREETING],
    max_message: usize,
    hurried: bool,
    channels: Box<[ChannelStats]>,
    next_id: u64,
    leaving: Leaving,
    /// Bytes put into the stream so far.
    written: u64,
    /// In the order of the stream; at most [`RECEIPTS_MAX`].
    under_way: VecDeque<UnderWay>,
    receipts: VecDeque<Receipt>,
    coming: Coming,
    wrong_channel: u64,
    too_long: u64,
}

/// What has no room in the stream yet.
#[derive(Debug, Default)]
struct Leaving {
    head: [u8; GREETING],
    /// How much of `head` is meant.
    head_len: usize,
    body: Bytes,
    progress: usize,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// Where in the stream it ends.
    end: u64,
    channel: u8,
    id: MessageId,
}

/// What has arrived in part.
#[derive(Debug)]
struct Coming {
    head: [u8; GREETING],
    filled: usize,
    body: Vec<u8>,
    part: Part,
}

/// What comes next in the stream.
#[derive(Clone, Copy, Debug)]
enum Part {
    Greeting,
    Head,
    Body {
        channel: u8,
        len: usize,
    },
    /// Nothing that anybody here wants.
    Skipped {
        left: usize,
    },
}

/// What came of taking from the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A message.
    Message(Message),
    /// Not a whole one yet; nothing is left in the stream.
    Nothing,
    /// The peer speaks of something else, or of other channels.
    Mismatch,
}

impl Framed {
    /// With these channels. The greeting is the first to leave.
    #[must_use]
    pub fn new(config: &MessageConfig) -> Self {
        let mut greeting = [0; GREETING];
        greeting[HEAD - 1] = 4;
        greeting[HEAD..].copy_from_slice(&config.agreement());
        let leaving = Leaving { head: greeting, head_len: GREETING, ..Leaving::default() };
        Self {
            greeting,
            max_message: config.max_message as usize,
            hurried: config.coalesce.is_zero(),
            channels: vec![ChannelStats::default(); config.channels.len()].into(),
            next_id: 0,
            leaving,
            written: 0,
            under_way: VecDeque::new(),
            receipts: VecDeque::new(),
            coming: Coming { head: [0; GREETING], filled: 0, body: Vec::new(), part: Part::Greeting },
            wrong_channel: 0,
            too_long: 0,
        }
    }

    /// Whether nothing that was written should wait to be merged with more.
    #[must_use]
    pub const fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Bytes that found no room in the stream yet.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.leaving.left()
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.channels)
            + self.leaving.left()
            + self.coming.body.capacity()
            + self.under_way.capacity() * size_of::<UnderWay>()
            + self.receipts.capacity() * size_of::<Receipt>()
    }

    /// Numbers about one channel.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        self.channels.get(usize::from(channel)).copied()
    }

    /// Numbers about all; those about the path are left empty.
    #[must_use]
    pub fn stats(&self) -> MessageStats {
        MessageStats {
            queue_bytes: self.leaving.left(),
            held_bytes: self.coming.body.len(),
            wrong_channel: self.wrong_channel,
            too_long: self.too_long,
            ..MessageStats::default()
        }
    }
}

/// Sending.
impl Framed {
    /// Whether there is room for another message.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.leaving.left() == 0 && self.under_way.len() < RECEIPTS_MAX
    }

    /// Takes a message to be sent; [`pump`](Self::pump) puts it into the stream.
    ///
    /// # Errors
    /// No room, too long, no such channel; the message is handed back.
    pub fn send(&mut self, channel: u8, bytes: Bytes) -> Result<MessageId, SendError> {
        if usize::from(channel) >= self.channels.len() {
            return Err(SendError::NoSuchChannel(bytes));
        }
        if bytes.len() > self.max_message {
            return Err(SendError::TooLong(bytes));
        }
        if !self.has_room() {
            return Err(SendError::Full(bytes));
        }
        let stats = &mut self.channels[usize::from(channel)];
        (stats.queued, stats.sent) = (stats.queued + 1, stats.sent + 1);
        stats.bytes_sent += bytes.len() as u64;
        let id = MessageId(self.next_id);
        self.next_id += 1;
        self.leaving = Leaving::message(channel, bytes);
        self.under_way.push_back(UnderWay { end: self.written + self.leaving.left() as u64, channel, id });
        Ok(id)
    }

    /// Puts what has no room yet into the stream; `write` takes as much as there is room for.
    pub fn pump(&mut self, mut write: impl FnMut(&[u8]) -> usize) {
        while self.leaving.left() > 0 {
            let taken = write(self.leaving.next());
            if taken == 0 {
                return;
            }
            self.leaving.progress += taken;
            self.written += taken as u64;
        }
        self.leaving = Leaving::default();
    }

    /// Of what was put into the stream, so many bytes are not acknowledged.
    pub fn on_acknowledged(&mut self, outstanding: usize) {
        let acked = self.written.saturating_sub(outstanding as u64);
        while let Some(&UnderWay { end, channel, id }) = self.under_way.front()
            && end <= acked
        {
            self.under_way.pop_front();
            self.channels[usize::from(channel)].delivered += 1;
            if self.receipts.len() == RECEIPTS_MAX {
                self.receipts.pop_front();
            }
            self.receipts.push_back(Receipt { channel, id, fate: Fate::Delivered });
        }
    }

    /// Whether something became known about messages.
    #[must_use]
    pub fn has_receipts(&self) -> bool {
        !self.receipts.is_empty()
    }

    /// The next thing that became known about a message that was sent.
    pub fn next_receipt(&mut self) -> Option<Receipt> {
        self.receipts.pop_front()
    }

    /// The connection is over: what was not sent will not be.
    pub fn abandon(&mut self) {
        self.leaving = Leaving::default();
        self.under_way = VecDeque::new();
    }
}

impl Leaving {
    fn message(channel: u8, body: Bytes) -> Self {
        debug_assert!(u32::try_from(body.len()).is_ok(), "a setting has a smaller limit");
        let mut head = [0; GREETING];
        head[0] = channel;
        head[1..HEAD].copy_from_slice(&(body.len() as u32).to_be_bytes());
        Self { head, head_len: HEAD, body, progress: 0 }
    }

    fn left(&self) -> usize {
        self.head_len + self.body.len() - self.progress
    }

    fn next(&self) -> &[u8] {
        match self.progress.checked_sub(self.head_len) {
            Some(progress) => &self.body[progress..],
            None => &self.head[self.progress..self.head_len],
        }
    }
}

/// Receiving.
impl Framed {
    /// Takes the next message from the stream; `read` gives as much as there is and fits, and 0 if there is nothing.
    ///
    /// A message that is too long, or on a channel that there is not, is passed over and counted: no memory is set aside
    /// for it.
    pub fn take(&mut self, mut read: impl FnMut(&mut [u8]) -> usize) -> Taken {
        loop {
            let is_whole = match self.coming.part {
                Part::Greeting => {
                    let is_whole = self.coming.fill_head(GREETING, &mut read);
                    // Somebody who speaks of something else may stop in the middle of it.
                    if !self.greeting.starts_with(&self.coming.head[..self.coming.filled]) {
                        return Taken::Mismatch;
                    }
                    is_whole
                }
                Part::Head => self.coming.fill_head(HEAD, &mut read),
                Part::Body { len, .. } => self.coming.fill_body(len, &mut read),
                Part::Skipped { left } => self.coming.skip(left, &mut read),
            };
            if !is_whole {
                return Taken::Nothing;
            }
            self.coming.filled = 0;
            let part = std::mem::replace(&mut self.coming.part, Part::Head);
            match part {
                Part::Greeting | Part::Skipped { .. } => {}
                Part::Head => self.coming.part = self.judge(),
                Part::Body { channel, len } => {
                    let stats = &mut self.channels[usize::from(channel)];
                    stats.received += 1;
                    stats.bytes_received += len as u64;
                    let bytes = Bytes::from(std::mem::take(&mut self.coming.body));
                    return Taken::Message(Message { channel, bytes });
                }
            }
        }
    }

    /// Whether a message has arrived in part, or not even the greeting: no place for the stream to end.
    #[must_use]
    pub const fn is_amid(&self) -> bool {
        !matches!(self.coming.part, Part::Head) || self.coming.filled > 0
    }

    /// What follows a head.
    fn judge(&mut self) -> Part {
        let [channel, len @ .., _, _, _, _] = self.coming.head;
        let len = u32::from_be_bytes(len) as usize;
        if usize::from(channel) >= self.channels.len() {
            self.wrong_channel += 1;
            Part::Skipped { left: len }
        } else if len > self.max_message {
            self.too_long += 1;
            Part::Skipped { left: len }
        } else {
            Part::Body { channel, len }
        }
    }
}

impl Coming {
    fn fill_head(&mut self, len: usize, read: &mut impl FnMut(&mut [u8]) -> usize) -> bool {
        while self.filled < len {
            match read(&mut self.head[self.filled..len]) {
                0 => return false,
                count => self.filled += count,
            }
        }
        true
    }

    fn fill_body(&mut self, len: usize, read: &mut impl FnMut(&mut [u8]) -> usize) -> bool {
        while self.body.len() < len {
            let at = self.body.len();
            self.body.resize(len.min(at + STEP), 0);
            let count = read(&mut self.body[at..]);
            self.body.truncate(at + count);
            if count == 0 {
                return false;
            }
        }
        true
    }

    fn skip(&mut self, mut left: usize, read: &mut impl FnMut(&mut [u8]) -> usize) -> bool {
        let mut waste = [0; 1024];
        while left > 0 {
            let count = read(&mut waste[..left.min(1024)]);
            left -= count;
            self.part = Part::Skipped { left };
            if count == 0 {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::message::{ChannelConfig, Mode};

    fn config() -> MessageConfig {
        MessageConfig::new(vec![ChannelConfig::new(Mode::Unreliable); 3]).max_message(100_000)
    }

    /// Everything that is sent, in pieces of that many bytes.
    fn stream(sender: &mut Framed, messages: &[(u8, Vec<u8>)], room: usize) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut pump = |sender: &mut Framed| {
            while sender.unsent_bytes() > 0 {
                let mut room = room;
                sender.pump(|bytes| {
                    let taken = bytes.len().min(room);
                    stream.extend_from_slice(&bytes[..taken]);
                    room -= taken;
                    taken
                });
            }
        };
        pump(sender);
        for (channel, message) in messages {
            sender.send(*channel, message.clone().into()).expect("room");
            pump(sender);
        }
        stream
    }

    /// Everything that arrives, in pieces of that many bytes.
    fn arrive(receiver: &mut Framed, mut stream: &[u8], piece: usize) -> (Vec<(u8, Vec<u8>)>, bool) {
        let mut messages = Vec::new();
        loop {
            let (mut now, rest) = stream.split_at(piece.min(stream.len()));
            stream = rest;
            loop {
                let taken = receiver.take(|out| {
                    let count = out.len().min(now.len());
                    out[..count].copy_from_slice(&now[..count]);
                    now = &now[count..];
                    count
                });
                match taken {
                    Taken::Message(message) => messages.push((message.channel, message.bytes.to_vec())),
                    Taken::Nothing => break,
                    Taken::Mismatch => return (messages, false),
                }
            }
            assert!(now.is_empty(), "nothing is left in the stream");
            if stream.is_empty() {
                return (messages, true);
            }
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_however_the_stream_is_cut(
            messages in proptest::collection::vec((0u8..3, proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
            room in 1usize..400,
            piece in 1usize..400,
        ) {
            let (mut sender, mut receiver) = (Framed::new(&config()), Framed::new(&config()));
            let stream = stream(&mut sender, &messages, room);
            prop_assert_eq!(arrive(&mut receiver, &stream, piece), (messages.clone(), true));
            prop_assert!(!receiver.is_amid());
            // Receipts: those whose last byte is acknowledged, and no others.
            let mut at = GREETING;
            for (channel, message) in &messages {
                at += HEAD + message.len();
                sender.on_acknowledged(stream.len() - at + 1);
                prop_assert_eq!(sender.next_receipt(), None);
                sender.on_acknowledged(stream.len() - at);
                prop_assert_eq!(sender.next_receipt().map(|receipt| receipt.channel), Some(*channel));
            }
        }

        #[test]
        fn any_stream_is_bounded(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), greets: bool, piece in 1usize..99) {
            let mut receiver = Framed::new(&config());
            if greets && bytes.len() >= GREETING {
                bytes[..GREETING].copy_from_slice(&receiver.greeting);
            }
            let (messages, _) = arrive(&mut receiver, &bytes, piece);
            let total: usize = messages.iter().map(|(_, message)| message.len() + HEAD).sum();
            prop_assert!(total <= bytes.len());
            prop_assert!(receiver.memory_bytes() < 2 * (bytes.len() + STEP) + 4096, "{}", receiver.memory_bytes());
        }
    }

    #[test]
    fn what_is_too_long_or_nowhere_is_passed_over_and_counted() {
        let strict = config().max_message(10);
        let mut receiver = Framed::new(&strict);
        let mut bytes = receiver.greeting.to_vec();
        for (channel, len) in [(0u8, 5usize), (0, 11), (9, 5), (2, 10)] {
            bytes.push(channel);
            bytes.extend((len as u32).to_be_bytes());
            bytes.extend(vec![channel; len]);
        }
        let (messages, fits) = arrive(&mut receiver, &bytes, 7);
        assert!(fits && !receiver.is_amid());
        assert_eq!(messages, [(0, vec![0; 5]), (2, vec![2; 10])]);
        assert_eq!((receiver.stats().too_long, receiver.stats().wrong_channel), (1, 1));
        let claim = [&[0u8][..], &u32::MAX.to_be_bytes()].concat();
        arrive(&mut receiver, &claim, 9);
        assert!(receiver.memory_bytes() < 4096 && receiver.is_amid());
    }

    #[test]
    fn who_speaks_of_something_else_is_noticed_at_the_first_strange_byte() {
        for strange in [&b"G"[..], b"\0\0\0\0\x04\x02", b"\x13BitTorrent protocol"] {
            let mut receiver = Framed::new(&config());
            assert!(!arrive(&mut receiver, strange, 3).1, "{strange:?}");
        }
        let mut receiver = Framed::new(&config());
        let other = Framed::new(&MessageConfig::default()).greeting;
        assert!(!arrive(&mut receiver, &other, 99).1, "other channels");
    }

    #[test]
    fn what_cannot_be_taken_is_handed_back() {
        let mut sender = Framed::new(&config().max_message(3));
        assert_eq!(
            sender.send(0, "abc".into()),
            Err(SendError::Full("abc".into())),
            "the greeting goes first"
        );
        sender.pump(<[u8]>::len);
        assert_eq!(sender.send(3, "abc".into()), Err(SendError::NoSuchChannel("abc".into())));
        assert_eq!(sender.send(0, "abcd".into()), Err(SendError::TooLong("abcd".into())));
        assert!(sender.send(0, "abc".into()).is_ok() && !sender.has_room());
        sender.abandon();
        assert_eq!(sender.unsent_bytes(), 0);
    }
}
