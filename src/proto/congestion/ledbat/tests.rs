//! The closed loop: controller, pacer, delays and round trips on a path in a few lines.

use super::super::model::{Flow, Link, MSS};
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

#[test]
fn e32_a_plain_link_is_full_within_a_second_and_loses_nothing() {
    let link = link(100.0, 50.0);
    let mut flow = Flow::new(ledbat(), link);
    flow.run(1.0);
    let steady = flow.run(10.0);
    assert!(steady.rate > 0.99 * link.rate, "{steady:?}");
    assert!(steady.queue_max < 1.1 * TARGET.as_secs_f64(), "{steady:?}");
    assert_eq!(flow.drops, 0);
}
