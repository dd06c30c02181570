//! `ebbtide rendezvous`, and `ebbtide punch` by way of it.

use serde_json::Value;

use crate::last_json;
use crate::process::{Program, run};

/// A server, and where it listens.
fn server(more: &[&str]) -> (Program, String) {
    let arguments = [&["rendezvous", "--listen", "127.0.0.1:0", "--json", "--quiet"], more].concat();
    let mut program = Program::start(&arguments);
    let listening: Value = serde_json::from_str(&program.line()).unwrap();
    assert_eq!(listening["event"], "listening");
    (program, listening["listen"][0].as_str().unwrap().to_owned())
}

fn punch(server: &str, more: &[&str]) -> Program {
    let arguments = ["punch", "otter-vivid-lantern", "--server", server, "--bind", "127.0.0.1:0"];
    Program::start(&[&arguments[..], more].concat())
}

#[test]
fn two_machines_meet_by_a_name_and_check_what_they_send_each_other() {
    let (_server, addr) = server(&[]);
    let one = punch(&addr, &["--json", "--send-bytes", "1MB"]);
    let other = punch(&addr, &["--send-bytes", "64k"]);
    let (one, other) = (one.finish(), other.finish());
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{} {}", one.stderr, other.stderr);
    let outcome = last_json(&one.text());
    assert_eq!((&outcome["connected"], &outcome["path"]), (&true.into(), &"local network".into()));
    assert_eq!(outcome["transfer"]["received_bytes"], 65536);
    assert_eq!(outcome["transfer"]["intact"], true);
    let text = other.text();
    for words in ["waiting for the other machine", "found a way", "received 976.6 KiB", "all of it was right"]
    {
        assert!(text.contains(words), "{words:?} in {text}");
    }
}

#[test]
fn two_machines_that_want_it_meet_through_the_server() {
    let (_server, addr) = server(&["--relay"]);
    let peers = [(); 2].map(|()| punch(&addr, &["--json", "--relay-only", "--send-bytes", "10k"]));
    for outcome in peers.map(Program::finish) {
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let outcome = last_json(&outcome.text());
        assert_eq!(outcome["path"], "through a relay");
        assert_eq!(outcome["transfer"]["received_bytes"], 10240);
    }
}

#[test]
fn without_a_server_it_fails_and_says_so() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap().to_string();
    let result = run(&["punch", "otter", "--server", &addr], b"");
    assert_eq!(result.code, Some(1));
    assert!(result.stderr.contains("UDP is blocked"), "{}", result.stderr);
}
