//! One direction of a path: how fast it is, how long, how much it buffers, and what it does to packets.
//!
//! ```text
//!   filter · down · MTU ─▶ tail-drop queue ─▶ rate ─▶ loss · corruption ─▶ propagation · jitter ─▶ reorder · duplicate
//! ```
//!
//! A packet's whole fate is decided when it is handed over, so it costs one event. That means that a change of
//! [`Link`] concerns packets handed over after it; those under way arrive as they would have.
//!
//! This is how a link is set up; what it does with packets is in `pipe.rs`.

use std::fmt;
use std::time::Duration;

use super::quantity::{Rate, Size};
use super::strike::Strike;

/// Bytes that every datagram has around it on the wire: headers of IPv4 and UDP. Rate, queue and MTU count them.
pub const OVERHEAD: Size = Size::bytes(28);

/// One direction of a path, as it is set up. Without further ado it is perfect: no delay, no limit, no fault.
///
/// ```
/// use std::time::Duration;
/// use ebbtide::sim::{Link, Rate, Size, Strike};
/// let slow = Link::perfect()
///     .rate(Rate::megabits(8))
///     .delay(Duration::from_millis(20))
///     .queue(Size::kib(64))
///     .loss(Strike::random(0.01));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub(super) rate: Option<Rate>,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) queue: Size,
    pub(super) mtu: Size,
    pub(super) down: bool,
    pub(super) loss: Strike,
    pub(super) corrupt: Strike,
    pub(super) deliver_corrupt: bool,
    /// Which packets, and how much later they arrive.
    pub(super) reorder: (Strike, Duration),
    /// Which packets, and how long after the first the second arrives.
    pub(super) duplicate: (Strike, Duration),
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
            mtu: Size::bytes(1500),
            down: false,
            loss: Strike::never(),
            corrupt: Strike::never(),
            deliver_corrupt: false,
            reorder: (Strike::never(), Duration::ZERO),
            duplicate: (Strike::never(), Duration::ZERO),
        }
    }

    /// How many bits it carries per second (default: no limit).
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
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

    /// The largest packet, headers included (default 1,500 bytes). Larger ones vanish without a word.
    #[must_use]
    pub const fn mtu(mut self, size: Size) -> Self {
        self.mtu = size;
        self
    }

    /// Whether it carries nothing at all (default: it does).
    #[must_use]
    pub const fn down(mut self, down: bool) -> Self {
        self.down = down;
        self
    }

    /// Which packets vanish after they have taken their time on the link.
    #[must_use]
    pub const fn loss(mut self, which: Strike) -> Self {
        self.loss = which;
        self
    }

    /// Which packets arrive twice, the second time so much after the first.
    #[must_use]
    pub const fn duplicate(mut self, which: Strike, after: Duration) -> Self {
        self.duplicate = (which, after);
        self
    }

    /// Which packets have a bit flipped. uTP has no checksum, but UDP has: the receiver's system drops such a packet.
    #[must_use]
    pub const fn corrupt(mut self, which: Strike) -> Self {
        self.corrupt = which;
        self
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
    pub const fn reorder(mut self, which: Strike, by: Duration) -> Self {
        self.reorder = (which, by);
        self
    }

    /// Without any fault: same rate, delay, jitter, queue and MTU, but up, and nothing is struck.
    #[must_use]
    pub const fn healed(mut self) -> Self {
        self.down = false;
        self.loss = Strike::never();
        self.corrupt = Strike::never();
        self.reorder.0 = Strike::never();
        self.duplicate.0 = Strike::never();
        self
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) if self.queue.as_bytes() == u64::MAX => write!(f, "{rate}")?,
            Some(rate) => write!(f, "{rate} queue {}", self.queue)?,
            None => f.write_str("unlimited")?,
        }
        write!(f, ", {:?}", self.delay)?;
        if !self.jitter.is_zero() {
            write!(f, " + {:?}", self.jitter)?;
        }
        let faults = [
            ("loss", self.loss),
            ("corrupt", self.corrupt),
            ("reorder", self.reorder.0),
            ("duplicate", self.duplicate.0),
        ];
        for (name, strike) in faults.iter().filter(|(_, strike)| *strike != Strike::never()) {
            write!(f, ", {name} {strike}")?;
        }
        f.write_str(if self.down { ", down" } else { "" })
    }
}

/// Both directions of a path: what the first host of [`World::join`](super::World::join) sends, and what it gets.
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
}
