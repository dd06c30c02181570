//! What strangers can learn from numbers that we choose: nothing.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Draws per test.
const DRAWS: u32 = 100_000;

/// Cells of the test: 255 degrees of freedom, for which 99.99 % of fair draws stay below 345.
const CELLS: usize = 256;

/// Pearson's statistic for the upper and for the lower bits of the draws.
fn chi_square(draws: &[u16], bits: u32) -> [f64; 2] {
    let statistic = |cell: &dyn Fn(u16) -> usize| {
        let mut cells = [0u32; CELLS];
        draws.iter().for_each(|&draw| cells[cell(draw)] += 1);
        let expected = draws.len() as f64 / CELLS as f64;
        cells.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    };
    [statistic(&|draw| usize::from(draw >> (bits - 8))), statistic(&|draw| usize::from(draw & 0xFF))]
}

fn assert_fair(what: &str, draws: &[u16], bits: u32) {
    let statistics = chi_square(draws, bits);
    eprintln!("t17 bound=345 measured={:.0} and {:.0}, {what}, {DRAWS} draws", statistics[0], statistics[1]);
    assert!(statistics.iter().all(|&statistic| statistic < 345.0), "{what}: {statistics:?}");
    // One draw tells nothing about the next.
    let steps: Vec<u16> = draws.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let statistics = chi_square(&steps, 16);
    assert!(statistics[1] < 345.0 || bits < 16, "{what}, differences: {statistics:?}");
}

#[test]
fn t17_ids_first_numbers_and_clocks_of_ours_are_drawn_evenly() {
    let mut side = Side::new(1, Config::default().linger(secs(0)));
    let (mut ids, mut numbers, mut clocks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..DRAWS {
        let handle = side.lease.connect(anybody(round), None);
        let sent = side.turn(Instant::ZERO);
        let syn = Packet::decode(&sent[0].1).unwrap().header;
        ids.push(syn.conn_id.get() >> 1);
        numbers.push(syn.seq.get());
        clocks.push((syn.sent_at.get() >> 16) as u16);
        drop(handle);
        side.turn(Instant::ZERO);
        side.turn(Instant::from_micros(1));
    }
    assert_fair("halves of ids", &ids, 15);
    assert_fair("first numbers as initiator", &numbers, 16);
    assert_fair("clocks as initiator", &clocks, 16);
}

#[test]
fn t17_numbers_and_clocks_of_answers_are_drawn_evenly_remembered_or_not() {
    // The first way with an application that accepts, the second with nobody who does.
    for accepts in [true, false] {
        let config = Config::default().half_open(1).connect_timeout(millis(100));
        let mut side = Side::listening(1, config);
        let (mut numbers, mut clocks) = (Vec::new(), Vec::new());
        let mut now = Instant::ZERO;
        if !accepts {
            side.receive(now, stranger(1), &bytes(syn(1, 1), b""));
        }
        for round in 0..DRAWS {
            // One attacker, who counts everything up.
            let (id, seq) = (u16::try_from(round % 60_000).unwrap(), u16::try_from(round / 60_000).unwrap());
            side.receive(now, anybody(7), &bytes(syn(id, seq), b""));
            let handle = accepts.then(|| side.incoming().unwrap().accept());
            let sent = side.turn(now);
            let answer = Packet::decode(&sent[0].1).unwrap().header;
            numbers.push(answer.seq.get());
            clocks.push((answer.sent_at.get() >> 16) as u16);
            if let Some(handle) = handle {
                handle.abort();
                side.turn(now);
                now = now + Duration::from_micros(1);
            }
        }
        assert_eq!(side.endpoint.stats().cookies_sent, if accepts { 0 } else { DRAWS.into() });
        assert_fair(if accepts { "first numbers as acceptor" } else { "cookies" }, &numbers, 16);
        assert_fair("clocks as acceptor", &clocks, 16);
    }
}

#[test]
fn t17_two_connections_show_clocks_that_have_nothing_in_common() {
    let mut rng = StdRng::from_seed([3; 32]);
    let mut near = 0;
    const PAIRS: u32 = 2000;
    let mut side = Side::new(1, Config::default());
    for round in 0..PAIRS {
        let now = Instant::from_micros(rng.random_range(1..u64::from(u32::MAX)));
        let stamps = [0, 1].map(|half| {
            let _handle = side.lease.connect(anybody(2 * round + half), None);
            let sent = side.turn(now);
            Packet::decode(&sent[0].1).unwrap().header.sent_at
        });
        // Within a minute of each other, or of the time since the endpoint began.
        let minute = |from: Timestamp, to: Timestamp| to.delay_since(from).get() < 60_000_000;
        near += u32::from(minute(stamps[0], stamps[1]) || minute(stamps[1], stamps[0]));
        near += u32::from(minute(now.stamp(), stamps[0]));
    }
    // Three minutes of 71.6.
    let expected = f64::from(PAIRS) * 3.0 * 60.0 / 4295.0;
    eprintln!("t17 bound=chance, {expected:.0} of {PAIRS} measured={near}");
    assert!(f64::from(near) < 1.5 * expected && f64::from(near) > 0.5 * expected, "{near}, {expected}");
}

#[test]
fn t17_a_connection_shows_one_clock_from_its_answer_to_its_end() {
    for half_open in [1, 10] {
        let mut side = Side::listening(1, Config::default().half_open(half_open));
        let at = |millis: u64| Instant::from_micros(1 + millis * 1000);
        side.receive(at(0), stranger(9), &bytes(syn(1, 1), b""));
        side.receive(at(0), stranger(1), &bytes(syn(7, 65_535), b""));
        let first = if half_open == 1 { side.turn(at(0)) } else { vec![] };
        let _other = side.incoming();
        let early = side.incoming().map(Incoming::accept);
        let mut shown: Vec<_> = first.into_iter().chain(side.turn(at(0))).collect();
        let answer = Packet::decode(&shown[0].1).unwrap().header;
        let proof = header(Kind::Data, 8, 0, answer.seq.prev().get());
        side.receive(at(1000), stranger(1), &bytes(proof, b"hello"));
        shown.extend(side.turn(at(1000)));
        let handle = early.unwrap_or_else(|| side.incoming().unwrap().accept());
        assert_eq!(handle.try_write(b"answer"), Poll::Ready(Ok(6)));
        shown.extend(side.turn(at(2000)));
        handle.abort();
        shown.extend(side.turn(at(3000)));
        assert_eq!(shown.len(), 4, "{shown:?}");
        let stamps = shown.iter().map(|(_, datagram)| Packet::decode(datagram).unwrap().header.sent_at);
        let elapsed: Vec<u32> = stamps.map(|stamp| stamp.delay_since(answer.sent_at).get()).collect();
        assert_eq!(elapsed, [0, 1_000_000, 2_000_000, 3_000_000]);
    }
}
