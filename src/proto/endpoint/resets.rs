//! RESETs for packets that are for nobody: how many there may be.
//!
//! Without a limit, an endpoint would answer forged packets at whatever rate they come. There is one limit for all
//! and one per source, in constant memory: sources share counters by a keyed hash, so a stranger may use up his
//! neighbours' share now and then, but never everybody's. Which packets deserve an answer is decided elsewhere; that
//! a RESET never does is the one rule without which two endpoints would talk for ever.

use rand::rngs::StdRng;

use super::bucket::Bucket;
use super::keyed::{Keyed, Source};
use crate::proto::batch::Path;
use crate::time::Instant;

/// Ours: RESETs per second towards one source (an IPv4 address, an IPv6 /64). A peer that has restarted asks about
/// each of its connections once or twice, and may be told over a few seconds.
const PER_SOURCE: u32 = 10;

/// Ours: counters for sources, 2 KiB in all.
const SOURCES: usize = 256;

/// The limits.
#[derive(Debug)]
pub(super) struct Resets {
    per_second: u32,
    all: Bucket,
    sources: Box<[Bucket]>,
    keyed: Keyed,
}

impl Resets {
    pub(super) fn new(per_second: u32, rng: &mut StdRng) -> Self {
        Self {
            per_second,
            all: Bucket::default(),
            sources: vec![Bucket::default(); SOURCES].into_boxed_slice(),
            keyed: Keyed::draw(rng),
        }
    }

    /// Whether one more may go there now; if so, it counts as sent.
    pub(super) fn admit(&mut self, now: Instant, path: Path) -> bool {
        let source = &mut self.sources[self.keyed.slot(Source::of(path), SOURCES)];
        if source.available(now, PER_SOURCE) == 0 || self.all.available(now, self.per_second) == 0 {
            return false;
        }
        source.take(now, PER_SOURCE, 1);
        self.all.take(now, self.per_second, 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::proto::batch::SocketId;

    fn resets(per_second: u32) -> Resets {
        Resets::new(per_second, &mut StdRng::from_seed([1; 32]))
    }

    fn path(net: u8, host: u8) -> Path {
        Path { socket: SocketId::new(0), peer: ([10, 0, net, host], 9).into() }
    }

    #[test]
    fn t02_a_flood_from_everywhere_is_answered_at_the_configured_rate() {
        let mut resets = resets(200);
        let mut sent = 0;
        for micros in 0..200_000u64 {
            let from = path((micros >> 8) as u8, micros as u8);
            sent += usize::from(resets.admit(Instant::from_micros(micros * 50), from));
        }
        // Ten seconds of two hundred, and the two hundred that were saved up.
        assert!((2_000..=2_200).contains(&sent), "{sent}");
    }

    #[test]
    fn t02_one_source_cannot_use_up_what_is_there_for_all() {
        let mut resets = resets(100);
        let sent = (0..1_000).filter(|_| resets.admit(Instant::ZERO, path(0, 1))).count();
        assert_eq!(sent, 10);
        assert!((2..9).all(|host| resets.admit(Instant::ZERO, path(0, host))));
        assert!(!resets.admit(Instant::from_micros(99_999), path(0, 1)));
        assert!(resets.admit(Instant::from_micros(100_000), path(0, 1)));
    }

    #[test]
    fn a_rate_of_zero_sends_none() {
        assert!(!resets(0).admit(Instant::from_micros(u64::MAX), path(0, 1)));
    }
}
