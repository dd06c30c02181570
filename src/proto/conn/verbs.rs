//! What the application asks of a connection. None of this sends anything: see
//! [`wants_service`](Connection::wants_service).

use super::state::State;
use super::{Blocked, Connection, Events};
use crate::error::CloseReason;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// So many bytes were copied out.
    Data(usize),
    /// The peer has ended its direction and everything has been read.
    Eof,
    /// Nothing is there yet.
    Empty,
    /// The connection is over and nothing is left.
    Closed(CloseReason),
}

/// What came of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// So many bytes were taken.
    Written(usize),
    /// There is no room now.
    Full,
    /// Our direction has been ended by [`finish`](Connection::finish).
    Finished,
    /// The connection is over.
    Closed(CloseReason),
}

impl Connection {
    /// Takes as much of `data` as there is room for. Before the handshake is over it waits in the buffer.
    pub fn write(&mut self, data: &[u8]) -> WriteOutcome {
        if let Some(refusal) = self.write_refusal() {
            return refusal;
        }
        match self.send.write(data) {
            0 if !data.is_empty() => WriteOutcome::Full,
            taken => WriteOutcome::Written(taken),
        }
    }

    /// Why nothing can be written, unless it is for want of room: then [`WriteOutcome::Full`], or `None` if there
    /// is room.
    #[must_use]
    pub fn write_refusal(&self) -> Option<WriteOutcome> {
        match self.close_reason {
            None | Some(CloseReason::Finished) if self.send.is_finishing() => Some(WriteOutcome::Finished),
            Some(reason) => Some(WriteOutcome::Closed(reason)),
            None if self.send.free_bytes() == 0 => Some(WriteOutcome::Full),
            None => None,
        }
    }

    /// Copies received bytes out, in order.
    pub fn read(&mut self, out: &mut [u8]) -> ReadOutcome {
        let outcome = self.read_outcome(out.len());
        if let ReadOutcome::Data(_) = outcome {
            let copied = self.recv.read(out);
            if self.window_update_due() {
                self.acks.demand();
                self.wishes.service = true;
            }
            // Somebody has to set the timer that gives the memory back; at most once per its period.
            self.wishes.service |= self.timers.trim.is_none() && self.recv.holds_idle_memory();
            return ReadOutcome::Data(copied);
        }
        outcome
    }

    /// Whether the application has gone.
    #[must_use]
    pub const fn is_detached(&self) -> bool {
        self.wishes.detached
    }

    /// As [`read`](Self::read), but leaves the bytes where they are.
    pub fn peek(&mut self, out: &mut [u8]) -> ReadOutcome {
        match self.read_outcome(out.len()) {
            ReadOutcome::Data(_) => ReadOutcome::Data(self.recv.peek(out)),
            other => other,
        }
    }

    /// What reading up to `room` bytes would come to.
    #[must_use]
    pub fn read_outcome(&self, room: usize) -> ReadOutcome {
        let readable = self.recv.readable_bytes();
        if readable > 0 {
            return ReadOutcome::Data(readable.min(room));
        }
        if self.recv.at_eof() || self.wishes.deaf {
            return ReadOutcome::Eof;
        }
        self.close_reason.map_or(ReadOutcome::Empty, ReadOutcome::Closed)
    }

    /// Ends our direction: a FIN follows the last byte. The peer's direction goes on.
    pub fn finish(&mut self) {
        if !self.send.is_finishing() && self.close_reason.is_none() {
            if !self.finish_messages() {
                self.send.finish();
            }
            self.wishes.service = true;
        }
    }

    /// The endpoint closes: nothing is done any more for the sake of the peer alone.
    pub const fn hurry(&mut self) {
        self.wishes.hurried = true;
    }

    /// Nothing written so far waits to be merged with more.
    pub fn push(&mut self) {
        if self.send.unsent_bytes() > 0 {
            self.wishes.flush = true;
            self.wishes.service = true;
        }
    }

    /// Whether everything written has been handed to the network, the FIN included if there is to be one.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let fin_left = self.send.fin_seq().is_some() || self.send.is_all_acked();
        self.unsent_bytes() == 0 && (!self.send.is_finishing() || fin_left)
    }

    /// Whether everything written is acknowledged and our direction has ended, or the peer has finished and only the
    /// acknowledgement of our end never came.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        self.is_delivered() || self.is_let_go()
    }

    /// Whether the handshake is over.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_confirmed()
    }

    /// Ends the connection at once, with a RESET to the peer; what is not acknowledged may be lost.
    pub fn abort(&mut self) {
        self.close_with_reset(CloseReason::Aborted);
    }

    /// Ends the connection at once and silently: its id is taken, its endpoint is gone.
    pub fn fail(&mut self, reason: CloseReason) {
        self.close(reason);
    }

    /// Nobody will read any more: what has arrived and what will arrive is thrown away, so that the peer is not held up,
    /// and reading finds the end.
    pub fn stop_reading(&mut self) {
        self.wishes.deaf = true;
        self.wishes.service = true;
        self.recv.discard();
        self.discard_messages();
        if self.window_update_due() {
            self.acks.demand();
        }
    }

    /// Nobody will read or write any more: what was written is still delivered, for as long as
    /// [`Config::linger`](crate::Config::linger) says; what arrives is thrown away.
    pub fn detach(&mut self) {
        self.wishes.detached = true;
        self.stop_reading();
        match self.state {
            State::Idle | State::SynSent { .. }
                if self.send.queued_bytes() == 0 && self.unsent_bytes() == 0 =>
            {
                self.close(CloseReason::Aborted);
            }
            _ => self.finish(),
        }
    }

    /// Whether small writes leave at once.
    pub const fn set_nodelay(&mut self, nodelay: bool) {
        self.wishes.nodelay = nodelay;
    }

    /// After a verb of the application: would the driver find work that nothing else will wake it for?
    #[must_use]
    pub fn wants_service(&self) -> bool {
        if self.wishes.service {
            return true;
        }
        // The pacer, and the question whether the peer is still there, have timers of their own.
        let open = self.state.is_open() && self.blocked != Blocked::Pacer && self.timers.consent.is_none();
        open && (self.has_sendable_segment() || self.lacks_persist_timer())
    }

    /// Whether what was written can only leave once the peer opens its window, and nothing will ask whether it has:
    /// the window was shut before there was anything to send, so the announcement that it opened may be lost by now.
    pub(super) fn lacks_persist_timer(&self) -> bool {
        self.send.outstanding() == 0 && self.unsent_bytes() > 0 && self.timers.persist.is_none()
    }

    pub(super) fn window_update_due(&self) -> bool {
        let limit = u32::try_from(self.recv.limit()).unwrap_or(u32::MAX);
        self.state.is_open() && self.updates.due(self.window(), limit)
    }

    pub(super) fn signal(&mut self, events: Events) {
        self.events |= events;
    }
}
