//! RESETs for packets that are for nobody: one of 20 bytes per packet, and only so many.
//!
//! Without a limit, an endpoint would answer forged packets at whatever rate they come. There is one limit for all
//! and one per source, in constant memory: sources share counters by a keyed hash, so a stranger may use up his
//! neighbours' share now and then, but never everybody's. Which packets deserve an answer is decided elsewhere; that
//! a RESET never does is the one rule without which two endpoints would talk for ever.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use super::sockets::canonical;
use crate::proto::batch::{Batch, Path};
use crate::time::Instant;
use crate::wire::{ConnId, Delay, HEADER_LEN, Header, Kind, SeqNr, Timestamp};

/// Ours: RESETs per second towards one source (an IPv4 address, an IPv6 /64). A peer that has restarted asks about
/// each of its connections once or twice, and may be told over a few seconds.
const PER_SOURCE: u32 = 10;

/// Ours: counters for sources, 4 KiB in all.
const SOURCES: usize = 256;

/// Ours: RESETs written and not yet sent; they leave within the same turn.
const PENDING_MAX: usize = 256;

/// Ours: what the rates count in.
const SECOND: Duration = Duration::from_secs(1);

/// Ours: micro-tokens of one RESET, so that a microsecond brings a whole number of them.
const TOKEN: u64 = 1_000_000;

/// The limits, and the RESETs that wait to be sent.
#[derive(Debug)]
pub(super) struct Resets {
    per_second: u32,
    /// Micro-tokens: one RESET costs a million, a microsecond brings `per_second` of them.
    tokens: u64,
    filled_at: Instant,
    sources: Box<[Source]>,
    /// Makes the hash of sources unpredictable.
    secret: u64,
    /// At most [`PENDING_MAX`].
    pending: VecDeque<(Path, Header)>,
}

/// Answers to those sources whose hash is the same, in the current second.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    since: Instant,
    answers: u32,
}

impl Resets {
    pub(super) fn new(per_second: u32, secret: u64) -> Self {
        Self {
            per_second,
            tokens: u64::from(per_second) * TOKEN,
            filled_at: Instant::ZERO,
            sources: vec![Source::default(); SOURCES].into_boxed_slice(),
            secret,
            pending: VecDeque::new(),
        }
    }

    /// Answers a packet with number `seq` that came on `id`, if the limits allow it. `random` becomes the number of
    /// the RESET.
    ///
    /// As libutp does: the id is repeated, and the acknowledgement is the number of the packet.
    pub(super) fn answer(&mut self, now: Instant, path: Path, id: ConnId, seq: SeqNr, random: SeqNr) -> bool {
        self.fill(now);
        let slot = self.slot(path);
        let source = &mut self.sources[slot];
        if now.since(source.since) >= SECOND {
            *source = Source { since: now, answers: 0 };
        }
        if source.answers >= PER_SOURCE || self.tokens < TOKEN || self.pending.len() >= PENDING_MAX {
            return false;
        }
        source.answers += 1;
        self.tokens -= TOKEN;
        let header = Header {
            kind: Kind::Reset,
            conn_id: id,
            sent_at: Timestamp::default(),
            delay: Delay::NONE,
            window: 0,
            seq: random,
            ack: seq,
        };
        self.pending.push_back((path, header));
        true
    }

    /// Writes the next RESET into an empty batch.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Option<Path> {
        let (path, header) = self.pending.pop_front()?;
        batch.push(HEADER_LEN, |out| {
            if let Ok(out) = out.try_into() {
                header.write(0, out);
            }
        });
        Some(path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    fn fill(&mut self, now: Instant) {
        let rate = u64::from(self.per_second);
        let elapsed = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(elapsed.saturating_mul(rate)).min(rate * TOKEN);
        self.filled_at = self.filled_at.max(now);
    }

    fn slot(&self, path: Path) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.secret);
        match canonical(path.peer).ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()[..8]),
        }
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let slot = hasher.finish() as usize % SOURCES;
        slot
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::proto::batch::SocketId;
    use crate::wire::Packet;

    fn path(net: u8, host: u8) -> Path {
        Path { socket: SocketId::new(0), peer: ([10, 0, net, host], 9).into() }
    }

    fn answer(resets: &mut Resets, now: Instant, path: Path) -> bool {
        resets.answer(now, path, ConnId::new(0xFFFF), SeqNr::new(65_535), SeqNr::new(4))
    }

    #[test]
    fn a_reset_repeats_the_id_and_acknowledges_the_packet() {
        let mut resets = Resets::new(100, 1);
        assert!(answer(&mut resets, Instant::ZERO, path(0, 1)));
        let mut batch = Batch::new(1);
        assert_eq!(resets.write(&mut batch), Some(path(0, 1)));
        let packet = Packet::decode(batch.bytes()).unwrap();
        assert_eq!(batch.bytes().len(), 20);
        assert_eq!((packet.header.kind, packet.header.conn_id), (Kind::Reset, ConnId::new(0xFFFF)));
        assert_eq!((packet.header.seq, packet.header.ack), (SeqNr::new(4), SeqNr::new(65_535)));
        assert!(resets.is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_answered_at_the_configured_rate() {
        let mut resets = Resets::new(100, 1);
        let mut sent = 0;
        for micros in 0..200_000u64 {
            let from = path((micros >> 8) as u8, micros as u8);
            sent += usize::from(answer(&mut resets, Instant::from_micros(micros * 50), from));
            resets.clear();
        }
        // Ten seconds of a hundred, and the hundred that were saved up.
        assert!((1_000..=1_100).contains(&sent), "{sent}");
    }

    #[test]
    fn one_source_cannot_use_up_what_is_there_for_all() {
        let mut resets = Resets::new(100, 1);
        let sent = (0..1_000).filter(|_| answer(&mut resets, Instant::ZERO, path(0, 1))).count();
        assert_eq!(sent, 10);
        assert!((2..9).all(|host| answer(&mut resets, Instant::ZERO, path(0, host))));
        assert!(answer(&mut resets, Instant::from_micros(1_000_000), path(0, 1)));
    }

    #[test]
    fn what_is_not_sent_yet_is_bounded() {
        let mut resets = Resets::new(100_000, 1);
        let sent =
            (0..10_000u16).filter(|n| answer(&mut resets, Instant::ZERO, path((n >> 8) as u8, *n as u8)));
        assert_eq!(sent.count(), PENDING_MAX);
    }

    #[test]
    fn a_rate_of_zero_sends_none() {
        let mut resets = Resets::new(0, 1);
        assert!(!answer(&mut resets, Instant::from_micros(u64::MAX), path(0, 1)));
    }
}
