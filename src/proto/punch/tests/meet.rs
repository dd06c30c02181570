//! Pairs of NATs: who meets, how fast, and what is said where nobody can.

use super::world::{EASY, Kind, World, ms};
use super::*;

#[test]
fn every_pair_of_easy_nats_meets_within_the_first_second() {
    for a in EASY {
        for b in EASY {
            for seed in 0..20 {
                let mut world = World::new([a, b], seed, |_, _| {});
                world.run(ms(16_000));
                assert!(world.both_met(), "{a:?} {b:?}: {:?}", world.outcomes());
                // Openers, the server's round trip, one and a half of the peer's.
                assert!(world.now <= Instant::ZERO + ms(16 + 40 + 60 + 30), "{a:?} {b:?}: {}", world.now);
                assert_eq!(world.sides[0].connects, 1);
            }
        }
    }
}

#[test]
fn easy_nats_meet_through_loss() {
    let (mut late, mut total) = (0, 0);
    for seed in 0..200 {
        for (a, b) in [(EASY[1], EASY[1]), (EASY[2], EASY[2]), (EASY[2], EASY[1])] {
            let mut world = World::new([a, b], seed, |_, _| {});
            world.loss = 5;
            world.run(ms(16_000));
            total += 1;
            late += u32::from(!world.both_met() || world.now > Instant::ZERO + ms(5000));
        }
    }
    assert!(late * 100 <= total, "{late} of {total} did not meet in 5 s at 20 % loss");
}

#[test]
fn a_symmetric_nat_meets_every_easy_one() {
    let mut times = Vec::new();
    for (seed, easy) in (0..60).zip(EASY.into_iter().cycle()) {
        for kinds in [[Kind::Symmetric, easy], [easy, Kind::Symmetric]] {
            let mut world = World::new(kinds, seed, |_, _| {});
            world.run(ms(16_000));
            assert!(world.both_met(), "{kinds:?} {seed}: {:?}", world.outcomes());
            if easy != Kind::FullCone {
                times.push(world.now.as_micros() / 1000);
            }
        }
    }
    times.sort_unstable();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    println!("symmetric against restricted: median {median} ms, at most {most} ms, {} runs", times.len());
    assert!(median <= 3000 && most <= 12_000, "{times:?}");
}

#[test]
fn two_symmetric_nats_are_told_so_within_three_seconds() {
    let mut world = World::new([Kind::Symmetric; 2], 1, |_, _| {});
    world.run(ms(16_000));
    assert!(world.now <= Instant::ZERO + ms(3000), "{}", world.now);
    for outcome in world.outcomes() {
        let error = outcome.unwrap_err();
        assert!(matches!(error, PunchError::BothSymmetric(_)), "{error}");
        assert_eq!(error.to_string().matches("a symmetric NAT").count(), 2, "{error}");
    }
}

#[test]
fn blocked_udp_is_told_so_within_five_seconds() {
    for (kinds, known) in
        [([Kind::Blocked, Kind::FullCone], true), ([Kind::PortRestricted, Kind::Blocked], false)]
    {
        let mut world = World::new(kinds, 1, |side, plan| {
            plan.local.blocked = known && kinds[side] == Kind::Blocked;
            plan.remote.blocked = known && kinds[1 - side] == Kind::Blocked;
        });
        world.run(ms(16_000));
        assert!(world.now <= Instant::ZERO + ms(5000), "{}", world.now);
        for outcome in world.outcomes() {
            assert!(matches!(outcome, Err(PunchError::UdpBlocked(_))), "{outcome:?}");
        }
    }
}

#[test]
fn without_a_server_the_openers_still_come_first() {
    for (skew, wait) in [(0, 150), (100, 300)] {
        for seed in 0..10 {
            let mut world = World::new([Kind::LinuxOpen; 2], seed, |side, plan| {
                plan.start = Start::After(ms(wait + skew * side as u64));
            });
            world.run(ms(16_000));
            assert!(world.both_met(), "{:?}", world.outcomes());
        }
    }
}

#[test]
fn roles_that_nobody_gave_are_found_and_they_are_opposite() {
    for seed in 0..20 {
        let mut world = World::new([Kind::PortRestricted, Kind::LinuxOpen], seed, |side, plan| {
            plan.role = PunchRole::Undecided { tie_break: seed ^ (side as u64 * 0xFFFF) };
        });
        world.run(ms(16_000));
        assert!(world.both_met(), "{:?}", world.outcomes());
        let roles = [0, 1].map(|side| world.sides[side].punch.is_initiator().unwrap());
        assert_ne!(roles[0], roles[1]);
    }
}

#[test]
fn a_peer_that_comes_late_is_met_all_the_same() {
    let mut world = World::new([Kind::PortRestricted; 2], 3, |_, plan| {
        plan.start = Start::After(WAIT_MIN);
    });
    // The other side's word does not get through for four seconds.
    world.loss = 1;
    world.run(ms(4000));
    world.loss = 0;
    world.run(ms(16_000));
    assert!(world.both_met(), "{:?}", world.outcomes());
    assert!(world.now <= Instant::ZERO + ms(5500), "{}", world.now);
}

#[test]
fn what_nobody_answers_is_tried_again_with_a_fresh_socket_and_given_up_in_time() {
    let mut world = World::new([Kind::PortRestricted; 2], 3, |_, plan| {
        plan.start = Start::After(WAIT_MIN);
    });
    world.loss = 1;
    world.run(ms(30_000));
    assert!(world.now <= Instant::ZERO + ms(15_001), "{}", world.now);
    for side in 0..2 {
        let error = world.outcomes()[side].clone().unwrap_err();
        assert!(matches!(error, PunchError::Timeout(_)), "{error}");
        assert_eq!((error.report().attempts, world.sides[side].sockets), (2, 1));
        assert!(world.sides[side].over);
    }
}

#[test]
fn without_leave_nothing_is_searched() {
    let mut world = World::new([Kind::Symmetric, Kind::PortRestricted], 3, |_, plan| {
        plan.birthday = false;
    });
    world.run(ms(16_000));
    assert!(!world.both_met());
    assert!(world.sides.iter().all(|side| side.sent.len() <= 240 && side.sockets <= 1));
}
