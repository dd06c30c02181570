//! In which order the ports of a symmetric NAT are tried.
//!
//! With 256 of its 64,512 ports open to us, 256 tries find one in 64 of 100 cases, 1,024 in 98, 2,048 in 99.97. What is
//! known about the pattern goes first.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::wire::Mapping;

/// Ours: probes that search for a port, at most.
pub const SPRAY_MAX: usize = 2048;

/// Ours: how many ports ahead are tried if the NAT counts.
const AHEAD: i32 = 32;

/// Ours: how far beyond a block of ports is searched.
const BLOCK_MARGIN: i32 = 1024;

/// Ours: blocks wider than this are no pattern.
const BLOCK_MAX: u16 = 4096;

/// Ours: tries within a block, before the rest of the ports get theirs.
const BLOCK_TRIES: usize = SPRAY_MAX / 2;

/// RFC 6335 §6: ports below are not handed out to whoever asks, so NATs do not use them either.
const PORT_MIN: u16 = 1024;

/// Ours: draws in a row that hit a port which was tried, before the range counts as exhausted.
const DRAWS_MAX: u32 = 256;

/// The ports to be tried, each once, at most [`SPRAY_MAX`].
#[derive(Debug)]
pub(super) struct Spray {
    ahead: std::vec::IntoIter<u16>,
    block: Option<(u16, u16)>,
    in_block: usize,
    /// One bit for each port.
    tried: Box<[u64; 1024]>,
    left: usize,
}

impl Spray {
    /// `seen` is a port under which the peer was seen.
    pub(super) fn new(mapping: Mapping, seen: u16) -> Self {
        let (step, block) = match mapping {
            Mapping::EndpointDependent { step, block } => (i32::from(step), block),
            _ => (0, 0),
        };
        let near = |port: i32| u16::try_from(port).ok().filter(|port| *port >= PORT_MIN);
        let steps = if step == 0 { 0 } else { AHEAD };
        let ahead: Vec<u16> = (1..=steps).filter_map(|n| near(i32::from(seen) + n * step)).collect();
        let block = (1..=BLOCK_MAX).contains(&block).then(|| {
            let reach = i32::from(block) + BLOCK_MARGIN;
            let edge = |port: i32| port.clamp(i32::from(PORT_MIN), i32::from(u16::MAX)) as u16;
            (edge(i32::from(seen) - reach), edge(i32::from(seen) + reach))
        });
        Self { ahead: ahead.into_iter(), block, in_block: 0, tried: Box::new([0; 1024]), left: SPRAY_MAX }
    }

    /// The next port, as long as there is one.
    pub(super) fn next(&mut self, rng: &mut StdRng) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        while let Some(port) = self.ahead.next() {
            if self.is_new(port) {
                return Some(port);
            }
        }
        if let Some((from, to)) = self.block {
            if self.in_block < BLOCK_TRIES {
                self.in_block += 1;
                if let Some(port) = self.draw(from, to, rng) {
                    return Some(port);
                }
            }
            self.block = None;
        }
        self.draw(PORT_MIN, u16::MAX, rng)
    }

    fn draw(&mut self, from: u16, to: u16, rng: &mut StdRng) -> Option<u16> {
        (0..DRAWS_MAX).map(|_| rng.random_range(from..=to)).find(|&port| self.is_new(port))
    }

    /// Whether it was not tried before; it is now.
    fn is_new(&mut self, port: u16) -> bool {
        let (word, bit) = (usize::from(port / 64), 1u64 << (port % 64));
        let is_new = self.tried[word] & bit == 0;
        self.tried[word] |= bit;
        is_new
    }

    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn ports(mapping: Mapping, seen: u16) -> Vec<u16> {
        let mut rng = StdRng::from_seed([5; 32]);
        let mut spray = Spray::new(mapping, seen);
        let ports = std::iter::from_fn(|| spray.next(&mut rng)).collect();
        assert!(spray.is_over());
        ports
    }

    #[test]
    fn n07_each_port_is_tried_once_and_two_thousand_at_most() {
        for mapping in [(0, 0), (1, 0), (-3, 64), (0, 1024), (0, 65_535)] {
            let (step, block) = mapping;
            let mut ports = ports(Mapping::EndpointDependent { step, block }, 1500);
            assert_eq!(ports.len(), SPRAY_MAX, "{mapping:?}");
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), SPRAY_MAX, "{mapping:?}");
            assert!(ports[0] >= PORT_MIN);
        }
    }

    #[test]
    fn a_nat_that_counts_is_tried_ahead_first_then_its_block_then_all_ports() {
        let ports = ports(Mapping::EndpointDependent { step: -2, block: 100 }, 40_000);
        let ahead: Vec<u16> = (1..=32).map(|n| 40_000 - 2 * n).collect();
        assert_eq!(ports[..32], ahead);
        let in_block = |port: &u16| (38_876..=41_124).contains(port);
        assert!(ports[32..32 + BLOCK_TRIES].iter().all(in_block));
        let rest = &ports[32 + BLOCK_TRIES..];
        assert!(rest.iter().filter(|port| !in_block(port)).count() > rest.len() * 9 / 10);
    }

    #[test]
    fn without_a_pattern_the_search_is_even() {
        let ports = ports(Mapping::EndpointDependent { step: 0, block: 0 }, 40_000);
        let low = ports.iter().filter(|&&port| port < 33_280).count();
        assert!((900..1150).contains(&low), "{low}");
    }

    #[test]
    fn the_edge_of_the_ports_stops_the_search_and_nothing_else() {
        let ports = ports(Mapping::EndpointDependent { step: 16, block: 1 }, 65_500);
        assert_eq!(ports[..2], [65_516, 65_532]);
        assert_eq!(ports.len(), SPRAY_MAX);
    }
}
