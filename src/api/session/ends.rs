//! A session's queues as `Sink` and `Stream`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;

use super::core::Core;
use super::shared::Interest;
use super::{SendError, Session, SessionError};
use crate::api::packet::Packet;

/// Where packets go in. Ready means that there was room; flushed, that the other end has everything; closing closes
/// the session.
pub struct Outgoing {
    session: Session,
}

/// Where packets come out. Ends when the other end has closed the session.
pub struct Incoming {
    session: Session,
}

/// What goes wrong. Never ends; several share what there is.
pub struct Errors {
    session: Session,
}

impl Outgoing {
    pub(super) const fn new(session: Session) -> Self {
        Self { session }
    }

    fn poll_until(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        condition: fn(&Core) -> bool,
    ) -> Poll<Result<(), SendError>> {
        let check = |core: &mut Core| if condition(core) { Poll::Ready(Ok(())) } else { Poll::Pending };
        self.session.shared().poll(cx, interest, check)
    }
}

impl Incoming {
    pub(super) const fn new(session: Session) -> Self {
        Self { session }
    }
}

impl Errors {
    pub(super) const fn new(session: Session) -> Self {
        Self { session }
    }
}

impl Sink<Packet> for Outgoing {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        // A closed session refuses the packet itself, and hands it back.
        self.poll_until(cx, Interest::Room, |core| core.has_room() || core.is_closing())
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), SendError> {
        self.session.try_send(packet)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_until(cx, Interest::State, Core::is_flushed)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.session.shared().change(&[Interest::Writer, Interest::Room], Core::close);
        self.poll_until(cx, Interest::State, Core::is_closed)
    }
}

impl Stream for Incoming {
    type Item = Packet;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        self.session.poll_recv(cx)
    }
}

impl Stream for Errors {
    type Item = SessionError;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionError>> {
        let error = self.session.shared().poll(cx, Interest::Error, |core| match core.take_error() {
            Some(error) => Poll::Ready(Some(error)),
            None => Poll::Pending,
        });
        if error.is_ready() {
            // What it handed back does not count as queued any more.
            self.session.shared().change(&[Interest::Room], |_| ());
        }
        error
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outgoing").field(&self.session).finish()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.session).finish()
    }
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Errors").field(&self.session).finish()
    }
}
