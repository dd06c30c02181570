//! Incoming connections: accepted, or looked at first.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::message::{MessageConfig, MessageConnection};
use super::socket::Inner;
use super::stream::UtpStream;
use crate::error::CloseReason;
use crate::proto::endpoint;
use crate::wire::Service;

/// Takes the incoming connections of a [`UtpSocket`](crate::UtpSocket).
///
/// Several listeners of one socket share them: each connection goes to one. When the last one is dropped, further
/// connections are refused.
pub struct UtpListener {
    inner: Arc<Inner>,
    service: Option<Service>,
}

impl UtpListener {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        inner.listener_made(None);
        Self { inner, service: None }
    }

    pub(super) fn for_service(inner: Arc<Inner>, service: Service) -> Self {
        inner.listener_made(Some(service));
        Self { inner, service: Some(service) }
    }

    /// The next incoming connection, accepted, and where it comes from.
    ///
    /// The initiator has mostly not proved its address yet: what is written here leaves once it has.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(UtpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`accept`](Self::accept) for hand-written futures. Any number of tasks may wait.
    ///
    /// # Errors
    /// As for `accept`.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UtpStream, SocketAddr)>> {
        poll_accept(&self.inner, self.service, cx)
    }

    /// The next incoming connection, undecided: next to nothing has been spent on it, and nothing has been answered,
    /// unless there is a rush and it [has proved](Incoming::is_proved) its address already.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) once the socket is closed.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    pub async fn incoming(&self) -> io::Result<Incoming> {
        poll_fn(|cx| self.poll_incoming(cx)).await
    }

    /// [`incoming`](Self::incoming) for hand-written futures. Any number of tasks may wait.
    ///
    /// # Errors
    /// As for `incoming`.
    pub fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        poll_incoming(&self.inner, self.service, cx)
    }

    /// Which service it takes connections for; `None` for those that name none.
    #[must_use]
    pub const fn service(&self) -> Option<Service> {
        self.service
    }

    /// The address that the socket is bound to; the first one if there are several.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
}

impl Drop for UtpListener {
    fn drop(&mut self) {
        self.inner.listener_dropped(self.service);
    }
}

impl fmt::Debug for UtpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UtpListener").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

/// A connection that somebody wants to have with us. Dropping it refuses it.
///
/// The address it claims to come from may be forged, unless it [has proved](Self::is_proved) it.
#[derive(Debug)]
pub struct Incoming(endpoint::Incoming);

impl Incoming {
    /// Where it claims to come from.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr()
    }

    /// Whether the initiator has proved that it receives at that address. It has if there were more connections at
    /// once than [`Config::half_open`](crate::Config::half_open) admits: then it was answered before anybody was
    /// asked, takes itself for connected, and learns of a refusal as a reset.
    #[must_use]
    pub const fn is_proved(&self) -> bool {
        self.0.is_proved()
    }

    /// Which service it asks for, if any.
    #[must_use]
    pub const fn service(&self) -> Option<Service> {
        self.0.service()
    }

    /// Accepts it.
    ///
    /// After longer than [`Config::connect_timeout`](crate::Config::connect_timeout) the initiator has given up, and
    /// the stream is over before it began.
    #[must_use]
    pub fn accept(self) -> UtpStream {
        UtpStream::new(self.0.accept())
    }

    /// Accepts it for messages on these channels.
    ///
    /// # Errors
    /// Hands it back if the initiator wants a stream, or other channels.
    pub fn accept_messages(self, config: &MessageConfig) -> Result<MessageConnection, Box<Self>> {
        self.0
            .accept_messages(config)
            .map(MessageConnection::new)
            .map_err(|incoming| Box::new(Self(*incoming)))
    }

    /// Refuses it, so that the initiator knows at once.
    pub fn refuse(self) {
        self.0.refuse();
    }

    /// Answers nothing. If the initiator tries again, it comes again.
    pub fn ignore(self) {
        self.0.ignore();
    }
}

pub(super) fn poll_incoming(
    inner: &Inner,
    service: Option<Service>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Incoming>> {
    let incoming = ready!(match service {
        Some(service) => inner.shared().poll_incoming_for(cx, service),
        None => inner.shared().poll_incoming(cx),
    });
    Poll::Ready(incoming.map(Incoming).ok_or_else(|| CloseReason::EndpointClosed.into()))
}

pub(super) fn poll_accept(
    inner: &Inner,
    service: Option<Service>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(UtpStream, SocketAddr)>> {
    let incoming = ready!(poll_incoming(inner, service, cx))?;
    let peer = incoming.peer_addr();
    Poll::Ready(Ok((incoming.accept(), peer)))
}
