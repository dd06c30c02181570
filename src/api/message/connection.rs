//! A connection that carries messages, for tasks.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::api::{UtpListener, UtpSocket};
use crate::error::CloseReason;
use crate::proto::conn::MessageRefusal;
use crate::proto::endpoint::{Dial, Handle};
use crate::proto::message::{
    ChannelStats, Message, MessageConfig, MessageConfigError, MessageId, MessageStats, Receipt, SendError,
};
use crate::stats::StreamStats;

/// A connection that carries messages. Every method takes `&self`, so one task may send while another receives.
///
/// Dropping it ends our direction: what was sent is still delivered in the background, for at most
/// [`Config::linger`](crate::Config::linger).
pub struct MessageConnection {
    handle: Handle,
}

/// Sending.
impl MessageConnection {
    /// Queues a message on a channel, waiting for room if there is none. Its id turns up in [`acked`](Self::acked)
    /// once its fate is known.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`SendError`] as source if it is too long or there is no such
    /// channel; [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`close`](Self::close); or how the connection ended.
    ///
    /// # Cancel safety
    /// Safe: the message was queued, or it was not and is dropped with the future.
    pub async fn send(&self, channel: u8, message: impl Into<Bytes>) -> io::Result<MessageId> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.handle.poll_send_message(cx, channel, &mut message)).await.map_err(refused)
    }

    /// Queues a message if there is room.
    ///
    /// # Errors
    /// As for [`send`](Self::send); [`WouldBlock`](io::ErrorKind::WouldBlock) with [`SendError::Full`] as source, which
    /// has the message.
    pub fn try_send(&self, channel: u8, message: impl Into<Bytes>) -> io::Result<MessageId> {
        self.handle.try_send_message(channel, message.into()).map_err(refused)
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send(&self, channel: u8) -> bool {
        self.handle.can_send_message(channel)
    }

    /// What is queued leaves without waiting for company; see [`MessageConfig::coalesce`].
    pub fn flush(&self) {
        self.handle.flush_messages();
    }

    /// The next thing that became known about a message that was sent. Each message turns up once; if nobody asks, the
    /// latest 65,536 are kept.
    ///
    /// # Errors
    /// How the connection ended: nothing more will become known.
    ///
    /// # Cancel safety
    /// Safe: no receipt is lost.
    pub async fn acked(&self) -> io::Result<Receipt> {
        poll_fn(|cx| self.poll_acked(cx)).await
    }

    /// [`acked`](Self::acked) for hand-written futures.
    ///
    /// # Errors
    /// As for that.
    pub fn poll_acked(&self, cx: &mut Context<'_>) -> Poll<io::Result<Receipt>> {
        self.handle.poll_receipt(cx).map_err(Into::into)
    }

    /// Ends our direction after what is queued, and waits until the peer has acknowledged all of it.
    ///
    /// # Errors
    /// How the connection ended before that.
    ///
    /// # Cancel safety
    /// Safe: once it was polled, the direction ends without it.
    pub async fn close(&self) -> io::Result<()> {
        poll_fn(|cx| self.handle.poll_finish(cx)).await?;
        poll_fn(|cx| self.handle.poll_acked(cx)).await?;
        Ok(())
    }

    /// Ends the connection at once.
    pub fn abort(&self) {
        self.handle.abort();
    }
}

/// Receiving.
impl MessageConnection {
    /// The next message; `None` once the peer has ended its direction and everything was taken.
    ///
    /// # Errors
    /// How the connection ended otherwise.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn recv(&self) -> io::Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) for hand-written futures.
    ///
    /// # Errors
    /// As for that.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Message>>> {
        self.handle.poll_message(cx).map_err(Into::into)
    }
}

/// The rest.
impl MessageConnection {
    pub(in crate::api) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Whether messages go in frames of a stream, because the peer knows no others and
    /// [`MessageConfig::fallback`] allows it: all of them are reliable and ordered then.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.handle.is_framed()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle.peer_addr()
    }

    /// Numbers about the messages.
    #[must_use]
    pub fn message_stats(&self) -> MessageStats {
        self.handle.message_stats().unwrap_or_default()
    }

    /// Numbers about one channel; `None` if there is no such channel.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        self.handle.channel_stats(channel)
    }

    /// Numbers about the connection below: round trips, windows, losses.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.handle.stats()
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.handle.close_reason()
    }
}

impl fmt::Debug for MessageConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageConnection").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}

/// Connections with messages.
impl UtpSocket {
    /// Connects to `peer` for messages. Both ends need the same channels; see [`message`](crate::message).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); [`Unsupported`](io::ErrorKind::Unsupported) with
    /// [`CloseReason::NoMessages`] as source if the peer takes only streams or has other channels, or is not made of this
    /// crate and no [fallback](MessageConfig::fallback) is allowed;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of range.
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt.
    pub async fn connect_messages(
        &self,
        peer: SocketAddr,
        config: &MessageConfig,
    ) -> io::Result<MessageConnection> {
        config.validate().map_err(invalid)?;
        let handle = self.shared().dial_messages(peer, Dial::default(), config);
        poll_fn(|cx| handle.poll_connected(cx)).await?;
        Ok(MessageConnection::new(handle))
    }
}

impl UtpListener {
    /// The next incoming connection that wants messages on these channels, accepted. Others are refused: for streams
    /// beside messages, listen for a [service](UtpSocket::listen_for), or look at each [`incoming`](Self::incoming) connection.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of range.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    pub async fn accept_messages(&self, config: &MessageConfig) -> io::Result<MessageConnection> {
        config.validate().map_err(invalid)?;
        loop {
            match self.incoming().await?.accept_messages(config) {
                Ok(connection) => return Ok(connection),
                Err(incoming) => incoming.refuse(),
            }
        }
    }
}

fn invalid(error: MessageConfigError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn refused(refusal: MessageRefusal) -> io::Error {
    match refusal {
        MessageRefusal::Closed(reason, _) => reason.into(),
        MessageRefusal::Finished(_) => io::ErrorKind::BrokenPipe.into(),
        MessageRefusal::NotTaken(error @ SendError::Full(_)) => {
            io::Error::new(io::ErrorKind::WouldBlock, error)
        }
        MessageRefusal::NotTaken(error) => io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}
