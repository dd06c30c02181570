//! Loss detection: which segments are lost, and how sure one can be (RFC 8985, RFC 6675, RFC 6582).
//!
//! Knows no windows and sets no timers. Five kinds of evidence count:
//!
//! - *Count*: three later segments were reported. Only for first transmissions, and only while the path was never
//!   seen to reorder.
//! - *Time*: something sent later was delivered, and a round trip plus the reordering window has passed. Works for
//!   retransmissions as well, so one that is lost again is found without a timeout.
//! - *Duplicate acknowledgements*, from peers whose masks say nothing: the third gives the first segment up.
//! - *Timeout*: the first segment, and whatever is old.
//! - *A tail probe* that repaired a loss nobody saw.
//!
//! What a mask cannot reach is unknown, not lost. libutp's masks show 30 packets and libtorrent's may miss what they
//! are about, so time judges only the first segment (which a peer by definition lacks), what lies below the highest
//! reported one, and what the latest mask shows as missing. Where round after round repairs nothing but the first, and
//! no mask says that there is anything behind it, a whole flight was lost: then twice as many are given up each time.
//!
//! ```text
//!  base                 highest reported        end
//!   │ head: judged by     │ judged only within    │
//!   ▼ itself              ▼ the latest mask       ▼
//!   ┌─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┬─┐
//!   └─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┴─┘
//!           ▲ scan: first transmissions below here are settled
//! ```
//!
//! First transmissions are in the order of their numbers, so `scan` only moves forward; retransmissions are kept in
//! the order of their sending. Both are looked at from the old end until one is not lost, which makes the work per
//! acknowledgement proportional to what it settles.

use std::collections::VecDeque;
use std::time::Duration;

use super::flight::Flight;
use super::outcome::{AckOutcome, Lost};
use super::reorder::ReorderingWindow;
use super::segment::{Fate, Segment};
use crate::proto::congestion::RttEstimator;
use crate::time::Instant;
use crate::wire::{Sack, SeqNr};

#[derive(Debug)]
pub(super) struct LossDetector {
    /// The most recently sent transmission known to have arrived.
    newest_delivered: Option<Delivered>,
    /// The three highest segments ever reported, highest first.
    highest: [Option<u64>; COUNT_THRESHOLD],
    /// Segments below this and above the highest reported one are missing according to the latest mask.
    mask_end: u64,
    scan: u64,
    /// Retransmissions in flight, in the order of sending, with their order. Stale when the segment's order differs.
    resent: VecDeque<(u64, u64)>,
    reordering: ReorderingWindow,
    /// In recovery until this segment is the first.
    recovery_end: Option<u64>,
    /// Losses of transmissions from this one on begin a new epoch.
    epoch: u64,
    masks: Masks,
    /// So many acknowledgements in a row have only shown that the first segment is missing again.
    run: u32,
    duplicates: u8,
    /// The segment that was last found lost by counting them.
    counted_out: Option<u64>,
    /// Counting them found something lost that was not: this path, or this peer, makes more of them than losses do.
    duplicates_mislead: bool,
    /// A duplicate acknowledgement came since losses were last looked for.
    duplicate_came: bool,
    /// The last timeout may yet prove premature.
    timed_out: bool,
    probe: Option<Probe>,
    least_rtt: Option<Duration>,
    /// What the clocks say about the packet that the next acknowledgement answers.
    echoed: Option<Duration>,
    ack: AckInProgress,
}

#[derive(Clone, Copy, Debug)]
struct Delivered {
    order: u64,
    /// Between its transmission and the acknowledgement.
    rtt: Duration,
}

/// What the peer's masks have been like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Masks {
    /// Not one so far; the peer may not send any.
    NeverSeen,
    /// The latest acknowledgement had none, others had.
    Absent,
    Present,
}

/// A retransmission of the last segment that was never declared lost, to make the peer report its gaps.
#[derive(Clone, Copy, Debug)]
struct Probe {
    index: u64,
    original: Segment,
    sent_at: Option<Instant>,
    /// Acknowledged no sooner than a round trip after the probe: it is the probe that arrived, or both did.
    arrived: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct AckInProgress {
    highest_before: Option<u64>,
    newest: Option<Segment>,
    given_up_too_soon: bool,
    /// Something has arrived that was sent once.
    original: bool,
    echoed: Option<Duration>,
}

/// RFC 5681 §3.2, RFC 6675 §2: three later segments, or three duplicate acknowledgements, are more than reordering.
const COUNT_THRESHOLD: usize = 3;
/// Ours: so many rounds that repair one segment each are a few losses; RFC 6582 §4 would have a timeout sooner.
const RUN_MIN: u32 = 3;
/// Ours: after so many more, all that may be in flight is given up at once.
const RUN_MAX: u32 = 15;
/// libutp: the last two bits of its four bytes are never set, so they say nothing.
const MASK_BITS_UNUSED: u64 = 2;
/// Ours: an answer sooner than the clocks say by less than this may still be one: packets that arrive together differ.
const ECHO_TOLERANCE: Duration = Duration::from_millis(1);
/// RFC 6298 §2: four times the variation on top of the smoothed round trip covers nearly every round trip.
const VARIATIONS: u32 = 4;

impl LossDetector {
    pub(super) const fn new() -> Self {
        Self {
            newest_delivered: None,
            highest: [None; COUNT_THRESHOLD],
            mask_end: 0,
            scan: 0,
            resent: VecDeque::new(),
            reordering: ReorderingWindow::new(),
            recovery_end: None,
            epoch: 0,
            masks: Masks::NeverSeen,
            run: 0,
            duplicates: 0,
            counted_out: None,
            duplicates_mislead: false,
            duplicate_came: false,
            timed_out: false,
            probe: None,
            least_rtt: None,
            echoed: None,
            ack: AckInProgress {
                highest_before: None,
                newest: None,
                given_up_too_soon: false,
                original: false,
                echoed: None,
            },
        }
    }

    /// A segment was sent again; `order` is that of the new transmission.
    pub(super) fn on_resent(&mut self, flight: &Flight, index: u64, order: u64, now: Instant) {
        if index == flight.base() {
            // Those that came were about the transmission before.
            self.duplicates = 0;
        }
        self.resent.push_back((index, order));
        // Stale entries behind a live one leave only here. Half of the entries go, so each is moved once on average.
        if self.resent.len() > 2 * flight.len() + COUNT_THRESHOLD {
            self.resent.retain(|&(index, order)| is_live(flight, index, order));
        }
        // Had it been found lost since it was queued, it would be no probe any more.
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.index == index) {
            probe.sent_at = Some(now);
        }
    }

    /// The next segment to be queued is a tail probe.
    pub(super) fn on_probe_queued(&mut self, index: u64, original: &Segment) {
        self.probe = Some(Probe { index, original: *original, sent_at: None, arrived: false });
    }

    /// See [`SendBuffer::note_echo`](super::SendBuffer::note_echo).
    pub(super) fn note_echo(&mut self, round_trip: Duration) {
        self.echoed = Some(round_trip.saturating_sub(ECHO_TOLERANCE));
    }

    /// See [`SendBuffer::note_least`](super::SendBuffer::note_least).
    pub(super) const fn note_least(&mut self, round_trip: Option<Duration>) {
        self.least_rtt = round_trip;
    }

    /// An acknowledgement is about to be applied to `flight`.
    pub(super) fn begin_ack(&mut self, flight: &Flight, ack: SeqNr, sack: Option<Sack<'_>>) {
        let echoed = self.echoed.take();
        self.ack = AckInProgress { highest_before: self.highest[0], echoed, ..AckInProgress::default() };
        self.mask_end = 0;
        match (sack, self.masks) {
            (Some(sack), _) => {
                self.masks = Masks::Present;
                self.mask_end = mask_end(flight, ack, sack);
            }
            (None, Masks::NeverSeen) => {}
            (None, _) => self.masks = Masks::Absent,
        }
    }

    /// One segment is newly acknowledged, or, if `reported`, newly in the mask. `segment` is how it was before.
    pub(super) fn on_delivered(
        &mut self,
        now: Instant,
        index: u64,
        segment: &Segment,
        reported: bool,
        out: &mut AckOutcome,
    ) {
        out.bytes += u32::from(segment.len);
        out.packets += 1;
        let answered_in = now.since(segment.last_sent);
        let resent = segment.is_retransmitted();
        // Sooner than any round trip: an earlier transmission has arrived, not the latest.
        let least = self.least_rtt.max(self.ack.echoed);
        let too_soon = resent && least.is_some_and(|least| answered_in < least);
        let overtaken = !segment.late && self.ack.highest_before.is_some_and(|highest| index < highest);
        out.retransmitted_acked |= resent;
        self.ack.original |= !resent;
        out.spurious += u32::from(too_soon);
        self.duplicates_mislead |= too_soon && self.counted_out == Some(index);
        if overtaken && !resent {
            out.reordered += 1;
            self.reordering.on_reordering();
        }
        if overtaken && (too_soon || (!resent && segment.fate == Fate::Lost && !segment.timed_out)) {
            self.ack.given_up_too_soon = true;
        }
        if self.ack.newest.is_none_or(|newest| segment.order > newest.order) {
            self.ack.newest = Some(*segment);
        }
        if !too_soon && self.newest_delivered.is_none_or(|newest| segment.order > newest.order) {
            self.newest_delivered = Some(Delivered { order: segment.order, rtt: answered_in });
        }
        if reported {
            self.report(index);
        }
        match &mut self.probe {
            Some(probe) if probe.index == index => match probe.sent_at {
                Some(_) if !too_soon => probe.arrived = true,
                _ => self.probe = None,
            },
            _ => {}
        }
    }

    /// The acknowledgement has been applied. Completes its outcome.
    pub(super) fn end_ack(&mut self, flight: &mut Flight, now: Instant, out: &mut AckOutcome) {
        if out.advanced {
            self.duplicates = 0;
        }
        if self.ack.original || self.masks == Masks::Present {
            self.run = 0;
        }
        out.newest_sent_at = self.ack.newest.map(|segment| segment.last_sent);
        if !out.retransmitted_acked {
            out.rtt = self.ack.newest.map(|segment| now.since(segment.first_sent));
        }
        if self.ack.given_up_too_soon {
            self.reordering.on_given_up_too_soon(flight.base(), flight.end());
        }
        // An answer to an original after the timeout: the path is alive and slow. Nothing we sent again since can
        // have caused it, or that would be among the newly acknowledged.
        if self.timed_out && out.packets > 0 && (out.spurious > 0 || !out.retransmitted_acked) {
            self.timed_out = false;
            out.timeout_spurious = true;
            flight.restore_timed_out();
            self.scan = flight.base();
        }
        if self.recovery_end.is_some_and(|end| flight.base() >= end) {
            self.recovery_end = None;
            self.timed_out = false;
            self.reordering.on_recovered();
        }
    }

    /// See [`SendBuffer::duplicate_ack`](super::SendBuffer::duplicate_ack).
    pub(super) fn on_duplicate_ack(&mut self, flight: &Flight) {
        if self.probe.is_some_and(|probe| probe.arrived) {
            // Original and probe both arrived: nothing was lost.
            self.probe = None;
        }
        // A peer that sends masks and sent none has no gap: it received something twice.
        if self.masks != Masks::Absent && !flight.is_empty() {
            self.duplicates = self.duplicates.saturating_add(1);
            self.duplicate_came = true;
        }
    }

    /// See [`SendBuffer::detect_losses`](super::SendBuffer::detect_losses).
    pub(super) fn detect(&mut self, flight: &mut Flight, now: Instant, rtt: &RttEstimator) -> Option<Lost> {
        self.least_rtt = rtt.min();
        let mut found = Found::default();
        self.judge(flight, now, rtt, &mut found);
        if found.packets > 0 && self.recovery_end.is_none() {
            // Recovery begins, and there the reordering window may be shorter.
            self.recovery_end = Some(flight.end());
            self.judge(flight, now, rtt, &mut found);
        }
        self.duplicate_came = false;
        if found.packets > 0 {
            self.probe = None;
            return self.conclude(flight, &found);
        }
        self.judge_probe(flight)
    }

    /// See [`SendBuffer::loss_deadline`](super::SendBuffer::loss_deadline).
    pub(super) fn deadline(&self, flight: &Flight, rtt: &RttEstimator) -> Option<Instant> {
        let clock = self.clock(Instant::ZERO, rtt)?;
        let original = (self.scan.max(flight.base())..self.reported_end())
            .filter_map(|index| flight.get(index))
            .find(|segment| is_judged_by_scan(segment));
        let resent = self.resent.iter().find(|&&(index, order)| is_live(flight, index, order));
        let resent = resent.and_then(|&(index, _)| flight.get(index));
        let head = flight.head().filter(|segment| segment.is_in_flight());
        let candidates = [head, original, resent];
        candidates.into_iter().flatten().filter_map(|segment| clock.deadline(segment)).min()
    }

    /// See [`SendBuffer::on_timeout`](super::SendBuffer::on_timeout).
    pub(super) fn on_timeout(
        &mut self,
        flight: &mut Flight,
        now: Instant,
        rtt: &RttEstimator,
    ) -> Option<Lost> {
        let head_age = now.since(flight.head()?.last_sent);
        let usual = rtt.smoothed().map_or(head_age, |smoothed| smoothed + rtt.variation() * VARIATIONS);
        // Never more than the age of what certainly timed out.
        let age = (usual + self.reordering.wait(false, rtt)).min(head_age);
        let mut found = Found::default();
        for index in flight.base()..flight.end() {
            let Some(segment) = flight.get(index).filter(|segment| segment.is_in_flight()) else { continue };
            if index == flight.base() || segment.last_sent + age <= now {
                found.lose(flight, index, true);
            }
        }
        self.duplicates = 0;
        self.probe = None;
        self.timed_out |= found.packets > 0;
        self.conclude(flight, &found)
    }

    /// Gives the memory back if nothing is outstanding.
    pub(super) fn release(&mut self, flight: &Flight) {
        if flight.is_empty() {
            self.resent = VecDeque::new();
        }
    }

    /// Whether something after this segment is known to have arrived, as far as masks tell.
    pub(super) fn is_reported_beyond(&self, index: u64) -> bool {
        self.highest[0].is_some_and(|highest| highest > index)
    }

    /// Whether a duplicate acknowledgement came since the first segment last changed, or was last sent.
    pub(super) const fn has_duplicates(&self) -> bool {
        self.duplicates > 0
    }

    /// Bytes of memory taken.
    pub(super) fn memory_bytes(&self) -> usize {
        self.resent.capacity() * size_of::<(u64, u64)>()
    }

    /// The connection gives up: nothing that is outstanding matters any more.
    pub(super) fn clear(&mut self) {
        self.resent = VecDeque::new();
        (self.recovery_end, self.probe, self.timed_out) = (None, None, false);
    }

    fn judge(&mut self, flight: &mut Flight, now: Instant, rtt: &RttEstimator, found: &mut Found) {
        let clock = self.clock(now, rtt);
        self.judge_head(flight, now, rtt, found);
        self.judge_originals(flight, clock, found);
        self.judge_masked(flight, clock, found);
        self.judge_resent(flight, clock, found);
    }

    /// The first segment is missing whatever the mask says.
    fn judge_head(&mut self, flight: &mut Flight, now: Instant, rtt: &RttEstimator, found: &mut Found) {
        let Some(head) = flight.head().filter(|head| head.is_in_flight()) else { return };
        let counted = usize::from(self.duplicates) >= COUNT_THRESHOLD
            && !self.duplicates_mislead
            && !head.late
            && flight.sacked() == 0
            && self.recovery_end.is_none();
        let overdue = head.deferred || self.clock(now, rtt).is_some_and(|clock| clock.is_overdue(head));
        // A full mask cannot report what arrives, but the peer still answers it. An answer this long after the
        // retransmission was caused by something sent after it.
        let in_vain = self.duplicate_came
            && head.is_out_of_turn()
            && head.order + 1 < flight.transmissions()
            && rtt
                .smoothed()
                .is_some_and(|smoothed| head.last_sent + smoothed + rtt.variation() * VARIATIONS <= now);
        if counted && !overdue {
            self.counted_out = Some(flight.base());
        }
        if counted || overdue || in_vain {
            found.lose(flight, flight.base(), false);
            self.judge_run(flight, now, rtt, found);
        }
    }

    /// The first is missing. Once that is all that several acknowledgements in a row have shown, so are those after it,
    /// which were sent before what has arrived since.
    fn judge_run(&mut self, flight: &mut Flight, now: Instant, rtt: &RttEstimator, found: &mut Found) {
        let Some(clock) = self.clock(now, rtt).filter(|_| self.recovery_end.is_some()) else { return };
        self.run += 1;
        let reach = self.run.checked_sub(RUN_MIN).map_or(0, |beyond| 1 << beyond.min(RUN_MAX));
        for index in flight.base() + 1..(flight.base() + 1 + reach).min(flight.end()) {
            let overdue = |segment: &Segment| segment.is_in_flight() && clock.is_overdue(segment);
            if flight.get(index).is_some_and(overdue) {
                found.lose(flight, index, false);
            }
        }
    }

    /// First transmissions, up to the highest segment reported.
    fn judge_originals(&mut self, flight: &mut Flight, clock: Option<Clock>, found: &mut Found) {
        let [_, _, third] = self.highest;
        let by_count = third.filter(|_| !self.reordering.is_seen()).unwrap_or_default();
        self.scan = self.scan.max(flight.base());
        while self.scan < self.reported_end() {
            if let Some(segment) = flight.get(self.scan)
                && is_judged_by_scan(segment)
            {
                let certain = segment.deferred || self.scan < by_count;
                if !certain && !clock.is_some_and(|clock| clock.is_overdue(segment)) {
                    break;
                }
                found.lose(flight, self.scan, false);
            }
            self.scan += 1;
        }
    }

    /// Above the highest segment reported, but shown as missing by the latest mask. No more of them than the mask
    /// has bits.
    fn judge_masked(&self, flight: &mut Flight, clock: Option<Clock>, found: &mut Found) {
        let Some(clock) = clock else { return };
        for index in self.reported_end().max(flight.base())..self.mask_end {
            let Some(segment) = flight.get(index).filter(|segment| segment.is_in_flight()) else { continue };
            if segment.deferred || clock.is_overdue(segment) {
                found.lose(flight, index, false);
            } else if !segment.is_out_of_turn() {
                // Whatever comes after a first transmission was sent after it, each time.
                break;
            }
        }
    }

    /// Retransmissions: by time only, wherever the peer's mask can show them.
    fn judge_resent(&mut self, flight: &mut Flight, clock: Option<Clock>, found: &mut Found) {
        while let Some(&(index, order)) = self.resent.front() {
            if is_live(flight, index, order) {
                if !clock.zip(flight.get(index)).is_some_and(|(clock, segment)| clock.is_overdue(segment)) {
                    break;
                }
                if index < self.reported_end().max(self.mask_end) {
                    found.lose(flight, index, false);
                } else {
                    flight.defer(index);
                }
            }
            self.resent.pop_front();
        }
    }

    /// A probe arrived, and so did something sent after it, and the peer never said that it had the original: it
    /// repaired a loss (RFC 8985 §7.4.2).
    fn judge_probe(&mut self, flight: &Flight) -> Option<Lost> {
        let probe = self.probe.filter(|probe| probe.arrived && flight.base() > probe.index + 1)?;
        self.probe = None;
        let mut found = Found::default();
        found.add(&probe.original);
        let new_epoch = self.begins_epoch(flight, &found);
        found.report(new_epoch)
    }

    fn conclude(&mut self, flight: &Flight, found: &Found) -> Option<Lost> {
        let new_epoch = self.begins_epoch(flight, found);
        let lost = found.report(new_epoch)?;
        if new_epoch || self.recovery_end.is_none() {
            self.recovery_end = Some(flight.end());
        }
        Some(lost)
    }

    fn begins_epoch(&mut self, flight: &Flight, found: &Found) -> bool {
        let begins = found.newest.is_some_and(|(order, _)| order >= self.epoch);
        if begins {
            self.epoch = flight.transmissions();
        }
        begins
    }

    fn report(&mut self, index: u64) {
        let mut carried = Some(index);
        for slot in &mut self.highest {
            (*slot, carried) = (carried.max(*slot), carried.min(*slot));
        }
    }

    /// Up to here masks have reached: what is below and not reported is missing.
    fn reported_end(&self) -> u64 {
        self.highest[0].unwrap_or_default()
    }

    fn clock(&self, now: Instant, rtt: &RttEstimator) -> Option<Clock> {
        let newest = self.newest_delivered?;
        let wait = self.reordering.wait(self.recovery_end.is_some(), rtt);
        Some(Clock { now, sent_before: newest.order, patience: newest.rtt + wait })
    }
}

/// When time declares a transmission lost.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Instant,
    /// Only transmissions before this one, which arrived, are in question.
    sent_before: u64,
    patience: Duration,
}

impl Clock {
    fn deadline(&self, segment: &Segment) -> Option<Instant> {
        (segment.order < self.sent_before).then_some(segment.last_sent + self.patience)
    }

    fn is_overdue(&self, segment: &Segment) -> bool {
        self.deadline(segment).is_some_and(|deadline| deadline <= self.now)
    }
}

/// Losses found by one look.
#[derive(Debug, Default)]
struct Found {
    packets: u32,
    bytes: u32,
    /// Order and time of the newest lost transmission.
    newest: Option<(u64, Instant)>,
}

impl Found {
    fn lose(&mut self, flight: &mut Flight, index: u64, timed_out: bool) {
        if let Some(segment) = flight.get(index) {
            self.add(segment);
            flight.lose(index, timed_out);
        }
    }

    fn add(&mut self, segment: &Segment) {
        self.packets += 1;
        self.bytes += u32::from(segment.len);
        self.newest = self.newest.max(Some((segment.order, segment.last_sent)));
    }

    fn report(&self, new_epoch: bool) -> Option<Lost> {
        let (_, newest_sent_at) = self.newest?;
        Some(Lost { packets: self.packets, bytes: self.bytes, newest_sent_at, new_epoch })
    }
}

fn is_judged_by_scan(segment: &Segment) -> bool {
    segment.is_in_flight() && (!segment.is_out_of_turn() || segment.deferred)
}

fn is_live(flight: &Flight, index: u64, order: u64) -> bool {
    flight.get(index).is_some_and(|segment| segment.is_in_flight() && segment.order == order)
}

/// Index after the last segment that this mask shows, set or not.
fn mask_end(flight: &Flight, ack: SeqNr, sack: Sack<'_>) -> u64 {
    let bits = (sack.as_bytes().len() as u64 * 8).saturating_sub(MASK_BITS_UNUSED);
    let Some(steps) = flight.steps_to(ack) else { return 0 };
    // The first bit stands for the acknowledgement + 2; one step leads to the first segment.
    let first = flight.base().saturating_add_signed(steps + 1);
    (first + bits).min(flight.end())
}
