//! The defining properties of the queue disciplines, without a network around them.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use super::*;

const MS: u64 = 1_000_000;
const RFC: Limits = Limits { target: 5 * MS, interval: 100 * MS };

/// Packets of 1,000 bytes come every `every` nanoseconds and leave one in a millisecond (8 Mbit/s), for `seconds`.
/// Returns when each one left or was dropped, how long it had waited, and whether it was dropped.
fn overload(limits: Option<Limits>, every: u64, seconds: u64) -> Vec<(u64, u64, bool)> {
    let mut queue = CoDelQueue::default();
    let (mut arrives, mut free_at, mut log) = (0, 0, Vec::new());
    while arrives < seconds * 1000 * MS {
        while free_at <= arrives && !queue.is_empty() {
            let passed = queue.pop(free_at, limits);
            log.extend(queue.dropped.drain(..).map(|packet| (free_at, free_at - packet.since, true)));
            log.extend(passed.map(|packet| (free_at, free_at - packet.since, false)));
            free_at += MS;
        }
        queue.push(Waiting { parcel: 0, number: 0, bytes: 1000, since: arrives, extra: 0 });
        free_at = free_at.max(arrives);
        arrives += every;
    }
    log
}

#[test]
fn codel_keeps_a_standing_queue_near_its_target_under_constant_overload() {
    for (every, mean, most) in [(MS * 100 / 101, 5.4, 6.0), (MS * 100 / 103, 6.7, 8.0)] {
        let late = overload(Some(RFC), every, 60)
            .into_iter()
            .filter(|(at, _, dropped)| *at > 30_000 * MS && !dropped);
        let waits: Vec<f64> = late.map(|(_, waited, _)| waited as f64 / MS as f64).collect();
        let (found, longest) =
            (waits.iter().sum::<f64>() / waits.len() as f64, waits.iter().copied().fold(0.0, f64::max));
        assert!((found - mean).abs() < 0.1 && longest <= most, "{found} {longest}");
    }
    // As many drops as a transcription of the RFC's own program makes.
    for (every, drops) in
        [(MS * 100 / 101, 595), (MS * 100 / 103, 1_793), (MS * 10 / 11, 5_986), (MS * 2 / 3, 28_405)]
    {
        assert_eq!(overload(Some(RFC), every, 60).iter().filter(|(_, _, dropped)| *dropped).count(), drops);
    }
    // Without it the same traffic waits for seconds.
    let plain = overload(None, MS * 10 / 11, 60);
    assert!(plain.last().unwrap().1 > 5_000 * MS);
}

#[test]
fn codel_drops_nothing_that_waits_less_than_its_target_or_not_long_enough() {
    // Less than fits: nobody waits.
    assert!(overload(Some(RFC), MS * 11 / 10, 20).iter().all(|(_, _, dropped)| !dropped));
    // A burst of 60 packets is gone within the interval.
    let mut queue = CoDelQueue::default();
    (0..60).for_each(|number| queue.push(Waiting { parcel: 0, number, bytes: 1000, since: 0, extra: 0 }));
    assert!((0..60).all(|at| queue.pop(at * MS, Some(RFC)).unwrap().number == at));
    assert!(queue.is_empty() && queue.dropped.is_empty() && queue.bytes() == 0);
}

#[test]
fn codel_drops_the_oldest_first_after_an_interval_and_then_by_the_square_root() {
    // A queue that never empties: far more than fits, so the wait only grows.
    let mut queue = CoDelQueue::default();
    (0..20_000).for_each(|number| queue.push(Waiting { parcel: 0, number, bytes: 1000, since: 0, extra: 0 }));
    let mut drops = Vec::new();
    for at in 0..2_000 {
        let next = queue.pop(at * MS, Some(RFC)).unwrap();
        let dropped: Vec<_> = queue.dropped.drain(..).map(|packet| packet.number).collect();
        assert!(dropped.iter().all(|number| *number < next.number), "from the head");
        drops.extend(dropped.iter().map(|_| at));
    }
    // Above the target from 5 ms on, so 105 ms is the first; then interval / sqrt(count) apart.
    assert_eq!(drops[..6], [105, 205, 276, 334, 384, 429]);
}

#[test]
fn a_queue_without_limits_is_plain() {
    let mut queue = CoDelQueue::default();
    (0..1000).for_each(|number| queue.push(Waiting { parcel: 0, number, bytes: 1000, since: 0, extra: 0 }));
    assert!((0..1000).all(|number| queue.pop(number * 1000 * MS, None).unwrap().number == number));
    assert_eq!(queue.pop(0, None), None);
}

#[test]
fn a_policer_passes_exactly_rate_times_time_plus_burst() {
    let (rate, burst) = (Rate::kilobits(800), Size::bytes(10_000));
    for (step, bytes) in [(MS, 1000), (MS / 7, 999), (3, 1), (13 * MS, 1500)] {
        let mut bucket = Bucket::default();
        let (mut at, mut passed, mut offered) = (0, 0, 0);
        for _ in 0..100_000 {
            passed += u64::from(bucket.take(at, bytes, rate, burst)) * bytes;
            offered += bytes;
            at += step;
        }
        let at = at - step;
        let most = burst.as_bytes() + rate.in_time(Duration::from_nanos(at)).as_bytes();
        if offered > most + bytes && bytes * 1_000_000_000 > step * 100_000 {
            assert!(passed <= most && passed + bytes > most, "{step} {bytes}: {passed} of {most}");
        } else {
            assert!(passed <= most.min(offered), "{step} {bytes}: {passed} of {most}");
        }
    }
    // After a pause it is full again, and no fuller.
    let mut bucket = Bucket::default();
    assert!((0..10).all(|_| bucket.take(0, 1000, rate, burst)) && !bucket.take(0, 1, rate, burst));
    assert!((0..10).all(|_| bucket.take(1000 * MS, 1000, rate, burst)));
    assert!(!bucket.take(1000 * MS, 1, rate, burst));
}
