//! A connection whose peer comes from another address, or who does so itself.
//!
//! ```text
//!   we have moved, or a NAT has:  the peer does not know us: RESET without our tag, or silence
//!                                 ─▶ question that names the connection (path token) ─▶
//!                                 ◀─ challenge, to where that came from
//!                                 ─▶ response ─▶  the peer moves, and both measure the path anew
//! ```
//!
//! A side that only listens to what flows towards it cannot notice that nothing comes any more for want of a way, so it
//! asks after a while. Where a challenge goes and what a response is worth, the endpoint decides.
//!
//! Where no question arrives, because both are behind NATs that let in only what was asked for, somebody else has to bring
//! the two together again; then the connection takes the way that was found.

use std::time::Duration;

use super::state::State;
use super::{Connection, Path};
use crate::error::CloseReason;
use crate::proto::congestion::{self, DelayMeter, Pacer, RttEstimator};
use crate::time::Instant;
use crate::wire::{
    ExtensionsBuf, HEADER_LEN, Header, Kind, MarkFlags, Own, Packet, PathToken, Timestamp, Txn,
};

/// Ours: pauses between questions by which a connection looks for its peer; the first, and how often they double.
const SEARCH_PAUSE: (Duration, u32) = (Duration::from_millis(200), 4);

/// Ours: questions in one search, twelve seconds or so.
const SEARCH_MAX: u8 = 7;

/// Ours: after so many, 1.4 seconds from the first, it is not to be found by asking, most likely.
const SEARCH_LONG: u8 = 3;

/// Ours: so much has to have come within a pause, and then nothing, for a receiver to ask.
const FLOW_MIN: u64 = 16 << 10;

/// Ours: for how long nothing comes before a receiver asks; a stream that goes on is interrupted for three seconds at most.
const FLOW_PAUSE: Duration = Duration::from_secs(1);

/// How the search for the peer is going, and what is to be said to it.
#[derive(Debug, Default)]
pub(super) struct Migration {
    /// Questions asked in this search.
    tries: u8,
    /// Somebody has said that there is no such connection.
    reset: bool,
    /// Several questions were asked, and nothing was heard since.
    lost: bool,
    /// The challenge that is to be answered, and the last one that was.
    respond: Option<u64>,
    responded: Option<u64>,
    /// What had been received when it was last looked at, and whether it was much.
    received: u64,
    flows: bool,
}

impl Connection {
    /// By which the peer may name this connection from another address.
    #[must_use]
    pub fn issued_token(&self) -> Option<PathToken> {
        self.negotiation.issued()
    }

    fn may_search(&self) -> bool {
        let may = self.config.migration && self.state.is_open() && self.peer_is_ebbtide();
        may && self.negotiation.granted().is_some()
    }

    /// What the two ends know by which they name each other, the same on both sides: it tells them from others who look
    /// for a way to each other. None if either would not follow.
    #[must_use]
    pub fn pair_secret(&self) -> Option<u64> {
        let (issued, granted) = (self.negotiation.issued()?, self.negotiation.granted()?);
        self.may_search().then_some(issued.get() ^ granted.get())
    }

    /// Whether the peer is looked for, and has not answered several questions.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.migration.lost
    }

    /// Whether a RESET that does not name the tag may come from somebody who only does not know where we are. If so,
    /// the search for the peer begins, which ends with a RESET that does, at the latest.
    pub(super) fn doubts_reset(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        let over = self.recv.is_finished() && self.send.only_fin_outstanding();
        if over || packet.extensions.mark().is_some() || !self.may_search() {
            return false;
        }
        self.migration.reset = true;
        self.search(now);
        true
    }

    /// Looks for the peer, unless that has begun.
    pub(super) fn search(&mut self, now: Instant) {
        if self.timers.search.is_none() && self.may_search() {
            self.migration.tries = 0;
            self.on_search(now);
        }
    }

    /// Asks once more.
    pub(super) fn on_search(&mut self, now: Instant) {
        self.migration.lost |= self.migration.tries >= SEARCH_LONG;
        if self.migration.tries >= SEARCH_MAX {
            if std::mem::take(&mut self.migration.reset) {
                self.close(CloseReason::Reset);
            }
            return;
        }
        let (first, doubles) = SEARCH_PAUSE;
        self.consent.ask = true;
        self.timers.search = Some(now + first * (1 << u32::from(self.migration.tries).min(doubles)));
        self.migration.tries += 1;
    }

    /// The peer has been heard, if it was looked for.
    pub(super) fn on_found(&mut self) {
        self.timers.search = None;
        (self.migration.reset, self.migration.lost) = (false, false);
    }

    /// Data comes: it will be missed when it does not any more.
    pub(super) fn expect_more(&mut self, now: Instant) {
        if self.timers.flow.is_none() && self.may_search() {
            self.migration.received = self.counters.bytes_received;
            self.timers.flow = Some(now + FLOW_PAUSE);
        }
    }

    /// Has more come?
    pub(super) fn on_flow(&mut self, now: Instant) {
        let silence = now.since(self.last_data_heard);
        let came = self.counters.bytes_received - self.migration.received;
        let flows = came >= FLOW_MIN;
        if silence >= FLOW_PAUSE {
            if (flows || self.migration.flows) && !self.recv.is_finished() {
                self.search(now);
            }
            self.migration.flows = false;
        } else {
            self.migration.flows = flows;
            self.migration.received = self.counters.bytes_received;
            self.timers.flow = Some(self.last_data_heard + FLOW_PAUSE);
        }
    }

    /// What a packet of the peer's says about paths.
    pub(super) fn hear_path(&mut self, now: Instant, own: &Own<'_>) {
        if let Some(challenge) = own.path_challenge {
            self.migration.respond = Some(challenge);
            if self.migration.responded != Some(challenge) {
                self.restart_path(now);
            }
            self.migration.responded = Some(challenge);
        }
    }

    /// The response that is due.
    pub(super) const fn response_due(&self) -> Option<u64> {
        self.migration.respond
    }

    pub(super) const fn on_responded(&mut self) {
        self.migration.respond = None;
    }

    /// A response, to be sent. It is a question besides, so that the answer tells from where it came.
    pub(super) fn response(&self, challenge: u64) -> Option<ExtensionsBuf> {
        let path_token = self.negotiation.granted();
        let txn = Some(Txn::new(challenge));
        let own = Own { path_response: Some(challenge), path_token, txn, ..Own::default() };
        self.negotiation.for_control(self.role, MarkFlags::PING, &own)
    }

    /// Whether a packet from an unknown address that names this connection may come from its peer.
    #[must_use]
    pub fn admits_migrant(&self, packet: &Packet<'_>) -> bool {
        self.config.migration
            && self.state.is_open()
            && self.peer_is_ebbtide()
            && packet.header.kind == Kind::State
            && packet.extensions.mark().is_some()
            && self.is_plausible(packet)
    }

    /// A packet that asks whoever receives at the address from which the peer seems to come to repeat `challenge`. Shorter
    /// than any that names the connection.
    #[must_use]
    pub fn challenge_packet(&self, now: Instant, challenge: u64) -> Option<Vec<u8>> {
        let own = Own { path_challenge: Some(challenge), ..Own::default() };
        let chain = self.negotiation.for_control(self.role, MarkFlags::PING, &own)?;
        let header = Header {
            kind: Kind::State,
            conn_id: self.ids.send,
            sent_at: Timestamp::new(now.stamp().get().max(1)),
            delay: self.peer.reply,
            window: self.recv.window(),
            seq: self.send.next_seq(),
            ack: self.recv.cumulative(),
        };
        let mut bytes = Vec::with_capacity(HEADER_LEN + chain.encoded_len());
        Packet { header, extensions: chain.as_extensions(), payload: &[] }.encode(&mut bytes);
        Some(bytes)
    }

    /// The peer has proved that it is there now.
    pub fn migrate(&mut self, now: Instant, path: Path) {
        tracing::debug!(ids = ?self.ids, from = %self.path.peer, to = %path.peer, "migrated");
        self.path = path;
        self.counters.migrations += 1;
        self.restart_path(now);
    }

    /// A way has been found on which both reach each other. It is taken from now on, and told from where we come.
    pub fn take_way(&mut self, now: Instant, path: Path) {
        self.migrate(now, path);
        self.on_found();
        self.consent.ask = true;
    }

    /// What was learned about the old path says nothing about this one.
    fn restart_path(&mut self, now: Instant) {
        if !matches!(self.state, State::Open) {
            return;
        }
        let settled = self.rtt.smoothed().map_or_else(|| self.rtt.rto(), |smoothed| 2 * smoothed);
        let payload = u32::from(self.payload_max());
        self.congestion = congestion::build(&self.config, payload);
        self.rtt = RttEstimator::new(self.config.rto_min);
        self.delay = DelayMeter::new(self.config.target_delay);
        self.pacer = Pacer::new(payload);
        self.timers.pace = None;
        self.timers.probe = None;
        self.timers.loss = None;
        if self.send.outstanding() > 0 {
            // What is under way has had its time by then.
            let newest = self.send.newest_sent_at().unwrap_or(now);
            self.timers.retransmit = Some((newest + settled).max(now));
        }
    }
}
