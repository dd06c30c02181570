//! A hole in the NATs between two peers, by the two words that utp-punch knows, and nothing more: no connection, no
//! candidates, no secret.
//!
//! ```text
//!   PUNCH ─▶        every 500 ms                   open: we have answered, and were answered
//!         ◀─ PUNCH  answered by PUNCHED, twice     failed: so many attempts without that
//!   then, for a while: answers only
//! ```
//!
//! utp-punch stops to answer once it has both; if its answers were lost then, the other side fails. Ours answers on, and
//! takes a call of the peer for the answer that was lost. Sends nothing itself and knows no clock.

use std::net::SocketAddr;
use std::time::Duration;

use super::targets::kind_of_unnamed;
use super::{PathKind, PunchError, PunchReport};
use crate::time::Instant;
use crate::wire::{Candidate, CandidateKind, PunchWord};

/// Measured with utp-punch 1.0.1: the pause between its words.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Measured with utp-punch 1.0.1: how often it gives each answer.
const ANSWERS: u8 = 2;

/// Ours: no more answers than one in that time, whatever comes; the peer asks once in 500 ms.
const ANSWER_PAUSE: Duration = Duration::from_millis(100);

/// Ours: how long a peer is answered after our success that may not have heard us yet: as long as it tries in the
/// example of utp-punch, twice over.
const LINGER: Duration = Duration::from_secs(10);

/// One side of it.
#[derive(Debug)]
pub struct Hole {
    peer: SocketAddr,
    began: Instant,
    state: State,
    answered_at: Option<Instant>,
    /// The peer has answered us.
    heard: bool,
    asked_at: Instant,
    /// Words to be sent.
    asks: u8,
    answers: u8,
    report: PunchReport,
    outcome: Option<Result<PunchReport, PunchError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying {
        left: u32,
        next: Instant,
    },
    /// It is open, and we go on answering until then.
    Open {
        until: Instant,
    },
    Over,
}

impl Hole {
    /// Begins to try so many times, at least once.
    #[must_use]
    pub fn new(now: Instant, peer: SocketAddr, attempts: u32) -> Self {
        let candidates = vec![Candidate::new(CandidateKind::Host, peer)];
        let mut this = Self {
            peer,
            began: now,
            state: State::Trying { left: attempts.max(1), next: now },
            answered_at: None,
            heard: false,
            asked_at: now,
            asks: 0,
            answers: 0,
            report: PunchReport { candidates, attempts: 1, ..PunchReport::default() },
            outcome: None,
        };
        this.handle_timeout(now);
        this
    }

    /// A word came, from exactly the peer's address.
    pub fn handle_word(&mut self, now: Instant, word: PunchWord) {
        match word {
            PunchWord::Punch => {
                self.report.probes_seen = self.report.probes_seen.saturating_add(1);
                let pausing = self.answered_at.is_some_and(|at| now.since(at) < ANSWER_PAUSE);
                if !pausing && !self.is_over() {
                    self.answers = ANSWERS;
                    self.answered_at = Some(now);
                }
            }
            PunchWord::Punched => {
                self.report.acks_seen = self.report.acks_seen.saturating_add(1);
                self.report.rtt.get_or_insert_with(|| now.since(self.asked_at));
                self.heard = true;
            }
        }
        self.conclude(now);
    }

    /// The peer calls: for it the way is open, in both directions.
    pub fn handle_call(&mut self, now: Instant) {
        self.answered_at.get_or_insert(now);
        self.heard = true;
        self.conclude(now);
    }

    fn conclude(&mut self, now: Instant) {
        if matches!(self.state, State::Trying { .. }) && self.heard && self.answered_at.is_some() {
            self.state = State::Open { until: now + LINGER };
            self.asks = 0;
            let path = match kind_of_unnamed(self.peer) {
                PathKind::PeerReflexive => PathKind::Ipv4,
                named => named,
            };
            self.outcome = Some(Ok(PunchReport { path: Some(path), ..self.report(now) }));
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Trying { left: 0, next } if next <= now => {
                self.outcome = Some(Err(PunchError::Timeout(Box::new(self.report(now)))));
                self.state = State::Over;
            }
            State::Trying { left, next } if next <= now => {
                self.asks = 1;
                self.asked_at = now;
                self.report.probes_sent += 1;
                self.state = State::Trying { left: left - 1, next: now + ATTEMPT };
            }
            State::Open { until } if until <= now => self.state = State::Over,
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Trying { next, .. } => Some(next),
            State::Open { until } => Some(until),
            State::Over => None,
        }
    }

    /// The next word to be sent to the peer.
    pub fn poll_word(&mut self) -> Option<PunchWord> {
        if self.answers > 0 {
            self.answers -= 1;
            return Some(PunchWord::Punched);
        }
        self.asks = self.asks.checked_sub(1)?;
        Some(PunchWord::Punch)
    }

    /// What came of it, once.
    pub fn poll_outcome(&mut self) -> Option<Result<PunchReport, PunchError>> {
        self.outcome.take()
    }

    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// How far it has come.
    #[must_use]
    pub fn report(&self, now: Instant) -> PunchReport {
        PunchReport { elapsed: now.since(self.began), ..self.report.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros((1 << 40) + millis * 1000)
    }

    fn hole(attempts: u32) -> Hole {
        Hole::new(at(0), ([192, 0, 2, 1], 9).into(), attempts)
    }

    fn said(hole: &mut Hole) -> Vec<PunchWord> {
        std::iter::from_fn(|| hole.poll_word()).collect()
    }

    use PunchWord::{Punch, Punched};

    #[test]
    fn it_asks_twice_a_second_and_fails_half_a_second_after_the_last_attempt() {
        let mut hole = hole(3);
        let mut asked = Vec::new();
        while let Some(next) = hole.poll_timeout() {
            asked.extend(said(&mut hole));
            hole.handle_timeout(next);
        }
        assert_eq!(asked, [Punch; 3]);
        let error = hole.poll_outcome().unwrap().unwrap_err();
        assert_eq!(error.report().elapsed, Duration::from_millis(1500));
        assert!(hole.is_over() && matches!(error, PunchError::Timeout(_)));
        hole.handle_word(at(1600), Punch);
        assert_eq!(said(&mut hole), [], "who has failed is silent, or the other side would not fail");
    }

    #[test]
    fn it_is_open_at_once_when_both_directions_are_and_not_before() {
        for words in [[Punch, Punched], [Punched, Punch]] {
            let mut hole = hole(3);
            said(&mut hole);
            hole.handle_word(at(20), words[0]);
            assert!(hole.poll_outcome().is_none());
            hole.handle_word(at(30), words[1]);
            let report = hole.poll_outcome().unwrap().unwrap();
            assert_eq!((report.elapsed, report.probes_sent), (Duration::from_millis(30), 1));
            assert_eq!(said(&mut hole), [Punched; 2]);
        }
    }

    #[test]
    fn a_peer_that_has_lost_our_answers_is_answered_after_our_success() {
        let mut hole = hole(3);
        hole.handle_word(at(20), Punch);
        hole.handle_word(at(20), Punched);
        assert!(hole.poll_outcome().unwrap().is_ok());
        said(&mut hole);
        hole.handle_word(at(520), Punch);
        assert_eq!(said(&mut hole), [Punched; 2]);
        let end = hole.poll_timeout().unwrap();
        hole.handle_timeout(end);
        assert!(hole.is_over() && hole.poll_outcome().is_none());
    }

    #[test]
    fn a_call_of_the_peer_stands_for_its_answer() {
        let mut hole = hole(3);
        hole.handle_word(at(20), Punch);
        hole.handle_call(at(600));
        assert!(hole.poll_outcome().unwrap().is_ok());
    }

    #[test]
    fn u02_a_flood_of_words_gets_an_answer_in_a_hundred_milliseconds() {
        let mut hole = hole(3);
        said(&mut hole);
        let mut answers = 0;
        for millis in 0..1000 {
            hole.handle_word(at(millis), Punch);
            hole.handle_word(at(millis), Punch);
            answers += said(&mut hole).len();
        }
        assert_eq!(answers, 20);
    }
}
