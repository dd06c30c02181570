//! Who may become a connection: what a SYN is answered, and what its answer's acknowledgement is worth.
//!
//! ```text
//!                  nobody listens ─▶ RESET
//!   SYN ─ limits ─ no place left ──▶ silence: too many connections, of this source or in all; too much memory;
//!           │                        as many wait to be accepted as may
//!           ├─ in a rush ──────────▶ cookie: the answer leaves and everything is forgotten
//!           │                          └─ acknowledged exactly ─▶ connection ─▶ offered ─▶ accept, refuse, ignore
//!           └─ else ───────────────▶ offered ─▶ accept: the answer leaves ─▶ acknowledged exactly ─▶ open
//! ```
//!
//! # Without a rush
//! A SYN waits in the backlog until the application decides, and is answered by that decision: accepted by our first
//! packet, refused by a RESET, ignored by nothing. From then on it is a whole connection that holds its tongue until
//! the initiator has acknowledged exactly that first packet. Both together, undecided SYNs and accepted connections
//! without proof, are *half-open*, and cost up to 3 KiB each (measured: a connection without buffers, and its places
//! in tables and queues), because an application that accepts at once turns each SYN into a connection. They may be
//! forged, all of them.
//!
//! # In a rush
//! When there are as many half-open ones as [`Config::half_open`](crate::Config::half_open) allows, or
//! [`HALF_OPEN_PER_SOURCE`](super::sources::HALF_OPEN_PER_SOURCE) of this source, or so many that they could take half
//! of what is left of the accept queue or of the places for connections, a SYN is answered by a
//! [cookie](super::cookies): nothing is kept. The application is asked later, when the initiator has proved its
//! address, and about a connection that exists already: accepting hands it over with whatever has arrived, refusing
//! resets it, ignoring forgets it as if the proof had not come. Those who have proved themselves are offered first,
//! and find half of the accept queue free of SYNs.
//!
//! A proof that finds the accept queue full is dropped: initiators repeat it. One that finds no place for a
//! connection, or nobody who listens any more, is told so by a RESET. If there is no place because connections wait
//! that nobody has accepted for [`UNACCEPTED_MIN`], the oldest of them makes room. What is not accepted within
//! [`Config::stall_timeout`](crate::Config::stall_timeout) is reset.
//!
//! Either way the first number is the same keyed hash, so it does not matter if a SYN is repeated while the rush
//! begins or ends.

use std::sync::Arc;
use std::time::Duration;

use super::backlog::Waiting;
use super::clock::Clock;
use super::cookies::Outcome;
use super::incoming::{Offer, Request};
use super::mailbox::{Proved, Reception};
use super::routes::Route;
use super::sources::Sources;
use super::{Endpoint, Started};
use crate::proto::batch::Path;
use crate::proto::conn::{ConnIds, Connection, Hello, Syn};
use crate::stats::DropStats;
use crate::time::Instant;
use crate::wire::{Header, Mark, MarkFlags, OwnReason, Packet, SeqNr, Service};

/// Ours: how long a connection is left alone that nobody has accepted, even if its place is wanted.
const UNACCEPTED_MIN: Duration = Duration::from_secs(1);

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// It waits for a decision.
    Remember,
    /// It is answered and forgotten.
    Answer,
    /// Nobody listens.
    Refuse,
    Drop(Full),
}

/// What is full.
#[derive(Clone, Copy, Debug)]
pub(super) enum Full {
    Connections,
    Source,
    Memory,
    Queue,
}

impl Full {
    const fn count(self, dropped: &mut DropStats) {
        match self {
            Self::Connections => dropped.too_many_connections += 1,
            Self::Source => dropped.too_many_of_source += 1,
            Self::Memory => dropped.out_of_memory += 1,
            Self::Queue => dropped.backlog_full += 1,
        }
    }
}

impl Endpoint {
    pub(super) fn handle_syn(&mut self, now: Instant, path: Path, packet: &Packet<'_>) {
        let Header { conn_id: id, seq, .. } = packet.header;
        if !self.config.dialect.admits_syn(id) {
            return self.drop_counted(|dropped| dropped.malformed += 1);
        }
        self.take_call_through_hole(now, path);
        let hello = if self.config.extensions { Hello::read(packet) } else { Ok(None) };
        let Ok(mut hello) = hello else { return self.drop_counted(|dropped| dropped.malformed += 1) };
        match self.routes.get(path, id.next()) {
            Some(Route::Live(key)) => match self.repeated_syn(now, key, packet, hello) {
                Some(first) => hello = first,
                None => return,
            },
            Some(Route::Waiting(key)) => {
                if self.backlog.get(key).is_some_and(|waiting| waiting.syn.seq != seq) {
                    self.drop_counted(|dropped| dropped.id_collision += 1);
                }
                return;
            }
            None => {}
        }
        if let Some(hello) = hello
            && self.take_punch_syn(now, path, &packet.header, hello)
        {
            return;
        }
        if self.cross(now, path, &packet.header, hello) {
            return;
        }
        let service = hello.and_then(|hello| hello.service);
        match self.plan(now, path, service) {
            Plan::Remember => self.offer(now, path, &packet.header, hello),
            // Both sides have to remember what they agreed on: such a SYN waits until there is room for it.
            Plan::Answer if hello.is_some_and(|hello| hello.messages.is_some()) => {
                self.drop_counted(|dropped| dropped.backlog_full += 1);
            }
            Plan::Answer => self.answer(now, path, &packet.header, hello),
            Plan::Refuse => {
                self.drop_counted(|dropped| dropped.not_listening += 1);
                self.refuse(now, path, &packet.header, hello);
            }
            Plan::Drop(full) => self.drop_counted(|dropped| full.count(dropped)),
        }
    }

    fn plan(&self, now: Instant, path: Path, service: Option<Service>) -> Plan {
        let reception = self.shared.reception(service);
        if !reception.listening {
            return Plan::Refuse;
        }
        if let Some(full) = self.what_is_full(path, reception) {
            // Nobody is turned out for the sake of a SYN, which may be forged; for that of a proof, perhaps.
            let removable = matches!(full, Full::Connections)
                && self.shared.oldest_proved().is_some_and(|since| since + UNACCEPTED_MIN <= now);
            return if removable { Plan::Answer } else { Plan::Drop(full) };
        }
        if self.is_rush(path) { Plan::Answer } else { Plan::Remember }
    }

    /// Whether there are so many half-open connections that nothing is to be kept for one more.
    pub(super) fn is_rush(&self, path: Path) -> bool {
        let (half_open, undecided) = (self.half_open(), self.backlog.len());
        // Places that nobody has who has proved his address, or whom we called.
        let places = self.config.max_connections - (self.entries.len() - self.unconfirmed);
        half_open >= self.config.half_open
            || 2 * half_open >= places
            || 2 * undecided >= self.config.accept_queue
            || self.sources.is_half_open_full(Sources::counted(path))
    }

    /// Why there is no place for one more connection.
    pub(super) fn what_is_full(&self, path: Path, reception: Reception) -> Option<Full> {
        if self.entries.len() >= self.config.max_connections {
            Some(Full::Connections)
        } else if self.sources.is_full(Sources::counted(path), &self.config) {
            Some(Full::Source)
        } else if self.shared.gauge().refuses() {
            Some(Full::Memory)
        } else if self.backlog.len() + reception.proved >= self.config.accept_queue {
            Some(Full::Queue)
        } else {
            None
        }
    }

    fn offer(&mut self, now: Instant, path: Path, syn: &Header, hello: Option<Hello>) {
        let Header { conn_id: id, seq, window, sent_at, .. } = *syn;
        let syn = Syn { id, seq, window, sent_at, arrived: now, hello };
        let key = self.backlog.push(Waiting { path, syn });
        self.routes.insert(path, id.next(), Route::Waiting(key));
        self.sources.enter(Sources::counted(path), true);
        self.publish_sizes();
        let service = hello.and_then(|hello| hello.service);
        let first_seq = self.cookies.number(now, path, id, seq, service);
        let clock = Clock::new(self.cookies.clock(path, id, seq));
        self.shared.offer(Offer { key, request: Request { path, syn, service, first_seq, clock } });
    }

    fn answer(&mut self, now: Instant, path: Path, syn: &Header, hello: Option<Hello>) {
        if !self.answers.has_room() {
            return self.drop_counted(|dropped| dropped.backlog_full += 1);
        }
        let service = hello.and_then(|hello| hello.service);
        self.cookies.give(now, path, service);
        let number = self.cookies.number(now, path, syn.conn_id, syn.seq, service);
        let clock = self.cookies.clock(path, syn.conn_id, syn.seq);
        let window = u32::try_from(self.config.receive_buffer).unwrap_or(u32::MAX);
        self.answers.accept(path, syn, hello.map(|hello| hello.tag), number, window, clock);
        self.shared.count(|stats| stats.cookies_sent += 1);
    }

    /// Nobody wants what this SYN asks for. Whoever has asked for a service learns why.
    fn refuse(&mut self, now: Instant, path: Path, syn: &Header, hello: Option<Hello>) {
        let reason = hello.filter(|hello| hello.service.is_some());
        let mark = |hello: Hello| Mark { flags: MarkFlags::ACCEPTOR, tag: hello.tag };
        let reason = reason.map(|hello| (mark(hello), Some(OwnReason::NO_SERVICE)));
        self.reset_with(now, path, syn.conn_id, syn.seq, reason);
    }

    /// A packet for no connection of ours. It may be the one that makes the connection.
    pub(super) fn handle_stranger(&mut self, now: Instant, path: Path, packet: &Packet<'_>) {
        if self.take_probe(now, path, packet) {
            return;
        }
        let mark = packet.extensions.mark().filter(|_| self.config.extensions);
        if mark.is_some() && self.handle_migrant(now, path, packet) {
            return;
        }
        match self.cookies.check(now, path, &packet.header) {
            Outcome::Proved(seq, service) => self.handle_proof(now, path, packet, seq, service),
            Outcome::Stranger | Outcome::Spent => {
                self.drop_counted(|dropped| dropped.unknown_connection += 1);
                match mark {
                    Some(mark) => self.refuse_migrant(now, path, packet, mark),
                    None => self.reset(now, path, self.reset_id(&packet.header), packet.header.seq),
                }
            }
            // Perhaps from somebody whose first packets were lost. A RESET would end what is about to begin.
            Outcome::Unproved => {
                self.drop_counted(|dropped| dropped.unknown_connection += 1);
                self.shared.count(|stats| stats.resets_withheld += 1);
            }
        }
    }

    fn handle_proof(
        &mut self,
        now: Instant,
        path: Path,
        packet: &Packet<'_>,
        syn_seq: SeqNr,
        service: Option<Service>,
    ) {
        let reception = self.shared.reception(service);
        let header = packet.header;
        match self.what_is_full(path, reception) {
            _ if !reception.listening => self.drop_counted(|dropped| dropped.not_listening += 1),
            None => return self.create(now, path, packet, syn_seq, service),
            // It comes again, and finds room if somebody accepts, or now that room is made.
            Some(Full::Queue) => return self.drop_counted(|dropped| dropped.backlog_full += 1),
            Some(Full::Connections) if self.make_room(now) => {
                return self.drop_counted(|dropped| dropped.too_many_connections += 1);
            }
            Some(full) => self.drop_counted(|dropped| full.count(dropped)),
        }
        self.reset(now, path, self.reset_id(&header), header.seq);
    }

    fn create(
        &mut self,
        now: Instant,
        path: Path,
        packet: &Packet<'_>,
        syn_seq: SeqNr,
        service: Option<Service>,
    ) {
        let Header { conn_id, window, sent_at, ack, .. } = packet.header;
        let id = conn_id.prev();
        let syn = Syn { id, seq: syn_seq, window, sent_at, arrived: now, hello: None };
        // The number may be that of the epoch before.
        let clock = Clock::new(self.cookies.clock(path, id, syn_seq));
        let request = Request { path, syn, service, first_seq: ack.next(), clock };
        let cell = request.create(Arc::clone(&self.config), self.shared.gauge(), Connection::accept_proved);
        cell.lock().handle_packet(now, packet);
        cell.lock().weigh();
        debug_assert!(cell.lock().conn.is_confirmed(), "checked by the same rule");
        self.cookies.spend(now, path, id, syn_seq);
        let key = self.enter(&cell, ConnIds::acceptor(id), Started::ByPeer(syn_seq));
        cell.lock().enter(key);
        self.mark_ready(key);
        self.shared.count(|stats| stats.cookies_proved += 1);
        self.shared.offer_proved(Proved { offer: Offer { key, request }, cell });
        let until = now + self.config.stall_timeout;
        self.unaccepted_until.get_or_insert(until);
    }

    /// Ends the oldest connection that nobody has accepted, if it has been there for a while.
    fn make_room(&mut self, now: Instant) -> bool {
        let Some(key) = self.shared.withdraw_proved(before(now, UNACCEPTED_MIN)) else { return false };
        self.turn_away(key);
        self.shared.count(|stats| stats.evicted += 1);
        true
    }

    /// Ends connections that nobody has accepted for too long.
    pub(super) fn expire_unaccepted(&mut self, now: Instant) {
        if self.unaccepted_until.is_none_or(|until| until > now) {
            return;
        }
        let timeout = self.config.stall_timeout;
        while let Some(key) = self.shared.withdraw_proved(before(now, timeout)) {
            self.turn_away(key);
        }
        self.unaccepted_until = self.shared.oldest_proved().map(|since| since + timeout);
    }
}

fn before(now: Instant, age: Duration) -> Instant {
    let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(now.as_micros().saturating_sub(age))
}
