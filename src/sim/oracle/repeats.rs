//! The oracle of retransmissions: the same number twice within the smallest possible round trip is a guess, and
//! guesses are what floods a path in trouble.
//!
//! Whatever makes a sender give a packet up, the news took a round trip: reports about later packets, the silence of
//! a timeout. So no packet may leave twice within less than the shortest round trip that the line has ever had (but at
//! most a second, the timeout before anything was measured), with two exceptions, both visible on the wire:
//!
//! - *Window probes.* The peer's window was shut, and has opened since: what probed it may have been thrown away.
//! - *Three duplicate acknowledgements* since the packet left name it as missing (RFC 5681 §3.2). The network may
//!   have doubled them; so this holds once per round trip, or a storm of them would be answered with a storm.
//!
//! SYNs are not repeated within a second at all.

use std::time::Duration;

use super::super::pipe::nanos;
use crate::wire::{Kind, Packet, SeqNr};

/// RFC 6298 §2.1: before anything was measured, timeouts take a second.
const UNMEASURED: Duration = Duration::from_secs(1);

/// No packet has to stay away for longer than that, nanoseconds.
pub(super) const FLOOR_MAX: u64 = UNMEASURED.as_nanos() as u64;

/// Clocks of hosts run up to 500 ppm wrong and count microseconds; a sixty-fourth and a millisecond forgive that.
const SLACK: (u64, u64) = (64, 1_000_000);

/// A full packet, as long as none has been seen.
const FULL_PACKET: u32 = 1400;

/// What one host sends on one connection id.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// When which number was last sent; a number has its place by its low bits. The length is a power of two.
    sent: Vec<Option<(SeqNr, u64)>>,
    /// The SYN, and when it was last sent.
    syn: Option<(SeqNr, u64)>,
    payload_max: u32,
    window: u32,
    /// When the peer's window was last seen to open.
    opened_at: Option<u64>,
    /// The newest that bare acknowledgements have acknowledged, and when the last three of those came, the latest
    /// first.
    acked: Option<SeqNr>,
    ack_times: [Option<u64>; 3],
    forgiven_at: Option<u64>,
}

impl Repeats {
    /// A packet of the peer came.
    pub(super) fn arrived(&mut self, now: u64, packet: &Packet<'_>) {
        let header = packet.header;
        if header.kind == Kind::Reset {
            return;
        }
        let full = if self.payload_max == 0 { FULL_PACKET } else { self.payload_max };
        if self.window < full && header.window > self.window {
            self.opened_at = Some(now);
        }
        self.window = header.window;
        if header.kind != Kind::State {
            return;
        }
        let advance = self.acked.map_or(1, |acked| header.ack.distance_from(acked));
        if advance >= 0 {
            let [latest, second, _] = if advance == 0 { self.ack_times } else { [None; 3] };
            (self.acked, self.ack_times) = (Some(header.ack), [Some(now), latest, second]);
        }
    }

    /// A packet leaves; `least` is the shortest round trip possible, in nanoseconds. Returns what is wrong.
    pub(super) fn sent(&mut self, now: u64, packet: &Packet<'_>, least: u64) -> Result<(), String> {
        let header = packet.header;
        let payload = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
        let (before, floor) = match header.kind {
            Kind::Syn => (self.note_syn(header.seq, now), nanos(UNMEASURED)),
            Kind::Data | Kind::Fin => (self.note(header.seq, now, least), least.min(nanos(UNMEASURED))),
            Kind::State | Kind::Reset => return Ok(()),
        };
        self.payload_max = self.payload_max.max(payload);
        let Some(before) = before else { return Ok(()) };
        let gap = now - before;
        let too_soon = gap + gap / SLACK.0 + SLACK.1 < floor;
        if !too_soon || self.is_excused(now, header.seq, before, floor) {
            return Ok(());
        }
        let [gap, floor] = [gap, floor].map(Duration::from_nanos);
        Err(format!("{} {} again after {gap:?}, a round trip takes {floor:?}", header.kind, header.seq))
    }

    /// Notes that the SYN is sent now. Returns when it was before. Another number begins another connection.
    fn note_syn(&mut self, seq: SeqNr, now: u64) -> Option<u64> {
        let before = self.syn.filter(|(known, _)| *known == seq);
        if before.is_none() {
            *self = Self::default();
        }
        self.syn = Some((seq, now));
        before.map(|(_, at)| at)
    }

    /// Notes that the number is sent now. Returns when it was before.
    fn note(&mut self, seq: SeqNr, now: u64, least: u64) -> Option<u64> {
        if self.sent.is_empty() {
            self.sent = vec![None; 16];
        }
        loop {
            let place = usize::from(seq.get()) % self.sent.len();
            match self.sent[place] {
                Some((other, at)) if other != seq && now - at < least && self.sent.len() < 1 << 16 => {
                    self.grow();
                }
                found => {
                    self.sent[place] = Some((seq, now));
                    return found.filter(|(known, _)| *known == seq).map(|(_, at)| at);
                }
            }
        }
    }

    /// Twice as many places, so that two numbers that are both recent need not share one.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.sent);
        self.sent = vec![None; 2 * old.len()];
        for entry in old.into_iter().flatten() {
            let place = usize::from(entry.0.get()) % self.sent.len();
            self.sent[place] = Some(entry);
        }
    }

    fn is_excused(&mut self, now: u64, seq: SeqNr, before: u64, floor: u64) -> bool {
        if self.opened_at.is_some_and(|at| at > before) {
            return true;
        }
        let named = self.acked == Some(seq.prev()) && self.ack_times[2].is_some_and(|third| third > before);
        let rarely = self.forgiven_at.is_none_or(|at| now - at >= floor);
        if named && rarely {
            self.forgiven_at = Some(now);
        }
        named && rarely
    }
}
