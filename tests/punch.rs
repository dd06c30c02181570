//! Two sockets find each other over the loopback interface, in all the ways that the interface offers.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::{Duration, Instant};

use ebbtide::wire::{Candidate, CandidateKind, Session, Ticket, Token};
use ebbtide::{NatReport, PathKind, PunchError, PunchPlan, PunchRole, Punched, UtpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::timeout;

async fn socket(addr: &str) -> UtpSocket {
    UtpSocket::bind(addr.parse().unwrap()).await.unwrap()
}

fn ticket(socket: &UtpSocket) -> Ticket {
    let here = Candidate::new(CandidateKind::Host, socket.local_addr());
    let ticket = socket.ticket(&NatReport::default(), &[here]).unwrap();
    // As it goes through a chat.
    ticket.to_string().parse().unwrap()
}

async fn talk(a: Punched, b: Punched) {
    let (mut a, mut b) = (a.stream, b.stream);
    a.write_all(b"ebb").await.unwrap();
    b.write_all(b"tide").await.unwrap();
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
    let (mut at_a, mut at_b) = (String::new(), String::new());
    a.read_to_string(&mut at_a).await.unwrap();
    b.read_to_string(&mut at_b).await.unwrap();
    assert_eq!((at_a.as_str(), at_b.as_str()), ("tide", "ebb"));
}

#[tokio::test]
async fn two_tickets_make_a_stream() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let (a, b) = (socket(addr).await, socket(addr).await);
        let (ours, theirs) = (ticket(&a), ticket(&b));
        let began = Instant::now();
        let there = b.punch(PunchPlan::from_tickets(&theirs, &ours).unwrap());
        let here = a.punch(PunchPlan::from_tickets(&ours, &theirs).unwrap());
        let (here, there) = tokio::try_join!(here, there).unwrap();
        println!("{addr}: {:?}\n{}", began.elapsed(), here.report);
        assert_eq!(here.stream.peer_addr(), b.local_addr());
        assert_eq!(here.report.path, Some(PathKind::Lan));
        assert!(began.elapsed() < Duration::from_secs(2));
        talk(here, there).await;
    }
}

#[tokio::test]
async fn an_address_is_enough() {
    let (a, b) = (socket("127.0.0.1:0").await, socket("127.0.0.1:0").await);
    let here = a.punch_addr(b.local_addr(), 10);
    // The other one comes when it has been knocked at in vain.
    while b.stats().datagrams_received == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let there = b.punch_addr(a.local_addr(), 10);
    let (here, there) = tokio::try_join!(here, there).unwrap();
    talk(here, there).await;
    // Once more between the same two, at once.
    let (here, there) =
        tokio::try_join!(a.punch_addr(b.local_addr(), 10), b.punch_addr(a.local_addr(), 10)).unwrap();
    talk(here, there).await;
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let (a, silent) = (socket("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let began = Instant::now();
    let error = a.punch_addr(silent.local_addr().unwrap(), 2).await.unwrap_err();
    assert!(matches!(error, PunchError::Timeout(_)), "{error}");
    assert!((900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(error.report().probes_sent > 0 && error.to_string().contains("nothing came"));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_mirror_is_not_met() {
    let (a, mirror) = (socket("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addr = mirror.local_addr().unwrap();
    let reflecting = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = mirror.recv_from(&mut buffer).await {
            if mirror.send_to(&buffer[..len], from).await.is_err() {
                break;
            }
        }
    });
    assert!(matches!(a.punch_addr(addr, 2).await, Err(PunchError::Timeout(_))));
    reflecting.abort();
}

#[tokio::test]
async fn dropping_it_gives_it_up_and_nothing_more_is_sent() {
    let (a, peer) = (socket("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let attempt = a.punch_addr(peer.local_addr().unwrap(), 100);
    let mut buffer = [0; 2048];
    peer.recv_from(&mut buffer).await.unwrap();
    drop(attempt);
    tokio::time::sleep(Duration::from_millis(100)).await;
    while peer.try_recv_from(&mut buffer).is_ok() {}
    assert!(timeout(Duration::from_millis(1500), peer.recv_from(&mut buffer)).await.is_err());
}

#[tokio::test]
async fn those_who_listen_do_not_see_a_punch_and_both_share_the_port() {
    let (a, b) = (socket("127.0.0.1:0").await, socket("127.0.0.1:0").await);
    let listener = b.listen();
    let (ours, theirs) = (ticket(&a), ticket(&b));
    let there = b.punch(PunchPlan::from_tickets(&theirs, &ours).unwrap());
    let here = a.punch(PunchPlan::from_tickets(&ours, &theirs).unwrap());
    let (here, there) = tokio::try_join!(here, there).unwrap();
    assert!(timeout(Duration::from_millis(200), listener.accept()).await.is_err());
    let (called, accepted) = tokio::join!(a.connect(b.local_addr()), listener.accept());
    assert!(called.is_ok() && accepted.is_ok());
    talk(here, there).await;
}

#[tokio::test]
async fn an_address_in_another_private_network_is_not_probed() {
    let (a, stranger) = (socket("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    // Whoever has a public address behind which we are not means another network by this one.
    let here = Candidate::new(CandidateKind::Host, stranger.local_addr().unwrap());
    let public = Candidate::new(CandidateKind::Reflexive, "[2001:db8::1]:4000".parse().unwrap());
    let (ours, theirs) = (Token::new(1), Token::new(2));
    let plan = PunchPlan::new(Session::new([9; 16]), PunchRole::Initiator, ours, theirs, vec![here, public]);
    let error = a.punch(plan).await.unwrap_err();
    assert!(matches!(error, PunchError::NoCandidates(_)), "{error}");
    assert!(stranger.try_recv_from(&mut [0; 100]).is_err());
}
