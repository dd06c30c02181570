//! Two who have met meet again when their stream has lost its way, or goes through a server.
//!
//! ```text
//!   the stream goes its way ─ peer lost, or never found without a server ─▶ both go back into the room
//!        ▲                                                                        │ way found, on which the stream goes on
//!        └────────────────────────────────────────────────────────────────────────┘ none: once more, later
//! ```
//!
//! Who wants to be met through a server only is not met again: others would learn where it is.
//!
//! A NAT that forgets one of the two is mended in the stream itself, as long as what comes from the new port reaches the
//! other one. Where it does not, nothing that the two can say to each other helps, and the one who introduced them has to.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{AgentConfig, Meeting, RelayUse};
use crate::proto::endpoint::{Mover, Shared};
use crate::time::Instant;

/// Ours: how often it is looked whether the peer is lost. Not less than the stream itself takes to ask once more.
const LOOK: Duration = Duration::from_millis(250);

/// Ours: how long the other one is waited for in the room: it notices up to two keepalives later.
const WAIT: Duration = Duration::from_secs(45);

/// Ours: pauses after vain meetings, the first and the longest, each twice as long as the one before: a stream that is lost
/// lasts for a minute or two.
const AGAIN_LOST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// Ours: the same for a stream that goes through a server, which is no trouble but for the server.
const AGAIN_RELAYED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// What keeps the way of one stream. Dropping it lets the stream go on by itself.
#[derive(Debug)]
pub struct Keeper {
    config: AgentConfig,
    rng: StdRng,
    stream: Mover,
    /// It goes through a server.
    relayed: bool,
    meeting: Option<Meeting>,
    /// When to look, or how long to wait in the room.
    next: Instant,
    /// When the next meeting may begin, and the pause after that.
    from: Instant,
    pause: Duration,
    /// Ways found.
    found: u32,
}

impl Keeper {
    /// For the stream of two who have met with that configuration, `relayed` if it goes through a server.
    #[must_use]
    pub fn new(now: Instant, config: AgentConfig, seed: [u8; 32], stream: Mover, relayed: bool) -> Self {
        let mut this = Self {
            config,
            rng: StdRng::from_seed(seed),
            stream,
            relayed,
            meeting: None,
            next: now,
            from: now,
            pause: Duration::ZERO,
            found: 0,
        };
        this.pause = this.pauses().0;
        if relayed {
            // It was looked for just now.
            this.from = now + this.pause;
        }
        this
    }

    /// How often another way was found.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }

    /// Goes as far as it gets; ready once the stream is over.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) -> Poll<()> {
        if self.stream.is_over() {
            self.end(cx, now, shared);
            return Poll::Ready(());
        }
        let wanted = self.config.relay != RelayUse::Only && (self.relayed || self.stream.is_lost());
        match &mut self.meeting {
            None if self.next <= now => {
                self.next = now + LOOK;
                if wanted && self.from <= now {
                    let meeting = Meeting::again(self.config.clone(), self.rng.random(), self.stream.clone());
                    self.meeting = Some(meeting);
                    self.next = now + WAIT;
                    return self.poll(cx, now, shared);
                }
            }
            None => {}
            Some(meeting) => match meeting.poll(cx, now, shared) {
                Poll::Ready(Ok(_)) => {
                    self.relayed = false;
                    self.found += 1;
                    self.pause = self.pauses().0;
                    self.begin_anew(now, Duration::ZERO);
                }
                Poll::Ready(Err(_)) => self.be_patient(now),
                // It has been found without this, or the other one does not come.
                Poll::Pending if !wanted || self.next <= now => {
                    self.end(cx, now, shared);
                    self.be_patient(now);
                }
                Poll::Pending => {}
            },
        }
        Poll::Pending
    }

    /// When to call [`poll`](Self::poll) at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let meeting = self.meeting.as_ref().and_then(Meeting::poll_timeout);
        meeting.map_or(self.next, |at| at.min(self.next))
    }

    const fn pauses(&self) -> (Duration, Duration) {
        if self.relayed { AGAIN_RELAYED } else { AGAIN_LOST }
    }

    fn be_patient(&mut self, now: Instant) {
        let pause = self.pause;
        self.pause = (2 * pause).min(self.pauses().1);
        self.begin_anew(now, pause);
    }

    fn begin_anew(&mut self, now: Instant, pause: Duration) {
        self.meeting = None;
        (self.from, self.next) = (now + pause, now + pause.min(LOOK));
    }

    fn end(&mut self, cx: &mut Context<'_>, now: Instant, shared: &Arc<Shared>) {
        if let Some(mut meeting) = self.meeting.take() {
            meeting.leave(cx, now, shared);
        }
    }
}
