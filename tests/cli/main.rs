//! The `ebbtide` program as a user meets it: real processes, their output and exit codes.
//!
//! Refuses to know anything inside. Everything has a time limit, and children do not outlive their test.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod conditioner;
mod nat;
mod process;
mod rendezvous;

use std::fs;

use serde_json::Value;

use process::{Outcome, Program, bytes, run};

const SYN: &str = "4100 3039 00000001 00000000 00000000 0001 0000";
const SYN_TEXT: &str = "ST_SYN conn 12345 seq 1 ack 0 window 0 sent 1 us delay none payload 0";

fn last_json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().expect("a line of JSON")).unwrap()
}

#[test]
fn wrong_usage_is_explained_on_stderr_with_exit_code_2() {
    let cases: &[&[&str]] = &[
        &["frobnicate"],
        &["demo", "--size", "many"],
        &["demo", "--size", "-1"],
        &["demo", "--size", "99999999TiB"],
        &["pipe"],
        &["pipe", "no-port"],
        &["pipe", "127.0.0.1:1", "--listen", "127.0.0.1:2"],
        &["pipe", "--listen", "127.0.0.1:65536"],
        &["bench", "server"],
        &["bench", "client", "127.0.0.1:1", "--time", "0"],
        &["bench", "client", "127.0.0.1:1", "--time", "1", "--bytes", "1"],
        &["bench", "client", "127.0.0.1:1", "--streams", "0"],
        &["bench", "client", "127.0.0.1:1", "--streams", "129"],
        &["bench", "client", "127.0.0.1:1", "--transport", "sctp"],
        &["bench", "client", "127.0.0.1:1", "--mtu", "149"],
        &["bench", "client", "127.0.0.1:1", "--interval", "nan"],
        &["conditioner", "--listen", "127.0.0.1:0"],
        &["conditioner", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--preset", "heaven"],
        &["conditioner", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--set", "loss=101%"],
        &["conditioner", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--clients", "0"],
        &["decode", "one", "two"],
        &["nat"],
        &["nat", "--server", "nowhere"],
        &["punch"],
        &["punch", "room"],
        &["punch", "room", "--server", "127.0.0.1:1", "--no-relay", "--relay-only"],
        &["rendezvous", "--relay-pairs", "3"],
    ];
    for arguments in cases {
        let result = run(arguments, b"");
        assert_eq!(result.code, Some(2), "{arguments:?}: {}", result.stderr);
        assert!(result.stderr.starts_with("ebbtide: "), "{arguments:?}: {}", result.stderr);
        assert!(result.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_on_stdout_with_exit_code_0() {
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["bench", "client", "--help"],
        &["conditioner", "--help"],
        &["--version"],
    ] {
        let result = run(arguments, b"");
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!result.stdout.is_empty());
    }
}

#[test]
fn failures_at_run_time_have_exit_code_1_and_one_line() {
    let cases: &[&[&str]] = &[
        &["decode", "/nowhere/at/all"],
        &["decode"],
        &["bench", "client", "127.0.0.1:1", "--transport", "tcp"],
        &["pipe", "--listen", "203.0.113.1:0"],
    ];
    for arguments in cases {
        let result = run(arguments, b"");
        assert_eq!(result.code, Some(1), "{arguments:?}: {}", result.stderr);
        assert!(result.stderr.starts_with("ebbtide: "), "{arguments:?}: {}", result.stderr);
        assert_eq!(result.stderr.lines().count(), 1, "{arguments:?}: {}", result.stderr);
    }
}

#[test]
fn decode_reads_hex_line_by_line() {
    let input = format!("# from a log\n{SYN}\n\n64313a\n0101{}00\n", &SYN[5..]);
    let result = run(&["decode"], input.as_bytes());
    let expected = format!(
        "2: {SYN_TEXT}\n\
         4: not uTP: 3 bytes are less than a header of 20 (3 bytes)\n\
         5: malformed uTP: the extensions run past the end of the datagram (21 bytes)\n"
    );
    assert_eq!((result.code, result.text()), (Some(0), expected));
}

#[test]
fn decode_names_lines_that_are_no_packets_and_fails() {
    let result = run(&["decode", "-"], format!("hello\n{SYN}\n123\n").as_bytes());
    assert_eq!((result.code, result.text()), (Some(1), format!("2: {SYN_TEXT}\n")));
    let complaints: Vec<&str> = result.stderr.lines().collect();
    assert_eq!(
        complaints,
        [
            "ebbtide: -: line 1: not hexadecimal",
            "ebbtide: -: line 3: an odd number of hexadecimal digits",
            "ebbtide: -: 2 lines could not be read",
        ]
    );
}

#[test]
fn decode_reads_a_raw_packet_and_a_capture() {
    let mut packet = vec![0x41, 0, 0x30, 0x39, 0, 0, 0, 1];
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packet");
    fs::write(&file, &packet).unwrap();
    let result = run(&["decode", file.to_str().unwrap()], b"");
    assert_eq!((result.code, result.text()), (Some(0), format!("{SYN_TEXT}\n")));

    let mut capture = vec![0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0];
    capture.extend([0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 101, 0, 0, 0]);
    capture.extend([1, 0, 0, 0, 2, 0, 0, 0, 48, 0, 0, 0, 48, 0, 0, 0]);
    capture.extend([0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    capture.extend([0x0F, 0xA0, 0x1A, 0xE1, 0, 28, 0, 0]);
    capture.extend(&packet);
    let result = run(&["decode"], &capture);
    let expected = format!(
        "1 0.000000 10.0.0.1:4000 > 10.0.0.2:6881 {SYN_TEXT}\n\
         1 uTP packets, 0 malformed, 0 other UDP datagrams, 0 other frames\n"
    );
    assert_eq!((result.code, result.text()), (Some(0), expected));
}

#[test]
fn decode_survives_garbage() {
    for seed in 0..20 {
        let garbage = bytes(seed, 2000);
        let result = run(&["decode"], &garbage[..usize::try_from(seed).unwrap() * 100]);
        assert!(matches!(result.code, Some(0 | 1)), "{}", result.stderr);
    }
}

#[test]
fn a_closed_stdout_ends_quietly_with_a_failure() {
    let mut program = Program::start(&["decode"]);
    program.close_stdout();
    program.feed(format!("{SYN}\n").repeat(10_000).into_bytes());
    let result = program.finish();
    assert_eq!((result.code, result.stderr.as_str()), (Some(1), ""));
}

#[test]
fn the_demo_verifies_what_it_moved() {
    let result = run(&["demo", "--size", "4MiB", "--json"], b"");
    assert_eq!(result.code, Some(0), "{}", result.stderr);
    let outcome = last_json(&result.text());
    assert_eq!(outcome["verified"], true);
    assert_eq!(outcome["bytes"], 4 << 20);
    assert_eq!(outcome["blake3_sent"], outcome["blake3_received"]);
    for figure in ["goodput_bits_per_second", "rtt_ms_mean", "datagrams_per_send_call", "cwnd"] {
        assert!(outcome[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {outcome}");
    }
    let text = run(&["demo", "--size", "1MiB"], b"").text();
    assert!(text.contains("goodput") && text.lines().any(|line| line.ends_with("verified")), "{text}");
}

/// Two pipes towards each other; what each reads from stdin is given.
fn pipe_both_ways(to_caller: Vec<u8>, to_listener: Vec<u8>) -> (Outcome, Outcome) {
    let mut listener = Program::start(&["pipe", "--listen", "127.0.0.1:0"]);
    let addr = listener.address();
    let mut caller = Program::start(&["pipe", &addr]);
    listener.feed(to_caller);
    caller.feed(to_listener);
    (caller.finish(), listener.finish())
}

#[test]
fn pipe_carries_both_directions_at_once() {
    let (one, other) = (bytes(1, 5 << 20), bytes(2, 3 << 20));
    let (caller, listener) = pipe_both_ways(one.clone(), other.clone());
    assert_eq!((caller.code, caller.stderr.as_str()), (Some(0), ""));
    assert_eq!(listener.code, Some(0), "{}", listener.stderr);
    assert!(caller.stdout == one && listener.stdout == other, "content differs");
}

#[test]
fn pipe_with_nothing_to_carry_ends() {
    let (caller, listener) = pipe_both_ways(Vec::new(), Vec::new());
    assert_eq!((caller.code, listener.code), (Some(0), Some(0)), "{}{}", caller.stderr, listener.stderr);
    assert!(caller.stdout.is_empty() && listener.stdout.is_empty());
}

#[test]
fn a_direction_of_a_pipe_goes_on_after_the_other_has_ended() {
    let mut listener = Program::start(&["pipe", "--listen", "127.0.0.1:0"]);
    let addr = listener.address();
    let mut caller = Program::start(&["pipe", &addr]);
    listener.feed(b"the end of one direction".to_vec());
    assert_eq!(caller.read_some(24), b"the end of one direction");
    // The listener's direction is over; only now does the caller begin.
    let late = bytes(3, 3 << 20);
    caller.feed(late.clone());
    let (caller, listener) = (caller.finish(), listener.finish());
    assert_eq!((caller.code, listener.code), (Some(0), Some(0)), "{}{}", caller.stderr, listener.stderr);
    assert!(listener.stdout == late, "content differs");
}

#[test]
fn a_pipe_whose_stdout_breaks_says_so_and_tells_the_peer() {
    let mut listener = Program::start(&["pipe", "--listen", "127.0.0.1:0"]);
    let addr = listener.address();
    let mut caller = Program::start(&["pipe", &addr]);
    listener.close_stdout();
    caller.feed_and_stay(bytes(4, 1 << 20));
    let listener = listener.finish();
    assert_eq!(listener.code, Some(1));
    assert!(listener.stderr.ends_with("ebbtide: stdout: Broken pipe\n"), "{}", listener.stderr);
    let caller = caller.finish();
    assert_eq!(caller.code, Some(1));
    assert!(caller.stderr.starts_with("ebbtide: connection: "), "{}", caller.stderr);
}

#[test]
fn bench_reports_every_figure_over_both_transports() {
    for (transport, reverse) in [("utp", false), ("utp", true), ("tcp", false), ("tcp", true)] {
        let server = Program::start(&[
            "bench",
            "server",
            "--listen",
            "127.0.0.1:0",
            "--transport",
            transport,
            "--one-off",
        ]);
        let addr = server.address();
        let mut arguments =
            vec!["bench", "client", &addr, "--transport", transport, "--bytes", "8MiB", "--json"];
        arguments.extend(reverse.then_some("--reverse"));
        let result = run(&arguments, b"");
        assert_eq!(result.code, Some(0), "{}", result.stderr);
        let summary = last_json(&result.text());
        assert_eq!(summary["transport"], transport);
        assert_eq!(summary["bytes"], 8 << 20);
        for figure in
            ["seconds", "goodput_bits_per_second", "cpu_seconds_per_gib", "peer_cpu_seconds_per_gib"]
        {
            assert!(summary[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {summary}");
        }
        let of_utp = [
            "rtt_ms_mean",
            "mtu",
            "datagrams_per_send_call",
            "datagrams_per_receive_call",
            "retransmitted_packets",
        ];
        for figure in of_utp {
            assert_eq!(summary[figure].is_number(), transport == "utp", "{figure}: {summary}");
        }
        for figure in ["queue_delay_ms_mean", "queue_delay_ms_p95"] {
            assert!(summary.get(figure).is_some(), "{figure}: {summary}");
        }
        assert_eq!(server.finish().code, Some(0));
    }
}

#[test]
fn bench_splits_bytes_over_streams_and_prints_intervals() {
    let server = Program::start(&[
        "bench",
        "server",
        "--listen",
        "127.0.0.1:0",
        "--transport",
        "tcp",
        "--one-off",
        "--json",
    ]);
    let addr = server.address();
    let result = run(
        &["bench", "client", &addr, "--transport", "tcp", "--streams", "3", "--bytes", "1000001", "--json"],
        b"",
    );
    assert_eq!(last_json(&result.text())["bytes"], 1_000_001, "{}", result.stderr);
    assert_eq!(last_json(&server.finish().text())["bytes"], 1_000_001);

    let server = Program::start(&["bench", "server", "--listen", "127.0.0.1:0", "--transport", "tcp"]);
    let addr = server.address();
    let arguments =
        ["bench", "client", &addr, "--transport", "tcp", "--time", "0.5", "--interval", "0.1", "--json"];
    let text = run(&arguments, b"").text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().filter(|event| event["event"] == "interval").count() >= 2, "{text}");
    assert_eq!(events.last().unwrap()["event"], "summary");
}
