//! A connection that we called for becomes the answer to the peer's own call.

use super::state::{State, Syn};
use super::{ConnIds, Connection, Events, Path, Role};
use crate::time::Instant;
use crate::wire::SeqNr;

/// Ours: SYNs in all that may be sent because the peer's came; more would be a conversation of SYNs.
const HURRIED_MAX: u8 = 6;

impl Connection {
    /// Whether our SYN is out, or due, and nobody has answered it.
    #[must_use]
    pub const fn is_calling(&self) -> bool {
        matches!(self.state, State::SynSent { .. })
    }

    /// The peer's own SYN shows that the way is open: ours goes out once more.
    pub const fn call_again(&mut self) {
        if let State::SynSent { tries: 1..HURRIED_MAX, .. } = self.state {
            self.due.syn = true;
        }
    }

    /// Our call, which nobody has answered or even seen, becomes the answer to this SYN. What the application has written
    /// goes with it.
    pub fn give_way(&mut self, now: Instant, path: Path, syn: &Syn, first_seq: SeqNr) {
        if !matches!(self.state, State::Idle | State::SynSent { .. }) {
            return;
        }
        let issued = self.negotiation.issued();
        self.role = Role::Acceptor;
        self.path = path;
        self.ids = ConnIds::acceptor(syn.id);
        self.syn_seq = syn.seq;
        self.first_seq = first_seq;
        self.send.start(first_seq);
        self.timers.syn = None;
        self.due.syn = false;
        self.last_sent = now;
        self.negotiation = super::Negotiation::default();
        self.answer(now, syn);
        // The answer is ours to give now: what the peer wants of messages stands in its SYN.
        self.on_agreement(syn.hello.and_then(|hello| hello.messages));
        if let Some(token) = issued {
            self.negotiation.issue(token);
        }
    }

    /// This connection is given to an application that has asked for `asked`, and has told that all it had to say.
    pub fn take_over(&mut self, asked: Self) {
        let mut bytes = vec![0; asked.send.unsent_bytes()];
        asked.send.peek_unsent(&mut bytes);
        self.send.write(&bytes);
        self.wishes.nodelay = asked.wishes.nodelay;
        self.wishes.flush |= asked.wishes.flush;
        if asked.send.is_finishing() {
            self.finish();
        }
        if asked.wishes.detached {
            self.detach();
        }
        self.wishes.service = true;
        self.signal(Events::CONNECTED | Events::READABLE | Events::WRITABLE);
    }
}
