//! What runs on a host: the application's half of a connection, as a machine that is stepped.
//!
//! A program uses its [`Handle`] as an async stream would: it polls, and is stepped again when its waker is called.
//! So a simulation also finds wake-ups that never come. Implement [`Program`] to test a protocol of your own;
//! [`traffic`](super::Traffic) has the usual ones.

use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::CloseReason;
use crate::link::nanos;
use crate::proto::endpoint::Handle;

/// The application at one end of a connection.
pub trait Program: fmt::Debug {
    /// Goes as far as it gets. Called once at the start, and then whenever the waker of [`App::context`] was called
    /// or the alarm rang; must not mind being called more often.
    ///
    /// Ready with how it leaves once it has nothing more to do: then the handle is dropped.
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave>;

    /// What it has done and seen so far.
    fn report(&self) -> Report {
        Report::default()
    }
}

/// How a program leaves its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Its handle is dropped.
    Drop,
    /// It is aborted, and then its handle is dropped.
    Abort,
    /// Its host has vanished. Programs do not return this.
    Vanish,
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Abort => "abort",
            Self::Vanish => "vanish",
        })
    }
}

/// What a program has done and seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes that the connection has taken.
    pub sent: u64,
    /// Bytes read.
    pub received: u64,
    /// The peer's direction was read to its end.
    pub eof: bool,
    /// Everything sent, and the end of our direction, was acknowledged.
    pub acked: bool,
    /// Why the connection ended, if it did not end well.
    pub closed: Option<CloseReason>,
    /// Where the first wrong byte was, if there was one.
    pub wrong_at: Option<u64>,
}

/// What a program has at hand during a step.
pub struct App<'a> {
    pub(super) handle: &'a Handle,
    pub(super) waker: &'a Waker,
    pub(super) now: Duration,
    pub(super) scratch: &'a mut [u8],
    /// Nanoseconds.
    pub(super) alarm: Option<u64>,
}

impl<'a> App<'a> {
    /// Its end of the connection.
    #[must_use]
    pub const fn handle(&self) -> &'a Handle {
        self.handle
    }

    /// The context to poll with: its waker brings the next step.
    #[must_use]
    pub const fn context(&self) -> Context<'a> {
        Context::from_waker(self.waker)
    }

    /// Time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// 64 KiB to read into, shared by all programs: what is in there between steps is anybody's.
    #[must_use]
    pub const fn scratch(&mut self) -> &mut [u8] {
        self.scratch
    }

    /// Asks for a step at that time, counted from the beginning of the world. The earliest of several counts.
    pub fn wake_at(&mut self, at: Duration) {
        let at = nanos(at);
        self.alarm = Some(self.alarm.map_or(at, |known| known.min(at)));
    }
}

impl fmt::Debug for App<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("handle", &self.handle).field("now", &self.now).finish_non_exhaustive()
    }
}
