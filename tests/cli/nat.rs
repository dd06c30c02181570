//! `ebbtide nat` against servers in this process.

use std::net::SocketAddr;

use ebbtide::UtpSocket;

use crate::last_json;
use crate::process::run;

/// Runs the command with a server on two neighbouring ports of loopback.
fn with_server(arguments: impl Fn(SocketAddr) -> Vec<String> + Send + 'static) -> crate::process::Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let servers = loop {
            let first = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let mut above = first.local_addr();
            above.set_port(above.port().saturating_add(1));
            // Somebody else may have that port.
            if let Ok(second) = UtpSocket::bind(above).await {
                break [first, second];
            }
        };
        servers.iter().for_each(|server| server.serve_stun(true));
        let addr = servers[0].local_addr();
        let running = tokio::task::spawn_blocking(move || {
            let arguments = arguments(addr);
            run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), b"")
        });
        running.await.unwrap()
    })
}

fn words(text: &str, server: SocketAddr) -> Vec<String> {
    text.split(' ').map(|word| word.replace("SERVER", &server.to_string())).collect()
}

#[test]
fn a_machine_without_a_nat_hears_so() {
    let result = with_server(|server| words("nat --server SERVER --json", server));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
    let outcome = last_json(&result.text());
    assert_eq!(outcome["blocked"], false);
    assert_eq!(outcome["ipv4"]["nat"], "none");
    assert!(outcome["ipv4"]["public"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(outcome["ipv6"]["public"].is_null());
    assert_eq!(
        outcome["local"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|addr| addr.as_str().unwrap().starts_with("127."))
            .count(),
        0
    );
}

#[test]
fn the_same_in_words_from_an_address_of_ones_own() {
    let result = with_server(|server| words("nat -s SERVER --bind 127.0.0.1:0", server));
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""));
    assert!(result.text().starts_with("IPv4  127.0.0.1:"), "{}", result.text());
    assert!(result.text().contains(", no NAT\n"), "{}", result.text());
}

#[test]
fn silence_fails_and_says_what_may_be_the_reason() {
    let nobody = Mute::new();
    let result = run(&["nat", "--server", &nobody.addr, "--json"], b"");
    assert_eq!(result.code, Some(1));
    assert!(result.stderr.contains("is UDP blocked here"), "{}", result.stderr);
    assert_eq!(last_json(&result.text())["blocked"], true);
    assert_eq!(run(&["nat", "--server", &nobody.addr], b"").stdout, b"");
}

/// An address where somebody listens and says nothing.
struct Mute {
    addr: String,
    _socket: std::net::UdpSocket,
}

impl Mute {
    fn new() -> Self {
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { addr: mute.local_addr().unwrap().to_string(), _socket: mute }
    }
}
