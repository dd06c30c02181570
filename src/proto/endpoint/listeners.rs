//! Several listeners on one port, told apart by the service that a SYN names; one may take those that name none.
//!
//! Each has its own queues, so that nobody waits behind what is for somebody else. The limits are for all together and
//! lie elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::cell::Cell;
use super::incoming::Offer;
use super::mailbox::{Decision, Proved, Verdict};
use super::waiters::{Interest, Waiters};
use crate::storage::Key;
use crate::time::Instant;
use crate::wire::Service;

/// All of them: those that listen, those that have something left, and those for whom somebody waits.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Few: an application names its services. In no order.
    list: Vec<Listener>,
    /// Connections that exist and that nobody has taken.
    proved: usize,
}

#[derive(Debug)]
struct Listener {
    /// `None` takes SYNs that name none.
    service: Option<Service>,
    /// How many want connections.
    users: usize,
    /// SYNs.
    incoming: VecDeque<Offer>,
    /// Connections whose initiators have proved their addresses.
    proved: VecDeque<Proved>,
    waiters: Waiters,
}

/// What tasks wait for.
const INCOMING: Interest = Interest::kind(0);

impl Listeners {
    /// One more wants connections for that service.
    pub(super) fn enter(&mut self, service: Option<Service>) {
        self.listener(service).users += 1;
    }

    /// One fewer does. The last one's leave refuses what is on offer.
    pub(super) fn leave(&mut self, service: Option<Service>, decisions: &mut Vec<Decision>) {
        let Some(place) = self.place(service) else { return };
        let listener = &mut self.list[place];
        listener.users = listener.users.saturating_sub(1);
        if listener.users == 0 {
            self.proved -= listener.refuse(decisions);
            self.tidy(place);
        }
    }

    /// Whether somebody wants connections without a service.
    pub(super) fn set(&mut self, listening: bool, decisions: &mut Vec<Decision>) {
        if listening {
            self.listener(None).users = 1;
        } else {
            self.leave(None, decisions);
        }
    }

    /// Nobody wants anything any more, and whoever waits learns so.
    pub(super) fn close(&mut self, decisions: &mut Vec<Decision>, woken: &mut Vec<Waker>) {
        for listener in &mut self.list {
            listener.refuse(decisions);
            listener.waiters.take(Interest::ALL, woken);
        }
        *self = Self::default();
    }

    /// Whether anybody takes connections for that service.
    pub(super) fn is_open(&self, service: Option<Service>) -> bool {
        self.place(service).is_some_and(|place| self.list[place].users > 0)
    }

    /// Connections that exist and that nobody has taken.
    pub(super) const fn proved(&self) -> usize {
        self.proved
    }

    pub(super) fn offer(&mut self, offer: Offer, woken: &mut Vec<Waker>) {
        let listener = self.listener(offer.request.service);
        listener.incoming.push_back(offer);
        listener.waiters.take(INCOMING, woken);
    }

    pub(super) fn offer_proved(&mut self, proved: Proved, woken: &mut Vec<Waker>) {
        self.proved += 1;
        let listener = self.listener(proved.offer.request.service);
        listener.proved.push_back(proved);
        listener.waiters.take(INCOMING, woken);
    }

    /// What is on offer for that service; those who have proved their addresses go first.
    pub(super) fn take(&mut self, service: Option<Service>) -> Option<(Offer, Option<Arc<Cell>>)> {
        let place = self.place(service)?;
        let listener = &mut self.list[place];
        if let Some(Proved { offer, cell }) = listener.proved.pop_front() {
            self.proved -= 1;
            return Some((offer, Some(cell)));
        }
        listener.incoming.pop_front().map(|offer| (offer, None))
    }

    /// A task waits for that service.
    pub(super) fn register(&mut self, service: Option<Service>, waker: &Waker, woken: &mut Vec<Waker>) {
        self.listener(service).waiters.register(waker, INCOMING, woken);
    }

    /// A SYN has become too old. If nobody has got it, it is the oldest on offer for its service.
    pub(super) fn withdraw(&mut self, service: Option<Service>, key: Key) {
        let Some(place) = self.place(service) else { return };
        let incoming = &mut self.list[place].incoming;
        if incoming.front().is_some_and(|offer| offer.key == key) {
            incoming.pop_front();
        }
        self.tidy(place);
    }

    /// Withdraws the oldest connection on offer, if it has been there since `before` or longer.
    pub(super) fn withdraw_proved(&mut self, before: Instant) -> Option<Key> {
        let (since, place) = self.oldest()?;
        if since > before {
            return None;
        }
        self.proved -= 1;
        self.list[place].proved.pop_front().map(|proved| proved.offer.key)
    }

    /// Since when the oldest connection has been on offer.
    pub(super) fn oldest_proved(&self) -> Option<Instant> {
        self.oldest().map(|(since, _)| since)
    }

    fn oldest(&self) -> Option<(Instant, usize)> {
        let since = |listener: &Listener| Some(listener.proved.front()?.offer.request.syn.arrived);
        let fronts = self.list.iter().enumerate();
        fronts.filter_map(|(place, listener)| Some((since(listener)?, place))).min()
    }

    fn place(&self, service: Option<Service>) -> Option<usize> {
        self.list.iter().position(|listener| listener.service == service)
    }

    fn listener(&mut self, service: Option<Service>) -> &mut Listener {
        let place = self.place(service).unwrap_or_else(|| {
            self.list.push(Listener {
                service,
                users: 0,
                incoming: VecDeque::new(),
                proved: VecDeque::new(),
                waiters: Waiters::default(),
            });
            self.list.len() - 1
        });
        &mut self.list[place]
    }

    /// Forgets a service that nobody speaks of any more.
    fn tidy(&mut self, place: usize) {
        let listener = &self.list[place];
        let is_idle =
            listener.incoming.is_empty() && listener.proved.is_empty() && listener.waiters.is_empty();
        if is_idle && listener.users == 0 {
            self.list.swap_remove(place);
        }
    }
}

impl Listener {
    /// Refuses what is on offer. Returns how many of it had proved their addresses.
    fn refuse(&mut self, decisions: &mut Vec<Decision>) -> usize {
        let proved = self.proved.len();
        let refuse = |offer: Offer| Decision { key: offer.key, verdict: Verdict::Refuse };
        decisions.extend(self.incoming.drain(..).map(refuse));
        let abort = |proved: Proved| Decision { key: proved.offer.key, verdict: Verdict::RefuseProved };
        decisions.extend(self.proved.drain(..).map(abort));
        proved
    }
}
