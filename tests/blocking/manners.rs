//! The manners of `std::net`: halves, time-outs, calls that do not wait, clones; and the way to and from tasks.

use super::*;

const SOON: Duration = Duration::from_millis(30);

#[test]
fn a_stream_whose_writing_is_shut_down_still_reads() {
    let (mut calling, mut called) = pair();
    calling.shutdown(Shutdown::Write).unwrap();
    assert_eq!(called.read(&mut [0]).unwrap(), 0);
    called.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    calling.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

#[test]
fn a_stream_whose_reading_is_shut_down_holds_nobody_up() {
    let (calling, mut called) = pair();
    let waiting = calling.try_clone().unwrap();
    let waiting = thread::spawn(move || (&waiting).read(&mut [0]).unwrap());
    thread::sleep(SOON);
    calling.shutdown(Shutdown::Read).unwrap();
    assert_eq!(waiting.join().unwrap(), 0, "a thread that waits finds the end");
    // Far more than any window.
    called.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    called.write_all(&vec![7; 20 << 20]).unwrap();
    called.close().unwrap();
    assert_eq!((&calling).read(&mut [0; 9]).unwrap(), 0);
    (&calling).write_all(b"x").unwrap();
    assert_eq!(called.read(&mut [0; 9]).unwrap(), 1);
    calling.shutdown(Shutdown::Both).unwrap();
    assert_eq!(called.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn reading_and_writing_give_up_after_their_time_and_can_be_tried_again() {
    let (mut calling, mut called) = pair();
    assert_eq!((calling.read_timeout().unwrap(), calling.write_timeout().unwrap()), (None, None));
    assert_eq!(calling.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    calling.set_read_timeout(Some(SOON)).unwrap();
    calling.set_write_timeout(Some(SOON)).unwrap();
    assert_eq!(calling.try_clone().unwrap().read_timeout().unwrap(), Some(SOON), "clones share it");
    let began = Instant::now();
    assert_eq!(calling.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(began.elapsed() >= SOON);
    // Nobody reads: at some time there is no room left.
    let mut written = 0;
    while calling.stats().window_peer > 1500 {
        match calling.write(&[1; 64 << 10]) {
            Ok(len) => written += len,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    while let Ok(len) = calling.write(&[1; 64 << 10]) {
        written += len;
    }
    assert_eq!(calling.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(calling.close().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut heard = Vec::new();
    called.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), written, "what was taken arrives, and nothing else");
    calling.set_write_timeout(None).unwrap();
    calling.close().unwrap();
}

#[test]
fn who_does_not_wait_is_told_that_it_would_have_to() {
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(listener.try_clone().unwrap().undecided().unwrap_err().kind(), ErrorKind::WouldBlock);
    listener.set_nonblocking(false).unwrap();
    let (mut calling, mut called) = connect_to(&listener, UtpStream::connect);
    calling.set_nonblocking(true).unwrap();
    assert_eq!(calling.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(calling.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let full = loop {
        if let Err(error) = calling.write(&[1; 64 << 10]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    calling.set_nonblocking(false).unwrap();
    called.write_all(b"!").unwrap();
    let mut heard = [0];
    assert_eq!((calling.peek(&mut heard).unwrap(), heard), (1, *b"!"));
    assert_eq!((calling.read(&mut heard).unwrap(), heard), (1, *b"!"));
}

#[test]
fn clones_in_two_threads_use_one_stream_and_the_last_one_ends_it() {
    let (calling, called) = pair();
    let mut clone = calling.try_clone().unwrap();
    let writing = thread::spawn(move || clone.write_all(&pattern(3 << 20)).unwrap());
    let echoing = thread::spawn(move || echo(&called));
    let mut heard = vec![0; 3 << 20];
    (&calling).read_exact(&mut heard).unwrap();
    assert!(heard == pattern(3 << 20));
    writing.join().unwrap();
    calling.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!((&calling).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it goes on");
    drop(calling);
    echoing.join().unwrap().unwrap();
}

#[test]
fn one_port_dials_and_listens() {
    let (one, other) = (UtpListener::bind(LOOPBACK).unwrap(), UtpListener::bind(LOOPBACK).unwrap());
    let (mut calling, called) = connect_to(&other, |addr| one.socket().connect(addr));
    assert_eq!(called.peer_addr().unwrap(), one.local_addr().unwrap());
    calling.write_all(b"x").unwrap();
    let (back, _) = connect_to(&one, |addr| other.socket().connect(addr));
    assert_eq!(back.peer_addr().unwrap(), one.local_addr().unwrap());
}

#[test]
fn a_closed_socket_has_delivered_everything_and_wakes_who_waits() {
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    let (mut calling, mut called) = connect_to(&listener, UtpStream::connect);
    let server = listener.socket().clone();
    let port = server.local_addr().unwrap();
    let accepting = thread::spawn(move || listener.accept().unwrap_err());
    called.write_all(b"goodbye").unwrap();
    let reading = thread::spawn(move || {
        let mut heard = String::new();
        calling.read_to_string(&mut heard).unwrap();
        heard
    });
    server.close();
    assert!(std::net::UdpSocket::bind(port).is_ok(), "the port is free");
    assert_eq!(accepting.join().unwrap().kind(), ErrorKind::NotConnected);
    assert_eq!(reading.join().unwrap(), "goodbye");
}

#[test]
fn a_reset_is_an_error_with_its_reason_on_both_sides() {
    let (mut calling, mut called) = pair();
    called.abort();
    let error = calling.read(&mut [0]).unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::ConnectionReset, CloseReason::Reset));
    assert_eq!(calling.close_reason(), Some(CloseReason::Reset));
    let error = called.write(b"x").unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::ConnectionAborted, CloseReason::Aborted));
}

#[test]
fn settings_and_addresses_that_cannot_be_are_refused() {
    let error = UtpSocket::bind_with(LOOPBACK, Config::default().max_connections(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let taken = UtpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let holding = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let error = UtpSocket::bind(holding.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_ne!(taken.port(), 0);
    let several = [holding.local_addr().unwrap(), LOOPBACK.parse().unwrap()];
    let bound = UtpSocket::bind(&several[..]).unwrap().local_addr().unwrap();
    assert!(!several.contains(&bound), "the first of several that can be had");
    let adopted = UtpSocket::from_std(holding, Config::default()).unwrap();
    assert_eq!(adopted.local_addr().unwrap(), several[0]);
}

#[tokio::test]
async fn inside_a_runtime_it_works_and_streams_come_over_from_tasks() {
    // All of it on the runtime's only thread: the sockets have threads of their own.
    let (mut calling, mut called) = pair();
    calling.write_all(b"!").unwrap();
    assert_eq!(called.read(&mut [0]).unwrap(), 1);
    drop((calling, called));

    let server = ebbtide::UtpSocket::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let listener = server.listen();
    let addr = server.local_addr();
    let calling = thread::spawn(move || {
        let stream = UtpStream::connect(addr).unwrap();
        call(&stream, b"from a thread to a task")
    });
    let stream = UtpStream::from(listener.accept().await.unwrap().0);
    tokio::task::spawn_blocking(move || echo(&stream)).await.unwrap().unwrap();
    assert_eq!(calling.join().unwrap(), b"from a thread to a task");
    assert_eq!(UtpSocket::from(server).local_addr().unwrap(), addr);
}

#[test]
fn messages_are_waited_for_as_long_as_one_likes() {
    let config = MessageConfig::default();
    let listener = UtpListener::bind(LOOPBACK).unwrap();
    let addr = listener.local_addr().unwrap();
    let (here, there) = thread::scope(|scope| {
        let here =
            scope.spawn(|| UtpSocket::bind(LOOPBACK).unwrap().connect_messages(addr, &config).unwrap());
        let there = listener.accept_messages(&config).unwrap();
        (here.join().unwrap(), there)
    });
    assert_eq!(there.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(there.recv_timeout(SOON).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(here.try_acked().unwrap_err().kind(), ErrorKind::WouldBlock);
    let ids = [here.send(3, "one").unwrap(), here.try_send(3, "two").unwrap()];
    for expected in ["one", "two"] {
        assert_eq!(there.recv().unwrap().unwrap().bytes, expected);
    }
    for id in ids {
        let receipt = here.acked_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((receipt.id, receipt.fate), (id, Fate::Delivered));
    }
    // Nobody takes them: at some time the queue is full.
    let large = bytes::Bytes::from(vec![7; 1 << 20]);
    let mut sent = 0;
    while here.send_timeout(3, large.clone(), SOON).is_ok() {
        sent += 1;
    }
    assert!(!here.can_send(3));
    let taking = thread::spawn(move || std::iter::from_fn(|| there.recv().unwrap()).count());
    here.close().unwrap();
    assert_eq!(taking.join().unwrap(), sent);
}
