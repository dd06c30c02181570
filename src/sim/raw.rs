//! Hosts without an endpoint: whoever lives there sees naked datagrams, and sends what it likes from where it likes.
//!
//! For attackers, and for peers that speak uTP in a way of their own. [`RawStream`](super::RawStream) does the
//! bookkeeping for those who want to be believed. Knows nothing of endpoints.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::host::NEVER;
use super::network::HOPS;
use crate::link::{Rng, nanos};
use crate::time::Instant;
use crate::wire::Timestamp;

/// What lives on a host without an endpoint: it sees every datagram that reaches the host, and sends what it likes.
pub trait RawProgram: fmt::Debug + Any {
    /// A datagram came.
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]);

    /// The alarm rang. Also called once, when the world runs on after the host was made.
    fn on_alarm(&mut self, net: &mut RawNet<'_>);
}

/// The way out for datagrams of any source.
pub(super) trait Wire {
    /// Puts a datagram on the wire that leads from here to `to`, if there is one.
    fn put(&mut self, from: SocketAddr, to: SocketAddr, hops: u8, bytes: &[u8]);
}

/// What a [`RawProgram`] has at hand.
pub struct RawNet<'a> {
    wire: &'a mut dyn Wire,
    rng: &'a mut Rng,
    addr: SocketAddr,
    addressed: SocketAddr,
    now: u64,
    local: Instant,
    /// The earliest that was asked for, nanoseconds.
    alarm: u64,
}

impl RawNet<'_> {
    /// Time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// What the clock of this host would put into a packet now.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.local.stamp()
    }

    /// Its own address.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address that the datagram was sent to that it is called about: behind a [router](super::Place), every port
    /// of a host reaches it. Its own address otherwise.
    #[must_use]
    pub const fn addressed(&self) -> SocketAddr {
        self.addressed
    }

    /// Sends a datagram. Without a line to that address it goes nowhere, see [`World::nowhere`](super::World::nowhere).
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.wire.put(self.addr, to, HOPS, bytes);
    }

    /// Sends a datagram from another port of its own that passes so many routers at most. Whether it comes from a port
    /// that was used before is nobody's business here.
    pub fn send_with_hops(&mut self, port: u16, to: SocketAddr, hops: u8, bytes: &[u8]) {
        self.wire.put(SocketAddr::new(self.addr.ip(), port), to, hops, bytes);
    }

    /// Sends a datagram over the same line as [`send`](Self::send) that claims to come from `spoofed`. Answers go to
    /// whoever has that address, or nowhere.
    pub fn send_from(&mut self, spoofed: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.wire.put(spoofed, to, HOPS, bytes);
    }

    /// Asks for [`RawProgram::on_alarm`] at that time, or at once if it is past. There is one alarm, and the earliest
    /// time asked for since it last rang counts.
    pub fn wake_at(&mut self, at: Duration) {
        self.alarm = self.alarm.min(nanos(at));
    }

    /// Asks for [`RawProgram::on_alarm`] so much later.
    pub fn wake_after(&mut self, after: Duration) {
        self.wake_at(self.now() + after);
    }

    /// A generator of this host's own.
    pub const fn rng(&mut self) -> &mut Rng {
        self.rng
    }
}

impl fmt::Debug for RawNet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawNet").field("addr", &self.addr).field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The machine that a raw program runs on.
#[derive(Debug)]
pub(super) struct RawHost {
    pub(super) program: Box<dyn RawProgram>,
    rng: Rng,
    pub(super) addr: SocketAddr,
    pub(super) alive: bool,
    /// When the world will ring, nanoseconds.
    pub(super) alarm_at: u64,
}

/// Why a raw program is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause<'a> {
    Datagram { from: SocketAddr, addressed: SocketAddr, bytes: &'a [u8] },
    Alarm,
}

impl RawHost {
    pub(super) fn new(program: Box<dyn RawProgram>, addr: SocketAddr, rng: Rng, now: u64) -> Self {
        // The first call.
        Self { program, rng, addr, alive: true, alarm_at: now }
    }

    pub(super) fn program(&self) -> &dyn Any {
        &*self.program
    }

    pub(super) fn program_mut(&mut self) -> &mut dyn Any {
        &mut *self.program
    }

    /// Calls the program. Returns when the world has to ring for it, if that has become earlier.
    pub(super) fn call(&mut self, now: u64, cause: Cause<'_>, wire: &mut dyn Wire) -> Option<u64> {
        let local = Instant::from_micros(now / 1000);
        let Self { program, rng, addr, .. } = self;
        let addressed = match cause {
            Cause::Datagram { addressed, .. } => addressed,
            Cause::Alarm => *addr,
        };
        let mut net = RawNet { wire, rng, addr: *addr, addressed, now, local, alarm: NEVER };
        match cause {
            Cause::Datagram { from, bytes, .. } => program.on_datagram(&mut net, from, bytes),
            Cause::Alarm => program.on_alarm(&mut net),
        }
        // Never at this very moment again: then time would stand still.
        let alarm = net.alarm;
        let earlier = (alarm < self.alarm_at).then(|| alarm.max(now + 1))?;
        self.alarm_at = earlier;
        Some(earlier)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Link, Traffic, World};
    use super::*;
    use crate::Config;
    use crate::sim::Size;

    /// Says something ten times, a second apart, in the name of somebody, and remembers who answers.
    #[derive(Debug)]
    struct Parrot {
        to: SocketAddr,
        spoofed: Option<SocketAddr>,
        said: u32,
        heard: Vec<(SocketAddr, usize)>,
    }

    impl RawProgram for Parrot {
        fn on_datagram(&mut self, _: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
            self.heard.push((from, bytes.len()));
        }

        fn on_alarm(&mut self, net: &mut RawNet<'_>) {
            // A packet of no connection: whoever gets it answers with a RESET.
            let mut stray = [0; 30];
            stray[0] = 0x01;
            net.send_from(self.spoofed.unwrap_or_else(|| net.addr()), self.to, &stray);
            self.said += 1;
            if self.said < 10 {
                net.wake_after(Duration::from_secs(1));
            }
        }
    }

    fn parrot(to: SocketAddr, spoofed: Option<SocketAddr>) -> Parrot {
        Parrot { to, spoofed, said: 0, heard: Vec::new() }
    }

    #[test]
    fn a_raw_host_is_answered_and_both_sides_agree_about_how_much_went_to_and_fro() {
        let mut world = World::new(1);
        let victim = world.host(Config::default());
        let to = world.addr(victim);
        let raw = world.raw_host(parrot(to, None));
        world.join(raw, victim, Link::perfect().delay(Duration::from_millis(10)));
        world.run_for(Duration::from_secs(20));
        let seen = world.raw::<Parrot>(raw).expect("it is a parrot");
        assert_eq!((seen.said, seen.heard.len()), (10, 10));
        assert!(seen.heard.iter().all(|&heard| heard == (to, 20)));
        let exchanged = world.exchanged(victim, world.addr(raw));
        assert_eq!((exchanged.in_packets, exchanged.in_bytes), (10, 300));
        assert_eq!((exchanged.out_packets, exchanged.out_bytes), (10, 200));
    }

    #[test]
    fn answers_to_a_spoofed_source_go_to_its_owner_or_nowhere() {
        let mut world = World::new(1);
        let [victim, owner] = [(); 2].map(|()| world.host(Config::default()));
        let to = world.addr(victim);
        let raw = world.raw_host(parrot(to, Some(world.addr(owner))));
        let nobody = SocketAddr::from(([192, 0, 2, 1], 7));
        let other = world.raw_host(parrot(to, Some(nobody)));
        for host in [raw, other, owner] {
            world.join(host, victim, Link::perfect());
        }
        world.run_for(Duration::from_secs(20));
        assert!(
            [raw, other].iter().all(|&host| world.raw::<Parrot>(host).expect("a parrot").heard.is_empty())
        );
        assert_eq!(world.exchanged(owner, to).in_packets, 10);
        assert_eq!((world.exchanged(victim, nobody).out_packets, world.nowhere()), (10, 10));
    }

    #[test]
    fn a_raw_host_that_has_vanished_says_and_hears_nothing_more() {
        let mut world = World::new(1);
        let [victim, honest] = [(); 2].map(|()| world.host(Config::default()));
        let raw = world.raw_host(parrot(world.addr(victim), None));
        for host in [raw, honest] {
            world.join(host, victim, Link::perfect().delay(Duration::from_millis(1)));
        }
        let flow = world.start(honest, victim, &Traffic::bulk(Size::kib(10)));
        world.run_for(Duration::from_millis(4500));
        world.vanish(raw);
        world.settle(Duration::from_secs(60)).expect("only the parrot would have gone on");
        assert_eq!(world.raw::<Parrot>(raw).map(|parrot| parrot.said), Some(5));
        assert!(world.is_done(flow) && world.raw::<Silent>(raw).is_none());
    }

    #[derive(Debug)]
    struct Silent;

    impl RawProgram for Silent {
        fn on_datagram(&mut self, _: &mut RawNet<'_>, _: SocketAddr, _: &[u8]) {}
        fn on_alarm(&mut self, _: &mut RawNet<'_>) {}
    }
}
