//! A rendezvous server that lives on a simulated host, and peers who meet by way of it.

mod client;
mod relay;

#[cfg(test)]
mod again;
#[cfg(test)]
mod tests;

pub use client::RendezvousClient;
pub use relay::RendezvousRelay;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::resident::{Home, Resident};
use crate::proto::rendezvous::server::{Desk, Server, ServerConfig, ServerStats};
use std::net::SocketAddr;

/// The [server](crate::proto::rendezvous::server) that introduces peers to each other, as a [`Resident`]. It takes
/// whatever connects to its host, and answers STUN
/// Binding questions on all its sockets: to tell clients what their NAT is like, it needs
/// [several](crate::sim::World::host_at).
#[derive(Debug)]
pub struct RendezvousServer {
    config: ServerConfig,
    /// Shared with the one who forwards.
    desk: Arc<Mutex<Desk>>,
    /// Counts beginnings: each server is another one.
    generation: u8,
    restart: bool,
    drain: bool,
    relay_at: Option<SocketAddr>,
    /// It answers those who ask by STUN.
    reflects: bool,
}

impl RendezvousServer {
    /// A server with these settings.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let desk = Arc::new(Mutex::new(Desk::new(Server::new(config.clone(), [0; 32]))));
        Self { config, desk, generation: 0, restart: false, drain: false, relay_at: None, reflects: false }
    }

    /// At the next step it forgets everything, as if it had been started anew; streams end.
    pub const fn restart(&mut self) {
        self.restart = true;
    }

    /// At the next step it tells everybody that it is about to go.
    pub const fn drain(&mut self) {
        self.drain = true;
    }

    /// What it has seen and done since it was started.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.desk().stats()
    }

    /// Who forwards for it, if that is in its settings; to be put on a [raw host](crate::sim::World::raw_host_at) of its
    /// own, whose address it [has to know](Self::relay_at).
    #[must_use]
    pub fn relay(&self) -> RendezvousRelay {
        RendezvousRelay { desk: Arc::clone(&self.desk) }
    }

    /// Where the one is who forwards.
    pub fn relay_at(&mut self, addr: SocketAddr) {
        self.relay_at = Some(addr);
        self.desk().set_relay(addr);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resident for RendezvousServer {
    fn step(&mut self, home: &mut Home<'_>) {
        let now = home.local_now();
        if std::mem::take(&mut self.restart) {
            self.generation += 1;
            *self.desk() = Desk::new(Server::new(self.config.clone(), [self.generation; 32]));
            if let Some(addr) = self.relay_at {
                self.desk().set_relay(addr);
            }
        }
        if std::mem::take(&mut self.drain) {
            self.desk().drain(now);
        }
        if !std::mem::replace(&mut self.reflects, true) {
            home.shared().serve_stun(true);
        }
        let mut desk = self.desk();
        let _open = desk.poll(&mut home.context(), now, home.shared());
        if let Some(at) = desk.poll_timeout() {
            home.wake_at_local(at);
        }
    }

    fn accepts(&self) -> bool {
        true
    }
}
