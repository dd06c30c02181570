//! How much a host has exchanged with each address: for whoever wants to know what an answer costs.

use std::collections::HashMap;
use std::net::SocketAddr;

/// What went between a host's endpoint and one address: datagrams, and bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Datagrams that the endpoint has been given.
    pub in_packets: u64,
    /// Bytes of UDP payload that the endpoint has been given.
    pub in_bytes: u64,
    /// Datagrams that the endpoint has put on the wire.
    pub out_packets: u64,
    /// Bytes of UDP payload that the endpoint has put on the wire.
    pub out_bytes: u64,
}

/// One account for each address.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: Vec<(SocketAddr, Exchanged)>,
    /// Never iterated.
    places: HashMap<SocketAddr, usize>,
    /// The place that was used last: mostly the one that is used next.
    last: usize,
}

impl Ledger {
    pub(super) fn account_mut(&mut self, peer: SocketAddr) -> &mut Exchanged {
        if self.accounts.get(self.last).is_none_or(|(known, _)| *known != peer) {
            self.last = *self.places.entry(peer).or_insert_with(|| {
                self.accounts.push((peer, Exchanged::default()));
                self.accounts.len() - 1
            });
        }
        &mut self.accounts[self.last].1
    }

    pub(super) fn account(&self, peer: SocketAddr) -> Exchanged {
        self.places.get(&peer).map_or_else(Exchanged::default, |&place| self.accounts[place].1)
    }
}
