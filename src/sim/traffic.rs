//! What goes over a connection: the usual programs, put together from a few choices for each end.
//!
//! Content is a [`Pattern`]; whoever reads checks every byte.

use std::task::Poll;
use std::time::Duration;

use super::pattern::Pattern;
use super::program::{App, Leave, Program, Report};
use crate::error::CloseReason;
use crate::link::Size;
use crate::proto::endpoint::WriteError;

/// How much one call writes or reads, and how long the program then waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    chunk: usize,
    gap: Duration,
    never: bool,
}

impl Pace {
    /// As much as there is room for, at once.
    pub const FAST: Self = Self::new(16 << 10, Duration::ZERO);

    /// Not at all. Whoever never reads leaves when the connection has ended.
    pub const NEVER: Self = Self { chunk: 1, gap: Duration::ZERO, never: true };

    /// So many bytes (1 to 64 KiB) per call, and so long between calls.
    #[must_use]
    pub const fn new(chunk: usize, gap: Duration) -> Self {
        Self { chunk: if chunk == 0 { 1 } else { chunk }, gap, never: false }
    }
}

/// When an end of a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turns {
    /// At once.
    Free,
    /// Once the peer's direction has ended.
    AfterEof,
    /// As much as it has received, until that ends.
    Echo,
    /// `bytes` each time that it has received `per`; `opens` begins.
    PingPong { bytes: u64, per: u64, opens: bool },
}

/// How an end of a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Once everything sent is acknowledged and everything received is read.
    Graceful,
    /// Its handle is dropped after so many bytes, sent and received together.
    Drop(Size),
    /// It is aborted after so many bytes, sent and received together.
    Abort(Size),
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    send: u64,
    turns: Turns,
    write: Pace,
    read: Pace,
    parting: Parting,
}

impl Plan {
    const fn new(send: Size, turns: Turns) -> Self {
        let (write, read, parting) = (Pace::FAST, Pace::new(64 << 10, Duration::ZERO), Parting::Graceful);
        Self { send: send.as_bytes(), turns, write, read, parting }
    }
}

/// What goes over a connection.
///
/// ```
/// use std::time::Duration;
/// use ebbtide::sim::{Pace, Size, Traffic};
/// let upload = Traffic::bulk(Size::mib(5)).acceptor_reads(Pace::new(4096, Duration::from_millis(10)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    initiator: Plan,
    acceptor: Plan,
}

impl Traffic {
    /// The initiator sends; the acceptor reads to the end, and then ends its own direction.
    #[must_use]
    pub const fn bulk(size: Size) -> Self {
        Self::half_close(size, Size::ZERO)
    }

    /// Both send at once, so much each.
    #[must_use]
    pub const fn both_ways(there: Size, back: Size) -> Self {
        Self { initiator: Plan::new(there, Turns::Free), acceptor: Plan::new(back, Turns::Free) }
    }

    /// The initiator sends, and ends its direction; after that the acceptor sends.
    #[must_use]
    pub const fn half_close(there: Size, back: Size) -> Self {
        Self { initiator: Plan::new(there, Turns::Free), acceptor: Plan::new(back, Turns::AfterEof) }
    }

    /// The acceptor sends back what it reads, while it reads.
    #[must_use]
    pub const fn echo(size: Size) -> Self {
        Self { initiator: Plan::new(size, Turns::Free), acceptor: Plan::new(Size::ZERO, Turns::Echo) }
    }

    /// Messages of so many bytes go to and fro; neither sends before it has got the other's.
    #[must_use]
    pub const fn ping_pong(rounds: u64, message: Size) -> Self {
        Self::request_response(rounds, message, message)
    }

    /// The initiator asks with so many bytes, the acceptor answers with so many, and so on.
    #[must_use]
    pub const fn request_response(rounds: u64, request: Size, response: Size) -> Self {
        let (ask, answer) = (request.as_bytes(), response.as_bytes());
        let (asks, answers) = (Size::bytes(rounds * ask), Size::bytes(rounds * answer));
        Self {
            initiator: Plan::new(asks, Turns::PingPong { bytes: ask, per: answer, opens: true }),
            acceptor: Plan::new(answers, Turns::PingPong { bytes: answer, per: ask, opens: false }),
        }
    }

    /// A byte goes to and fro at the beginning and again after that long; between, nothing but keepalives.
    #[must_use]
    pub const fn idle(quiet: Duration) -> Self {
        Self::ping_pong(2, Size::bytes(1)).initiator_writes(Pace::new(1, quiet))
    }

    /// Like [`bulk`](Self::bulk), in writes of a single byte with that long between them.
    #[must_use]
    pub const fn drip(size: Size, gap: Duration) -> Self {
        Self::bulk(size).initiator_writes(Pace::new(1, gap))
    }

    /// The two ends change places: the acceptor does what the initiator did.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { initiator: self.acceptor, acceptor: self.initiator }
    }

    /// How the initiator writes (default [`Pace::FAST`]).
    #[must_use]
    pub const fn initiator_writes(mut self, pace: Pace) -> Self {
        self.initiator.write = pace;
        self
    }

    /// How the acceptor writes (default [`Pace::FAST`]).
    #[must_use]
    pub const fn acceptor_writes(mut self, pace: Pace) -> Self {
        self.acceptor.write = pace;
        self
    }

    /// How the initiator reads (default: whatever is there, at once).
    #[must_use]
    pub const fn initiator_reads(mut self, pace: Pace) -> Self {
        self.initiator.read = pace;
        self
    }

    /// How the acceptor reads (default: whatever is there, at once).
    #[must_use]
    pub const fn acceptor_reads(mut self, pace: Pace) -> Self {
        self.acceptor.read = pace;
        self
    }

    /// How the initiator leaves (default [`Parting::Graceful`]).
    #[must_use]
    pub const fn initiator_parts(mut self, parting: Parting) -> Self {
        self.initiator.parting = parting;
        self
    }

    /// How the acceptor leaves (default [`Parting::Graceful`]).
    #[must_use]
    pub const fn acceptor_parts(mut self, parting: Parting) -> Self {
        self.acceptor.parting = parting;
        self
    }

    /// Whether somebody reads more slowly than they could.
    pub(super) fn reads_slowly(&self) -> bool {
        [self.initiator, self.acceptor].iter().any(|plan| plan.read.never || !plan.read.gap.is_zero())
    }

    /// The programs of the two ends. `key` makes the content of this connection different from that of others.
    pub(super) fn programs(&self, key: u64) -> (Box<dyn Program>, Box<dyn Program>) {
        let (there, back) = (Pattern::new(2 * key), Pattern::new(2 * key + 1));
        // An echo has the content of what it answers.
        let back = if self.acceptor.turns == Turns::Echo { there } else { back };
        let there = if self.initiator.turns == Turns::Echo { back } else { there };
        (Box::new(Peer::new(self.initiator, there, back)), Box::new(Peer::new(self.acceptor, back, there)))
    }
}

/// One end of a connection at work.
#[derive(Debug)]
struct Peer {
    plan: Plan,
    out_pattern: Pattern,
    in_pattern: Pattern,
    /// What is to be written next.
    pending: Vec<u8>,
    pending_from: usize,
    write_at: Duration,
    read_at: Duration,
    finished: bool,
    /// Somebody else has ended its direction: the endpoint is closing.
    cut_short: bool,
    /// It has never read, and the connection has ended well without that.
    unread: bool,
    report: Report,
}

impl Peer {
    fn new(plan: Plan, out_pattern: Pattern, in_pattern: Pattern) -> Self {
        Self {
            plan,
            out_pattern,
            in_pattern,
            pending: Vec::new(),
            pending_from: 0,
            write_at: Duration::ZERO,
            read_at: Duration::ZERO,
            finished: false,
            cut_short: false,
            unread: false,
            report: Report::default(),
        }
    }

    /// How far it may have sent by now.
    fn may_send(&self) -> u64 {
        let Report { received, eof, .. } = self.report;
        match self.plan.turns {
            Turns::Free => self.plan.send,
            Turns::AfterEof if eof => self.plan.send,
            Turns::AfterEof => 0,
            Turns::Echo => received,
            Turns::PingPong { bytes, per, opens } => {
                let turns = received / per.max(1) + u64::from(opens);
                turns.saturating_mul(bytes).min(self.plan.send)
            }
        }
    }

    fn has_sent_all(&self) -> bool {
        let Report { sent, received, eof, .. } = self.report;
        match self.plan.turns {
            _ if self.cut_short => true,
            Turns::Echo => eof && sent == received,
            Turns::AfterEof => eof && sent == self.plan.send,
            // The other one has left the game: its turn will not come.
            Turns::PingPong { .. } if eof => sent >= self.may_send(),
            Turns::PingPong { .. } | Turns::Free => sent == self.plan.send,
        }
    }

    /// Writes what it may; whether that was anything.
    fn write(&mut self, app: &mut App<'_>) -> bool {
        let mut moved = false;
        while self.report.sent < self.may_send() && !self.is_over() && !self.cut_short {
            if app.now() < self.write_at {
                app.wake_at(self.write_at);
                break;
            }
            self.prepare();
            let rest = &self.pending[self.pending_from..];
            match app.handle().poll_write(&mut app.context(), rest) {
                Poll::Ready(Ok(taken)) => {
                    moved = true;
                    self.pending_from += taken;
                    self.report.sent += taken as u64;
                    self.write_at = app.now() + self.plan.write.gap;
                }
                Poll::Ready(Err(WriteError::Closed(reason))) => self.report.closed = Some(reason),
                Poll::Ready(Err(WriteError::Finished)) => self.cut_short = true,
                Poll::Pending => break,
            }
        }
        moved
    }

    /// Something to write is at hand.
    fn prepare(&mut self) {
        if self.pending_from < self.pending.len() {
            return;
        }
        let left = self.may_send() - self.report.sent;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.plan.write.chunk);
        self.pending.resize(len, 0);
        self.pending_from = 0;
        self.out_pattern.fill(self.report.sent, &mut self.pending);
    }

    /// Reads what there is; whether that was anything.
    fn read(&mut self, app: &mut App<'_>) -> bool {
        if self.plan.read.never {
            self.wait_for_the_end(app);
            return false;
        }
        let mut moved = false;
        while !self.report.eof && !self.is_over() {
            if app.now() < self.read_at {
                app.wake_at(self.read_at);
                break;
            }
            let (handle, mut cx) = (app.handle(), app.context());
            let scratch = app.scratch();
            let room = self.plan.read.chunk.min(scratch.len());
            match handle.poll_read(&mut cx, &mut scratch[..room]) {
                Poll::Ready(Ok(0)) => self.report.eof = true,
                Poll::Ready(Ok(bytes)) => {
                    let wrong = self.in_pattern.first_wrong(self.report.received, &scratch[..bytes]);
                    self.report.wrong_at = self.report.wrong_at.or(wrong);
                    self.report.received += bytes as u64;
                    self.read_at = app.now() + self.plan.read.gap;
                }
                Poll::Ready(Err(reason)) => self.report.closed = Some(reason),
                Poll::Pending => break,
            }
            moved = true;
        }
        moved
    }

    /// Nobody is woken for the end of a connection while there is something to read, so it looks every second.
    fn wait_for_the_end(&mut self, app: &mut App<'_>) {
        match app.handle().close_reason() {
            Some(CloseReason::Finished) => self.unread = true,
            Some(reason) => self.report.closed = Some(reason),
            None => app.wake_at(app.now() + Duration::from_secs(1)),
        }
    }

    /// Ends its direction once it has nothing to send, and sees whether that was acknowledged.
    fn finish(&mut self, app: &App<'_>) {
        if !self.has_sent_all() || self.report.acked || self.is_over() {
            return;
        }
        let (handle, mut cx) = (app.handle(), app.context());
        if !self.finished {
            self.finished = true;
            if let Poll::Ready(Err(reason)) = handle.poll_finish(&mut cx) {
                self.report.closed = Some(reason);
            }
        }
        match handle.poll_acked(&mut cx) {
            Poll::Ready(Ok(())) => self.report.acked = true,
            Poll::Ready(Err(reason)) => self.report.closed = Some(reason),
            Poll::Pending => {}
        }
    }

    const fn is_over(&self) -> bool {
        self.unread || self.report.closed.is_some()
    }

    fn parts(&self) -> Option<Leave> {
        let moved = self.report.sent + self.report.received;
        match self.plan.parting {
            Parting::Graceful => None,
            Parting::Drop(after) => (moved >= after.as_bytes()).then_some(Leave::Drop),
            Parting::Abort(after) => (moved >= after.as_bytes()).then_some(Leave::Abort),
        }
    }
}

impl Program for Peer {
    fn step(&mut self, app: &mut App<'_>) -> Poll<Leave> {
        loop {
            // Reading first: what has arrived can still be read when writing already fails.
            let moved = self.read(app) | self.write(app);
            if let Some(leave) = self.parts() {
                return Poll::Ready(leave);
            }
            self.finish(app);
            let done = self.report.eof && self.report.acked;
            if done || self.is_over() {
                return Poll::Ready(Leave::Drop);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn report(&self) -> Report {
        self.report
    }
}
