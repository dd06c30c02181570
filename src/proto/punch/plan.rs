//! What a punch needs to know before it begins.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{NatReport, PunchReport};
use crate::proto::batch::Path;
use crate::wire::{CANDIDATES_MAX, Candidate, CandidateKind, NatClass, Service, Session, Ticket, Token};

/// Ours: how long a punch tries. What works, works in the first seconds; a search for a port takes ten.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Ours: how long the full probes wait when nobody says that both sides are ready, at least. Openers have to be out on
/// both sides before the first full probe arrives.
pub const WAIT_MIN: Duration = Duration::from_millis(150);

/// Ours: what one attempt stands for in [`PunchPlan::to_addr`], as long as one of utp-punch.
const ATTEMPT: Duration = Duration::from_millis(500);

/// Two who know nothing of each other have the same.
const OPEN_TOKEN: Token = Token::new(u64::from_be_bytes(*b"ebbtide!"));

/// See above.
const OPEN_SESSION: Session = Session::new(*b"ebbtide: no secr");

/// Who of the two starts the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PunchRole {
    /// We send the SYN.
    Initiator,
    /// The peer does.
    Acceptor,
    /// Nobody has said: the larger number starts it. Both tell theirs in their probes.
    Undecided {
        /// Our number, which should be random.
        tie_break: u64,
    },
}

/// When the packets begin that are to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When somebody says that both sides have sent their openers ([`Punch::go`](super::Punch::go)), but no later than
    /// 500 ms and two round trips to that somebody.
    OnGo {
        /// The round trip to whoever says it.
        server_rtt: Duration,
    },
    /// That long after the openers. At least [`WAIT_MIN`], better the round trip to the peer plus how far apart the two
    /// sides may begin.
    After(Duration),
}

/// Who must not be sent anything, whatever peers and servers say.
#[derive(Clone)]
pub struct Veto(Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>);

impl Veto {
    /// A veto against the addresses for which `forbids` is true.
    #[must_use]
    pub fn new(forbids: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(forbids))
    }

    /// Whether nothing may be sent there.
    #[must_use]
    pub fn forbids(&self, addr: SocketAddr) -> bool {
        (self.0)(addr)
    }
}

impl fmt::Debug for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veto")
    }
}

/// Everything about one attempt of two peers to meet.
#[derive(Clone, Debug)]
pub struct PunchPlan {
    /// The name of the attempt, the same on both sides. Good for one attempt.
    pub session: Session,
    /// Who starts the connection.
    pub role: PunchRole,
    /// What packets to us have to carry.
    pub local_token: Token,
    /// What packets to the peer have to carry.
    pub remote_token: Token,
    /// Where the peer may be found; at most [`CANDIDATES_MAX`] of them count.
    pub candidates: Vec<Candidate>,
    /// What we are behind.
    pub local: NatReport,
    /// What the peer is behind.
    pub remote: NatClass,
    /// When the packets begin that are to arrive.
    pub start: Start,
    /// Whether the port of a symmetric NAT may be searched for: with up to 2,048 packets by the side that is not behind
    /// it, and up to 256 sockets by the side that is.
    pub birthday: bool,
    /// How long to try, in all.
    pub deadline: Duration,
    /// The service that the initiator asks for. Only told, for those who want to see it: the peer has agreed already.
    pub service: Option<Service>,
    /// Who must not be sent anything.
    pub veto: Option<Veto>,
    /// Whether somebody with the right token is believed wherever the packet comes from, and not only at the addresses
    /// in `candidates`. Not with a token that others can know.
    pub believe_unnamed: bool,
}

impl PunchPlan {
    /// Makes the plan one that only somebody can fulfil who knows the same secret, and has mixed it in too.
    pub fn bind(&mut self, secret: u64) {
        self.local_token = Token::new(self.local_token.get() ^ secret);
        self.remote_token = Token::new(self.remote_token.get() ^ secret);
    }

    /// A plan with what has no default. The rest: nothing known about the NATs, full probes after [`WAIT_MIN`], a
    /// search for ports if it comes to that, [`DEADLINE`], no service, no veto.
    #[must_use]
    pub fn new(
        session: Session,
        role: PunchRole,
        local_token: Token,
        remote_token: Token,
        candidates: Vec<Candidate>,
    ) -> Self {
        Self {
            session,
            role,
            local_token,
            remote_token,
            candidates,
            local: NatReport::default(),
            remote: NatClass::default(),
            start: Start::After(WAIT_MIN),
            birthday: true,
            deadline: DEADLINE,
            service: None,
            veto: None,
            believe_unnamed: true,
        }
    }

    /// The plan of two who know nothing but each other's address, and have agreed to look for each other at the same
    /// time. `tie_break` should be random.
    ///
    /// There is no secret in it, so it proves nothing: whoever is at that address, or can forge it, may be met instead.
    /// Therefore only packets from exactly there are believed, which means that a peer whose NAT shows another port
    /// than the one in `addr` is not found, and no port is searched for. It tries for half a second times `attempts`.
    #[must_use]
    pub fn to_addr(addr: SocketAddr, attempts: u32, tie_break: u64) -> Self {
        let candidates = vec![Candidate::new(CandidateKind::Host, addr)];
        let role = PunchRole::Undecided { tie_break };
        Self {
            birthday: false,
            deadline: ATTEMPT * attempts.max(1),
            believe_unnamed: false,
            ..Self::new(OPEN_SESSION, role, OPEN_TOKEN, OPEN_TOKEN, candidates)
        }
    }

    /// The plan of somebody who has handed out `ours` and got `theirs` for it. Both sides come to the same name of the
    /// attempt, and to opposite roles. `None` if both tickets are of the same side.
    #[must_use]
    pub fn from_tickets(ours: &Ticket, theirs: &Ticket) -> Option<Self> {
        let (a, b) = (ours.session().to_bytes(), theirs.session().to_bytes());
        if a == b || ours.token() == theirs.token() {
            return None;
        }
        let session = Session::new(std::array::from_fn(|at| a[at] ^ b[at]));
        let role = if a > b { PunchRole::Initiator } else { PunchRole::Acceptor };
        let candidates = theirs.candidates().to_vec();
        Some(Self {
            local: NatReport::of_peer(ours.class(), ours.candidates()),
            remote: theirs.class(),
            ..Self::new(session, role, ours.token(), theirs.token(), candidates)
        })
    }

    /// Whether nothing may be sent on that path.
    pub(super) fn forbids(&self, path: Path) -> bool {
        let addr = SocketAddr::new(path.peer.ip().to_canonical(), path.peer.port());
        self.veto.as_ref().is_some_and(|veto| veto.forbids(addr))
    }

    /// A report of which nothing has come yet.
    pub(in crate::proto) fn report(&self) -> PunchReport {
        let remote = NatReport::of_peer(self.remote, self.named());
        PunchReport {
            local: self.local.clone(),
            remote,
            candidates: self.named().to_vec(),
            ..PunchReport::default()
        }
    }

    /// The candidates that count.
    pub(super) fn named(&self) -> &[Candidate] {
        &self.candidates[..self.candidates.len().min(CANDIDATES_MAX)]
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn ticket(session: u8, token: u64) -> Ticket {
        Ticket::new(Session::new([session; 16]), Token::new(token), NatClass::default(), &[]).unwrap()
    }

    #[test]
    fn two_tickets_make_one_session_opposite_roles_and_crossed_tokens() {
        let (a, b) = (ticket(1, 10), ticket(2, 20));
        let here = PunchPlan::from_tickets(&a, &b).unwrap();
        let there = PunchPlan::from_tickets(&b, &a).unwrap();
        assert_eq!(here.session, there.session);
        assert_eq!((here.role, there.role), (PunchRole::Acceptor, PunchRole::Initiator));
        assert_eq!((here.local_token, here.remote_token), (there.remote_token, there.local_token));
    }

    #[test]
    fn ones_own_ticket_leads_nowhere() {
        assert!(PunchPlan::from_tickets(&ticket(1, 10), &ticket(1, 10)).is_none());
        assert!(PunchPlan::from_tickets(&ticket(1, 10), &ticket(2, 10)).is_none());
    }
}
