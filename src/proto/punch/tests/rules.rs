//! One rule each.

use std::net::SocketAddr;

use super::world::{Kind, Side, World, ms, plan, way};
use super::*;
use crate::proto::batch::Batch;
use crate::wire::{Candidate, CandidateKind, ConnId, Packet, SeqNr, Txn};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + ms(millis)
}

fn candidate(kind: CandidateKind, text: &str) -> Candidate {
    Candidate::new(kind, addr(text))
}

const PEER: &str = "203.0.113.1:40000";

fn punch(side: usize, adjust: impl Fn(&mut PunchPlan)) -> Result<Punch, PunchError> {
    let candidates = vec![candidate(CandidateKind::Reflexive, PEER)];
    let mut plan = plan(side, [Kind::PortRestricted; 2], candidates);
    adjust(&mut plan);
    Punch::new(Instant::ZERO, plan, [9; 32], &mut way)
}

/// Time, where, hops, the packet.
type Sent = (Instant, SocketAddr, Option<u8>, Vec<u8>);

/// What the punch sends until then.
fn sent(punch: &mut Punch, until: Instant) -> Vec<Sent> {
    sent_from(punch, Instant::ZERO, until)
}

fn sent_from(punch: &mut Punch, mut now: Instant, until: Instant) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut batch = Batch::new(1);
    loop {
        punch.handle_timeout(now);
        while let Some(path) = {
            batch.clear();
            punch.poll_transmit(now, &mut batch, &|_, _| true)
        } {
            all.push((now, path.peer, batch.ttl(), batch.bytes().to_vec()));
        }
        match punch.poll_timeout() {
            Some(next) if next <= until => now = now.max(next),
            _ => return all,
        }
    }
}

fn actions(punch: &mut Punch) -> Vec<Action> {
    std::iter::from_fn(|| punch.poll_action()).collect()
}

fn question(token: u64, txn: u64) -> Probe {
    let kind = ProbeKind::Question { txn: Txn::new(txn), tie_break: None };
    Probe { token: Token::new(token), kind, len: PROBE_LEN }
}

fn path(text: &str) -> Path {
    way(addr(text)).unwrap()
}

#[test]
fn openers_go_first_and_die_on_the_way_and_then_ready_is_told() {
    let mut punch = punch(0, |_| {}).unwrap();
    let early = sent(&mut punch, at(400));
    assert_eq!(early.len(), 4);
    assert!(early.iter().all(|(_, to, ttl, _)| *to == addr(PEER) && *ttl == Some(OPENER_TTL)));
    assert_eq!(early.last().unwrap().0, at(3));
    assert_eq!(actions(&mut punch), [Action::Ready]);
    punch.go(at(400));
    let full = sent_from(&mut punch, at(400), at(700));
    assert!(full.iter().all(|(_, _, ttl, _)| ttl.is_none()));
    let times: Vec<_> = full.iter().map(|(now, ..)| now.as_micros() / 1000).collect();
    assert_eq!(times, [400, 430, 460, 520, 600, 700]);
}

#[test]
fn without_the_word_full_probes_begin_after_three_seconds_and_two_round_trips() {
    let mut punch = punch(0, |_| {}).unwrap();
    let all = sent(&mut punch, at(3100));
    let first = all.iter().find(|(_, _, ttl, _)| ttl.is_none()).unwrap();
    assert_eq!(first.0, at(3080));
}

#[test]
fn the_peers_full_probe_is_as_good_as_the_word() {
    let mut punch = punch(1, |_| {}).unwrap();
    sent(&mut punch, at(100));
    assert!(punch.handle_probe(at(100), path(PEER), &question(0xBBBB, 1)));
    let all = sent(&mut punch, at(140));
    assert_eq!(all.iter().filter(|(_, _, ttl, _)| ttl.is_none()).count(), 3, "an answer and two probes");
}

#[test]
fn the_local_network_and_ipv6_need_no_opener_and_do_not_wait() {
    let mut punch = punch(0, |plan| {
        plan.candidates = vec![
            candidate(CandidateKind::Host, "10.0.0.2:40000"),
            candidate(CandidateKind::Host, "[2001:db8::2]:40000"),
        ];
    })
    .unwrap();
    let all = sent(&mut punch, at(50));
    assert!(all.iter().all(|(_, _, ttl, _)| ttl.is_none()));
    let times: Vec<_> = all.iter().map(|(now, ..)| now.as_micros() / 1000).collect();
    assert_eq!(times, [0, 5, 30, 35]);
    assert_eq!(actions(&mut punch), [Action::Ready]);
}

#[test]
fn private_addresses_are_probed_only_within_the_same_network() {
    let tries = |public: Option<&str>, reflexive: Option<&str>| {
        punch(0, |plan| {
            plan.local.public_v4 = public.map(|addr| addr.parse().unwrap());
            plan.candidates = vec![candidate(CandidateKind::Host, "192.168.0.9:40000")];
            plan.candidates.extend(reflexive.map(|addr| candidate(CandidateKind::Reflexive, addr)));
        })
        .map_or(0, |punch| punch.report(Instant::ZERO).candidates.len())
    };
    assert_eq!(tries(Some("198.51.100.1:1025"), Some("198.51.100.1:2000")), 2, "behind the same NAT");
    assert_eq!(tries(Some("198.51.100.1:1025"), Some(PEER)), 1, "behind another");
    assert_eq!(tries(Some("198.51.100.1:1025"), None), 0);
    assert_eq!(tries(None, Some(PEER)), 1, "we do not know where we are");
    assert_eq!(tries(None, None), 1, "neither has been seen from outside");
    assert_eq!(tries(Some("10.1.1.1:1025"), Some(PEER)), 2, "the world is a private network");
}

#[test]
fn n06_nothing_is_sent_where_nobody_can_be_or_where_it_is_forbidden() {
    let refused =
        |text: &str| punch(0, |plan| plan.candidates = vec![candidate(CandidateKind::Reflexive, text)]).err();
    for nowhere in ["169.254.1.1:4000", "224.0.0.1:4000", "0.0.0.0:4000", "203.0.113.1:53", "[fe80::1]:4000"]
    {
        assert!(matches!(refused(nowhere), Some(PunchError::NoCandidates(_))), "{nowhere}");
    }
    let vetoed = punch(0, |plan| plan.veto = Some(Veto::new(|addr| addr.port() == 40_000)));
    assert!(matches!(vetoed, Err(PunchError::NoCandidates(_))));
}

#[test]
fn more_than_eight_candidates_do_not_count() {
    let punch = punch(0, |plan| {
        plan.candidates =
            (0..20).map(|n| candidate(CandidateKind::Reflexive, &format!("203.0.113.{n}:40000"))).collect();
    });
    assert_eq!(punch.unwrap().report(Instant::ZERO).candidates.len(), 8);
}

#[test]
fn two_packets_are_five_milliseconds_apart_over_all_candidates() {
    let mut punch = punch(0, |plan| {
        plan.candidates =
            (1..=8).map(|n| candidate(CandidateKind::Reflexive, &format!("203.0.113.{n}:40000"))).collect();
    })
    .unwrap();
    sent(&mut punch, at(200));
    punch.go(at(200));
    let all = sent(&mut punch, at(16_000));
    assert!(all.windows(2).all(|pair| pair[1].0 >= pair[0].0 + PROBE_GAP));
    let full = all.iter().filter(|(_, _, ttl, _)| ttl.is_none()).count();
    assert!(full <= PROBES_MAX as usize, "{full}");
    let reached: std::collections::BTreeSet<_> = all.iter().map(|(_, to, ..)| *to).collect();
    assert_eq!(reached.len(), 8, "all get some");
}

#[test]
fn n03_a_wrong_token_is_answered_with_nothing_and_changes_nothing() {
    let mut punch = punch(1, |_| {}).unwrap();
    sent(&mut punch, at(100));
    let before = punch.report(at(100));
    for token in [0, 0xAAAA, 0xBBBA, u64::MAX] {
        assert!(!punch.handle_probe(at(100), path(PEER), &question(token, 1)));
    }
    assert!(!punch.has_work());
    assert_eq!(punch.report(at(100)), before);
}

#[test]
fn n03_an_answer_is_never_longer_than_the_question() {
    let mut punch = punch(1, |_| {}).unwrap();
    sent(&mut punch, at(100));
    let short = Probe { len: PROBE_LEN - 1, ..question(0xBBBB, 1) };
    assert!(punch.handle_probe(at(100), path(PEER), &short));
    assert!(!punch.has_work());
    assert!(punch.handle_probe(at(100), path(PEER), &question(0xBBBB, 2)));
    let mut batch = Batch::new(1);
    punch.poll_transmit(at(100), &mut batch, &|_, _| true).unwrap();
    assert_eq!(batch.bytes().len(), PROBE_LEN);
    let probe = Probe::read(&Packet::decode(batch.bytes()).unwrap()).unwrap();
    assert_eq!(probe.token, Token::new(0xAAAA), "the asker's");
    assert_eq!(probe.kind, ProbeKind::Answer { echo: Txn::new(2), observed: Some(addr(PEER)) });
}

#[test]
fn n03_answers_are_bounded_even_for_those_with_the_token() {
    let mut punch = punch(1, |_| {}).unwrap();
    let mut answers = 0;
    for txn in 0..10_000 {
        punch.handle_probe(at(100), path(PEER), &question(0xBBBB, txn));
        let mut batch = Batch::new(1);
        while punch.poll_transmit(at(100), &mut batch, &|_, _| true).is_some() {
            answers += 1;
            batch.clear();
        }
    }
    assert!(answers <= 600, "{answers}");
}

#[test]
fn a_peer_that_was_not_named_is_probed_at_once_but_no_more_than_eight_of_them() {
    let mut punch = punch(1, |_| {}).unwrap();
    sent(&mut punch, at(100));
    punch.go(at(100));
    for n in 1..=20u16 {
        punch.handle_probe(
            at(100),
            path(&format!("203.0.113.1:{}", 50_000 + n)),
            &question(0xBBBB, n.into()),
        );
    }
    let all = sent(&mut punch, at(150));
    let probed = all.iter().filter(|(_, to, _, bytes)| {
        let probe = Probe::read(&Packet::decode(bytes).unwrap()).unwrap();
        to.port() > 50_000 && matches!(probe.kind, ProbeKind::Question { .. })
    });
    let places: std::collections::BTreeSet<_> = probed.map(|(_, to, ..)| *to).collect();
    assert_eq!(places.len(), PEER_REFLEXIVE_MAX);
}

#[test]
fn with_a_token_that_others_can_know_only_named_addresses_are_believed() {
    let mut punch = punch(1, |plan| plan.believe_unnamed = false).unwrap();
    punch.handle_probe(at(1), path("203.0.113.1:50000"), &question(0xBBBB, 1));
    assert_eq!(punch.report(at(1)).probes_seen, 0);
    punch.handle_probe(at(1), path(PEER), &question(0xBBBB, 1));
    assert_eq!(punch.report(at(1)).probes_seen, 1);
}

#[test]
fn a_mirror_is_not_a_peer() {
    let mut punch = punch(0, |plan| {
        plan.role = PunchRole::Undecided { tie_break: 5 };
        plan.remote_token = plan.local_token;
    })
    .unwrap();
    for (now, _, _, bytes) in sent(&mut punch, at(2000)) {
        let probe = Probe::read(&Packet::decode(&bytes).unwrap()).unwrap();
        punch.handle_probe(now, path(PEER), &probe);
    }
    let report = punch.report(at(2000));
    assert_eq!((report.probes_seen, report.acks_seen, punch.is_initiator()), (0, 0, None));
}

#[test]
fn the_initiator_calls_when_the_peer_is_heard_and_waits_a_moment_for_a_better_path() {
    let mut punch = punch(0, |plan| {
        plan.local.public_v4 = Some("203.0.113.1:1025".parse().unwrap());
        plan.candidates.push(candidate(CandidateKind::Host, "192.168.0.9:40000"));
    })
    .unwrap();
    actions(&mut punch);
    punch.handle_probe(at(50), path(PEER), &question(0xAAAA, 1));
    assert!(!actions(&mut punch).contains(&Action::Connect(path(PEER))));
    punch.handle_probe(at(55), path("192.168.0.9:40000"), &question(0xAAAA, 2));
    assert!(actions(&mut punch).contains(&Action::Connect(path("192.168.0.9:40000"))));
}

#[test]
fn a_call_that_is_not_answered_is_repeated_and_then_another_path_is_called() {
    let mut punch = punch(0, |_| {}).unwrap();
    let other = "203.0.113.1:50000";
    punch.handle_probe(at(50), path(PEER), &question(0xAAAA, 1));
    punch.handle_probe(at(50), path(other), &question(0xAAAA, 2));
    sent(&mut punch, at(3000));
    let calls: Vec<_> = actions(&mut punch)
        .into_iter()
        .filter(|action| matches!(action, Action::Connect(_) | Action::Repeat(_)))
        .collect();
    let (first, second) = (path(PEER), path(other));
    assert_eq!(calls[..3], [Action::Connect(first), Action::Repeat(first), Action::Repeat(first)]);
    assert_eq!(calls[3], Action::Connect(second));
}

#[test]
fn only_the_right_session_and_token_make_a_syn_the_peers() {
    let mut acceptor = punch(1, |_| {}).unwrap();
    let (session, token) = (acceptor.session(), acceptor.local_token());
    assert!(!acceptor.handle_syn(at(1), path(PEER), Session::new([8; 16]), token));
    assert!(!acceptor.handle_syn(at(1), path(PEER), session, Token::new(1)));
    assert!(acceptor.handle_syn(at(1), path(PEER), session, token));
    let mut initiator = punch(0, |_| {}).unwrap();
    let token = initiator.local_token();
    assert!(!initiator.handle_syn(at(1), path(PEER), session, token), "nobody calls the caller");
}

#[test]
fn after_success_the_peer_is_answered_for_five_seconds_and_nothing_else_is_sent() {
    let mut world = World::new([Kind::PortRestricted; 2], 1, |_, _| {});
    world.run(ms(16_000));
    let (met, side) = (world.now, &mut world.sides[1]);
    let peer = side.outcome.clone().unwrap().unwrap();
    let sent = |side: &mut Side, now: Instant| {
        let mut batch = Batch::new(1);
        side.punch.handle_timeout(now);
        let mut count = 0;
        while side.punch.poll_transmit(now, &mut batch, &|_, _| true).is_some() {
            let probe = Probe::read(&Packet::decode(batch.bytes()).unwrap()).unwrap();
            assert!(matches!(probe.kind, ProbeKind::Answer { .. }));
            batch.clear();
            count += 1;
        }
        count
    };
    let unasked: usize = (1..=20).map(|n| sent(side, met + ms(n * 50))).sum();
    assert_eq!(unasked, 3);
    side.punch.handle_probe(met + ms(4900), peer, &question(0xBBBB, 77));
    assert_eq!(sent(side, met + ms(4900)), 1);
    assert!(!side.over);
    assert_eq!(sent(side, met + ms(5000)), 0);
    assert!(actions(&mut side.punch).contains(&Action::Over));
    assert!(!side.punch.handle_probe(met + ms(5001), peer, &question(0xBBBB, 78)));
}

#[test]
fn a_reset_of_a_probe_tells_that_the_peer_is_of_another_kind() {
    let mut punch = punch(0, |plan| plan.start = Start::After(WAIT_MIN)).unwrap();
    let early = sent(&mut punch, at(300));
    let header = Packet::decode(&early.last().unwrap().3).unwrap().header;
    assert!(!punch.handle_reset(path(PEER), header.conn_id, SeqNr::new(0).next()));
    assert!(punch.handle_reset(path(PEER), header.conn_id, header.seq));
    sent(&mut punch, at(15_000));
    let failed = actions(&mut punch);
    assert!(failed.iter().any(|action| matches!(action, Action::Failed(PunchError::Vanilla(_)))));
}

#[test]
fn an_id_that_a_connection_uses_is_not_drawn() {
    let mut punch = punch(0, |_| {}).unwrap();
    let mut batch = Batch::new(1);
    let free = |_: Path, id: ConnId| id.get() < 0x4000;
    let mut drawn = 0;
    for millis in 0..100 {
        punch.handle_timeout(at(millis));
        while punch.poll_transmit(at(millis), &mut batch, &free).is_some() {
            let id = Packet::decode(batch.bytes()).unwrap().header.conn_id;
            drawn += u32::from(id.get() < 0x4000);
            batch.clear();
        }
    }
    assert_eq!(drawn, 4);
}
