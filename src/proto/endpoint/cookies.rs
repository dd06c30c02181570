//! Numbers of SYN replies that need not be remembered: cookies.
//!
//! The first number of a connection that a peer starts is a keyed hash of everything the SYN said that the
//! initiator's next packet will say again: who, on which ids, with which number, and in which minute. So a SYN can be
//! answered and forgotten. Whoever acknowledges the answer exactly has received it, and tells at the same time what
//! has to be known to create the connection. The same hash gives the first number where the SYN is remembered, so
//! both ways of answering look alike, and a repeated SYN gets the same answer.
//!
//! What it cannot do: sixteen bits are guessed once in 65,536 tries, so wrong tries are limited per source
//! ([`GUESSES_PER_SECOND`]), which makes it one in half an hour for each address that somebody forges; and such a
//! guess wins a connection without a peer, towards which nothing but twenty bytes per packet leaves before it
//! acknowledges a second number. The window and clock of the SYN are forgotten; the first packet repeats both. There
//! is no round trip time from the handshake. And the endpoint knows nothing until the initiator speaks: initiators
//! of this crate do so at once, others when they have data.
//!
//! Knows nothing of when a cookie is wanted.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip::SipHasher24;

use super::bucket::Bucket;
use super::keyed::{Keyed, Source};
use crate::proto::batch::Path;
use crate::time::Instant;
use crate::wire::{ConnId, Header, SeqNr, Service};

/// Ours: how long answers stay the same. One is valid for this long at least and twice as long at most: initiators
/// of this crate repeat their proof for ten seconds, libutp sends a keepalive after 29.
const EPOCH: Duration = Duration::from_secs(64);

/// Ours: wrong guesses per second and source that are looked at; more are dropped unread. 65,536 take 34 minutes.
pub(super) const GUESSES_PER_SECOND: u32 = 32;

/// Ours: how far the first packet that arrives may lie behind the SYN, since those before it may be lost. Each one
/// more is one more guess for an attacker.
const AHEAD_MAX: u16 = 4;

/// Ours: counters for sources, 4 KiB in all.
const SLOTS: usize = 256;

/// Ours: acknowledged answers remembered per epoch, 150 KiB. Each belongs to an address that has proved itself; with
/// more of them, an old packet that the network kept back may be taken for a new connection, as with TCP.
const SPENT_MAX: usize = 8192;

/// Ours: services that a proof may be for, and one more for those without. Each is one more guess to look at; if a
/// port has more of them and all are in a rush at once, some initiators have to wait until it is over.
const SERVICES_MAX: usize = 8;

/// The key, and what little has to be remembered of answers that were given.
#[derive(Debug)]
pub(super) struct Cookies {
    secret: Secret,
    keyed: Keyed,
    slots: Box<[Slot]>,
    /// Answers that were acknowledged in this epoch, and in the one before. At most [`SPENT_MAX`] each.
    spent: [HashSet<u64, Keyed>; 2],
    spent_epoch: u64,
    /// What was asked for in SYNs that were answered so; first those that asked for none. At most [`SERVICES_MAX`].
    services: Vec<Option<Service>>,
}

/// Sources whose hash is the same.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The epoch after the last in which a cookie was given out; 0 if there was none.
    given_before: u64,
    wrong: Bucket,
}

/// What a packet for no connection turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nobody like that has been given a cookie lately.
    Stranger,
    /// It might come from somebody with a cookie, but does not repeat it.
    Unproved,
    /// It acknowledges an answer, as another packet did before: the connection has been and gone.
    Spent,
    /// It acknowledges an answer to the SYN with this number, for that service, and comes from where that answer went.
    Proved(SeqNr, Option<Service>),
}

impl Cookies {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let keyed = Keyed::draw(rng);
        Self {
            secret: Secret { key: (rng.random(), rng.random()) },
            keyed,
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
            spent: [HashSet::with_hasher(keyed), HashSet::with_hasher(keyed)],
            spent_epoch: 0,
            services: vec![None],
        }
    }

    /// The number of our first packet in answer to this SYN.
    pub(super) fn number(
        &self,
        now: Instant,
        path: Path,
        id: ConnId,
        seq: SeqNr,
        service: Option<Service>,
    ) -> SeqNr {
        self.secret.number(epoch(now), path, id, seq, service)
    }

    /// How far the clock that this connection shows to its peer is ahead of ours, microseconds. Does not change with
    /// time: before and after the proof it must be the same clock.
    pub(super) fn clock(&self, path: Path, id: ConnId, seq: SeqNr) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let clock = self.secret.hash(Secret::CLOCK, path, id, seq, None) as u32;
        clock
    }

    /// A SYN from there, for that service, is answered and forgotten.
    pub(super) fn give(&mut self, now: Instant, path: Path, service: Option<Service>) {
        let slot = self.keyed.slot(Source::of(path), SLOTS);
        self.slots[slot].given_before = epoch(now) + 1;
        if service.is_some() && !self.services.contains(&service) {
            self.services.truncate(SERVICES_MAX - 1);
            // The first entry is for those who name none.
            self.services.insert(1, service);
        }
    }

    /// The answer to that SYN has been acknowledged and a connection made of it: not twice.
    pub(super) fn spend(&mut self, now: Instant, path: Path, id: ConnId, seq: SeqNr) {
        self.forget_spent(now);
        if self.spent[0].len() < SPENT_MAX {
            self.spent[0].insert(self.secret.hash(Secret::CLOCK, path, id, seq, None));
        }
    }

    /// Answers of the epoch before the last are of no use to anybody.
    fn forget_spent(&mut self, now: Instant) {
        let elapsed = epoch(now).saturating_sub(self.spent_epoch);
        if elapsed > 0 {
            self.spent.swap(0, 1);
            self.spent[0].clear();
            if elapsed > 1 {
                self.spent[1].clear();
            }
            self.spent_epoch = epoch(now);
        }
    }

    /// Nothing has come of that connection: it may be made again.
    pub(super) fn unspend(&mut self, path: Path, id: ConnId, seq: SeqNr) {
        let tag = self.secret.hash(Secret::CLOCK, path, id, seq, None);
        self.spent.iter_mut().for_each(|spent| {
            spent.remove(&tag);
        });
    }

    /// Looks at a packet that is for no connection: does it prove that an answer was received?
    pub(super) fn check(&mut self, now: Instant, path: Path, header: &Header) -> Outcome {
        let now_epoch = epoch(now);
        self.forget_spent(now);
        let slot = &mut self.slots[self.keyed.slot(Source::of(path), SLOTS)];
        if slot.given_before == 0 || slot.given_before < now_epoch {
            return Outcome::Stranger;
        }
        let (id, number) = (header.conn_id.prev(), header.ack.next());
        let guesses = (1..=AHEAD_MAX)
            .map(|ahead| header.seq - ahead)
            .flat_map(|seq| [(seq, Some(now_epoch)), (seq, now_epoch.checked_sub(1))])
            .filter_map(|(seq, epoch)| Some((seq, epoch?)))
            .flat_map(|(seq, epoch)| self.services.iter().map(move |&service| (seq, epoch, service)));
        let mut wrong = 0;
        for (seq, epoch, service) in guesses.take(slot.wrong.available(now, GUESSES_PER_SECOND) as usize) {
            if self.secret.number(epoch, path, id, seq, service) == number {
                let tag = self.secret.hash(Secret::CLOCK, path, id, seq, None);
                let spent = self.spent.iter().any(|spent| spent.contains(&tag));
                return if spent { Outcome::Spent } else { Outcome::Proved(seq, service) };
            }
            wrong += 1;
        }
        slot.wrong.take(now, GUESSES_PER_SECOND, wrong);
        Outcome::Unproved
    }
}

/// The key for numbers and clocks: SipHash-2-4, whose output nobody can tell from chance without the key.
struct Secret {
    key: (u64, u64),
}

impl Secret {
    /// Ours: an epoch that never comes, so that clocks and numbers have nothing to do with each other.
    const CLOCK: u64 = u64::MAX;

    fn number(&self, epoch: u64, path: Path, id: ConnId, seq: SeqNr, service: Option<Service>) -> SeqNr {
        #[expect(clippy::cast_possible_truncation, reason = "sixteen bits are all that a number has")]
        SeqNr::new(self.hash(epoch, path, id, seq, service) as u16)
    }

    fn hash(&self, epoch: u64, path: Path, id: ConnId, seq: SeqNr, service: Option<Service>) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        let (ip, zone) = match path.peer {
            SocketAddr::V4(v4) => (u128::from(v4.ip().to_bits()), u32::MAX),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), v6.scope_id()),
        };
        let ends = [path.socket.get(), path.peer.port(), id.get(), seq.get()];
        hasher.write_u64(epoch);
        hasher.write(&ip.to_be_bytes());
        hasher.write_u32(zone);
        ends.iter().for_each(|&end| hasher.write_u16(end));
        if let Some(service) = service {
            hasher.write(service.as_bytes());
        }
        hasher.finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn epoch(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / EPOCH.as_secs()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::proto::batch::SocketId;
    use crate::wire::{Delay, Kind, Timestamp};

    fn cookies(seed: u8) -> Cookies {
        Cookies::new(&mut StdRng::from_seed([seed; 32]))
    }

    fn path(host: u8, port: u16) -> Path {
        Path { socket: SocketId::new(0), peer: ([198, 51, 100, host], port).into() }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    /// The packet `ahead` after a SYN with this id and number, acknowledging the answer with this number.
    fn packet(id: u16, seq: SeqNr, ahead: u16, answer: SeqNr) -> Header {
        Header {
            kind: Kind::Data,
            conn_id: ConnId::new(id).next(),
            sent_at: Timestamp::new(1),
            delay: Delay::NONE,
            window: 1 << 20,
            seq: seq + ahead,
            ack: answer.prev(),
        }
    }

    #[test]
    fn t03_who_acknowledges_the_answer_is_known_by_it_for_a_minute_and_not_for_three() {
        let mut cookies = cookies(1);
        let seq = SeqNr::new(65_534);
        for id in [0, 7, 0xFFFF] {
            let number = cookies.number(at(63), path(1, 9), ConnId::new(id), seq, None);
            cookies.give(at(63), path(1, 9), None);
            for ahead in 1..=AHEAD_MAX {
                let proof = packet(id, seq, ahead, number);
                for secs in [63, 64, 127] {
                    assert_eq!(cookies.check(at(secs), path(1, 9), &proof), Outcome::Proved(seq, None));
                }
                assert_eq!(cookies.check(at(192), path(1, 9), &proof), Outcome::Stranger);
            }
        }
    }

    #[test]
    fn t03_nothing_in_it_can_be_changed() {
        let mut cookies = cookies(1);
        let seq = SeqNr::new(100);
        let number = cookies.number(at(0), path(1, 9), ConnId::new(7), seq, None);
        (0..=255).for_each(|host| cookies.give(at(0), path(host, 9), None));
        let good = packet(7, seq, 1, number);
        assert_eq!(cookies.check(at(0), path(1, 9), &good), Outcome::Proved(seq, None));
        let bad = [
            (path(2, 9), good),
            (path(1, 10), good),
            (Path { socket: SocketId::new(1), ..path(1, 9) }, good),
            (path(1, 9), packet(8, seq, 1, number)),
            (path(1, 9), packet(7, seq, 0, number)),
            (path(1, 9), packet(7, seq, AHEAD_MAX + 1, number)),
            (path(1, 9), packet(7, seq, 1, number.next())),
            (path(1, 9), packet(7, seq, 1, number.prev())),
        ];
        for (n, (path, packet)) in (1..).zip(bad) {
            // A second later each, so that the limit on guesses does not decide.
            assert_eq!(cookies.check(at(n), path, &packet), Outcome::Unproved, "{n}");
        }
    }

    #[test]
    fn t03_a_forger_who_guesses_gets_thirty_two_tries_a_second() {
        let mut cookies = cookies(1);
        let (mut rng, mut wins) = (StdRng::from_seed([9; 32]), 0);
        let seconds = 65_536u64;
        for second in 0..seconds {
            cookies.give(at(second), path(1, 9), None);
            // Eight guesses in each packet: four packets are looked at, the others dropped unread.
            for _ in 0..8 {
                let guess = packet(7, SeqNr::new(rng.random()), 1, SeqNr::new(rng.random()));
                wins +=
                    u64::from(matches!(cookies.check(at(second), path(1, 9), &guess), Outcome::Proved(..)));
            }
        }
        let tries = seconds * u64::from(GUESSES_PER_SECOND);
        let expected = tries / 65_536;
        eprintln!("t03 bound={expected} of {tries} guesses in {seconds} s measured={wins} wins");
        assert!((1..=3 * expected).contains(&wins), "{wins}");
    }

    #[test]
    fn t03_wrong_guesses_use_up_the_tries_of_a_second_for_right_ones_too() {
        let mut cookies = cookies(1);
        let seq = SeqNr::new(65_534);
        let number = cookies.number(at(70), path(1, 9), ConnId::new(7), seq, None);
        cookies.give(at(70), path(1, 9), None);
        let right = packet(7, seq, 1, number);
        let per_packet = 2 * u32::from(AHEAD_MAX);
        for wrong in 1..=GUESSES_PER_SECOND / per_packet {
            assert_eq!(
                cookies.check(at(70), path(1, 9), &right),
                Outcome::Proved(seq, None),
                "before the {wrong}th"
            );
            let guess = packet(7, seq, 1, number + 1000);
            assert_eq!(cookies.check(at(70), path(1, 9), &guess), Outcome::Unproved);
        }
        assert_eq!(cookies.check(at(70), path(1, 9), &right), Outcome::Unproved);
        assert_eq!(cookies.check(at(71), path(1, 9), &right), Outcome::Proved(seq, None));
    }

    #[test]
    fn t03_what_was_spent_is_remembered_as_long_as_its_answer_is_good() {
        let mut cookies = cookies(1);
        let (id, seq) = (ConnId::new(0xFFFF), SeqNr::new(65_534));
        let number = cookies.number(at(10), path(1, 9), id, seq, None);
        cookies.give(at(10), path(1, 9), None);
        let proof = packet(0xFFFF, seq, 1, number);
        cookies.spend(at(12), path(1, 9), id, seq);
        for second in [12, 13, 63, 64, 65, 127] {
            cookies.give(at(second), path(1, 9), None);
            assert_eq!(cookies.check(at(second), path(1, 9), &proof), Outcome::Spent, "{second}");
        }
    }

    #[test]
    fn t03_an_answer_makes_one_connection_and_old_packets_no_second_one() {
        let mut cookies = cookies(1);
        let (id, seq) = (ConnId::new(7), SeqNr::new(100));
        for given in [63, 64 * 9, 64 * 20 + 1] {
            let number = cookies.number(at(given), path(1, 9), id, seq, None);
            let proof = packet(7, seq, 1, number);
            cookies.give(at(given), path(1, 9), None);
            assert_eq!(cookies.check(at(given + 2), path(1, 9), &proof), Outcome::Proved(seq, None));
            cookies.spend(at(given + 2), path(1, 9), id, seq);
            for later in [3, 60, 62] {
                assert_eq!(cookies.check(at(given + later), path(1, 9), &proof), Outcome::Spent);
            }
        }
        for n in 0..2 * SPENT_MAX {
            cookies.spend(at(5000), path(1, (n >> 4) as u16), id, SeqNr::new(n as u16));
        }
        assert_eq!(cookies.spent[0].len(), SPENT_MAX);
    }

    #[test]
    fn t17_a_clock_does_not_change_with_time_and_two_have_nothing_in_common() {
        let cookies = [cookies(1), cookies(2)];
        let clock = |which: usize, id| cookies[which].clock(path(1, 9), ConnId::new(id), SeqNr::new(1));
        assert_eq!(clock(0, 7), clock(0, 7));
        assert_ne!(clock(0, 7), clock(0, 8));
        assert_ne!(clock(0, 7), clock(1, 7));
    }
}
