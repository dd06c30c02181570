//! What lives on a host and has the endpoint itself at hand, and not only one connection: servers that accept what they
//! like, and whoever looks for ways to peers.
//!
//! A resident polls what it is about, as an async task would, and is stepped again when its waker is called. The
//! connections that come of it get [programs](super::Program) at their ends, and are watched like any other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::flow::{FlowId, Side};
use super::host::{HostClock, HostId};
use super::program::Program;
use super::traffic::Traffic;
use super::world::World;
use crate::link::nanos;
use crate::proto::endpoint::{Handle, Shared};
use crate::time::Instant;

/// Somebody who lives on a host and uses its endpoint.
pub trait Resident: fmt::Debug + Any {
    /// Goes as far as it gets. Called once at the start, and then whenever the waker of [`Home::context`] was called,
    /// the alarm rang, or the test has changed it ([`World::tell`]); must not mind being called more often.
    fn step(&mut self, home: &mut Home<'_>);

    /// Whether it accepts incoming connections itself ([`Shared::poll_incoming`]) in place of the world, which would
    /// give them to [programs](super::Program).
    fn accepts(&self) -> bool {
        false
    }
}

/// What a [`Resident`] has at hand during a step.
pub struct Home<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) waker: &'a Waker,
    pub(super) now: u64,
    pub(super) clock: &'a HostClock,
    pub(super) scratch: &'a mut [u8],
    /// Nanoseconds.
    pub(super) alarm: Option<u64>,
    pub(super) adopted: Vec<(FlowId, Side, Handle, Box<dyn Program>)>,
}

impl<'a> Home<'a> {
    /// The applications' side of the endpoint.
    #[must_use]
    pub const fn shared(&self) -> &'a Arc<Shared> {
        self.shared
    }

    /// The context to poll with: its waker brings the next step.
    #[must_use]
    pub const fn context(&self) -> Context<'a> {
        Context::from_waker(self.waker)
    }

    /// Time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// What the clock of the host shows.
    #[must_use]
    pub const fn local_now(&self) -> Instant {
        self.clock.at(self.now)
    }

    /// Asks for a step at that time, counted from the beginning of the world. The earliest of several counts.
    pub fn wake_at(&mut self, at: Duration) {
        self.wake_at_nanos(nanos(at));
    }

    /// Asks for a step when the clock of the host shows that.
    pub fn wake_at_local(&mut self, at: Instant) {
        self.wake_at_nanos(self.clock.when(at, self.now));
    }

    fn wake_at_nanos(&mut self, at: u64) {
        self.alarm = Some(self.alarm.map_or(at, |known| known.min(at)));
    }

    /// 64 KiB to read into, shared by all: what is in there between steps is anybody's.
    #[must_use]
    pub const fn scratch(&mut self) -> &mut [u8] {
        self.scratch
    }

    /// A connection has come about: this is the end of `flow` on this host (see [`World::flow`]), and gets that side's
    /// program of `traffic`.
    pub fn adopt(&mut self, flow: FlowId, side: Side, handle: Handle, traffic: &Traffic) {
        let (initiator, acceptor) = traffic.programs(flow.index().into());
        let program = match side {
            Side::Initiator => initiator,
            Side::Acceptor => acceptor,
        };
        self.adopt_with(flow, side, handle, program);
    }

    /// The same with a program of your own.
    pub fn adopt_with(&mut self, flow: FlowId, side: Side, handle: Handle, program: Box<dyn Program>) {
        self.adopted.push((flow, side, handle, program));
    }
}

impl fmt::Debug for Home<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Residents.
impl World {
    /// Somebody lives on this host from now on.
    ///
    /// # Panics
    /// For a raw host.
    pub fn reside(&mut self, host: HostId, resident: impl Resident) {
        self.machine_mut(host).take_in(Box::new(resident));
        self.turn(host);
    }

    /// The first resident of that type on this host.
    ///
    /// # Panics
    /// For a raw host.
    #[must_use]
    pub fn resident<T: Resident>(&self, host: HostId) -> Option<&T> {
        self.machine(host).resident()
    }

    /// Tells the first resident of that type something, and steps it.
    ///
    /// # Panics
    /// For a raw host, or without such a resident.
    pub fn tell<T: Resident>(&mut self, host: HostId, news: impl FnOnce(&mut T)) {
        let resident = self.machine_mut(host).resident_mut::<T>();
        news(resident.expect("somebody to tell it to"));
        self.turn(host);
    }

    /// A connection between two hosts that their residents will bring about, and whose ends they
    /// [adopt](Home::adopt). The first host is the initiator.
    pub fn flow(&mut self, initiator: HostId, acceptor: HostId) -> FlowId {
        self.flows_mut().add_open([initiator, acceptor])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::SocketAddr;
    use std::task::Poll;

    use super::*;
    use crate::Config;
    use crate::sim::{Link, Size};

    /// Opens a connection after a second, by itself.
    #[derive(Debug)]
    struct Caller {
        flow: FlowId,
        peer: SocketAddr,
        called: Option<Duration>,
    }

    impl Resident for Caller {
        fn step(&mut self, home: &mut Home<'_>) {
            let at = Duration::from_secs(1);
            if home.now() < at {
                return home.wake_at(at);
            }
            if self.called.is_none() {
                self.called = Some(home.now());
                let handle = home.shared().connect(self.peer, None);
                home.adopt(self.flow, Side::Initiator, handle, &Traffic::echo(Size::kib(50)));
            }
        }
    }

    /// Accepts it.
    #[derive(Debug)]
    struct Callee {
        flow: FlowId,
    }

    impl Resident for Callee {
        fn step(&mut self, home: &mut Home<'_>) {
            let mut context = home.context();
            while let Poll::Ready(Some(incoming)) = home.shared().poll_incoming(&mut context) {
                home.adopt(self.flow, Side::Acceptor, incoming.accept(), &Traffic::echo(Size::kib(50)));
            }
        }

        fn accepts(&self) -> bool {
            true
        }
    }

    #[test]
    fn residents_bring_connections_about_and_their_programs_are_watched() {
        let mut world = World::new(3);
        let [caller, callee] = [(); 2].map(|()| world.host(Config::default()));
        world.join(caller, callee, Link::perfect().delay(Duration::from_millis(10)));
        let flow = world.flow(caller, callee);
        let peer = world.addr(callee);
        world.reside(callee, Callee { flow });
        world.reside(caller, Caller { flow, peer: SocketAddr::from(([10, 9, 9, 9], 1)), called: None });
        world.tell(caller, |caller: &mut Caller| caller.peer = peer);
        world.run_until(|world| world.is_done(flow), Duration::from_secs(60)).unwrap();
        world.settle(Duration::from_secs(60)).unwrap();
        assert_eq!(world.resident::<Caller>(caller).unwrap().called, Some(Duration::from_secs(1)));
        for side in Side::BOTH {
            assert_eq!(world.report(flow, side).received, 50 << 10);
        }
        assert_eq!(world.strays(), 0);
    }
}
