//! The driver: one task that takes turns with an endpoint and its sockets, and sleeps in between.
//!
//! ```text
//!   turn (see `pump.rs`); then: more to do, or somebody heard from? let others run, then again
//!                               else wait for: datagrams · room to send · time · mail
//! ```

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;

use super::clock::{Alarm, Clock};
use super::counters::IoCounters;
use super::pump::Pump;
use super::socket::PollDatagrams;
use crate::config::Config;
use crate::proto::endpoint::Shared;

/// Turns without pause for other tasks while each of them finds a little.
const TURNS_MAX: usize = 4;

/// Moves the datagrams of an endpoint: to be spawned, or polled by hand.
///
/// Comes with [`UtpSocket::over`](crate::UtpSocket::over). Ends when the socket has been closed and everything is
/// delivered, or when a transport is gone. If it is dropped before that, every connection fails with
/// [`EndpointClosed`](crate::CloseReason::EndpointClosed).
pub struct Driver<S: PollDatagrams> {
    pump: Pump<S>,
    clock: Clock,
    /// Nothing is ever said here. It closes when the driver is gone, after the sockets because of its place.
    alive: watch::Sender<()>,
}

impl<S: PollDatagrams> Driver<S> {
    /// An endpoint over these sockets.
    ///
    /// # Errors
    /// Without a socket; a socket that cannot tell its address; a system without a source of randomness.
    pub(crate) fn new(sockets: Vec<S>, config: Arc<Config>) -> io::Result<Self> {
        Ok(Self { pump: Pump::new(sockets, config)?, clock: Clock::start(), alive: watch::Sender::new(()) })
    }

    /// The applications' side of the endpoint.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(self.pump.shared())
    }

    /// What went through the sockets.
    pub(crate) fn counters(&self) -> Arc<IoCounters> {
        Arc::clone(self.pump.counters())
    }

    /// Closes when the driver and its sockets are gone.
    pub(crate) fn end(&self) -> watch::Receiver<()> {
        self.alive.subscribe()
    }

    /// Drives until the socket is closed and drained. Must be polled within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// When a transport is gone. Every connection has failed by then.
    ///
    /// # Cancel safety
    /// Dropping it is the end of the socket: every connection fails with
    /// [`EndpointClosed`](crate::CloseReason::EndpointClosed).
    pub async fn run(mut self) -> io::Result<()> {
        let mut alarm = Alarm::new(self.clock);
        let outcome = poll_fn(|cx| self.poll(cx, &mut alarm)).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the socket is gone");
        }
        outcome
    }

    fn poll(&mut self, cx: &mut Context<'_>, alarm: &mut Alarm) -> Poll<io::Result<()>> {
        for _ in 0..TURNS_MAX {
            let clock = self.clock;
            let before = self.pump.heard();
            let more = self.pump.turn(|| clock.now())?;
            if !more && self.pump.is_drained() {
                return Poll::Ready(Ok(()));
            }
            // Whoever was woken goes first: what they answer leaves before anything is prepared for a wait. While a socket
            // is full nothing leaves.
            if more || (self.pump.heard() > before && self.pump.full_socket().is_none()) {
                break;
            }
            if self.poll_idle(cx, alarm)?.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for something to do. Whatever is found ready is not waited for any more, so a turn has to follow.
    fn poll_idle(&mut self, cx: &mut Context<'_>, alarm: &mut Alarm) -> Poll<io::Result<()>> {
        if self.pump.shared().register_driver(cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        let full = self.pump.full_socket();
        let mut lost = None;
        for (id, socket) in self.pump.sockets() {
            let mut ready = socket.poll_recv_ready(cx);
            if full == Some(id) && ready.is_pending() {
                ready = socket.poll_send_ready(cx);
            }
            match ready {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => {
                    lost = Some((id, error));
                    break;
                }
                Poll::Pending => {}
            }
        }
        if let Some((id, error)) = lost {
            return Poll::Ready(self.pump.lose(id, error));
        }
        match self.pump.next_timeout() {
            Some(deadline) => alarm.poll_reached(cx, deadline).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl<S: PollDatagrams> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pump.fmt(f)
    }
}
