//! What an agent finds out besides the conversation: what its router is like, its address of the other family, and
//! whether a server that suits the room better is back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::link::Link;
use crate::proto::endpoint::{Handle, Reflecting, Shared, Surveying};
use crate::proto::punch::NatReport;
use crate::proto::rendezvous::VERSION;
use crate::proto::stun::SERVERS_MAX;
use crate::time::Instant;
use crate::wire::rendezvous::{Claim, Decoder, Hello, Message, Welcome};

/// Ours: how long the room waits for what is found out about the router. Answers take one round trip; what comes later
/// is told later.
const WAIT: Duration = Duration::from_secs(1);

/// Ours: how often it is looked whether a better server is back.
const BETTER: Duration = Duration::from_secs(60);

/// Ours: how often the stream that shows another address says something; servers send away who is silent for a minute.
const ANNEX_PING: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Outlook {
    nat: NatReport,
    /// What is known need not be found out.
    given: bool,
    survey: Option<Surveying>,
    /// A survey has come to its end.
    surveyed: bool,
    /// Since when there has been a stream to a server.
    linked_at: Option<Instant>,
    /// It has been said that the wait is over.
    waited: bool,
    annex: Annex,
    better_at: Option<Instant>,
    better: Option<(usize, Reflecting)>,
}

/// A stream from our address of the other family.
#[derive(Debug)]
enum Annex {
    /// There is none to make.
    None,
    /// It is coming about, or there.
    Some { handle: Handle, decoder: Decoder, outgoing: Vec<u8>, known: bool, ping_at: Instant },
}

impl Outlook {
    pub(super) fn new(nat: Option<NatReport>) -> Self {
        let given = nat.is_some();
        Self {
            nat: nat.unwrap_or_default(),
            given,
            survey: None,
            surveyed: given,
            linked_at: None,
            waited: false,
            annex: Annex::None,
            better_at: None,
            better: None,
        }
    }

    pub(super) const fn nat(&self) -> &NatReport {
        &self.nat
    }

    /// Whether the room can be entered: enough is known, or it has taken long enough.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.linked_at.is_some_and(|at| self.surveyed || at + WAIT <= now)
    }

    /// Whether the server knows all our addresses.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.annex, Annex::None | Annex::Some { known: true, .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let survey = self.survey.as_ref().and_then(Surveying::deadline);
        let ready = self.linked_at.filter(|_| !self.surveyed && !self.waited).map(|at| at + WAIT);
        let annex = match self.annex {
            Annex::Some { ping_at, .. } => Some(ping_at),
            Annex::None => None,
        };
        let better = self.better_at.filter(|_| self.better.is_none());
        [survey, ready, annex, better].into_iter().flatten().min()
    }

    /// There is a stream to a server. Another one comes about while the server says hello.
    pub(super) fn linked(&mut self, now: Instant, shared: &Arc<Shared>, link: &Link) {
        self.linked_at = Some(now);
        self.waited = false;
        let handle = other_family(link).map(|addr| shared.connect(addr, None));
        self.annex = match handle.filter(|handle| handle.close_reason().is_none()) {
            Some(handle) => {
                let (decoder, outgoing) = (Decoder::new(), Vec::new());
                Annex::Some { handle, decoder, outgoing, known: false, ping_at: now + ANNEX_PING }
            }
            None => Annex::None,
        };
    }

    /// A server has taken us.
    pub(super) fn welcomed(&mut self, now: Instant, link: &Link, welcome: &Welcome) {
        self.better_at = (link.place() > 0).then(|| now + BETTER);
        self.better = None;
        let Annex::Some { outgoing, .. } = &mut self.annex else { return };
        let claim = welcome.secret.map(Claim::Annex);
        let hello = Message::Hello(Hello { version: VERSION, claim });
        // Without a secret nobody would know whose it is.
        if claim.is_none() || hello.encode(outgoing).is_err() {
            self.annex = Annex::None;
        }
    }

    /// There is no server any more.
    pub(super) fn detach(&mut self) {
        self.linked_at = None;
        self.annex = Annex::None;
        self.better_at = None;
        self.better = None;
        // The router may be another one by the time there is a server again.
        self.surveyed = self.given;
        self.survey = None;
    }

    /// Goes as far as it gets; whether something is known that was not, or the wait for it is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
        link: &Link,
        hosts: &[SocketAddr],
    ) -> bool {
        self.poll_annex(cx, now);
        if self.surveyed {
            return false;
        }
        let survey = self.survey.get_or_insert_with(|| {
            // The one that is about to be asked, and others for a second opinion.
            let (here, others) = (link.servers().get(link.place()), link.servers().iter());
            let servers = here.into_iter().chain(others).flat_map(|server| server.addrs().iter().copied());
            shared.survey(now, &servers.take(SERVERS_MAX).collect::<Vec<_>>())
        });
        match survey.poll(cx, now, hosts) {
            Poll::Ready(nat) => {
                self.nat = nat;
                self.survey = None;
                self.surveyed = true;
                true
            }
            // The room is entered without it, once.
            Poll::Pending => {
                let over = self.linked_at.is_some_and(|at| at + WAIT <= now);
                over && !std::mem::replace(&mut self.waited, true)
            }
        }
    }

    /// Says and hears what there is on the second stream.
    pub(super) fn poll_annex(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Annex::Some { handle, decoder, outgoing, known, ping_at } = &mut self.annex else { return };
        if *ping_at <= now {
            *ping_at = now + ANNEX_PING;
            let ping = Message::Ping(crate::wire::rendezvous::Ping { nonce: 0, answer: false });
            let written = ping.encode(outgoing);
            debug_assert!(written.is_ok(), "a ping is short");
        }
        let mut buffer = [0; 256];
        let mut broken = false;
        loop {
            match handle.poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(read @ 1..)) => {
                    let mut bytes = &buffer[..read];
                    while let Ok(Some(message)) = decoder.next(&mut bytes) {
                        *known |= matches!(message, Message::Welcome(_));
                    }
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    broken = true;
                    break;
                }
            }
        }
        while !outgoing.is_empty() && !broken {
            match handle.poll_write(cx, outgoing) {
                Poll::Ready(Ok(count)) => drop(outgoing.drain(..count)),
                Poll::Ready(Err(_)) => broken = true,
                Poll::Pending => break,
            }
        }
        if broken {
            self.annex = Annex::None;
        }
    }

    /// A server that suits the room better and answers: its place.
    pub(super) fn better(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Arc<Shared>,
        link: &Link,
        rng: &mut StdRng,
    ) -> Option<usize> {
        if self.better_at.is_none_or(|at| at > now) {
            return None;
        }
        if self.better.is_none() {
            let place = rng.random_range(0..link.place().max(1));
            let addr = *link.servers().get(place)?.addrs().first()?;
            self.better = Some((place, shared.reflect(None, addr)));
        }
        let (place, asked) = self.better.as_mut()?;
        let Poll::Ready(answer) = asked.poll(cx) else { return None };
        let place = *place;
        self.better = None;
        self.better_at = Some(now + BETTER.mul_f64(rng.random_range(0.8..1.2)));
        answer.is_ok().then_some(place)
    }
}

/// The address that the server has in the family that the stream does not go by.
fn other_family(link: &Link) -> Option<SocketAddr> {
    let addr = link.addr()?;
    let addrs = link.servers().get(link.place())?.addrs();
    addrs.iter().copied().find(|other| other.is_ipv4() != addr.is_ipv4())
}
