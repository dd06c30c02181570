//! Hashing of what strangers choose: SipHash with a key of this endpoint's own.
//!
//! Peers choose addresses, ports and half of the ids. Whoever knew the hash could choose them so that all end in one
//! bucket, and a table look-up would become a search. The key comes from the endpoint's seed, so that a replay does
//! the same; nobody outside can know it. SipHash-1-3 is what the standard library uses for the same purpose, and
//! `siphasher`, a crate without dependencies, is the one that takes a key.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip::SipHasher13;

use super::sockets::canonical;
use crate::proto::batch::Path;

/// A key, and the hashers that have it.
#[derive(Clone, Copy)]
pub(super) struct Keyed {
    key: (u64, u64),
}

impl Keyed {
    /// A key that nobody else has.
    pub(super) fn draw(rng: &mut StdRng) -> Self {
        Self { key: (rng.random(), rng.random()) }
    }

    /// One of `slots` counters that this source shares with whoever has the same hash. Constant memory, and a
    /// stranger cannot tell whose counter he shares.
    pub(super) fn slot(&self, source: Source, slots: usize) -> usize {
        let mut hasher = self.build_hasher();
        hasher.write_u64(source.0);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let hash = hasher.finish() as usize;
        hash % slots
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

impl fmt::Debug for Keyed {
    /// The key stays a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(..)")
    }
}

/// Somebody who counts as one: an IPv4 address, or an IPv6 /64, within which everybody has as many addresses as he
/// likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn of(path: Path) -> Self {
        match canonical(path.peer).ip() {
            // Above all that can be an IPv6 sender: ffff::/16 is multicast.
            IpAddr::V4(ip) => Self(0xFFFF_FFFF_0000_0000 | u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Self((ip.to_bits() >> 64) as u64),
        }
    }

    /// The source's surroundings: an IPv4 /24, an IPv6 /56.
    pub(super) const fn network(self) -> Self {
        Self(self.0 | 0xFF)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng;

    use super::*;
    use crate::proto::batch::SocketId;

    fn source(text: &str) -> Source {
        let peer = text.parse().unwrap_or_else(|_| panic!("{text} is an address"));
        Source::of(Path { socket: SocketId::new(0), peer })
    }

    #[test]
    fn t05_two_endpoints_order_the_same_keys_differently() {
        let order = |seed| {
            let mut table = HashMap::with_hasher(Keyed::draw(&mut StdRng::from_seed([seed; 32])));
            table.extend((0..64u16).map(|id| (id, ())));
            table.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1), "the same seed does the same");
        assert_ne!(order(1), order(2));
        eprintln!("t05 bound=orders differ measured=differ for 64 keys");
    }

    #[test]
    fn t05_keys_that_collide_under_one_key_do_not_under_another() {
        let keys = [1, 2].map(|seed| Keyed::draw(&mut StdRng::from_seed([seed; 32])));
        let bucket = |keyed: &Keyed, n: u32| keyed.hash_one(n) % 256;
        let chosen: Vec<u32> = (0..100_000).filter(|&n| bucket(&keys[0], n) == 7).collect();
        let mut load = [0u32; 256];
        for &n in &chosen {
            load[usize::try_from(bucket(&keys[1], n)).unwrap_or_default()] += 1;
        }
        let fullest = load.iter().max().copied().unwrap_or_default();
        eprintln!("t05 bound=16 of {} in one bucket measured={fullest}", chosen.len());
        assert!(chosen.len() > 300 && fullest < 16, "{} keys, {fullest} in one bucket", chosen.len());
    }

    #[test]
    fn who_counts_as_one() {
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:2"));
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
        assert_ne!(source("[2001:db8:0:1::1]:1"), source("[2001:db8::1]:1"));
        assert_eq!(source("192.0.2.1:1").network(), source("192.0.2.200:1").network());
        assert_ne!(source("192.0.2.1:1").network(), source("192.0.3.1:1").network());
        assert_eq!(source("[2001:db8:0:1::1]:1").network(), source("[2001:db8:0:ff::1]:1").network());
        assert_ne!(source("[2001:db8:0:1ff::1]:1").network(), source("[2001:db8:0:ff::1]:1").network());
    }
}
