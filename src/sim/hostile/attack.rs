//! Any of the attackers, with the usual settings: what random worlds draw from.

use std::fmt;
use std::time::Duration;

use super::{
    DelayLiar, Extender, Flood, Gapper, Insider, MaskLiar, Matter, Miser, Optimist, Rain, Sources, Storm,
    TimeTraveller, Trick, WindowLiar, WindowLie,
};
use crate::link::{FaultKind, Line, Rng, Size};
use crate::sim::host::HostId;
use crate::sim::traffic::Traffic;
use crate::sim::world::World;

/// An attack, ready to be [let loose](World::attack) on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Acknowledges more than it has.
    Optimist(Optimist),
    /// Reports wrong delays.
    DelayLiar(DelayLiar),
    /// Lies about windows.
    WindowLiar(WindowLiar),
    /// Acknowledges by masks what was never sent.
    MaskLiar(MaskLiar),
    /// Repeats itself.
    Storm(Storm),
    /// Sends everything but the next packet.
    Gapper(Gapper),
    /// So many connections that never take any data.
    Miser(Miser, u8),
    /// Unknown extensions.
    Extender(Extender),
    /// Clocks that leap.
    TimeTraveller(TimeTraveller),
    /// So many datagrams of that sort each millisecond, in its own name, in everybody's, or in that of the victim's
    /// peer.
    Flood(Matter, u8, Names),
}

/// Whose names a flood uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Its own.
    Own,
    /// Everybody's.
    Everybodys,
    /// That of the victim's peer.
    ThePeers,
}

/// How many attacks have a name.
const NAMED: usize = 28;

impl Attack {
    /// Attacks with a name, one for each thing that a hostile peer is known for.
    pub const PRESETS: [(&'static str, Self); NAMED] = [
        ("optimistic acks", Self::Optimist(Optimist::new(8))),
        ("very optimistic acks", Self::Optimist(Optimist::new(200))),
        ("lazy optimistic acks", Self::Optimist(Optimist::lazy())),
        ("no delay at all", Self::DelayLiar(DelayLiar { micros: 0 })),
        ("a millisecond of delay", Self::DelayLiar(DelayLiar { micros: 1000 })),
        ("INT_MAX of delay", Self::DelayLiar(DelayLiar { micros: 0x7FFF_FFFF })),
        ("huge window", Self::WindowLiar(WindowLiar::new(WindowLie::Huge))),
        ("window that shuts", Self::WindowLiar(WindowLiar::new(WindowLie::ShutAfter(20_000)))),
        ("window that shrinks", Self::WindowLiar(WindowLiar::new(WindowLie::Shrinking(5_000)))),
        ("window that flaps", Self::WindowLiar(WindowLiar::new(WindowLie::Flapping(3_000)))),
        ("window ignored", Self::WindowLiar(WindowLiar::new(WindowLie::IgnoresOurs(3)))),
        ("masks of the unsent", Self::MaskLiar(MaskLiar::new(252, 1))),
        ("odd masks", Self::MaskLiar(MaskLiar::new(255, 0))),
        ("storm of duplicate acks", Self::Storm(Storm::new(Rain::DuplicateAcks, 5))),
        ("storm of RESETs", Self::Storm(Storm::new(Rain::Resets, 5))),
        ("storm of SYNs", Self::Storm(Storm::new(Rain::Handshakes, 5))),
        ("storm of old data", Self::Storm(Storm::new(Rain::OldData, 5))),
        ("storm of FINs", Self::Storm(Storm::new(Rain::Fins, 1))),
        ("gaps everywhere", Self::Gapper(Gapper::new(1, 2, 5))),
        ("one gap", Self::Gapper(Gapper::new(1, 1, 5))),
        ("misers", Self::Miser(Miser { sign_of_life: Duration::from_secs(2), teases: false }, 8)),
        ("teasers", Self::Miser(Miser { sign_of_life: Duration::from_millis(300), teases: true }, 8)),
        ("chains of extensions", Self::Extender(Extender::new(600, 0, 3, true))),
        ("time traveller", Self::TimeTraveller(TimeTraveller::new(u32::MAX, 1, true))),
        ("flood of SYNs", Self::Flood(Matter::Syns, 5, Names::Everybodys)),
        ("flood of strays", Self::Flood(Matter::Strays(40), 5, Names::Own)),
        ("guesser", Self::Flood(Matter::Resets, 10, Names::ThePeers)),
        ("reflector", Self::Flood(Matter::Reflections, 5, Names::ThePeers)),
    ];

    /// One of the named ones. Draws once.
    #[must_use]
    pub const fn draw(rng: &mut Rng) -> Self {
        rng.pick(&Self::PRESETS).1
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::PRESETS.iter().find(|(_, attack)| attack == self).map(|(name, _)| *name);
        match name {
            Some(name) => f.write_str(name),
            None => write!(f, "{self:?}"),
        }
    }
}

impl World {
    /// Lets an attacker loose on `victim`, over a line of its own, until it [vanishes](Self::vanish). `peer` is
    /// somebody whom the victim trusts, for those who speak in another's name.
    ///
    /// The victim serves strangers from now on, with 256 KiB for each of them, unless told otherwise before.
    pub fn attack(&mut self, attack: &Attack, victim: HostId, peer: HostId, line: impl Into<Line>) -> HostId {
        self.count_fault(FaultKind::HostilePeer);
        self.serve_if_not(victim, &Traffic::both_ways(Size::kib(64), Size::kib(256)));
        let attacker = match *attack {
            Attack::Optimist(trick) => self.let_in(trick, victim, 1),
            Attack::DelayLiar(trick) => self.let_in(trick, victim, 1),
            Attack::WindowLiar(trick) => self.let_in(trick, victim, 1),
            Attack::MaskLiar(trick) => self.let_in(trick, victim, 1),
            Attack::Storm(trick) => self.let_in(trick, victim, 1),
            Attack::Gapper(trick) => self.let_in(trick, victim, 1),
            Attack::Miser(trick, times) => self.let_in(trick, victim, times.into()),
            Attack::Extender(trick) => self.let_in(trick, victim, 1),
            Attack::TimeTraveller(trick) => self.let_in(trick, victim, 1),
            Attack::Flood(matter, per_tick, names) => {
                let sources = match names {
                    Names::Own => Sources::Own,
                    Names::Everybodys => Sources::Everywhere,
                    Names::ThePeers => Sources::Of(self.addr(peer)),
                };
                let to = self.addr(victim);
                self.raw_host(Flood::new(to, matter, sources, per_tick.into()))
            }
        };
        self.join(attacker, victim, line);
        attacker
    }

    fn let_in<T: Trick>(&mut self, trick: T, victim: HostId, times: usize) -> HostId {
        let to = self.addr(victim);
        self.raw_host(Insider::calling(trick, to, times))
    }
}
