//! One connection of a reactor: what there is to tell about it, one thing at a time.
//!
//! Whatever says "not yet" has registered the bell under the same lock, so what happens next rings it.

use std::task::Poll;

use super::bell::Bell;
use super::event::{Event, PeerId};
use crate::error::CloseReason;
use crate::proto::endpoint::Handle;

/// A connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) handle: Handle,
    pub(super) bell: Bell,
    pub(super) carries: Carries,
    stage: Stage,
}

/// What a connection carries.
#[derive(Debug)]
pub(super) enum Carries {
    Messages {
        /// Channels that have refused a message, and whose room is to be told. Never more than there are channels.
        full: Vec<u8>,
    },
    Stream(Stream),
}

/// What is known about a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// It was told that there is something to read, and nothing has been read since.
    pub(super) told: bool,
    /// The end, or an error, was read.
    pub(super) ended: bool,
    /// A write would have had to wait.
    pub(super) full: bool,
    pub(super) finishing: Finishing,
}

/// How far the end of our direction of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Finishing {
    #[default]
    No,
    Asked,
    Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Calling,
    /// Nobody has been told of it yet.
    Called,
    Open,
}

/// What there is to tell.
pub(super) enum News {
    Event(Event),
    /// It is over, which is the last thing to tell.
    Over(CloseReason),
    /// It is over before anybody was told of it.
    Vanished,
}

impl Peer {
    /// One that we have started.
    pub(super) const fn calling(handle: Handle, bell: Bell, carries: Carries) -> Self {
        Self { handle, bell, carries, stage: Stage::Calling }
    }

    /// One that somebody has started with us, who has still to prove that we hear each other.
    pub(super) const fn called(handle: Handle, bell: Bell, carries: Carries) -> Self {
        Self { handle, bell, carries, stage: Stage::Called }
    }

    /// A stream that is open.
    pub(super) fn open(handle: Handle, bell: Bell) -> Self {
        Self { handle, bell, carries: Carries::stream(), stage: Stage::Open }
    }

    /// Whether it was told that it is open.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// The next thing to tell; with `Pending`, the bell rings when there is one.
    pub(super) fn poll_news(&mut self, peer: PeerId) -> Poll<News> {
        if self.stage != Stage::Open {
            return self.poll_open(peer);
        }
        match &mut self.carries {
            Carries::Messages { full } => poll_messages(&self.handle, &self.bell, full, peer),
            Carries::Stream(stream) => stream.poll_news(&self.handle, &self.bell, peer),
        }
    }

    fn poll_open(&mut self, peer: PeerId) -> Poll<News> {
        let called = self.stage == Stage::Called;
        self.handle.poll_confirmed(&mut self.bell.context()).map(|outcome| match outcome {
            Ok(()) => {
                self.stage = Stage::Open;
                News::Event(Event::Connected { peer, addr: self.handle.peer_addr() })
            }
            Err(_) if called => News::Vanished,
            Err(reason) => News::Over(reason),
        })
    }
}

impl Carries {
    pub(super) const fn messages() -> Self {
        Self::Messages { full: Vec::new() }
    }

    pub(super) fn stream() -> Self {
        Self::Stream(Stream::default())
    }
}

/// Messages before receipts, receipts before the end.
fn poll_messages(handle: &Handle, bell: &Bell, full: &mut Vec<u8>, peer: PeerId) -> Poll<News> {
    let mut cx = bell.context();
    let over = match handle.poll_message(&mut cx) {
        Poll::Ready(Ok(Some(message))) => {
            let event = Event::Message { peer, channel: message.channel, bytes: message.bytes };
            return Poll::Ready(News::Event(event));
        }
        Poll::Ready(Ok(None)) => Some(CloseReason::Finished),
        Poll::Ready(Err(reason)) => Some(reason),
        Poll::Pending => None,
    };
    if let Poll::Ready(Ok(receipt)) = handle.poll_receipt(&mut cx) {
        return Poll::Ready(News::Event(Event::Acked { peer, receipt }));
    }
    if let Some(reason) = over {
        return Poll::Ready(News::Over(reason));
    }
    let has_room = |channel: &u8| handle.poll_room_for_message(&mut bell.context(), *channel).is_ready();
    match full.iter().position(has_room) {
        Some(place) => Poll::Ready(News::Event(Event::Room { peer, channel: full.swap_remove(place) })),
        None => Poll::Pending,
    }
}

impl Stream {
    fn poll_news(&mut self, handle: &Handle, bell: &Bell, peer: PeerId) -> Poll<News> {
        let mut cx = bell.context();
        if !self.told && !self.ended {
            match handle.poll_peek(&mut cx, &mut [0]) {
                Poll::Ready(Ok(_)) => {
                    self.told = true;
                    return Poll::Ready(News::Event(Event::Readable { peer }));
                }
                // Nobody has to read that: it is told.
                Poll::Ready(Err(reason)) => return Poll::Ready(News::Over(reason)),
                Poll::Pending => {}
            }
        }
        if self.full && handle.poll_writable(&mut cx).is_ready() {
            self.full = false;
            return Poll::Ready(News::Event(Event::Writable { peer }));
        }
        if self.finishing == Finishing::No && !self.ended {
            return Poll::Pending;
        }
        match handle.poll_acked(&mut cx) {
            Poll::Ready(Ok(())) if self.finishing == Finishing::Asked => {
                self.finishing = Finishing::Told;
                Poll::Ready(News::Event(Event::Finished { peer }))
            }
            Poll::Ready(_) if self.ended => {
                Poll::Ready(News::Over(handle.close_reason().unwrap_or(CloseReason::Finished)))
            }
            _ => Poll::Pending,
        }
    }
}
