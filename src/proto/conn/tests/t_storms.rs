//! Rows t14, t15 and t16: windows that never open, acknowledgements that never end, and errors that anybody may forge.

use super::*;

/// A peer that keeps its window shut, with bytes waiting for it.
fn stalled(config: Config) -> Raw {
    let mut raw = Raw::dialled(config);
    raw.window = 0;
    raw.say(Kind::State, b"");
    while let WriteOutcome::Written(1..) = raw.conn.write(&[0; 4096]) {}
    raw
}

#[test]
fn t14_a_shut_window_is_probed_ever_more_rarely_and_given_up_after_five_minutes() {
    let mut raw = stalled(config());
    let start = raw.now;
    let mut probes = Vec::new();
    while raw.conn.close_reason().is_none() {
        for heard in raw.pass_hearing(millis(100)) {
            if heard.kind() == Kind::Data {
                probes.push(heard.at);
                raw.say(Kind::State, b"");
            }
        }
    }
    assert_eq!(raw.conn.close_reason(), Some(CloseReason::Stalled));
    let lasted = raw.now.since(start);
    eprintln!("t14 bound=300s measured={lasted:?}, {} probes", probes.len());
    assert!((299..=301).contains(&lasted.as_secs()), "{lasted:?}");
    assert!((20..=40).contains(&probes.len()), "{}", probes.len());
    let pauses: Vec<u128> = probes.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect();
    assert!(pauses[0] < 2000 && pauses[pauses.len() - 1] >= 15_000, "{pauses:?}");
}

#[test]
fn t14_opening_the_window_without_taking_anything_gains_no_time() {
    let mut raw = stalled(config());
    let start = raw.now;
    while raw.conn.close_reason().is_none() && raw.now.since(start) < secs(3600) {
        raw.window = if raw.window == 0 { 1 << 20 } else { 0 };
        raw.say(Kind::State, b"");
        raw.pass_hearing(secs(7));
    }
    let lasted = raw.now.since(start);
    eprintln!("t14 bound=367s measured={lasted:?} with a window that opens and takes nothing");
    assert!(raw.conn.close_reason().is_some() && lasted <= secs(367), "{lasted:?}");
}

#[test]
fn t14_a_peer_that_takes_its_time_is_waited_for() {
    let mut raw = stalled(config());
    for _ in 0..20 {
        raw.pass_hearing(secs(240));
        raw.window = 1 << 20;
        raw.say(Kind::State, b"");
        raw.hear();
        raw.pass(millis(20));
        raw.acknowledge_all();
        raw.window = 0;
        raw.acknowledge_all();
        while let WriteOutcome::Written(1..) = raw.conn.write(&[0; 4096]) {}
    }
    assert_eq!(raw.conn.close_reason(), None);
}

#[test]
fn t14_what_goes_beyond_our_window_is_dropped_and_counted() {
    let mut raw = Raw::dialled(config().receive_buffer(16 << 10).receive_buffer_max(16 << 10));
    for _ in 0..1000 {
        raw.say(Kind::Data, &[0; 1000]);
        raw.hear();
    }
    let stats = raw.conn.stats();
    eprintln!("t14 bound=16384 measured={} bytes kept of a million beyond the window", raw.conn.memory());
    assert_eq!((stats.packets_refused, stats.bytes_received), (1000 - 16, 16_000));
    assert!(raw.conn.memory() <= 16 << 10);
    assert_eq!(raw.conn.close_reason(), None);
}

#[test]
fn t14_a_window_of_four_gigabytes_is_worth_our_own_buffer() {
    let mut raw = Raw::dialled(
        unlimited().congestion(Congestion::Fixed(u32::MAX)).send_buffer(64 << 10).packets_in_flight(32_000),
    );
    raw.window = u32::MAX;
    raw.say(Kind::State, b"");
    for _ in 0..100 {
        raw.conn.write(&[0; 64 << 10]);
        raw.hear();
    }
    let in_flight = raw.conn.stats().bytes_in_flight;
    eprintln!("t14 bound=65536 measured={in_flight} bytes in flight");
    assert_eq!(in_flight, 64 << 10);
}

#[test]
fn t14_ten_thousand_stalled_peers_cost_their_buffers_and_are_gone_in_time() {
    const COUNT: usize = if cfg!(miri) { 10 } else { 10_000 };
    const BUFFER: usize = 4096;
    let config = config().send_buffer(BUFFER).receive_buffer(BUFFER).receive_buffer_max(BUFFER);
    let mut all: Vec<Raw> = (0..COUNT).map(|_| stalled(config.clone())).collect();
    for raw in &mut all {
        raw.pass_hearing(secs(200));
    }
    let memory: usize = all.iter().map(|raw| raw.conn.memory()).sum();
    // What is known about segments comes on top of the bytes.
    let bound = COUNT * (BUFFER + 1024);
    for raw in &mut all {
        raw.pass_hearing(secs(101));
        assert_eq!(raw.conn.close_reason(), Some(CloseReason::Stalled));
        assert!(raw.conn.is_drained());
    }
    let left: usize = all.iter().map(|raw| raw.conn.memory()).sum();
    eprintln!("t14 bound={bound} measured={memory} bytes for {COUNT} stalled peers, {left} after 301 s");
    assert!(memory <= bound && left == 0, "{memory} and {left} bytes");
}

#[test]
fn t15_a_million_duplicate_acknowledgements_are_worth_a_window_at_most() {
    const COUNT: u32 = if cfg!(miri) { 300 } else { 1_000_000 };
    for window_moves in [false, true] {
        let mut raw = Raw::dialled(unlimited().send_buffer(4 << 20));
        raw.write(&[0; 3 << 20]);
        let flight = raw.hear().len();
        raw.pass(millis(20));
        raw.ack = OUR_SYN + 1;
        let mut out = 0;
        for number in 0..COUNT {
            if window_moves {
                raw.window = (1 << 20) - number % 2;
            }
            raw.say(Kind::State, b"");
            // Within a round trip.
            if number.is_multiple_of(50) {
                raw.now = raw.now + Duration::from_micros(1);
            }
            out += raw.hear().len();
        }
        eprintln!("t15 bound={flight} measured={out} packets for {COUNT} duplicate acknowledgements");
        assert!(out <= flight, "{out} of {flight}");
        assert!(raw.conn.stats().packets_retransmitted <= 3, "{:?}", raw.conn.stats());
    }
}

#[test]
fn t15_no_packet_is_answered_by_more_than_one() {
    const TWICE: usize = if cfg!(miri) { 200 } else { 50_000 };
    // In the second that this takes, both forms of an acknowledgement are sent eleven times.
    const BOUND: usize = 2 * TWICE + 11;
    for finished in [false, true] {
        let mut raw = Raw::dialled(config());
        raw.say(Kind::Data, b"once");
        if finished {
            raw.conn.finish();
        }
        raw.hear();
        raw.pass(millis(200));
        let again = Header { seq: raw.seq.prev(), ..raw.header(Kind::Data) };
        let ahead = Header { seq: raw.seq + 50, ..raw.header(Kind::Data) };
        let mut out = 0;
        for _ in 0..TWICE {
            for header in [again, ahead] {
                raw.say_with(header, Extensions::EMPTY, b"once");
                out += raw.hear().len();
            }
            raw.now = raw.now + Duration::from_micros(20);
        }
        eprintln!("t15 bound={BOUND} measured={out} packets for {} that repeat themselves", 2 * TWICE);
        assert!(out <= BOUND, "{out}");
    }
}

#[test]
fn t15_a_packet_is_sent_again_once_per_round_trip_at_most() {
    let mut raw = Raw::dialled(unlimited().send_buffer(4 << 20));
    raw.write(&[0; 100 * FULL]);
    raw.hear();
    let mut again = 0;
    // A mask that shows all of it missing but the last, 1,000 times a round trip, for ten of them.
    for _ in 0..10_000 {
        raw.pass(Duration::from_micros(20));
        raw.say_sack(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0b111, 0, 0, 0, 0]);
        again += raw.hear().len();
    }
    eprintln!("t15 bound={} measured={again} packets sent again in 10 round trips", 10 * 100);
    assert!(again <= 10 * 100, "{again}");
}

#[test]
fn t16_nothing_but_the_configuration_sets_the_size_of_packets() {
    let mut raw = Raw::dialled(unlimited().mtu(1400));
    // Whatever a peer or anybody else says: packets of all kinds and sizes.
    for size in [0, 68, 576, 1280, 1399] {
        raw.say(Kind::Data, &vec![0; size]);
        let header = Header { ack: OUR_SYN - 9, ..raw.header(Kind::Reset) };
        raw.say_with(header, Extensions::EMPTY, &vec![3; size]);
    }
    raw.hear();
    raw.write(&[0; 50 * FULL]);
    let sizes: Vec<usize> = raw.hear().iter().map(|heard| heard.bytes.len()).collect();
    eprintln!("t16 bound=1400 measured={}", sizes.iter().min().unwrap());
    assert!(sizes.iter().all(|size| *size == 1400), "{sizes:?}");
    assert_eq!(raw.conn.stats().mtu, 1400);
}
