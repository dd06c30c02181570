//! Conversations that outlive the connections that they go through.
//!
//! A [`Session`] is a pair of queues of [packets](crate::packet) and a place for a connection. Whatever carries bytes
//! can be put there, at any time: the first one, another one after a failure, or one in place of another that still
//! works (a *hot swap*, for instance from TCP to uTP). Packets are numbered and kept until the other end has them, so
//! as long as both processes live, each packet arrives **exactly once and in order**, over any number of connections.
//!
//! ```
//! use ebbtide::packet::Packet;
//! use ebbtide::session::Session;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = (Session::new(), Session::new());
//! here.send(Packet::new(1, "queued while nothing is attached")).await?;
//!
//! let (a, b) = tokio::io::duplex(1024);
//! here.attach(a);
//! there.attach(b);
//! assert_eq!(there.recv().await.ok_or("closed")?.kind, 1);
//!
//! here.detach(); // the connection dies …
//! here.send(Packet::new(2, "meanwhile")).await?;
//! let (a, b) = tokio::io::duplex(1024);
//! here.attach(a); // … and another one takes its place
//! there.attach(b);
//! assert_eq!(there.recv().await.ok_or("closed")?.kind, 2);
//! # Ok(()) }
//! ```
//!
//! | you want | take |
//! | --- | --- |
//! | one conversation | [`Session`] |
//! | a server with many, each of which may come back | [`Sessions`] |
//! | a client that connects again by itself | [`Reconnector`] |
//! | `Sink` and `Stream` | [`Session::outgoing`], [`Session::incoming`] |
//!
//! Sessions prove nothing about who is at the other end: whoever knows a session's id can continue it. Over a network
//! that is not trusted, put TLS between session and connection.

mod core;
mod ends;
mod error;
mod frame;
mod hub;
mod pump;
mod reconnect;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::io::{AsyncRead, AsyncWrite, WriteHalf};

pub use self::ends::{Errors, Incoming, Outgoing};
pub use self::error::{ProtocolError, SendError, SessionError};
pub use self::frame::SessionId;
pub use self::hub::{Accepted, HubError, Sessions};
pub use self::reconnect::{Backoff, Reconnector};

use self::core::Core;
use self::frame::Hello;
use self::pump::{Pump, Reader};
use self::shared::{Interest, Shared};
use super::packet::{Packet, PacketCodec};

/// Limits of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Bytes of payload that a packet may have, either way (default 1 MiB).
    pub max_payload: usize,
    /// Packets that wait, each way: to be confirmed by the other end, or to be taken by the application (default
    /// 1,024; at least 1).
    pub queue_packets: usize,
    /// Bytes that wait, each way (default 8 MiB). The packet that crosses the limit is still taken.
    pub queue_bytes: usize,
    /// How long the other end of a new connection may take to greet (default 10 s).
    pub patience: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            max_payload: PacketCodec::MAX_PAYLOAD,
            queue_packets: 1024,
            queue_bytes: 8 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// One end of a conversation; clones are handles to the same end.
///
/// Nothing is sent or received while no connection is attached; queued packets wait, up to the limits of
/// [`SessionConfig`]. When the last handle is dropped the connection ends and what was not sent is gone;
/// [`close`](Self::close) waits until the other end has everything.
#[derive(Clone)]
pub struct Session {
    owner: Arc<Owner>,
}

/// What the handles share. The task of a connection holds only what is inside, so that it does not keep the session.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.detach();
    }
}

/// Beginning, connections, end.
impl Session {
    /// A session with default limits and an id of its own.
    ///
    /// # Panics
    /// If the system has no source of randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(SessionConfig::default())
    }

    /// A session with limits of your own.
    ///
    /// # Panics
    /// If the system has no source of randomness.
    #[must_use]
    pub fn with_config(config: SessionConfig) -> Self {
        let mut id = [0; 16];
        SysRng.try_fill_bytes(&mut id).expect("a source of randomness");
        Self { owner: Arc::new(Owner { shared: Shared::new(Core::new(config, SessionId::from_bytes(id))) }) }
    }

    /// The id of this end.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.shared().lock().core.own()
    }

    /// The id of the other end, once it has greeted.
    #[must_use]
    pub fn peer_id(&self) -> Option<SessionId> {
        self.shared().lock().core.peer()
    }

    /// Goes on over this connection, from now on and instead of any other. The other end has to do the same with its
    /// side of it.
    ///
    /// What the connection before had in flight is sent again if it has not arrived. Must be called within a tokio
    /// runtime: a task moves the packets.
    pub fn attach<C>(&self, connection: C)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let max_payload = self.shared().lock().core.config().max_payload;
        let (reader, writer) = Reader::split(connection, max_payload);
        self.attach_parts(reader, writer, None);
    }

    fn attach_parts<C>(&self, reader: Reader<C>, writer: WriteHalf<C>, heard: Option<Hello>)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let patience = self.shared().lock().core.config().patience;
        self.shared().attach(|generation, greeting| {
            let pump = Pump::new(Arc::clone(self.shared()), generation, reader, writer);
            tokio::spawn(pump.run(greeting, heard, patience)).abort_handle()
        });
    }

    /// Drops the connection, if there is one. The session waits for the next.
    pub fn detach(&self) {
        self.shared().detach();
    }

    /// Whether a connection is attached and the other end has greeted.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.shared().lock().core.is_attached()
    }

    /// Waits until a connection is attached and the other end has greeted.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attached(&self) {
        self.until(Core::is_attached).await;
    }

    /// Waits until no connection is attached.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn detached(&self) {
        self.until(Core::is_detached).await;
    }

    /// Waits until the other end has everything that was sent.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn flush(&self) {
        self.until(Core::is_flushed).await;
    }

    /// Takes no more packets, and waits until the other end has everything and has been told that this is all, or
    /// has closed the session itself. Waits as long as that takes, for a connection if need be.
    ///
    /// # Cancel safety
    /// Safe: the session goes on closing.
    pub async fn close(&self) {
        self.shared().change(&[Interest::Writer, Interest::Room], Core::close);
        self.until(Core::is_closed).await;
    }

    /// Whether the session was closed, by us with everything delivered, or by the other end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().lock().core.is_closed()
    }

    async fn until(&self, condition: impl Fn(&Core) -> bool) {
        let check = |core: &mut Core| if condition(core) { Poll::Ready(()) } else { Poll::Pending };
        poll_fn(|cx| self.shared().poll(cx, Interest::State, check)).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

/// Packets.
impl Session {
    /// Queues a packet, waiting for room if there is none.
    ///
    /// # Errors
    /// [`TooLong`](SendError::TooLong), [`Closed`](SendError::Closed); the packet is handed back.
    ///
    /// # Cancel safety
    /// Safe: a packet is queued or not, and what was not queued is dropped with the future.
    pub async fn send(&self, packet: Packet) -> Result<(), SendError> {
        let mut waiting = Some(packet);
        poll_fn(|cx| match waiting.take() {
            Some(packet) => match self.poll_send(cx, packet) {
                Err(SendError::Full(packet)) => {
                    waiting = Some(packet);
                    Poll::Pending
                }
                outcome => Poll::Ready(outcome),
            },
            None => Poll::Pending,
        })
        .await
    }

    /// Queues a packet if there is room.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and [`Full`](SendError::Full); the packet is handed back.
    pub fn try_send(&self, packet: Packet) -> Result<(), SendError> {
        self.shared().change(&[Interest::Writer], |core| core.queue(packet))
    }

    /// Queues a packet, or has the task woken when there is room.
    fn poll_send(&self, cx: &Context<'_>, packet: Packet) -> Result<(), SendError> {
        match self.try_send(packet) {
            Err(SendError::Full(packet)) => {
                // Room may have come since: that counts too.
                let room = |core: &mut Core| if core.has_room() { Poll::Ready(()) } else { Poll::Pending };
                match self.shared().poll(cx, Interest::Room, room) {
                    Poll::Ready(()) => self.poll_send(cx, packet),
                    Poll::Pending => Err(SendError::Full(packet)),
                }
            }
            outcome => outcome,
        }
    }

    /// Packets that the other end has not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.shared().lock().core.unconfirmed()
    }

    /// The next packet; `None` once the other end has closed the session and everything has been taken.
    ///
    /// # Cancel safety
    /// Safe: no packet is lost.
    pub async fn recv(&self) -> Option<Packet> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) for hand-written futures.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<Option<Packet>> {
        let packet = self.shared().poll(cx, Interest::Packet, |core| match core.take() {
            Some(packet) => Poll::Ready(Some(packet)),
            None if core.is_ended() => Poll::Ready(None),
            None => Poll::Pending,
        });
        if matches!(packet, Poll::Ready(Some(_))) {
            self.shared().change(&[Interest::Reader], |_| ());
        }
        packet
    }

    /// The next packet, if one is there.
    #[must_use]
    pub fn try_recv(&self) -> Option<Packet> {
        self.shared().change(&[Interest::Reader], Core::take)
    }

    /// Where packets go in, as a `Sink`.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        Outgoing::new(self.clone())
    }

    /// Where packets come out, as a `Stream`.
    #[must_use]
    pub fn incoming(&self) -> Incoming {
        Incoming::new(self.clone())
    }

    /// What goes wrong, as a `Stream`. The last 64 errors wait to be looked at; those that hand packets back always
    /// do, and their packets count as queued until then.
    #[must_use]
    pub fn errors(&self) -> Errors {
        Errors::new(self.clone())
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("peer", &self.peer_id())
            .finish_non_exhaustive()
    }
}
