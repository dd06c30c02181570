//! Messages over one connection, on many channels: at most once or exactly once, in order or not, each as soon as its
//! packet arrives.
//!
//! A connection with messages is asked for by [`UtpSocket::connect_messages`](crate::UtpSocket::connect_messages) and
//! accepted by [`UtpListener::accept_messages`](crate::UtpListener::accept_messages), or by
//! [`connect`](crate::Reactor::connect) and [`listen`](crate::Reactor::listen) of a [reactor](crate::reactor); both ends
//! need the same channels. It has the congestion control, the loss recovery and the manners of a stream, and no message
//! waits for what another channel has lost.
//!
//! ```
//! use ebbtide::UtpSocket;
//! use ebbtide::message::{ChannelConfig, Fate, MessageConfig, Mode};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! const STATE: u8 = 0;
//! const EVENTS: u8 = 1;
//! let channels = MessageConfig::new([
//!     ChannelConfig::new(Mode::UnreliableSequenced),
//!     ChannelConfig::new(Mode::ReliableOrdered).priority(200),
//! ]);
//!
//! let server = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
//! let client = UtpSocket::bind("127.0.0.1:0".parse().unwrap()).await?;
//! let listener = server.listen();
//! let (here, there) = tokio::join!(
//!     client.connect_messages(server.local_addr(), &channels),
//!     listener.accept_messages(&channels),
//! );
//! let (here, there) = (here?, there?);
//!
//! here.send(STATE, "x=7").await?;
//! let id = here.send(EVENTS, "door opened").await?;
//! let mut heard = [there.recv().await?, there.recv().await?].map(|message| message.map(|it| it.bytes));
//! heard.sort();
//! assert_eq!(heard, [Some("door opened".into()), Some("x=7".into())]);
//! while here.acked().await?.id != id {} // it is with the peer's library
//! # Ok(()) }
//! ```
//!
//! | mode | what was lost | order | for |
//! | --- | --- | --- | --- |
//! | [`Unreliable`](Mode::Unreliable) | is gone | as it comes | voice, positions |
//! | [`UnreliableSequenced`](Mode::UnreliableSequenced) | is gone | nothing after something newer | state |
//! | [`ReliableUnordered`](Mode::ReliableUnordered) | comes again | as it comes | events |
//! | [`ReliableOrdered`](Mode::ReliableOrdered) | comes again | as sent | chat, commands |
//! | [`ReliableSequenced`](Mode::ReliableSequenced) | comes again unless there is something newer | nothing after something newer | settings |
//!
//! With a peer of another make there is no connection, unless [`MessageConfig::fallback`] allows messages to be framed in
//! the byte stream: channel (1 byte), length (4, big endian), message, after a greeting of 9 bytes that looks like a
//! message of 4 on channel 0 and holds [`MessageConfig::agreement`]. Programs of other makes can speak that easily. All
//! messages are reliable and ordered then.
//!
//! A full queue makes [`send`](MessageConnection::send) wait and [`try_send`](MessageConnection::try_send) hand the
//! message back; it never ends a connection. While a socket is being flooded with connection attempts, attempts with
//! messages wait until that is over.

#[cfg(feature = "tokio")]
mod connection;
#[cfg(all(feature = "serde", feature = "tokio"))]
mod typed;

#[cfg(feature = "tokio")]
pub use self::connection::MessageConnection;
pub use crate::proto::message::{
    ChannelConfig, ChannelStats, Fate, Message, MessageConfig, MessageConfigError, MessageId, MessageStats,
    Mode, Receipt, SendError,
};
#[cfg(feature = "serde")]
pub use crate::proto::message::{Typed, TypedError};
