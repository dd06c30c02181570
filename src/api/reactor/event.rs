//! What a reactor tells, and by what names.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::error::CloseReason;
use crate::proto::message::Receipt;
use crate::proto::punch::{NatReport, PunchError, PunchReport};
use crate::proto::stun::StunError;
use crate::storage::Key;

/// One connection of a reactor: eight bytes. Goes stale when the connection is gone, and is never given to another one.
///
/// A name of one reactor means nothing to another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) Key);

/// One attempt to meet a peer. Goes stale with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PunchId(pub(super) Key);

/// One look at what is in front of a reactor. Goes stale with its outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SurveyId(pub(super) Key);

impl fmt::Debug for SurveyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SurveyId({:?})", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({:?})", self.0)
    }
}

impl fmt::Debug for PunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PunchId({:?})", self.0)
    }
}

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open: one that we started, or one that somebody started with us and has proved to hear us.
    Connected {
        /// Which.
        peer: PeerId,
        /// With whom.
        addr: SocketAddr,
    },
    /// A message has arrived.
    Message {
        /// From whom.
        peer: PeerId,
        /// On which channel.
        channel: u8,
        /// What it says. Small ones are views of the packet that brought them, and keep all of it.
        bytes: Bytes,
    },
    /// It is known what has become of a message that was sent:
    /// [`Fate::Delivered`](crate::message::Fate::Delivered) if all of it is with the peer's library.
    Acked {
        /// To whom.
        peer: PeerId,
        /// Which message, and its fate.
        receipt: Receipt,
    },
    /// A channel whose queue was full, so that [`Reactor::send`](super::Reactor::send) handed a message back, has room.
    Room {
        /// Towards whom.
        peer: PeerId,
        /// Which channel.
        channel: u8,
    },
    /// A stream has bytes to read, or its end. Told again after a [`read`](super::Reactor::read) that left some.
    Readable {
        /// Which.
        peer: PeerId,
    },
    /// A stream whose [`write`](super::Reactor::write) would have had to wait has room.
    Writable {
        /// Which.
        peer: PeerId,
    },
    /// After [`finish`](super::Reactor::finish): the peer has acknowledged everything that was written.
    Finished {
        /// Which.
        peer: PeerId,
    },
    /// A connection is over, or never came to be; everything that had arrived was told or read before. `peer` is stale
    /// from now on. Not told about connections that were ended [here](super::Reactor::disconnect).
    Disconnected {
        /// Which.
        peer: PeerId,
        /// Why; [`CloseReason::Finished`] if the peer ended it in good order.
        reason: CloseReason,
    },
    /// An attempt to meet a peer has led to a connection, a stream.
    Punched {
        /// The attempt.
        punch: PunchId,
        /// The connection. It is open: no [`Connected`](Self::Connected) follows.
        peer: PeerId,
        /// What it took.
        report: Box<PunchReport>,
    },
    /// An attempt to meet a peer has failed.
    PunchFailed {
        /// The attempt.
        punch: PunchId,
        /// Why; there is a [report](PunchError::report) in it.
        error: PunchError,
    },
    /// It is known what is in front of this port, or why not: see [`Reactor::survey`](super::Reactor::survey).
    Surveyed {
        /// The question.
        survey: SurveyId,
        /// What is in front of it; an error if nobody has answered for another reason than silence, which means that UDP is
        /// [blocked](NatReport::blocked).
        outcome: Result<NatReport, StunError>,
    },
    /// A datagram that is not uTP has arrived: see [`Reactor::take_foreign`](super::Reactor::take_foreign).
    Foreign {
        /// From where.
        from: SocketAddr,
        /// What it says.
        bytes: Bytes,
    },
}
