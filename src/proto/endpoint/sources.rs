//! How many connections each stranger has started towards us, and each network of strangers.
//!
//! Only connections that the peer started are counted: whom we call is our own affair. Addresses that are not
//! routed on the Internet (loopback, private, link-local and unique local ones) are not counted either: who is
//! there belongs to the house, and a test or a proxy may well open thousands from one address.

use std::collections::HashMap;
use std::net::IpAddr;

use rand::rngs::StdRng;

use super::keyed::{Keyed, Source};
use super::sockets::canonical;
use crate::config::Config;
use crate::proto::batch::Path;

/// Ours: connections of one source whose address is not proved, undecided ones included. A flood with one forged
/// address takes no more than a quarter of the default [`half_open`](Config::half_open) table.
pub(super) const HALF_OPEN_PER_SOURCE: u32 = 8;

/// The counts. At most two entries for each connection and each undecided SYN.
#[derive(Debug)]
pub(super) struct Sources {
    addresses: HashMap<Source, Count, Keyed>,
    networks: HashMap<Source, u32, Keyed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    half_open: u32,
}

impl Sources {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let keyed = Keyed::draw(rng);
        Self { addresses: HashMap::with_hasher(keyed), networks: HashMap::with_hasher(keyed) }
    }

    /// Who is to be counted; nobody, if that address has no limits.
    pub(super) fn counted(path: Path) -> Option<Source> {
        let house = match canonical(path.peer).ip() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        (!house).then(|| Source::of(path))
    }

    /// Whether the source, or its network, has as many connections as it may.
    pub(super) fn is_full(&self, source: Option<Source>, config: &Config) -> bool {
        let Some(source) = source else { return false };
        let reached = |count: Option<u32>, limit: Option<usize>| {
            limit.is_some_and(|limit| count.is_some_and(|count| count as usize >= limit))
        };
        let address = self.addresses.get(&source).map(|count| count.all);
        reached(address, config.connections_per_address)
            || reached(self.networks.get(&source.network()).copied(), config.connections_per_network)
    }

    /// Whether the source has as many connections without proof as it may.
    pub(super) fn is_half_open_full(&self, source: Option<Source>) -> bool {
        let count = source.and_then(|source| self.addresses.get(&source));
        count.is_some_and(|count| count.half_open >= HALF_OPEN_PER_SOURCE)
    }

    /// One more of that source.
    pub(super) fn enter(&mut self, source: Option<Source>, half_open: bool) {
        let Some(source) = source else { return };
        let count = self.addresses.entry(source).or_default();
        count.all += 1;
        count.half_open += u32::from(half_open);
        *self.networks.entry(source.network()).or_default() += 1;
    }

    /// One of them has proved its address.
    pub(super) fn prove(&mut self, source: Option<Source>) {
        if let Some(count) = source.and_then(|source| self.addresses.get_mut(&source)) {
            count.half_open -= 1;
        }
    }

    /// One of them has gone.
    pub(super) fn leave(&mut self, source: Option<Source>, half_open: bool) {
        let Some(source) = source else { return };
        if let Some(count) = self.addresses.get_mut(&source) {
            count.all -= 1;
            count.half_open -= u32::from(half_open);
            if count.all == 0 {
                self.addresses.remove(&source);
            }
        }
        let network = source.network();
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.addresses.clear();
        self.networks.clear();
    }

    /// Entries in both tables.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.addresses.len() + self.networks.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::proto::batch::SocketId;

    fn counted(text: &str) -> Option<Source> {
        let peer = text.parse().unwrap_or_else(|_| panic!("{text} is an address"));
        Sources::counted(Path { socket: SocketId::new(0), peer })
    }

    #[test]
    fn the_house_is_not_counted() {
        for house in [
            "127.0.0.1:9",
            "10.1.2.3:9",
            "192.168.0.9:9",
            "172.20.0.1:9",
            "169.254.1.1:9",
            "[::1]:9",
            "[fd00::1]:9",
            "[fe80::1]:9",
            "[::ffff:10.0.0.1]:9",
        ] {
            assert_eq!(counted(house), None, "{house}");
        }
        for stranger in ["8.8.8.8:9", "198.51.100.1:9", "[2001:db8::1]:9", "[::ffff:8.8.8.8]:9"] {
            assert!(counted(stranger).is_some(), "{stranger}");
        }
    }

    #[test]
    fn counts_follow_what_comes_proves_itself_and_goes() {
        let mut sources = Sources::new(&mut StdRng::from_seed([1; 32]));
        let config = Config::default().connections_per_address(Some(12)).connections_per_network(Some(14));
        let (one, two) = (counted("8.8.8.1:9"), counted("8.8.8.2:9"));
        for _ in 0..8 {
            assert!(!sources.is_half_open_full(one));
            sources.enter(one, true);
        }
        assert!(sources.is_half_open_full(one) && !sources.is_half_open_full(two));
        (0..8).for_each(|_| sources.prove(one));
        assert!(!sources.is_half_open_full(one));
        (0..4).for_each(|_| sources.enter(one, false));
        assert!(sources.is_full(one, &config) && !sources.is_full(two, &config));
        (0..2).for_each(|_| sources.enter(two, false));
        assert!(sources.is_full(two, &config), "the network is full");
        assert!(!sources.is_full(two, &config.connections_per_network(None)));
        (0..12).for_each(|_| sources.leave(one, false));
        (0..2).for_each(|_| sources.leave(two, false));
        assert_eq!(sources.len(), 0);
    }
}
