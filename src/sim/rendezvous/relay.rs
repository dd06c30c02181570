//! Where a rendezvous server forwards: a host of its own, since what comes there is not for an endpoint.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::raw::{RawNet, RawProgram};
use crate::proto::rendezvous::server::Desk;
use crate::time::Instant;

/// Forwards for a [`RendezvousServer`](super::RendezvousServer), see [`relay`](super::RendezvousServer::relay).
#[derive(Debug)]
pub struct RendezvousRelay {
    pub(super) desk: Arc<Mutex<Desk>>,
}

impl RawProgram for RendezvousRelay {
    fn on_datagram(&mut self, net: &mut RawNet<'_>, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::ZERO + net.now();
        let to = self.desk.lock().unwrap_or_else(PoisonError::into_inner).relay(now, from, bytes);
        if let Some(to) = to {
            net.send(to, bytes);
        }
    }

    fn on_alarm(&mut self, _: &mut RawNet<'_>) {}
}
