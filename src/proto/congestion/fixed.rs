//! A window that never changes: for tests, benches and lines that nobody else uses.
//!
//! Refuses to learn.

use super::{Acked, Controller, LossEvent, Snapshot};
use crate::time::Instant;

/// A controller without control. Losses are repaired, and change nothing.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow {
    bytes: u32,
}

impl FixedWindow {
    /// A window of `bytes`, for ever.
    #[must_use]
    pub const fn new(bytes: u32) -> Self {
        Self { bytes }
    }
}

impl Controller for FixedWindow {
    fn on_ack(&mut self, _ack: &Acked<'_>) {}

    fn on_loss(&mut self, _loss: &LossEvent) {}

    fn on_timeout(&mut self, _now: Instant) {}

    fn window(&self) -> u32 {
        self.bytes
    }

    fn in_slow_start(&self) -> bool {
        false
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { window: self.bytes, ssthresh: u32::MAX, slow_start: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_loss_nor_timeout_moves_it() {
        let mut window = FixedWindow::new(64_000);
        let now = Instant::from_micros(1);
        window.on_loss(&LossEvent { now, bytes: 1380, packets: 1, bytes_in_flight: 64_000 });
        window.on_timeout(now);
        assert_eq!(window.snapshot(), Snapshot { window: 64_000, ssthresh: u32::MAX, slow_start: false });
    }
}
