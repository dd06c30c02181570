//! Messages of a reactor's connections.

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use bytes::Bytes;

use super::error::SendError;
use super::event::PeerId;
use super::peer::{Carries, Peer};
use super::{Reactor, invalid};
use crate::error::CloseReason;
use crate::net::Datagrams;
use crate::proto::conn::MessageRefusal;
use crate::proto::endpoint::Dial;
use crate::proto::message::{self, ChannelStats, MessageConfig, MessageId, MessageStats};

/// Messages.
impl<S: Datagrams> Reactor<S> {
    /// Starts a connection that carries messages on these channels; the peer has to [listen](Self::listen) with the same.
    /// How it goes, [`Event::Connected`](super::Event::Connected) or [`Event::Disconnected`](super::Event::Disconnected)
    /// tells: the latter with [`NoMessages`](CloseReason::NoMessages) if the peer has other channels or none. Messages may
    /// be sent at once; they leave when it is open.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of range.
    pub fn connect(&mut self, addr: SocketAddr, channels: &MessageConfig) -> io::Result<PeerId> {
        channels.validate().map_err(invalid)?;
        let handle = self.lease.dial_messages(addr, Dial::default(), channels);
        Ok(self.enter(|bell| Peer::calling(handle, bell, Carries::messages())))
    }

    /// Queues a message on a channel; it leaves with the next tick, or when there is room in the network. What becomes of
    /// it, [`Event::Acked`](super::Event::Acked) tells.
    ///
    /// # Errors
    /// The message comes back in the error: see [`SendError`]. After [`SendError::Full`],
    /// [`Event::Room`](super::Event::Room) tells when to try again.
    pub fn send(
        &mut self,
        peer: PeerId,
        channel: u8,
        message: impl Into<Bytes>,
    ) -> Result<MessageId, SendError> {
        let mut message = Some(message.into());
        let Some(peer) = self.peers.get_mut(peer.0) else {
            return Err(SendError::NoSuchPeer(message.unwrap_or_default()));
        };
        let Carries::Messages { full } = &mut peer.carries else {
            return Err(SendError::NoSuchChannel(message.unwrap_or_default()));
        };
        match peer.handle.poll_send_message(&mut peer.bell.context(), channel, &mut message) {
            Poll::Ready(outcome) => outcome.map_err(refused),
            Poll::Pending => {
                if !full.contains(&channel) {
                    full.push(channel);
                }
                Err(SendError::Full(message.unwrap_or_default()))
            }
        }
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send(&self, peer: PeerId, channel: u8) -> bool {
        self.peers.get(peer.0).is_some_and(|peer| peer.handle.can_send_message(channel))
    }

    /// Whether messages go in frames of a stream, because the peer knows no others and
    /// [`MessageConfig::fallback`](crate::message::MessageConfig::fallback) allows it: all of them are reliable and
    /// ordered then. False for a connection that is gone, or that has none.
    #[must_use]
    pub fn is_framed(&self, peer: PeerId) -> bool {
        self.peers.get(peer.0).is_some_and(|peer| peer.handle.is_framed())
    }

    /// Numbers about the messages of a connection; `None` if it is gone, or a stream.
    #[must_use]
    pub fn message_stats(&self, peer: PeerId) -> Option<MessageStats> {
        self.peers.get(peer.0)?.handle.message_stats()
    }

    /// Numbers about one channel of a connection; `None` if there is no such channel.
    #[must_use]
    pub fn channel_stats(&self, peer: PeerId, channel: u8) -> Option<ChannelStats> {
        self.peers.get(peer.0)?.handle.channel_stats(channel)
    }
}

fn refused(refusal: MessageRefusal) -> SendError {
    match refusal {
        MessageRefusal::Closed(reason, bytes) => SendError::Closed(reason, bytes),
        // Only the end of the whole reactor ends a direction that carries messages.
        MessageRefusal::Finished(bytes) => SendError::Closed(CloseReason::EndpointClosed, bytes),
        MessageRefusal::NotTaken(message::SendError::Full(bytes)) => SendError::Full(bytes),
        MessageRefusal::NotTaken(message::SendError::TooLong(bytes)) => SendError::TooLong(bytes),
        MessageRefusal::NotTaken(message::SendError::NoSuchChannel(bytes)) => SendError::NoSuchChannel(bytes),
    }
}
