//! Which server to ask, and which one next.
//!
//! Two who mean the same room must come to the same server without asking anybody: each server gets a number that
//! follows from its name and the room, and the highest one is asked first (rendezvous hashing). So the rooms are
//! spread over the servers, and if one goes, only its rooms move.

use std::hash::Hasher;
use std::net::SocketAddr;

use siphasher::sip::SipHasher24;

use crate::wire::rendezvous::RoomId;

/// A rendezvous server: the name by which everybody knows it, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr {
    name: String,
    addrs: Vec<SocketAddr>,
}

impl ServerAddr {
    /// The server of that name, which is at these addresses: mostly one, or one of IPv4 and one of IPv6.
    ///
    /// The name decides which rooms it gets, so both who want to meet have to write it the same way.
    #[must_use]
    pub fn new(name: impl Into<String>, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { name: name.into(), addrs: addrs.into_iter().collect() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// How much that room is its business.
    fn weight(&self, room: &RoomId) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(u64::from_be_bytes(*b"ebb serv"), 1);
        hasher.write(room.as_bytes());
        hasher.write(self.name.as_bytes());
        hasher.finish()
    }
}

impl From<SocketAddr> for ServerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.to_string(), [addr])
    }
}

/// The servers in the order in which they are asked about a room.
pub(super) fn in_order(mut servers: Vec<ServerAddr>, room: &RoomId) -> Vec<ServerAddr> {
    servers.retain(|server| !server.addrs.is_empty());
    servers.sort_by_cached_key(|server| (std::cmp::Reverse(server.weight(room)), server.name.clone()));
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: u16) -> Vec<ServerAddr> {
        (0..count).map(|n| SocketAddr::from(([192, 0, 2, 1], 7000 + n)).into()).collect()
    }

    fn first(servers: Vec<ServerAddr>, room: u32) -> String {
        in_order(servers, &RoomId::from_name(&room.to_string()))[0].name.clone()
    }

    #[test]
    fn everybody_comes_to_the_same_server_in_whatever_order_he_knows_them() {
        for room in 0..100 {
            let mut turned = servers(5);
            turned.reverse();
            assert_eq!(first(servers(5), room), first(turned, room));
        }
    }

    #[test]
    fn rooms_are_spread_and_only_those_of_a_server_that_goes_move() {
        let mut moved = 0;
        let mut counts = [0; 5];
        for room in 0..1000 {
            let with = first(servers(5), room);
            counts[usize::from(with.as_bytes()[with.len() - 1] - b'0')] += 1;
            let without = first(servers(4), room);
            if with != without {
                assert_eq!(with, "192.0.2.1:7004", "its rooms and no others");
                moved += 1;
            }
        }
        assert_eq!(moved, counts[4]);
        assert!(counts.iter().all(|count| (150..=250).contains(count)), "{counts:?}");
    }
}
