//! Worlds that once failed, each with the reason. The cause of each also has a test of its own where it was.

use crate::swarm::{outcome_of, quietly};

const ONCE_FAILED: &[(u64, &str)] = &[];

#[test]
fn worlds_that_once_failed_do_not_fail_again() {
    for &(seed, reason) in ONCE_FAILED {
        let outcome = quietly(|| outcome_of(seed));
        assert!(outcome.is_ok(), "seed {seed}, which once failed because {reason}: {outcome:?}");
    }
}
