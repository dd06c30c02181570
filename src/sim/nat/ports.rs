//! Which ports a box gives away: the next, or any, out of all or out of the block of whoever asks.

use std::collections::HashMap;
use std::net::IpAddr;

use super::setup::{Nat, NatPorts};
use crate::link::Rng;

/// How many random ports are tried before they are tried one after the other.
const DRAWS: u32 = 32;

/// What a box remembers for giving away ports.
#[derive(Debug)]
pub(super) struct Picker {
    rng: Rng,
    /// The block of each address inside, by its number. Never iterated.
    blocks: HashMap<IpAddr, u32>,
    /// Blocks that have been given away, bit by bit.
    taken: Vec<bool>,
    /// The last port that was given away.
    last: u16,
}

/// Ports in a row: the first, and how many.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: u32,
    len: u32,
}

impl Window {
    const fn port(self, index: u32) -> u16 {
        (self.first + index % self.len) as u16
    }

    fn holds(self, port: u16) -> bool {
        (self.first..self.first + self.len).contains(&port.into())
    }
}

impl Picker {
    pub(super) fn new(mut rng: Rng) -> Self {
        let last = rng.below(1 << 16) as u16;
        Self { rng, blocks: HashMap::new(), taken: Vec::new(), last }
    }

    /// Forgets whose block is whose, and which port was the last.
    pub(super) fn reboot(&mut self) {
        *self = Self::new(self.rng.fork());
    }

    /// A port for that socket inside, which is to be free; none, if there is no such port.
    pub(super) fn pick(
        &mut self,
        setup: &Nat,
        (ip, inside): (IpAddr, u16),
        free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let window = self.window(setup, ip)?;
        let kept = setup.block.is_none() || window.holds(inside);
        if setup.ports == NatPorts::Preserve && kept && free(inside) {
            return Some(inside);
        }
        let step = match setup.ports {
            NatPorts::Step(step) => i64::from(step),
            NatPorts::Preserve | NatPorts::Random => {
                for _ in 0..DRAWS {
                    let port = window.port(self.rng.below(window.len.into()) as u32);
                    if free(port) {
                        return Some(port);
                    }
                }
                1
            }
        };
        let last = i64::from(self.last) - i64::from(window.first);
        let place = |turn: u32| (last + step * i64::from(turn)).rem_euclid(window.len.into()) as u32;
        let port = (1..=window.len).map(|turn| window.port(place(turn))).find(|&port| free(port))?;
        self.last = port;
        Some(port)
    }

    /// The ports that this address may have; none, if no block is left.
    fn window(&mut self, setup: &Nat, ip: IpAddr) -> Option<Window> {
        let first = u32::from(setup.first_port);
        let all = Window { first, len: (1 << 16) - first };
        let Some(block) = setup.block else { return Some(all) };
        let len = u32::from(block).clamp(1, all.len);
        let number = match self.blocks.get(&ip) {
            Some(&number) => number,
            None => {
                let count = all.len / len;
                self.taken.resize(count as usize, false);
                let begin = self.rng.below(count.into()) as u32;
                let number = (0..count)
                    .map(|turn| (begin + turn) % count)
                    .find(|&number| !self.taken[number as usize])?;
                self.taken[number as usize] = true;
                self.blocks.insert(ip, number);
                number
            }
        };
        Some(Window { first: first + number * len, len })
    }
}
