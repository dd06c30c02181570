//! Connections whose peers come from another address: who may take one along, and where packets are expected meanwhile.
//!
//! Whoever names a connection by its token from an unknown address is challenged there, in a packet shorter than its
//! own, and once the challenge comes back the connection moves. The challenge is a keyed hash of address, token and time:
//! nothing is kept for those who only ask, and nobody can push out anybody else's.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use siphasher::sip::SipHasher24;

use super::Endpoint;
use super::cell::{Cell, Inner};
use super::keyed::Keyed;
use super::routes::Route;
use super::sources::Sources;
use crate::proto::batch::{Batch, Path};
use crate::proto::conn::ConnIds;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, Mark, MarkFlags, Own, Packet, PathToken};

/// Ours: how long a challenge is good; one of the period before counts too.
const EPOCH: Duration = Duration::from_secs(16);

/// Ours: challenges written and not yet sent.
const PENDING_MAX: usize = 64;

/// Ours: old addresses from which packets are still taken.
const OLD_MAX: usize = 256;

/// Ours: for how long, in round trips, and the bounds of that.
const OLD_FOR: (u32, Duration, Duration) = (3, Duration::from_millis(300), Duration::from_secs(3));

/// What is known about names, challenges and old addresses.
pub(super) struct Migrations {
    /// Never iterated. One for each connection that may move.
    tokens: HashMap<PathToken, Key, Keyed>,
    secret: (u64, u64),
    /// At most [`PENDING_MAX`].
    pending: VecDeque<(Path, Vec<u8>)>,
    /// Routes that end then. At most [`OLD_MAX`].
    old: VecDeque<(Instant, Path, ConnId, Key)>,
}

impl Migrations {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self {
            tokens: HashMap::with_hasher(Keyed::draw(rng)),
            secret: (rng.random(), rng.random()),
            pending: VecDeque::new(),
            old: VecDeque::new(),
        }
    }

    /// A connection may be named so.
    pub(super) fn name(&mut self, token: PathToken, key: Key) {
        self.tokens.insert(token, key);
    }

    pub(super) fn forget(&mut self, token: PathToken) {
        self.tokens.remove(&token);
    }

    /// The next challenge, into an empty batch.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Option<Path> {
        let (path, bytes) = self.pending.pop_front()?;
        batch.push_sealed(&bytes);
        Some(path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Addresses that peers have left a moment ago.
    pub(super) fn old_len(&self) -> usize {
        self.old.len()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.old.front().map(|old| old.0)
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.pending.clear();
        self.old.clear();
    }

    fn challenge(&self, epoch: u64, path: Path, token: PathToken) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.secret.0, self.secret.1);
        let (ip, zone) = match path.peer {
            SocketAddr::V4(v4) => (u128::from(v4.ip().to_bits()), u32::MAX),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), v6.scope_id()),
        };
        hasher.write_u64(epoch);
        hasher.write_u64(token.get());
        hasher.write(&ip.to_be_bytes());
        hasher.write_u32(zone);
        hasher.write_u16(path.peer.port());
        hasher.write_u16(path.socket.get());
        hasher.finish()
    }

    fn is_answered(&self, now: Instant, path: Path, token: PathToken, response: u64) -> bool {
        let now = epoch(now);
        [Some(now), now.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|epoch| self.challenge(epoch, path, token) == response)
    }
}

fn epoch(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / EPOCH.as_secs()
}

impl Endpoint {
    /// A packet for no connection at that address, with a mark. Returns whether it names one of ours, and has been seen to.
    pub(super) fn handle_migrant(&mut self, now: Instant, path: Path, packet: &Packet<'_>) -> bool {
        let own = packet.extensions.own_block().ok().flatten().unwrap_or_default();
        let key = own.path_token.and_then(|token| self.migrations.tokens.get(&token).copied());
        let Some(key) = key.filter(|_| self.config.migration) else { return false };
        if !self.follow(now, key, path, packet, &own) {
            self.drop_counted(|dropped| dropped.unknown_connection += 1);
        }
        true
    }

    /// There is no such connection: whoever has one learns so, by its tag. What belongs to none gets no answer.
    pub(super) fn refuse_migrant(&mut self, now: Instant, path: Path, packet: &Packet<'_>, mark: Mark) {
        if mark.tag.get() == 0 {
            return;
        }
        let from_acceptor = mark.flags.contains(MarkFlags::ACCEPTOR);
        let flags = if from_acceptor { MarkFlags::NONE } else { MarkFlags::ACCEPTOR };
        self.reset_with(
            now,
            path,
            packet.header.conn_id,
            packet.header.seq,
            Some((Mark { flags, tag: mark.tag }, None)),
        );
    }

    /// Somebody names a connection of ours from an unknown address. Returns whether it may be its peer.
    fn follow(&mut self, now: Instant, key: Key, path: Path, packet: &Packet<'_>, own: &Own<'_>) -> bool {
        let Some((entry, token)) = self.entries.get(key).zip(own.path_token) else { return false };
        if entry.recv != packet.header.conn_id || !entry.cell.lock().admits_migrant(packet) {
            return false;
        }
        match own.path_response {
            Some(response) if self.migrations.is_answered(now, path, token, response) => {
                let source = entry.source.and_then(|_| Sources::counted(path));
                if self.sources.is_full(source, &self.config) {
                    return false;
                }
                self.migrate(now, key, path, packet);
            }
            _ if self.migrations.pending.len() < PENDING_MAX => {
                let challenge = self.migrations.challenge(epoch(now), path, token);
                let bytes = entry.cell.lock().challenge_packet(now, challenge);
                // Never more than came.
                if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= packet.encoded_len()) {
                    self.migrations.pending.push_back((path, bytes));
                }
            }
            _ => {}
        }
        true
    }

    fn migrate(&mut self, now: Instant, key: Key, path: Path, packet: &Packet<'_>) {
        self.relocate(now, key, path, |inner| {
            inner.migrate(now, path);
            inner.handle_packet(now, packet);
        });
    }

    /// A way has been found on which this connection's peer is reached, and reaches us: it is taken from now on. Returns
    /// whether it could be.
    pub(super) fn take_way(&mut self, now: Instant, cell: &Arc<Cell>, path: Path) -> bool {
        let inner = cell.lock();
        let key = inner.key().filter(|_| inner.conn.pair_secret().is_some());
        drop(inner);
        let Some((key, entry)) = key.and_then(|key| Some((key, self.entries.get(key)?))) else {
            return false;
        };
        let route = self.routes.get(path, entry.recv);
        if !Arc::ptr_eq(&entry.cell, cell) || route.is_some_and(|route| route != Route::Live(key)) {
            return false;
        }
        // It may have followed its peer there already.
        if entry.path != path {
            self.relocate(now, key, path, |inner| inner.take_way(now, path));
        }
        true
    }

    fn relocate(&mut self, now: Instant, key: Key, path: Path, moves: impl FnOnce(&mut Inner)) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (old, ids) = (entry.path, ConnIds { recv: entry.recv, send: entry.send });
        let mut inner = entry.cell.lock();
        let (round_trips, least, most) = OLD_FOR;
        let round_trip = inner.conn.stats().rtt.unwrap_or(least);
        moves(&mut inner);
        drop(inner);
        if entry.source.is_some() {
            self.sources.leave(entry.source, entry.unconfirmed);
            entry.source = Sources::counted(path);
            self.sources.enter(entry.source, entry.unconfirmed);
        }
        self.move_route(key, path, ids);
        if self.migrations.old.len() < OLD_MAX && self.routes.get(old, ids.recv).is_none() {
            self.routes.insert(old, ids.recv, Route::Live(key));
            let until = now + (round_trips * round_trip).clamp(least, most);
            self.migrations.old.push_back((until, old, ids.recv, key));
        }
        self.mark_ready(key);
        self.shared.count(|stats| stats.migrations += 1);
    }

    /// Packets from addresses that were left long enough ago are nobody's.
    pub(super) fn expire_old_paths(&mut self, now: Instant) {
        while self.migrations.next_expiry().is_some_and(|until| until <= now) {
            let Some((_, path, id, key)) = self.migrations.old.pop_front() else { return };
            self.end_old_path(path, id, key);
        }
    }

    /// The connection is gone, and its old addresses with it.
    pub(super) fn forget_old_paths(&mut self, key: Key) {
        while let Some(place) = self.migrations.old.iter().position(|old| old.3 == key) {
            if let Some((_, path, id, key)) = self.migrations.old.remove(place) {
                self.end_old_path(path, id, key);
            }
        }
    }

    fn end_old_path(&mut self, path: Path, id: ConnId, key: Key) {
        let current = self.entries.get(key).is_some_and(|entry| entry.path == path && entry.recv == id);
        if !current && self.routes.get(path, id) == Some(Route::Live(key)) {
            self.routes.remove(path, id);
        }
    }
}
