//! Sockets that come and go, as an endpoint asks for them.

use super::*;
use crate::proto::endpoint::SocketRequest;

/// Opens what the endpoint wants opened; returns the sockets, and how many were closed.
fn serve(side: &mut Side) -> (Vec<SocketId>, usize) {
    let (mut opened, mut closed) = (Vec::new(), 0);
    while let Some(request) = side.endpoint.poll_socket_request() {
        match request {
            SocketRequest::Open { like } => {
                let addr = SocketAddr::new(side.addr.ip(), 5000 + opened.len() as u16);
                opened.push(side.endpoint.socket_opened(like, addr));
            }
            SocketRequest::Close(_) => closed += 1,
        }
    }
    (opened, closed)
}

#[test]
fn a_socket_is_kept_by_the_connections_that_go_through_it() {
    let mut side = Side::listening(1, Config::default());
    assert_eq!(side.endpoint.want_sockets(side.socket, 3), 3);
    let (opened, _) = serve(&mut side);
    assert_eq!(opened, [1, 2, 3].map(SocketId::new));
    assert_eq!(side.endpoint.wanted_sockets(), opened);
    assert_eq!(side.lease.local_addr(opened[1]).unwrap().port(), 5001);
    // A SYN that nobody has decided about keeps it too.
    let path = Path { socket: opened[1], peer: stranger(9) };
    side.endpoint.handle_datagrams(Instant::ZERO, path, &bytes(syn(65_535, 9), b""), 20);
    side.endpoint.release_sockets();
    assert_eq!(serve(&mut side), (Vec::new(), 2));
    side.incoming().unwrap().refuse();
    side.endpoint.handle_mail(Instant::ZERO);
    assert_eq!((serve(&mut side).1, side.endpoint.extra_sockets()), (1, 0));
    assert!(side.turn(Instant::ZERO).is_empty(), "an answer through a socket that has gone");
    assert_eq!(side.lease.local_addr(opened[1]), None);
}

#[test]
fn new_connections_do_not_go_through_sockets_that_come_and_go() {
    let mut side = Side::new(1, Config::default());
    side.endpoint.want_sockets(side.socket, 1);
    serve(&mut side);
    assert_eq!(side.lease.connect(stranger(1), None).path().socket, side.socket);
}
