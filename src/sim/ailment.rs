//! The faults of a host with their settings, those that stand for something by name, and how they are switched on and
//! off while a world runs.
//!
//! What is set, and when it ends. What it does is done in `host/`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::flow::FlowId;
use super::host::{HostId, SocketError};
use super::trace::Event as Noted;
use super::traffic::Traffic;
use super::world::World;
use crate::link::{FaultKind, Rng, Strike};
use crate::wire::{ConnId, SeqNr};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

/// What a clock does while its machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// It stands still: the monotonic clock of Linux and macOS. Nothing seems late, but the peer sees timestamps that
    /// have fallen behind.
    ClockStops,
    /// It goes on: Windows, and virtual machines that are paused. Every timer is late when the machine wakes up.
    ClockRuns,
}

/// A fault of a host, with its settings: see [`World::afflict`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostFault {
    /// [`FaultKind::PortRebind`]: its packets come from the next port from now on, and only there it is reached.
    PortRebind,
    /// [`FaultKind::AddressChange`]: it has another IP address from now on.
    AddressChange,
    /// [`FaultKind::ClockSkew`]: its clock is so many parts in a million too fast.
    ClockSkew(i32),
    /// [`FaultKind::ClockStep`]: the clock behind its packets' timestamps is set by so many microseconds. Its own
    /// timers do not notice.
    ClockStep(i64),
    /// [`FaultKind::ClockStep`]: its whole clock jumps forwards, and every timer that falls into the gap is due.
    ClockJump(Duration),
    /// [`FaultKind::WrapStart`]: connections begin with this packet number from now on, and timestamps wrap after
    /// that long.
    WrapStart {
        /// The first number.
        seq: SeqNr,
        /// When timestamps wrap, from now on.
        wrap_in: Duration,
    },
    /// [`FaultKind::Suspend`]: it does nothing for so long, not even dropping what arrives, until the socket's buffer
    /// ([`Config::socket_buffer`](crate::Config::socket_buffer)) is full.
    Suspend(Duration, Sleep),
    /// [`FaultKind::SocketError`]: which attempts to send fail, and how.
    SocketError(Strike, SocketError),
    /// [`FaultKind::SlowReader`]: its programs do not run for so long, though its endpoint does: nobody reads.
    Pause(Duration),
    /// [`FaultKind::DroppedFuture`]: which steps of its programs are taken twice, first by a task that is dropped at
    /// once, and then by another. Whoever wakes the first wakes nobody.
    DropTasks(Strike),
    /// [`FaultKind::DroppedFuture`]: the runtime is gone, the endpoint and all programs with it. For good.
    Vanish,
}

impl HostFault {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::PortRebind => FaultKind::PortRebind,
            Self::AddressChange => FaultKind::AddressChange,
            Self::ClockSkew(_) => FaultKind::ClockSkew,
            Self::ClockStep(_) | Self::ClockJump(_) => FaultKind::ClockStep,
            Self::WrapStart { .. } => FaultKind::WrapStart,
            Self::Suspend(..) => FaultKind::Suspend,
            Self::SocketError(..) => FaultKind::SocketError,
            Self::Pause(_) => FaultKind::SlowReader,
            Self::DropTasks(_) | Self::Vanish => FaultKind::DroppedFuture,
        }
    }

    /// Whether plain uTP cannot survive it: connections of this host that are not at their end may break, each end by
    /// a RESET of the other or by a time limit of its own.
    ///
    /// Everything else is survived by connections whose time limits are longer than it lasts.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::PortRebind | Self::AddressChange | Self::Vanish)
    }

    /// For how long nothing comes from the host, at most, as its peers see it; as it sees itself, if its clock jumps.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        match self {
            Self::Suspend(lasts, _) | Self::Pause(lasts) | Self::ClockJump(lasts) => *lasts,
            Self::SocketError(_, SocketError::Full(lasts)) => *lasts,
            _ => Duration::ZERO,
        }
    }

    /// In few words, for the trace.
    const fn verb(&self) -> &'static str {
        match self {
            Self::PortRebind => "has another port",
            Self::AddressChange => "has another address",
            Self::ClockSkew(_) => "has a clock that is too fast or too slow",
            Self::ClockStep(_) => "has its clock set",
            Self::ClockJump(_) => "has a clock that jumps",
            Self::WrapStart { .. } => "is about to wrap",
            Self::Suspend(..) => "is sent to sleep",
            Self::SocketError(..) => "cannot send now and then",
            Self::Pause(_) => "has no time for its programs",
            Self::DropTasks(_) => "drops tasks",
            Self::Vanish => "is about to vanish",
        }
    }

    /// Named settings of a kind, mild ones first; none for kinds of another sort.
    #[must_use]
    pub const fn presets(kind: FaultKind) -> &'static [(&'static str, Self)] {
        match kind {
            FaultKind::PortRebind => const { &[("rebound", Self::PortRebind)] },
            FaultKind::AddressChange => const { &[("roamed", Self::AddressChange)] },
            FaultKind::ClockSkew => {
                const {
                    &[
                        ("quartz", Self::ClockSkew(40)),
                        ("as fast as NTP lets it", Self::ClockSkew(500)),
                        ("as slow as NTP lets it", Self::ClockSkew(-500)),
                    ]
                }
            }
            FaultKind::ClockStep => {
                const {
                    &[
                        ("a second back", Self::ClockStep(-1_000_000)),
                        ("an hour ahead", Self::ClockStep(HOUR)),
                        ("an hour back", Self::ClockStep(-HOUR)),
                        ("gap", Self::ClockJump(secs(5))),
                    ]
                }
            }
            FaultKind::WrapStart => {
                const {
                    &[
                        ("at once", Self::WrapStart { seq: SeqNr::new(65_535), wrap_in: ms(1) }),
                        ("soon", Self::WrapStart { seq: SeqNr::new(65_530), wrap_in: ms(500) }),
                    ]
                }
            }
            FaultKind::Suspend => {
                const {
                    &[
                        ("stall", Self::Suspend(secs(3), Sleep::ClockRuns)),
                        ("nap", Self::Suspend(secs(20), Sleep::ClockStops)),
                        ("lunch", Self::Suspend(secs(600), Sleep::ClockStops)),
                        ("lunch, with Windows", Self::Suspend(secs(600), Sleep::ClockRuns)),
                    ]
                }
            }
            FaultKind::SocketError => SOCKET_ERRORS,
            FaultKind::SlowReader => {
                const { &[("busy", Self::Pause(ms(300))), ("hung", Self::Pause(secs(20)))] }
            }
            FaultKind::DroppedFuture => {
                const {
                    &[
                        ("now and then", Self::DropTasks(Strike::random(0.05))),
                        ("select in a loop", Self::DropTasks(Strike::always())),
                        ("gone", Self::Vanish),
                    ]
                }
            }
            _ => &[],
        }
    }

    /// A setting of that kind, drawn from all that make sense; `None` for kinds of another sort. Nothing
    /// [fatal](Self::is_fatal) but for the two kinds that are, and no [silence](Self::silence) of more than
    /// `silence_max`.
    #[must_use]
    pub fn draw(kind: FaultKind, silence_max: Duration, rng: &mut Rng) -> Option<Self> {
        let lasts = rng.duration(ms(50)..silence_max.max(ms(51)));
        let some_ppm = || 1 + i32::try_from(lasts.as_micros() % 500).unwrap_or(0);
        Some(match kind {
            FaultKind::PortRebind => Self::PortRebind,
            FaultKind::AddressChange => Self::AddressChange,
            FaultKind::ClockSkew => Self::ClockSkew(if rng.chance(0.5) { some_ppm() } else { -some_ppm() }),
            FaultKind::ClockStep if rng.chance(0.3) => Self::ClockJump(lasts),
            FaultKind::ClockStep => {
                Self::ClockStep(i64::try_from(rng.below(2 * HOUR.unsigned_abs())).unwrap_or(0) - HOUR)
            }
            FaultKind::WrapStart => Self::WrapStart {
                seq: SeqNr::new(65_535 - rng.below(200) as u16),
                wrap_in: rng.duration(Duration::ZERO..secs(20)),
            },
            FaultKind::Suspend => {
                Self::Suspend(lasts, if rng.chance(0.5) { Sleep::ClockStops } else { Sleep::ClockRuns })
            }
            FaultKind::SocketError => {
                let which = Strike::random(0.01 + 0.1 * rng.below(100) as f64 / 100.0);
                let full = SocketError::Full(rng.duration(ms(0)..ms(40).min(silence_max)));
                let kinds = [full, SocketError::NoBuffers, SocketError::TooLong(600), SocketError::Refused];
                Self::SocketError(which, *rng.pick(&kinds))
            }
            FaultKind::SlowReader => Self::Pause(lasts),
            FaultKind::DroppedFuture => Self::DropTasks(Strike::random(rng.below(100) as f64 / 100.0)),
            _ => return None,
        })
    }
}

const SOCKET_ERRORS: &[(&str, HostFault)] = &[
    ("full now and then", HostFault::SocketError(Strike::every(20), SocketError::Full(ms(20)))),
    ("full for seconds", HostFault::SocketError(Strike::every(100), SocketError::Full(ms(3_000)))),
    ("out of memory", HostFault::SocketError(Strike::random(0.05), SocketError::NoBuffers)),
    ("narrow", HostFault::SocketError(Strike::random(0.2), SocketError::TooLong(1_000))),
    ("ICMP", HostFault::SocketError(Strike::random(0.1), SocketError::Refused)),
];

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortRebind => f.write_str("has another port"),
            Self::AddressChange => f.write_str("has another address"),
            Self::ClockSkew(ppm) => write!(f, "has a clock that is {ppm} ppm too fast"),
            Self::ClockStep(micros) => write!(f, "has its clock set by {micros} us"),
            Self::ClockJump(by) => write!(f, "has a clock that jumps by {by:?}"),
            Self::WrapStart { seq, wrap_in } => write!(f, "begins with {seq:?}, wraps in {wrap_in:?}"),
            Self::Suspend(lasts, _) => write!(f, "sleeps for {lasts:?}"),
            Self::SocketError(which, error) => write!(f, "cannot send {which}: {error}"),
            Self::Pause(lasts) => write!(f, "has no time for its programs for {lasts:?}"),
            Self::DropTasks(which) => write!(f, "drops tasks {which}"),
            Self::Vanish => f.write_str("vanishes"),
        }
    }
}

/// Hosts that fall ill.
impl World {
    /// Something is wrong with a host from now on, until its time is over or [`cure`](Self::cure).
    ///
    /// # Panics
    /// For a raw host, unless its address changes or it vanishes.
    pub fn afflict(&mut self, host: HostId, fault: HostFault) {
        let kind = fault.kind();
        // Those are counted when they strike.
        if !matches!(fault, HostFault::SocketError(..) | HostFault::DropTasks(_) | HostFault::Vanish) {
            self.count_fault(kind);
        }
        if matches!(fault, HostFault::Suspend(..) | HostFault::ClockStep(_) | HostFault::WrapStart { .. }) {
            self.note_timeless(host);
        }
        self.note(Noted::Changed(fault.verb(), host));
        match fault {
            HostFault::PortRebind => {
                let mut addr = self.addr(host);
                addr.set_port(addr.port().wrapping_add(1).max(1024));
                self.set_addr(host, addr);
            }
            HostFault::AddressChange => {
                let addr = self.fresh_addr();
                self.set_addr(host, addr);
            }
            HostFault::Suspend(lasts, clock) => self.suspend(host, lasts, clock == Sleep::ClockStops),
            HostFault::Vanish => self.vanish(host),
            _ => self.afflict_machine(host, fault),
        }
    }

    fn afflict_machine(&mut self, host: HostId, fault: HostFault) {
        let now = self.now_nanos();
        if matches!(fault, HostFault::ClockJump(_)) {
            self.note_jump(host);
        }
        let machine = self.machine_mut(host);
        match fault {
            HostFault::ClockSkew(ppm) => machine.clock.set_ppm(now, ppm),
            HostFault::ClockStep(micros) => machine.clock.step(micros),
            HostFault::ClockJump(by) => machine.clock.jump(now, by),
            HostFault::WrapStart { seq, wrap_in } => {
                machine.set_first_seq(Some(seq));
                let shown = machine.local(now).stamp().get().wrapping_add(machine.clock.shift());
                let wrap_in = i64::try_from(wrap_in.as_micros()).unwrap_or(0);
                machine.clock.step((1 << 32) - i64::from(shown) - wrap_in);
            }
            HostFault::SocketError(which, error) => machine.set_socket_error(Some((which, error))),
            HostFault::Pause(lasts) => {
                let until = now.saturating_add(crate::link::nanos(lasts));
                machine.pause_programs(until);
                self.look_at(host, until);
            }
            HostFault::DropTasks(which) => machine.drop_tasks(which),
            _ => {}
        }
        // Timers are due at other times now.
        self.turn(host);
    }

    /// Nothing is wrong with the host any more. It keeps its address, and its clock shows what it shows.
    pub fn cure(&mut self, host: HostId) {
        let now = self.now_nanos();
        if !self.has_endpoint(host) {
            return;
        }
        let machine = self.machine_mut(host);
        machine.clock.set_ppm(now, 0);
        machine.set_first_seq(None);
        machine.set_socket_error(None);
        machine.pause_programs(0);
        machine.drop_tasks(Strike::never());
        self.wake_up(host);
        self.turn(host);
    }

    pub(super) fn cure_all(&mut self) {
        (0..self.host_count()).map(HostId::new).for_each(|host| self.cure(host));
    }

    /// The host has this address from now on; datagrams to the old one go nowhere, those under way included. Whoever
    /// sends to the host by [`start`](Self::start) from now on knows.
    ///
    /// Plain uTP takes an address for a peer: connections of this host break, unless all that is left is to be
    /// forgotten. Its own end hears a RESET, or nothing any more; the other end speaks to nobody, until it runs into
    /// one of its limits.
    pub fn set_addr(&mut self, host: HostId, addr: SocketAddr) {
        let old = self.addr(host);
        if old != addr {
            self.network.move_host(host, old, addr);
            self.rename(host, old.ip(), addr.ip());
            self.take_addr(host, addr);
        }
    }

    /// An address that no host has had.
    fn fresh_addr(&self) -> SocketAddr {
        let number = self.fault_counts()[FaultKind::AddressChange];
        let [.., b, c, d] = number.to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(11, b, c, d)), 6881)
    }

    /// [`FaultKind::IdCollision`]: both hosts open a connection to each other at this moment, under the same id.
    pub fn start_both(
        &mut self,
        first: HostId,
        second: HostId,
        id: ConnId,
        traffic: &Traffic,
    ) -> [FlowId; 2] {
        self.count_fault(FaultKind::IdCollision);
        [self.start_as(first, second, id, traffic), self.start_as(second, first, id, traffic)]
    }
}
