//! Questions that are under way: when they are asked again, and whose answer has come.
//!
//! Knows nothing of who wants to know.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::StunError;
use crate::proto::batch::{Batch, Path};
use crate::time::Instant;
use crate::wire::{StunBuf, StunClass, StunId, StunMessage};

/// Ours: how long to wait after each time of asking. RFC 8489 §6.2.1 begins with 500 ms, doubles it, and gives up
/// after 39.5 s; whoever wants to know whether UDP gets through at all does not want to wait for that. With a fifth of
/// the datagrams lost each way, one question in 150 comes to nothing.
const WAITS: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_millis(750),
    Duration::from_millis(750),
];

/// Ours: questions under way. Each sends five datagrams of 44 bytes to whoever the application names.
const ASKED_MAX: usize = 32;

/// Ours: answered questions that are remembered, since each time of asking may bring an answer of its own, which must
/// not be taken for uTP.
const ANSWERED_MAX: usize = 32;

/// Ours: how long they are remembered.
const ANSWERED_FOR: Duration = Duration::from_secs(10);

/// The questions under way, each for somebody.
#[derive(Debug)]
pub(in crate::proto) struct Client<T> {
    /// At most [`ASKED_MAX`].
    asked: Vec<Asked<T>>,
    /// At most [`ANSWERED_MAX`].
    answered: VecDeque<Answered>,
}

#[derive(Debug)]
struct Asked<T> {
    id: StunId,
    path: Path,
    who: T,
    /// How often it has been asked.
    times: usize,
    /// When it is asked again, or given up.
    due: Instant,
    /// It is to be asked now.
    ask: bool,
}

#[derive(Debug)]
struct Answered {
    id: StunId,
    path: Path,
    until: Instant,
}

/// What a message turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto) enum Heard<T> {
    /// The answer to a question.
    Answer(T, Result<SocketAddr, StunError>),
    /// It belongs to a question, and says nothing new.
    Nothing,
    /// None of the questions here.
    NotOurs,
}

impl<T> Default for Client<T> {
    fn default() -> Self {
        Self { asked: Vec::new(), answered: VecDeque::new() }
    }
}

impl<T> Client<T> {
    /// Asks along this path on somebody's behalf; gives him back if there are too many already.
    pub(in crate::proto) fn ask(&mut self, now: Instant, id: StunId, path: Path, who: T) -> Result<(), T> {
        if self.asked.len() >= ASKED_MAX {
            return Err(who);
        }
        self.asked.push(Asked { id, path, who, times: 0, due: now, ask: true });
        Ok(())
    }

    /// Drops the questions of those who want to know no longer.
    pub(in crate::proto) fn retain(&mut self, wants: impl Fn(&T) -> bool) {
        self.asked.retain(|asked| wants(&asked.who));
    }

    /// Whether answers may still come.
    pub(in crate::proto) fn expects(&self) -> bool {
        !self.asked.is_empty() || !self.answered.is_empty()
    }

    /// A datagram with this number has come, and this is what it says, if it can be read.
    pub(in crate::proto) fn hear(
        &mut self,
        now: Instant,
        path: Path,
        id: StunId,
        message: Option<&StunMessage<'_>>,
    ) -> Heard<T> {
        if self.answered.iter().any(|old| old.id == id && old.path == path) {
            return Heard::Nothing;
        }
        let ours = |asked: &Asked<T>| asked.id == id && asked.path == path;
        let Some(place) = self.asked.iter().position(ours) else { return Heard::NotOurs };
        // One that cannot be read may have been falsified on its way; the next one will not.
        let Some(result) = message.and_then(outcome) else { return Heard::Nothing };
        let Asked { who, .. } = self.asked.remove(place);
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(Answered { id, path, until: now + ANSWERED_FOR });
        Heard::Answer(who, result)
    }

    /// Asks again whom it is time to ask again. Returns one who waits in vain; to be called until nobody is left.
    pub(in crate::proto) fn give_up(&mut self, now: Instant) -> Option<T> {
        while self.answered.front().is_some_and(|old| old.until <= now) {
            self.answered.pop_front();
        }
        for asked in self.asked.iter_mut().filter(|asked| asked.due <= now && asked.times < WAITS.len()) {
            asked.ask = true;
        }
        let place = self.asked.iter().position(|asked| asked.due <= now && !asked.ask)?;
        Some(self.asked.remove(place).who)
    }

    /// When [`give_up`](Self::give_up) has something to do.
    pub(in crate::proto) fn next_timeout(&self) -> Option<Instant> {
        self.asked.iter().filter(|asked| !asked.ask).map(|asked| asked.due).min()
    }

    /// Whether there is something to be sent.
    pub(in crate::proto) fn has_work(&self) -> bool {
        self.asked.iter().any(|asked| asked.ask)
    }

    /// Writes the next question into an empty batch.
    pub(in crate::proto) fn write(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        let asked = self.asked.iter_mut().find(|asked| asked.ask)?;
        let wait = WAITS.get(asked.times).copied().unwrap_or_default();
        (asked.ask, asked.times, asked.due) = (false, asked.times + 1, now + wait);
        batch.push_sealed(StunBuf::request(asked.id).bytes());
        Some(asked.path)
    }

    /// All who wait.
    pub(in crate::proto) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.answered.clear();
        self.asked.drain(..).map(|asked| asked.who)
    }
}

/// What a message with the right number means; `None` for one that is no answer.
fn outcome(message: &StunMessage<'_>) -> Option<Result<SocketAddr, StunError>> {
    match message.class {
        _ if !message.is_binding() => None,
        StunClass::Request | StunClass::Indication => None,
        StunClass::Success if message.unknown().next().is_some() => Some(Err(StunError::Unusable)),
        StunClass::Success => Some(message.mapped_address().and_then(somebody).ok_or(StunError::Unusable)),
        StunClass::Error => {
            Some(Err(message.error().map_or(StunError::Unusable, |(code, _)| StunError::Refused(code))))
        }
    }
}

/// An address at which somebody can be, IPv4 as IPv4.
fn somebody(addr: SocketAddr) -> Option<SocketAddr> {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let somebody = !ip.is_unspecified() && !ip.is_multicast() && !broadcast && addr.port() != 0;
    somebody.then_some(SocketAddr::new(ip, addr.port()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::proto::batch::SocketId;

    const ID: StunId = StunId([7; 12]);
    const MS: fn(u64) -> Instant = |ms| Instant::from_micros(ms * 1000);

    fn path(port: u16) -> Path {
        Path { socket: SocketId::new(0), peer: ([192, 0, 2, 1], port).into() }
    }

    fn hear(client: &mut Client<u8>, path: Path, answer: &StunBuf) -> Heard<u8> {
        let message = StunMessage::decode(answer.bytes()).unwrap();
        client.hear(MS(1), path, message.id, Some(&message))
    }

    fn asking() -> Client<u8> {
        let mut client = Client::default();
        client.ask(MS(0), ID, path(9), 1).unwrap();
        client.write(MS(0), &mut Batch::new(1)).unwrap();
        client
    }

    #[test]
    fn a_question_is_asked_five_times_in_three_seconds_and_given_up() {
        let mut client = Client::default();
        client.ask(MS(0), ID, path(9), 1).unwrap();
        let mut batch = Batch::new(1);
        let mut asked = Vec::new();
        let mut now = MS(0);
        let given_up = loop {
            if client.give_up(now).is_some() {
                break now;
            }
            batch.clear();
            if client.write(now, &mut batch).is_some() {
                assert_eq!(StunMessage::decode(batch.bytes()).unwrap().id, ID);
                asked.push(now.as_micros() / 1000);
            }
            assert!(!client.has_work());
            now = client.next_timeout().unwrap();
        };
        assert_eq!(asked, [0, 250, 750, 1500, 2250]);
        assert_eq!(given_up, MS(3000));
        assert!(!client.expects());
    }

    #[test]
    fn an_answer_counts_if_it_comes_from_where_the_question_went_with_its_number() {
        let mut client = asking();
        let seen = "203.0.113.5:4000".parse().unwrap();
        let other_id = StunId([8; 12]);
        assert_eq!(hear(&mut client, path(9), &StunBuf::success(other_id, seen)), Heard::NotOurs);
        assert_eq!(hear(&mut client, path(10), &StunBuf::success(ID, seen)), Heard::NotOurs);
        assert_eq!(hear(&mut client, path(9), &StunBuf::request(ID)), Heard::Nothing);
        assert_eq!(client.hear(MS(1), path(9), ID, None), Heard::Nothing);
        assert_eq!(hear(&mut client, path(9), &StunBuf::success(ID, seen)), Heard::Answer(1, Ok(seen)));
        assert_eq!(
            hear(&mut client, path(9), &StunBuf::success(ID, seen)),
            Heard::Nothing,
            "the second answer"
        );
        assert!(client.expects());
        assert_eq!(client.give_up(MS(10_001)), None);
        assert!(!client.expects());
    }

    #[test]
    fn an_answer_that_says_nothing_ends_the_question() {
        let nowhere =
            ["0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "192.0.2.1:0", "[::]:9", "[ff02::1]:9"];
        for addr in nowhere {
            let answer = StunBuf::success(ID, addr.parse().unwrap());
            let heard = hear(&mut asking(), path(9), &answer);
            assert_eq!(heard, Heard::Answer(1, Err(StunError::Unusable)), "{addr}");
        }
        let refusal = StunBuf::unknown_attributes(ID, [3].into_iter());
        assert_eq!(hear(&mut asking(), path(9), &refusal), Heard::Answer(1, Err(StunError::Refused(420))));
        let mapped = StunBuf::success(ID, "[::ffff:192.0.2.7]:9".parse().unwrap());
        let plain = Ok("192.0.2.7:9".parse().unwrap());
        assert_eq!(hear(&mut asking(), path(9), &mapped), Heard::Answer(1, plain));
    }

    #[test]
    fn n10_questions_and_remembered_answers_are_bounded() {
        let mut client = Client::default();
        for number in 0..100u8 {
            if client.ask(MS(0), StunId([number; 12]), path(9), number).is_err() {
                assert_eq!(client.asked.len(), ASKED_MAX);
                client.retain(|_| false);
                assert!(client.ask(MS(0), StunId([number; 12]), path(9), number).is_ok());
            }
            let seen = "203.0.113.5:4000".parse().unwrap();
            if number % 3 == 0 {
                hear(&mut client, path(9), &StunBuf::success(StunId([number; 12]), seen));
            }
        }
        assert!(client.asked.len() <= ASKED_MAX && client.answered.len() <= ANSWERED_MAX);
        eprintln!("n10 bound={ASKED_MAX} questions measured={}", client.asked.len());
    }
}
