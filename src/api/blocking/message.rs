//! A connection that carries messages, for threads.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::wait::{after, block_on, not_now, wait};
use crate::api::message;
use crate::api::message::{ChannelStats, Message, MessageId, MessageStats, Receipt};
use crate::error::CloseReason;
use crate::stats::StreamStats;

/// A connection that carries [messages](crate::message). Every method takes `&self`, so one thread may send while
/// another receives.
///
/// Each verb comes in three kinds: waiting for as long as it takes, waiting for a time, and not waiting. The last two say
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing could be done.
///
/// Dropping it ends our direction: what was sent is still delivered in the background, for at most
/// [`Config::linger`](crate::Config::linger); [`close`](Self::close) waits for that.
///
/// ```
/// use ebbtide::blocking::UtpSocket;
/// use ebbtide::message::MessageConfig;
///
/// # fn main() -> std::io::Result<()> {
/// let channels = MessageConfig::default(); // number 3 is reliable and ordered
/// let server = UtpSocket::bind("127.0.0.1:0")?;
/// let (listener, addr) = (server.listen(), server.local_addr()?);
/// std::thread::scope(|scope| {
///     let greeting = scope.spawn(|| listener.accept_messages(&channels)?.send(3, "hello"));
///     let connection = UtpSocket::bind("127.0.0.1:0")?.connect_messages(addr, &channels)?;
///     let message = connection.recv()?.expect("a message before the end");
///     assert_eq!((message.channel, &message.bytes[..]), (3, &b"hello"[..]));
///     greeting.join().expect("no panic").map(drop)
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct MessageConnection {
    inner: message::MessageConnection,
}

/// Sending.
impl MessageConnection {
    /// Queues a message on a channel, waiting for room if there is none. Its id turns up in [`acked`](Self::acked)
    /// once its fate is known.
    ///
    /// # Errors
    /// As for [`MessageConnection::send`](message::MessageConnection::send) of tasks.
    pub fn send(&self, channel: u8, message: impl Into<Bytes>) -> io::Result<MessageId> {
        block_on(self.inner.send(channel, message))
    }

    /// Like [`send`](Self::send), and waits for at most so long. The message is gone when the time is over: keep a clone,
    /// which costs nothing, to send it again.
    ///
    /// # Errors
    /// As for `send`; [`WouldBlock`](io::ErrorKind::WouldBlock) when the time is over.
    pub fn send_timeout(
        &self,
        channel: u8,
        message: impl Into<Bytes>,
        timeout: Duration,
    ) -> io::Result<MessageId> {
        for_some_time(timeout, self.inner.send(channel, message))
    }

    /// Queues a message if there is room.
    ///
    /// # Errors
    /// As for [`send`](Self::send); [`WouldBlock`](io::ErrorKind::WouldBlock) with
    /// [`SendError::Full`](message::SendError::Full) as source, which has the message.
    pub fn try_send(&self, channel: u8, message: impl Into<Bytes>) -> io::Result<MessageId> {
        self.inner.try_send(channel, message)
    }

    /// Whether that channel would take a message.
    #[must_use]
    pub fn can_send(&self, channel: u8) -> bool {
        self.inner.can_send(channel)
    }

    /// What is queued leaves without waiting for company; see
    /// [`MessageConfig::coalesce`](message::MessageConfig::coalesce).
    pub fn flush(&self) {
        self.inner.flush();
    }

    /// The next thing that became known about a message that was sent. Each message turns up once; if nobody asks, the
    /// latest 65,536 are kept.
    ///
    /// # Errors
    /// How the connection ended: nothing more will become known.
    pub fn acked(&self) -> io::Result<Receipt> {
        block_on(self.inner.acked())
    }

    /// Like [`acked`](Self::acked), and waits for at most so long.
    ///
    /// # Errors
    /// As for `acked`; [`WouldBlock`](io::ErrorKind::WouldBlock) when the time is over.
    pub fn acked_timeout(&self, timeout: Duration) -> io::Result<Receipt> {
        for_some_time(timeout, self.inner.acked())
    }

    /// Like [`acked`](Self::acked), without waiting.
    ///
    /// # Errors
    /// As for `acked`; [`WouldBlock`](io::ErrorKind::WouldBlock) if there is nothing new.
    pub fn try_acked(&self) -> io::Result<Receipt> {
        at_once(|cx| self.inner.poll_acked(cx))
    }

    /// Ends our direction after what is queued, and waits until the peer has acknowledged all of it.
    ///
    /// # Errors
    /// How the connection ended before that.
    pub fn close(&self) -> io::Result<()> {
        block_on(self.inner.close())
    }

    /// Ends the connection at once.
    pub fn abort(&self) {
        self.inner.abort();
    }
}

/// Receiving.
impl MessageConnection {
    /// The next message; `None` once the peer has ended its direction and everything was taken.
    ///
    /// # Errors
    /// How the connection ended otherwise.
    pub fn recv(&self) -> io::Result<Option<Message>> {
        block_on(self.inner.recv())
    }

    /// Like [`recv`](Self::recv), and waits for at most so long.
    ///
    /// # Errors
    /// As for `recv`; [`WouldBlock`](io::ErrorKind::WouldBlock) when the time is over.
    pub fn recv_timeout(&self, timeout: Duration) -> io::Result<Option<Message>> {
        for_some_time(timeout, self.inner.recv())
    }

    /// Like [`recv`](Self::recv), without waiting.
    ///
    /// # Errors
    /// As for `recv`; [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is there.
    pub fn try_recv(&self) -> io::Result<Option<Message>> {
        at_once(|cx| self.inner.poll_recv(cx))
    }
}

/// The rest.
impl MessageConnection {
    /// As [`is_framed`](message::MessageConnection::is_framed) of tasks.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.inner.is_framed()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// None at present.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.peer_addr())
    }

    /// Numbers about the messages.
    #[must_use]
    pub fn message_stats(&self) -> MessageStats {
        self.inner.message_stats()
    }

    /// Numbers about one channel; `None` if there is no such channel.
    #[must_use]
    pub fn channel_stats(&self, channel: u8) -> Option<ChannelStats> {
        self.inner.channel_stats(channel)
    }

    /// Numbers about the connection below: round trips, windows, losses.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.inner.stats()
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.close_reason()
    }

    /// The same connection for tasks.
    #[must_use]
    pub const fn get_ref(&self) -> &message::MessageConnection {
        &self.inner
    }
}

/// The same connection for threads; its driver stays where it is.
impl From<message::MessageConnection> for MessageConnection {
    fn from(inner: message::MessageConnection) -> Self {
        Self { inner }
    }
}

fn for_some_time<T>(timeout: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = pin!(future);
    wait(after(timeout), |cx| future.as_mut().poll(cx)).unwrap_or_else(|| Err(not_now()))
}

fn at_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(not_now()),
    }
}
