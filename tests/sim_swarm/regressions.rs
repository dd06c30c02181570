//! Worlds that once failed, each with the reason. The cause of each also has a test of its own where it was; these stay
//! for the company in which it showed.
//!
//! A seed means the same world only as long as nothing about drawing changes. After such a change it is still a world
//! like any other, and those tests hold what it stood for.

use crate::swarm::{outcome_of, quietly};

const ONCE_FAILED: &[(u64, &str)] = &[
    (21, "a retransmission timeout followed within the round trip of a probe or a repair"),
    (25, "a retransmission timeout followed within the round trip of a probe or a repair"),
    (102, "bytes written while the window was shut waited without a timer"),
    (709, "bytes written while the window was shut waited without a timer"),
    (619, "a RESET was followed by the acknowledgement that was owed before it"),
    (3643, "round trips measured by a clock that had stood still kept the window small for ten minutes"),
    (4408, "an acceptor that had much to send had no memory for the proof of its peer's address"),
];

#[test]
fn worlds_that_once_failed_do_not_fail_again() {
    for &(seed, reason) in ONCE_FAILED {
        let outcome = quietly(|| outcome_of(seed));
        assert!(outcome.is_ok(), "seed {seed}, which once failed because {reason}: {outcome:?}");
    }
}
