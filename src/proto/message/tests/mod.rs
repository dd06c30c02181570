//! Two ends and a bad network between them, without a connection: packets are lost, doubled and overtaken, and each
//! promise is checked for each message.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod limits;
mod promises;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::time::Instant;

/// Bytes of a packet.
const ROOM: usize = 1380;
/// Packets under way at most.
const WINDOW: usize = 512;

/// One end, with what a connection would keep.
struct End {
    messages: Messages,
    /// Payloads of packets from `acked` on.
    sent: Vec<Vec<u8>>,
    /// Packets acknowledged by the peer.
    acked: u64,
    /// Numbers received: everything before, and these.
    received: u64,
    early: BTreeSet<u64>,
    limit: usize,
}

impl End {
    fn new(config: &MessageConfig) -> Self {
        Self {
            messages: Messages::new(config),
            sent: Vec::new(),
            acked: 0,
            received: 0,
            early: BTreeSet::new(),
            limit: 1 << 20,
        }
    }

    /// The next new packet, if there is one.
    fn next_packet(&mut self, now: Instant) -> Option<(u64, Vec<u8>)> {
        if self.sent.len() >= WINDOW {
            return None;
        }
        let payload = self.messages.stage(now, ROOM)?.to_vec();
        assert!(payload.len() <= ROOM);
        self.messages.on_numbered();
        self.sent.push(payload.clone());
        Some((self.acked + self.sent.len() as u64 - 1, payload))
    }

    fn again(&mut self, number: u64) -> Vec<u8> {
        let place = (number - self.acked) as usize;
        let (before, mut out) = (self.sent[place].clone(), Vec::new());
        self.messages.compose_again(place, &before, &mut out);
        assert!(out.len() <= before.len());
        out
    }

    fn on_packet(&mut self, now: Instant, number: u64, payload: &[u8]) {
        if number < self.received || self.early.contains(&number) {
            return;
        }
        if !self.messages.admits(payload, self.limit, number == self.received) {
            return;
        }
        self.messages.accept(now, payload);
        self.early.insert(number);
        while self.early.remove(&self.received) {
            self.received += 1;
        }
    }

    fn on_ack(&mut self, received: u64, early: &BTreeSet<u64>) {
        if received > self.acked {
            let count = (received - self.acked) as usize;
            self.messages.on_acknowledged(count);
            self.sent.drain(..count);
            self.acked = received;
        }
        for &number in early.iter().filter(|number| **number >= self.acked) {
            self.messages.on_reported((number - self.acked) as usize);
        }
    }
}

/// What is under way to an end.
enum Parcel {
    Packet(u64, Vec<u8>),
    Ack(u64, BTreeSet<u64>),
}

/// How bad the network is.
#[derive(Clone, Copy, Default)]
struct Weather {
    loss: f64,
    duplication: f64,
    reordering: f64,
}

struct Pair {
    ends: [End; 2],
    under_way: BTreeMap<(u64, u64), (usize, Parcel)>,
    now: u64,
    order: u64,
    rng: StdRng,
    weather: Weather,
    /// When packets that are not acknowledged were last sent.
    sent_at: [BTreeMap<u64, u64>; 2],
}

/// Milliseconds for one way, and until a packet counts as lost.
const WAY: u64 = 20;
const PATIENCE: u64 = 100;

impl Pair {
    fn new(config: &MessageConfig, weather: Weather, seed: u64) -> Self {
        Self {
            ends: [End::new(config), End::new(config)],
            under_way: BTreeMap::new(),
            now: 0,
            order: 0,
            rng: StdRng::seed_from_u64(seed),
            weather,
            sent_at: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    fn instant(&self) -> Instant {
        Instant::ZERO + Duration::from_millis(self.now)
    }

    fn throw(&mut self, to: usize, parcel: impl Fn() -> Parcel) {
        let copies = 1 + u32::from(self.rng.random_bool(self.weather.duplication));
        for _ in 0..copies {
            if self.rng.random_bool(self.weather.loss) {
                continue;
            }
            let late =
                if self.rng.random_bool(self.weather.reordering) { self.rng.random_range(1..60) } else { 0 };
            self.order += 1;
            self.under_way.insert((self.now + WAY + late, self.order), (to, parcel()));
        }
    }

    /// A millisecond passes.
    fn step(&mut self) {
        let now = self.instant();
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, parcel) = entry.remove();
            match parcel {
                Parcel::Packet(number, payload) => {
                    self.ends[to].on_packet(now, number, &payload);
                    let (received, early) = (self.ends[to].received, self.ends[to].early.clone());
                    self.throw(1 - to, || Parcel::Ack(received, early.clone()));
                }
                Parcel::Ack(received, early) => self.ends[to].on_ack(received, &early),
            }
        }
        for side in 0..2 {
            while let Some((number, payload)) = self.ends[side].next_packet(now) {
                self.sent_at[side].insert(number, self.now);
                self.throw(1 - side, || Parcel::Packet(number, payload.clone()));
            }
            let acked = self.ends[side].acked;
            self.sent_at[side].retain(|number, _| *number >= acked);
            let overdue: Vec<u64> = self.sent_at[side]
                .iter()
                .filter(|(_, at)| **at + PATIENCE <= self.now)
                .map(|(n, _)| *n)
                .collect();
            for number in overdue {
                let payload = self.ends[side].again(number);
                self.sent_at[side].insert(number, self.now);
                self.throw(1 - side, || Parcel::Packet(number, payload.clone()));
            }
            self.ends[side].messages.expire(now);
        }
        self.now += 1;
    }

    fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
            && self.ends.iter().all(|end| end.sent.is_empty() && end.messages.unsent_bytes() == 0)
    }

    /// Lets time pass until nothing is under way, and takes what arrives at the second end.
    fn settle(&mut self, most: u64, mut seen: impl FnMut(Message)) {
        for _ in 0..most {
            self.step();
            while let Some(message) = self.ends[1].messages.receive() {
                seen(message);
            }
            while self.ends[0].messages.receive().is_some() {}
            if self.is_quiet() {
                return;
            }
        }
        panic!("not quiet after {most} ms");
    }
}
