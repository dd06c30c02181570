//! One connection: what to do with a packet, with the passing of time, with the application's wishes.
//!
//! A [`Connection`] is a composition of parts that do not know each other: a [sending](crate::proto::send) and a
//! [receiving](crate::proto::recv) half, [congestion control](crate::proto::congestion), timers. Parts take values
//! and return outcomes; what follows from an outcome is decided in `input.rs` (a packet came), `output.rs` (what to
//! send next), `timeout.rs` (time passed) and `close.rs` (it ends). A new *decision* goes there, a new *mechanism*
//! into a part of its own.
//!
//! It reads no clock and owns no socket. After any verb with `&mut self`, drain
//! [`poll_transmit`](Connection::poll_transmit) until it returns `false`, then read
//! [`poll_timeout`](Connection::poll_timeout) and [`take_events`](Connection::take_events).

mod checks;
mod close;
mod consent;
mod crossing;
mod dialect;
mod events;
mod farewell;
mod framing;
mod honesty;
mod input;
mod messaging;
mod migration;
mod negotiation;
mod output;
mod peer;
mod state;
mod timeout;
mod timers;
mod verbs;
mod window;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use consent::Doubt;
pub use events::Events;
pub use farewell::Reason;
pub use messaging::MessageRefusal;
pub use negotiation::Hello;
pub(super) use negotiation::chain;
pub use state::{ConnIds, Syn};
pub use verbs::{ReadOutcome, WriteOutcome};

use self::checks::{Challenge, RecentFlight};
use self::consent::Consent;
use self::dialect::Beginning;
use self::farewell::Farewell;
use self::honesty::Honesty;
use self::messaging::Messaging;
use self::migration::Migration;
use self::negotiation::Negotiation;
use self::peer::Peer;
use self::state::State;
use self::timers::Timers;
use self::window::{WindowTuner, WindowUpdates};
use super::batch::Path;
use super::congestion::{self, Controller, DelayMeter, Pacer, RttEstimator};
use super::message::Framed;
use super::recv::{AckPolicy, ReceiveBuffer};
use super::send::SendBuffer;
use crate::config::Config;
use crate::error::CloseReason;
use crate::stats::StreamStats;
use crate::time::Instant;
use crate::wire::{HEADER_LEN, Kind, Packet, PathToken, SeqNr};

/// Ours: bytes of UDP payload that pass PPPoE and the common tunnels over IPv4.
const MTU_IPV4: u16 = 1400;

/// RFC 8200 §5: every IPv6 link carries 1,280 bytes, of which 48 are headers.
const MTU_IPV6: u16 = 1232;

/// Which of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one that sent the SYN.
    Initiator,
    /// The one that answered it.
    Acceptor,
}

/// Things that are to be sent once, whatever the windows say.
#[derive(Debug, Default)]
struct Due {
    syn: bool,
    syn_ack: bool,
    reset: bool,
    keepalive: bool,
    /// The segment that was kept back.
    kept_back: bool,
    /// One segment more than the windows allow: a tail probe, or a probe of a shut window.
    probe: bool,
}

/// The last time that two acknowledgements were sent instead of one.
#[derive(Debug, Default)]
struct AckPairs {
    at: Option<Instant>,
    ack: SeqNr,
    /// Which of the two was sent last when one had to do.
    second: bool,
}

/// What the application has said about itself.
#[derive(Debug, Default)]
struct Wishes {
    nodelay: bool,
    /// Nothing written so far may wait to be merged with more.
    flush: bool,
    /// Nobody reads or writes any more.
    detached: bool,
    /// Nobody reads any more.
    deaf: bool,
    /// Our direction ends after the last frame.
    finish_framed: bool,
    /// The endpoint closes, and waits for this connection.
    hurried: bool,
    /// Something was asked for that only the driver can do.
    service: bool,
    /// There is no memory for what the packet at hand carries.
    no_payload: bool,
}

/// What keeps unsent data from leaving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Blocked {
    #[default]
    No,
    /// The congestion window is full.
    Congestion,
    /// The pacer has set a timer.
    Pacer,
    /// The peer's receive window, or the limit of packets in flight.
    Peer,
}

/// One uTP connection.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    path: Path,
    ids: ConnIds,
    role: Role,
    state: State,
    /// Number of the SYN: ours as initiator, the peer's as acceptor.
    syn_seq: SeqNr,
    /// Number of our first data packet, which the SYN-ACK carries too.
    first_seq: SeqNr,
    /// Of the peer's stream.
    beginning: Beginning,
    mtu: u16,

    send: SendBuffer,
    recv: ReceiveBuffer,
    acks: AckPolicy,
    updates: WindowUpdates,
    tuner: WindowTuner,
    window_may_grow: bool,
    peer: Peer,
    flight: RecentFlight,
    challenge: Option<Challenge>,
    honesty: Honesty,
    negotiation: Negotiation,
    consent: Consent,
    migration: Migration,
    farewell: Farewell,
    /// The handshake was over at some time.
    was_open: bool,

    rtt: RttEstimator,
    delay: DelayMeter,
    congestion: Box<dyn Controller>,
    pacer: Pacer,
    /// What the pacer lets go in the batch at hand, bytes.
    allowance: u32,
    blocked: Blocked,
    window_limited: bool,
    probed: bool,
    persist_tries: u8,
    /// Since when the peer's window has been shut although we have something for it. That it opens does not end that,
    /// only that something arrives there: a peer that plays with its window gains nothing.
    stalled_since: Option<Instant>,

    /// Instead of a stream.
    messaging: Option<Box<Messaging>>,
    /// Messages in the stream, for a peer that knows no others.
    framed: Option<Box<Framed>>,

    timers: Timers,
    due: Due,
    /// The number for the second of two acknowledgements, once the first is out.
    second_ack: Option<SeqNr>,
    pairs: AckPairs,
    wishes: Wishes,
    events: Events,
    close_reason: Option<CloseReason>,
    last_sent: Instant,
    last_data_sent: Instant,
    last_data_heard: Instant,
    syn_sent_at: Instant,
    /// How often the third leg of the handshake was sent for its own sake.
    proofs: u8,
    counters: StreamStats,
}

impl Connection {
    /// A connection that we start towards `path.peer`. Nothing happens before [`start`](Self::start).
    #[must_use]
    pub fn connect(config: Arc<Config>, path: Path) -> Self {
        Self::new(config, path, Role::Initiator, Instant::ZERO)
    }

    /// Puts the connection on the wire: a SYN is due. `first_seq` should be unpredictable (trust: a blind attacker
    /// must guess it).
    pub fn start(&mut self, now: Instant, path: Path, ids: ConnIds, first_seq: SeqNr) {
        debug_assert_eq!(self.state, State::Idle);
        self.path = path;
        self.ids = ids;
        self.syn_seq = first_seq;
        self.first_seq = first_seq.next();
        self.send.start(self.first_seq);
        self.state = State::SynSent { tries: 0, deadline: now + self.config.connect_timeout };
        self.peer = Peer::new(now);
        self.last_sent = now;
        self.due.syn = true;
    }

    /// A connection that the sender of `syn` started: the SYN-ACK is due.
    #[must_use]
    pub fn accept(config: Arc<Config>, path: Path, syn: &Syn, first_seq: SeqNr, now: Instant) -> Self {
        let mut this = Self::new(config, path, Role::Acceptor, now);
        this.ids = ConnIds::acceptor(syn.id);
        this.syn_seq = syn.seq;
        this.first_seq = first_seq;
        this.send.start(first_seq);
        this.answer(now, syn);
        this
    }

    /// What a SYN that is to be answered says.
    fn answer(&mut self, now: Instant, syn: &Syn) {
        self.recv.start(syn.seq);
        self.peer.heard(syn.arrived, syn.sent_at);
        // libtorrent sends 0 in a SYN, which means nothing; the first real packet tells.
        let window = if syn.window == 0 { u32::from(self.mtu) } else { syn.window };
        self.peer.advertise(syn.sent_at, window);
        self.state = State::SynReceived { deadline: now + self.config.connect_timeout };
        self.negotiation.begun(syn.hello);
        self.due.syn_ack = true;
    }

    /// Chance from outside, unknown to the peer, who could otherwise know which packets are kept back from it to see
    /// whether it tells the truth. Without it those are predictable, and timeouts are as long as everybody's.
    pub fn seed(&mut self, seed: u64) {
        self.honesty = Honesty::new(seed);
        self.consent.seed(seed.rotate_left(32));
        self.rtt.spread(seed.reverse_bits());
    }

    /// A connection like that, whose initiator has had our answer already: the next packet has to prove it.
    #[must_use]
    pub fn accept_proved(config: Arc<Config>, path: Path, syn: &Syn, first_seq: SeqNr, now: Instant) -> Self {
        let mut this = Self::accept(config, path, syn, first_seq, now);
        this.due.syn_ack = false;
        if this.config.extensions {
            this.negotiation.forgotten();
        }
        this
    }

    /// What the SYN says beyond BEP 29; nothing, unless told so before [`start`](Self::start).
    pub fn introduce(&mut self, hello: Hello) {
        debug_assert_eq!(self.state, State::Idle);
        self.negotiation.offer(Hello { messages: self.agreement(), ..hello });
    }

    /// If the SYN was not answered yet, it is due again: somebody knows that the way is open now.
    pub fn repeat_syn(&mut self) {
        if matches!(self.state, State::SynSent { .. }) {
            self.due.syn = true;
        }
    }

    /// From now on the peer may name this connection so if its address changes.
    pub fn issue_path_token(&mut self, token: PathToken) {
        self.negotiation.issue(token);
    }

    fn new(config: Arc<Config>, path: Path, role: Role, now: Instant) -> Self {
        let default_mtu = if path.peer.is_ipv4() { MTU_IPV4 } else { MTU_IPV6 };
        let mtu = config.mtu.unwrap_or(default_mtu);
        let payload = u32::from(mtu) - HEADER_LEN as u32;
        Self {
            path,
            role,
            mtu,
            ids: ConnIds::default(),
            state: State::Idle,
            syn_seq: SeqNr::new(0),
            first_seq: SeqNr::new(0),
            beginning: Beginning::default(),
            send: SendBuffer::new(config.send_buffer),
            recv: ReceiveBuffer::new(config.receive_buffer),
            acks: AckPolicy::new(config.ack_delay),
            updates: WindowUpdates::default(),
            tuner: WindowTuner::default(),
            window_may_grow: true,
            peer: Peer::new(now),
            flight: RecentFlight::default(),
            challenge: None,
            honesty: Honesty::new(0),
            negotiation: Negotiation::default(),
            consent: Consent::default(),
            migration: Migration::default(),
            farewell: Farewell::default(),
            was_open: false,
            rtt: RttEstimator::new(config.rto_min),
            delay: DelayMeter::new(config.target_delay),
            congestion: congestion::build(&config, payload),
            pacer: Pacer::new(payload),
            allowance: 0,
            blocked: Blocked::No,
            window_limited: false,
            probed: false,
            persist_tries: 0,
            stalled_since: None,
            messaging: None,
            framed: None,
            timers: Timers::default(),
            due: Due::default(),
            second_ack: None,
            pairs: AckPairs::default(),
            wishes: Wishes { nodelay: config.nodelay, ..Wishes::default() },
            events: Events::NONE,
            close_reason: None,
            last_sent: now,
            last_data_sent: now,
            last_data_heard: now,
            syn_sent_at: now,
            proofs: 0,
            counters: StreamStats::default(),
            config,
        }
    }

    /// The earliest moment at which [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Idle | State::Closed => return None,
            State::SynSent { deadline, .. } | State::SynReceived { deadline } => Some(deadline),
            State::TimeWait { until, .. } => Some(until),
            State::Open => self.limit_deadline(),
        };
        let open = self.state.is_open();
        let acks = self.acks.deadline().filter(|_| open);
        let updates = self.updates.deadline().filter(|_| open);
        let messages = self.messages_deadline().filter(|_| open);
        [state, acks, updates, messages, self.timers.next()].into_iter().flatten().min()
    }

    /// What has happened since the last call that somebody may be waiting for.
    pub fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.events)
    }

    /// Where its packets come from and go to.
    #[must_use]
    pub const fn path(&self) -> Path {
        self.path
    }

    /// Its two ids.
    #[must_use]
    pub const fn ids(&self) -> ConnIds {
        self.ids
    }

    /// Whether we sent the SYN.
    #[must_use]
    pub const fn is_initiator(&self) -> bool {
        matches!(self.role, Role::Initiator)
    }

    /// Which end of it we are.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether the peer has shown that it is of this crate's making, and reads what others skip.
    #[must_use]
    pub const fn peer_is_ebbtide(&self) -> bool {
        self.negotiation.is_agreed()
    }

    /// Where the peer last saw our packets come from, if it has told.
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.negotiation.observed()
    }

    /// Whether the peer has proved that it hears us: the SYN-ACK came, or a packet that acknowledges ours.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Open | State::TimeWait { .. })
    }

    /// Whether it is over and silent, so that tables may forget it. What was received can still be read.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        matches!(self.state, State::Closed) && !self.due.reset
    }

    /// Why it ended, once it has.
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// Bytes of memory that its buffers take now, as the allocator counts them: what was written, what was received,
    /// and what is known about packets. The connection itself and its controller are not in it.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.send.memory_bytes() + self.recv.memory_bytes() + self.message_memory()
    }

    /// Whether the receive window may grow from now on. It may at the beginning.
    pub const fn let_window_grow(&mut self, may: bool) {
        self.window_may_grow = may;
    }

    /// Bytes by which taking in this packet would make the buffers larger, about.
    #[must_use]
    pub fn growth_for(&self, packet: &Packet<'_>) -> usize {
        match packet.header.kind {
            // A copy of the packet, and what it takes to keep its messages.
            Kind::Data if self.messaging.is_some() => 2 * packet.payload.len(),
            Kind::Data | Kind::Fin => self.recv.growth_for(packet.header.seq, packet.payload),
            _ => 0,
        }
    }

    /// Bytes by which writing so many more would make the buffers larger.
    #[must_use]
    pub fn growth_for_write(&self, bytes: usize) -> usize {
        self.send.growth_for(bytes)
    }

    /// Bytes that can be written into the memory that it has.
    #[must_use]
    pub const fn spare_for_write(&self) -> usize {
        self.send.spare_bytes()
    }

    /// Whether anything written has not been acknowledged.
    #[must_use]
    pub fn has_unacked(&self) -> bool {
        self.send.queued_bytes() > 0
    }

    /// Numbers about this connection.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        let congestion = self.congestion.snapshot();
        StreamStats {
            rtt: self.rtt.smoothed(),
            rtt_min: self.rtt.min(),
            rtt_variation: self.rtt.variation(),
            rto: self.rtt.rto(),
            delay_forward: self.delay.forward(),
            delay_backward: self.delay.backward(),
            delay_base: self.delay.base(),
            queue_delay: self.delay.queue_delay(&self.rtt),
            cwnd: congestion.window,
            ssthresh: congestion.ssthresh,
            bytes_in_flight: self.send.bytes_in_flight(),
            packets_in_flight: self.send.packets_in_flight(),
            mtu: self.mtu,
            window_local: self.window(),
            window_peer: self.peer.window(),
            ..self.counters
        }
    }

    /// Whether everything written has been acknowledged.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn has_nothing_to_send(&self) -> bool {
        self.send.outstanding() == 0 && self.send.unsent_bytes() == 0
    }

    /// What waits although no timer is armed that would see to it: a mistake of ours, once there is nothing left to
    /// transmit.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn waits_in_vain(&self) -> Option<&'static str> {
        let Timers { syn, retransmit, probe, loss, pace, persist, consent, .. } = self.timers;
        let sends_later = [retransmit, probe, loss, pace, persist, consent].iter().any(Option::is_some);
        match self.state {
            State::SynSent { .. } if syn.is_none() => Some("a SYN without a timer"),
            State::Open if !sends_later && self.send.outstanding() > 0 => Some("packets without a timer"),
            State::Open if !sends_later && self.send.unsent_bytes() > 0 => {
                Some("unsent bytes without a timer")
            }
            State::Open if !sends_later && self.send.is_finishing() && !self.send.is_all_acked() => {
                Some("an end without a timer")
            }
            _ => None,
        }
    }

    /// The peer's address, IPv4 as IPv4.
    fn peer_addr(&self) -> SocketAddr {
        SocketAddr::new(self.path.peer.ip().to_canonical(), self.path.peer.port())
    }

    /// Largest payload that we put into a packet.
    const fn payload_max(&self) -> u16 {
        self.mtu - HEADER_LEN as u16
    }

    /// How long to remember a finished connection: two timeouts, so that a FIN repeated because our acknowledgement was
    /// lost still meets somebody who answers. Twice that where packets do get lost, or the answer to a third or fourth
    /// repetition is a RESET, and an end that was reached looks like one that was not.
    fn time_wait(&self) -> Duration {
        /// Ours: timeouts, and the bounds of their time.
        const TIME_WAIT: (u32, Duration, Duration) = (2, Duration::from_secs(1), Duration::from_secs(4));
        /// Ours: twice the timeouts, and time for four of the usual ones.
        const TIME_WAIT_LOSSY: (u32, Duration, Duration) =
            (4, Duration::from_secs(4), Duration::from_secs(8));
        let seen = &self.counters;
        let lossy = seen.packets_lost > 0 || seen.packets_duplicate > 0 || seen.timeouts > 0;
        let (timeouts, least, most) = if lossy { TIME_WAIT_LOSSY } else { TIME_WAIT };
        (timeouts * self.rtt.rto()).clamp(least, most)
    }
}
