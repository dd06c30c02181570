//! Asking where we seem to be: one server, or several to know what is in front of us.
//!
//! The applications' side: what is asked goes through the mailbox, what is answered through a cell that both sides
//! hold. Knows nothing of what travels.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Shared;
use super::waiters::exchange;
use crate::proto::batch::{Path, SocketId};
use crate::proto::punch::NatReport;
use crate::proto::stun::{StunError, Survey};
use crate::proto::sync::{Mutex, MutexGuard};
use crate::time::Instant;

/// A question on its way to the driver.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) path: Path,
    pub(super) asking: Arc<Asking>,
}

/// Where the answer is put. One half is with whoever asked, the other with the driver.
#[derive(Debug, Default)]
pub(super) struct Asking {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Result<SocketAddr, StunError>>,
    waker: Option<Waker>,
}

impl Asking {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody waits for the answer.
    pub(super) fn is_wanted(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// There is an answer, or there will be none.
    pub(super) fn end(&self, answer: Result<SocketAddr, StunError>, woken: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.answer.get_or_insert(answer);
        woken.extend(state.waker.take());
    }
}

/// A question to a STUN server. Dropping it takes it back.
pub struct Reflecting {
    asking: Arc<Asking>,
    socket: Option<SocketId>,
}

impl Reflecting {
    /// Ready with the address by which the server sees the socket; IPv4 as IPv4. Only the last task to ask is woken.
    ///
    /// # Errors
    /// See [`StunError`]; within three seconds there is an answer of one kind or the other.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketAddr, StunError>> {
        let mut state = self.asking.lock();
        if let Some(answer) = state.answer {
            return Poll::Ready(answer);
        }
        let old = exchange(&mut state.waker, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Through which socket it is asked; `None` if none reaches the server.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketId> {
        self.socket
    }
}

impl fmt::Debug for Reflecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflecting").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Several questions, and what follows from the answers.
pub struct Surveying {
    survey: Survey,
    /// By the number of the question; `None` once it is answered.
    questions: Vec<Option<Reflecting>>,
}

impl Surveying {
    /// Ready with what is known by then, once everybody has answered or no longer will, or it is
    /// [time](Self::deadline). `locals` are the addresses that the socket itself has: where one of them is what the servers
    /// see, there is no NAT.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant, locals: &[SocketAddr]) -> Poll<NatReport> {
        for (number, question) in self.questions.iter_mut().enumerate() {
            if let Some(asked) = question
                && let Poll::Ready(answer) = asked.poll(cx)
            {
                self.survey.answered(now, number, answer);
                *question = None;
            }
        }
        match self.survey.deadline() {
            Some(at) if at <= now => Poll::Ready(self.survey.report(locals)),
            _ => Poll::Pending,
        }
    }

    /// When to [poll](Self::poll) again, whatever happens until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.survey.deadline()
    }

    /// Why nobody has answered, if nobody has.
    #[must_use]
    pub fn failure(&self) -> Option<StunError> {
        self.survey.failure()
    }
}

impl fmt::Debug for Surveying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surveying").field("survey", &self.survey).finish_non_exhaustive()
    }
}

/// Where we are, as others see it.
impl Shared {
    /// Asks a STUN server for the address by which it sees a socket: that one, or else the first that reaches it.
    pub fn reflect(self: &Arc<Self>, socket: Option<SocketId>, server: SocketAddr) -> Reflecting {
        let asking = Arc::<Asking>::default();
        let (failure, socket) = self.post(|mailbox, _| {
            let path = match socket {
                Some(socket) => mailbox.sockets.path_via(socket, server),
                None => mailbox.sockets.path_to(server),
            };
            match path {
                _ if mailbox.is_closed() => (Some(StunError::Closed), None),
                None => (Some(StunError::Unreachable), None),
                Some(path) => {
                    mailbox.mail.asks.push(Ask { path, asking: Arc::clone(&asking) });
                    (None, Some(path.socket))
                }
            }
        });
        asking.lock().answer = failure.map(Err);
        Reflecting { asking, socket }
    }

    /// Asks several servers, to know what is in front of the sockets, see [`Survey`]. `now` is the endpoint's time.
    pub fn survey(self: &Arc<Self>, now: Instant, servers: &[SocketAddr]) -> Surveying {
        let survey = Survey::new(now, servers);
        let questions = survey.servers().map(|server| Some(self.reflect(None, server))).collect();
        Surveying { survey, questions }
    }

    /// Whether this endpoint answers STUN Binding questions itself (it does not at the beginning).
    ///
    /// A question of 44 bytes, as this crate asks, gets no more bytes than it brought; shorter ones get an answer at
    /// most ten times a second per network (IPv4 /24, IPv6 /56).
    pub fn serve_stun(&self, serve: bool) {
        self.post(|mailbox, _| mailbox.mail.serve_stun = Some(serve));
    }
}
