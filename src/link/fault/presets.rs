//! Settings that stand for something: fixed ones with a name, and ranges that random worlds draw from.

use std::time::Duration;

use super::{FaultKind, LinkFault, Overtaken, Span};
use crate::link::burst::Burst;
use crate::link::line::Link;
use crate::link::quantity::{Rate, Size};
use crate::link::seed::Rng;
use crate::link::strike::Strike;
use crate::link::target::{PacketClass, Target};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl LinkFault {
    /// Named settings of a kind, mild ones first; none for the kinds that are not a link's.
    ///
    /// ```
    /// use ebbtide::link::{FaultKind, Line, LinkFault};
    /// let (_, handover) = LinkFault::presets(FaultKind::DelaySpike)[0];
    /// let mobile = Line::mobile().there.with(handover);
    /// ```
    #[must_use]
    pub const fn presets(kind: FaultKind) -> &'static [(&'static str, Self)] {
        match kind {
            FaultKind::UniformLoss => UNIFORM_LOSS,
            FaultKind::BurstLoss => BURST_LOSS,
            FaultKind::TargetedLoss => TARGETED_LOSS,
            FaultKind::Duplication => DUPLICATION,
            FaultKind::Replay => REPLAY,
            FaultKind::Reorder => REORDER,
            FaultKind::Jitter => JITTER,
            FaultKind::DelaySpike => DELAY_SPIKE,
            FaultKind::BandwidthStep => BANDWIDTH_STEP,
            FaultKind::TailDrop => TAIL_DROP,
            FaultKind::CoDel => CODEL,
            FaultKind::Policer => POLICER,
            FaultKind::Blackhole => BLACKHOLE,
            FaultKind::Partition => PARTITION,
            FaultKind::AckCongestion => ACK_CONGESTION,
            FaultKind::BitFlip => BIT_FLIP,
            FaultKind::Truncation => TRUNCATION,
            FaultKind::MtuBlackhole => MTU_BLACKHOLE,
            FaultKind::MtuShrink => MTU_SHRINK,
            _ => &[],
        }
    }

    /// Random settings of a kind for that link, from mild to hard, such that a connection can get through: what a
    /// queue holds and a policer passes follows from the link's rate. `None` for the kinds that are not a link's.
    ///
    /// Never draws what may change a stream: bits that flip unnoticed.
    #[must_use]
    pub fn draw(kind: FaultKind, link: &Link, rng: &mut Rng) -> Option<Self> {
        let rate = link.rate.unwrap_or(Rate::megabits(10));
        Some(match kind {
            FaultKind::UniformLoss => Self::Loss(strike(rng, 0.1)),
            FaultKind::BurstLoss => {
                Self::Burst(Burst::mean((1 + rng.below(80)) as f64 / 1000.0, rng.within(2..20) as f64))
            }
            FaultKind::TargetedLoss => {
                let class = *rng.pick(&PacketClass::ALL);
                Self::Target(Target::first(class, rng.within(1..4) as u32))
            }
            FaultKind::Duplication => {
                Self::Duplicate { which: strike(rng, 0.2), after: rng.duration(ms(0)..ms(50)) }
            }
            FaultKind::Replay => {
                let least = rng.duration(ms(1_000)..ms(10_000));
                let most = least + rng.duration(ms(1_000)..ms(60_000));
                Self::Replay { which: strike(rng, 0.1), after: Span::new(least, most) }
            }
            _ => return Self::draw_time(kind, rate, rng),
        })
    }

    fn draw_time(kind: FaultKind, rate: Rate, rng: &mut Rng) -> Option<Self> {
        Some(match kind {
            FaultKind::Reorder => {
                let until = match rng.below(2) {
                    0 => Overtaken::By(rng.within(1..20) as u32),
                    _ => Overtaken::For(rng.duration(ms(1)..ms(50))),
                };
                Self::Reorder { which: strike(rng, 0.1), until }
            }
            FaultKind::Jitter => Self::Jitter(rng.duration(ms(1)..ms(60))),
            FaultKind::DelaySpike => {
                let most = rng.duration(ms(200)..ms(10_000));
                Self::Spike { which: strike(rng, 0.01), lasts: Span::new(ms(100), most) }
            }
            FaultKind::BandwidthStep => Self::Steps {
                percent: *rng.pick(&[10, 25, 50, 200, 400]),
                every: rng.duration(ms(200)..ms(5_000)),
            },
            _ => return Self::draw_bottleneck(kind, rate, rng),
        })
    }

    fn draw_bottleneck(kind: FaultKind, rate: Rate, rng: &mut Rng) -> Option<Self> {
        let at_least = |size: Size, bytes| Size::bytes(size.as_bytes().max(bytes));
        Some(match kind {
            FaultKind::TailDrop => {
                Self::TailDrop(at_least(rate.in_time(rng.duration(ms(1)..ms(500))), 6_000))
            }
            FaultKind::CoDel => {
                let target = rng.duration(ms(2)..ms(25));
                Self::CoDel { target, interval: target * 20 }
            }
            FaultKind::Policer => Self::Police {
                rate: Rate::bits(rate.bits_per_second() * rng.within(30..100) / 100),
                burst: at_least(rate.in_time(rng.duration(ms(1)..ms(200))), 3_000),
            },
            _ => return Self::draw_passage(kind, rng),
        })
    }

    fn draw_passage(kind: FaultKind, rng: &mut Rng) -> Option<Self> {
        Some(match kind {
            FaultKind::Blackhole => Self::Blackhole {
                up: rng.duration(ms(500)..ms(8_000)),
                down: rng.duration(ms(50)..ms(3_000)),
            },
            FaultKind::Partition => Self::Partition,
            FaultKind::AckCongestion => Self::AckCongestion {
                rate: Rate::kilobits(rng.within(8..200)),
                queue: Size::bytes(rng.within(200..10_000)),
            },
            FaultKind::BitFlip => {
                Self::Flip { which: Strike::random(0.001 * rng.within(1..100) as f64), deliver: false }
            }
            FaultKind::Truncation => Self::Truncate(Strike::random(0.001 * rng.within(1..50) as f64)),
            FaultKind::MtuBlackhole => Self::MtuBlackhole(Size::bytes(rng.within(576..1_500))),
            FaultKind::MtuShrink => {
                Self::MtuShrink { after: rng.within(1..300), mtu: Size::bytes(rng.within(576..1_500)) }
            }
            _ => return None,
        })
    }
}

/// Some packets: by count or by chance, at most that share of them.
fn strike(rng: &mut Rng, most: f64) -> Strike {
    match rng.below(3) {
        0 => Strike::every(rng.within((1.0 / most) as u64..200)),
        _ => Strike::random(most * (1 + rng.below(100)) as f64 / 100.0),
    }
}

/// A name and what it stands for.
type Preset = (&'static str, LinkFault);

const UNIFORM_LOSS: &[Preset] = &[
    ("one percent", LinkFault::Loss(Strike::random(0.01))),
    ("five percent", LinkFault::Loss(Strike::random(0.05))),
    ("a fifth", LinkFault::Loss(Strike::random(0.2))),
];

const BURST_LOSS: &[Preset] = &[
    ("Wi-Fi", LinkFault::Burst(Burst::mean(0.01, 3.0))),
    ("mobile", LinkFault::Burst(Burst::mean(0.03, 10.0))),
    ("interference", LinkFault::Burst(Burst::new(0.002, 0.02, 0.001, 0.5))),
];

/// One for each class, and the worst of them several times in a row.
const TARGETED_LOSS: &[Preset] = &[
    ("SYN", LinkFault::Target(Target::first(PacketClass::Syn, 1))),
    ("SYN-reply", LinkFault::Target(Target::first(PacketClass::SynReply, 1))),
    ("first DATA", LinkFault::Target(Target::first(PacketClass::FirstData, 1))),
    ("FIN", LinkFault::Target(Target::first(PacketClass::Fin, 1))),
    ("last ACK", LinkFault::Target(Target::first(PacketClass::LastAck, 1))),
    ("RESET", LinkFault::Target(Target::first(PacketClass::Reset, 1))),
    ("three SYNs", LinkFault::Target(Target::first(PacketClass::Syn, 3))),
    ("three SYN-replies", LinkFault::Target(Target::first(PacketClass::SynReply, 3))),
    ("three FINs", LinkFault::Target(Target::first(PacketClass::Fin, 3))),
];

const DUPLICATION: &[Preset] = &[
    ("link layer", LinkFault::Duplicate { which: Strike::random(0.01), after: ms(1) }),
    ("everything twice", LinkFault::Duplicate { which: Strike::always(), after: ms(3) }),
];

const REPLAY: &[Preset] = &[
    ("loop", LinkFault::Replay { which: Strike::every(20), after: Span::new(ms(1_000), ms(5_000)) }),
    (
        "played back",
        LinkFault::Replay { which: Strike::random(0.05), after: Span::new(ms(10_000), ms(300_000)) },
    ),
];

const REORDER: &[Preset] = &[
    ("neighbours", LinkFault::Reorder { which: Strike::random(0.02), until: Overtaken::By(1) }),
    ("two paths", LinkFault::Reorder { which: Strike::random(0.3), until: Overtaken::For(ms(8)) }),
    ("far behind", LinkFault::Reorder { which: Strike::random(0.01), until: Overtaken::By(30) }),
];

const JITTER: &[Preset] = &[("Wi-Fi", LinkFault::Jitter(ms(8))), ("mobile", LinkFault::Jitter(ms(60)))];

const DELAY_SPIKE: &[Preset] = &[
    ("handover", LinkFault::Spike { which: Strike::every(500), lasts: Span::new(ms(100), ms(400)) }),
    ("tunnel", LinkFault::Spike { which: Strike::random(0.002), lasts: Span::new(ms(1_000), ms(10_000)) }),
];

const BANDWIDTH_STEP: &[Preset] = &[
    ("half", LinkFault::Steps { percent: 50, every: ms(5_000) }),
    ("a tenth", LinkFault::Steps { percent: 10, every: ms(2_000) }),
    ("tenfold", LinkFault::Steps { percent: 1_000, every: ms(2_000) }),
];

const TAIL_DROP: &[Preset] = &[
    ("64 KiB", LinkFault::TailDrop(Size::kib(64))),
    ("four packets", LinkFault::TailDrop(Size::bytes(6_000))),
];

const CODEL: &[Preset] = &[
    ("RFC 8289", LinkFault::CoDel { target: ms(5), interval: ms(100) }),
    ("slow link", LinkFault::CoDel { target: ms(15), interval: ms(300) }),
];

const POLICER: &[Preset] = &[
    ("4 Mbit/s", LinkFault::Police { rate: Rate::megabits(4), burst: Size::kib(64) }),
    ("without burst", LinkFault::Police { rate: Rate::megabits(1), burst: Size::bytes(3_000) }),
];

const BLACKHOLE: &[Preset] = &[
    ("elevator", LinkFault::Blackhole { up: ms(20_000), down: ms(3_000) }),
    ("5 s on, 2 s off", LinkFault::Blackhole { up: ms(5_000), down: ms(2_000) }),
];

const PARTITION: &[Preset] = &[("one way", LinkFault::Partition)];

const ACK_CONGESTION: &[Preset] = &[
    ("filled upload", LinkFault::AckCongestion { rate: Rate::kilobits(40), queue: Size::bytes(5_000) }),
    ("hardly any", LinkFault::AckCongestion { rate: Rate::kilobits(8), queue: Size::bytes(500) }),
];

const BIT_FLIP: &[Preset] = &[
    ("noticed", LinkFault::Flip { which: Strike::random(0.01), deliver: false }),
    ("unnoticed", LinkFault::Flip { which: Strike::random(0.001), deliver: true }),
];

const TRUNCATION: &[Preset] = &[("one percent", LinkFault::Truncate(Strike::random(0.01)))];

const MTU_BLACKHOLE: &[Preset] = &[
    ("PPPoE", LinkFault::MtuBlackhole(Size::bytes(1_492))),
    ("IPv6 least", LinkFault::MtuBlackhole(Size::bytes(1_280))),
    ("IPv4 least", LinkFault::MtuBlackhole(Size::bytes(576))),
];

const MTU_SHRINK: &[Preset] = &[
    ("into a tunnel", LinkFault::MtuShrink { after: 200, mtu: Size::bytes(1_400) }),
    ("to the least", LinkFault::MtuShrink { after: 50, mtu: Size::bytes(576) }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_a_link_has_presets_and_draws_and_no_other() {
        let (link, mut rng) = (Link::perfect(), Rng::new(1));
        for kind in FaultKind::ALL {
            let presets = LinkFault::presets(kind);
            assert_eq!(!presets.is_empty(), kind.is_of_link(), "{kind}");
            assert!(presets.iter().all(|(_, fault)| fault.kind() == kind), "{presets:?}");
            for _ in 0..200 {
                let drawn = LinkFault::draw(kind, &link, &mut rng);
                assert_eq!(drawn.map(|fault| fault.kind()), kind.is_of_link().then_some(kind));
            }
        }
    }
}
