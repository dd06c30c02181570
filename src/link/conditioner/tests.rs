//! Every ability of the conditioner, measured with a fixed seed in made-up time.

use std::time::Duration;

use super::*;
use crate::link::Direction::{Back, There};
use crate::link::tests::packet;
use crate::link::{
    Burst, Discipline, FaultKind, LinkFault, OVERHEAD, Overtaken, PacketClass, Rate, Span, Strike, Target,
};
use crate::wire::Kind;

const fn at(us: u64) -> Instant {
    Instant::from_micros(us)
}

/// Something that came out: when, in microseconds, and which number it was.
type Arrival = (u64, u64);

/// All that comes out in that direction until nothing is under way.
fn drain(line: &mut Conditioner<u64>, direction: Direction) -> Vec<Arrival> {
    let mut arrived = Vec::new();
    while let Some(next) = line.next_at(direction) {
        arrivals(line, direction, next, &mut arrived);
    }
    assert_eq!(line.stats(direction).under_way, 0);
    arrived
}

fn arrivals(line: &mut Conditioner<u64>, direction: Direction, now: Instant, into: &mut Vec<Arrival>) {
    while let Some((number, _)) = line.peek(now, direction) {
        into.push((now.as_micros(), number));
        line.pop(direction);
    }
}

/// Sends so many datagrams of that length, so many microseconds apart, and takes out what comes out meanwhile and after.
fn send(line: &mut Conditioner<u64>, count: u64, len: usize, every: u64) -> Vec<Arrival> {
    let (content, mut arrived) = (vec![7; len], Vec::new());
    for number in 0..count {
        let now = at(number * every);
        while let Some(next) = line.next_at(There).filter(|next| *next <= now) {
            arrivals(line, There, next, &mut arrived);
        }
        line.offer(now, There, number, &content);
    }
    arrived.extend(drain(line, There));
    arrived
}

/// The share of 20,000 that is missing, and that of those that come out twice.
fn missing_and_doubled(link: Link) -> (f64, f64) {
    let mut line = Conditioner::new(link, 11);
    let mut counts = vec![0_u32; 20_000];
    send(&mut line, 20_000, 100, 50).iter().for_each(|&(_, number)| counts[number as usize] += 1);
    let share = |wanted| counts.iter().filter(|&&count| count == wanted).count() as f64 / 20_000.0;
    (share(0), share(2))
}

#[test]
fn the_share_that_is_lost_is_the_share_that_was_asked_for() {
    for loss in [0.0, 0.01, 0.05, 0.3, 1.0] {
        let (missing, doubled) = missing_and_doubled(Link::perfect().loss(Strike::random(loss)));
        // Four times the deviation of a fair coin with that share.
        let off = 4.0 * (loss * (1.0 - loss) / 20_000.0_f64).sqrt();
        assert!((missing - loss).abs() <= off, "{missing} of {loss}");
        assert_eq!(doubled, 0.0);
    }
}

#[test]
fn loss_in_bursts_has_the_share_and_the_length_that_were_asked_for() {
    let mut line = Conditioner::new(Link::perfect().with(LinkFault::Burst(Burst::mean(0.05, 6.0))), 3);
    let arrived = send(&mut line, 100_000, 100, 10);
    let missing = 100_000.0 - arrived.len() as f64;
    let gaps = arrived.windows(2).filter(|pair| pair[1].1 > pair[0].1 + 1).count() as f64;
    assert!((0.045..0.055).contains(&(missing / 1e5)), "{missing}");
    assert!((5.4..6.6).contains(&(missing / gaps)), "{}", missing / gaps);
}

#[test]
fn delay_is_exact_and_jitter_is_spread_evenly_without_overtaking() {
    let link = Link::perfect().delay(Duration::from_millis(40));
    let mut line = Conditioner::new(link, 5);
    assert!(send(&mut line, 100, 10, 1_000).iter().all(|&(time, number)| time == number * 1_000 + 40_000));

    let mut line = Conditioner::new(link.jitter(Duration::from_millis(20)), 5);
    // So far apart that none waits for the one before it.
    let arrived = send(&mut line, 5_000, 10, 30_000);
    let late: Vec<u64> = arrived.iter().map(|&(time, number)| time - number * 30_000 - 40_000).collect();
    let mean = late.iter().sum::<u64>() as f64 / 5_000.0;
    assert!(late.iter().all(|late| *late <= 20_001), "{late:?}");
    assert!((9_700.0..10_300.0).contains(&mean), "{mean}");

    let mut line = Conditioner::new(link.jitter(Duration::from_millis(20)), 5);
    let arrived = send(&mut line, 5_000, 10, 1_000);
    assert!(arrived.is_sorted_by_key(|&(_, number)| number));
}

#[test]
fn the_share_asked_for_is_overtaken_and_the_share_asked_for_comes_twice() {
    let link = Link::perfect().reorder(Strike::random(0.1), Duration::from_micros(500));
    let arrived = send(&mut Conditioner::new(link, 7), 20_000, 100, 100);
    let mut highest = 0;
    let overtaken = arrived.iter().filter(|&&(_, number)| {
        highest = highest.max(number);
        number < highest
    });
    let overtaken = overtaken.count() as f64 / 20_000.0;
    assert!((0.09..0.11).contains(&overtaken), "{overtaken}");
    assert_eq!(arrived.len(), 20_000);

    let (missing, doubled) =
        missing_and_doubled(Link::perfect().duplicate(Strike::random(0.02), Duration::from_millis(1)));
    assert!(missing == 0.0 && (0.018..0.022).contains(&doubled), "{doubled}");
}

#[test]
fn a_datagram_waits_until_others_have_passed_but_not_for_ever() {
    let reorder = LinkFault::Reorder { which: Strike::run(1, 1), until: Overtaken::By(3) };
    let mut line = Conditioner::new(Link::perfect().with(reorder), 1);
    let order = |arrived: Vec<Arrival>| arrived.into_iter().map(|(_, number)| number).collect::<Vec<_>>();
    assert_eq!(order(send(&mut line, 6, 10, 1_000)), [1, 2, 3, 0, 4, 5]);
    let mut line = Conditioner::new(Link::perfect().with(reorder), 1);
    line.offer(at(0), There, 0, b"alone");
    assert_eq!(drain(&mut line, There), [(1_000_000, 0)]);
}

#[test]
fn a_replayed_datagram_comes_once_more_much_later() {
    let after = Span::exactly(Duration::from_secs(5));
    let replay = LinkFault::Replay { which: Strike::run(2, 1), after };
    let mut line = Conditioner::new(Link::perfect().with(replay), 1);
    assert_eq!(send(&mut line, 3, 10, 1_000), [(0, 0), (1_000, 1), (2_000, 2), (5_001_000, 1)]);
    assert_eq!(line.stats(There).link.struck(Fault::Replayed), 1);
}

#[test]
fn a_rate_holds_and_its_queue_is_bounded() {
    let (rate, len) = (Rate::megabits(10), 1_200);
    let queue = Size::kib(64);
    let mut line = Conditioner::new(Link::perfect().rate(rate).queue(queue), 1);
    // Ten seconds of twice as much as it carries.
    let every = (Size::bytes(len as u64 + OVERHEAD.as_bytes()), 2_u64);
    let every = rate.time_for(every.0).as_micros() as u64 / every.1;
    let arrived = send(&mut line, 10_000_000 / every, len, every);
    let on_the_wire = arrived.len() as f64 * (len as f64 + OVERHEAD.as_bytes() as f64);
    let seconds = arrived.last().expect("some arrive").0 as f64 / 1e6;
    let share = on_the_wire * 8.0 / seconds / rate.bits_per_second() as f64;
    assert!((0.98..=1.02).contains(&share), "{share} of {rate}");
    let longest = arrived.iter().map(|&(time, number)| time - number * every).max();
    assert!(longest <= Some(rate.time_for(queue).as_micros() as u64 + 1), "{longest:?}");
    let stats = line.stats(There);
    assert!(stats.link.queue_bytes_max <= queue.as_bytes());
    assert_eq!(stats.link.struck(Fault::QueueFull) + stats.delivered, stats.link.packets);
}

#[test]
fn codel_keeps_the_wait_short_where_a_plain_queue_does_not() {
    let link = Link::perfect().rate(Rate::megabits(5)).queue(Size::mib(1));
    let wait = |link| {
        let arrived = send(&mut Conditioner::new(link, 1), 6_000, 1_000, 1_500);
        let late: Vec<u64> = arrived.iter().map(|&(time, number)| time - number * 1_500).collect();
        late[late.len() - 500..].iter().sum::<u64>() / 500
    };
    let (plain, codel) = (wait(link), wait(link.discipline(Discipline::codel())));
    assert!(codel < 40_000 && plain > 10 * codel, "{plain} µs without, {codel} µs with");
}

#[test]
fn spoilt_datagrams_differ_in_one_bit_or_are_cut_short() {
    let flip = LinkFault::Flip { which: Strike::random(0.25), deliver: true };
    let mut line = Conditioner::new(Link::perfect().with(flip), 9);
    let mut flipped = 0;
    for number in 0..4_000 {
        line.offer(at(number), There, number, &[0; 64]);
        let (_, datagram) = line.peek(at(number), There).expect("it is not lost");
        let ones: u32 = datagram.iter().map(|byte| byte.count_ones()).sum();
        assert!(ones <= 1 && datagram.len() == 64);
        flipped += ones;
        line.pop(There);
    }
    assert!((900..1_100).contains(&flipped), "{flipped}");
    assert_eq!(u64::from(flipped), line.stats(There).link.struck(Fault::Flipped));

    line.set_link(There, Link::perfect().with(LinkFault::Truncate(Strike::always())));
    for len in [0, 1, 2, 1_000] {
        line.offer(at(9_999), There, 0, &vec![0xff; len]);
        let (_, datagram) = line.peek(at(9_999), There).expect("it is not lost");
        assert!(datagram.len() <= len.saturating_sub(usize::from(len > 1)), "{len}");
        line.pop(There);
    }
}

#[test]
fn each_direction_has_its_own_link_and_its_own_chance() {
    let slow = Link::perfect().delay(Duration::from_millis(9)).loss(Strike::random(0.5));
    let mut line = Conditioner::new(Line { there: Link::perfect(), back: slow }, 2);
    for number in 0..1_000 {
        line.offer(at(0), There, number, b"there");
        line.offer(at(0), Back, number, b"back");
    }
    assert_eq!(line.next_at(There), Some(at(0)));
    let mut there = Vec::new();
    arrivals(&mut line, There, at(0), &mut there);
    assert_eq!((there.len(), line.peek(at(8_999), Back)), (1_000, None));
    let back = drain(&mut line, Back);
    assert!((440..560).contains(&back.len()) && back.iter().all(|&(time, _)| time == 9_000));
    assert_eq!(line.stats(There).link.struck(Fault::Lost), 0);
}

#[test]
fn a_change_concerns_what_comes_after_it_and_overtakes_nothing() {
    let mut line = Conditioner::new(Link::perfect().delay(Duration::from_millis(50)), 1);
    line.offer(at(0), There, 0, b"early");
    line.set_link(There, Link::perfect());
    assert_eq!(line.link(There), Link::perfect().queue(Size::mib(16)));
    line.offer(at(1), There, 1, b"late");
    line.set_link(There, Link::perfect().down(true));
    line.offer(at(2), There, 2, b"lost");
    assert_eq!(drain(&mut line, There), [(50_000, 0), (50_000, 1)]);
    line.set_link(There, line.link(There).down(false));
    line.offer(at(60_000), There, 3, b"up again");
    assert_eq!(drain(&mut line, There), [(60_000, 3)]);
}

#[test]
fn what_is_discarded_does_not_hold_up_what_follows() {
    let years = Duration::from_secs(1 << 30);
    let replay = LinkFault::Replay { which: Strike::every(3), after: Span::exactly(years) };
    let reorder = LinkFault::Reorder { which: Strike::every(4), until: Overtaken::By(9) };
    let slow = Link::perfect().delay(years).rate(Rate::bits(1)).with(replay).with(reorder);
    for link in [slow, slow.discipline(Discipline::codel())] {
        let mut line = Conditioner::new(link, 1);
        (0..50).for_each(|number| line.offer(at(0), There, number, b"slow"));
        assert!(line.stats(There).under_way >= 50);
        line.discard(There);
        assert_eq!((line.stats(There).under_way, line.next_at(There)), (0, None));
        line.set_link(There, Link::perfect());
        line.offer(at(5), There, 99, b"quick");
        assert_eq!(drain(&mut line, There), [(5, 99)]);
    }
}

#[test]
fn what_is_under_way_is_bounded_whatever_the_settings() {
    let never = Link::perfect().delay(Duration::MAX).mtu(Size::bytes(u64::MAX));
    let doubled = never.duplicate(Strike::always(), Duration::MAX);
    let queued = never.rate(Rate::bits(1));
    for link in
        [never, doubled, queued, queued.discipline(Discipline::codel()), queued.loss(Strike::always())]
    {
        let mut line = Conditioner::with_capacity(link, 1, Size::kib(256));
        (0..2_000).for_each(|number| line.offer(at(number), There, number, &[1; 1_400]));
        let stats = line.stats(There);
        assert!(stats.under_way <= 128, "{} under way", stats.under_way);
        let lost = stats.no_room + stats.link.struck(Fault::QueueFull) + stats.link.struck(Fault::Lost);
        assert!(lost + stats.under_way >= 2_000);
        assert_eq!(line.link(There).queue.as_bytes(), 256 << 10);
    }
}

#[test]
fn no_setting_and_no_time_makes_it_panic() {
    let (none, ages) = (Duration::ZERO, Duration::MAX);
    let always = Strike::always();
    let faults = [
        LinkFault::Blackhole { up: ages, down: ages },
        LinkFault::Blackhole { up: none, down: none },
        LinkFault::Spike { which: always, lasts: Span::new(none, ages) },
        LinkFault::Replay { which: always, after: Span::exactly(ages) },
        LinkFault::Reorder { which: always, until: Overtaken::For(ages) },
        LinkFault::Reorder { which: always, until: Overtaken::By(0) },
        LinkFault::Duplicate { which: always, after: ages },
        LinkFault::Jitter(ages),
        LinkFault::Steps { percent: 0, every: none },
        LinkFault::CoDel { target: none, interval: ages },
        LinkFault::CoDel { target: none, interval: none },
        LinkFault::Police { rate: Rate::bits(u64::MAX), burst: Size::bytes(u64::MAX) },
        LinkFault::AckCongestion { rate: Rate::bits(1), queue: Size::bytes(u64::MAX) },
        LinkFault::Burst(Burst::mean(1.0, 0.0)),
        LinkFault::Loss(Strike::random(f64::NAN)),
        LinkFault::Flip { which: always, deliver: true },
        LinkFault::Truncate(always),
        LinkFault::MtuShrink { after: 0, mtu: Size::ZERO },
        LinkFault::Target(Target::nth(PacketClass::Syn, u32::MAX)),
    ];
    for fault in faults {
        for link in [Link::perfect(), Link::perfect().rate(Rate::bits(1)).delay(ages).jitter(ages)] {
            let mut line = Conditioner::with_capacity(link.with(fault), 1, Size::kib(64));
            for now in [0, 1, u64::MAX, 5] {
                for direction in Direction::BOTH {
                    line.offer(at(now), direction, 0, b"");
                    line.offer(at(now), direction, 0, &ack(1, 2));
                    while line.peek(at(now), direction).is_some() {
                        line.pop(direction);
                    }
                }
                line.pop(There);
            }
        }
    }
}

#[test]
fn the_packets_that_matter_are_found_by_what_went_the_other_way() {
    let target = LinkFault::Target(Target::first(PacketClass::SynReply, 1));
    let mut line = Conditioner::new(Line { there: Link::perfect(), back: Link::perfect().with(target) }, 1);
    let syn = packet(Kind::Syn, 300, 65_535, 0);
    line.offer(at(0), There, 0, &syn);
    line.offer(at(1), Back, 1, &ack(300, 65_535));
    line.offer(at(2), Back, 2, &ack(300, 65_535));
    let mut back = Vec::new();
    arrivals(&mut line, Back, at(2), &mut back);
    assert_eq!(back, [(2, 2)]);
    assert_eq!(line.stats(Back).link.fault_counts()[FaultKind::TargetedLoss], 1);
}

#[test]
fn a_filter_of_ones_own_drops_what_it_likes() {
    let mut line = Conditioner::new(Link::perfect(), 1);
    line.set_filter(There, Some(Box::new(|datagram| datagram.first() == Some(&7))));
    line.offer(at(0), There, 0, &[7, 1]);
    line.offer(at(0), There, 1, &[8, 1]);
    assert_eq!(drain(&mut line, There), [(0, 1)]);
    assert_eq!(line.stats(There).link.struck(Fault::Filtered), 1);
}

#[test]
fn the_same_seed_does_the_same_again_and_another_does_not() {
    let run = |seed| send(&mut Conditioner::new(Line::terrible(), seed), 2_000, 500, 5_000);
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}

#[test]
fn every_preset_lets_most_datagrams_through() {
    for (name, line) in Line::PRESETS {
        let mut line = Conditioner::new(line, 6);
        let arrived = send(&mut line, 2_000, 1_000, 25_000);
        assert!(arrived.len() > 1_700, "{name}: {}", arrived.len());
    }
}

fn ack(id: u16, ack: u16) -> Vec<u8> {
    packet(Kind::State, id, 7, ack)
}
