//! Forwards datagrams between two who have met through the server and have no way to each other. Off unless asked for.
//!
//! There is no protocol of its own: the two send each other the same probes as on any other way. A probe carries its
//! receiver's token of the session, which only the two and the server know; so the first probe of each tells the relay
//! whose it is and to whom to forward. After that everything from that address goes to the other one, whatever it is,
//! and nothing else goes anywhere. Nobody is bound at an address whose IP the server has not seen him at.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::stats::ServerStats;
use crate::error::ConfigError;
use crate::proto::punch::Probe;
use crate::storage::{Key, Slab};
use crate::time::Instant;
use crate::wire::rendezvous::Relay;
use crate::wire::{Packet, Token};

/// Ours: how long the two have to come to the relay after they were told of it: looking for another way takes a
/// quarter of a minute, and may have been repeated.
const OFFER: Duration = Duration::from_secs(60);

/// Ours: what may be forwarded at once, in time: a queue of that length at the rate of the session.
const BURST: Duration = Duration::from_millis(250);

/// What a server forwards for those who cannot reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Pairs at once (default 64).
    pub sessions: usize,
    /// Bytes for a pair, in each direction (default 128 MiB).
    pub bytes: u64,
    /// How long for a pair (default 30 min).
    pub duration: Duration,
    /// Bytes per second for a pair, in each direction (default 256 KiB).
    pub rate: u32,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self { sessions: 64, bytes: 128 << 20, duration: Duration::from_secs(1800), rate: 256 << 10 }
    }
}

impl RelayConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is outside, with the range in words.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let day = Duration::from_secs(86_400);
        let checks = [
            ("relay sessions", "1 to 65,536", (1..=65_536).contains(&self.sessions)),
            ("relay bytes", "at least 64 KiB", self.bytes >= 64 << 10),
            ("relay duration", "1 s to 24 h", (Duration::from_secs(1)..=day).contains(&self.duration)),
            ("relay rate", "at least 8 KiB per second", self.rate >= 8 << 10),
        ];
        match checks.iter().find(|(_, _, fits)| !fits) {
            Some(&(field, range, _)) => Err(ConfigError { field, range }),
            None => Ok(()),
        }
    }
}

/// One of the two.
#[derive(Debug)]
struct Side {
    /// What probes to him carry.
    token: Token,
    /// Where the server has seen him.
    ips: Vec<IpAddr>,
    /// Where he sends from.
    addr: Option<SocketAddr>,
    /// Bytes that he has sent.
    sent: u64,
    /// When the rate will have caught up with what he has sent.
    caught_up: Instant,
}

#[derive(Debug)]
struct Pair {
    sides: [Side; 2],
    ends_at: Instant,
}

impl Pair {
    fn is_running(&self) -> bool {
        self.sides.iter().all(|side| side.addr.is_some())
    }
}

/// All pairs, and what there is for one of them.
#[derive(Debug)]
pub(super) struct RelayTable {
    config: RelayConfig,
    addr: SocketAddr,
    pairs: Slab<Pair>,
    /// Whom a probe is for.
    by_token: BTreeMap<Token, (Key, usize)>,
    /// Who sends from there.
    by_addr: BTreeMap<SocketAddr, (Key, usize)>,
    running: usize,
    /// When to look at a pair.
    ends: VecDeque<(Instant, Key)>,
    /// Of those that run.
    late_ends: VecDeque<(Instant, Key)>,
}

impl RelayTable {
    pub(super) const fn new(config: RelayConfig, addr: SocketAddr) -> Self {
        Self {
            config,
            addr,
            pairs: Slab::new(),
            by_token: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            running: 0,
            ends: VecDeque::new(),
            late_ends: VecDeque::new(),
        }
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// The two may come, if they find no other way: what they are told.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        tokens: [Token; 2],
        seen: [&[SocketAddr]; 2],
    ) -> Option<Relay> {
        if tokens[0] == tokens[1] || tokens.iter().any(|token| self.by_token.contains_key(token)) {
            return None;
        }
        let side = |which: usize| Side {
            token: tokens[which],
            ips: seen[which].iter().map(SocketAddr::ip).collect(),
            addr: None,
            sent: 0,
            caught_up: now,
        };
        let ends_at = now + OFFER;
        let key = self.pairs.insert(Pair { sides: [side(0), side(1)], ends_at });
        for (which, token) in tokens.into_iter().enumerate() {
            self.by_token.insert(token, (key, which));
        }
        self.ends.push_back((ends_at, key));
        let RelayConfig { bytes, duration, rate, .. } = self.config;
        Some(Relay { addr: self.addr, bytes, duration, rate })
    }

    /// A datagram has come to the relay: to whom it goes, if to anybody.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        stats: &mut ServerStats,
    ) -> Option<SocketAddr> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let known = self.by_addr.get(&from).copied().or_else(|| self.bind(now, from, datagram));
        let to = known.and_then(|(key, which)| self.pass(now, key, which, datagram.len()));
        match to {
            Some(_) => {
                stats.relayed_datagrams += 1;
                stats.relayed_bytes += datagram.len() as u64;
            }
            None => stats.relay_dropped += 1,
        }
        to
    }

    fn pass(&mut self, now: Instant, key: Key, which: usize, len: usize) -> Option<SocketAddr> {
        let config = self.config;
        let pair = self.pairs.get_mut(key).filter(|pair| pair.ends_at > now)?;
        let to = pair.sides[1 - which].addr?;
        let side = &mut pair.sides[which];
        let nanos = len as u64 * 1_000_000_000 / u64::from(config.rate.max(1));
        let caught_up = side.caught_up.max(now) + Duration::from_nanos(nanos);
        if side.sent + len as u64 > config.bytes || caught_up.since(now) > BURST {
            return None;
        }
        side.sent += len as u64;
        side.caught_up = caught_up;
        Some(to)
    }

    /// A probe tells who sends from there: the other one than the one whom it is for.
    fn bind(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<(Key, usize)> {
        let probe = Probe::read(&Packet::decode(datagram).ok()?)?;
        let (key, receiver) = *self.by_token.get(&probe.token)?;
        let which = 1 - receiver;
        let room = self.running < self.config.sessions;
        let pair = self.pairs.get_mut(key).filter(|pair| pair.ends_at > now)?;
        let side = &mut pair.sides[which];
        if !side.ips.contains(&from.ip()) {
            return None;
        }
        // Whoever changes his port has it from now on; the pair does not begin anew.
        let old = side.addr.replace(from);
        if old.is_none() && pair.is_running() {
            if !room {
                pair.sides[which].addr = None;
                return None;
            }
            self.running += 1;
            pair.ends_at = now + self.config.duration;
            self.late_ends.push_back((pair.ends_at, key));
        }
        if let Some(old) = old {
            self.by_addr.remove(&old);
        }
        self.by_addr.insert(from, (key, which));
        Some((key, which))
    }

    /// Forgets those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for late in [false, true] {
            let queue = if late { &mut self.late_ends } else { &mut self.ends };
            let due = queue.iter().take_while(|(at, _)| *at <= now).count();
            let due: Vec<_> = queue.drain(..due).collect();
            for (_, key) in due {
                if self.pairs.get(key).is_some_and(|pair| pair.ends_at <= now) {
                    self.remove(key);
                }
            }
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let first = |queue: &VecDeque<(Instant, Key)>| queue.front().map(|(at, _)| *at);
        [first(&self.ends), first(&self.late_ends)].into_iter().flatten().min()
    }

    fn remove(&mut self, key: Key) {
        let Some(pair) = self.pairs.remove(key) else { return };
        if pair.is_running() {
            self.running -= 1;
        }
        for side in pair.sides {
            self.by_token.remove(&side.token);
            if let Some(addr) = side.addr {
                self.by_addr.remove(&addr);
            }
        }
    }
}
