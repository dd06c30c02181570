//! Which connection a packet is for: socket, remote address and receive id lead to its place.
//!
//! Peers choose addresses and half of the ids, so the table hashes with a key that they cannot know, and nothing ever
//! iterates over it. Knows nothing of what is behind a key.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::ops::Range;

use rand::RngExt;
use rand::rngs::StdRng;

use super::keyed::Keyed;
use crate::proto::batch::{Path, SocketId};
use crate::storage::Key;
use crate::wire::ConnId;

/// What is at the end of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A connection.
    Live(Key),
    /// A SYN about which nobody has decided yet.
    Waiting(Key),
}

/// The table.
#[derive(Debug)]
pub(super) struct Routes {
    table: HashMap<Address, Route, Keyed>,
    /// How many there are through each socket.
    through: Vec<u32>,
}

/// Where a packet came from, and the id it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    path: Path,
    id: ConnId,
}

impl Hash for Address {
    /// In few large pieces, since this is done for every run of datagrams. What is left out (the zone of a link-local
    /// address) is compared all the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let rest = u64::from(self.path.socket.get()) << 32
            | u64::from(self.path.peer.port()) << 16
            | u64::from(self.id.get());
        state.write_u64(rest);
        match self.path.peer {
            SocketAddr::V4(v4) => state.write_u32(v4.ip().to_bits()),
            SocketAddr::V6(v6) => state.write(&v6.ip().octets()),
        }
    }
}

/// Ours: random draws before looking through all ids in turn. At half of the ids taken, one draw in four fits.
const DRAWS: usize = 32;

/// BEP 29 leaves ids to the initiator. Ours are even: the other side's choice of receive id and our own then never
/// meet, since what an initiator's even id makes the acceptor receive on is odd.
const EVEN_IDS: Range<u16> = 0..0x8000;

impl Routes {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self { table: HashMap::with_hasher(Keyed::draw(rng)), through: Vec::new() }
    }

    /// Who receives on `id` along `path`.
    pub(super) fn get(&self, path: Path, id: ConnId) -> Option<Route> {
        self.table.get(&Address { path, id }).copied()
    }

    /// Adds a route or gives it another end.
    pub(super) fn insert(&mut self, path: Path, id: ConnId, route: Route) {
        if self.table.insert(Address { path, id }, route).is_none() {
            let socket = usize::from(path.socket.get());
            if self.through.len() <= socket {
                self.through.resize(socket + 1, 0);
            }
            self.through[socket] += 1;
        }
    }

    pub(super) fn remove(&mut self, path: Path, id: ConnId) {
        if self.table.remove(&Address { path, id }).is_some() {
            self.through[usize::from(path.socket.get())] -= 1;
        }
    }

    /// Whether a route leads through that socket.
    pub(super) fn use_socket(&self, socket: SocketId) -> bool {
        self.through.get(usize::from(socket.get())).is_some_and(|&count| count > 0)
    }

    /// A receive id for a connection that we start, unpredictable and even, with nobody on it or next to it: none
    /// of x - 1, x, x + 1 and x + 2 is in use towards that peer.
    ///
    /// The neighbours matter because libutp matches a RESET by id or neighbouring id, and takes a SYN whose
    /// id + 1 it knows for a repetition. `None` if no id is left.
    pub(super) fn draw(&self, path: Path, rng: &mut StdRng) -> Option<ConnId> {
        let even = |half: u16| ConnId::new(half << 1);
        let draws = (0..DRAWS).map(|_| even(rng.random_range(EVEN_IDS))).find(|&id| self.is_roomy(path, id));
        draws.or_else(|| {
            let start = rng.random_range(EVEN_IDS);
            EVEN_IDS.map(|step| even(start.wrapping_add(step))).find(|&id| self.is_roomy(path, id))
        })
    }

    fn is_roomy(&self, path: Path, id: ConnId) -> bool {
        let next = id.next();
        [id.prev(), id, next, next.next()].iter().all(|&id| self.get(path, id).is_none())
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.through.clear();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::hash::BuildHasher;

    use rand::SeedableRng;

    use super::*;
    use crate::storage::Slab;

    fn path(port: u16) -> Path {
        Path { socket: SocketId::new(0), peer: ([192, 0, 2, 1], port).into() }
    }

    fn key() -> Key {
        Slab::new().insert(())
    }

    #[test]
    fn t05_whatever_tells_addresses_apart_moves_them_to_another_place() {
        let routes = Routes::new(&mut StdRng::from_seed([7; 32]));
        let at = |socket, peer: &str, id| Address {
            path: Path { socket: SocketId::new(socket), peer: peer.parse().unwrap() },
            id: ConnId::new(id),
        };
        let addresses = [
            at(0, "192.0.2.1:9", 0),
            at(1, "192.0.2.1:9", 0),
            at(0, "192.0.2.1:9", 1),
            at(0, "192.0.2.1:9", 9),
            at(0, "192.0.2.1:10", 0),
            at(0, "192.0.2.1:10", 9),
            at(9, "192.0.2.1:9", 9),
            at(0, "192.0.2.2:9", 0),
            at(0, "[2001:db8::1]:9", 0),
            at(0, "[2001:db8::2]:9", 0),
        ];
        let mut hashes = addresses.map(|address| routes.table.hasher().hash_one(address)).to_vec();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), addresses.len());
    }

    #[test]
    fn a_socket_is_in_use_as_long_as_a_route_leads_through_it() {
        let mut routes = Routes::new(&mut StdRng::from_seed([7; 32]));
        let (one, other) = (SocketId::new(3), SocketId::new(2));
        let through = |socket| Path { socket, ..path(9) };
        for _ in 0..2 {
            routes.insert(through(one), ConnId::new(65_535), Route::Live(key()));
        }
        routes.remove(through(other), ConnId::new(65_535));
        assert_eq!((routes.use_socket(one), routes.use_socket(other)), (true, false));
        routes.remove(through(one), ConnId::new(65_535));
        assert!(!routes.use_socket(one) && !routes.use_socket(SocketId::new(65_535)));
    }

    #[test]
    fn b07_ids_that_we_start_are_even_and_never_65535() {
        let mut rng = StdRng::from_seed([7; 32]);
        let routes = Routes::new(&mut rng);
        let mut seen = [0usize; 4];
        for _ in 0..4000 {
            let id = routes.draw(path(1), &mut rng).unwrap().get();
            assert!(id.is_multiple_of(2) && id != 0xFFFF);
            seen[usize::from(id >> 14)] += 1;
        }
        assert!(seen.iter().all(|quarter| (800..1200).contains(quarter)), "drawn from everywhere: {seen:?}");
    }

    #[test]
    fn b13_an_id_is_drawn_with_room_around_it_also_across_the_wrap() {
        let mut rng = StdRng::from_seed([8; 32]);
        let mut routes = Routes::new(&mut rng);
        // Everything is taken but 65,535, 0, 1, 2 and, elsewhere, three in a row.
        for id in 3..=65_534 {
            if !(1000..1003).contains(&id) {
                routes.insert(path(1), ConnId::new(id), Route::Live(key()));
            }
        }
        assert_eq!(routes.draw(path(1), &mut rng), Some(ConnId::new(0)));
        routes.insert(path(1), ConnId::new(0xFFFF), Route::Waiting(key()));
        assert_eq!(routes.draw(path(1), &mut rng), None);
        assert!(routes.draw(path(2), &mut rng).is_some(), "another peer's ids do not matter");
    }

    #[test]
    fn b13_ids_towards_one_peer_last_for_sixteen_thousand_connections() {
        let mut rng = StdRng::from_seed([9; 32]);
        let mut routes = Routes::new(&mut rng);
        let mut drawn = 0;
        while drawn < 16_384 {
            let Some(id) = routes.draw(path(1), &mut rng) else { break };
            assert_eq!(routes.get(path(1), id), None);
            routes.insert(path(1), id, Route::Live(key()));
            drawn += 1;
        }
        assert_eq!(drawn, 16_384);
    }
}
