//! `ebbtide conditioner` between plain UDP sockets, as it would be between programs of somebody else.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::last_json;
use crate::process::Program;

/// A socket that waits for ten seconds at most.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// A program that sends back what it gets, for as long as the test lasts.
fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            // Whoever asked may be gone.
            drop(socket.send_to(&buffer[..len], from));
        }
    });
    addr
}

/// A conditioner in front of an echo, and where it listens.
fn conditioner(more: &[&str]) -> (Program, SocketAddr) {
    let to = echo().to_string();
    let arguments = ["conditioner", "--listen", "127.0.0.1:0", "--to", &to, "--seed", "1", "--json"];
    let mut program = Program::start(&[&arguments, more].concat());
    let listening: Value = serde_json::from_str(&program.line()).unwrap();
    assert_eq!((&listening["event"], &listening["seed"]), (&"listening".into(), &1.into()));
    (program, listening["listen"].as_str().unwrap().parse().unwrap())
}

fn ask(program: &mut Program, command: &str) -> Value {
    program.say(command);
    serde_json::from_str(&program.line()).unwrap()
}

/// Asks for numbers until they are as they should be.
fn until(program: &mut Program, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2_000 {
        let numbers = ask(program, "stats");
        if wanted(&numbers) {
            return numbers;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{}", ask(program, "stats"));
}

#[test]
fn datagrams_of_any_program_pass_both_ways_and_each_client_gets_its_own() {
    let (mut program, addr) = conditioner(&["--set", "delay=2ms"]);
    let clients = [socket(), socket()];
    let mut buffer = [0; 65_536];
    for len in [0, 1, 20, 1_400, 9_000, 60_000] {
        for (number, client) in (1..).zip(&clients) {
            client.send_to(&vec![number; len], addr).unwrap();
        }
        for (number, client) in (1..).zip(&clients) {
            let (got, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((from, &buffer[..got]), (addr, &vec![number; len][..]));
        }
    }
    program.feed(b"quit\n".to_vec());
    let outcome = program.finish();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let last = last_json(&outcome.text());
    assert_eq!((&last["event"], &last["clients"]), (&"last".into(), &2.into()));
    for way in ["up", "down"] {
        assert_eq!((&last[way]["received"], &last[way]["sent"]), (&12.into(), &12.into()), "{last}");
    }
}

#[test]
fn commands_change_the_line_while_it_runs() {
    let (mut program, addr) = conditioner(&[]);
    let client = socket();
    let mut buffer = [0; 16];
    client.send_to(b"one", addr).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap().0, 3);

    let changed = ask(&mut program, "up link=down");
    assert_eq!(changed["event"], "changed");
    assert!(changed["up"].as_str().unwrap().contains("partition"), "{changed}");
    client.send_to(b"two", addr).unwrap();
    let numbers = until(&mut program, |numbers| numbers["up"]["received"] == 2);
    assert_eq!((&numbers["up"]["link_down"], &numbers["down"]["received"]), (&1.into(), &1.into()));

    // What is under way for an hour does not come at all.
    ask(&mut program, "set link=up delay=3600");
    client.send_to(b"three", addr).unwrap();
    until(&mut program, |numbers| numbers["up"]["under_way"] == 1);
    ask(&mut program, "clear");
    ask(&mut program, "discard");
    client.send_to(b"four", addr).unwrap();
    let len = client.recv_from(&mut buffer).unwrap().0;
    assert_eq!(&buffer[..len], b"four");

    program.say("up speed=5");
    program.feed(b"quit\n".to_vec());
    let outcome = program.finish();
    assert_eq!((outcome.code, outcome.stderr.trim()), (Some(0), "ebbtide: unknown setting `speed`"));
}

#[test]
fn more_addresses_than_it_has_room_for_cost_it_nothing() {
    let (mut program, addr) = conditioner(&["--clients", "2", "--idle", "0.5"]);
    let clients: Vec<UdpSocket> = (0..50).map(|_| socket()).collect();
    for client in &clients {
        client.send_to(b"?", addr).unwrap();
    }
    let numbers = until(&mut program, |numbers| numbers["refused"] == 48);
    assert!(numbers["clients"].as_u64().unwrap() <= 2, "{numbers}");
    // Those who say nothing any more make room for others.
    until(&mut program, |numbers| numbers["clients"] == 0 && numbers["clients_expired"] == 2);
    let late = &clients[49];
    late.send_to(b"now", addr).unwrap();
    assert_eq!(late.recv_from(&mut [0; 16]).unwrap().0, 3);
}

#[test]
fn it_ends_by_itself_and_goes_on_without_stdin() {
    let (mut program, addr) = conditioner(&["--time", "1", "--every", "0.2", "--up", "loss=100%"]);
    program.feed(Vec::new());
    let client = socket();
    client.send_to(b"lost", addr).unwrap();
    let outcome = program.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = outcome.text();
    assert!(text.lines().filter(|line| line.contains("\"event\":\"stats\"")).count() >= 2, "{text}");
    assert_eq!(last_json(&text)["up"]["lost"], 1);
}

#[test]
fn an_address_that_is_taken_is_a_failure_with_a_reason() {
    let taken = socket();
    let addr = taken.local_addr().unwrap().to_string();
    let outcome = crate::process::run(&["conditioner", "--listen", &addr, "--to", &addr], b"");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("ebbtide: listen on "), "{}", outcome.stderr);
}
