//! Reactors on a wire, ticked sixty times a second of made-up time, and what they have told.

use std::net::SocketAddr;
use std::time::Duration;

use ebbtide::message::{ChannelConfig, Fate, MessageConfig, MessageId, Mode};
use ebbtide::reactor::{Event, PeerId, Reactor};
use ebbtide::{CloseReason, Config, Instant};

use crate::wire::{End, Wire};

pub(crate) const FRAME: Duration = Duration::from_micros(16_667);

pub(crate) const ORDERED: u8 = 0;
pub(crate) const LOOSE: u8 = 1;

/// A channel that keeps order, and one that promises nothing.
pub(crate) fn channels() -> MessageConfig {
    MessageConfig::new([ChannelConfig::new(Mode::ReliableOrdered), ChannelConfig::new(Mode::Unreliable)])
}

pub(crate) fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 1999))
}

/// Reactor number 0 lets everybody in.
pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) now: Instant,
    pub(crate) reactors: Vec<Reactor<End>>,
    /// What each has told since somebody looked.
    pub(crate) told: Vec<Vec<Event>>,
}

impl World {
    pub(crate) fn new(delay: Duration, reactors: u8) -> Self {
        Self::with(delay, reactors, &channels(), Config::default())
    }

    pub(crate) fn with(delay: Duration, reactors: u8, channels: &MessageConfig, config: Config) -> Self {
        let wire = Wire::new(delay);
        let make = |host| Reactor::over(wire.attach(addr(host)), config.clone()).unwrap();
        let mut reactors: Vec<_> = (0..reactors).map(make).collect();
        reactors[0].listen(channels).unwrap();
        let told = reactors.iter().map(|_| Vec::new()).collect();
        Self { wire, now: Instant::ZERO, reactors, told }
    }

    /// One frame of everybody.
    pub(crate) fn tick(&mut self) {
        self.now = self.now + FRAME;
        self.wire.set_now(self.now);
        for (reactor, told) in self.reactors.iter_mut().zip(&mut self.told) {
            reactor.tick_at(self.now).unwrap();
            told.extend(reactor.events());
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
        }
    }

    /// Ticks until something has come true, for a minute at most.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..3600 {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("it does not come true; told: {:?}", self.told);
    }

    /// Connects number `from` with number 0, and says by what names they know each other: there, and here.
    pub(crate) fn connect(&mut self, from: usize) -> (PeerId, PeerId) {
        let there = self.reactors[from].connect(addr(0), &channels()).unwrap();
        self.until(|world| !connected(&world.told[from]).is_empty() && !connected(&world.told[0]).is_empty());
        assert_eq!(connected(&self.told[from]), [there]);
        let here = connected(&self.told[0])[0];
        self.told[0].clear();
        self.told[from].clear();
        (there, here)
    }
}

pub(crate) fn connected(told: &[Event]) -> Vec<PeerId> {
    told.iter()
        .filter_map(|event| match event {
            Event::Connected { peer, .. } => Some(*peer),
            _ => None,
        })
        .collect()
}

pub(crate) fn disconnected(told: &[Event]) -> Vec<(PeerId, CloseReason)> {
    told.iter()
        .filter_map(|event| match event {
            Event::Disconnected { peer, reason } => Some((*peer, *reason)),
            _ => None,
        })
        .collect()
}

/// What messages say, in the order in which they came.
pub(crate) fn messages(told: &[Event]) -> Vec<Vec<u8>> {
    told.iter()
        .filter_map(|event| match event {
            Event::Message { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        })
        .collect()
}

pub(crate) fn delivered(told: &[Event]) -> Vec<MessageId> {
    told.iter()
        .filter_map(|event| match event {
            Event::Acked { receipt, .. } if receipt.fate == Fate::Delivered => Some(receipt.id),
            _ => None,
        })
        .collect()
}
