//! Answers without a connection behind them, on their way out: twenty bytes for a packet of at least twenty, thirty
//! for a SYN with a mark, which takes as much itself.
//!
//! Whether a packet is answered, and how, is decided elsewhere. An answer never leaves for another reason than that a
//! packet came.

use std::collections::VecDeque;
use std::time::Duration;

use crate::proto::batch::{Batch, Path, SocketId};
use crate::proto::conn::chain;
use crate::time::Instant;
use crate::wire::{
    ConnId, Delay, Extensions, ExtensionsBuf, Header, Kind, Mark, MarkFlags, Own, OwnReason, Packet, SeqNr,
    Tag, Timestamp,
};

/// Ours: answers written and not yet sent; as many as a driver receives datagrams before it sends. 48 KiB at most.
const PENDING_MAX: usize = 512;

/// The answers that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// At most [`PENDING_MAX`].
    pending: VecDeque<Answer>,
}

#[derive(Debug)]
struct Answer {
    path: Path,
    header: Header,
    /// How far the clock that it shows is ahead of ours; it shows none without.
    clock: Option<u32>,
    /// What goes to one of ours.
    mark: Option<Mark>,
    /// Why it is refused.
    reason: Option<u16>,
    /// The send time of the packet that is answered, if it has one.
    heard: Timestamp,
}

impl Answers {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
    }

    /// A RESET for a packet with number `seq` that came on `id`. `random` becomes its own number.
    ///
    /// As libutp does: the id is repeated, and the acknowledgement is the number of the packet. A reason goes to those
    /// who asked for a service, in a packet that is no shorter.
    pub(super) fn reset(
        &mut self,
        path: Path,
        id: ConnId,
        seq: SeqNr,
        random: SeqNr,
        reason: Option<(Mark, Option<u16>)>,
    ) {
        let header = Header {
            kind: Kind::Reset,
            conn_id: id,
            sent_at: Timestamp::default(),
            delay: Delay::NONE,
            window: 0,
            seq: random,
            ack: seq,
        };
        let (mark, reason) = reason.map_or((None, None), |(mark, reason)| (Some(mark), reason));
        self.push(Answer { path, header, clock: None, mark, reason, heard: Timestamp::default() });
    }

    /// What a connection would answer to this SYN, with `number` as the number of its first packet, and with this tag
    /// if the SYN had one.
    pub(super) fn accept(
        &mut self,
        path: Path,
        syn: &Header,
        tag: Option<Tag>,
        number: SeqNr,
        window: u32,
        clock: u32,
    ) {
        let header = Header {
            kind: Kind::State,
            conn_id: syn.conn_id,
            sent_at: Timestamp::default(),
            delay: Delay::NONE,
            window,
            seq: number,
            ack: syn.seq,
        };
        let mark = tag.map(|tag| Mark { flags: MarkFlags::ACCEPTOR, tag });
        self.push(Answer { path, header, clock: Some(clock), mark, reason: None, heard: syn.sent_at });
    }

    fn push(&mut self, answer: Answer) {
        debug_assert!(self.has_room(), "asked for before");
        self.pending.push_back(answer);
    }

    /// Writes the next one into an empty batch.
    pub(super) fn write(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        let Answer { path, mut header, clock, mark, reason, heard } = self.pending.pop_front()?;
        let reason = reason.map(|code| OwnReason::new(code, ""));
        let own = Own { close_reason: reason, ..Own::default() };
        let chain = mark.and_then(|mark| chain(mark.flags, mark.tag, &own, 0));
        let extensions = chain.as_ref().map_or(Extensions::EMPTY, ExtensionsBuf::as_extensions);
        if let Some(clock) = clock {
            let shown = (now + Duration::from_micros(clock.into())).stamp();
            header.sent_at = Timestamp::new(shown.get().max(1));
            if heard.get() != 0 {
                header.delay = shown.delay_since(heard).as_sample();
            }
        }
        let packet = Packet { header, extensions, payload: &[] };
        batch.push(packet.encoded_len(), |mut out| packet.encode(&mut out));
        match clock {
            Some(clock) => batch.set_clock(clock),
            None => batch.seal(),
        }
        Some(path)
    }

    /// Drops what was to leave through a socket that has gone.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.pending.retain(|answer| answer.path.socket != socket);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn path() -> Path {
        Path { socket: SocketId::new(0), peer: ([192, 0, 2, 1], 9).into() }
    }

    #[test]
    fn t02_a_reset_repeats_the_id_acknowledges_the_packet_and_shows_no_clock() {
        let mut answers = Answers::default();
        answers.reset(path(), ConnId::new(0xFFFF), SeqNr::new(65_535), SeqNr::new(4), None);
        let mut batch = Batch::new(1);
        assert_eq!(answers.write(Instant::from_micros(77), &mut batch), Some(path()));
        batch.restamp(0, Instant::from_micros(99));
        let packet = Packet::decode(batch.bytes()).unwrap();
        assert_eq!(batch.bytes().len(), 20);
        assert_eq!((packet.header.kind, packet.header.conn_id), (Kind::Reset, ConnId::new(0xFFFF)));
        assert_eq!((packet.header.seq, packet.header.ack), (SeqNr::new(4), SeqNr::new(65_535)));
        assert_eq!(packet.header.sent_at, Timestamp::new(0));
        assert!(answers.is_empty());
    }

    #[test]
    fn t17_an_answer_to_a_syn_shows_the_clock_of_its_connection() {
        let mut answers = Answers::default();
        let syn = Header {
            kind: Kind::Syn,
            conn_id: ConnId::new(7),
            sent_at: Timestamp::new(50),
            delay: Delay::NONE,
            window: 0,
            seq: SeqNr::new(65_535),
            ack: SeqNr::new(0),
        };
        answers.accept(path(), &syn, None, SeqNr::new(9), 1000, 0xFFFF_FFFF);
        let mut batch = Batch::new(1);
        answers.write(Instant::from_micros(101), &mut batch);
        let header = Packet::decode(batch.bytes()).unwrap().header;
        assert_eq!((header.kind, header.conn_id.get(), header.ack.get()), (Kind::State, 7, 65_535));
        assert_eq!((header.seq.get(), header.window), (9, 1000));
        assert_eq!((header.sent_at, header.delay), (Timestamp::new(100), Delay::new(50)));
        batch.restamp(0, Instant::from_micros(201));
        assert_eq!(Packet::decode(batch.bytes()).unwrap().header.sent_at, Timestamp::new(200));
    }

    #[test]
    fn what_is_not_sent_yet_is_bounded() {
        let mut answers = Answers::default();
        while answers.has_room() {
            answers.reset(path(), ConnId::new(1), SeqNr::new(1), SeqNr::new(1), None);
        }
        assert_eq!(answers.pending.len(), PENDING_MAX);
        assert!(size_of::<Answer>() * PENDING_MAX <= 48 << 10);
    }
}
