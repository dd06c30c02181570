//! Two that call each other at once get one connection, whatever is lost, late or equal.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::config::VanillaCross;
use crate::proto::conn::Role;
use crate::proto::endpoint::Dial;

const CROSSING: Dial =
    Dial { id: None, path: None, simultaneous: true, service: None, session: None, token: None };

fn call(side: &Side, to: SocketAddr) -> Handle {
    side.lease.dial(to, CROSSING)
}

/// A network that loses and reorders.
struct Storm {
    sides: [Side; 2],
    now: Instant,
    rng: StdRng,
    loss: f64,
    /// When, order, to whom, bytes.
    under_way: Vec<(Instant, u64, usize, Vec<u8>)>,
    order: u64,
}

impl Storm {
    fn new(seed: u64, sides: [Side; 2]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let loss = [0.0, 0.05, 0.2][rng.random_range(0..3)];
        Self { sides, now: Instant::ZERO, rng, loss, under_way: Vec::new(), order: 0 }
    }

    fn turn(&mut self, side: usize) {
        for (_, bytes) in self.sides[side].turn(self.now) {
            let copies = u32::from(self.rng.random_range(0..50) == 0) + 1;
            for _ in 0..copies {
                if self.rng.random_bool(self.loss) {
                    continue;
                }
                // Now and then a packet is overtaken by seconds.
                let late = if self.rng.random_range(0..20) == 0 { 3000 } else { 60 };
                let at = self.now + millis(self.rng.random_range(5..late));
                self.order += 1;
                self.under_way.push((at, self.order, 1 - side, bytes.clone()));
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
        timers.chain(self.under_way.iter().map(|packet| packet.0)).min()
    }

    /// Runs until then, and lets both act whenever something happens.
    fn run_until(&mut self, end: Instant) {
        loop {
            self.turn(0);
            self.turn(1);
            match self.next() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            while let Some(place) = self.under_way.iter().position(|packet| packet.0 <= self.now) {
                let (_, _, to, bytes) = self.under_way.swap_remove(place);
                let from = self.sides[1 - to].addr;
                self.sides[to].receive(self.now, from, &bytes);
            }
        }
        self.now = self.now.max(end);
    }
}

/// Both call, in some order; exactly one connection must come of it. Returns whether the roles were decided by a SYN that
/// came before the second call.
fn cross_once(seed: u64, sides: [Side; 2]) -> (bool, [Side; 2]) {
    let mut storm = Storm::new(seed, sides);
    let listening = storm.rng.random_range(0..4u8);
    (0..2).for_each(|side| storm.sides[side].lease.set_listening(listening & (1 << side) != 0));
    let first = storm.rng.random_range(0..2usize);
    let skew = [0, 10, 40, 100, 700, 2000][storm.rng.random_range(0..6)];
    let addrs = storm.sides.each_ref().map(|side| side.addr);
    let one = call(&storm.sides[first], addrs[1 - first]);
    storm.run_until(Instant::ZERO + millis(skew));
    let two = call(&storm.sides[1 - first], addrs[first]);
    let end = storm.now + secs(9);
    let (mut connected, mut step) = (false, storm.now);
    while !connected && step < end {
        step = step + millis(100);
        storm.run_until(step);
        connected = [&one, &two].iter().all(|handle| handle.poll_connected(&mut cx()).is_ready());
    }
    let outcome = |handle: &Handle| handle.poll_connected(&mut cx());
    let unlucky = [&one, &two].iter().any(|handle| outcome(handle) != Poll::Ready(Ok(())));
    assert!(!unlucky || storm.loss > 0.0, "seed {seed}: nothing was lost");
    if !unlucky {
        assert_ne!(one.role(), two.role(), "seed {seed}");
        let [ours, theirs] = [one.conn_ids(), two.conn_ids()];
        assert_eq!((ours.recv, ours.send), (theirs.send, theirs.recv), "seed {seed}");
        assert_eq!(one.try_write(b"one"), Poll::Ready(Ok(3)));
        assert_eq!(two.try_write(b"two"), Poll::Ready(Ok(3)));
        // Where round trips seem to take seconds a packet that is lost four times takes a minute (seed 63926).
        let end = storm.now + secs(90);
        storm.run_until(end);
        assert_eq!(
            (read_some(&two), read_some(&one)),
            (Some(b"one".to_vec()), Some(b"two".to_vec())),
            "seed {seed}"
        );
    }
    for side in &storm.sides {
        // What was under way when it was decided is no connection.
        assert!(side.incoming().is_none(), "seed {seed}: another connection");
        let live = side.endpoint.connections();
        assert!(unlucky || live == 1, "seed {seed}: {live} connections");
    }
    one.abort();
    two.abort();
    drop((one, two));
    storm.loss = 0.0;
    let end = storm.now + secs(120);
    storm.run_until(end);
    storm.sides.iter().for_each(Side::assert_empty);
    (unlucky, storm.sides)
}

#[test]
fn n30_two_crossing_calls_give_exactly_one_stream() {
    let seeds: u64 = std::env::var("CROSSINGS").map_or(100_000, |count| count.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let unlucky: u64 = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || cross_many(thread, threads, seeds))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    // A third of them lose every fifth packet, and have four tries.
    assert!(unlucky * 60 < seeds, "{unlucky} of {seeds} pairs did not meet");
}

fn cross_many(first: u64, step: u64, seeds: u64) -> u64 {
    let fresh = || [1, 2].map(|number| Side::new(number, Config::default()));
    let mut unlucky = 0;
    let mut sides = fresh();
    for seed in (first..seeds).step_by(step as usize) {
        if seed % 64 < step {
            sides = fresh();
        }
        let (missed, used) = cross_once(seed, sides);
        unlucky += u64::from(missed);
        sides = used;
    }
    unlucky
}

#[test]
fn n31_whoever_has_the_larger_number_calls_and_equal_numbers_are_told_apart() {
    // Both endpoints draw from the same seed, so that everything they draw is equal.
    let mut pair = Pair::new(Config::default());
    pair.b = Side::new(1, Config::default());
    pair.b.addr = SocketAddr::from(([192, 0, 2, 2], 4000));
    let (ours, theirs) = (call(&pair.a, pair.b.addr), call(&pair.b, pair.a.addr));
    let syns = [pair.a.turn(pair.now), pair.b.turn(pair.now)].map(|mut sent| sent.remove(0).1);
    let number = |syn: &[u8]| Packet::decode(syn).unwrap().extensions.own_block().unwrap().unwrap().tie_break;
    assert_eq!(number(&syns[0]), number(&syns[1]));
    assert_eq!(syns[0], syns[1], "an own SYN that comes back is one that says the same");
    pair.b.receive(pair.now, pair.a.addr, &syns[0]);
    pair.a.receive(pair.now, pair.b.addr, &syns[1]);
    assert_eq!(
        [pair.a.turn(pair.now).len(), pair.b.turn(pair.now).len()],
        [1, 1],
        "once more, and nothing else"
    );
    assert!(ours.poll_connected(&mut cx()).is_pending() && theirs.poll_connected(&mut cx()).is_pending());
}

#[test]
fn n31_equal_numbers_of_different_calls_are_decided_alike_on_both_sides() {
    let mut pair = Pair::new(Config::default());
    let (ours, theirs) = (call(&pair.a, pair.b.addr), call(&pair.b, pair.a.addr));
    let mut syns = [pair.a.turn(pair.now), pair.b.turn(pair.now)].map(|mut sent| sent.remove(0).1);
    // The number of one replaces that of the other, as if it had drawn the same.
    let at = |syn: &[u8]| syn.windows(2).position(|field| field == [5, 8]).unwrap() + 2;
    let (from, to) = (at(&syns[0]), at(&syns[1]));
    let number: Vec<u8> = syns[0][from..from + 8].to_vec();
    syns[1][to..to + 8].copy_from_slice(&number);
    pair.a.receive(pair.now, pair.b.addr, &syns[1]);
    let gave_way = [ours.role() == Role::Acceptor, false];
    assert_eq!(theirs.role(), Role::Initiator);
    let tags = syns.each_ref().map(|syn| Packet::decode(syn).unwrap().extensions.mark().unwrap().tag.get());
    assert_eq!(gave_way[0], tags[1] > tags[0], "the larger tag decides");
}

#[test]
fn n32_a_call_that_nobody_here_makes_goes_to_whoever_listens_after_ten_seconds() {
    let mut pair = Pair::new(Config::default());
    let ours = call(&pair.a, pair.b.addr);
    pair.settle();
    assert_eq!(ours.poll_connected(&mut cx()), Poll::Ready(Ok(())), "answered at once");
    assert_eq!(ours.try_write(b"hello"), Poll::Ready(Ok(5)));
    pair.pass(secs(9));
    assert!(pair.b.incoming().is_none());
    pair.pass(secs(2));
    let theirs = pair.b.incoming().unwrap().accept();
    assert_eq!(read_some(&theirs).unwrap(), b"hello");
}

#[test]
fn n32_what_was_written_before_goes_with_a_call_that_is_taken_up() {
    for listening in [true, false] {
        let mut pair = Pair::new(Config::default());
        pair.b.lease.set_listening(listening);
        let ours = call(&pair.a, pair.b.addr);
        pair.settle();
        let theirs = call(&pair.b, pair.a.addr);
        assert_eq!(theirs.try_write(b"early"), Poll::Ready(Ok(5)));
        assert!(theirs.poll_finish(&mut cx()).is_ready());
        pair.pass(secs(5));
        assert_eq!((ours.role(), theirs.role()), (Role::Initiator, Role::Acceptor), "listening: {listening}");
        assert_eq!(theirs.poll_connected(&mut cx()), Poll::Ready(Ok(())));
        assert_eq!(read_some(&ours).unwrap(), b"early");
    }
}

#[test]
fn n33_a_vanilla_peer_that_calls_back_is_a_second_connection_or_the_only_one() {
    for policy in [VanillaCross::KeepBoth, VanillaCross::PreferInbound] {
        let mut side = Side::listening(1, Config::default().vanilla_cross(policy));
        let now = Instant::ZERO;
        let ours = call(&side, stranger(1));
        let sent = side.turn(now);
        let syn_seq = Packet::decode(&sent[0].1).unwrap().header.seq;
        let id = ours.conn_ids().recv.get();
        let theirs = if id == 2000 { 3001 } else { 2001 };
        let answers = side.hears(now, stranger(1), syn(theirs, 65_535));
        if policy == VanillaCross::KeepBoth {
            assert_eq!(
                (answers.len(), answers[0].kind, answers[0].seq),
                (1, Kind::Syn, syn_seq),
                "once more"
            );
            assert!(side.incoming().is_some());
            assert_eq!(ours.conn_ids().recv.get(), id);
        } else {
            let kinds: Vec<_> = answers.iter().map(|answer| (answer.kind, answer.conn_id.get())).collect();
            assert!(kinds.contains(&(Kind::Reset, id.wrapping_add(1))), "ours is taken back: {kinds:?}");
            assert!(kinds.contains(&(Kind::State, theirs)));
            assert!(side.incoming().is_none());
            assert_eq!((ours.role(), ours.conn_ids().recv.get()), (Role::Acceptor, theirs + 1));
        }
    }
    assert_eq!(VanillaCross::libtorrent_keeps_outgoing(1, 2), Some(true));
    assert_eq!(VanillaCross::libtorrent_keeps_outgoing(2, 1), Some(false));
    assert_eq!(VanillaCross::libtorrent_keeps_outgoing(2, 2), None);
}
