//! The sending half again, the slow way: every segment ever sent in one list, and every rule a look at all of them.
//!
//! Shares only the reordering window with the real one, which has tests of its own. Indices are absolute; numbers on
//! a circle, queues and pointers do not exist here.

use super::*;
use crate::proto::send::reorder::ReorderingWindow;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Flying,
    Lost,
    Reported,
    Acked,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) place: Place,
    pub(super) queued: bool,
    len: u32,
    last: Instant,
    order: u64,
    times: u32,
    /// A retransmission that time has declared lost.
    condemned: bool,
    timed_out: bool,
}

#[derive(Debug, Default)]
pub(super) struct Verdict {
    packets: u32,
    bytes: u32,
    newest: Option<(u64, Instant)>,
}

pub(super) struct Naive {
    pub(super) all: Vec<Sent>,
    pub(super) base: usize,
    orders: u64,
    newest: Option<(u64, Duration)>,
    mask_end: usize,
    ever_reported: Vec<usize>,
    reordering: ReorderingWindow,
    recovery_end: Option<usize>,
    epoch: u64,
    masks: (bool, bool),
    run: u32,
    duplicates: u32,
    duplicate_came: bool,
    counted_out: Option<usize>,
    mislead: bool,
    timed_out: bool,
    /// Index, the original, when the probe went out, whether its answer came.
    probe: Option<(usize, Sent, Option<Instant>, bool)>,
    least: Option<Duration>,
}

impl Naive {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            base: 0,
            orders: 0,
            newest: None,
            mask_end: 0,
            ever_reported: Vec::new(),
            reordering: ReorderingWindow::new(),
            recovery_end: None,
            epoch: 0,
            masks: (false, false),
            run: 0,
            duplicates: 0,
            duplicate_came: false,
            counted_out: None,
            mislead: false,
            timed_out: false,
            probe: None,
            least: None,
        }
    }

    pub(super) fn send_new(&mut self, len: u16, now: Instant) {
        self.all.push(Sent {
            place: Place::Flying,
            queued: false,
            len: u32::from(len),
            last: now,
            order: self.orders,
            times: 1,
            condemned: false,
            timed_out: false,
        });
        self.orders += 1;
    }

    pub(super) fn send_again(&mut self, index: usize, now: Instant) {
        let was_flying = self.all[index].place == Place::Flying;
        if let Some((probed, _, sent, _)) = &mut self.probe
            && *probed == index
        {
            *sent = was_flying.then_some(now);
            if !was_flying {
                self.probe = None;
            }
        }
        if index == self.base {
            self.duplicates = 0;
        }
        let sent = &mut self.all[index];
        (sent.place, sent.queued, sent.condemned, sent.timed_out) = (Place::Flying, false, false, false);
        (sent.last, sent.order, sent.times) = (now, self.orders, sent.times + 1);
        self.orders += 1;
    }

    pub(super) fn in_flight(&self) -> (u32, u32) {
        let flying = self.all.iter().filter(|sent| sent.place == Place::Flying);
        flying.fold((0, 0), |(packets, bytes), sent| (packets + 1, bytes + sent.len))
    }

    pub(super) fn acknowledge(&mut self, now: Instant, ack: usize, mask: Option<&[u8]>) -> AckOutcome {
        let (mut out, before) = (AckOutcome::default(), self.ever_reported.iter().copied().max());
        self.masks = (self.masks.0 || mask.is_some(), mask.is_some());
        let bits = mask.map_or(0, |mask| (mask.len() * 8).saturating_sub(2));
        self.mask_end = if mask.is_some() { (ack + 1 + bits).min(self.all.len()) } else { 0 };
        let (mut newest, mut too_early, mut original) = (None, false, false);
        let cumulative = (self.base..ack).map(|index| (index, false));
        let set = (0..mask.map_or(0, |mask| mask.len() * 8))
            .filter(|bit| mask.unwrap()[bit / 8] & (1 << (bit % 8)) != 0)
            .map(|bit| (ack + 1 + bit, true));
        for (index, reported) in cumulative.chain(set).collect::<Vec<_>>() {
            if index < self.base || index >= self.all.len() {
                continue;
            }
            if matches!(self.all[index].place, Place::Flying | Place::Lost) {
                let overtaken = before.is_some_and(|highest| index < highest);
                original |= self.all[index].times == 1;
                too_early |= self.deliver(now, index, overtaken, &mut out);
                newest = newest.max(Some((self.all[index].order, self.all[index].last)));
                if reported {
                    self.ever_reported.push(index);
                }
            }
            self.all[index].place = if reported { Place::Reported } else { Place::Acked };
            self.all[index].queued = false;
        }
        if original || mask.is_some() {
            self.run = 0;
        }
        out.advanced = ack > self.base;
        self.base = self.base.max(ack);
        out.newest_sent_at = newest.map(|(_, at)| at);
        out.rtt = out.newest_sent_at.filter(|_| !out.retransmitted_acked).map(|at| now.since(at));
        self.settle(too_early, &mut out);
        out
    }

    fn deliver(&mut self, now: Instant, index: usize, overtaken: bool, out: &mut AckOutcome) -> bool {
        let sent = &self.all[index];
        let (resent, age) = (sent.times > 1, now.since(sent.last));
        let too_soon = resent && self.least.is_some_and(|least| age < least);
        out.bytes += sent.len;
        out.packets += 1;
        out.retransmitted_acked |= resent;
        out.spurious += u32::from(too_soon);
        self.mislead |= too_soon && self.counted_out == Some(index);
        if overtaken && !resent {
            out.reordered += 1;
            self.reordering.on_reordering();
        }
        if !too_soon && self.newest.is_none_or(|(order, _)| sent.order > order) {
            self.newest = Some((sent.order, age));
        }
        let hasty = sent.place == Place::Lost && !resent && !sent.timed_out;
        if let Some((probed, _, at, arrived)) = &mut self.probe
            && *probed == index
        {
            *arrived = at.is_some() && !too_soon;
            if !*arrived {
                self.probe = None;
            }
        }
        overtaken && (too_soon || hasty)
    }

    fn settle(&mut self, too_early: bool, out: &mut AckOutcome) {
        if out.advanced {
            self.duplicates = 0;
        }
        if too_early {
            self.reordering.on_given_up_too_soon(self.base as u64, self.all.len() as u64);
        }
        if self.timed_out && out.packets > 0 && (out.spurious > 0 || !out.retransmitted_acked) {
            (self.timed_out, out.timeout_spurious) = (false, true);
            for sent in self.all.iter_mut().filter(|sent| sent.place == Place::Lost) {
                if sent.timed_out && sent.times == 1 {
                    (sent.place, sent.queued, sent.timed_out) = (Place::Flying, false, false);
                }
            }
        }
        if self.recovery_end.is_some_and(|end| self.base >= end) {
            (self.recovery_end, self.timed_out) = (None, false);
            self.reordering.on_recovered();
        }
    }

    pub(super) fn duplicate_ack(&mut self) {
        self.probe = self.probe.take().filter(|(_, _, _, arrived)| !arrived);
        let (ever, latest) = self.masks;
        if (latest || !ever) && self.base < self.all.len() {
            self.duplicates += 1;
            self.duplicate_came = true;
        }
    }

    fn is_overdue(&self, sent: &Sent, now: Instant, wait: Duration) -> bool {
        self.newest.is_some_and(|(order, rtt)| sent.order < order && sent.last + rtt + wait <= now)
    }

    pub(super) fn detect(&mut self, now: Instant, rtt: &RttEstimator) -> Option<Lost> {
        self.least = rtt.min();
        let mut lost = self.judge(now, rtt, &[]);
        if !lost.is_empty() && self.recovery_end.is_none() {
            self.recovery_end = Some(self.all.len());
            lost.extend(self.judge(now, rtt, &lost));
        }
        self.duplicate_came = false;
        if lost.is_empty() { self.judge_probe() } else { self.lose(&lost, false) }
    }

    fn judge(&mut self, now: Instant, rtt: &RttEstimator, already: &[usize]) -> Vec<usize> {
        let wait = self.reordering.wait(self.recovery_end.is_some(), rtt);
        let reported_end = self.ever_reported.iter().max().map_or(0, |highest| highest + 1);
        let (mut lost, mut run_end) = (Vec::new(), self.base);
        for index in self.base..self.all.len() {
            let sent = &self.all[index];
            if sent.place != Place::Flying || already.contains(&index) {
                continue;
            }
            let above = self.ever_reported.iter().filter(|&&other| other > index).count();
            let counted = above >= 3 && sent.times == 1 && !self.reordering.is_seen();
            let overdue = sent.condemned || self.is_overdue(sent, now, wait);
            let visible = index < reported_end.max(self.mask_end) || index == self.base;
            if index == self.base && !overdue && self.is_head_counted_out() {
                self.counted_out = Some(index);
            }
            let in_run = index < run_end && self.is_overdue(sent, now, wait);
            let head = index == self.base && self.is_head_lost(now, rtt);
            if counted || in_run || (overdue && visible) || head {
                lost.push(index);
                if (head || overdue) && index == self.base && self.recovery_end.is_some() {
                    self.run += 1;
                    run_end = index + 1 + if self.run < 3 { 0 } else { 1 << (self.run - 3).min(15) };
                }
            } else if overdue && sent.times > 1 {
                self.all[index].condemned = true;
            }
        }
        lost
    }

    fn is_head_lost(&self, now: Instant, rtt: &RttEstimator) -> bool {
        let head = &self.all[self.base];
        let usual = rtt.smoothed().map(|smoothed| smoothed + rtt.variation() * 4);
        let late = usual.is_some_and(|usual| head.last + usual <= now);
        self.is_head_counted_out()
            || (self.duplicate_came && head.times > 1 && head.order + 1 < self.orders && late)
    }

    fn is_head_counted_out(&self) -> bool {
        let silent = !self.all[self.base..].iter().any(|sent| sent.place == Place::Reported);
        self.duplicates >= 3 && !self.mislead && silent && self.recovery_end.is_none()
    }

    fn judge_probe(&mut self) -> Option<Lost> {
        let (index, original, ..) = self.probe.clone().filter(|&(_, _, _, arrived)| arrived)?;
        if self.base <= index + 1 {
            return None;
        }
        self.probe = None;
        let newest = Some((original.order, original.last));
        self.report(&Verdict { packets: 1, bytes: original.len, newest }).0
    }

    pub(super) fn time_out(&mut self, now: Instant, rtt: &RttEstimator) -> Option<Lost> {
        let head = self.all.get(self.base)?;
        let age = now.since(head.last);
        let usual = rtt.smoothed().map_or(age, |smoothed| smoothed + rtt.variation() * 4);
        let age = age.min(usual + self.reordering.wait(false, rtt));
        let old: Vec<_> = (self.base..self.all.len())
            .filter(|&index| self.all[index].place == Place::Flying)
            .filter(|&index| index == self.base || self.all[index].last + age <= now)
            .collect();
        self.duplicates = 0;
        self.timed_out |= !old.is_empty();
        self.lose(&old, true)
    }

    fn lose(&mut self, indices: &[usize], timed_out: bool) -> Option<Lost> {
        let mut verdict = Verdict::default();
        for &index in indices {
            let sent = &mut self.all[index];
            (sent.place, sent.queued, sent.condemned) = (Place::Lost, true, false);
            sent.timed_out = timed_out;
            verdict.packets += 1;
            verdict.bytes += sent.len;
            verdict.newest = verdict.newest.max(Some((sent.order, sent.last)));
        }
        self.probe = None;
        let (lost, new_epoch) = self.report(&verdict);
        if lost.is_some() && (new_epoch || self.recovery_end.is_none()) {
            self.recovery_end = Some(self.all.len());
        }
        lost
    }

    fn report(&mut self, verdict: &Verdict) -> (Option<Lost>, bool) {
        let Some((order, newest_sent_at)) = verdict.newest else { return (None, false) };
        let new_epoch = order >= self.epoch;
        if new_epoch {
            self.epoch = self.orders;
        }
        let (packets, bytes) = (verdict.packets, verdict.bytes);
        (Some(Lost { packets, bytes, newest_sent_at, new_epoch }), new_epoch)
    }

    pub(super) fn queue_tail_probe(&mut self) -> bool {
        if self.all.iter().any(|sent| sent.queued) {
            return false;
        }
        let unreported = |index: &usize| self.all[*index].place != Place::Reported;
        let Some(index) = (self.base..self.all.len()).rev().find(unreported) else { return false };
        self.probe = Some((index, self.all[index].clone(), None, false));
        self.all[index].queued = true;
        true
    }
}
