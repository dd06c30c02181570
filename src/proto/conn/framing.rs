//! The way out for messages when the peer knows none: framed in the byte stream, if the application allows it.
//!
//! The stream below is like any other. Messages are put into it as long as there is room, and taken from it when the
//! application asks for one; a receipt means that the peer has acknowledged the bytes.

use bytes::Bytes;

use super::{Connection, Events, MessageRefusal};
use crate::error::CloseReason;
use crate::proto::message::{Framed, Message, MessageConfig, MessageId, MessageStats, Taken};

impl Connection {
    /// The stream will carry messages in frames; to be called before anything is written.
    pub fn frame_messages(&mut self, config: &MessageConfig) {
        debug_assert_eq!(self.send.queued_bytes(), 0, "a stream does not become messages");
        self.framed = Some(Box::new(Framed::new(config)));
        self.pump_frames();
        self.wishes.service = true;
    }

    /// Whether messages go in frames, because the peer knows no others.
    #[must_use]
    pub const fn is_framed(&self) -> bool {
        self.framed.is_some()
    }

    /// Puts what waits into the stream, as much as there is room for.
    pub(super) fn pump_frames(&mut self) {
        let Some(framed) = &mut self.framed else { return };
        if framed.unsent_bytes() == 0 || self.close_reason.is_some() {
            return;
        }
        framed.pump(|bytes| self.send.write(bytes));
        if framed.is_hurried() {
            self.wishes.flush = true;
        }
        if framed.unsent_bytes() == 0 && self.wishes.finish_framed {
            self.send.finish();
        }
    }

    pub(super) fn send_framed(&mut self, channel: u8, bytes: Bytes) -> Result<MessageId, MessageRefusal> {
        self.pump_frames();
        let finishing = self.wishes.finish_framed || self.send.is_finishing();
        let Some(framed) = self.framed.as_mut().filter(|_| !finishing) else {
            return Err(MessageRefusal::Finished(bytes));
        };
        let id = framed.send(channel, bytes).map_err(MessageRefusal::NotTaken)?;
        self.pump_frames();
        Ok(id)
    }

    pub(super) fn receive_framed(&mut self) -> Option<Message> {
        if self.wishes.deaf {
            return None;
        }
        let (framed, recv) = (self.framed.as_mut()?, &mut self.recv);
        let taken = framed.take(|out| recv.read(out));
        if self.window_update_due() {
            self.acks.demand();
            self.wishes.service = true;
        }
        match taken {
            Taken::Message(message) => Some(message),
            Taken::Nothing => None,
            Taken::Mismatch => {
                self.close_with_reset(CloseReason::NoMessages);
                None
            }
        }
    }

    /// The application has ended our direction; the end follows the last message. Returns whether there are frames.
    pub(super) fn finish_frames(&mut self) -> bool {
        let Some(framed) = &self.framed else { return false };
        if framed.unsent_bytes() == 0 {
            self.send.finish();
        }
        self.wishes.finish_framed = true;
        true
    }

    /// An acknowledgement was applied.
    pub(super) fn on_frames_acked(&mut self) {
        let Some(framed) = &mut self.framed else { return };
        framed.on_acknowledged(self.send.queued_bytes());
        if framed.has_receipts() {
            self.events |= Events::RECEIPTS;
        }
    }

    pub(super) fn framed_stats(&self) -> Option<MessageStats> {
        let framed = self.framed.as_ref()?;
        let cut_off = self.recv.at_eof() && framed.is_amid();
        Some(MessageStats {
            queue_bytes: framed.stats().queue_bytes + self.send.unsent_bytes(),
            unassembled: cut_off.into(),
            ..framed.stats()
        })
    }
}
