//! A session of two who met by the name of a room: a hundred megabytes each way, while a router forgets all it knew.
//!
//! Whoever is behind that router comes from another port from then on, and the other one follows there. Where the other
//! router lets in only what comes from where something was sent, port for port, nothing of this can arrive: then the two
//! meet again in their room, and the stream goes on along the way that they find.

use super::lab::{Outcome, alone, is_possible, meet};

/// What each side sends.
const BYTES: u64 = 100_000_000;

/// The longest interruption, in seconds: of a stream that follows; of one whose ends meet again; of one for which a port
/// has to be searched for a second time, and between two searches there are twenty seconds.
const FOLLOWED: f64 = 3.0;
const MET_AGAIN: f64 = 12.0;
const SEARCHED_AGAIN: f64 = 40.0;

/// The router of the first one forgets in the middle. Everything arrives all the same.
fn session(kinds: [&str; 2], longest: f64) {
    let bytes = BYTES.to_string();
    let environment = [("REBIND", "A"), ("PATIENCE", "240")];
    let ends = meet(kinds, 1, &["--send-bytes", &bytes], &environment).remove(0);
    for (name, end) in ["A", "B"].into_iter().zip(&ends) {
        let Outcome { transfer: Some(trial), .. } = end else { panic!("{kinds:?}, {name}: {end:?}") };
        eprintln!(
            "session {} x {}, {name}: {} bytes in {:.2} s, nothing for {:.3} s at most, {} other way(s)",
            kinds[0],
            kinds[1],
            trial.received_bytes,
            trial.received_secs,
            trial.longest_pause_secs,
            trial.migrations
        );
        assert!(trial.intact, "{kinds:?}, {name}");
        assert_eq!((trial.sent_bytes, trial.received_bytes), (BYTES, BYTES), "{kinds:?}, {name}");
        assert!(trial.longest_pause_secs <= longest, "{kinds:?}, {name}: {trial:?}");
    }
    // The one who stays where he was goes another way.
    let moved = ends[1].transfer.as_ref().is_some_and(|trial| trial.migrations >= 1);
    assert!(moved, "{kinds:?}: nothing was forgotten in time");
}

#[test]
fn a_session_outlives_that_one_of_its_routers_forgets_it() {
    let _turn = alone();
    if is_possible() {
        session(["port", "full"], FOLLOWED);
    }
}

#[test]
fn a_session_behind_other_kinds_of_routers_outlives_that_one_forgets_it() {
    let _turn = alone();
    if is_possible() {
        session(["sym", "full"], FOLLOWED);
        session(["linux", "none"], FOLLOWED);
    }
}

#[test]
fn a_session_behind_other_kinds_of_routers_that_let_nothing_in_meets_again() {
    let _turn = alone();
    if is_possible() {
        session(["port", "port"], MET_AGAIN);
        session(["sym", "port"], SEARCHED_AGAIN);
        session(["port", "sym"], SEARCHED_AGAIN);
    }
}
