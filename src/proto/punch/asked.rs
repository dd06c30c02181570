//! Questions that are under way: an answer counts only if it repeats one of them, and only once.
//!
//! Each question is named by a random number whose lowest bits are its place here, so that finding it costs the same
//! whether there are two or two thousand.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::proto::batch::Path;
use crate::time::Instant;
use crate::wire::{ConnId, SeqNr, Txn};

/// Ours: questions of one punch: 2,048 that search, 120 plain ones, openers of 256 sockets twice and of eight
/// candidates, and some to spare. Nothing is asked beyond.
pub(super) const QUESTIONS_MAX: usize = 4096;

/// A question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    txn: Txn,
    pub(super) path: Path,
    pub(super) at: Instant,
    /// What a RESET would repeat, once it is sent.
    header: Option<(ConnId, SeqNr)>,
    answered: bool,
}

/// The questions.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Never more than [`QUESTIONS_MAX`].
    list: Vec<Question>,
}

impl Asked {
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= QUESTIONS_MAX
    }

    /// A new question.
    pub(super) fn ask(&mut self, now: Instant, path: Path, rng: &mut StdRng) -> Option<Txn> {
        if self.is_full() {
            return None;
        }
        let place = self.list.len() as u64;
        let txn = Txn::new(rng.random::<u64>() & !(QUESTIONS_MAX as u64 - 1) | place);
        self.list.push(Question { txn, path, at: now, header: None, answered: false });
        Some(txn)
    }

    /// The question leaves with these numbers.
    pub(super) fn sent(&mut self, txn: Txn, id: ConnId, seq: SeqNr) {
        if let Some(question) = self.get_mut(txn) {
            question.header = Some((id, seq));
        }
    }

    /// An answer has come: which question it is for, if it is for one that was asked and not yet answered.
    pub(super) fn answer(&mut self, echo: Txn) -> Option<Question> {
        let question = self.get_mut(echo)?;
        if std::mem::replace(&mut question.answered, true) {
            return None;
        }
        Some(*question)
    }

    /// Whether a RESET with this id and acknowledgement is about a question of ours on that path.
    pub(super) fn is_reset(&self, path: Path, id: ConnId, ack: SeqNr) -> bool {
        self.list.iter().any(|question| question.path == path && question.header == Some((id, ack)))
    }

    fn get_mut(&mut self, txn: Txn) -> Option<&mut Question> {
        let place = (txn.get() % QUESTIONS_MAX as u64) as usize;
        self.list.get_mut(place).filter(|question| question.txn == txn)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use rand::SeedableRng;

    use super::*;
    use crate::proto::batch::SocketId;

    fn path(port: u16) -> Path {
        Path { socket: SocketId::new(0), peer: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn an_answer_counts_once_and_only_for_what_was_asked() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut asked = Asked::default();
        let txns: Vec<Txn> =
            (1..=100).map(|port| asked.ask(Instant::ZERO, path(port), &mut rng).unwrap()).collect();
        assert_eq!(asked.answer(txns[41]).unwrap().path, path(42));
        assert!(asked.answer(txns[41]).is_none(), "the second time");
        assert!(asked.answer(Txn::new(txns[7].get() ^ 1 << 63)).is_none());
        assert!(asked.answer(Txn::new(txns[7].get() ^ 1)).is_none(), "the place of another");
        assert!(asked.answer(Txn::new(4095)).is_none());
    }

    #[test]
    fn questions_are_bounded() {
        let mut rng = StdRng::from_seed([2; 32]);
        let mut asked = Asked::default();
        while asked.ask(Instant::ZERO, path(1), &mut rng).is_some() {}
        assert!(asked.is_full());
        assert!(size_of::<Question>() * QUESTIONS_MAX <= 400 << 10, "{}", size_of::<Question>());
    }

    #[test]
    fn a_reset_is_recognised_by_what_it_repeats() {
        let mut rng = StdRng::from_seed([3; 32]);
        let mut asked = Asked::default();
        let txn = asked.ask(Instant::ZERO, path(1), &mut rng).unwrap();
        let (id, seq) = (ConnId::new(0xFFFF), SeqNr::new(65_535));
        assert!(!asked.is_reset(path(1), id, seq), "not sent yet");
        asked.sent(txn, id, seq);
        assert!(asked.is_reset(path(1), id, seq) && !asked.is_reset(path(2), id, seq));
        assert!(!asked.is_reset(path(1), id.next(), seq) && !asked.is_reset(path(1), id, seq.next()));
    }
}
