//! STUN on the port of an endpoint: our questions and their answers, and answers to others' questions.
//!
//! Both share the port with uTP and with whatever else there is. A datagram is STUN if it has the shape, and if we
//! wait for an answer with its number, or answer questions: a Binding success alone looks like a uTP packet with data.
//! What answers say is not known here, nor what is done with them.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::Endpoint;
use super::bucket::Bucket;
use super::keyed::{Keyed, Source};
use super::reflect::{Ask, Asking};
use super::sockets::canonical;
use super::waiters::wake_all;
use crate::proto::batch::{Batch, Path, SocketId};
use crate::proto::stun::{Client, Heard, StunError, reply};
use crate::time::Instant;
use crate::wire::{StunBuf, StunId, StunMessage};

/// Ours: answers written and not yet sent, 32 KiB at most; as many as a driver receives datagrams before it sends.
const PENDING_MAX: usize = 256;

/// Ours: answers per second towards one network (IPv4: /24, IPv6: /56) that are longer than the question. A server
/// that many need at once is asked by clients that fill up their questions.
const LONGER_PER_SECOND: u32 = 10;

/// Ours: counters for networks, 2 KiB.
const SLOTS: usize = 256;

/// What an endpoint knows of STUN.
#[derive(Debug, Default)]
pub(super) struct Stun {
    client: Client<Arc<Asking>>,
    /// There while we answer questions.
    server: Option<Server>,
    /// At most [`PENDING_MAX`].
    replies: VecDeque<(Path, StunBuf)>,
    /// Whether a datagram may be for us at all. Looked at for each.
    active: bool,
}

#[derive(Debug)]
struct Server {
    keyed: Keyed,
    longer: Box<[Bucket; SLOTS]>,
}

impl Server {
    fn new(rng: &mut StdRng) -> Self {
        Self { keyed: Keyed::draw(rng), longer: Box::new([Bucket::default(); SLOTS]) }
    }

    /// Whether an answer that is longer than the question may leave.
    fn admits_longer(&mut self, now: Instant, path: Path) -> bool {
        let slot = self.keyed.slot(Source::of(path).network(), SLOTS);
        let bucket = &mut self.longer[slot];
        let admits = bucket.available(now, LONGER_PER_SECOND) > 0;
        if admits {
            bucket.take(now, LONGER_PER_SECOND, 1);
        }
        admits
    }
}

impl Stun {
    /// Whether a datagram of that shape may be for us.
    pub(super) const fn is_active(&self) -> bool {
        self.active
    }

    pub(super) fn has_work(&self) -> bool {
        !self.replies.is_empty() || self.client.has_work()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.client.next_timeout()
    }

    /// Writes the next one into an empty batch.
    pub(super) fn write(&mut self, now: Instant, batch: &mut Batch) -> Option<Path> {
        if let Some(path) = self.client.write(now, batch) {
            return Some(path);
        }
        let (path, reply) = self.replies.pop_front()?;
        batch.push_sealed(reply.bytes());
        Some(path)
    }

    /// Drops what was to leave through a socket that has gone.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.replies.retain(|(path, _)| path.socket != socket);
    }

    fn update(&mut self) {
        self.active = self.server.is_some() || self.client.expects();
    }
}

impl Endpoint {
    /// Begins to ask.
    pub(super) fn begin_to_ask(&mut self, now: Instant, ask: Ask) {
        self.stun.client.retain(|asking| asking.is_wanted());
        let id = StunId(self.rng.random());
        if let Err(asking) = self.stun.client.ask(now, id, ask.path, ask.asking) {
            asking.end(Err(StunError::Busy), &mut self.woken);
        }
        self.stun.update();
    }

    /// Answers questions from now on, or no longer.
    pub(super) fn serve_stun(&mut self, serve: bool) {
        if serve != self.stun.server.is_some() {
            self.stun.server = serve.then(|| Server::new(&mut self.rng));
            self.stun.replies.clear();
            self.stun.update();
        }
    }

    /// Takes a datagram that has the shape of STUN. Returns whether it was for us.
    pub(super) fn take_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let Some(id) = StunMessage::id_of(datagram) else { return false };
        let message = StunMessage::decode(datagram);
        match self.stun.client.hear(now, path, id, message.as_ref().ok()) {
            Heard::Answer(asking, result) => {
                asking.end(result, &mut self.woken);
                wake_all(&mut self.woken);
                self.stun.update();
                true
            }
            Heard::Nothing => true,
            Heard::NotOurs => self.answer_question(now, path, datagram, message.ok().as_ref()),
        }
    }

    /// Answers a question, if we do that. What answers somebody else's, or cannot be read, may be uTP or foreign.
    fn answer_question(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        message: Option<&StunMessage<'_>>,
    ) -> bool {
        let Some(server) = &mut self.stun.server else { return false };
        let reply = message.and_then(|message| reply(message, datagram.len(), canonical(path.peer)));
        let Some(reply) = reply else { return false };
        let has_room = self.stun.replies.len() < PENDING_MAX;
        let is_longer = reply.bytes().len() > datagram.len();
        let sent = has_room && (!is_longer || server.admits_longer(now, path));
        if sent {
            self.stun.replies.push_back((path, reply));
        }
        self.shared.count(|stats| match sent {
            true => stats.stun_answered += 1,
            false => stats.stun_withheld += 1,
        });
        true
    }

    /// Gives up what nobody answers.
    pub(super) fn time_out_questions(&mut self, now: Instant) {
        if !self.stun.client.expects() {
            return;
        }
        self.stun.client.retain(|asking| asking.is_wanted());
        while let Some(asking) = self.stun.client.give_up(now) {
            asking.end(Err(StunError::Timeout), &mut self.woken);
        }
        wake_all(&mut self.woken);
        self.stun.update();
    }

    /// Nobody will be answered any more.
    pub(super) fn end_questions(&mut self) {
        for asking in self.stun.client.drain() {
            asking.end(Err(StunError::Closed), &mut self.woken);
        }
        self.stun = Stun::default();
    }
}
