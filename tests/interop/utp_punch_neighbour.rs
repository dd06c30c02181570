//! Beside utp-punch: punching and echo in its dialect, and its habit to answer whatever it does not know by a RESET, a
//! RESET included. Two of its own nodes never stop then (35,000 packets a second and more, measured).

use std::time::Duration;

use ebbtide::wire::{Kind, Packet};
use ebbtide::{Config, Dialect, PunchError, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::peer::{Need, Peer, is_installed};
use crate::relay::{Link, Recorded, Relay, Way};
use crate::utp_punch::local;

const LIMIT: Duration = Duration::from_secs(30);

fn dialect() -> Config {
    Config::default().dialect(Dialect::UtpPunch)
}

/// How many datagrams went either way: ours, the peer's.
fn counts(relay: &Relay) -> (usize, usize) {
    let recorded = relay.recorded();
    let ours = recorded.iter().filter(|datagram| datagram.way == Way::NearToFar).count();
    (ours, recorded.len() - ours)
}

fn reset(id: u16) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = (Kind::Reset as u8) << 4 | 1;
    bytes[2..4].copy_from_slice(&id.to_be_bytes());
    bytes
}

#[tokio::test]
async fn utp_punch_and_we_punch_and_then_either_calls() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    for peer_calls in [true, false] {
        let socket = UtpSocket::bind_with(local(0), dialect()).await.unwrap();
        let listener = socket.listen();
        let port = socket.local_addr().port().to_string();
        let role: &[&str] = if peer_calls { &["connect", &port] } else { &["listen"] };
        let options = ["--punch", &port, "--send", "5", "--receive", "5"];
        let mut peer = Peer::utp_punch(&[role, &options].concat()).unwrap();
        let addr = local(peer.wait_for("bound", LIMIT).await.unwrap().port);
        let report = socket.punch_hole(addr, 20).await.unwrap();
        eprintln!("punched beside utp-punch: {report}");
        peer.wait_for("punched", LIMIT).await.unwrap();
        let mut stream = if peer_calls {
            listener.accept().await.unwrap().0
        } else {
            peer.wait_for("listening", LIMIT).await.unwrap();
            socket.connect(addr).await.unwrap()
        };
        stream.write_all(&[7; 5]).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), 5);
        stream.shutdown().await.unwrap();
        assert_eq!(peer.wait_for("done", LIMIT).await.unwrap().received, 5);
    }
}

#[tokio::test]
async fn a_punch_fails_on_both_sides_if_the_other_one_never_says_a_word() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut peer = Peer::utp_punch(&["idle"]).unwrap();
    let addr = local(peer.wait_for("bound", LIMIT).await.unwrap().port);
    let socket = UtpSocket::bind_with(local(0), dialect()).await.unwrap();
    let error = socket.punch_hole(addr, 3).await.unwrap_err();
    assert!(matches!(error, PunchError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn utp_punch_echoes_as_long_as_neither_has_ended() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut peer = Peer::utp_punch(&["listen", "--close", "echo"]).unwrap();
    let addr = local(peer.wait_for("listening", LIMIT).await.unwrap().port);
    let socket = UtpSocket::bind_with(local(0), dialect()).await.unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    for round in 0..50u8 {
        let said = vec![round; 100 * usize::from(round) + 1];
        stream.write_all(&said).await.unwrap();
        let mut heard = vec![0; said.len()];
        timeout(LIMIT, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, said);
    }
    stream.shutdown().await.unwrap();
    timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

#[tokio::test]
async fn calling_a_node_that_does_not_listen_is_refused_at_once() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut peer = Peer::utp_punch(&["idle"]).unwrap();
    let addr = local(peer.wait_for("bound", LIMIT).await.unwrap().port);
    let socket = UtpSocket::bind_with(local(0), dialect()).await.unwrap();
    let error = timeout(Duration::from_secs(5), socket.connect(addr)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn u01_u02_a_node_that_answers_a_reset_by_a_reset_gets_no_third_one() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    for config in [Config::default(), dialect()] {
        let mut peer = Peer::utp_punch(&["idle"]).unwrap();
        let addr = local(peer.wait_for("bound", LIMIT).await.unwrap().port);
        let relay = Relay::start(addr, Link::CLEAN, 1, 100_000).unwrap();
        let socket = UtpSocket::bind_with(local(0), config).await.unwrap();
        // Too short for it to answer; the relay knows us by it.
        socket.foreign().send_to(b"here", relay.addr()).await.unwrap();
        while counts(&relay).0 == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        for id in [0x04d2, 0x04d3] {
            relay.inject(&reset(id)).unwrap();
        }
        sleep(Duration::from_secs(2)).await;
        // It has answered both, and we neither.
        assert_eq!(counts(&relay), (3, 2));
        let answers = relay.recorded().into_iter().filter(|datagram| datagram.way == Way::FarToNear);
        for answer in answers {
            assert_eq!(Packet::decode(&answer.bytes).unwrap().header.kind, Kind::Reset);
        }
    }
}

#[tokio::test]
async fn u01_a_call_in_another_dialect_ends_and_costs_few_packets() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut peer = Peer::utp_punch(&["listen"]).unwrap();
    let addr = local(peer.wait_for("listening", LIMIT).await.unwrap().port);
    let relay = Relay::start(addr, Link::CLEAN, 1, 100_000).unwrap();
    let config = Config::default().connect_timeout(Duration::from_secs(2));
    let socket = UtpSocket::bind_with(local(0), config).await.unwrap();
    timeout(LIMIT, socket.connect(relay.addr())).await.unwrap().unwrap_err();
    sleep(Duration::from_secs(5)).await;
    let recorded = relay.recorded();
    let is_reset = |datagram: &&Recorded| Packet::decode(&datagram.bytes).unwrap().header.kind == Kind::Reset;
    let (theirs, ours): (Vec<_>, Vec<_>) =
        recorded.iter().partition(|datagram| datagram.way == Way::FarToNear);
    let resets = theirs.iter().copied().filter(is_reset).count();
    eprintln!(
        "a call in another dialect: {} packets of ours, {} of the peer's of which {resets} RESETs, in 7 s",
        ours.len(),
        theirs.len()
    );
    // Three SYNs, what challenges a RESET, and one answer to each packet that is none: it sends its end ten times a second.
    assert!(ours.len() <= 6 + theirs.len() - resets && ours.len() <= 10 * 8 + 6, "{}", ours.len());
    assert!(resets > 0, "the peer is not what this test is about");
}

#[tokio::test]
async fn u01_after_hello_and_close_a_node_that_stays_hears_no_more_of_us() {
    if !is_installed(Need::UtpPunch) {
        return;
    }
    let _turn = crate::TURN.lock().await;
    let mut peer = Peer::utp_punch(&["listen", "--send", "5", "--receive", "5"]).unwrap();
    let addr = local(peer.wait_for("listening", LIMIT).await.unwrap().port);
    let relay = Relay::start(addr, Link::CLEAN, 1, 100_000).unwrap();
    let socket = UtpSocket::bind_with(local(0), dialect()).await.unwrap();
    let mut stream = socket.connect(relay.addr()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    stream.shutdown().await.unwrap();
    stream.closed().await.unwrap();
    drop(stream);
    peer.wait_for("done", LIMIT).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let (before, _) = counts(&relay);
    sleep(Duration::from_secs(6)).await;
    let (after, theirs) = counts(&relay);
    eprintln!(
        "hello and close beside utp-punch: {before} packets of ours, {theirs} of the peer's, {} later",
        after - before
    );
    assert!(after - before <= 2, "{before} and then {after}");
}
