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
    (41102, "after an outage, clocks that disagree made every round trip seem to take fifteen seconds"),
    (41416, "a FIN was given up while an outage of six seconds lasted, and its peer waited for ever"),
    (44208, "a FIN was given up in an outage, and what the peer repeated after it was answered by RESETs"),
    (59617, "a FIN was given up after sixteen seconds of a black hole, of which the peer had said nothing"),
    (62589, "a FIN was given up, and its peer's repetitions were answered without it"),
    (45471, "fifty connections backed off in step, and overflowed the same queue each time"),
    (62825, "twenty connections that one sleep had stopped backed off in step"),
    (
        46183,
        "a buffer that was empty kept its memory while data came in, of which little could be taken then",
    ),
    (46451, "a buffer that was empty kept its memory while its echo came back"),
    (69682, "a buffer that was empty kept its memory, and a packet per round trip was taken"),
    (52315, "a buffer that doubled went from below half of the limit of memory to beyond it"),
    (93813, "a RESET that named two connections was answered by both"),
    (108112, "the first acknowledgement of a connection took an original for its repetition"),
    (615777, "a flight that was lost as a whole was repaired one packet per round trip"),
];

#[test]
fn worlds_that_once_failed_do_not_fail_again() {
    for &(seed, reason) in ONCE_FAILED {
        let outcome = quietly(|| outcome_of(seed));
        assert!(outcome.is_ok(), "seed {seed}, which once failed because {reason}: {outcome:?}");
    }
}
