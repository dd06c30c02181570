//! What a session knows: packets on their way out until the other end has them, packets that came, and with whom.
//!
//! Pure: no connection, no task, no time. A connection is a *generation*: it greets, hears a greeting, and from then
//! on frames go both ways. What an old generation says is not listened to any more.
//!
//! A packet counts as received when it is in the queue for the application, so both ends agree on what the next
//! connection has to carry: everything after the last number that the other end names in its greeting.

use std::collections::VecDeque;

use super::SessionConfig;
use super::error::{ProtocolError, SendError, SessionError};
use super::frame::{Frame, Hello, SessionId};
use crate::api::packet::Packet;

/// Which connection of a session, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Generation(u64);

/// How far the connection of the day has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Detached,
    /// The other end has not greeted yet.
    Greeting,
    Attached,
}

/// Errors that wait to be looked at, at most. The oldest of those that carry no packets goes first.
const ERRORS_MAX: usize = 64;

/// Packets received without telling the other end, while there is something else to tell it.
const UNTOLD_MAX: u64 = 64;

#[derive(Debug)]
pub(super) struct Core {
    config: SessionConfig,
    own: SessionId,
    peer: Option<SessionId>,
    link: Link,
    generation: Generation,

    /// Everything after `confirmed`, in order.
    outgoing: VecDeque<Packet>,
    outgoing_bytes: usize,
    confirmed: u64,
    /// How many of `outgoing` went into the connection of the day.
    sent: usize,

    incoming: VecDeque<Packet>,
    incoming_bytes: usize,
    received: u64,
    /// What the other end was told last on this connection.
    told: u64,

    errors: VecDeque<SessionError>,
    /// Bytes and number of packets handed back in errors that nobody has looked at: they count as queued.
    returned: (usize, usize),

    closing: bool,
    bye: Bye,
    bye_received: bool,
}

/// How far our goodbye has come on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bye {
    Unsaid,
    Said,
    /// It has left our buffers.
    Flushed,
}

impl Core {
    pub(super) fn new(config: SessionConfig, own: SessionId) -> Self {
        Self {
            config,
            own,
            peer: None,
            link: Link::Detached,
            generation: Generation::default(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            confirmed: 0,
            sent: 0,
            incoming: VecDeque::new(),
            incoming_bytes: 0,
            received: 0,
            told: 0,
            errors: VecDeque::new(),
            returned: (0, 0),
            closing: false,
            bye: Bye::Unsaid,
            bye_received: false,
        }
    }

    pub(super) const fn own(&self) -> SessionId {
        self.own
    }

    pub(super) const fn peer(&self) -> Option<SessionId> {
        self.peer
    }

    pub(super) const fn config(&self) -> &SessionConfig {
        &self.config
    }
}

/// Connections.
impl Core {
    /// A connection takes the place of the one before.
    pub(super) fn attach(&mut self) -> (Generation, Hello) {
        self.generation = Generation(self.generation.0 + 1);
        self.link = Link::Greeting;
        self.sent = 0;
        self.told = self.received;
        self.bye = Bye::Unsaid;
        (self.generation, Hello { own: self.own, peer: self.peer, received: self.received })
    }

    /// Whatever connection there is, it is over.
    pub(super) fn detach_any(&mut self) {
        self.link = Link::Detached;
        self.sent = 0;
    }

    /// That connection is over, if it is still the one.
    pub(super) fn detach(&mut self, generation: Generation) -> bool {
        let is_current = self.is_current(generation) && self.link != Link::Detached;
        if is_current {
            self.detach_any();
        }
        is_current
    }

    pub(super) fn is_current(&self, generation: Generation) -> bool {
        generation == self.generation
    }

    pub(super) fn is_attached(&self) -> bool {
        self.link == Link::Attached
    }

    pub(super) fn is_greeting(&self) -> bool {
        self.link == Link::Greeting
    }

    pub(super) fn is_detached(&self) -> bool {
        self.link == Link::Detached
    }

    fn greeted(&mut self, hello: Hello) -> Result<(), ProtocolError> {
        if hello.own == self.own {
            return Err(ProtocolError::Ourselves);
        }
        let queued = self.confirmed + self.outgoing.len() as u64;
        let knows_us = hello.peer == Some(self.own);
        if self.peer == Some(hello.own) && knows_us {
            if !(self.confirmed..=queued).contains(&hello.received) {
                return Err(ProtocolError::Confirmation);
            }
            self.confirm(hello.received);
        } else {
            // It may be that it only never heard our greeting.
            let is_fresh = self.confirmed == 0 && self.received == 0;
            let is_same = self.peer.is_none_or(|peer| peer == hello.own && hello.peer.is_none());
            if !(is_fresh && is_same) {
                self.begin_anew();
            }
            self.peer = Some(hello.own);
        }
        self.link = Link::Attached;
        Ok(())
    }

    fn begin_anew(&mut self) {
        let undelivered = self.give_back();
        (self.confirmed, self.received, self.told) = (0, 0, 0);
        self.report(SessionError::PeerForgot { undelivered });
    }
}

/// Packets out.
impl Core {
    pub(super) fn queue(&mut self, packet: Packet) -> Result<(), SendError> {
        if self.is_closing() {
            return Err(SendError::Closed(packet));
        }
        if packet.payload.len() > self.config.max_payload {
            return Err(SendError::TooLong(packet));
        }
        if !self.has_room() {
            return Err(SendError::Full(packet));
        }
        self.outgoing_bytes += cost(&packet);
        self.outgoing.push_back(packet);
        Ok(())
    }

    /// Whether one more packet would be taken.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.len() + self.returned.1 < self.config.queue_packets
            && self.outgoing_bytes + self.returned.0 < self.config.queue_bytes
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    pub(super) fn unconfirmed(&self) -> usize {
        self.outgoing.len()
    }

    /// What that connection should carry next.
    pub(super) fn next_frame(&mut self, generation: Generation) -> Option<Frame> {
        if !self.is_current(generation) || self.link != Link::Attached {
            return None;
        }
        let unsent = self.outgoing.get(self.sent);
        if self.received != self.told && (unsent.is_none() || self.received - self.told >= UNTOLD_MAX) {
            self.told = self.received;
            return Some(Frame::Ack(self.received));
        }
        if let Some(packet) = unsent {
            self.sent += 1;
            let number = self.confirmed + self.sent as u64;
            return Some(Frame::Packet { number, packet: packet.clone() });
        }
        let is_time = self.closing && self.bye == Bye::Unsaid && self.outgoing.is_empty();
        is_time.then(|| {
            self.bye = Bye::Said;
            Frame::Bye
        })
    }

    /// Everything that was [given out](Self::next_frame) has been handed to that connection.
    pub(super) fn on_flushed(&mut self, generation: Generation) {
        if self.is_current(generation) && self.bye == Bye::Said {
            self.bye = Bye::Flushed;
        }
    }

    /// The other end has everything up to that number.
    fn confirm(&mut self, received: u64) {
        let count = usize::try_from(received - self.confirmed).unwrap_or(usize::MAX);
        let gone = self.outgoing.drain(..count).map(|packet| cost(&packet)).sum::<usize>();
        self.outgoing_bytes -= gone;
        self.sent = self.sent.saturating_sub(count);
        self.confirmed = received;
    }
}

/// Packets in.
impl Core {
    /// Whether the connection may be read from: there is room for what it may say.
    pub(super) fn may_read(&self) -> bool {
        self.incoming.len() < self.config.queue_packets && self.incoming_bytes < self.config.queue_bytes
    }

    pub(super) fn on_frame(&mut self, generation: Generation, frame: Frame) -> Result<(), ProtocolError> {
        if !self.is_current(generation) {
            return Ok(());
        }
        match (self.link, frame) {
            (Link::Greeting, Frame::Hello(hello)) => self.greeted(hello),
            (Link::Attached, Frame::Packet { number, packet }) => {
                if self.bye_received || number != self.received + 1 {
                    return Err(ProtocolError::Gap);
                }
                if packet.payload.len() > self.config.max_payload {
                    return Err(ProtocolError::TooLong);
                }
                self.received = number;
                self.incoming_bytes += cost(&packet);
                self.incoming.push_back(packet);
                Ok(())
            }
            (Link::Attached, Frame::Ack(received)) => {
                // Only what went into this very connection can be confirmed by it.
                if !(self.confirmed..=self.confirmed + self.sent as u64).contains(&received) {
                    return Err(ProtocolError::Confirmation);
                }
                self.confirm(received);
                Ok(())
            }
            (Link::Attached, Frame::Bye) => {
                self.end();
                Ok(())
            }
            (Link::Detached, _) => Ok(()),
            (Link::Greeting | Link::Attached, _) => Err(ProtocolError::Greeting),
        }
    }

    pub(super) fn take(&mut self) -> Option<Packet> {
        let packet = self.incoming.pop_front()?;
        self.incoming_bytes -= cost(&packet);
        Some(packet)
    }

    /// Nothing will come any more.
    pub(super) fn is_ended(&self) -> bool {
        self.bye_received && self.incoming.is_empty()
    }
}

/// The end, and what went wrong before.
impl Core {
    /// No more packets are taken; the other end is told so once it has everything.
    pub(super) const fn close(&mut self) {
        self.closing = true;
    }

    /// Whether packets are refused.
    pub(super) const fn is_closing(&self) -> bool {
        self.closing || self.bye_received
    }

    /// Whether the other end has everything and was told that this is all, or has said goodbye itself.
    pub(super) fn is_closed(&self) -> bool {
        self.bye_received || self.closing && self.bye == Bye::Flushed
    }

    /// The other end has closed the session, and takes nothing any more.
    fn end(&mut self) {
        self.bye_received = true;
        let undelivered = self.give_back();
        if !undelivered.is_empty() {
            self.report(SessionError::PeerClosed { undelivered });
        }
    }

    fn give_back(&mut self) -> Vec<Packet> {
        let undelivered: Vec<Packet> = self.outgoing.drain(..).collect();
        self.returned.0 += std::mem::take(&mut self.outgoing_bytes);
        self.returned.1 += undelivered.len();
        self.sent = 0;
        undelivered
    }

    pub(super) fn report(&mut self, error: SessionError) {
        if self.errors.len() >= ERRORS_MAX {
            let oldest = self.errors.iter().position(|error| error.undelivered().is_empty());
            if let Some(index) = oldest {
                self.errors.remove(index);
            }
        }
        self.errors.push_back(error);
    }

    pub(super) fn take_error(&mut self) -> Option<SessionError> {
        let error = self.errors.pop_front()?;
        self.returned.0 -= error.undelivered().iter().map(cost).sum::<usize>();
        self.returned.1 -= error.undelivered().len();
        Some(error)
    }
}

/// Bytes that a packet counts for in a queue.
fn cost(packet: &Packet) -> usize {
    packet.payload.len() + size_of::<Packet>()
}
