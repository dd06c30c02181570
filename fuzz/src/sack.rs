//! The sending half under acknowledgements and masks that no honest receiver would give, against a list of segments.
//!
//! Which segments are given up is for the sending half to judge (its own tests compare that with a second
//! implementation, over an honest network); here whatever a peer claims must leave the books balanced.

use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::congestion::RttEstimator;
use ebbtide::proto::send::{SegmentKind, SegmentRef, SendBuffer};
use ebbtide::wire::{Sack, SeqNr};

use super::pattern::stretch;
use super::script::Script;

/// A byte string writes, sends, loses and acknowledges.
pub fn sack(input: &[u8]) {
    let mut script = Script::new(input);
    let mut books = Books::new(&mut script);
    while !script.is_over() {
        books.step(&mut script);
        books.check();
    }
    books.end();
}

#[derive(Debug)]
struct Segment {
    from: usize,
    len: usize,
    kind: SegmentKind,
    /// Reported by a mask.
    reported: bool,
    /// Overtaken by later ones before it was ever sent.
    kept_back: bool,
}

/// Every segment ever sent, and what the peer has claimed about it.
struct Books {
    send: SendBuffer,
    rtt: RttEstimator,
    now: Instant,
    first: SeqNr,
    sent: Vec<Segment>,
    /// Acknowledged up to here.
    base: usize,
    /// Segments and bytes from `base` on that no mask has reported.
    open: (usize, usize),
    written: usize,
    cut: usize,
}

impl Books {
    fn new(script: &mut Script<'_>) -> Self {
        let first = SeqNr::new(script.short());
        let mut send = SendBuffer::new(8192);
        send.start(first);
        Self {
            send,
            rtt: RttEstimator::new(Duration::from_millis(500)),
            now: Instant::from_micros(1_000_000),
            first,
            sent: Vec::new(),
            base: 0,
            open: (0, 0),
            written: 0,
            cut: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 12 {
            0 => self.write(usize::from(script.byte()) * 32 + 1),
            1 => {
                let (count, flags) = (script.byte(), script.byte());
                let payload_max = [100, 1, 1400, 37][usize::from(flags & 3)];
                (0..count).for_each(|_| self.send_new(payload_max, flags & 4 != 0));
            }
            2 => (0..script.byte()).for_each(|_| self.send_again()),
            3 => {
                let steps = script.byte();
                self.acknowledge(steps.into(), Some(script.counted()));
            }
            4 => {
                let steps = script.short();
                self.acknowledge(steps.into(), None);
            }
            5 => self.acknowledge_run(script),
            6 => self.send.duplicate_ack(),
            7 => self.now = self.now + Duration::from_millis(script.byte().into()),
            8 => self.detect(),
            9 => self.time_out(),
            10 => self.probe(),
            _ => match script.byte() & 7 {
                7 => self.send.finish(),
                5 => self.keep_back(),
                6 => self.send_kept_back(),
                _ => self.send.note_echo(Duration::from_micros(script.word().into())),
            },
        }
    }

    fn write(&mut self, len: usize) {
        let room = self.send.free_bytes();
        let taken = self.send.write(stretch(self.written, len));
        assert_eq!(taken, len.min(room));
        self.written += taken;
    }

    fn send_new(&mut self, payload_max: u16, hold_small: bool) {
        self.cut_new(payload_max, hold_small, false);
    }

    /// A new segment is sent, or gets its number only.
    fn cut_new(&mut self, payload_max: u16, hold_small: bool, kept_back: bool) {
        let Some(segment) = self.send.peek_new(payload_max, hold_small) else { return };
        assert_eq!(segment.seq, self.number(self.sent.len()));
        assert!(!segment.is_retransmission() && segment.len <= payload_max);
        let len = usize::from(segment.len);
        self.sent.push(Segment { from: self.cut, len, kind: segment.kind, reported: false, kept_back });
        self.cut += len;
        self.open = (self.open.0 + 1, self.open.1 + len);
        if kept_back {
            self.send.keep_back(&segment, self.now);
        } else {
            self.fill(&segment, self.sent.len() - 1);
        }
    }

    fn keep_back(&mut self) {
        if self.send.peek_kept_back().is_none() && self.send.unsent_bytes() > 0 {
            self.cut_new(100, false, true);
        }
    }

    fn send_kept_back(&mut self) {
        let Some(segment) = self.send.peek_kept_back() else { return };
        let index = self.index_of(&segment);
        assert!(self.sent[index].kept_back && !self.sent[index].reported, "{segment:?}");
        self.fill(&segment, index);
        self.sent[index].kept_back = false;
    }

    fn index_of(&self, segment: &SegmentRef) -> usize {
        self.base + usize::from((segment.seq - self.number(self.base).get()).get())
    }

    fn send_again(&mut self) {
        let Some(segment) = self.send.peek_lost() else { return assert!(!self.send.has_lost()) };
        let index = self.index_of(&segment);
        let sent = &self.sent[index];
        assert!(segment.is_retransmission() && !sent.reported && !sent.kept_back, "{segment:?}");
        self.fill(&segment, index);
    }

    /// A number stands for the same bytes for ever.
    fn fill(&mut self, segment: &SegmentRef, index: usize) {
        let Segment { from, len, kind, .. } = self.sent[index];
        assert_eq!((usize::from(segment.len), segment.kind), (len, kind));
        let mut payload = vec![0; len];
        self.send.fill(segment, &mut payload);
        assert!(payload == stretch(from, len));
        self.send.sent(segment, self.now);
    }

    fn number(&self, index: usize) -> SeqNr {
        self.first + index as u16
    }

    /// Claims that so many more have arrived in order, and those that the mask shows.
    fn acknowledge(&mut self, steps: usize, mask: Option<&[u8]>) {
        let ack = self.base + steps % (self.sent.len() - self.base + 1);
        let (mut packets, mut bytes, mut fin_acked, mut lied) = (0, 0, false, false);
        for segment in &self.sent[self.base..ack] {
            lied |= segment.kept_back;
            if !segment.reported {
                (packets, bytes) = (packets + 1, bytes + segment.len);
            }
            fin_acked |= segment.kind == SegmentKind::Fin;
        }
        for bit in 0..mask.map_or(0, |mask| mask.len() * 8) {
            let set = mask.is_some_and(|mask| mask[bit / 8] & (1 << (bit % 8)) != 0);
            if let Some(segment) = self.sent.get_mut(ack + 1 + bit).filter(|segment| set && !segment.reported)
            {
                (packets, bytes) = (packets + 1, bytes + segment.len);
                segment.reported = true;
                lied |= std::mem::take(&mut segment.kept_back);
            }
        }
        let number = self.number(ack).prev();
        let outcome = self.send.acknowledge(self.now, number, mask.map(Sack::new));
        assert_eq!((outcome.packets as usize, outcome.bytes as usize), (packets, bytes), "{outcome:?}");
        assert_eq!((outcome.advanced, outcome.fin_acked), (ack > self.base, fin_acked), "{outcome:?}");
        assert_eq!(outcome.lied, lied, "{outcome:?}");
        self.base = ack;
        self.open = (self.open.0 - packets, self.open.1 - bytes);
        if let Some(rtt) = outcome.rtt {
            self.rtt.sample(rtt);
        }
    }

    /// A mask with one run of bits, which may lie anywhere.
    fn acknowledge_run(&mut self, script: &mut Script<'_>) {
        let (steps, from, len) = (script.byte(), script.short() % 2040, script.byte());
        let mut mask = vec![0; 255];
        for bit in (from..2040).take(len.into()) {
            mask[usize::from(bit / 8)] |= 1 << (bit % 8);
        }
        self.acknowledge(steps.into(), Some(&mask));
    }

    fn detect(&mut self) {
        let before = self.send.packets_in_flight();
        let lost = self.send.detect_losses(self.now, &self.rtt);
        let gone = before - self.send.packets_in_flight();
        assert!(gone <= lost.map_or(0, |lost| lost.packets), "{gone} of {lost:?}");
        if let Some(deadline) = self.send.loss_deadline(&self.rtt) {
            assert!(deadline > self.now, "what is due is found at once");
        }
    }

    fn time_out(&mut self) {
        let before = self.send.packets_in_flight();
        let lost = self.send.on_timeout(self.now, &self.rtt);
        let gone = before - self.send.packets_in_flight();
        assert_eq!(gone, lost.map_or(0, |lost| lost.packets));
    }

    fn probe(&mut self) {
        let waiting = self.send.has_lost();
        let queued = self.send.queue_tail_probe();
        let last = self.sent[self.base..].iter().rev().find(|segment| !segment.reported);
        assert_eq!(queued, !waiting && last.is_some_and(|segment| !segment.kept_back));
    }

    fn check(&self) {
        let send = &self.send;
        assert_eq!(send.next_seq(), self.number(self.sent.len()));
        assert_eq!(send.last_acked(), self.number(self.base).prev());
        assert_eq!(send.outstanding(), self.sent.len() - self.base);
        let acked = self.sent.get(self.base).map_or(self.cut, |segment| segment.from);
        assert_eq!(send.queued_bytes(), self.written - acked);
        assert_eq!(send.unsent_bytes(), self.written - self.cut);
        let flying = (send.packets_in_flight() as usize, send.bytes_in_flight() as usize);
        assert!(flying.0 <= self.open.0 && flying.1 <= self.open.1, "{flying:?} of {:?} fly", self.open);
        if !send.has_lost() {
            assert_eq!(flying, self.open, "what is neither lost nor reported flies");
        }
        assert_eq!(send.oldest_sent_at().is_some(), send.outstanding() > 0);
        let all = self.base == self.sent.len() && self.written == self.cut;
        let ended = self.sent.last().is_some_and(|segment| segment.kind == SegmentKind::Fin);
        assert_eq!(send.is_all_acked(), all && (ended || !send.is_finishing()));
    }

    /// Everything lost is sent again, everything is sent and acknowledged: nothing is left.
    fn end(mut self) {
        self.send_kept_back();
        while self.send.has_lost() {
            self.send_again();
        }
        self.check();
        self.send.finish();
        for _ in 0..9000 {
            self.send_new(1400, false);
            if self.send.fin_seq().is_some() {
                break;
            }
        }
        self.acknowledge(self.sent.len() - self.base, None);
        self.check();
        assert!(self.send.is_all_acked() && self.send.bytes_in_flight() == 0);
        assert_eq!(self.cut, self.written, "acknowledged means sent");
    }
}
