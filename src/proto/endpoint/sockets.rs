//! Which of our sockets reaches an address, and which addresses can be answered at all.
//!
//! Knows addresses of sockets, not sockets. Addresses are compared here in the form in which the socket reports and
//! takes them, so an IPv4 peer of a dual-stack socket is `::ffff:a.b.c.d` inside and `a.b.c.d` for the application.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::proto::batch::{Path, SocketId};

/// The sockets of one endpoint: those that it began with, in the order in which they were added, and behind them
/// those that come and go.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// A place whose socket has gone is used again.
    list: Vec<Option<Local>>,
}

#[derive(Debug)]
struct Local {
    addr: SocketAddr,
    /// An IPv6 socket that also carries IPv4.
    dual_stack: bool,
    /// Comes and goes, for a purpose of its own: no new connection is made through it.
    extra: bool,
}

impl Sockets {
    /// Panics with 65,536 sockets.
    pub(super) fn add(&mut self, addr: SocketAddr, dual_stack: bool) -> SocketId {
        let Ok(index) = u16::try_from(self.list.len()) else { panic!("an endpoint with 2^16 sockets") };
        self.list.push(Some(Local { addr, dual_stack: dual_stack && addr.is_ipv6(), extra: false }));
        SocketId::new(index)
    }

    /// Adds one that was opened like another, in the first place that is free.
    ///
    /// Panics with 65,536 sockets.
    pub(super) fn add_extra(&mut self, addr: SocketAddr, like: SocketId) -> SocketId {
        let dual_stack = self.get(like).is_some_and(|like| like.dual_stack);
        let place = self.list.iter().position(Option::is_none).unwrap_or(self.list.len());
        let Ok(index) = u16::try_from(place) else { panic!("an endpoint with 2^16 sockets") };
        if place == self.list.len() {
            self.list.push(None);
        }
        self.list[place] = Some(Local { addr, dual_stack, extra: true });
        SocketId::new(index)
    }

    /// Forgets one that has gone.
    pub(super) fn remove(&mut self, socket: SocketId) {
        if let Some(place) = self.list.get_mut(usize::from(socket.get())) {
            *place = None;
        }
    }

    fn get(&self, socket: SocketId) -> Option<&Local> {
        self.list.get(usize::from(socket.get()))?.as_ref()
    }

    pub(super) fn local_addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.get(socket).map(|local| local.addr)
    }

    /// The way to a peer: the first socket of its family, else the first that carries both. `None` if there is no
    /// such socket, or nobody can be at that address.
    pub(super) fn path_to(&self, peer: SocketAddr) -> Option<Path> {
        let peer = canonical(peer);
        if !is_answerable(peer) {
            return None;
        }
        let found = |wanted: &dyn Fn(&Local) -> bool| {
            let usable =
                |local: &Option<Local>| local.as_ref().is_some_and(|local| !local.extra && wanted(local));
            let index = self.list.iter().position(usable)?;
            u16::try_from(index).ok().map(SocketId::new)
        };
        let socket = found(&|local| local.addr.is_ipv4() == peer.is_ipv4())
            .or_else(|| found(&|local| reached(local, peer).is_some()))?;
        self.path_via(socket, peer)
    }

    /// The way to a peer through this socket, if there is one.
    pub(super) fn path_via(&self, socket: SocketId, peer: SocketAddr) -> Option<Path> {
        let peer = canonical(peer);
        if !is_answerable(peer) {
            return None;
        }
        let peer = reached(self.get(socket)?, peer)?;
        Some(Path { socket, peer })
    }
}

/// The address in the form in which this socket takes it, if it reaches it at all.
fn reached(local: &Local, peer: SocketAddr) -> Option<SocketAddr> {
    match peer.ip() {
        _ if local.addr.is_ipv4() == peer.is_ipv4() => Some(normal(peer)),
        IpAddr::V4(ip) if local.dual_stack => Some(SocketAddr::new(ip.to_ipv6_mapped().into(), peer.port())),
        _ => None,
    }
}

/// The address as applications know it: IPv4 as IPv4, whatever socket it came through.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), v6.port()),
            None => peer,
        },
        SocketAddr::V4(_) => peer,
    }
}

/// The address without what does not tell peers apart: flow labels, and zones of addresses that are not link-local.
pub(super) fn normal(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V6(v6) => {
            let zone = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, zone).into()
        }
        SocketAddr::V4(_) => peer,
    }
}

/// Whether somebody can be at that address. Answering a forged multicast or broadcast source would multiply it.
pub(super) fn is_answerable(peer: SocketAddr) -> bool {
    let somebody = match canonical(peer).ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    somebody && peer.port() != 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_is_reached_through_a_socket_of_its_family() {
        let mut sockets = Sockets::default();
        let four = sockets.add(addr("0.0.0.0:1"), false);
        let six = sockets.add(addr("[::]:1"), false);
        assert_eq!(sockets.path_to(addr("192.0.2.1:9")).unwrap().socket, four);
        assert_eq!(sockets.path_to(addr("[2001:db8::1]:9")).unwrap().socket, six);
        assert_eq!(sockets.path_to(addr("[::ffff:192.0.2.1]:9")).unwrap().peer, addr("192.0.2.1:9"));
    }

    #[test]
    fn a_dual_stack_socket_reaches_ipv4_in_mapped_form_and_an_ordinary_one_does_not() {
        let mut dual = Sockets::default();
        dual.add(addr("[::]:1"), true);
        let path = dual.path_to(addr("192.0.2.1:9")).unwrap();
        assert_eq!(path.peer, addr("[::ffff:192.0.2.1]:9"));
        assert_eq!(canonical(path.peer), addr("192.0.2.1:9"));
        let mut plain = Sockets::default();
        plain.add(addr("[::]:1"), false);
        assert_eq!(plain.path_to(addr("192.0.2.1:9")), None);
    }

    #[test]
    fn a_socket_that_comes_and_goes_takes_the_first_free_place_and_nobody_is_led_to_it() {
        let mut sockets = Sockets::default();
        let first = sockets.add(addr("[::]:1"), true);
        let [one, two] =
            [5, 6].map(|port| sockets.add_extra(SocketAddr::new(addr("[::]:1").ip(), port), first));
        assert_eq!([one, two], [SocketId::new(1), SocketId::new(2)]);
        sockets.remove(one);
        assert_eq!((sockets.local_addr(one), sockets.local_addr(two)), (None, Some(addr("[::]:6"))));
        assert_eq!(sockets.path_to(addr("192.0.2.1:9")).unwrap().socket, first);
        assert_eq!(sockets.add_extra(addr("[::]:7"), first), one);
        assert_eq!(sockets.add_extra(addr("[::]:8"), first), SocketId::new(3));
    }

    #[test]
    fn addresses_where_nobody_can_be_are_not_answered() {
        for nobody in
            ["0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "192.0.2.1:0", "[::]:9", "[ff02::1]:9"]
        {
            assert!(!is_answerable(addr(nobody)), "{nobody}");
        }
        assert!(!is_answerable(addr("[::ffff:224.0.0.1]:9")));
        assert!(is_answerable(addr("127.0.0.1:9")) && is_answerable(addr("[::1]:9")));
    }

    #[test]
    fn flow_labels_and_needless_zones_do_not_make_another_peer() {
        let global = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 9, 77, 3).into();
        assert_eq!(normal(global), addr("[2001:db8::1]:9"));
        let link = SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 77, 3).into();
        assert_eq!(normal(link), addr("[fe80::1%3]:9"));
    }
}
