//! What a single link does to packets that are handed to it one by one.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use super::super::burst::Burst;
use super::super::discipline::Discipline;
use super::super::fault::Span;
use super::super::quantity::{Rate, Size};
use super::super::strike::Strike;
use super::*;

const MS: u64 = 1_000_000;

fn pipe(link: Link) -> Pipe {
    Pipe::new(link, Rng::new(1))
}

/// 1,000 bytes on the wire, which 8 Mbit/s carry in a millisecond.
fn kilobyte() -> Vec<u8> {
    vec![0; 1000 - OVERHEAD.as_bytes() as usize]
}

#[test]
fn packets_queue_behind_each_other_and_overflow_at_the_tail() {
    let link =
        Link::perfect().rate(Rate::megabits(8)).delay(Duration::from_millis(10)).queue(Size::bytes(3000));
    let mut pipe = pipe(link);
    let arrivals: Vec<_> = (0..4).map(|_| pipe.offer(0, &kilobyte(), None).arrives).collect();
    assert_eq!(arrivals, [Some(11 * MS), Some(12 * MS), Some(13 * MS), None]);
    assert_eq!(pipe.stats().struck(Fault::QueueFull), 1);
    // After a millisecond there is room for one more.
    assert_eq!(pipe.offer(MS, &kilobyte(), None).arrives, Some(14 * MS));
    assert_eq!(pipe.stats().queue_bytes_max, 3000);
}

#[test]
fn jitter_does_not_reorder_and_reordering_does() {
    let link = Link::perfect().delay(Duration::from_millis(1)).jitter(Duration::from_millis(50));
    let mut jittery = pipe(link);
    let arrivals: Vec<_> = (0..200).filter_map(|i| jittery.offer(i * MS, &[0; 20], None).arrives).collect();
    assert!(arrivals.is_sorted() && arrivals.len() == 200);
    let mut reordering = pipe(Link::perfect().reorder(Strike::every(2), Duration::from_millis(5)));
    let arrivals: Vec<_> = (0..4).filter_map(|i| reordering.offer(i * MS, &[0; 20], None).arrives).collect();
    assert_eq!(arrivals, [0, 6 * MS, 2 * MS, 8 * MS]);
}

#[test]
fn a_packet_larger_than_the_mtu_vanishes() {
    let mut pipe = pipe(Link::perfect().mtu(Size::bytes(1000)));
    assert!(pipe.offer(0, &kilobyte(), None).arrives.is_some());
    let mut large = kilobyte();
    large.push(0);
    assert_eq!(pipe.offer(0, &large, None).faults().collect::<Vec<_>>(), [Fault::Oversize]);
}

#[test]
fn corruption_is_noticed_unless_asked_otherwise_and_then_stays_in_the_header() {
    let corrupt = Link::perfect().corrupt(Strike::always());
    assert_eq!(pipe(corrupt).offer(0, &kilobyte(), None).arrives, None);
    let mut pipe = pipe(corrupt.deliver_corrupt(true));
    let flips: Vec<_> = (0..1000).filter_map(|_| pipe.offer(0, &kilobyte(), None).flip).collect();
    assert!(flips.len() == 1000 && flips.iter().all(|bit| (0..160).contains(bit)));
}

/// Hands over a packet every millisecond; returns when each arrived, and what the link has counted.
fn run(link: Link, packets: u64) -> (Vec<Option<u64>>, LinkStats) {
    let mut pipe = pipe(link);
    let arrivals = (0..packets).map(|i| pipe.offer(i * MS, &kilobyte(), None).arrives).collect();
    (arrivals, *pipe.stats())
}

#[test]
fn a_burst_loses_packets_in_a_row() {
    let (arrivals, stats) = run(Link::perfect().with(LinkFault::Burst(Burst::mean(0.1, 10.0))), 10_000);
    let lost = stats.struck(Fault::BurstLost);
    assert!((700..1300).contains(&lost), "{lost}");
    let begins = arrivals.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_none()).count() as u64;
    assert!(begins * 6 < lost, "{begins} bursts of {lost}");
}

#[test]
fn a_black_hole_opens_and_closes_by_the_clock() {
    let (up, down) = (Duration::from_millis(30), Duration::from_millis(10));
    let (arrivals, stats) = run(Link::perfect().with(LinkFault::Blackhole { up, down }), 80);
    let passed: Vec<_> = (0..80).filter(|i| arrivals[*i].is_some()).collect();
    assert_eq!(passed, (0..30).chain(40..70).collect::<Vec<_>>());
    assert_eq!(stats.fault_counts()[FaultKind::Blackhole], 20);
}

#[test]
fn a_step_of_the_rate_comes_and_goes() {
    let steps = LinkFault::Steps { percent: 50, every: Duration::from_millis(10) };
    let link = Link::perfect().rate(Rate::megabits(16)).with(steps);
    let (arrivals, stats) = run(link, 40);
    let took: Vec<_> = arrivals.iter().zip(0..).map(|(at, i)| at.unwrap() - i * MS).collect();
    assert!((0..40).all(|i| took[i] == if i / 10 % 2 == 0 { MS / 2 } else { MS }), "{took:?}");
    assert_eq!(stats.fault_counts()[FaultKind::BandwidthStep], 3);
}

#[test]
fn a_spike_delays_all_that_follows_and_overtakes_nothing() {
    let lasts = Span::exactly(Duration::from_millis(20));
    let (arrivals, stats) =
        run(Link::perfect().with(LinkFault::Spike { which: Strike::run(5, 1), lasts }), 40);
    let expected = (0..40).map(|i| Some(if (4..24).contains(&i) { 24 * MS } else { i * MS }));
    assert!(arrivals.into_iter().eq(expected));
    assert_eq!(stats.struck(Fault::Stalled), 1);
}

#[test]
fn an_mtu_that_shrinks_lets_larger_packets_through_before() {
    let shrink = LinkFault::MtuShrink { after: 7, mtu: Size::bytes(999) };
    let (arrivals, stats) = run(Link::perfect().with(shrink), 10);
    assert!((0..10).all(|i| arrivals[i].is_some() == (i < 7)));
    assert_eq!(stats.struck(Fault::Shrunk), 3);
    let (_, stats) = run(Link::perfect().with(LinkFault::MtuBlackhole(Size::bytes(999))), 10);
    assert_eq!(stats.fault_counts()[FaultKind::MtuBlackhole], 10);
}

#[test]
fn a_policer_never_lets_a_packet_wait() {
    // 8,000 bit/ms come, half of that passes, after a burst of ten packets.
    let (rate, burst) = (Rate::megabits(4), Size::bytes(10_000));
    let as_fault = Link::perfect().with(LinkFault::Police { rate, burst });
    let as_discipline = Link::perfect().discipline(Discipline::Policer { rate, burst });
    for link in [as_fault, as_discipline] {
        let (arrivals, stats) = run(link, 1000);
        assert!(arrivals.iter().zip(0..).all(|(at, i)| at.is_none_or(|at| at == i * MS)));
        assert_eq!(stats.struck(Fault::Policed), 1000 - (10 + 999 / 2));
    }
}

#[test]
fn acknowledgements_have_a_bottleneck_of_their_own() {
    let mut ack = [0; 20];
    ack[0] = 0x21;
    let congested = LinkFault::AckCongestion { rate: Rate::bits(48_000), queue: Size::bytes(144) };
    let mut pipe = pipe(Link::perfect().with(congested));
    // 48 bytes take 8 ms, and three of them fit.
    let arrivals: Vec<_> = (0..4).map(|_| pipe.offer(0, &ack, None).arrives).collect();
    assert_eq!(arrivals, [Some(8 * MS), Some(16 * MS), Some(24 * MS), None]);
    // Data does not wait for them.
    assert_eq!(pipe.offer(MS, &kilobyte(), None).arrives, Some(MS));
    assert_eq!(pipe.stats().struck(Fault::AckDropped), 1);
    assert_eq!(pipe.stats().fault_counts()[FaultKind::AckCongestion], 3);
}

#[test]
fn truncation_leaves_part_of_the_header_and_none_of_the_payload() {
    let mut pipe = pipe(Link::perfect().with(LinkFault::Truncate(Strike::always())));
    let mut data = [0xaa; 500];
    (data[0], data[1]) = (0x01, 0);
    let left: Vec<_> = (0..1000).filter_map(|_| pipe.offer(0, &data, None).cut).collect();
    assert!(left.len() == 1000 && left.iter().all(|left| (1..20).contains(left)), "{left:?}");
}

#[test]
fn a_link_without_faults_draws_nothing() {
    let mut pipe = pipe(Link::perfect().rate(Rate::megabits(8)));
    let before = pipe.rng.clone();
    (0..100).for_each(|i| assert!(pipe.offer(i * MS, &kilobyte(), None).is_plain()));
    assert_eq!(pipe.rng, before);
}
