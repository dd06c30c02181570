//! The sending half against the naive one, across an honest network that loses, repeats and reorders, towards
//! receivers with every kind of mask seen in the wild.

use proptest::prelude::*;

use super::naive::{Naive, Place};
use super::*;

/// What the peer's masks are like.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// As long as needed, up to 252 bytes.
    Ours,
    /// Always 4 bytes, of which 30 bits are used.
    Libutp,
    /// As many bits as the received packets span, but counted from the gap.
    Libtorrent,
    NoMasks,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// Once enough was written to make it interesting.
    Finish,
    SendNew {
        segments: usize,
        payload_max: u16,
        hold_small: bool,
    },
    Resend(usize),
    /// Of what is under way to the peer, this one (modulo) arrives, and the peer answers if told to.
    Arrive {
        which: usize,
        answers: bool,
    },
    /// Everything under way arrives in order, but each `lost`th.
    ArriveMany {
        lost: usize,
    },
    Drop(usize),
    /// The answer arrives that was given as this one (modulo), with bits for numbers never sent if told to.
    Answer {
        which: usize,
        babble: bool,
    },
    DropAnswers,
    Wait(u64),
    TimeOut,
    Probe,
    Detect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let payload_max = prop_oneof![Just(100_u16), 1..150_u16];
    let step = prop_oneof![
        3 => (1..2000_usize).prop_map(Step::Write),
        1 => Just(Step::Finish),
        6 => (1..40_usize, payload_max, any::<bool>()).prop_map(|(segments, payload_max, hold_small)| {
            Step::SendNew { segments, payload_max, hold_small }
        }),
        5 => (1..12_usize).prop_map(Step::Resend),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, answers)| Step::Arrive { which, answers }),
        6 => (2..20_usize).prop_map(|lost| Step::ArriveMany { lost }),
        2 => any::<usize>().prop_map(Step::Drop),
        12 => (prop_oneof![3 => Just(0_usize), 1 => any::<usize>()], any::<bool>())
            .prop_map(|(which, babble)| Step::Answer { which, babble }),
        1 => Just(Step::DropAnswers),
        6 => (0..30_u64).prop_map(Step::Wait),
        1 => (200..600_u64).prop_map(Step::Wait),
        1 => Just(Step::TimeOut),
        1 => Just(Step::Probe),
        3 => Just(Step::Detect),
    ];
    prop::collection::vec(step, 1..250)
}

fn peers() -> impl Strategy<Value = Peer> {
    prop_oneof![Just(Peer::Ours), Just(Peer::Libutp), Just(Peer::Libtorrent), Just(Peer::NoMasks)]
}

/// How many have arrived in order, and the mask. With when it was given it makes an answer.
type Answer = (usize, Option<Vec<u8>>);

struct World {
    peer: Peer,
    send: SendBuffer,
    naive: Naive,
    rtt: RttEstimator,
    now: Instant,
    written: Vec<u8>,
    /// What the numbers stand for, from their first transmission on.
    contents: Vec<(SegmentKind, Vec<u8>)>,
    under_way: Vec<usize>,
    arrived: Vec<bool>,
    answers: Vec<Answer>,
}

impl World {
    fn new(peer: Peer) -> Self {
        let mut send = SendBuffer::new(60_000);
        send.start(SeqNr::new(FIRST));
        Self {
            peer,
            send,
            naive: Naive::new(),
            rtt: RttEstimator::new(Duration::from_millis(250)),
            now: Instant::from_micros(1),
            written: Vec::new(),
            contents: Vec::new(),
            under_way: Vec::new(),
            arrived: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write(len) => self.write(len),
            Step::Finish if self.written.len() < 20_000 => {}
            Step::Finish => self.send.finish(),
            Step::SendNew { segments, payload_max, hold_small } => {
                (0..segments).for_each(|_| self.send_new(payload_max, hold_small));
            }
            Step::Resend(count) => (0..count).for_each(|_| self.resend()),
            Step::Arrive { which, answers } => self.arrive(which, answers),
            Step::ArriveMany { lost } => self.arrive_many(lost),
            Step::Drop(which) if !self.under_way.is_empty() => {
                self.under_way.remove(which % self.under_way.len());
            }
            Step::Drop(_) => {}
            Step::Answer { which, babble } => self.answer(which, babble),
            Step::DropAnswers => self.answers.clear(),
            Step::Wait(millis) => self.now = self.now + Duration::from_millis(millis),
            Step::TimeOut => self.time_out(),
            Step::Probe => assert_eq!(self.send.queue_tail_probe(), self.naive.queue_tail_probe()),
            Step::Detect => self.detect(),
        }
        self.check();
    }

    fn write(&mut self, len: usize) {
        let from = self.written.len();
        let data: Vec<u8> = (from..from + len).map(|at| (at % 251) as u8).collect();
        let taken = self.send.write(&data);
        self.written.extend_from_slice(&data[..taken]);
    }

    fn send_new(&mut self, payload_max: u16, hold_small: bool) {
        let Some(segment) = self.send.peek_new(payload_max, hold_small) else { return };
        assert_eq!(segment.seq, SeqNr::new(FIRST) + self.contents.len() as u16);
        let mut payload = vec![0; usize::from(segment.len)];
        self.send.fill(&segment, &mut payload);
        self.send.sent(&segment, self.now);
        self.naive.send_new(segment.len, self.now);
        self.under_way.push(self.contents.len());
        self.contents.push((segment.kind, payload));
        self.arrived.push(false);
    }

    fn resend(&mut self) {
        let Some(segment) = self.send.peek_lost() else { return };
        let index = self.index_of(segment.seq);
        assert!(self.naive.all[index].queued, "{index} was not to be sent again");
        assert_ne!(self.naive.all[index].place, Place::Reported);
        let mut payload = vec![0; usize::from(segment.len)];
        self.send.fill(&segment, &mut payload);
        assert_eq!((segment.kind, payload), self.contents[index], "a number stands for the same for ever");
        self.send.sent(&segment, self.now);
        self.naive.send_again(index, self.now);
        self.under_way.push(index);
    }

    fn index_of(&self, seq: SeqNr) -> usize {
        self.naive.base + usize::from((seq - self.send.last_acked().get()).get()) - 1
    }

    fn arrive(&mut self, which: usize, answers: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let index = self.under_way.remove(which % self.under_way.len());
        self.arrived[index] = true;
        if answers {
            self.give_answer();
        }
    }

    fn arrive_many(&mut self, lost: usize) {
        for (place, index) in std::mem::take(&mut self.under_way).into_iter().enumerate() {
            if place % lost != lost - 1 {
                self.arrived[index] = true;
                if place % 3 == 0 {
                    self.give_answer();
                }
            }
        }
        self.give_answer();
    }

    fn give_answer(&mut self) {
        let ack = self.arrived.iter().take_while(|&&arrived| arrived).count();
        let held: Vec<usize> = (ack..self.arrived.len()).filter(|&index| self.arrived[index]).collect();
        let (Some(first), Some(last)) = (held.first(), held.last()) else {
            return self.answers.push((ack, None));
        };
        let bits = match self.peer {
            Peer::NoMasks => return self.answers.push((ack, None)),
            Peer::Ours => (last - ack).next_multiple_of(32).min(2016),
            Peer::Libutp => 32,
            Peer::Libtorrent => (last + 1 - first).next_multiple_of(8),
        };
        let usable = if matches!(self.peer, Peer::Libutp) { 30 } else { bits };
        let mut mask = vec![0; bits / 8];
        for bit in held.iter().map(|index| index - ack - 1).filter(|&bit| bit < usable) {
            mask[bit / 8] |= 1 << (bit % 8);
        }
        self.answers.push((ack, Some(mask)));
    }

    fn answer(&mut self, which: usize, babble: bool) {
        if self.answers.is_empty() {
            return;
        }
        let (ack, mut mask) = self.answers.remove(which % self.answers.len());
        if let Some(mask) = &mut mask
            && babble
        {
            let beyond = self.contents.len().saturating_sub(ack + 1);
            (beyond..mask.len() * 8).for_each(|bit| mask[bit / 8] |= 1 << (bit % 8));
        }
        let seq = SeqNr::new(FIRST) + ack as u16 - 1;
        let outcome = self.send.acknowledge(self.now, seq, mask.as_deref().map(Sack::new));
        assert_eq!(outcome.fin_acked, self.is_newly_ended(ack, outcome.advanced));
        let expected = self.naive.acknowledge(self.now, ack, mask.as_deref());
        assert_eq!(AckOutcome { fin_acked: false, ..outcome }, expected);
        if let Some(rtt) = outcome.rtt {
            self.rtt.sample(rtt);
        }
        if outcome.packets == 0 && ack == self.naive.base {
            self.send.duplicate_ack();
            self.naive.duplicate_ack();
        }
        self.detect();
    }

    fn is_newly_ended(&self, ack: usize, advanced: bool) -> bool {
        advanced && self.contents[ack - 1].0 == SegmentKind::Fin
    }

    fn detect(&mut self) {
        let lost = self.send.detect_losses(self.now, &self.rtt);
        assert_eq!(lost, self.naive.detect(self.now, &self.rtt));
        let deadline = self.send.loss_deadline(&self.rtt);
        assert!(deadline.is_none_or(|deadline| deadline > self.now), "what is due is found at once");
    }

    fn time_out(&mut self) {
        let lost = self.send.on_timeout(self.now, &self.rtt);
        assert_eq!(lost, self.naive.time_out(self.now, &self.rtt));
    }

    fn check(&self) {
        let naive = self.naive.in_flight();
        assert_eq!((self.send.packets_in_flight(), self.send.bytes_in_flight()), naive);
        assert_eq!(self.send.has_lost(), self.naive.all.iter().any(|sent| sent.queued));
        assert_eq!(self.send.outstanding(), self.naive.all.len() - self.naive.base);
        let acked: usize = self.contents[..self.naive.base].iter().map(|(_, payload)| payload.len()).sum();
        assert_eq!(self.send.queued_bytes(), self.written.len() - acked);
        let sent: usize = self.contents.iter().map(|(_, payload)| payload.len()).sum();
        assert_eq!(self.send.unsent_bytes(), self.written.len() - sent);
    }

    /// The network heals, and one round trip after the other goes by until everything is acknowledged.
    fn heal(&mut self) {
        self.send.finish();
        for _ in 0..2_000 {
            if self.send.is_all_acked() {
                break;
            }
            let before = self.naive.base;
            (0..200).for_each(|_| self.resend());
            (0..50).for_each(|_| self.send_new(100, false));
            self.now = self.now + Duration::from_millis(20);
            self.arrive_many(usize::MAX);
            self.now = self.now + Duration::from_millis(20);
            while !self.answers.is_empty() {
                self.answer(0, false);
            }
            if self.naive.base == before && !self.send.has_lost() {
                self.now = self.now + Duration::from_millis(600);
                self.time_out();
            }
            self.check();
        }
        assert!(self.send.is_all_acked(), "recovery always comes to an end");
        assert_eq!(self.send.bytes_in_flight(), 0);
        assert!(self.arrived.iter().all(|&arrived| arrived), "acknowledged means arrived");
        let delivered: Vec<u8> = self.contents.iter().flat_map(|(_, payload)| payload.clone()).collect();
        assert_eq!(delivered, self.written);
        assert_eq!(self.contents.last().map(|(kind, _)| *kind), Some(SegmentKind::Fin));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 1000 }, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_one_and_delivers_everything(peer in peers(), steps in steps()) {
        let mut world = World::new(peer);
        for step in &steps {
            world.step(step);
        }
        world.heal();
    }
}
