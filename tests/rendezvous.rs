//! A rendezvous server and its clients over real sockets, all on this machine.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ebbtide::rendezvous::{
    Client, RelayConfig, RelayUse, Room, RoomEvent, RoomId, Server, ServerAddr, ServerConfig,
};
use ebbtide::{PathKind, PunchError, UtpSocket, UtpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn server() -> Server {
    Server::bind(here(), ServerConfig::default()).await.unwrap()
}

async fn client(servers: &[&Server]) -> Client {
    let socket = UtpSocket::bind(here()).await.unwrap();
    let servers = servers.iter().map(|server| ServerAddr::from(server.local_addr()));
    Client::new(&socket, servers).jitter(Duration::from_millis(200))
}

async fn pair(server: &Server) -> (Client, Client) {
    (client(&[server]).await, client(&[server]).await)
}

async fn talk(mut one: UtpStream, mut other: UtpStream) {
    assert_eq!(one.peer_addr(), other.local_addr());
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        one.write_all(&sent).await.unwrap();
        one.shutdown().await.unwrap();
        let mut answer = String::new();
        one.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let mut received = Vec::new();
    other.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    other.write_all(b"all of it").await.unwrap();
    other.shutdown().await.unwrap();
    assert_eq!(writer.await.unwrap(), "all of it");
}

#[tokio::test]
async fn two_meet_in_a_room_and_have_one_stream() {
    let server = server().await;
    let (one, other) = pair(&server).await;
    let room = RoomId::from_name("harbour");
    let begun = Instant::now();
    let both = async { tokio::join!(one.meet(room), other.meet(room)) };
    let (first, second) = timeout(LONG, both).await.unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    eprintln!("met in {:?}: {}", begun.elapsed(), first.report);
    talk(first.stream, second.stream).await;
    let told = async {
        while server.stats().outcomes[0] < 2 || server.stats().clients > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, told).await.unwrap();
    let stats = server.stats();
    assert_eq!((stats.connects, stats.outcomes[0], stats.clients), (1, 2, 0), "{stats:?}");
}

#[tokio::test]
async fn who_comes_first_waits() {
    let server = server().await;
    let (one, other) = pair(&server).await;
    let room = RoomId::from_name("harbour");
    let early = tokio::spawn(async move { one.meet(room).await });
    while server.stats().rooms == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let late = timeout(LONG, other.meet(room)).await.unwrap().unwrap();
    let early = timeout(LONG, early).await.unwrap().unwrap().unwrap();
    talk(early.stream, late.stream).await;
}

#[tokio::test]
async fn a_third_one_is_refused_and_told_why() {
    let server = server().await;
    let room = RoomId::from_name("harbour");
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let mut waiting = client(&[&server]).await.join(room, 2).unwrap();
        entered(&mut waiting).await;
        rooms.push(waiting);
    }
    let error = timeout(LONG, client(&[&server]).await.meet(room)).await.unwrap().unwrap_err();
    assert!(matches!(error, PunchError::Rendezvous { .. }), "{error:?}");
    assert!(error.to_string().contains("no place is left"), "{error}");
}

async fn entered(room: &mut Room) {
    loop {
        match timeout(LONG, room.next()).await.unwrap() {
            RoomEvent::Joined(_) => return,
            RoomEvent::Trouble(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn without_a_server_the_error_says_so() {
    let nobody = std::net::UdpSocket::bind(here()).unwrap();
    let socket = UtpSocket::bind(here()).await.unwrap();
    let client = Client::new(&socket, [ServerAddr::from(nobody.local_addr().unwrap())]);
    let error = timeout(LONG, client.meet(RoomId::from_name("harbour"))).await.unwrap().unwrap_err();
    // Nobody answers, by whatever protocol: from here that is the same as if nothing came through.
    assert!(matches!(error, PunchError::UdpBlocked(_)), "{error}");
    let error = Client::new(&socket, []).meet(RoomId::from_name("harbour")).await.unwrap_err();
    assert!(error.to_string().contains("was named"), "{error}");
}

#[tokio::test]
async fn whoever_gives_up_leaves_nothing_behind() {
    let server = server().await;
    let (one, other) = pair(&server).await;
    let room = RoomId::from_name("harbour");
    assert!(timeout(Duration::from_millis(400), one.meet(room)).await.is_err(), "nobody else is there");
    let gone = async {
        while server.stats().clients > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
    let (first, second) =
        timeout(LONG, async { tokio::join!(one.meet(room), other.meet(room)) }).await.unwrap();
    talk(first.unwrap().stream, second.unwrap().stream).await;
}

#[tokio::test]
async fn a_server_that_begins_anew_is_found_again() {
    let first = server().await;
    let addr = first.local_addr();
    let (one, other) = pair(&first).await;
    let room = RoomId::from_name("harbour");
    let early = tokio::spawn(async move { one.meet(room).await });
    while first.stats().rooms == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    timeout(LONG, first.close()).await.unwrap();
    let second = Server::bind(addr, ServerConfig::default()).await.unwrap();
    let late = timeout(LONG, other.meet(room)).await.unwrap().unwrap();
    talk(timeout(LONG, early).await.unwrap().unwrap().unwrap().stream, late.stream).await;
    assert_eq!(second.stats().connects, 1);
}

#[tokio::test]
async fn those_on_a_server_that_goes_meet_on_the_next_one() {
    let (a, b) = (server().await, server().await);
    let room = RoomId::from_name("harbour");
    let (one, other) = (client(&[&a, &b]).await, client(&[&b, &a]).await);
    let early = tokio::spawn(async move { one.meet(room).await });
    while a.stats().rooms + b.stats().rooms == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (chosen, next) = if a.stats().rooms > 0 { (a, b) } else { (b, a) };
    timeout(LONG, chosen.close()).await.unwrap();
    let late = timeout(LONG, other.meet(room)).await.unwrap().unwrap();
    talk(timeout(LONG, early).await.unwrap().unwrap().unwrap().stream, late.stream).await;
    assert_eq!(next.stats().connects, 1);
}

#[tokio::test]
async fn in_a_larger_room_everybody_chooses_and_may_decline() {
    let server = server().await;
    let room = RoomId::from_name("plaza");
    let mut asked = client(&[&server]).await.join(room, 8).unwrap();
    entered(&mut asked).await;
    let mut asker = client(&[&server]).await.join(room, 8).unwrap();
    let there = loop {
        if let RoomEvent::Joined(there) = timeout(LONG, asker.next()).await.unwrap() {
            break there;
        }
    };
    assert_eq!(asker.peers(), there);
    for agrees in [false, true] {
        asker.meet(there[0]);
        let answering = async {
            loop {
                match asked.next().await {
                    RoomEvent::Asked(peer) if agrees => asked.meet(peer),
                    RoomEvent::Asked(peer) => asked.decline(peer),
                    RoomEvent::Met { stream, .. } => return stream,
                    _ => {}
                }
            }
        };
        let asking = async {
            loop {
                match asker.next().await {
                    RoomEvent::Met { stream, .. } => return Ok(stream),
                    RoomEvent::NotMet { error, .. } => return Err(error),
                    _ => {}
                }
            }
        };
        if agrees {
            let (far, near) = timeout(LONG, async { tokio::join!(answering, asking) }).await.unwrap();
            talk(near.unwrap(), far).await;
        } else {
            let declined = timeout(LONG, async {
                tokio::select! {
                    _ = answering => panic!("nobody was to be met"),
                    outcome = asking => outcome,
                }
            });
            assert!(matches!(declined.await.unwrap(), Err(PunchError::PeerRefused(_))));
        }
    }
}

#[tokio::test]
async fn those_who_do_not_want_to_be_found_are_forwarded_for() {
    let config = ServerConfig { relay: Some(RelayConfig::default()), ..ServerConfig::default() };
    let server = Server::bind(here(), config).await.unwrap();
    let (one, other) = pair(&server).await;
    let (one, other) = (one.relay(RelayUse::Only), other.relay(RelayUse::Only));
    let room = RoomId::from_name("harbour");
    let both = async { tokio::join!(one.meet(room), other.meet(room)) };
    let (first, second) = timeout(LONG, both).await.unwrap();
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.report.path, Some(PathKind::Relayed));
    assert_eq!(first.stream.peer_addr(), second.stream.peer_addr(), "where the server forwards");
    first.stream.write_all(b"unseen").await.unwrap();
    let mut heard = [0; 6];
    timeout(LONG, second.stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"unseen");
    assert!(server.stats().relayed_datagrams > 4 && server.stats().relaying == 1);
}

#[tokio::test]
async fn the_server_tells_by_stun_where_it_sees_somebody() {
    let server = server().await;
    let asker = tokio::net::UdpSocket::bind(here()).await.unwrap();
    for addr in server.local_addrs() {
        let mut question = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        question.extend([7; 12]);
        asker.send_to(&question, addr).await.unwrap();
        let mut answer = [0; 100];
        let (len, from) = timeout(LONG, asker.recv_from(&mut answer)).await.unwrap().unwrap();
        assert_eq!((from, &answer[..2], &answer[8..20]), (*addr, &[1, 1][..], &[7; 12][..]));
        assert!(len >= 32);
    }
    assert_eq!(server.local_addrs().len(), 2);
}
