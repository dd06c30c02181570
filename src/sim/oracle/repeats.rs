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

use crate::wire::{Header, Kind, Packet, SeqNr, Timestamp};

/// No packet has to stay away for longer than that, nanoseconds: before anything was measured, timeouts take a second
/// (RFC 6298 §2.1).
pub(super) const FLOOR_MAX: u64 = 1_000_000_000;

/// Clocks of hosts run up to 500 ppm wrong and count microseconds; a sixty-fourth and a millisecond forgive that.
const SLACK: (u64, u64) = (64, 1_000_000);

/// A send time that is further back, in microseconds, is a clock that was set, not a packet that was overtaken.
const CLOCK_STEP: u32 = 5_000_000;

/// A full packet, as long as none has been seen.
const FULL_PACKET: u32 = 1400;

/// What one host sends on one connection id.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// When which number was last sent; a number has its place by its low bits. The length is a power of two.
    sent: Vec<Option<Sent>>,
    /// When the SYN was last sent.
    syn: Option<Sent>,
    /// Packets so far, in both directions: what comes after what, also within one moment.
    packets: u64,
    payload_max: u32,
    window: u32,
    /// When the packet left, by the peer's clock, that told of this window.
    window_stamp: Option<Timestamp>,
    /// Which packet was the last that opened the peer's window.
    opened: Option<u64>,
    /// The newest that bare acknowledgements have acknowledged, and which packets the last three of those were, the latest
    /// first.
    acked: Option<SeqNr>,
    ack_orders: [Option<u64>; 3],
    forgiven_at: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    seq: SeqNr,
    /// Nanoseconds.
    at: u64,
    order: u64,
}

impl Repeats {
    /// A packet of the peer came.
    pub(super) fn arrived(&mut self, packet: &Packet<'_>) {
        let header = packet.header;
        if header.kind == Kind::Reset {
            return;
        }
        self.packets += 1;
        self.heard_window(header.window, header.sent_at);
        if header.kind != Kind::State {
            return;
        }
        let advance = self.acked.map_or(1, |acked| header.ack.distance_from(acked));
        if advance >= 0 {
            let [latest, second, _] = if advance == 0 { self.ack_orders } else { [None; 3] };
            (self.acked, self.ack_orders) = (Some(header.ack), [Some(self.packets), latest, second]);
        }
    }

    /// What an overtaken packet says about the window is out of date.
    fn heard_window(&mut self, window: u32, sent_at: Timestamp) {
        let behind = self.window_stamp.map_or(0, |stamp| stamp.delay_since(sent_at).get());
        if (1..CLOCK_STEP).contains(&behind) {
            return;
        }
        let full = if self.payload_max == 0 { FULL_PACKET } else { self.payload_max };
        if self.window < full && window > self.window {
            self.opened = Some(self.packets);
        }
        (self.window, self.window_stamp) = (window, Some(sent_at));
    }

    /// A packet leaves; `least` is the shortest round trip possible, in nanoseconds. Returns what is wrong.
    pub(super) fn sent(&mut self, at: u64, packet: &Packet<'_>, least: u64) -> Result<(), String> {
        let Header { kind, seq, .. } = packet.header;
        self.packets += 1;
        let now = Sent { seq, at, order: self.packets };
        let (before, floor) = match kind {
            Kind::Syn => (self.note_syn(now), FLOOR_MAX),
            Kind::Data | Kind::Fin => (self.note(now, least), least.min(FLOOR_MAX)),
            Kind::State | Kind::Reset => return Ok(()),
        };
        self.payload_max = self.payload_max.max(u32::try_from(packet.payload.len()).unwrap_or(u32::MAX));
        let Some(before) = before else { return Ok(()) };
        let gap = at - before.at;
        let too_soon = gap + gap / SLACK.0 + SLACK.1 < floor;
        if !too_soon || self.is_excused(now, before, floor) {
            return Ok(());
        }
        let [gap, floor] = [gap, floor].map(Duration::from_nanos);
        Err(format!("{kind} {seq} again after {gap:?}, a round trip takes {floor:?}"))
    }

    /// Notes that the SYN is sent now. Returns when it was before. Another number begins another connection.
    fn note_syn(&mut self, now: Sent) -> Option<Sent> {
        let before = self.syn.filter(|known| known.seq == now.seq);
        if before.is_none() {
            *self = Self { packets: now.order, ..Self::default() };
        }
        self.syn = Some(now);
        before
    }

    /// Notes that the number is sent now. Returns when it was before.
    fn note(&mut self, now: Sent, least: u64) -> Option<Sent> {
        if self.sent.is_empty() {
            self.sent = vec![None; 16];
        }
        loop {
            let place = usize::from(now.seq.get()) % self.sent.len();
            match self.sent[place] {
                Some(Sent { seq, at, .. }) if seq != now.seq && now.at - at < least && self.can_grow() => {
                    self.grow();
                }
                found => {
                    self.sent[place] = Some(now);
                    return found.filter(|known| known.seq == now.seq);
                }
            }
        }
    }

    const fn can_grow(&self) -> bool {
        self.sent.len() < 1 << 16
    }

    /// Twice as many places, so that two numbers that are both recent need not share one.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.sent);
        self.sent = vec![None; 2 * old.len()];
        for entry in old.into_iter().flatten() {
            let place = usize::from(entry.seq.get()) % self.sent.len();
            self.sent[place] = Some(entry);
        }
    }

    fn is_excused(&mut self, now: Sent, before: Sent, floor: u64) -> bool {
        if self.opened.is_some_and(|order| order > before.order) {
            return true;
        }
        let three = self.ack_orders[2].is_some_and(|third| third > before.order);
        let named = self.acked == Some(now.seq.prev()) && three;
        let rarely = self.forgiven_at.is_none_or(|at| now.at - at >= floor);
        if named && rarely {
            self.forgiven_at = Some(now.at);
        }
        named && rarely
    }
}
