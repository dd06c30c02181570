//! The face without tasks: what RUDP promises (`r01_` to `r12_`, each broken there), and the manners of `std::net`.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_line;
mod manners;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use bad_line::BadLine;
use cpu_time::ThreadTime;
use ebbtide::blocking::{UtpListener, UtpSocket, UtpStream};
use ebbtide::message::{Fate, MessageConfig};
use ebbtide::{CloseReason, Config, MemoryHub};

const LOOPBACK: &str = "127.0.0.1:0";

/// Two ends of a connection over loopback.
fn pair() -> (UtpStream, UtpStream) {
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    connect_to(&listener, UtpStream::connect)
}

/// Two ends of a connection to that listener.
fn connect_to(
    listener: &UtpListener,
    connect: impl FnOnce(SocketAddr) -> std::io::Result<UtpStream> + Send,
) -> (UtpStream, UtpStream) {
    let addr = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let calling = scope.spawn(move || connect(addr).unwrap());
        let (called, _) = listener.accept().unwrap();
        (calling.join().unwrap(), called)
    })
}

/// Depends on the position, so that swapped or repeated pieces are noticed.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Everything back, and at the end of the peer's direction the end of ours.
fn echo(mut stream: &UtpStream) -> std::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.close(),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

/// Sends this, ends our direction, and returns what comes until the peer's end.
fn call(stream: &UtpStream, data: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writing = stream;
            writing.write_all(data).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut reading = stream;
        reading.read_to_end(&mut heard).unwrap();
    });
    heard
}

fn reason(error: &std::io::Error) -> CloseReason {
    *error.get_ref().unwrap().downcast_ref::<CloseReason>().unwrap()
}

/// Two sockets in memory whose line loses and doubles so many of a hundred datagrams, each way.
fn over_a_bad_line(loses: u32, doubles: u32) -> [UtpSocket; 2] {
    let hub = MemoryHub::new();
    ["10.0.0.1:9", "10.0.0.2:9"].map(|addr| {
        let line = BadLine::new(hub.attach(addr.parse().unwrap()).unwrap(), loses, doubles);
        UtpSocket::over(line, Config::default()).unwrap()
    })
}

fn echo_over_a_bad_line(loses: u32, doubles: u32) {
    let [client, server] = over_a_bad_line(loses, doubles);
    let listener = server.listen();
    let data = pattern(1 << 20);
    let echoing = thread::spawn(move || echo(&listener.accept()?.0));
    let stream = client.connect("10.0.0.2:9").unwrap();
    assert!(call(&stream, &data) == data);
    echoing.join().unwrap().unwrap();
    let stats = stream.stats();
    assert_eq!(stats.packets_retransmitted > 0, loses > 0, "{stats:?}");
    assert_eq!(stats.packets_duplicate > 0, doubles > 0, "{stats:?}");
}

#[test]
fn r01_a_server_binds_and_accepts_and_both_ends_read_and_write() {
    let (mut calling, mut called) = pair();
    assert_eq!(calling.peer_addr().unwrap(), called.local_addr().unwrap());
    let mut heard = [0; 4];
    for _ in 0..100 {
        calling.write_all(b"ping").unwrap();
        called.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
        called.write_all(b"pong").unwrap();
        calling.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }
}

#[test]
fn r02_nothing_is_missing_when_2_percent_are_lost() {
    echo_over_a_bad_line(2, 0);
}

#[test]
fn r03_nothing_is_repeated_when_5_percent_come_twice() {
    echo_over_a_bad_line(0, 5);
}

#[test]
fn r04_bytes_are_in_order_when_datagrams_are_lost_and_doubled() {
    echo_over_a_bad_line(2, 5);
}

#[test]
fn r05_either_side_ends_first_and_the_other_reads_all_of_it() {
    for caller_first in [true, false] {
        let (calling, called) = pair();
        let (mut first, mut second) = if caller_first { (calling, called) } else { (called, calling) };
        first.write_all(b"last words").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        second.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "last words");
        second.write_all(b"answer").unwrap();
        second.close().unwrap();
        heard.clear();
        first.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "answer");
        first.close().unwrap();
        assert_eq!(first.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn r06_a_hundred_clients_of_one_port_each_in_its_own_thread() {
    const CLIENTS: usize = 100;
    let config = Config::default().half_open(CLIENTS).accept_queue(CLIENTS).connections_per_address(None);
    let listener = UtpListener::bind_with(LOOPBACK, config).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().take(CLIENTS) {
                let stream = stream.unwrap();
                scope.spawn(move || echo(&stream).unwrap());
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let data = pattern(1000 + 97 * client);
                    let stream = UtpStream::connect(addr).unwrap();
                    assert!(call(&stream, &data) == data, "client {client}");
                    stream.local_addr().unwrap().port()
                })
            })
            .collect();
        let mut ports: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), CLIENTS, "each has a socket of its own");
    });
}

#[test]
fn r07_two_hosts_with_the_same_source_port_are_two_sessions() {
    let hub = MemoryHub::new();
    let [server, here, there] = ["10.0.0.1:9", "10.0.0.2:5000", "10.0.0.3:5000"]
        .map(|addr| UtpSocket::over(hub.attach(addr.parse().unwrap()).unwrap(), Config::default()).unwrap());
    let listener = server.listen();
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().take(2) {
                let stream = stream.unwrap();
                // One of them is reset.
                scope.spawn(move || echo(&stream).unwrap_or_default());
            }
        });
        let [mut one, mut other] = [&here, &there].map(|socket| socket.connect("10.0.0.1:9").unwrap());
        assert_eq!(one.local_addr().unwrap().port(), other.local_addr().unwrap().port());
        one.write_all(b"from here").unwrap();
        other.write_all(b"elsewhere").unwrap();
        let mut heard = [0; 9];
        one.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"from here");
        one.abort();
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"elsewhere");
        assert_eq!(call(&other, b""), b"", "the other one goes on to its own end");
    });
}

#[test]
fn r08_who_waits_costs_no_processor() {
    let hub = MemoryHub::new();
    let lines = ["10.0.0.1:9", "10.0.0.2:9"]
        .map(|addr| BadLine::new(hub.attach(addr.parse().unwrap()).unwrap(), 0, 0));
    let turns = Arc::clone(&lines[0].turns);
    let [client, server] = lines.map(|line| UtpSocket::over(line, Config::default()).unwrap());
    let listener = server.listen();
    let (mut calling, called) = thread::scope(|scope| {
        let called = scope.spawn(|| listener.accept().unwrap().0);
        (client.connect("10.0.0.2:9").unwrap(), called.join().unwrap())
    });
    // Until the last acknowledgement of the handshake has passed.
    (&called).write_all(b"?").unwrap();
    (&called).flush().unwrap();
    calling.read_exact(&mut [0]).unwrap();
    // How long does not matter: a loop that does not sleep makes hundreds of thousands of turns in any second.
    calling.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (before, processor) = (turns.load(Relaxed), ThreadTime::now());
    assert_eq!(calling.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (idle, processor) = (turns.load(Relaxed) - before, processor.elapsed());
    (&called).write_all(b"!").unwrap();
    calling.set_read_timeout(None).unwrap();
    assert_eq!(calling.read(&mut [0]).unwrap(), 1);
    assert!(idle < 50, "{idle} turns of the driver while nothing happened");
    assert!(processor < Duration::from_millis(100), "the reader used {processor:?}");
}

#[test]
fn r09_attempts_are_bounded_and_say_why_they_failed() {
    let unused = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let addr = unused.local_addr().unwrap();
    let began = Instant::now();
    let error = UtpStream::connect_timeout(&addr, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        UtpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );

    let hub = MemoryHub::new();
    let config = Config::default().connect_timeout(Duration::from_millis(300));
    let lonely = UtpSocket::over(hub.attach("10.0.0.1:9".parse().unwrap()).unwrap(), config).unwrap();
    let error = lonely.connect("10.0.0.2:9").unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::TimedOut, CloseReason::TimedOut));

    let nobody_listens = UtpSocket::bind(LOOPBACK).unwrap();
    let error = UtpStream::connect(nobody_listens.local_addr().unwrap()).unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::ConnectionRefused, CloseReason::Refused));
    let nowhere: &[SocketAddr] = &[];
    assert_eq!(UtpStream::connect(nowhere).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn r10_text_beyond_ascii_arrives_whole() {
    let (mut calling, called) = pair();
    let text = "Ebbe und Flut: größer, 潮の満ち引き, прилив 🌊\n".repeat(1000);
    write!(calling, "{text}").unwrap();
    calling.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    (&called).read_to_string(&mut heard).unwrap();
    assert_eq!(heard, text);
}

#[test]
fn r11_who_calls_before_anybody_accepts_is_accepted_later() {
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(move || UtpStream::connect(addr).unwrap())).collect();
        while listener.socket().stats().datagrams_received < 3 {
            thread::yield_now();
        }
        let accepted: Vec<_> = listener.incoming().take(3).map(Result::unwrap).collect();
        let called: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        assert_eq!((called.len(), accepted.len()), (3, 3));
    });
}

#[test]
fn r12_what_was_written_is_delivered_after_everything_is_dropped_and_the_port_is_free() {
    let data = pattern(300_000);
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    let (mut calling, mut called) = connect_to(&listener, UtpStream::connect);
    let port = calling.local_addr().unwrap().port();
    let sent = data.clone();
    let writing = thread::spawn(move || calling.write_all(&sent).unwrap());
    let mut heard = Vec::new();
    called.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == data);
    drop((called, listener));
    let free = || std::net::UdpSocket::bind(("0.0.0.0", port)).is_ok();
    let until = Instant::now() + Duration::from_secs(60);
    while !free() {
        assert!(Instant::now() < until, "the thread of the socket goes on");
        thread::sleep(Duration::from_millis(10));
    }
}
