//! The sockets that a host has, and their addresses: those that it began with, and those that its endpoint asks for.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::proto::batch::SocketId;

/// The first port that a host gives to sockets that want any: as IANA has set them aside.
const EPHEMERAL: u16 = 49_152;

/// Sockets and their addresses.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// By number.
    addrs: Vec<Option<SocketAddr>>,
    /// Never iterated.
    sockets: HashMap<SocketAddr, SocketId>,
    /// Ports that were given to sockets that wanted any.
    given: u16,
}

impl Bound {
    pub(super) fn bind(&mut self, socket: SocketId, addr: SocketAddr) {
        let place = usize::from(socket.get());
        if place >= self.addrs.len() {
            self.addrs.resize(place + 1, None);
        }
        self.addrs[place] = Some(addr);
        self.sockets.insert(addr, socket);
    }

    pub(super) fn close(&mut self, socket: SocketId) {
        if let Some(addr) = self.addrs.get_mut(usize::from(socket.get())).and_then(Option::take) {
            self.sockets.remove(&addr);
        }
    }

    pub(super) fn addr(&self, socket: SocketId) -> Option<SocketAddr> {
        self.addrs.get(usize::from(socket.get())).copied().flatten()
    }

    /// Of all sockets, in the order of their numbers.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.addrs.iter().copied().flatten()
    }

    /// Which socket gets what was sent to that address.
    pub(super) fn at(&self, addr: SocketAddr) -> Option<SocketId> {
        self.sockets.get(&addr).copied()
    }

    /// The address of the first socket.
    pub(super) fn first(&self) -> SocketAddr {
        let first = self.addrs.first().copied().flatten();
        first.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// The first socket has another address, and what has the same IP address has the new one too.
    pub(super) fn move_first(&mut self, addr: SocketAddr) {
        let old = self.first();
        for (place, bound) in (0..).zip(&mut self.addrs) {
            let Some(bound) = bound.as_mut().filter(|bound| bound.ip() == old.ip()) else { continue };
            self.sockets.remove(bound);
            *bound = if place == 0 { addr } else { SocketAddr::new(addr.ip(), bound.port()) };
            self.sockets.insert(*bound, SocketId::new(place));
        }
    }

    /// An address with the IP address of this socket and a port that nobody has.
    pub(super) fn free_like(&mut self, like: SocketId) -> Option<SocketAddr> {
        let ip = self.addr(like)?.ip();
        let ports = u16::MAX - EPHEMERAL;
        (0..ports).find_map(|_| {
            self.given = (self.given + 1) % ports;
            let addr = SocketAddr::new(ip, EPHEMERAL + self.given);
            self.at(addr).is_none().then_some(addr)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_given_away_is_free_and_not_one_that_was_just_closed() {
        let mut bound = Bound::default();
        let first = SocketAddr::from(([192, 0, 2, 1], EPHEMERAL + 2));
        bound.bind(SocketId::new(0), first);
        let like = |bound: &mut Bound| bound.free_like(SocketId::new(0)).map(|addr| addr.port());
        let one = SocketAddr::new(first.ip(), EPHEMERAL + 1);
        assert_eq!(like(&mut bound), Some(one.port()));
        bound.bind(SocketId::new(1), one);
        assert_eq!(like(&mut bound), Some(EPHEMERAL + 3));
        bound.close(SocketId::new(1));
        assert_eq!((bound.at(one), bound.addr(SocketId::new(1))), (None, None));
        assert_eq!(like(&mut bound), Some(EPHEMERAL + 4));
        assert_eq!(bound.free_like(SocketId::new(7)), None);
    }

    #[test]
    fn a_host_that_moves_takes_all_its_sockets_of_that_address_along() {
        let mut bound = Bound::default();
        let [four, six] = [SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([0; 16], 1))];
        for (number, addr) in [(0, four), (1, six), (2, SocketAddr::new(four.ip(), 2))] {
            bound.bind(SocketId::new(number), addr);
        }
        bound.move_first(SocketAddr::from(([203, 0, 113, 9], 5)));
        assert_eq!(bound.first(), SocketAddr::from(([203, 0, 113, 9], 5)));
        assert_eq!(bound.addr(SocketId::new(2)), Some(SocketAddr::from(([203, 0, 113, 9], 2))));
        assert_eq!((bound.at(six), bound.at(four)), (Some(SocketId::new(1)), None));
    }
}
