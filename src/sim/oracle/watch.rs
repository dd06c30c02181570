//! Who watches: takes what the world shows, hands it to the oracles, and keeps the first thing that is wrong.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use super::super::flow::{FlowId, Side};
use super::super::host::HostId;
use super::super::program::Report;
use super::ledger::Ledger;
use super::repeats::{self, Repeats};
use super::stimuli::{Chains, Stimuli};
use super::streams::Streams;
use super::tables::Sizes;
use super::{Oracle, Verdict, violated};
use crate::config::Config;
use crate::proto::endpoint::{Endpoint, Handle};
use crate::wire::{ConnId, Dialect, Kind, Packet};

/// All oracles of a world, and what they have found.
#[derive(Debug, Default)]
pub(in crate::sim) struct Oracles {
    /// What everybody speaks.
    dialect: Dialect,
    found: Option<(Oracle, String)>,
    streams: Streams,
    pairs: Vec<Pair>,
    /// Never iterated.
    by_ends: HashMap<(HostId, SocketAddr), usize>,
    /// The pair that was asked for last.
    latest: usize,
    /// Pairs between which something happened in this turn.
    touched: Vec<usize>,
    chains: Chains,
    /// Not only what has arrived is a cause of what is sent in this turn.
    busy: bool,
    /// Everything has to be over by then, nanoseconds.
    due: Option<u64>,
    /// Hosts without an endpoint: nobody there has to tell the truth.
    raw: Vec<HostId>,
    /// Those of them that are watched like any other.
    overseen: Vec<HostId>,
    /// Hosts that have reason to repeat what they have just sent, and since when, nanoseconds.
    excused: Vec<(HostId, u64)>,
    /// Hosts that cannot tell a round trip: their clock has stood still, or stamps packets with another time than the one
    /// by which it measures delays.
    timeless: Vec<HostId>,
    /// The most connections that each host had since it last had none.
    peaks: Vec<usize>,
}

/// One host and one address that it talks to.
#[derive(Debug)]
struct Pair {
    host: HostId,
    peer: SocketAddr,
    touched: bool,
    /// The same pair seen from the other end, once it is known.
    reverse: Option<usize>,
    /// The shortest round trip so far, nanoseconds.
    least: u64,
    ledger: Ledger,
    stimuli: Stimuli,
    /// A SYN has come from there since this host sent its last one: the way is open, and that may be said once more.
    syn_came: bool,
    /// By the id on which the host sends; an id of the peer's is found by its neighbours. Never iterated.
    repeats: HashMap<ConnId, Repeats>,
}

/// What made a host take a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Turn {
    /// Datagrams came, and no timer was due.
    Arrivals,
    /// A timer, an alarm, a program, the test.
    Other,
}

impl Oracles {
    /// What was found first.
    pub(in crate::sim) const fn found(&self) -> Option<&(Oracle, String)> {
        self.found.as_ref()
    }

    /// A host speaks this; if it is not BEP 29, so do all that it talks to.
    pub(in crate::sim) fn note_dialect(&mut self, dialect: Dialect) {
        if dialect != Dialect::Bep29 {
            self.dialect = dialect;
        }
    }

    /// Something that an oracle outside this module has seen.
    pub(in crate::sim) fn report(&mut self, oracle: Oracle, text: impl fmt::Display) {
        self.take(violated(oracle, text));
    }

    /// Everything has to be over by then.
    pub(in crate::sim) const fn set_due(&mut self, due: u64) {
        self.due = Some(due);
    }

    /// Whether the time given for everything is up.
    pub(in crate::sim) fn is_overdue(&self, now: u64) -> bool {
        self.due.is_some_and(|due| due < now)
    }

    /// As far as this host knows, whatever it has sent was sent long ago: its clock has jumped, or its socket was full
    /// for so long.
    pub(in crate::sim) fn excuse_repeats(&mut self, now: u64, host: HostId) {
        self.excused.retain(|&(who, _)| who != host);
        self.excused.push((host, now));
    }

    /// What this host takes for a round trip may be less than one from now on.
    pub(in crate::sim) fn note_timeless(&mut self, host: HostId) {
        if !self.timeless.contains(&host) {
            self.timeless.push(host);
        }
    }

    /// A program of this host has asked for a connection, and will receive on this id.
    pub(in crate::sim) fn asked(&mut self, host: HostId, peer: SocketAddr, id: ConnId) {
        let index = self.pair(host, peer);
        self.pairs[index].ledger.asked(id);
    }

    /// This host has no endpoint.
    pub(in crate::sim) fn note_raw(&mut self, host: HostId) {
        self.raw.push(host);
    }

    /// This host without an endpoint has to keep the promises that can be seen on the wire.
    pub(in crate::sim) fn oversee(&mut self, host: HostId) {
        self.overseen.push(host);
    }

    /// Whether what that raw host sends is to be watched.
    pub(in crate::sim) fn oversees(&self, host: HostId) -> bool {
        self.overseen.contains(&host)
    }

    /// A host hands a datagram to the network, which takes at least `least` nanoseconds to bring an answer.
    /// `reverse` is the same way seen from its other end, where that can be told.
    pub(in crate::sim) fn sent(
        &mut self,
        now: u64,
        (host, peer): (HostId, SocketAddr),
        reverse: Option<(HostId, SocketAddr)>,
        datagram: &[u8],
        least: u64,
    ) {
        let packet = self.dialect.decode(datagram).ok();
        let known = reverse.map(|reverse| self.pair(reverse.0, reverse.1));
        let index = self.touch(host, peer);
        let other = known.or(self.pairs[index].reverse);
        let far = other.map(|other| self.pairs[other].host);
        let pair = &mut self.pairs[index];
        pair.reverse = other;
        pair.least = pair.least.min(least);
        let part = Part::of(datagram, packet.as_ref());
        let mut wrong = match part {
            Part::Question => Ok(()),
            Part::Answer => pair.ledger.answered_probe(datagram.len()),
            Part::Other | Part::Call => pair.ledger.sent(datagram.len(), packet.as_ref()),
        }
        .map_err(|text| (Oracle::Amplification, text));
        if let Some(packet) = &packet {
            match packet.header.kind {
                // A question, whatever it goes with.
                Kind::State if part == Part::Question => {}
                // Whoever punches has measured the round trip, and repeats by that.
                Kind::Syn if part == Part::Call => {}
                Kind::State | Kind::Reset => {
                    pair.stimuli.answered(self.dialect, &packet.header, datagram);
                }
                _ => {
                    let least = pair.least;
                    let repeats = pair.repeats.entry(sending_id(packet)).or_default();
                    let again = repeats.sent(now, packet, least).map_err(|text| (Oracle::Repeats, text));
                    let crossed = packet.header.kind == Kind::Syn && std::mem::take(&mut pair.syn_came);
                    wrong = wrong.and(if crossed { Ok(()) } else { again });
                }
            }
        }
        // Who is told lies about what has arrived may give up what has. Bytes to and from a raw host are never compared,
        // which is no lie of its peer's.
        let flipped = !self.raw.contains(&host) && far.is_some_and(|far| self.streams.is_void([host, far]));
        let lies = flipped || far.is_some_and(|far| self.raw.contains(&far));
        let excused = || self.excused.iter().any(|&(who, at)| who == host && now <= at + repeats::FLOOR_MAX);
        let timeless = || self.timeless.contains(&host);
        if matches!(wrong, Err((Oracle::Repeats, _))) && (lies || excused() || timeless()) {
            return;
        }
        self.take(wrong.map_err(|(oracle, text)| (oracle, format!("{host} to {peer}: {text}"))));
    }

    /// Two hosts with routers between them: how each calls the other.
    pub(in crate::sim) fn met(&mut self, here: (HostId, SocketAddr), there: (HostId, SocketAddr)) {
        let [here, there] = [here, there].map(|(host, peer)| self.pair(host, peer));
        self.pairs[here].reverse = Some(there);
        self.pairs[there].reverse = Some(here);
    }

    /// A datagram has reached a host.
    pub(in crate::sim) fn arrived(&mut self, host: HostId, peer: SocketAddr, datagram: &[u8]) {
        let packet = self.dialect.decode(datagram).ok();
        let index = self.touch(host, peer);
        let pair = &mut self.pairs[index];
        pair.ledger.arrived(datagram.len(), packet.as_ref());
        let bare = packet.as_ref().is_some_and(|packet| is_bare(packet.header.kind));
        pair.stimuli.arrived(bare.then(|| self.chains.arrived(datagram)));
        let Some(packet) = packet else { return };
        let id = packet.header.conn_id;
        pair.stimuli.heard(id);
        if packet.header.kind == Kind::Syn {
            pair.syn_came = true;
            // Whatever was sent on that id before was sent on another connection.
            pair.repeats.remove(&id);
            return;
        }
        for own in [id.next(), id.prev()] {
            if let Some(repeats) = pair.repeats.get_mut(&own) {
                repeats.arrived(&packet);
            }
        }
    }

    /// A timer was due, or an incoming connection was decided about.
    pub(in crate::sim) const fn acted(&mut self) {
        self.busy = true;
    }

    /// A program has made a step.
    pub(in crate::sim) fn stepped(&mut self, flow: FlowId, side: Side, hosts: [HostId; 2], report: &Report) {
        self.busy = true;
        let verdict = self.streams.stepped(flow, side, hosts, report);
        // Nobody there says what was written.
        if !hosts.iter().any(|host| self.raw.contains(host)) {
            self.take(verdict);
        }
    }

    /// A datagram with a wrong bit goes from one host to the other, and nobody will notice: nothing can be said about
    /// the bytes between them any more.
    pub(in crate::sim) fn falsified(&mut self, hosts: [HostId; 2]) {
        self.streams.void(hosts);
    }

    /// A host has done what there was to do at this moment.
    pub(in crate::sim) fn turned(&mut self, turn: Turn) {
        let pure = turn == Turn::Arrivals && !self.busy;
        self.busy = false;
        let mut touched = std::mem::take(&mut self.touched);
        if pure {
            self.lend(&touched);
        }
        for index in touched.drain(..) {
            let pair = &mut self.pairs[index];
            pair.touched = false;
            let (host, peer) = (pair.host, pair.peer);
            let outcome = pair.stimuli.turned(pure, &mut self.chains);
            self.take(outcome.map_err(|text| (Oracle::PingPong, format!("{host} to {peer}: {text}"))));
        }
        self.touched = touched;
    }

    /// Connections that have moved in this turn, or a moment ago, answer elsewhere.
    fn lend(&mut self, touched: &[usize]) {
        for &index in touched {
            if !self.pairs[index].stimuli.is_excessive() {
                continue;
            }
            let host = self.pairs[index].host;
            let mut stimuli = std::mem::take(&mut self.pairs[index].stimuli);
            for &other in touched.iter().filter(|&&other| other != index) {
                if self.pairs[other].host == host {
                    stimuli.borrow(&mut self.pairs[other].stimuli);
                }
            }
            self.pairs[index].stimuli = stimuli;
        }
    }

    /// What the host holds after its turn; `waiting` is one of its connections.
    pub(in crate::sim) fn look(
        &mut self,
        host: HostId,
        endpoint: &Endpoint,
        config: &Config,
        waiting: Option<&Handle>,
    ) {
        let sizes = Sizes::of(endpoint);
        if host.get() >= self.peaks.len() {
            self.peaks.resize(host.get() + 1, 0);
        }
        let peak = &mut self.peaks[host.get()];
        *peak = if sizes.connections == 0 { 0 } else { sizes.connections.max(*peak) };
        let verdict = sizes.check(*peak, config);
        self.take(verdict.map_err(|(oracle, text)| (oracle, format!("{host}: {text}"))));
        if let Some(what) = waiting.and_then(Handle::waits_in_vain) {
            self.report(Oracle::Progress, format_args!("{host}: {what}"));
        }
    }

    fn take(&mut self, verdict: Verdict) {
        if let Err(wrong) = verdict {
            self.found.get_or_insert(wrong);
        }
    }

    fn touch(&mut self, host: HostId, peer: SocketAddr) -> usize {
        let index = self.pair(host, peer);
        if !std::mem::replace(&mut self.pairs[index].touched, true) {
            self.touched.push(index);
        }
        index
    }

    fn pair(&mut self, host: HostId, peer: SocketAddr) -> usize {
        let is_it = |pair: &Pair| pair.host == host && pair.peer == peer;
        let reverse = self.pairs.get(self.latest).and_then(|pair| pair.reverse);
        for near in [Some(self.latest), reverse].into_iter().flatten() {
            if self.pairs.get(near).is_some_and(is_it) {
                self.latest = near;
                return near;
            }
        }
        let pairs = &mut self.pairs;
        self.latest = *self.by_ends.entry((host, peer)).or_insert_with(|| {
            pairs.push(Pair::new(host, peer));
            pairs.len() - 1
        });
        self.latest
    }
}

impl Pair {
    fn new(host: HostId, peer: SocketAddr) -> Self {
        Self {
            host,
            peer,
            touched: false,
            reverse: None,
            least: u64::MAX,
            ledger: Ledger::default(),
            stimuli: Stimuli::default(),
            syn_came: false,
            repeats: HashMap::new(),
        }
    }
}

/// The id on which the sender of this packet sends: a SYN carries the one on which it receives.
fn sending_id(packet: &Packet<'_>) -> ConnId {
    match packet.header.kind {
        Kind::Syn => packet.header.conn_id.next(),
        _ => packet.header.conn_id,
    }
}

/// What a datagram is to somebody who punches, or looks for its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The host speaks of its own accord, and answers nobody: what an application says to its own peers, a question to a
    /// STUN server, or one to somebody who may be the peer of a punch. How much of that there may be is bounded elsewhere.
    Question,
    /// The answer to the question of a peer of a punch.
    Answer,
    /// The SYN of a punch.
    Call,
    Other,
}

impl Part {
    fn of(datagram: &[u8], packet: Option<&Packet<'_>>) -> Self {
        let Some(packet) = packet else {
            let answers_stun = datagram.first() == Some(&1) && datagram.get(4..8) == Some(&STUN_COOKIE);
            return if answers_stun { Self::Other } else { Self::Question };
        };
        let own = packet.extensions.own_block().ok().flatten().unwrap_or_default();
        match (packet.header.kind, own.token, own.txn_echo) {
            (Kind::Syn, Some(_), _) => Self::Call,
            (Kind::State, Some(_), Some(_)) => Self::Answer,
            (Kind::State, Some(_), None) => Self::Question,
            _ => Self::Other,
        }
    }
}

/// RFC 8489, section 5.
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const fn is_bare(kind: Kind) -> bool {
    matches!(kind, Kind::State | Kind::Reset)
}
