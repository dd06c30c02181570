//! Delays between clocks that lie, run away and jump.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(seconds: f64) -> Instant {
    Instant::from_micros((seconds * 1e6) as u64)
}

/// A delay of so many microseconds, on a circle.
const fn delay(micros: i64) -> Option<Delay> {
    Some(Delay::new(micros as u32))
}

/// Round trips of 50 ms at rest, 50 ms + `queue` now: sees every queue, and nothing of clocks.
fn round_trips(queue: Duration) -> RttEstimator {
    let mut rtt = RttEstimator::new(ms(500));
    rtt.sample(ms(50));
    for _ in 0..100 {
        rtt.sample(ms(50) + queue);
    }
    rtt
}

/// What the one-way delays alone say: without a round trip nothing else is asked.
fn one_way(meter: &DelayMeter) -> Option<Duration> {
    meter.queue_delay(&RttEstimator::new(ms(500)))
}

fn feed(meter: &mut DelayMeter, now: f64, forward: &[i64]) {
    for &micros in forward {
        meter.on_packet(at(now), delay(micros), None);
    }
}

#[test]
fn e31_values_that_mean_nothing_are_ignored() {
    let mut meter = DelayMeter::default();
    for none in [None, delay(0), delay(0x7FFF_FFFF)] {
        meter.on_packet(at(1.0), none, none);
    }
    assert_eq!((meter.base(), meter.forward(), meter.backward()), (None, None, None));
    assert_eq!(one_way(&meter), None);
    feed(&mut meter, 1.0, &[70_000, 90_000, 0, 0x7FFF_FFFF, 90_000, 90_000, 90_000]);
    assert_eq!((meter.base(), one_way(&meter)), (delay(70_000), Some(ms(20))));
    assert_eq!((meter.forward(), meter.backward()), (delay(90_000), None));
}

#[test]
fn e31_the_queue_is_the_smallest_of_four_above_the_base() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[10_000, 60_000, 75_000, 52_000]);
    assert_eq!(one_way(&meter), Some(ms(0)));
    feed(&mut meter, 1.0, &[90_000]);
    assert_eq!(one_way(&meter), Some(ms(42)));
}

#[test]
fn e31_readings_of_another_round_trip_do_not_count() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[10_000, 10_000, 10_000]);
    feed(&mut meter, 1.2, &[70_000]);
    assert_eq!(meter.queue_delay(&round_trips(ms(90))), Some(ms(60)));
    feed(&mut meter, 1.3, &[80_000]);
    assert_eq!(meter.queue_delay(&round_trips(ms(90))), Some(ms(60)));
}

#[test]
fn e31_clock_offset_and_wrap_change_nothing() {
    for offset in [0, 5, -5_000, -70_000, 0x7FFF_FFFF - 30_000, 0x8000_0000, 0xFFFF_FFFF] {
        let mut meter = DelayMeter::default();
        feed(&mut meter, 1.0, &[offset + 20_000, offset + 80_000, offset + 50_001]);
        feed(&mut meter, 1.0, &[offset + 90_000; 3]);
        assert_eq!(one_way(&meter), Some(Duration::from_micros(30_001)), "offset {offset}");
        assert_eq!(meter.base(), delay(offset + 20_000));
    }
}

#[test]
fn e31_a_queue_that_only_one_measure_sees_is_none() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[20_000]);
    feed(&mut meter, 1.0, &[80_000; 4]);
    assert_eq!(meter.queue_delay(&round_trips(ms(0))), Some(ms(0)), "the clock ran away");
    assert_eq!(meter.queue_delay(&round_trips(ms(40))), Some(ms(40)));
    assert_eq!(meter.queue_delay(&round_trips(ms(400))), Some(ms(60)), "a queue on the way back");
}

#[test]
fn e31_a_peer_without_clock_leaves_the_round_trip() {
    let mut meter = DelayMeter::default();
    meter.on_packet(at(1.0), delay(0), delay(7));
    assert_eq!(meter.queue_delay(&round_trips(ms(33))), Some(ms(33)));
}

#[test]
fn e31_the_base_is_forgotten_after_ten_minutes() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[20_000]);
    for second in 2..599 {
        feed(&mut meter, f64::from(second), &[80_000]);
        assert_eq!(meter.base(), delay(20_000), "second {second}");
    }
    feed(&mut meter, 601.0, &[80_000]);
    assert_eq!(meter.base(), delay(80_000));
    // Silence of any length leaves nothing to compare with.
    feed(&mut meter, 9e9, &[95_000]);
    assert_eq!(meter.base(), delay(95_000));
}

#[test]
fn e31_drift_is_taken_from_the_other_direction() {
    // Their clock runs 100 ppm fast for two minutes while 30 ms queue: seems 12 ms more, but their packets get as
    // much faster.
    let mut meter = DelayMeter::default();
    meter.on_packet(at(0.0), delay(20_000), delay(-3_000));
    for tenth in 1..=1200 {
        let drift = i64::from(tenth) * 10;
        meter.on_packet(at(f64::from(tenth) / 10.0), delay(50_000 + drift), delay(-3_000 - drift));
    }
    let queue = one_way(&meter).unwrap();
    assert!(queue.abs_diff(ms(30)) <= Duration::from_micros(40), "{queue:?}");
}

#[test]
fn e31_a_queue_that_ends_on_the_way_back_is_no_drift() {
    let mut meter = DelayMeter::default();
    meter.on_packet(at(0.0), delay(20_000), delay(15_000));
    for (tenth, backward) in (1..).zip([14_000, 12_000, 9_000, 5_000, 1_000]) {
        meter.on_packet(at(f64::from(tenth) / 10.0), delay(50_000), delay(backward));
    }
    // Slow enough for a clock, too much at once.
    meter.on_packet(at(60.0), delay(50_000), delay(-11_000));
    assert_eq!(meter.base(), delay(20_000));
}

#[test]
fn e31_a_base_that_wavers_does_not_ratchet_ours_up() {
    let mut meter = DelayMeter::default();
    for minute in 0..60 {
        let wave = if minute % 11 == 0 { 0 } else { 4_000 };
        meter.on_packet(at(f64::from(minute) * 60.0), delay(20_000), delay(9_000 + wave));
    }
    assert_eq!(meter.base(), delay(20_000));
}

#[test]
fn e31_a_clock_that_is_set_starts_a_new_base() {
    for step in [-3_600_000_000_i64 / 2, -1_500_000, 1_500_000, 900_000_000] {
        let mut meter = DelayMeter::default();
        for tenth in 0..20 {
            meter.on_packet(at(f64::from(tenth) / 10.0), delay(50_000), delay(9_000));
        }
        for tenth in 20..40 {
            meter.on_packet(at(f64::from(tenth) / 10.0), delay(50_000 + step), delay(9_000 - step));
        }
        assert_eq!(meter.base(), delay(50_000 + step), "step of {step} us");
        assert_eq!(one_way(&meter), Some(ms(0)));
        meter.on_packet(at(4.0), delay(90_000 + step), delay(9_000 - step));
        assert_eq!(one_way(&meter), Some(ms(0)));
        feed(&mut meter, 4.0, &[90_000 + step; 3]);
        assert_eq!(one_way(&meter), Some(ms(40)));
    }
}

#[test]
fn e31_a_clock_may_be_set_forth_and_back() {
    for step in [-1_500_000, 1_500_000] {
        let mut meter = DelayMeter::default();
        for tenth in 0..60 {
            let offset = if (20..40).contains(&tenth) { step } else { 0 };
            meter.on_packet(at(f64::from(tenth) / 10.0), delay(50_000 + offset), delay(9_000 - offset));
        }
        assert_eq!((meter.base(), one_way(&meter)), (delay(50_000), Some(ms(0))), "step of {step} us");
    }
}

#[test]
fn e31_drift_is_still_seen_after_a_clock_was_set() {
    let mut meter = DelayMeter::default();
    for tenth in 0..1200 {
        let (offset, drift) = (if tenth < 20 { 0 } else { -1_500_000 }, i64::from(tenth) * 10);
        let queue = if tenth < 100 { 0 } else { 30_000 };
        let forward = 20_000 + offset + drift + queue;
        meter.on_packet(at(f64::from(tenth) / 10.0), delay(forward), delay(9_000 - offset - drift));
    }
    let queue = one_way(&meter).unwrap();
    assert!(queue.abs_diff(ms(30)) <= Duration::from_micros(40), "{queue:?}");
}

#[test]
fn e31_a_long_queue_is_not_a_clock_that_is_set() {
    let mut meter = DelayMeter::default();
    meter.on_packet(at(0.0), delay(50_000), delay(9_000));
    for tenth in 1..200 {
        meter.on_packet(at(f64::from(tenth) / 10.0), delay(5_050_000), delay(9_000));
    }
    assert_eq!(one_way(&meter), Some(ms(5_000)));
}

#[test]
fn e31_one_absurd_reading_does_not_spoil_the_base() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[50_000, -9_000_000, 60_000, -9_000_000, 60_000]);
    assert_eq!(meter.base(), delay(50_000));
    feed(&mut meter, 1.0, &[60_000; 4]);
    assert_eq!(one_way(&meter), Some(ms(10)));
    for _ in 0..20 {
        feed(&mut meter, 1.0, &[-9_000_000, 60_000]);
    }
    assert_eq!(meter.base(), delay(50_000), "never eight in a row");
}

/// The machine slept while answers to what it had sent came in, and its clock stood still: all of them are read at once
/// and seem to have taken no time.
#[test]
fn t13_round_trips_that_never_were_do_not_pass_for_a_hidden_queue() {
    let mut meter = DelayMeter::default();
    let mut rtt = RttEstimator::new(ms(500));
    let mut measure = |seconds: f64, millis: u64| {
        meter.on_packet(at(seconds), delay(140_000), delay(145_000));
        meter.on_round_trip(at(seconds), ms(millis));
        rtt.sample(ms(millis));
        meter.queue_delay(&rtt)
    };
    for i in 0..40 {
        measure(f64::from(i) / 10.0, 285);
    }
    for millis in [41, 42, 43, 44, 45] {
        measure(4.0, millis);
    }
    for i in 0..40 {
        let queue = measure(4.3 + f64::from(i) / 10.0, 285);
        assert!(queue.is_some_and(|queue| queue < ms(10)), "{i}: {queue:?}");
    }
}

#[test]
fn e31_the_base_is_the_smallest_whenever_it_comes() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[70_000, 50_000, 60_000]);
    assert_eq!(meter.base(), delay(50_000));
    meter.on_packet(at(61.0), delay(40_000), delay(7_000));
    meter.on_packet(at(62.0), delay(45_000), delay(8_000));
    assert_eq!((meter.base(), meter.backward()), (delay(40_000), delay(8_000)));
}

#[test]
fn e31_the_eighth_reading_in_a_row_proves_that_a_clock_was_set() {
    let mut meter = DelayMeter::default();
    feed(&mut meter, 1.0, &[50_000]);
    feed(&mut meter, 1.1, &[-2_000_000; 7]);
    assert_eq!(meter.base(), delay(50_000));
    feed(&mut meter, 1.2, &[-2_000_000]);
    assert_eq!(meter.base(), delay(-2_000_000));
}

#[test]
fn e31_clocks_drift_by_ten_milliseconds_at_once_and_five_hundred_in_a_million_and_no_faster() {
    for (seconds, fall, drift) in [(20.0, 10_000, true), (19.9, 10_000, false), (60.0, 10_001, false)] {
        let mut meter = DelayMeter::default();
        meter.on_packet(at(0.0), delay(20_000), delay(15_000));
        meter.on_packet(at(seconds), delay(40_000), delay(15_000 - fall));
        assert_eq!(meter.base(), delay(20_000 + if drift { fall } else { 0 }), "{fall} us in {seconds} s");
    }
}

#[test]
fn t12_a_peer_that_hides_the_queue_of_our_packets_is_not_believed() {
    let mut meter = DelayMeter::default();
    for tenth in 0..10 {
        let now = at(f64::from(tenth) / 10.0);
        meter.on_packet(now, delay(20_000), delay(-7_000));
        meter.on_round_trip(now, ms(50));
    }
    assert_eq!(meter.queue_delay(&round_trips(ms(0))), Some(ms(0)));
    // Two tenths of a second more there and back, which neither direction accounts for.
    for tenth in 10..20 {
        let now = at(f64::from(tenth) / 10.0);
        meter.on_packet(now, delay(20_000), delay(-7_000));
        meter.on_round_trip(now, ms(250));
    }
    assert_eq!(meter.queue_delay(&round_trips(ms(200))), Some(ms(200)));
    // Where the way back accounts for it, the report stands.
    for tenth in 20..30 {
        let now = at(f64::from(tenth) / 10.0);
        meter.on_packet(now, delay(20_000), delay(193_000));
        meter.on_round_trip(now, ms(250));
    }
    assert_eq!(meter.queue_delay(&round_trips(ms(200))), Some(ms(0)));
}
