//! Datagrams in: whose they are, and what becomes of those that are nobody's.
//!
//! Decodes, looks up, hands over and marks ready; sends nothing and wakes nobody but those who wait for an incoming
//! connection or a foreign datagram. Every datagram that goes nowhere is counted with the reason.

use std::slice::Chunks;

use super::routes::Route;
use super::sockets::{is_answerable, normal};
use super::waiters::wake_all;
use super::{Endpoint, Started};
use crate::error::CloseReason;
use crate::proto::batch::Path;
use crate::proto::conn::{Connection, Doubt, Hello};
use crate::stats::DropStats;
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::{ConnId, Kind, Mark, Packet, SeqNr, StunMessage};

impl Endpoint {
    /// Takes datagrams of `stride` bytes, laid end to end (the last may be shorter), that arrived on one path.
    ///
    /// Datagrams of the same connection that follow one another cost one look-up and one lock.
    pub fn handle_datagrams(&mut self, now: Instant, path: Path, run: &[u8], stride: usize) {
        let path = Path { peer: normal(path.peer), ..path };
        let mut datagrams = run.chunks(stride.max(1));
        if !is_answerable(path.peer) {
            let count = datagrams.len().max(1) as u64;
            self.drop_counted(|dropped| dropped.bad_source += count);
            return;
        }
        // A run without bytes is one datagram without any.
        let mut next = Some(datagrams.next().unwrap_or_default());
        while let Some(datagram) = next {
            if self.may_be_stun(datagram) && self.take_stun(now, path, datagram) {
                next = datagrams.next();
                continue;
            }
            next = match self.config.dialect.decode(datagram) {
                Ok(packet) if is_ordinary(&packet) => {
                    self.deliver(now, path, (datagram, &packet), &mut datagrams)
                }
                other => {
                    match other {
                        Ok(packet) if packet.header.kind == Kind::Syn => self.handle_syn(now, path, &packet),
                        Ok(packet) => self.handle_reset(now, path, &packet),
                        // An answer to the STUN of somebody who shares the port begins like uTP.
                        Err(error) if error.is_utp() && !StunMessage::is_shaped(datagram) => {
                            self.drop_counted(|dropped| dropped.malformed += 1)
                        }
                        Err(_) if self.take_word(now, path, datagram) => {}
                        Err(_) => self.shared.deliver_foreign(path, datagram),
                    }
                    datagrams.next()
                }
            };
        }
    }

    /// Hands over a packet, and those behind it as long as they are for the same connection. Returns the first that
    /// is not.
    fn deliver<'a>(
        &mut self,
        now: Instant,
        path: Path,
        (datagram, packet): (&[u8], &Packet<'_>),
        behind: &mut Chunks<'a, u8>,
    ) -> Option<&'a [u8]> {
        let id = packet.header.conn_id;
        let entry = match self.routes.get(path, id) {
            Some(Route::Live(key)) => self.entries.get_mut(key).map(|entry| (key, entry)),
            // Nobody has answered that SYN, so this is no answer to us.
            Some(Route::Waiting(_)) => {
                self.drop_counted(|dropped| dropped.unknown_connection += 1);
                return behind.next();
            }
            None => None,
        };
        let Some((key, entry)) = entry else {
            match StunMessage::is_shaped(datagram) {
                true => self.shared.deliver_foreign(path, datagram),
                false => self.handle_stranger(now, path, packet),
            }
            return behind.next();
        };
        let (stun, dialect) = (self.stun.is_active(), self.config.dialect);
        let mut inner = entry.cell.lock();
        let mut dropped = u64::from(!inner.handle_packet(now, packet));
        let other = loop {
            let Some(datagram) = behind.next() else { break None };
            if stun && StunMessage::is_shaped(datagram) {
                break Some(datagram);
            }
            match dialect.decode(datagram) {
                Ok(packet) if is_ordinary(&packet) && packet.header.conn_id == id => {
                    dropped += u64::from(!inner.handle_packet(now, &packet));
                }
                _ => break Some(datagram),
            }
        };
        inner.weigh();
        drop(inner);
        self.ready.push(key, &mut entry.queued);
        if dropped > 0 {
            self.drop_counted(|stats| stats.out_of_memory += dropped);
        }
        other
    }

    /// Whether somebody here waits for STUN, and this looks like it.
    fn may_be_stun(&self, datagram: &[u8]) -> bool {
        self.stun.is_active() && StunMessage::is_shaped(datagram)
    }

    /// A SYN on the ids of a connection that we have: a repetition gets the same answer again. Anything else is
    /// ignored as long as the connection lives, unless it is one that we started: then the peer has to choose
    /// another id. Whether it lives, a peer of ours is asked; if it is gone, returns what the SYN said when it first
    /// came, and the place is free.
    pub(super) fn repeated_syn(
        &mut self,
        now: Instant,
        key: Key,
        packet: &Packet<'_>,
        hello: Option<Hello>,
    ) -> Option<Option<Hello>> {
        let entry = self.entries.get_mut(key)?;
        let path = entry.path;
        match entry.started {
            Started::ByPeer(seq) if seq == packet.header.seq => {
                entry.cell.lock().handle_packet(now, packet);
                self.ready.push(key, &mut entry.queued);
            }
            Started::ByPeer(_) => {
                let doubt = entry.cell.lock().doubt(now, packet.header.seq, hello);
                if let Doubt::Gone(first) = doubt {
                    entry.cell.fail(CloseReason::TimedOut, &mut self.woken);
                    self.forget(key);
                    return Some(first);
                }
                if matches!(doubt, Doubt::Asked) {
                    self.ready.push(key, &mut entry.queued);
                }
                self.drop_counted(|dropped| dropped.id_collision += 1);
            }
            Started::ByUs(_) => {
                self.drop_counted(|dropped| dropped.id_collision += 1);
                self.reset(now, path, packet.header.conn_id, packet.header.seq);
            }
        }
        None
    }

    /// A RESET may carry the id on which we receive, or repeat the one on which we send (libutp answers strays so).
    /// Whether its numbers fit, the connection itself decides.
    fn handle_reset(&mut self, now: Instant, path: Path, packet: &Packet<'_>) {
        let id = packet.header.conn_id;
        let named = [id, id.next(), id.prev()].map(|recv| {
            let Some(Route::Live(key)) = self.routes.get(path, recv) else { return None };
            let entry = self.entries.get(key)?;
            (recv == id || entry.send == id).then_some(key)
        });
        let named = || named.into_iter().flatten();
        let believes = |key: &Key| {
            self.entries.get(*key).is_some_and(|entry| entry.cell.lock().believes_reset(now, packet))
        };
        let believed = named().find(believes);
        if believed.is_none() && !self.take_probe_reset(path, &packet.header) {
            self.drop_counted(|dropped| dropped.bad_reset += 1);
        }
        // One that no connection believes is asked about by one of them: one packet is not worth three.
        let Some(key) = believed.or_else(|| named().next()) else { return };
        if let Some(entry) = self.entries.get_mut(key) {
            entry.cell.lock().handle_packet(now, packet);
            self.ready.push(key, &mut entry.queued);
        }
    }

    /// The system says that a datagram of ours was not delivered, and which: `datagram` is at least its header.
    ///
    /// Such news may be forged (ICMP), so it only spares time: a connection of ours that still waits for the answer
    /// to this very SYN fails at once, with `reason`, instead of when it would have given up. Returns whether one did.
    /// A connection that is open, or that the peer started, never hears of it.
    pub fn handle_undeliverable(&mut self, path: Path, datagram: &[u8], reason: CloseReason) -> bool {
        let Ok(Packet { header, .. }) = Packet::decode(datagram) else { return false };
        let Some(Route::Live(key)) = self.routes.get(path, header.conn_id) else { return false };
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let is_our_syn = header.kind == Kind::Syn && entry.started == Started::ByUs(header.seq);
        let still_waits = |conn: &Connection| !conn.is_confirmed() && conn.close_reason().is_none();
        if !is_our_syn || !still_waits(&entry.cell.lock().conn) {
            return false;
        }
        entry.cell.fail(reason, &mut self.woken);
        self.ready.push(key, &mut entry.queued);
        wake_all(&mut self.woken);
        true
    }

    /// Answers a packet that is for nobody, if the limits allow it.
    pub(super) fn reset(&mut self, now: Instant, path: Path, id: ConnId, seq: SeqNr) {
        self.reset_with(now, path, id, seq, None);
    }

    /// Answers it so, and one of ours by its mark, with the reason if there is one.
    pub(super) fn reset_with(
        &mut self,
        now: Instant,
        path: Path,
        id: ConnId,
        seq: SeqNr,
        reason: Option<(Mark, Option<u16>)>,
    ) {
        let sent = self.answers.has_room() && self.resets.admit(now, path);
        if sent {
            let random = self.random_seq();
            self.answers.reset(path, id, seq, random, reason);
        }
        self.shared.count(|stats| match sent {
            true => stats.resets_sent += 1,
            false => stats.resets_withheld += 1,
        });
    }

    pub(super) fn drop_counted(&self, count: impl FnOnce(&mut DropStats)) {
        self.shared.count(|stats| count(&mut stats.dropped));
    }
}

/// Whether the packet belongs to a connection that exists.
fn is_ordinary(packet: &Packet<'_>) -> bool {
    matches!(packet.header.kind, Kind::Data | Kind::Fin | Kind::State)
}
