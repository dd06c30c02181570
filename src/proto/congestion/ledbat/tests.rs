//! The closed loop: controller, pacer, delays and round trips on a path in a few lines; then single decisions.

use super::super::RttEstimator;
use super::super::model::{Flow, Link, MSS, Outcome};
use super::*;

const TARGET: Duration = Duration::from_millis(100);

fn ledbat() -> Ledbat {
    Ledbat::new(TARGET, MSS)
}

/// A link of so many Mbit/s and milliseconds, with a queue of a second.
fn link(mbits: f64, millis: f64) -> Link {
    let rate = mbits * 125_000.0;
    Link { rate, round_trip: millis / 1000.0, queue: rate }
}

/// A flow that has been running for so many seconds.
fn running(link: Link, seconds: f64) -> Flow<Ledbat> {
    let mut flow = Flow::new(ledbat(), link);
    flow.run(seconds);
    flow
}

#[track_caller]
fn assert_fills(outcome: Outcome, link: Link, queue_max_millis: f64) {
    assert!(outcome.rate > 0.98 * link.rate, "{outcome:?} on {link:?}");
    assert!(outcome.queue_max * 1000.0 < queue_max_millis, "{outcome:?} on {link:?}");
}

#[test]
fn e32_a_plain_link_is_soon_full_and_loses_nothing() {
    for (link, seconds) in [
        (link(100.0, 50.0), 1.0),
        (link(10.0, 40.0), 1.0),
        (link(500.0, 50.0), 2.0),
        (link(100.0, 300.0), 6.0),
    ] {
        let mut flow = running(link, seconds);
        assert_fills(flow.run(10.0), link, 103.0);
        assert_eq!(flow.drops, 0);
    }
}

#[test]
fn e32_the_queue_settles_at_the_target() {
    let mut flow = running(link(10.0, 40.0), 30.0);
    let steady = flow.run(10.0);
    assert!((0.095..0.103).contains(&steady.queue_mean), "{steady:?}");
    let mut low = Flow::new(Ledbat::new(Duration::from_millis(25), MSS), link(10.0, 40.0));
    low.run(20.0);
    let steady = low.run(10.0);
    assert!((0.02..0.03).contains(&steady.queue_mean), "{steady:?}");
    assert!(steady.rate > 0.98 * low.link.rate, "{steady:?}");
}

#[test]
fn e32_a_bloated_link_is_not_filled_with_queue() {
    // Ten seconds of buffer, where a packet takes 28 ms.
    let mut flow = running(Link { rate: 50_000.0, round_trip: 0.05, queue: 500_000.0 }, 2.0);
    let steady = flow.run(60.0);
    assert_fills(steady, flow.link, 210.0);
    assert!((0.08..0.13).contains(&steady.queue_mean), "{steady:?}");
    assert_eq!(flow.drops, 0);
}

#[test]
fn e32_a_straw_carries_most_of_what_it_can() {
    let mut flow = running(Link { rate: 50_000.0, round_trip: 0.05, queue: 1500.0 }, 5.0);
    let steady = flow.run(30.0);
    assert!(steady.rate > 0.8 * flow.link.rate, "{steady:?}");
}

#[test]
fn e32_a_loss_in_a_thousand_leaves_most_of_the_link() {
    let mut flow = Flow::new(ledbat(), link(20.0, 40.0));
    flow.drop_every = 1000;
    let outcome = flow.run(60.0);
    assert!(outcome.rate > 0.75 * flow.link.rate, "{outcome:?}");
}

#[test]
fn e32_an_overshoot_that_overflows_costs_one_cut() {
    for queue in [0.085, 0.12, 0.15] {
        let mut link = link(100.0, 50.0);
        link.queue = link.rate * queue;
        let mut flow = running(link, 1.0);
        assert_eq!(flow.cuts, 1, "loss was noticed");
        assert_fills(flow.run(4.0), link, 70.0);
    }
}

#[test]
fn e32_a_loopback_window_is_large_within_milliseconds() {
    let flow = running(Link { rate: 9e8, round_trip: 40e-6, queue: 4e6 }, 0.005);
    assert!(flow.controller.window() > 1 << 20, "{:?}", flow.controller.snapshot());
}

#[test]
fn e32_two_clocks_and_their_wrap_change_nothing() {
    // The delay passes 2^32 us (and in the second case the half circle) between an empty queue and the target.
    for offset in [-0.06, 2_147.483_648 - 0.06, -2_000.0] {
        let mut flow = Flow::new(ledbat(), link(20.0, 40.0));
        flow.offset = offset;
        flow.run(1.0);
        assert_fills(flow.run(20.0), flow.link, 103.0);
    }
}

#[test]
fn e31_drift_of_100_ppm_hardly_moves_the_queue() {
    for drift in [1e-4, -1e-4] {
        let mut flow = Flow::new(ledbat(), link(10.0, 40.0));
        flow.drift = drift;
        flow.run(60.0);
        // 6 ms per minute are what a slow clock hides where nothing ever empties the queue.
        assert_fills(flow.run(60.0), flow.link, 115.0);
    }
}

#[test]
fn e31_a_clock_step_does_not_stop_the_flow() {
    for step in [30.0, -30.0, 1_800.0] {
        let mut flow = running(link(10.0, 40.0), 10.0);
        flow.offset += step;
        let outcome = flow.run(10.0);
        assert!(outcome.rate > 0.98 * flow.link.rate, "{outcome:?}");
        // The queue that stood at the step is the new base.
        assert!(outcome.queue_max < 0.21, "{outcome:?}");
        assert_eq!(flow.drops, 0);
    }
}

#[test]
fn e33_a_queue_of_others_is_given_way_to_at_once() {
    let mut flow = running(link(50.0, 30.0), 10.0);
    flow.link.rate /= 5.0;
    flow.run(2.0);
    assert_fills(flow.run(4.0), flow.link, 105.0);
}

#[test]
fn e34_an_application_limited_flow_does_not_grow() {
    let mut flow = Flow::new(ledbat(), link(100.0, 50.0));
    flow.application = 100_000.0;
    let outcome = flow.run(30.0);
    assert!(outcome.rate > 99_000.0, "{outcome:?}");
    assert!(flow.controller.window() < 20_000, "{:?}", flow.controller.snapshot());
}

#[test]
fn e34_growth_needs_a_full_window_and_decrease_does_not() {
    let mut ledbat = steady(100_000.0);
    acknowledge(&mut ledbat, 100_000, 0, false);
    assert_eq!(ledbat.window(), 100_000);
    acknowledge(&mut ledbat, 49_000, 0, true);
    assert_eq!(ledbat.window(), 100_000, "not even half of it was in use");
    acknowledge(&mut ledbat, 100_000, 0, true);
    assert_eq!(ledbat.window(), 103_000, "3,000 bytes per window acknowledged");
    acknowledge(&mut ledbat, 100_000, 50, true);
    assert_eq!(ledbat.window(), 104_500, "half of it at half of the target");
    acknowledge(&mut ledbat, 10_000, 120, false);
    // The excess is a fifth of the round trip of 100 ms; half of it goes.
    assert_eq!(ledbat.window(), 94_050);
    acknowledge(&mut ledbat, 10_000, 9_000, false);
    assert_eq!(ledbat.window(), 47_025, "never more than half");
}

#[test]
fn a_loss_halves_the_window_and_the_floor_is_two_packets() {
    let mut ledbat = ledbat();
    ledbat.window = 80_000.0;
    lose(&mut ledbat);
    let halved = Snapshot { window: 40_000, ssthresh: 40_000, slow_start: false };
    assert_eq!(ledbat.snapshot(), halved);
    for _ in 0..20 {
        lose(&mut ledbat);
        acknowledge(&mut ledbat, 1380, 9_000, false);
    }
    assert_eq!(ledbat.window(), 2 * MSS);
}

#[test]
fn a_queue_seen_before_it_overflowed_answers_one_loss_of_its_flight() {
    let overshot = || {
        let mut ledbat = Ledbat { window: 100_000.0, ..ledbat() };
        acknowledge_of(&mut ledbat, 10_000, 100_000, 80);
        assert!(!ledbat.in_slow_start());
        ledbat
    };
    let mut at_once = overshot();
    let window = at_once.window();
    lose(&mut at_once);
    assert_eq!(at_once.window(), window);
    lose(&mut at_once);
    assert_eq!(at_once.window(), window / 2);

    let mut later = overshot();
    acknowledge_of(&mut later, 90_000, 90_000, 80);
    let window = later.window();
    lose(&mut later);
    assert_eq!(later.window(), window / 2, "of a later flight");
}

#[test]
fn the_flight_before_a_cut_does_not_cut_again() {
    let mut ledbat = steady(200_000.0);
    ledbat.on_loss(&LossEvent { now: Instant::ZERO, bytes: MSS, packets: 1, bytes_in_flight: 150_000 });
    acknowledge_of(&mut ledbat, 100_000, 150_000, 150);
    acknowledge_of(&mut ledbat, 50_000, 50_000, 150);
    assert_eq!(ledbat.window(), 100_000);
    acknowledge_of(&mut ledbat, 50_000, 100_000, 150);
    assert_eq!(ledbat.window(), 87_500);
}

#[test]
fn slow_start_ends_at_three_quarters_of_the_target_or_at_its_threshold() {
    let mut ledbat = ledbat();
    for _ in 0..6 {
        let window = ledbat.window();
        acknowledge(&mut ledbat, window, 75, true);
        assert_eq!(ledbat.window(), 2 * window);
    }
    assert!(ledbat.in_slow_start());
    acknowledge(&mut ledbat, 1380, 76, true);
    assert!(!ledbat.in_slow_start());
    assert_eq!(ledbat.snapshot().ssthresh, ledbat.window());

    let mut again = steady(100_000.0);
    again.on_timeout(Instant::ZERO);
    for _ in 0..20 {
        let (window, doubling) = (again.window(), again.in_slow_start());
        acknowledge(&mut again, window, 0, doubling);
    }
    assert_eq!(again.snapshot(), Snapshot { window: 50_000, ssthresh: 50_000, slow_start: false });
}

#[test]
fn c24_timeouts_in_a_row_leave_something_to_come_back_to() {
    let mut flow = running(link(100.0, 50.0), 5.0);
    let window = flow.controller.window();
    flow.cut = true;
    flow.run(5.0);
    assert_eq!(flow.controller.window(), 2 * MSS);
    assert!(flow.controller.snapshot().ssthresh >= window / 2 - 1);
    flow.cut = false;
    flow.run(4.0);
    assert_fills(flow.run(2.0), flow.link, 100.0);
}

#[test]
fn c24_timeouts_with_little_between_them_remember_better_times() {
    let mut flow = running(link(100.0, 50.0), 5.0);
    let window = flow.controller.window();
    for _ in 0..3 {
        flow.controller.on_timeout(Instant::from_micros((flow.now * 1e6) as u64));
        flow.run(0.06);
    }
    assert!(
        flow.controller.snapshot().ssthresh > window / 4,
        "{:?} after {window}",
        flow.controller.snapshot()
    );
}

#[test]
fn idling_halves_the_window_each_second() {
    let mut ledbat = steady(100_000.0);
    ledbat.on_idle(Instant::ZERO, Duration::from_millis(999));
    assert_eq!(ledbat.window(), 100_000);
    ledbat.on_idle(Instant::ZERO, Duration::from_millis(2_500));
    assert_eq!(ledbat.snapshot(), Snapshot { window: 25_000, ssthresh: 75_000, slow_start: true });
    ledbat.on_idle(Instant::ZERO, Duration::from_secs(u64::MAX));
    assert_eq!(ledbat.snapshot(), Snapshot { window: 2 * MSS, ssthresh: 75_000, slow_start: true });
}

#[test]
fn a_larger_packet_raises_the_floor() {
    let mut ledbat = ledbat();
    ledbat.on_mtu(8_000);
    assert_eq!(ledbat.window(), 16_000);
}

#[test]
fn no_acknowledgement_breaks_the_arithmetic() {
    let mut ledbat = Ledbat::new(Duration::ZERO, 0);
    let mut rtt = RttEstimator::new(Duration::ZERO);
    for round in 0..200_u64 {
        let queue_delay = [None, Some(Duration::ZERO), Some(Duration::MAX), Some(TARGET)][round as usize % 4];
        let bytes = [0, 1, u32::MAX][round as usize % 3];
        let now = Instant::from_micros(round / 7);
        ledbat.on_ack(&Acked {
            now,
            bytes,
            bytes_in_flight: 0,
            queue_delay,
            rtt: &rtt,
            window_limited: true,
        });
        assert!((2..=u32::MAX).contains(&ledbat.window()));
        match round % 50 {
            20 => ledbat.on_timeout(now),
            40 => rtt.sample(Duration::ZERO),
            _ => {}
        }
    }
}

/// A controller past slow start.
fn steady(window: f64) -> Ledbat {
    Ledbat { window, ssthresh: window, slow_start: false, ..ledbat() }
}

/// An acknowledgement of everything in flight, with so many milliseconds of queue in a round trip of 100 ms.
fn acknowledge(ledbat: &mut Ledbat, bytes: u32, queue_millis: u64, window_limited: bool) {
    let queue_delay = Some(Duration::from_millis(queue_millis));
    let (now, rtt) = (Instant::ZERO, round_trip());
    ledbat.on_ack(&Acked { now, bytes, bytes_in_flight: bytes, queue_delay, rtt: &rtt, window_limited });
}

/// An acknowledgement of some of what is in flight.
fn acknowledge_of(ledbat: &mut Ledbat, bytes: u32, bytes_in_flight: u32, queue_millis: u64) {
    let queue_delay = Some(Duration::from_millis(queue_millis));
    let (now, rtt) = (Instant::ZERO, round_trip());
    ledbat.on_ack(&Acked { now, bytes, bytes_in_flight, queue_delay, rtt: &rtt, window_limited: true });
}

fn round_trip() -> RttEstimator {
    let mut rtt = RttEstimator::new(TARGET);
    rtt.sample(Duration::from_millis(100));
    rtt
}

fn lose(ledbat: &mut Ledbat) {
    ledbat.on_loss(&LossEvent { now: Instant::ZERO, bytes: MSS, packets: 1, bytes_in_flight: MSS });
}

#[test]
fn t12_without_any_delay_a_round_trip_still_gains_no_more_than_the_standard_increase() {
    let mut ledbat = steady(100_000.0);
    let before = ledbat.window;
    // A window's worth, in one round trip.
    for _ in 0..100 {
        acknowledge_of(&mut ledbat, 1000, 100_000, 0);
    }
    let gained = ledbat.window - before;
    eprintln!("t12 bound={GAIN_BYTES} measured={gained:.0} bytes of window per round trip at zero delay");
    assert!(gained <= GAIN_BYTES * 1.001, "{gained}");
    lose(&mut ledbat);
    assert!(ledbat.window <= (before + gained) / 2.0 + 1.0, "loss halves, whatever the delay");
}

#[test]
fn t13_a_clock_that_is_set_never_stops_the_flow() {
    let link = link(10.0, 60.0);
    let packet_per_round_trip = f64::from(MSS) / link.round_trip;
    for step in [3600.0, -3600.0, 2200.0, 1.5, -1.5, 0.9, -0.9] {
        let mut flow = running(link, 10.0);
        flow.offset += step;
        let (mut worst, mut recovered) = (f64::INFINITY, None);
        for second in 0..30 {
            let rate = flow.run(1.0).rate;
            worst = worst.min(rate);
            if rate < 0.8 * link.rate {
                recovered = None;
            } else {
                recovered = recovered.or(Some(second));
            }
        }
        eprintln!(
            "t13 bound={packet_per_round_trip:.0} measured={worst:.0} bytes per second after a step of {step} s; \
             bound=1200 measured={recovered:?} s to recover"
        );
        assert!(worst >= packet_per_round_trip && recovered.is_some(), "{step}: {worst}, {recovered:?}");
    }
}

#[test]
fn t13_a_base_that_was_poisoned_is_forgotten_with_its_history() {
    let link = link(10.0, 60.0);
    let mut flow = running(link, 10.0);
    // For a second the peer reports delays that are 0.9 s too short: less than what counts as a step.
    flow.offset -= 0.9;
    flow.run(1.0);
    flow.offset += 0.9;
    let poisoned = flow.run(20.0).rate;
    flow.run(1200.0);
    let after = flow.run(20.0).rate;
    eprintln!(
        "t13 bound=1200 measured=1200 s after which {after:.0} bytes per second are back, {poisoned:.0} before"
    );
    assert!(poisoned >= f64::from(MSS) / link.round_trip);
    assert!(after >= 0.8 * link.rate, "{after}");
}

#[test]
fn doubling_ends_at_what_the_path_delivers_in_its_least_round_trip_and_half_the_target() {
    for (rate, window) in [(2e6, 300_000), (1e6, 250_000), (9e6, 500_000)] {
        let delivery = Delivery { rate, ..Delivery::default() };
        let mut ledbat = Ledbat { window: 1e6, delivery, ..ledbat() };
        acknowledge_of(&mut ledbat, 10_000, 1_000_000, 80);
        assert_eq!(ledbat.snapshot(), Snapshot { window, ssthresh: window, slow_start: false });
    }
}

#[test]
fn a_loss_is_answered_in_advance_only_while_something_of_that_flight_is_out() {
    for (bytes, answered) in [(10_000, true), (99_999, true), (100_000, false)] {
        let mut ledbat = Ledbat { window: 100_000.0, ..ledbat() };
        acknowledge_of(&mut ledbat, bytes, 100_000, 80);
        let window = ledbat.window();
        lose(&mut ledbat);
        assert_eq!(ledbat.window(), if answered { window } else { window / 2 }, "{bytes} acknowledged");
    }
    let mut ledbat = Ledbat { window: 100_000.0, ..ledbat() };
    acknowledge_of(&mut ledbat, 10_000, 100_000, 80);
    acknowledge_of(&mut ledbat, 10_000, 90_000, 80);
    let window = ledbat.window();
    lose(&mut ledbat);
    assert_eq!(ledbat.window(), window, "most of it is out still");
}

#[test]
fn a_small_window_shrinks_by_the_rule_of_the_standard() {
    let mut ledbat = steady(5_000.0);
    acknowledge(&mut ledbat, 5_000, 120, false);
    assert_eq!(ledbat.window(), 4_400, "a fifth of the gain, not half of the excess of a fifth");
}

#[test]
fn idling_at_the_floor_leaves_nothing_to_double_up_to() {
    let mut ledbat = steady(f64::from(2 * MSS));
    ledbat.on_idle(Instant::ZERO, Duration::from_secs(5));
    assert_eq!(ledbat.snapshot(), Snapshot { window: 2 * MSS, ssthresh: 2 * MSS, slow_start: false });
}

#[test]
fn what_arrives_per_round_trip_is_remembered_for_some_rounds() {
    let mut delivery = Delivery::default();
    let mut after = |millis: u64, bytes| {
        delivery.on_ack(Instant::from_micros(millis * 1000), bytes, Duration::from_millis(100));
        (delivery.rate.round(), delivery.per_round_trip.round())
    };
    assert_eq!(after(0, 9_999), (0.0, 0.0), "sent before anything was measured");
    assert_eq!(after(25, 50_000), (2e6, 200_000.0));
    assert_eq!(after(45, 5_000), (2e6, 200_000.0), "a quarter of a round trip makes a round");
    assert_eq!(after(50, 5_000), (4e5, 175_000.0));
    assert_eq!(after(75, 50_000), (2e6, 200_000.0));
}
