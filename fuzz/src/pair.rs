//! Two endpoints: with the fuzzer as the network between them, and with settings that the fuzzer has chosen.

use std::time::Duration;

use ebbtide::Instant;
use ebbtide::wire::Packet;

use super::duo::{Calm, Duo, Fate, Network, Stream};
use super::script::Script;
use super::settings;

const STREAMS_MAX: usize = 4;
/// Bytes that one application writes before the network calms down.
const WRITTEN_MAX: usize = 128 << 10;
/// The storm lasts no longer than that: calls give up after ten minutes, connections after a quarter of an hour.
const STORM_MAX: Duration = Duration::from_secs(300);
/// By then everything is through on a calm network: the longest pause between two attempts is a minute.
const CALM_MAX: Duration = Duration::from_secs(600);

/// Datagrams are lost, repeated, overtaken, delayed and falsified as the bytes from the end of the input say, while
/// applications do what the bytes from its beginning say. What is read is what was written; and once the network
/// calms down, everything that was not given up comes to its end.
pub fn pair(input: &[u8]) {
    let mut script = Script::new(input);
    let config = settings::small(&mut script).config;
    let second = Duration::from_secs(1);
    let patient =
        config.connect_timeout(600 * second).timeouts(20).stall_timeout(3600 * second).idle_timeout(None);
    let mut duo = Duo::new(patient);
    let start = duo.now;
    duo.connect(0);
    let mut storm = Storm { script, tampered: false, until: start + STORM_MAX };
    while !storm.script.is_over() && duo.now < storm.until {
        step(&mut duo, &mut storm);
    }
    let mut calm = Calm(Duration::from_millis(5));
    for stream in &mut duo.streams {
        for side in 0..2 {
            stream.ends[side].paused = false;
            stream.flush(side);
        }
    }
    duo.service(&mut calm);
    complete(&mut duo, &mut calm, CALM_MAX);
    duo.close(3 * CALM_MAX, &mut calm);
}

/// Settings as the bytes say: they are refused with a reason, or a short transfer both ways comes to its end with them.
pub fn config(input: &[u8]) {
    let mut script = Script::new(input);
    let config = settings::wild(&mut script);
    if let Err(error) = config.validate() {
        assert!(!error.field.is_empty() && !error.range.is_empty());
        assert!(error.to_string().contains(error.field));
        return;
    }
    let delay = Duration::from_micros(u64::from(script.short()) / 4);
    let mut calm = Calm(delay);
    let mut duo = Duo::new(config);
    duo.connect(0);
    duo.service(&mut calm);
    let end = duo.now + CALM_MAX;
    let mut left = [usize::from(script.short()), usize::from(script.short())];
    while left != [0, 0] {
        for (side, left) in left.iter_mut().enumerate() {
            *left -= duo.streams[0].write(side, *left);
        }
        duo.service(&mut calm);
        assert!(duo.advance(end, &mut calm), "{left:?} left: {}", duo.streams[0].report());
    }
    complete(&mut duo, &mut calm, CALM_MAX);
    duo.close(3 * CALM_MAX, &mut calm);
}

/// What an application does, or time does, as the next bytes say.
fn step(duo: &mut Duo, storm: &mut Storm<'_>) {
    let (command, amount) = (storm.script.byte(), storm.script.byte());
    let side = usize::from(command >> 7);
    let count = duo.streams.len();
    let stream = &mut duo.streams[usize::from(command >> 4 & 7) % count];
    match command & 0x0F {
        0..=3 => {
            let written = stream.ends[side].written();
            stream.write(side, (usize::from(amount) * 64).min(WRITTEN_MAX - written));
        }
        4 if amount < 64 => stream.finish(side),
        5 => stream.flush(side),
        6 => stream.ends[side].paused = amount & 1 == 1,
        7 if amount == 0xFE => stream.abort(side),
        7 if amount == 0xFF => stream.drop(side),
        8 if count < STREAMS_MAX => duo.connect(side),
        9..=11 => {
            let end = (duo.now + Duration::from_millis(u64::from(amount) * 8)).min(storm.until);
            while duo.advance(end, storm) {}
        }
        _ => {
            for _ in 0..amount % 32 {
                let end = (duo.now + Duration::from_secs(10)).min(storm.until);
                duo.advance(end, storm);
            }
        }
    }
    duo.service(storm);
}

/// Runs until every stream that can is complete.
fn complete(duo: &mut Duo, calm: &mut Calm, limit: Duration) {
    for stream in &mut duo.streams {
        (0..2).for_each(|side| stream.finish(side));
    }
    duo.service(calm);
    let end: Instant = duo.now + limit;
    loop {
        // A stream that was dialled in the storm may be accepted only now.
        for stream in &mut duo.streams {
            (0..2).for_each(|side| stream.finish(side));
        }
        duo.service(calm);
        let is_open = |stream: &&Stream| !stream.is_complete() && !stream.was_given_up();
        if !duo.streams.iter().any(|stream| is_open(&stream)) || (duo.tampered && duo.now >= end) {
            return;
        }
        if !duo.advance(end, calm) {
            let open = duo.streams.iter().find(is_open).map(Stream::report);
            assert!(duo.tampered, "not complete at {}: {open:?}", duo.now);
            return;
        }
    }
}

/// The network that the fuzzer makes.
struct Storm<'a> {
    script: Script<'a>,
    tampered: bool,
    /// No step goes beyond it: a storm as long as `connect_timeout` would end calls that nothing is wrong with.
    until: Instant,
}

impl Network for Storm<'_> {
    fn carry(&mut self, datagram: &mut Vec<u8>) -> Fate {
        let usual = Duration::from_millis(10);
        let what = self.script.last_byte();
        match what & 0x0F {
            0..=7 => vec![usual],
            8 | 9 => Vec::new(),
            10 | 11 => vec![usual, usual + self.late(4)],
            12 | 13 => vec![usual + self.late(8)],
            _ => {
                self.falsify(datagram);
                vec![usual]
            }
        }
    }

    fn has_tampered(&self) -> bool {
        self.tampered
    }
}

impl Storm<'_> {
    fn late(&mut self, unit: u64) -> Duration {
        Duration::from_millis(u64::from(self.script.last_byte()) * unit)
    }

    /// Changes one byte, mostly of the header, or cuts the end off. What no longer is a packet counts as lost.
    fn falsify(&mut self, datagram: &mut Vec<u8>) {
        let (at, change) = (usize::from(self.script.last_byte()), self.script.last_byte());
        let before = datagram.clone();
        if change == 0 {
            datagram.truncate(at);
        } else if let Some(byte) = datagram.get_mut(at % 32) {
            *byte ^= change;
        }
        self.tampered |= *datagram != before && Packet::decode(datagram).is_ok();
    }
}
