//! What an address gets that has proved nothing: never more than it gave.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::wire::HEADER_LEN;

/// How many random sequences; `EBBTIDE_T01_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 100_000;

/// Things that happen in one sequence.
const STEPS: usize = 24;

/// Somebody who sends with forged addresses and sees no answer, and an application that does everything it can do.
struct Case {
    rng: StdRng,
    side: Side,
    now: Instant,
    undecided: Vec<Incoming>,
    handles: Vec<Handle>,
    /// Bytes that came from, and went to, each address.
    ledger: BTreeMap<SocketAddr, (usize, usize)>,
    forged: u64,
    /// Acknowledgements that would prove an address, which nobody who does not receive there can know.
    secrets: Vec<(SocketAddr, u16)>,
}

impl Case {
    fn new(seed: u64, batch: Batch) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = StdRng::from_seed(bytes);
        let config = Config::default()
            .half_open(rng.random_range(1..5))
            .accept_queue(rng.random_range(1..9))
            .max_connections(rng.random_range(1..9))
            .resets_per_second(100_000)
            .linger(secs(rng.random_range(0..20)))
            .nodelay(rng.random());
        let mut side = Side::new(1, config);
        side.batch = batch;
        side.lease.set_listening(rng.random_bool(0.9));
        let (undecided, handles, ledger, secrets) = Default::default();
        Self { rng, side, now: Instant::ZERO, undecided, handles, ledger, secrets, forged: 0 }
    }

    /// Whether the forger has guessed the number of a cookie that was never sent, which one guess in 65,536 does.
    fn has_guessed(&self) -> bool {
        self.side.endpoint.stats().cookies_proved > 0
    }

    fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..=11 => self.send(),
            12..=14 => self.decide(),
            15..=17 => self.use_handle(),
            18 => self.now = self.now + millis([1, 500, 1000, 5000, 20_000][self.rng.random_range(0..5)]),
            _ => match self.rng.random_range(0..40) {
                0 => self.side.lease.close(),
                _ => self.side.lease.set_listening(self.rng.random_bool(0.8)),
            },
        }
        if !self.has_guessed() {
            self.turn();
        }
    }

    fn send(&mut self) {
        let rng = &mut self.rng;
        let from = stranger(rng.random_range(1..4));
        let kind =
            [Kind::Syn, Kind::Syn, Kind::Data, Kind::State, Kind::Fin, Kind::Reset][rng.random_range(0..6)];
        let (id, seq) = (rng.random_range(5..9), rng.random_range(65_534..=65_535u16));
        let seq = seq.wrapping_add(rng.random_range(0..3));
        let ack = match rng.random_range(0..4) {
            0 => seq,
            _ => rng.random(),
        };
        if kind != Kind::Syn && self.secrets.contains(&(from, ack)) {
            return;
        }
        let payload = vec![0; [0, 0, 1, 100, 1380][rng.random_range(0..5)]];
        let mut datagram = bytes(header(kind, id, seq, ack), &payload);
        if rng.random_bool(0.05) {
            datagram[1] = rng.random();
        }
        datagram.truncate(if rng.random_bool(0.05) { rng.random_range(0..40) } else { usize::MAX });
        for _ in 0..rng.random_range(1..3) {
            self.side.receive(self.now, from, &datagram);
            self.forged += 1;
            self.ledger.entry(from).or_default().0 += datagram.len();
        }
    }

    fn decide(&mut self) {
        self.undecided.extend(self.side.incoming());
        let Some(incoming) = self.undecided.pop() else { return };
        match self.rng.random_range(0..8) {
            0 => incoming.refuse(),
            1 => incoming.ignore(),
            2 => self.undecided.insert(0, incoming),
            _ => self.handles.push(incoming.accept()),
        }
    }

    fn use_handle(&mut self) {
        if self.handles.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.handles.len());
        let handle = &self.handles[at];
        match self.rng.random_range(0..6) {
            0 => drop(self.handles.swap_remove(at)),
            1 => handle.abort(),
            2 => _ = handle.poll_finish(&mut cx()),
            3 => _ = handle.poll_flush(&mut cx()),
            _ => _ = handle.try_write(&[7; 5000]),
        }
    }

    /// Lets the endpoint do what it wants, and looks at what leaves.
    fn turn(&mut self) {
        for (to, datagram) in self.side.turn(self.now) {
            assert_eq!(datagram.len(), HEADER_LEN, "one header, no extension, no payload");
            let header = Packet::decode(&datagram).unwrap().header;
            assert!(matches!(header.kind, Kind::State | Kind::Reset), "{header:?}");
            if header.kind == Kind::State {
                self.secrets.push((to, header.seq.prev().get()));
            }
            let (came, went) = self.ledger.entry(to).or_default();
            *went += datagram.len();
            assert!(went <= came, "{went} bytes to {to} for {came}");
        }
    }
}

#[test]
fn t01_reflection_an_unproved_address_never_gets_more_than_it_gave() {
    let wanted = std::env::var("EBBTIDE_T01_SEQUENCES").ok().and_then(|text| text.parse().ok());
    let sequences = wanted.unwrap_or(SEQUENCES);
    let (mut came, mut went, mut most, mut guessed, mut forged) = (0, 0, 0.0f64, 0, 0);
    let mut batch = Batch::new(64);
    for seed in 0..sequences {
        let mut case = Case::new(seed, batch);
        for _ in 0..STEPS {
            case.step();
        }
        if case.has_guessed() {
            guessed += 1;
            batch = std::mem::replace(&mut case.side.batch, Batch::new(1));
            continue;
        }
        // And nothing follows by itself.
        for _ in 0..40 {
            let Some(next) = case.side.endpoint.poll_timeout() else { break };
            case.now = case.now.max(next);
            case.turn();
        }
        forged += case.forged;
        for &(in_bytes, out_bytes) in case.ledger.values() {
            came += in_bytes;
            went += out_bytes;
            most = most.max(out_bytes as f64 / in_bytes as f64);
        }
        case.handles.clear();
        case.undecided.clear();
        batch = std::mem::replace(&mut case.side.batch, Batch::new(1));
    }
    eprintln!(
        "t01 bound=1.0 measured={most:.3} at most, {:.3} in all, {forged} forged packets in {sequences} \
         sequences, {guessed} lucky guesses left out",
        went as f64 / came as f64
    );
    // At most eight guesses in each of a dozen packets.
    assert!(went > 0 && most <= 1.0 && guessed <= 10 + sequences / 1000);
}

#[test]
fn t01_reflection_the_answer_to_a_syn_is_twenty_bytes_and_never_comes_by_itself() {
    let mut side = Side::listening(1, Config::default());
    let mut now = Instant::ZERO;
    let answers = side.hears(now, stranger(1), syn(7, 65_535));
    assert!(answers.is_empty());
    let handle = side.incoming().unwrap().accept();
    assert_eq!(handle.try_write(&[0; 100_000]), Poll::Ready(Ok(100_000)));
    let mut out: usize = side.turn(now).iter().map(|(_, datagram)| datagram.len()).sum();
    for repetition in 1..=9 {
        for _ in 0..100 {
            now = now + millis(10);
            out += side.turn(now).len();
        }
        assert_eq!(out, 20 * repetition, "silence until it is asked again");
        side.receive(now, stranger(1), &bytes(syn(7, 65_535), b""));
        out += side.turn(now).iter().map(|(_, datagram)| datagram.len()).sum::<usize>();
    }
    // Only the exact number proves anything.
    let number = Packet::decode(&bytes(syn(7, 65_535), b"")).unwrap().header.seq;
    for wrong in (0..=u16::MAX).step_by(7) {
        let guess = header(Kind::State, 8, number.next().get(), wrong);
        let answers = side.hears(now, stranger(1), guess);
        if !answers.is_empty() {
            assert_eq!(side.endpoint.half_open(), 0, "that was the one");
            return;
        }
    }
    assert_eq!(side.endpoint.half_open(), 1);
}
