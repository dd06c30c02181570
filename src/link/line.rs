//! One direction of a path: how fast it is, how long, how much it buffers, and what it does to packets.
//!
//! ```text
//!   filter · down · MTU · policer ─▶ queue ─▶ rate ─▶ loss · corruption ─▶ propagation · jitter ─▶ reorder · duplicate
//! ```
//!
//! Where nothing that happens later can matter, a packet's whole fate is decided when it is handed over, so it costs
//! one event. That means that a change of [`Link`] concerns packets handed over after it; those under way arrive as
//! they would have.
//!
//! This is how a link is set up; what it does with packets is in `pipe/mod.rs`.

use std::fmt;
use std::time::Duration;

use super::burst::Burst;
use super::discipline::{Discipline, Limits};
use super::fault::{FaultKind, Faults, LinkFault, Overtaken};
use super::pipe::nanos;
use super::quantity::{Rate, Size};
use super::strike::Strike;

/// Bytes that every datagram has around it on the wire: headers of IPv4 and UDP. Rate, queue and MTU count them.
pub const OVERHEAD: Size = Size::bytes(28);

/// One direction of a path, as it is set up. Without further ado it is perfect: no delay, no limit, no fault.
///
/// ```
/// use std::time::Duration;
/// use ebbtide::link::{Link, Rate, Size, Strike};
/// let slow = Link::perfect()
///     .rate(Rate::megabits(8))
///     .delay(Duration::from_millis(20))
///     .queue(Size::kib(64))
///     .loss(Strike::random(0.01));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub(super) rate: Option<Rate>,
    pub(crate) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) queue: Size,
    pub(super) discipline: Discipline,
    pub(super) mtu: Size,
    pub(super) deliver_corrupt: bool,
    pub(super) faults: Faults,
}

impl Default for Link {
    fn default() -> Self {
        Self::perfect()
    }
}

impl Link {
    /// No limit, no delay, no fault; packets of up to 1,500 bytes, headers included.
    #[must_use]
    pub const fn perfect() -> Self {
        Self {
            rate: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            queue: Size::bytes(u64::MAX),
            discipline: Discipline::TailDrop,
            mtu: Size::bytes(1500),
            deliver_corrupt: false,
            faults: Faults::NONE,
        }
    }

    /// How many bits it carries per second (default: no limit).
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Without a limit to how fast it is.
    #[must_use]
    pub const fn unlimited(mut self) -> Self {
        self.rate = None;
        self
    }

    /// How long the way takes for an idle link, besides the time that the bits take (default 0).
    #[must_use]
    pub const fn delay(mut self, propagation: Duration) -> Self {
        self.delay = propagation;
        self
    }

    /// Up to so much is added to the delay of each packet, evenly drawn (default 0). Packets do not overtake each
    /// other by it; see [`reorder`](Self::reorder) for that.
    #[must_use]
    pub const fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Bytes that wait for their turn at most, the packet under way included; what does not fit is dropped (default:
    /// no limit). Means nothing without a [`rate`](Self::rate).
    #[must_use]
    pub const fn queue(mut self, size: Size) -> Self {
        self.queue = size;
        self
    }

    /// What happens to more than the link can carry (default: tail drop).
    #[must_use]
    pub const fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }

    /// The largest packet, headers included (default 1,500 bytes). Larger ones vanish without a word.
    #[must_use]
    pub const fn mtu(mut self, size: Size) -> Self {
        self.mtu = size;
        self
    }

    /// Whether it carries nothing at all (default: it does).
    #[must_use]
    pub const fn down(self, down: bool) -> Self {
        if down { self.with(LinkFault::Partition) } else { self.without(FaultKind::Partition) }
    }

    /// Which packets vanish after they have taken their time on the link.
    #[must_use]
    pub const fn loss(self, which: Strike) -> Self {
        self.strike(which, LinkFault::Loss(which))
    }

    /// Which packets arrive twice, the second time so much after the first.
    #[must_use]
    pub const fn duplicate(self, which: Strike, after: Duration) -> Self {
        self.strike(which, LinkFault::Duplicate { which, after })
    }

    /// Which packets have a bit flipped. uTP has no checksum, but UDP has: the receiver's system drops such a packet.
    #[must_use]
    pub const fn corrupt(self, which: Strike) -> Self {
        self.strike(which, LinkFault::Flip { which, deliver: false })
    }

    /// Whether corrupt packets are delivered nevertheless (default: no, see [`corrupt`](Self::corrupt)). Then only
    /// bits of the first 20 bytes flip, the uTP header: a stream may end, or lose bytes, by that.
    #[must_use]
    pub const fn deliver_corrupt(mut self, deliver: bool) -> Self {
        self.deliver_corrupt = deliver;
        self
    }

    /// Which packets arrive so much later than they should, and are overtaken meanwhile.
    #[must_use]
    pub const fn reorder(self, which: Strike, by: Duration) -> Self {
        self.strike(which, LinkFault::Reorder { which, until: Overtaken::For(by) })
    }

    /// With this fault as well, in place of another of its kind.
    #[must_use]
    pub const fn with(mut self, fault: LinkFault) -> Self {
        self.faults.set(fault);
        self
    }

    /// Without faults of that kind.
    #[must_use]
    pub const fn without(mut self, kind: FaultKind) -> Self {
        self.faults.clear(kind);
        self
    }

    const fn strike(self, which: Strike, fault: LinkFault) -> Self {
        if which.is_never() { self.without(fault.kind()) } else { self.with(fault) }
    }

    /// The faults that it has.
    pub fn faults(&self) -> impl Iterator<Item = &LinkFault> {
        self.faults.iter()
    }

    /// Without any fault: same rate, delay, jitter, queue, discipline and MTU.
    #[must_use]
    pub const fn healed(mut self) -> Self {
        self.faults = Faults::NONE;
        self
    }
}

/// What the link is like while its faults are as they are.
impl Link {
    /// How fast it is at that time, nanoseconds.
    pub(super) fn rate_at(&self, now: u64) -> Option<Rate> {
        let rate = self.rate?;
        let Some(&LinkFault::Steps { percent, every }) = self.faults.get(FaultKind::BandwidthStep) else {
            return Some(rate);
        };
        let stepped = u128::from(rate.bits_per_second()) * u128::from(percent) / 100;
        let odd = period(now, every) % 2 == 1;
        Some(if odd { Rate::bits(u64::try_from(stepped).unwrap_or(u64::MAX)) } else { rate })
    }

    /// What its queue holds.
    pub(super) fn queue_limit(&self) -> u64 {
        match self.faults.get(FaultKind::TailDrop) {
            Some(LinkFault::TailDrop(size)) => size.as_bytes().min(self.queue.as_bytes()),
            _ => self.queue.as_bytes(),
        }
    }

    /// The limits of CoDel, if that is how it queues.
    pub(super) fn codel(&self) -> Option<Limits> {
        let (target, interval) = match (self.faults.get(FaultKind::CoDel), self.discipline) {
            (Some(&LinkFault::CoDel { target, interval }), _) => (target, interval),
            (_, Discipline::CoDel { target, interval }) => (target, interval),
            _ => return None,
        };
        Some(Limits { target: nanos(target), interval: nanos(interval) })
    }

    /// The rate and burst of its policer, if it has one.
    pub(super) fn policer(&self) -> Option<(Rate, Size)> {
        match (self.faults.get(FaultKind::Policer), self.discipline) {
            (Some(&LinkFault::Police { rate, burst }), _) => Some((rate, burst)),
            (_, Discipline::Policer { rate, burst }) => Some((rate, burst)),
            _ => None,
        }
    }
}

/// In the how manieth period of that length a time is, from 0.
pub(super) fn period(now: u64, length: Duration) -> u64 {
    now / nanos(length).max(1)
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) if self.queue.as_bytes() == u64::MAX => write!(f, "{rate}")?,
            Some(rate) => write!(f, "{rate} queue {}", self.queue)?,
            None => f.write_str("unlimited")?,
        }
        if self.discipline != Discipline::TailDrop {
            write!(f, " {}", self.discipline)?;
        }
        write!(f, ", {:?}", self.delay)?;
        if !self.jitter.is_zero() {
            write!(f, " + {:?}", self.jitter)?;
        }
        self.faults().try_for_each(|fault| write!(f, ", {fault}"))
    }
}

/// One of the two directions of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the first end to the second: what goes out, where one end is ours.
    There,
    /// From the second end to the first: what comes in.
    Back,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::There, Self::Back];
}

/// Both directions of a path: what the first host of `World::join` of the simulator sends, and what it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// From the first host to the second.
    pub there: Link,
    /// From the second host to the first.
    pub back: Link,
}

impl From<Link> for Line {
    fn from(link: Link) -> Self {
        Self { there: link, back: link }
    }
}

/// Presets. The first host is the customer, so `there` is the upload.
impl Line {
    const fn access(up: Rate, down: Rate, delay: Duration, up_queue: Size, down_queue: Size) -> Self {
        let link = Link::perfect().delay(delay);
        Self { there: link.rate(up).queue(up_queue), back: link.rate(down).queue(down_queue) }
    }

    /// 1 Mbit/s up, 16 down, 15 ms each way, queues of half a second up and an eighth down.
    #[must_use]
    pub const fn adsl() -> Self {
        let (up, down) = (Rate::megabits(1), Rate::megabits(16));
        Self::access(up, down, Duration::from_millis(15), Size::kib(64), Size::kib(256))
    }

    /// 100 Mbit/s up, 300 down, 4 ms each way, queues of 40 ms.
    #[must_use]
    pub const fn fibre() -> Self {
        let (up, down) = (Rate::megabits(100), Rate::megabits(300));
        Self::access(up, down, Duration::from_millis(4), Size::kib(512), Size::kib(1536))
    }

    /// 8 Mbit/s up, 30 down, 25 ms each way with up to 15 ms of jitter, and one packet in a thousand lost.
    #[must_use]
    pub const fn mobile() -> Self {
        let (up, down) = (Rate::megabits(8), Rate::megabits(30));
        let Self { there, back } =
            Self::access(up, down, Duration::from_millis(25), Size::kib(256), Size::kib(1024));
        let (jitter, loss) = (Duration::from_millis(15), Strike::random(0.001));
        Self { there: there.jitter(jitter).loss(loss), back: back.jitter(jitter).loss(loss) }
    }

    /// 3 Mbit/s up, 25 down, 280 ms each way, half a percent lost.
    #[must_use]
    pub const fn satellite() -> Self {
        let (up, down) = (Rate::megabits(3), Rate::megabits(25));
        let Self { there, back } =
            Self::access(up, down, Duration::from_millis(280), Size::kib(256), Size::kib(1024));
        let loss = Strike::random(0.005);
        Self { there: there.loss(loss), back: back.loss(loss) }
    }

    /// 400 kbit/s (50 kB/s) up with a queue of ten seconds, 8 Mbit/s down, 20 ms each way: where a loss-based sender
    /// ruins everybody's day.
    #[must_use]
    pub const fn bufferbloat() -> Self {
        let (up, down) = (Rate::kilobits(400), Rate::megabits(8));
        Self::access(up, down, Duration::from_millis(20), Size::bytes(500_000), Size::bytes(500_000))
    }

    /// 40 Mbit/s up, 80 down, 3 ms each way with up to 8 ms of jitter, and half a percent lost in bursts of three.
    #[must_use]
    pub const fn wifi() -> Self {
        let (up, down) = (Rate::megabits(40), Rate::megabits(80));
        let Self { there, back } =
            Self::access(up, down, Duration::from_millis(3), Size::kib(512), Size::kib(512));
        let (jitter, loss) = (Duration::from_millis(8), LinkFault::Burst(Burst::mean(0.005, 3.0)));
        Self { there: there.jitter(jitter).with(loss), back: back.jitter(jitter).with(loss) }
    }

    /// 1 Mbit/s up, 2 down, 150 ms each way with up to 100 ms of jitter; 8 % lost in bursts of four, 5 % overtaken by
    /// what comes up to 40 ms later, 2 % doubled. What works here works anywhere.
    #[must_use]
    pub const fn terrible() -> Self {
        const fn spoil(link: Link) -> Link {
            link.jitter(Duration::from_millis(100))
                .with(LinkFault::Burst(Burst::mean(0.08, 4.0)))
                .reorder(Strike::random(0.05), Duration::from_millis(40))
                .duplicate(Strike::random(0.02), Duration::from_millis(5))
        }
        let (up, down) = (Rate::megabits(1), Rate::megabits(2));
        let Self { there, back } =
            Self::access(up, down, Duration::from_millis(150), Size::kib(64), Size::kib(64));
        Self { there: spoil(there), back: spoil(back) }
    }

    /// All of these, by name.
    pub const PRESETS: [(&str, Self); 7] = [
        ("adsl", Self::adsl()),
        ("fibre", Self::fibre()),
        ("wifi", Self::wifi()),
        ("mobile", Self::mobile()),
        ("satellite", Self::satellite()),
        ("bufferbloat", Self::bufferbloat()),
        ("terrible", Self::terrible()),
    ];
}
