//! The sending half as a connection sees it: written, sent, acknowledged, lost.
//!
//! A [`Rig`] sends segments of 100 bytes from number 65,530 on, on a path with a round trip of 40 ms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod bytes;
mod hostile;
mod known;
mod masks;
mod model;
mod naive;
mod recovery;
mod spare;
mod timeouts;

use std::time::Duration;

use super::*;
use crate::proto::congestion::RttEstimator;
use crate::time::Instant;
use crate::wire::{Sack, SackBits, SeqNr};

const FIRST: u16 = 65_530;
const LEN: u16 = 100;
const ROUND_TRIP: Duration = Duration::from_millis(40);

struct Rig {
    send: SendBuffer,
    rtt: RttEstimator,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let mut send = SendBuffer::new(4 << 20);
        send.start(SeqNr::new(FIRST));
        let mut rtt = RttEstimator::new(Duration::from_millis(250));
        for _ in 0..32 {
            rtt.sample(ROUND_TRIP);
        }
        let mut this = Self { send, rtt, now: Instant::from_micros(1_000_000) };
        this.detect();
        this
    }

    /// With this many new segments sent.
    fn with_flight(count: usize) -> Self {
        let mut this = Self::new();
        this.send_new(count);
        this
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn send_new(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.send.write(&[7; LEN as usize]), usize::from(LEN));
            let segment = self.send.peek_new(LEN, false).unwrap();
            self.send.sent(&segment, self.now);
        }
    }

    /// Sends whatever waits for retransmission; which segments that was, counted from 0.
    fn resend(&mut self) -> Vec<u16> {
        let mut sent = Vec::new();
        while let Some(segment) = self.send.peek_lost() {
            assert!(segment.is_retransmission());
            self.send.sent(&segment, self.now);
            sent.push(segment.seq.get().wrapping_sub(FIRST));
        }
        sent
    }

    fn resend_one(&mut self) -> u16 {
        let segment = self.send.peek_lost().unwrap();
        self.send.sent(&segment, self.now);
        segment.seq.get().wrapping_sub(FIRST)
    }

    /// The peer has everything before `count` and, beyond that, `reported`.
    fn ack(&mut self, count: u16, reported: &[u16]) -> AckOutcome {
        let mut bits = SackBits::new();
        for &index in reported {
            bits.set(usize::from(index - count - 1));
        }
        self.ack_with(count, (!reported.is_empty()).then_some(bits.as_bytes()))
    }

    fn ack_with(&mut self, count: u16, mask: Option<&[u8]>) -> AckOutcome {
        self.send.acknowledge(self.now, SeqNr::new(FIRST) + count - 1, mask.map(Sack::new))
    }

    /// The same again, with nothing new.
    fn duplicate(&mut self, count: u16, mask: Option<&[u8]>) -> Option<Lost> {
        assert_eq!(self.ack_with(count, mask).packets, 0);
        self.send.duplicate_ack();
        self.detect()
    }

    fn detect(&mut self) -> Option<Lost> {
        self.send.detect_losses(self.now, &self.rtt)
    }

    fn deadline(&self) -> Option<Instant> {
        self.send.loss_deadline(&self.rtt)
    }

    fn time_out(&mut self) -> Option<Lost> {
        self.send.on_timeout(self.now, &self.rtt)
    }
}

fn packets(lost: Option<Lost>) -> u32 {
    lost.map_or(0, |lost| lost.packets)
}
