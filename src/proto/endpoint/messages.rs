//! A connection's messages, as the application holds them: what [`Handle`] has for connections that carry messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Dial;
use super::cell::{READ, RECEIPTS, WRITE};
use super::handle::Handle;
use super::incoming::Incoming;
use super::shared::Shared;
use crate::error::CloseReason;
use crate::proto::conn::MessageRefusal;
use crate::proto::message::{
    ChannelStats, Message, MessageConfig, MessageId, MessageStats, Receipt, SendError,
};

impl Shared {
    /// Starts a connection that carries messages. If the peer does not know them, or has other channels,
    /// [`Handle::poll_connected`] fails with [`CloseReason::NoMessages`].
    pub fn dial_messages(self: &Arc<Self>, peer: SocketAddr, dial: Dial, config: &MessageConfig) -> Handle {
        self.dial_with(peer, dial, |conn| conn.use_messages(config))
    }
}

impl Incoming {
    /// What the initiator says about its message channels; `None` if it wants a stream.
    #[must_use]
    pub fn wants_messages(&self) -> Option<[u8; 4]> {
        self.syn().hello.and_then(|hello| hello.messages)
    }

    /// Accepts it as a connection that carries messages; in frames if the initiator is not made of this crate, as far as
    /// is known, and [`MessageConfig::fallback`] allows it.
    ///
    /// # Errors
    /// The initiator wants a stream, or has other channels. It is on offer still.
    pub fn accept_messages(self, config: &MessageConfig) -> Result<Handle, Box<Self>> {
        match self.wants_messages() {
            Some(channels) if channels == config.agreement() => {
                Ok(self.accept_with(|conn| conn.use_messages(config)))
            }
            None if config.falls_back() && self.syn().hello.is_none() => {
                // Perhaps it exists already: what it has received meanwhile is in its stream.
                let handle = self.accept();
                handle.with(|inner, _| inner.conn.frame_messages(config));
                Ok(handle)
            }
            _ => Err(Box::new(self)),
        }
    }
}

/// Messages.
impl Handle {
    /// Takes a message to be sent. If the channel's queue is full, the message stays in `bytes` and the task is woken
    /// when there is room.
    ///
    /// # Errors
    /// The connection is over, or takes no such message; it is handed back in the error.
    ///
    /// # Panics
    /// If `bytes` is empty-handed.
    pub fn poll_send_message(
        &self,
        cx: &mut Context<'_>,
        channel: u8,
        bytes: &mut Option<Bytes>,
    ) -> Poll<Result<MessageId, MessageRefusal>> {
        self.poll(cx, WRITE, |inner| {
            let message = bytes.take().expect("a message to send");
            match inner.conn.send_message(channel, message) {
                Err(MessageRefusal::NotTaken(SendError::Full(message))) => {
                    *bytes = Some(message);
                    Poll::Pending
                }
                outcome => Poll::Ready(outcome),
            }
        })
    }

    /// Like [`poll_send_message`](Self::poll_send_message), without waiting.
    ///
    /// # Errors
    /// As for that, and [`SendError::Full`].
    pub fn try_send_message(&self, channel: u8, bytes: Bytes) -> Result<MessageId, MessageRefusal> {
        self.with(|inner, _| inner.conn.send_message(channel, bytes))
    }

    /// Ready once that channel would take a message, or if none ever will be taken.
    pub fn poll_room_for_message(&self, cx: &mut Context<'_>, channel: u8) -> Poll<()> {
        self.poll(cx, WRITE, |inner| {
            let waits = inner.conn.close_reason().is_none() && !inner.conn.can_send_message(channel);
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
    }

    /// The next message; `None` when no more will come.
    ///
    /// # Errors
    /// The connection ended in another way than by the peer's end, and everything received has been taken.
    pub fn poll_message(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, CloseReason>> {
        self.poll(cx, READ, |inner| match inner.conn.receive_message() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None if !inner.conn.is_out_of_messages() => Poll::Pending,
            None => Poll::Ready(match inner.conn.close_reason() {
                None | Some(CloseReason::Finished) => Ok(None),
                Some(reason) => Err(reason),
            }),
        })
    }

    /// The next thing that became known about a message that was sent.
    ///
    /// # Errors
    /// Why the connection is over: nothing more will become known.
    pub fn poll_receipt(&self, cx: &mut Context<'_>) -> Poll<Result<Receipt, CloseReason>> {
        self.poll(cx, RECEIPTS, |inner| match (inner.conn.next_receipt(), inner.conn.close_reason()) {
            (Some(receipt), _) => Poll::Ready(Ok(receipt)),
            (None, Some(reason)) => Poll::Ready(Err(reason)),
            (None, None) => Poll::Pending,
        })
    }

    /// Whether messages go in frames of a stream, because the peer knows no others. Known once the handshake is over.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.with(|inner, _| inner.conn.is_framed())
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send_message(&self, channel: u8) -> bool {
        self.with(|inner, _| inner.conn.can_send_message(channel))
    }

    /// What is queued leaves without waiting for more.
    pub fn flush_messages(&self) {
        self.with(|inner, _| inner.conn.flush_messages());
    }

    /// Numbers about messages; `None` for a stream.
    #[must_use]
    pub fn message_stats(&self) -> Option<MessageStats> {
        self.with(|inner, _| inner.conn.message_stats())
    }

    /// Numbers about one channel.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        self.with(|inner, _| inner.conn.channel_stats(channel))
    }
}
