//! Meeting a peer through NATs: with tickets, with a plan of one's own, or with nothing but an address.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::socket::UtpSocket;
use super::stream::UtpStream;
use super::ticket;
use crate::proto::endpoint::{HoleHandle, PunchHandle};
use crate::proto::punch::{NatReport, PunchError, PunchPlan, PunchReport};
use crate::wire::{Candidate, Ticket, TicketError};

/// A stream to a peer that was found, and how it was found.
#[derive(Debug)]
pub struct Punched {
    /// The stream. Both sides have one, of the same connection.
    pub stream: UtpStream,
    /// What it took.
    pub report: PunchReport,
}

/// Meeting peers behind NATs.
impl UtpSocket {
    /// Looks for a way to a peer that looks for us at the same time, as the plan says, and opens a connection there.
    /// Nobody has to listen for it, and nobody who listens sees it.
    ///
    /// The attempt begins at once, not when it is first polled. What a plan needs (where the peer may be found, who
    /// starts, what the packets must carry) two peers tell each other in [tickets](Self::ticket), or a rendezvous
    /// server tells them.
    ///
    /// What is sent, at most: 120 probes of 76 bytes in the time that the plan gives, 64 that only open our own NAT,
    /// and, if one side is behind a symmetric NAT and the plan allows it, a search for its port: 2,048 probes in ten
    /// seconds from the other side, 256 sockets for that time on this one. Then there is silence. Packets go only to
    /// the plan's candidates and to where packets with the right token come from; to private networks only if it is our
    /// own.
    ///
    /// ```
    /// use ebbtide::{NatReport, PunchPlan, UtpSocket};
    /// use ebbtide::wire::{Candidate, CandidateKind};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let [a, b] = [UtpSocket::bind("127.0.0.1:0".parse()?).await?, UtpSocket::bind("127.0.0.1:0".parse()?).await?];
    /// let ticket = |socket: &UtpSocket| {
    ///     let here = Candidate::new(CandidateKind::Host, socket.local_addr());
    ///     socket.ticket(&NatReport::default(), &[here])
    /// };
    /// let (ours, theirs) = (ticket(&a)?, ticket(&b)?);
    /// // Each side hands its ticket to the other, in whatever way.
    /// let here = PunchPlan::from_tickets(&ours, &theirs).ok_or("our own ticket")?;
    /// let there = PunchPlan::from_tickets(&theirs, &ours).ok_or("our own ticket")?;
    /// let (here, there) = tokio::try_join!(a.punch(here), b.punch(there))?;
    /// assert_eq!(here.stream.peer_addr(), b.local_addr());
    /// assert_eq!(there.stream.peer_addr(), a.local_addr());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PunchError`], with a [report](PunchError::report): two symmetric NATs are recognised within three seconds,
    /// blocked UDP within five, the rest at the plan's deadline.
    ///
    /// # Cancel safety
    /// Dropping it gives the attempt up, and a connection that has just opened with it; nothing more is sent.
    pub fn punch(&self, plan: PunchPlan) -> Punching {
        Punching { handle: self.shared().punch(plan) }
    }

    /// Like [`punch`](Self::punch) with nothing but the peer's address: both sides call this with each other's, at
    /// about the same time. It tries for half a second times `attempts`; who of the two starts the connection they find
    /// out by themselves.
    ///
    /// What it cannot promise, since the two share no secret: that whoever answers at that address is who was meant
    /// (somebody else there, or somebody who can forge it, may be met instead: prove yourselves to each other on the
    /// stream), and that a peer is found whose NAT shows another port than the one in `addr`. What it does promise:
    /// nothing is sent anywhere else, and nobody is answered who is not at that address.
    ///
    /// # Errors
    /// As for [`punch`](Self::punch).
    ///
    /// # Panics
    /// If the system has no source of randomness.
    ///
    /// # Cancel safety
    /// Dropping it gives the attempt up.
    pub fn punch_addr(&self, addr: SocketAddr, attempts: u32) -> Punching {
        self.punch(ticket::plan_to_addr(addr, attempts))
    }

    /// Opens the way to `addr` through the NATs in between, as utp-punch does, and makes no connection: who calls whom then
    /// is for the two to agree on. Both sides call this with each other's address at about the same time; each says PUNCH
    /// twice a second, at most `attempts` times, and answers the other's. Only in that dialect
    /// ([`Config::dialect`](crate::Config::dialect)); whoever else wants to meet a peer wants [`punch`](Self::punch).
    ///
    /// It is open as soon as both have answered, not on the next tick. From then on late words are answered for ten seconds
    /// more, so the other side comes to the same result; the package itself stops answering at once, and if its last
    /// answers are lost, only its call can show us that it has succeeded. It proves nothing: whoever can forge the address
    /// can say the words.
    ///
    /// ```
    /// use ebbtide::{Config, Dialect, UtpSocket};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::default().dialect(Dialect::UtpPunch);
    /// let a = UtpSocket::bind_with("127.0.0.1:0".parse()?, config.clone()).await?;
    /// let b = UtpSocket::bind_with("127.0.0.1:0".parse()?, config).await?;
    /// let listener = b.listen();
    /// tokio::try_join!(a.punch_hole(b.local_addr(), 10), b.punch_hole(a.local_addr(), 10))?;
    /// let (calling, called) = tokio::join!(a.connect(b.local_addr()), listener.accept());
    /// assert_eq!(calling?.peer_addr(), b.local_addr());
    /// assert_eq!(called?.1, a.local_addr());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PunchError::Timeout`] after half a second times `attempts`; [`PunchError::OtherDialect`],
    /// [`PunchError::NoCandidates`] if no socket reaches `addr`, [`PunchError::TooMany`] with 64 under way, and
    /// [`PunchError::Cancelled`] when the socket is closed.
    ///
    /// # Cancel safety
    /// Dropping it gives the attempt up.
    pub fn punch_hole(&self, addr: SocketAddr, attempts: u32) -> HolePunching {
        HolePunching { handle: self.shared().punch_hole(addr, attempts) }
    }

    /// A ticket for one attempt, to be handed to the peer, and to nobody else: whoever has it can find out whether we
    /// are at the addresses in it, and be taken for the peer. With the peer's ticket,
    /// [`PunchPlan::from_tickets`] makes a plan of it.
    ///
    /// `report` says what is in front of this socket, and gives the public addresses; `more` are further candidates, such
    /// as those in the local network (which the peer uses only if it is in the same one, but gets to know).
    ///
    /// # Errors
    /// More candidates than fit into a ticket (up to five of IPv6 always do), or one where nobody can be. Of more than
    /// eight, the last are left out.
    ///
    /// # Panics
    /// If the system has no source of randomness.
    pub fn ticket(&self, report: &NatReport, more: &[Candidate]) -> Result<Ticket, TicketError> {
        ticket::draw(report, more)
    }
}

/// An attempt to meet a peer, made by [`UtpSocket::punch`]. Dropping it gives the attempt up.
#[must_use = "dropping it gives the attempt up"]
pub struct Punching {
    handle: PunchHandle,
}

impl Future for Punching {
    type Output = Result<Punched, PunchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (handle, report) = ready!(self.handle.poll_done(cx))?;
        Poll::Ready(Ok(Punched { stream: UtpStream::new(handle), report }))
    }
}

impl fmt::Debug for Punching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Punching").finish_non_exhaustive()
    }
}

/// An attempt to open the way to a peer, made by [`UtpSocket::punch_hole`]. Dropping it gives the attempt up.
#[must_use = "dropping it gives the attempt up"]
pub struct HolePunching {
    handle: HoleHandle,
}

impl Future for HolePunching {
    type Output = Result<PunchReport, PunchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.poll(cx)
    }
}

impl fmt::Debug for HolePunching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolePunching").finish_non_exhaustive()
    }
}
