//! The machine that probes, against those who forge its packets and those who misuse it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::Instant;
use ebbtide::proto::batch::{Batch, Path, SocketId};
use ebbtide::proto::punch::{
    Action, NatReport, PROBE_LEN, Probe, ProbeKind, Punch, PunchPlan, PunchRole, Start,
};
use ebbtide::wire::{Candidate, CandidateKind, Mapping, NatClass, Session, Token, Txn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const OURS: Token = Token::new(0x0123_4567_89AB_CDEF);
const THEIRS: Token = Token::new(0xFEDC_BA98_7654_3210);
const VICTIM: &str = "203.0.113.1:40000";

const HARD: Mapping = Mapping::EndpointDependent { step: 0, block: 0 };
const EASY: Mapping = Mapping::EndpointIndependent;

fn plan(local: Mapping, remote: Mapping, candidates: Vec<Candidate>) -> PunchPlan {
    let mut plan = PunchPlan::new(Session::new([3; 16]), PunchRole::Initiator, OURS, THEIRS, candidates);
    plan.local = NatReport::from(NatClass::new(local));
    plan.remote = NatClass::new(remote);
    plan
}

fn at_victim(kind: CandidateKind) -> Candidate {
    Candidate::new(kind, VICTIM.parse().unwrap())
}

fn path(peer: SocketAddr) -> Path {
    Path { socket: SocketId::new(0), peer }
}

fn begin(plan: PunchPlan) -> Punch {
    Punch::new(Instant::ZERO, plan, [4; 32], &mut |addr| Some(path(addr))).unwrap()
}

/// Lets it send for that long with nobody answering, every socket opened that it asks for. Returns bytes in all, bytes
/// to one address at most, and when the last one left.
fn alone(punch: &mut Punch, time: Duration) -> (usize, usize, Instant) {
    let (mut batch, mut now, mut sockets) = (Batch::new(1), Instant::ZERO, 0);
    let (mut bytes, mut last) = (0, Instant::ZERO);
    let mut to_one = std::collections::BTreeMap::<SocketAddr, usize>::new();
    while now < Instant::ZERO + time {
        punch.handle_timeout(now);
        if punch.wants_birthday(now) {
            punch.begin_birthday(now);
        }
        while let Some(action) = punch.poll_action() {
            if let Action::OpenSockets { count, .. } = action {
                for _ in 0..count {
                    sockets += 1;
                    punch.socket_opened(now, Some(SocketId::new(sockets)));
                }
            }
        }
        batch.clear();
        while let Some(path) = punch.poll_transmit(now, &mut batch, &|_, _| true) {
            bytes += batch.bytes().len();
            *to_one.entry(path.peer).or_default() += batch.bytes().len();
            last = now;
            batch.clear();
        }
        now = now + Duration::from_millis(1);
    }
    (bytes, to_one.values().copied().max().unwrap_or(0), last)
}

#[test]
fn n04_a_million_guesses_forge_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut punch = begin(plan(EASY, EASY, vec![at_victim(CandidateKind::Reflexive)]));
    punch.handle_timeout(Instant::ZERO + Duration::from_millis(200));
    let before = punch.report(Instant::ZERO);
    let source = path(VICTIM.parse().unwrap());
    let now = Instant::ZERO + Duration::from_millis(250);
    for _ in 0..1_000_000 {
        let token = Token::new(rng.random());
        let kind = match rng.random() {
            true => ProbeKind::Question { txn: Txn::new(rng.random()), tie_break: None },
            false => ProbeKind::Answer { echo: Txn::new(rng.random()), observed: None },
        };
        assert!(!punch.handle_probe(now, source, &Probe { token, kind, len: PROBE_LEN }));
        assert!(!punch.handle_syn(now, source, punch.session(), token));
    }
    assert_eq!(punch.report(Instant::ZERO), before);
    // Even with the token, which only the peer has, no answer to a question is guessed.
    for _ in 0..1_000_000 {
        let kind = ProbeKind::Answer { echo: Txn::new(rng.random()), observed: None };
        punch.handle_probe(now, source, &Probe { token: OURS, kind, len: PROBE_LEN });
    }
    assert_eq!(punch.report(now).acks_seen, 0);
    println!("n04: 1,000,000 guesses of the token and 1,000,000 of a question's number: none accepted");
}

#[test]
fn n06_a_victim_named_as_the_peer_gets_170_kilobytes_at_most_and_then_silence() {
    let one = || vec![at_victim(CandidateKind::Reflexive)];
    let all = || {
        let ports = 0..8u16;
        let kind = CandidateKind::Mapped;
        ports
            .map(|n| Candidate::new(kind, SocketAddr::new("203.0.113.1".parse().unwrap(), 40_000 + n)))
            .collect()
    };
    for (name, local, remote, candidates) in [
        ("plain", EASY, EASY, one()),
        ("plain, eight candidates", EASY, EASY, all()),
        ("searching its port", EASY, HARD, one()),
        ("searching its port, eight candidates", EASY, HARD, all()),
        ("many sockets", HARD, EASY, all()),
        ("both symmetric", HARD, HARD, all()),
    ] {
        let mut punch = begin(PunchPlan {
            start: Start::After(Duration::from_millis(150)),
            ..plan(local, remote, candidates)
        });
        let (bytes, to_one, last) = alone(&mut punch, Duration::from_secs(60));
        println!("n06: {name}: {bytes} bytes in all, {to_one} to one port at most, the last after {last}");
        assert!(bytes <= 170_000, "{name}: {bytes}");
        assert!(last <= Instant::ZERO + Duration::from_secs(15), "{name}: {last}");
    }
}

#[test]
fn n06_two_hundred_probes_a_second_at_most() {
    let mut punch = begin(plan(EASY, HARD, vec![at_victim(CandidateKind::Reflexive)]));
    let (mut batch, mut times) = (Batch::new(1), Vec::new());
    for millis in 0..15_000 {
        let now = Instant::ZERO + Duration::from_millis(millis);
        punch.handle_timeout(now);
        punch.begin_birthday(now);
        while punch.poll_transmit(now, &mut batch, &|_, _| true).is_some() {
            if batch.ttl().is_none() {
                times.push(millis);
            }
            batch.clear();
        }
    }
    let most = (0..15).map(|second| times.iter().filter(|at| **at / 1000 == second).count()).max().unwrap();
    println!("n06: {} probes, {most} in one second at most", times.len());
    assert!(most <= 200, "{most}");
    assert!(times.len() <= 2048 + 120, "{}", times.len());
}

#[test]
fn n06_an_attacker_with_the_token_has_us_probe_eight_more_addresses_and_no_more() {
    let mut punch = begin(plan(EASY, EASY, vec![at_victim(CandidateKind::Reflexive)]));
    let (mut batch, mut in_bytes, mut out_bytes) = (Batch::new(1), 0, 0);
    let mut probed = BTreeSet::new();
    for millis in 0..16_000u32 {
        let now = Instant::ZERO + Duration::from_millis(millis.into());
        punch.handle_timeout(now);
        let [a, b] = ((millis % 5000) as u16).to_be_bytes();
        let victim = SocketAddr::from(([198, 18, a, b], 7000));
        let kind = ProbeKind::Question { txn: Txn::new(millis.into()), tie_break: None };
        punch.handle_probe(now, path(victim), &Probe { token: OURS, kind, len: PROBE_LEN });
        in_bytes += PROBE_LEN;
        while let Some(path) = punch.poll_transmit(now, &mut batch, &|_, _| true) {
            out_bytes += batch.bytes().len();
            let packet = ebbtide::wire::Packet::decode(batch.bytes()).unwrap();
            if matches!(Probe::read(&packet).unwrap().kind, ProbeKind::Question { .. }) {
                probed.insert(path.peer);
            }
            batch.clear();
        }
    }
    println!("n06: {in_bytes} forged bytes in, {out_bytes} out, {} addresses probed", probed.len());
    assert!(out_bytes <= in_bytes && out_bytes <= 60_000, "{out_bytes}");
    assert!(probed.len() <= 1 + 8, "{probed:?}");
}

#[test]
fn n07_the_search_stays_within_one_address_and_above_the_systems_ports() {
    let mut punch = begin(plan(EASY, HARD, vec![at_victim(CandidateKind::Reflexive)]));
    let (mut batch, mut ports) = (Batch::new(1), BTreeSet::new());
    for millis in 0..15_000 {
        let now = Instant::ZERO + Duration::from_millis(millis);
        punch.handle_timeout(now);
        punch.begin_birthday(now);
        while let Some(path) = punch.poll_transmit(now, &mut batch, &|_, _| true) {
            assert_eq!(path.peer.ip(), "203.0.113.1".parse::<std::net::IpAddr>().unwrap());
            ports.insert(path.peer.port());
            batch.clear();
        }
    }
    println!("n07: {} ports of one address, the lowest {}", ports.len(), ports.first().unwrap());
    assert!(*ports.first().unwrap() >= 1024 && ports.len() <= 2049);
}
