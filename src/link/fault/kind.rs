//! The kinds of faults that a world can have, each of them with what it stands for outside.
//!
//! A list, and the numbers of its entries; how a fault works is elsewhere.

use std::fmt;

/// A kind of fault. The first nineteen are the network's, the others a host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Packets are lost, each by chance or by count, whatever happened to the others. Noise on a wire.
    UniformLoss,
    /// Packets are lost in bursts: a link that is good for a while and bad for a while (Gilbert-Elliott). Radio.
    BurstLoss,
    /// The one packet is lost that everything depends on: a SYN, its reply, the first DATA, the FIN, the last
    /// acknowledgement, a RESET. Bad luck, and middleboxes with an opinion.
    TargetedLoss,
    /// A packet arrives twice, shortly after each other. Link layers that repeat what was acknowledged too late.
    Duplication,
    /// A packet arrives once more, seconds or minutes later, perhaps after its connection. Routing loops, captures
    /// played back.
    Replay,
    /// Packets overtake each other: one waits until others have passed. Several paths, several queues.
    Reorder,
    /// Each packet takes a little longer, by chance, and none overtakes another. Shared media, busy machines.
    Jitter,
    /// All stand still for a tenth of a second up to ten, and then arrive at once. Handover between cells, Wi-Fi that
    /// looks for other stations.
    DelaySpike,
    /// The rate changes for good or for a while, up or down. Radio, and lines shared with others.
    BandwidthStep,
    /// The queue is full, and what does not fit is dropped. Most routers.
    TailDrop,
    /// Packets that have waited for too long are dropped at the head of the queue (RFC 8289). Good routers.
    CoDel,
    /// What exceeds a rate is dropped, and never waits (token bucket). Providers.
    Policer,
    /// Nothing passes for a while, then everything, and so on. Tunnels, elevators.
    Blackhole,
    /// Nothing passes in one direction, though the other works. Broken routes, firewalls.
    Partition,
    /// Acknowledgements wait and are dropped, though data in the same direction passes. A filled upload.
    AckCongestion,
    /// A bit flips. The UDP checksum finds it, or, rarely, does not.
    BitFlip,
    /// A packet arrives cut short. Broken middleboxes and drivers.
    Truncation,
    /// Packets above some size vanish without a word. Tunnels whose ICMP messages are filtered.
    MtuBlackhole,
    /// The same, but only after larger ones had passed. A route that changes into a tunnel.
    MtuShrink,
    /// The host's packets come from another port all of a sudden. A NAT that has forgotten.
    PortRebind,
    /// The host has another address all of a sudden. From Wi-Fi to mobile.
    AddressChange,
    /// The host's clock is too fast or too slow, by up to 500 ppm. Every clock.
    ClockSkew,
    /// The host's clock jumps, by up to an hour. Somebody sets it.
    ClockStep,
    /// Packet numbers or timestamps are about to wrap when the connection starts. One connection in 65,536.
    WrapStart,
    /// The host sleeps, its clock goes on, and it finds everything late. A lid that is closed.
    Suspend,
    /// The socket refuses: EAGAIN, ENOBUFS, EMSGSIZE, ECONNREFUSED.
    SocketError,
    /// The application reads slowly, or never.
    SlowReader,
    /// The application drops its future in the middle, or its whole runtime.
    DroppedFuture,
    /// Both open at once, with ids that are already, or have just been, in use.
    IdCollision,
    /// The peer does not keep to the rules, on purpose.
    HostilePeer,
}

impl FaultKind {
    /// Every kind, those of the network first.
    pub const ALL: [Self; 30] = [
        Self::UniformLoss,
        Self::BurstLoss,
        Self::TargetedLoss,
        Self::Duplication,
        Self::Replay,
        Self::Reorder,
        Self::Jitter,
        Self::DelaySpike,
        Self::BandwidthStep,
        Self::TailDrop,
        Self::CoDel,
        Self::Policer,
        Self::Blackhole,
        Self::Partition,
        Self::AckCongestion,
        Self::BitFlip,
        Self::Truncation,
        Self::MtuBlackhole,
        Self::MtuShrink,
        Self::PortRebind,
        Self::AddressChange,
        Self::ClockSkew,
        Self::ClockStep,
        Self::WrapStart,
        Self::Suspend,
        Self::SocketError,
        Self::SlowReader,
        Self::DroppedFuture,
        Self::IdCollision,
        Self::HostilePeer,
    ];

    /// Whether the network does it, not a host.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        (self as u8) < Self::PortRebind as u8
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::UniformLoss => "uniform loss",
            Self::BurstLoss => "burst loss",
            Self::TargetedLoss => "targeted loss",
            Self::Duplication => "duplication",
            Self::Replay => "replay",
            Self::Reorder => "reordering",
            Self::Jitter => "jitter",
            Self::DelaySpike => "delay spike",
            Self::BandwidthStep => "bandwidth step",
            Self::TailDrop => "tail drop",
            Self::CoDel => "CoDel",
            Self::Policer => "policer",
            Self::Blackhole => "black hole",
            Self::Partition => "one-way partition",
            Self::AckCongestion => "ack-path congestion",
            Self::BitFlip => "bit flip",
            Self::Truncation => "truncation",
            Self::MtuBlackhole => "MTU black hole",
            Self::MtuShrink => "MTU shrink",
            Self::PortRebind => "port rebind",
            Self::AddressChange => "address change",
            Self::ClockSkew => "clock skew",
            Self::ClockStep => "clock step",
            Self::WrapStart => "start at the wrap",
            Self::Suspend => "suspend",
            Self::SocketError => "socket error",
            Self::SlowReader => "slow reader",
            Self::DroppedFuture => "dropped future",
            Self::IdCollision => "id collision",
            Self::HostilePeer => "hostile peer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_name_of_its_own() {
        let places: Vec<_> = FaultKind::ALL.iter().map(|kind| *kind as usize).collect();
        assert_eq!(places, (0..30).collect::<Vec<_>>());
        let mut names: Vec<_> = FaultKind::ALL.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 30);
        assert_eq!(FaultKind::ALL.iter().filter(|kind| kind.is_of_link()).count(), 19);
    }
}
