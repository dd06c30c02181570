//! Looking after the way of a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::client::Wait;
use crate::proto::rendezvous::Keeper;

/// Looks after the way of a stream, made by [`Client::keep`](super::Client::keep).
#[must_use = "nothing happens unless it is polled"]
pub struct Keep {
    pub(super) keeper: Keeper,
    pub(super) wait: Wait,
}

impl Keep {
    /// How often another way was found.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.keeper.found()
    }
}

impl Future for Keep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { keeper, wait } = &mut *self;
        loop {
            if keeper.poll(cx, wait.now(), &wait.lease).is_ready() {
                return Poll::Ready(());
            }
            if !wait.is_due(cx, Some(keeper.poll_timeout())) {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}
