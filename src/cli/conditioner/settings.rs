//! What a link is to be like, as people write it: `loss=5%`, `delay=30ms`, `rate=10M`.
//!
//! The command line and the commands on stdin are made of the same words. Refuses to know what carries datagrams.

use std::time::Duration;

use ebbtide::link::{Burst, Discipline, FaultKind, Line, Link, LinkFault, Rate, Size, Strike};

use crate::quantity::{parse_bit_rate, parse_delay, parse_percent, parse_size};

/// A change to one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Setting {
    Loss(f64),
    Bursts(Burst),
    Delay(Duration),
    Jitter(Duration),
    Reorder(f64, Duration),
    Duplicate(f64, Duration),
    Corrupt(f64),
    Rate(Option<Rate>),
    Queue(Size),
    CoDel(bool),
    Mtu(Size),
    Down(bool),
}

/// The list for people.
pub(super) const HELP: &str = "\
Settings of a link:
  loss=5%            datagrams that are lost, each by chance
  loss=5%/4          the same, in bursts of 4 on average (Gilbert-Elliott)
  delay=30ms         how long the way takes
  jitter=10ms        up to so much more, without overtaking
  reorder=2%/20ms    datagrams that come so much later and are overtaken; 10 ms unless said
  duplicate=1%/5ms   datagrams that come twice, so far apart; at once unless said
  corrupt=0.1%       datagrams with a bit flipped in their first 20 bytes
  rate=10M           bits per second, headers of IP and UDP included; `none` for no limit
  queue=256k         bytes that wait for the rate; what does not fit is lost
  codel=on           a queue that keeps itself short (RFC 8289)
  mtu=1500           the largest that passes, headers included
  link=down          nothing passes until link=up";

/// A link on which nothing goes wrong yet, but with a queue that will do for most rates.
pub(super) const fn clean() -> Link {
    Link::perfect().mtu(Size::bytes(65_535)).queue(Size::kib(256))
}

/// The preset of that name.
pub(super) fn preset(name: &str) -> Option<Line> {
    Line::PRESETS.into_iter().find(|(known, _)| *known == name).map(|(_, line)| line)
}

/// One word of it.
pub(super) fn parse(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as loss=5%")?;
    let (first, second) = match value.split_once('/') {
        Some((first, second)) if ["loss", "reorder", "duplicate"].contains(&name) => (first, Some(second)),
        _ => (value, None),
    };
    let after = |default| second.map_or(Ok(default), parse_delay);
    Ok(match name {
        "loss" => match second {
            Some(packets) => Setting::Bursts(bursts(parse_percent(first)?, packets)?),
            None => Setting::Loss(parse_percent(first)?),
        },
        "delay" => Setting::Delay(parse_delay(value)?),
        "jitter" => Setting::Jitter(parse_delay(value)?),
        "reorder" => Setting::Reorder(parse_percent(first)?, after(Duration::from_millis(10))?),
        "duplicate" => Setting::Duplicate(parse_percent(first)?, after(Duration::ZERO)?),
        "corrupt" => Setting::Corrupt(parse_percent(value)?),
        "rate" if value == "none" => Setting::Rate(None),
        "rate" => Setting::Rate(Some(Rate::bits(parse_bit_rate(value)?))),
        "queue" => Setting::Queue(Size::bytes(parse_size(value)?)),
        "mtu" => Setting::Mtu(Size::bytes(parse_size(value)?)),
        "codel" => Setting::CoDel(either(value, "on", "off")?),
        "link" => Setting::Down(either(value, "down", "up")?),
        _ => return Err(format!("unknown setting `{name}`")),
    })
}

fn either(value: &str, yes: &str, no: &str) -> Result<bool, String> {
    match value {
        _ if value == yes => Ok(true),
        _ if value == no => Ok(false),
        _ => Err(format!("expected `{yes}` or `{no}`")),
    }
}

fn bursts(loss: f64, packets: &str) -> Result<Burst, String> {
    match packets.parse::<f64>() {
        Ok(packets) if (1.0..=1e6).contains(&packets) && loss <= 0.9 => Ok(Burst::mean(loss, packets)),
        Ok(_) if loss > 0.9 => Err("in bursts, at most 90% may be lost".to_owned()),
        _ => Err("expected the mean length of a burst, from 1 to 1000000 datagrams".to_owned()),
    }
}

impl Setting {
    /// The link with that change.
    pub(super) const fn apply(self, link: Link) -> Link {
        match self {
            Self::Loss(share) => link.without(FaultKind::BurstLoss).loss(by_chance(share)),
            Self::Bursts(burst) => link.without(FaultKind::UniformLoss).with(LinkFault::Burst(burst)),
            Self::Delay(delay) => link.delay(delay),
            Self::Jitter(most) => link.jitter(most),
            Self::Reorder(share, by) => link.reorder(by_chance(share), by),
            Self::Duplicate(share, after) => link.duplicate(by_chance(share), after),
            Self::Corrupt(share) => link.corrupt(by_chance(share)).deliver_corrupt(true),
            Self::Rate(Some(rate)) => link.rate(rate),
            Self::Rate(None) => link.unlimited(),
            Self::Queue(size) => link.queue(size),
            Self::CoDel(true) => link.discipline(Discipline::codel()),
            Self::CoDel(false) => link.discipline(Discipline::TailDrop),
            Self::Mtu(size) => link.mtu(size),
            Self::Down(down) => link.down(down),
        }
    }
}

/// Draws nothing where there is nothing to draw.
const fn by_chance(share: f64) -> Strike {
    if share == 0.0 { Strike::never() } else { Strike::random(share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(settings: &str) -> Result<Link, String> {
        settings.split(' ').try_fold(clean(), |link, text| Ok(parse(text)?.apply(link)))
    }

    #[test]
    fn settings_say_what_they_mean() {
        let shown = |settings| link(settings).map(|link| link.to_string());
        let table = [
            ("delay=30ms jitter=10ms", "unlimited, 30ms + 10ms"),
            ("loss=5%", "unlimited, 0ns, uniform loss 5 %"),
            ("loss=5%/4 reorder=2%", "unlimited, 0ns, burst loss 5 % in bursts of 4, reordering 2 % by 10ms"),
            ("loss=5%/4 loss=0", "unlimited, 0ns"),
            ("duplicate=1%/5ms", "unlimited, 0ns, duplication 1 % after 5ms"),
            ("rate=10M queue=64k codel=on", "10 Mbit/s queue 64 KiB CoDel 5ms in 100ms, 0ns"),
            ("rate=10M rate=none link=down", "unlimited, 0ns, one-way partition"),
            ("link=down link=up corrupt=1%", "unlimited, 0ns, bit flip 1 %"),
        ];
        for (settings, expected) in table {
            assert_eq!(shown(settings).as_deref(), Ok(expected), "{settings}");
        }
        assert!(HELP.lines().skip(1).all(|line| parse(line.split_whitespace().next().unwrap_or("")).is_ok()));
    }

    #[test]
    fn odd_settings_are_refused_with_a_reason() {
        for text in [
            "",
            "loss",
            "loss=",
            "loss=101%",
            "loss=5%/0",
            "loss=95%/4",
            "loss=5%/many",
            "delay=30ms/2",
            "rate=0",
            "queue=many",
            "codel=maybe",
            "link=sideways",
            "speed=5",
            "reorder=1%/2h",
            "=5",
        ] {
            assert!(parse(text).is_err_and(|reason| !reason.is_empty()), "{text}");
        }
    }
}
