//! The edge between BEP 29, which everything inside speaks, and what is on the wire.
//!
//! Ids are translated as packets come in and as they leave; what speakers of the [dialect](Dialect) cannot do is
//! switched off in the settings, once. What a connection has to mind besides is in `conn/dialect.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::config::Config;
use crate::proto::batch::Batch;
use crate::wire::{ConnId, Dialect, HEADER_LEN, Header};

/// Measured with utp-punch 1.0.1: it drops what is 64 packets ahead of what it has, and ignores acknowledgements in a
/// packet whose number is. The end of the stream and one probe may be on top of these, and the number after them.
const PACKETS_IN_FLIGHT: u16 = 60;

/// Measured with utp-punch 1.0.1: it acknowledges every packet at once, and sends again what is not acknowledged in that
/// time. It reports no gaps, so more losses than elsewhere are found by a timeout.
const RTO_MIN_MAX: Duration = Duration::from_millis(100);

/// Measured with utp-punch 1.0.1: it sends 1,000 bytes at a time, to paths about which nobody knows more.
const MTU: u16 = 1000 + HEADER_LEN as u16;

/// Measured with utp-punch 1.0.1: after 5 s without a packet it tells its application, which then mostly gives up. Two
/// keepalives may get lost.
const KEEPALIVE_MAX: Duration = Duration::from_millis(1600);

/// The settings as this dialect allows them.
pub(super) fn adapt(config: Arc<Config>) -> Arc<Config> {
    match config.dialect {
        Dialect::UtpPunch => Arc::new(Config {
            extensions: false,
            migration: false,
            // A writer over there goes on when everything is acknowledged.
            ack_delay: Duration::ZERO,
            rto_min: config.rto_min.min(RTO_MIN_MAX),
            packets_in_flight: config.packets_in_flight.min(PACKETS_IN_FLIGHT),
            mtu: config.mtu.or(Some(MTU)),
            keepalive: config.keepalive.map(|every| every.min(KEEPALIVE_MAX)),
            ..Config::clone(&config)
        }),
        _ => config,
    }
}

impl Endpoint {
    /// What was written in BEP 29 is about to leave.
    #[inline]
    pub(super) fn translate(&self, batch: &mut Batch) {
        if self.config.dialect != Dialect::Bep29 {
            batch.edit(|datagram| self.config.dialect.rewrite(datagram));
        }
    }

    /// Where a RESET goes that answers a packet for nobody. libutp, and we, repeat the packet's id. In the dialect that
    /// would look up the wrong table; there it has to be the id on which its sender receives.
    pub(super) fn reset_id(&self, stray: &Header) -> ConnId {
        self.config.dialect.translate(stray.kind, stray.conn_id)
    }
}
