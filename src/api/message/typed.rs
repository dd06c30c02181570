//! Sending values of an application's types, for tasks and for threads.

use std::io;

use serde::Serialize;

use super::{MessageConnection, MessageId, Typed};
use crate::api::blocking;

impl MessageConnection {
    /// Queues a value on its channel, waiting for room if there is none. [`Typed::open`] is for what arrives.
    ///
    /// # Errors
    /// As for [`send`](Self::send); [`InvalidData`](io::ErrorKind::InvalidData) with a
    /// [`TypedError`](super::TypedError) as source if the value is too long.
    ///
    /// # Cancel safety
    /// Safe: the value was queued, or it was not.
    pub async fn send_typed<T: Serialize>(&self, channel: Typed<T>, value: &T) -> io::Result<MessageId> {
        let message = channel.encode(value)?;
        self.send(channel.channel(), message).await
    }

    /// Queues a value if there is room.
    ///
    /// # Errors
    /// As for [`try_send`](Self::try_send) and [`send_typed`](Self::send_typed).
    pub fn try_send_typed<T: Serialize>(&self, channel: Typed<T>, value: &T) -> io::Result<MessageId> {
        self.try_send(channel.channel(), channel.encode(value)?)
    }
}

impl blocking::MessageConnection {
    /// Queues a value on its channel, waiting for room if there is none. [`Typed::open`] is for what arrives.
    ///
    /// # Errors
    /// As for [`send`](Self::send); [`InvalidData`](io::ErrorKind::InvalidData) with a
    /// [`TypedError`](super::TypedError) as source if the value is too long.
    pub fn send_typed<T: Serialize>(&self, channel: Typed<T>, value: &T) -> io::Result<MessageId> {
        self.send(channel.channel(), channel.encode(value)?)
    }
}
