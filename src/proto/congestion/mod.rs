//! How much may be in flight, and how fast it may leave: round trips, delays, windows and pacing.
//!
//! Knows nothing of packets, sequence numbers or timers: it is told what was acknowledged or lost and when, and
//! answers with a window in bytes. Neither does it know what else limits a sender; the connection takes the smallest
//! of this window, the peer's window and its own buffer, and says which one it was.
//!
//! ```text
//!   packet in ──▶ DelayMeter ──▶ queueing delay ─┐
//!   ack ───────▶ RttEstimator ─▶ round trip ─────┼─▶ Controller ──▶ window ──▶ Rate ──▶ Pacer ──▶ bytes now
//!   loss, timeout ───────────────────────────────┘
//! ```

mod delay;
mod fixed;
mod ledbat;
mod pacer;
mod rtt;

#[cfg(test)]
mod model;

use std::fmt;
use std::time::Duration;

pub use delay::DelayMeter;
pub use fixed::FixedWindow;
pub use ledbat::Ledbat;
pub use pacer::{Pacer, Rate};
pub use rtt::RttEstimator;

use crate::config::{Config, Congestion};
use crate::time::Instant;

/// A congestion controller for one connection.
///
/// Has no clock and sets no timers. Sizes are bytes of payload: headers and retransmissions' overhead do not count.
pub trait Controller: fmt::Debug + Send {
    /// New payload was acknowledged, cumulatively or selectively. Called at most once per packet received.
    fn on_ack(&mut self, ack: &Acked<'_>);

    /// The first loss of a congestion epoch: of a packet sent after the window was last cut.
    fn on_loss(&mut self, loss: &LossEvent);

    /// The retransmission timer fired with data outstanding.
    fn on_timeout(&mut self, now: Instant);

    /// Sending starts again after nothing was outstanding for `idle`.
    fn on_idle(&mut self, _now: Instant, _idle: Duration) {}

    /// A full packet now carries this many bytes of payload.
    fn on_mtu(&mut self, _payload: u32) {}

    /// Bytes that may be in flight.
    fn window(&self) -> u32;

    /// Whether the window is looking for its size by doubling. Then the [`Pacer`] runs at twice the window per round
    /// trip, because at less the window would never be filled.
    fn in_slow_start(&self) -> bool;

    /// What there is to see from outside, for statistics and traces.
    fn snapshot(&self) -> Snapshot;
}

/// What one packet acknowledged, and how the path felt by then.
#[derive(Clone, Copy, Debug)]
pub struct Acked<'a> {
    /// When the packet arrived.
    pub now: Instant,
    /// Payload that this packet acknowledged for the first time.
    pub bytes: u32,
    /// Payload in flight before this acknowledgement.
    pub bytes_in_flight: u32,
    /// What [`DelayMeter::queue_delay`] says after this packet's delays went in.
    pub queue_delay: Option<Duration>,
    /// The estimator, after this acknowledgement's sample went in.
    pub rtt: &'a RttEstimator,
    /// Whether the congestion window or the pacer held data back since the last acknowledgement.
    ///
    /// False if the application had no more, or the peer's window or our own buffer was the limit: a window that is
    /// not used proves nothing, so it must not grow. Being held back by the pacer alone counts as limited
    /// (RFC 9002 §7.8), or a paced sender would never grow.
    pub window_limited: bool,
}

/// What was lost, at the start of a congestion epoch.
#[derive(Clone, Copy, Debug)]
pub struct LossEvent {
    /// When the loss was noticed.
    pub now: Instant,
    /// Payload lost.
    pub bytes: u32,
    /// Packets lost.
    pub packets: u32,
    /// Payload still in flight, without what was lost.
    pub bytes_in_flight: u32,
}

/// A controller from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Bytes that may be in flight.
    pub window: u32,
    /// Window up to which slow start doubles, bytes; `u32::MAX` while unknown.
    pub ssthresh: u32,
    /// Whether the window is doubling.
    pub slow_start: bool,
}

/// The controller that the configuration asks for, with packets of `mss` bytes of payload.
#[must_use]
pub fn build(config: &Config, mss: u32) -> Box<dyn Controller> {
    match &config.congestion {
        Congestion::Ledbat => Box::new(Ledbat::new(config.target_delay, mss)),
        Congestion::Fixed(bytes) => Box::new(FixedWindow::new(*bytes)),
        Congestion::Custom(factory) => factory(mss),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_configuration_picks_the_controller() {
        let ledbat = build(&Config::default(), 1380);
        assert_eq!((ledbat.window(), ledbat.in_slow_start()), (2760, true));
        let fixed = build(&Config::default().congestion(Congestion::Fixed(70_000)), 1380);
        assert_eq!((fixed.window(), fixed.in_slow_start()), (70_000, false));
        let own: crate::config::ControllerFactory = Arc::new(|mss| Box::new(FixedWindow::new(7 * mss)));
        assert_eq!(build(&Config::default().congestion(Congestion::Custom(own)), 1000).window(), 7000);
    }
}
